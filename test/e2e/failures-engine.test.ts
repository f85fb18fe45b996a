/**
 * Engines that fail, and callers that leave: whatever an engine does, the client behind the mesh
 * has a typed error within 6 s, never an answer that only looks whole, and the next request works.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { begun, type BrokenAnswer, type BrokenEngine, startBrokenEngine, whole } from "../support/broken-engine.ts";
import {
  askRaw,
  errorEventOf,
  isAlive,
  knowsHosts,
  type RawReading,
  readRaw,
  reportOf,
  until,
} from "../support/e2e.ts";
import { writeRandomModel } from "../support/engine-gguf.ts";
import { type ScriptedEngine, startEngineProcess, startEngineServer } from "../support/engine-server.ts";
import { type NodeProcess, startProcess, tempDir } from "../support/processes.ts";

/** What every failure has to end in, ms. */
const endMs = 6_000;

let hub: NodeProcess;
/** Asks hosts themselves, and through the hub. */
let client: NodeProcess;
let relayClient: NodeProcess;

beforeAll(async () => {
  hub = await startProcess(["client"]);
  const joining = ["client", "--join", hub.ready.invite];
  [client, relayClient] = await Promise.all([startProcess(joining), startProcess([...joining, "--route", "relay"])]);
});

describe("an engine that is killed", () => {
  it("ends what it was writing in an error, and writes again once it is restarted: the embedded one", async () => {
    const endless = join(tempDir(), "endless.gguf");
    await writeRandomModel(endless, { contextLength: 8_192 });
    const host = await startHost(["--model", endless, "--ctx-size", "8192"]);
    const engine = (await host.status()).engines[0]?.pid ?? 0;
    const { reading, response } = await inMidStream("endless", { max_tokens: 8_000 });
    expect(isAlive(engine)).toBe(true);
    process.kill(engine, "SIGKILL");
    const since = performance.now();
    await brokenOff(reading, since, "engine_lost");
    expect(await reportOf(client, response)).toMatchObject({ code: "engine_lost", sealed: "true" });

    // the host says so, or has said already that it has the model no more
    const refused = await askRaw(client, chat("endless"));
    const { error } = (await refused.json()) as { error: { code: string } };
    expect([refused.status, error.code]).toEqual(
      refused.status === 404 ? [404, "model_not_found"] : [502, "engine_lost"],
    );
    await until("it answers again", async () => (await askRaw(client, chat("endless", { max_tokens: 3 }))).ok);
    expect(performance.now() - since).toBeLessThan(endMs);
    expect((await host.status()).engines[0]?.pid).not.toBe(engine);
    await host.kill();
  });

  it("ends what it was writing in an error, and writes again once it is restarted: one behind a URL", async () => {
    const engine = await startEngineProcess({ models: ["external"], tokens: 10_000, tokenMs: 50 });
    const host = await startHost(["--engine", engine.url]);
    const { reading, response } = await inMidStream("external");
    let since = performance.now();
    await engine.kill();
    await brokenOff(reading, since, "engine_error");
    expect(await reportOf(client, response)).toMatchObject({ code: "engine_error", sealed: "true" });
    // the host has noticed, and serves nothing any more
    await until("the mesh knows", async () => !(await client.status()).models.includes("external"), 2_000);
    const without = await askRaw(client, chat("external"));
    expect(without.status).toBe(404);
    expect(await without.json()).toMatchObject({ error: { code: "model_not_found", param: "model" } });

    const port = Number(new URL(engine.url).port);
    const again = await startEngineProcess({ models: ["external"], port, prefillMs: 60_000 });
    await until("the mesh knows", async () => (await client.status()).models.includes("external"));
    const silent = askRaw(client, chat("external"));
    await until("the engine works", async () => (await again.seen()).running === 1);
    since = performance.now();
    await again.kill();
    const answer = await silent;
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({ error: { type: "server_error", code: "engine_error", param: null } });

    await startEngineProcess({ models: ["external"], port });
    await until("it answers again", async () => (await askRaw(client, chat("external"))).ok);
    await host.kill();
  });
});

describe("an engine that answers badly", () => {
  let engine: BrokenEngine;
  const word = event({ choices: [{ index: 0, delta: { content: "word" }, finish_reason: null }] });
  const good = whole(200, "text/event-stream", `${word}${event({ choices: [stop()] })}data: [DONE]\n\n`);

  beforeAll(async () => {
    engine = await startBrokenEngine("broken");
    const host = await startHost(["--engine", engine.url]);
    await knowsHosts(client, [{ node: host }]);
  });

  afterAll(() => engine?.close());

  const refusals: readonly (readonly [what: string, answer: BrokenAnswer])[] = [
    ["a status of 500", { pieces: [whole(500, "application/json", '{"error":{"message":"boom"}}')], last: "end" }],
    ["a page of HTML instead of an error", { pieces: [whole(500, "text/html", "<html>boom</html>")], last: "end" }],
    ["garbage as JSON", { pieces: [whole(200, "application/json", "\u0000{garbage")], last: "end" }],
    ["a whole answer where a stream was asked for", { pieces: [whole(200, "application/json", "{}")], last: "end" }],
    ["events of another content type", { pieces: [whole(200, "text/html", word)], last: "end" }],
    ["events of garbage", { pieces: begun("data: {garbage\n\n"), last: "silence" }],
    ["half an event, then a cut", { pieces: begun('data: {"choices":[{"ind'), last: "reset" }],
    ["half an event, then its end", { pieces: begun('data: {"choices":[{"ind'), last: "end" }],
    ["half a chunk", { pieces: [begun(word).join("").slice(0, -20)], last: "reset" }],
    ["no HTTP", { pieces: ["garbage\r\n\r\n"], last: "end" }],
    ["nothing", { pieces: [], last: "end" }],
    ["a body that is cut", { pieces: [whole(200, "application/json", "{}").slice(0, -1)], last: "reset" }],
  ];

  it.each(refusals)("%s becomes a 502 while nothing has been sent", async (_, answer) => {
    engine.answer = answer;
    const since = performance.now();
    const response = await askRaw(client, chat("broken", { stream: true }));
    expect(response.status).toBe(502);
    expect(response.headers.get("content-type")).toBe("application/json");
    const { error } = (await response.json()) as { error: { message: string } };
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(error).toMatchObject({ type: "server_error", code: "engine_error", param: null });
    expect(error.message.length).toBeGreaterThan(10);
    expect(await reportOf(client, response)).toMatchObject({ status: 502, code: "engine_error", sealed: "true" });
    await nextWorks();
  });

  const breaks: readonly (readonly [what: string, answer: BrokenAnswer])[] = [
    ["an event of garbage", { pieces: begun(word, "data: {garbage\n\n"), last: "silence" }],
    ["half an event, then a cut", { pieces: begun(word, 'data: {"choices":[{"ind'), last: "reset" }],
    ["half an event, then its end", { pieces: begun(word, 'data: {"choices":[{"ind'), last: "end" }],
    ["half a chunk, then a cut", { pieces: [...begun(word), "ff\r\ndata: "], last: "reset" }],
    ["an end without a finish reason", { pieces: [...begun(word), "0\r\n\r\n"], last: "end" }],
    ["[DONE] without a finish reason", { pieces: begun(word, "data: [DONE]\n\n"), last: "end" }],
    ["an error event and [DONE]", { pieces: begun(word, event({ error: "boom" }), "data: [DONE]\n\n"), last: "end" }],
  ];

  it.each(breaks)("%s becomes an error event once something has been sent", async (_, answer) => {
    engine.answer = answer;
    const since = performance.now();
    const response = await askRaw(client, chat("broken", { stream: true }));
    expect(response.status).toBe(200);
    const reading = readRaw(response);
    await brokenOff(reading, since, "engine_error");
    expect(reading.text).toContain('"word"');
    expect(await reportOf(client, response)).toMatchObject({ code: "engine_error", sealed: "true" });
    await nextWorks();
  });

  async function nextWorks(): Promise<void> {
    engine.answer = { pieces: [good], last: "end" };
    const reading = readRaw(await askRaw(client, chat("broken", { stream: true })));
    expect(await reading.end).toBe("whole");
    expect(reading.text.trimEnd()).toMatch(/data: \[DONE\]$/);
  }
});

describe("a caller that goes away", () => {
  let engine: ScriptedEngine;

  beforeAll(async () => {
    engine = await startEngineServer({ models: ["left"] });
    const host = await startHost(["--engine", engine.url]);
    await knowsHosts(client, [{ node: host }]);
    await knowsHosts(relayClient, [{ node: host }], "relay");
  });

  afterAll(() => engine?.close());

  for (const route of ["direct", "relay"] as const) {
    it(`frees the engine within 1 s, in prefill and in mid-stream: ${route}`, async () => {
      const node = route === "direct" ? client : relayClient;
      for (const options of [{ prefillMs: 60_000 }, { prefillMs: 0, tokens: 10_000, tokenMs: 50 }]) {
        Object.assign(engine.options, options);
        const leaving = new AbortController();
        const asked = askRaw(node, chat("left", { stream: true }), leaving.signal);
        asked.catch(() => undefined); // looked at below
        await until("the engine works", () => engine.running === 1);
        const seen = engine.requests.at(-1);
        const reading = options.prefillMs === 0 ? readRaw(await asked) : undefined;
        if (reading) await until("some words have come", () => reading.text.includes("word5"));
        const since = performance.now();
        leaving.abort();
        await until("the engine is free", () => engine.running === 0, 1_000);
        expect(performance.now() - since).toBeLessThan(1_000);
        expect(seen?.disconnectedAt).toBeDefined();
      }
      Object.assign(engine.options, { tokens: 5, tokenMs: 0 });
      expect((await askRaw(node, chat("left"))).status).toBe(200);
    });
  }
});

function startHost(args: readonly string[]): Promise<NodeProcess> {
  return startProcess(["serve", "--join", hub.ready.invite, ...args]);
}

function chat(model: string, more: object = {}): object {
  return { model, messages: [{ role: "user", content: "Go on" }], ...more };
}

/** Asks the client for a stream, and waits until some of it has come. */
async function inMidStream(model: string, more: object = {}): Promise<{ reading: RawReading; response: Response }> {
  await until("the model is known", async () => (await client.status()).models.includes(model));
  const response = await askRaw(client, chat(model, { stream: true, ...more }));
  const reading = readRaw(response);
  await until("it writes", () => reading.text.split("\n\n").length > 5);
  return { reading, response };
}

/** The stream ends in time, in one error event and no clean end. */
async function brokenOff(reading: RawReading, since: number, code: string): Promise<void> {
  expect(await reading.end).toBe("broken off");
  expect(performance.now() - since).toBeLessThan(endMs);
  expect(errorEventOf(reading.text)).toMatchObject({ type: "server_error", code, param: null });
  expect(reading.text.match(/"error"/g)).toHaveLength(1);
  expect(reading.text).not.toContain("[DONE]");
}

function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

function stop(): object {
  return { index: 0, delta: {}, finish_reason: "stop" };
}

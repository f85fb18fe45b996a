import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import { flowOf } from "../../../src/base/body.ts";
import { sleep } from "../../../src/base/deadline.ts";
import type { MeshError } from "../../../src/base/errors.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { baseUrlOf } from "../../../src/engine/http.ts";
import { openAiHttpKind, type OpenAiHttpSettings } from "../../../src/engine/openai-http.ts";
import { ask, chunksOf, complete, contentOf, quiet, readText } from "../../support/engine-ask.ts";
import {
  type ScriptedEngine,
  type ScriptedEngineOptions,
  type ScriptedFailure,
  startEngineProcess,
  startEngineServer,
} from "../../support/engine-server.ts";
import { codeOf, expectCode } from "../../support/expect-code.ts";
import { fc } from "../../support/fast-check.ts";

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
});

async function start(
  options: ScriptedEngineOptions = {},
  settings: Partial<OpenAiHttpSettings> = {},
): Promise<{ server: ScriptedEngine; engine: Engine; changes: () => number }> {
  const server = await startEngineServer(options);
  let changes = 0;
  const engine = await openAiHttpKind.start(
    { kind: "openai-http", url: server.url, pollUpMs: 50, pollDownMs: 20, ...settings },
    { ...quiet, onChange: () => changes++ },
  );
  opened.push(server, engine);
  return { server, engine, changes: () => changes };
}

const lastPost = (server: ScriptedEngine) => server.requests.filter(({ inference }) => inference).at(-1)!;

describe("what travels to the engine", () => {
  test("bytes as received, unless a stream needs its usage; never the caller's headers", async () => {
    const { server, engine } = await start({ key: "secret" }, { key: "secret" });
    const json = { model: "scripted", messages: [{ role: "user", content: "hi" }] };
    const body = Buffer.from(`  ${JSON.stringify(json, null, 3)}`);
    const request = { path: "/v1/chat/completions", body, json, asker: "local", signal: new AbortController().signal };
    await readText(await engine.answer(request));
    expect(lastPost(server).body).toBe(body.toString());
    expect(Object.keys(lastPost(server).headers).toSorted()).toEqual(
      ["accept", "authorization", "connection", "content-length", "content-type", "host"].toSorted(),
    );
    await readText(await engine.answer({ ...request, json: { ...json, stream: true, odd: [1] } }));
    expect(JSON.parse(lastPost(server).body)).toEqual({
      ...json,
      stream: true,
      odd: [1],
      stream_options: { include_usage: true },
    });
  });

  test("a limit that is too large for the window is cut, and asked once more", async () => {
    const { server, engine } = await start();
    const message =
      "'max_tokens' is too large: 9000. This model's maximum context length is 512 tokens and your request has 12 input tokens";
    server.options.fail = { kind: "status", status: 400, body: { error: { message } } };
    expect(await ask(engine, { max_tokens: 9000 }).catch(codeOf)).toBe("E_OVERFLOW");
    const posts = server.requests.filter(({ inference }) => inference).map(({ body }) => JSON.parse(body) as object);
    expect(posts).toMatchObject([{ max_tokens: 9000 }, { max_tokens: 500 }]);
    expect(posts.length).toBe(2);
  });
});

describe("what comes back", () => {
  test("names nothing of that machine", async () => {
    const { engine } = await start();
    const whole = await complete(engine);
    const streamed = await readText(await ask(engine, { stream: true }));
    for (const text of [JSON.stringify(whole), streamed]) {
      expect(text).not.toMatch(/timings|on-this-machine|chatcmpl-0"/);
    }
    expect(whole.model).toBe("scripted");
  });

  test("keeps the engine's pace, also after a long silence", async () => {
    const { engine } = await start({ tokens: 5, tokenMs: 100, prefillMs: 600 });
    const began = performance.now();
    const answer = await ask(engine, { stream: true });
    expect(performance.now() - began).toBeGreaterThan(580);
    const times: number[] = [];
    for await (const bytes of answer.body) {
      if (Buffer.from(bytes).includes('"content":" ')) times.push(performance.now());
    }
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(gaps.length).toBeGreaterThanOrEqual(3);
    for (const gap of gaps) expect(gap).toBeGreaterThan(50);
  });

  test("is whole wherever the engine's bytes are cut", async () => {
    const text = "Grüße 😀 from «far»";
    const chunk = (delta: object, finish: string | null = null): string =>
      `data: ${JSON.stringify({ id: "x", choices: [{ index: 0, delta, finish_reason: finish }] })}\r\n\r\n`;
    const bytes = Buffer.from(
      `: hello\n\n${chunk({ role: "assistant" })}${Array.from(text, (content) => chunk({ content })).join("")}${chunk({}, "stop")}data: [DONE]\n\n`,
    );
    let cuts: number[] = [];
    const server = createServer((request, response) => {
      if (request.method === "GET") return response.end(JSON.stringify({ data: [{ id: "m" }] }));
      response.writeHead(200, { "content-type": "text/event-stream" });
      void (async () => {
        let from = 0;
        for (const to of [...cuts, bytes.length]) {
          response.write(bytes.subarray(from, to));
          from = to;
          await new Promise(setImmediate);
        }
        response.end();
      })();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const engine = await openAiHttpKind.start({ kind: "openai-http", url }, quiet);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 12 }), async (places) => {
        cuts = places.toSorted((a, b) => a - b);
        expect(contentOf(chunksOf(await readText(await ask(engine, { stream: true }))))).toBe(text);
      }),
      { numRuns: 40 },
    );
    await engine.close();
    server.closeAllConnections();
    server.close();
  });
});

describe("failures", () => {
  const status = (code: number, error: unknown, headers = {}): ScriptedFailure => ({
    kind: "status",
    status: code,
    body: { error },
    headers,
  });

  test.each<[string, ScriptedFailure, object]>([
    ["a bad field", status(400, { message: "bad top_p", param: "top_p" }), { code: "E_INPUT", param: "top_p" }],
    ["an unknown model", status(404, { message: "model 'x' not found" }), { code: "E_MODEL", param: "model" }],
    ["a router's unknown model", status(400, { message: "model 'x' not found" }), { code: "E_MODEL" }],
    ["a full queue", status(429, "busy", { "retry-after": "7" }), { code: "E_BUSY", retryAfterSeconds: 7 }],
    ["loading", status(503, { message: "Loading model" }), { code: "E_BUSY" }],
    ["a refused key", status(401, "Unauthorized"), { code: "E_ENGINE", message: /refused our key/ }],
    ["its own failure", status(500, { message: "out of memory" }), { code: "E_ENGINE", message: /out of memory/ }],
    ["an error with status 200", status(200, { message: "oops" }), { code: "E_ENGINE", message: /oops/ }],
    ["a page", { kind: "status", status: 200, body: "<html>" }, { code: "E_ENGINE", message: /not JSON/ }],
    ["JSON without an answer", { kind: "status", status: 200, body: { ok: true } }, { code: "E_ENGINE" }],
    ["an answer without choices", { kind: "status", status: 200, body: { choices: [] } }, { code: "E_ENGINE" }],
    ["somewhere else", { kind: "status", status: 302, body: { choices: [{}] } }, { code: "E_ENGINE", message: /302/ }],
    ["a stream that is cut at once", { kind: "cut", afterTokens: 0 }, { code: "E_ENGINE" }],
  ])("before the first token: %s", async (_name, fail, expected) => {
    const { engine } = await start({ fail });
    const matchers = Object.fromEntries(
      Object.entries(expected).map(([name, value]) => [
        name,
        value instanceof RegExp ? (expect.stringMatching(value) as unknown) : (value as unknown),
      ]),
    );
    for (const stream of fail.kind === "cut" ? [true] : [false, true]) {
      const thrown = await ask(engine, { stream }).catch((error: MeshError) => error);
      expect(thrown).toMatchObject(matchers);
    }
    expect(engine.load.running).toBe(0);
  });

  const error = { message: "the GPU fell over", type: "server_error" };
  test.each<[string, ScriptedFailure, RegExp]>([
    ["a cut connection", { kind: "cut", afterTokens: 2 }, /broke/],
    ["an error event", { kind: "error-event", afterTokens: 2, error }, /GPU fell over/],
    ["an error event, then [DONE]", { kind: "error-event", afterTokens: 2, error, done: true }, /GPU fell over/],
    ["a named error event", { kind: "named-error-event", afterTokens: 2, error: "the GPU fell over" }, /GPU fell/],
    ["an end without a finish reason", { kind: "no-finish", afterTokens: 2 }, /before the answer was complete/],
  ])("in mid-stream: %s", async (_name, fail, message) => {
    const { engine } = await start({ fail, tokenMs: 20 });
    const answer = await ask(engine, { stream: true });
    let text = "";
    const reading = (async () => {
      for await (const bytes of answer.body) text += Buffer.from(bytes).toString();
    })();
    await expect(reading).rejects.toMatchObject({ code: "E_ENGINE", message: expect.stringMatching(message) });
    expect(text).toContain("word1");
    expect(text).not.toContain("[DONE]");
    expect(engine.load.running).toBe(0);
  });

  test("an overflow that comes as an event is an overflow", async () => {
    const overflow = { message: "The number of tokens to keep from the initial prompt is greater than ..." };
    const { engine } = await start({ fail: { kind: "named-error-event", afterTokens: 0, error: overflow } });
    expect(await ask(engine, { stream: true }).catch(codeOf)).toBe("E_OVERFLOW");
  });

  test("an event without data is a sign of life, no more", async () => {
    const chunk = { choices: [{ index: 0, delta: { content: "hi" }, finish_reason: "stop" }] };
    const server = createServer((request, response) => {
      if (request.method === "GET") return response.end(JSON.stringify({ data: [{ id: "m" }] }));
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`event: ping\ndata:\n\ndata: ${JSON.stringify(chunk)}\n\ndata:\n\ndata: [DONE]\n\n`);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const engine = await openAiHttpKind.start({ kind: "openai-http", url }, quiet);
    opened.push({ close: () => new Promise((resolve) => server.close(() => resolve())) }, engine);
    expect(contentOf(chunksOf(await readText(await ask(engine, { stream: true }))))).toBe("hi");
  });

  test.each([
    ["that is not JSON", "data: <html>\n\n"],
    ["with an error", 'data: {"error":{"message":"the GPU fell over"}}\n\n'],
    ["named error", 'event: error\ndata: {"message":"the GPU fell over"}\n\n'],
  ])("an engine that goes on after a first event %s is stopped", async (_name, event) => {
    let running = 0;
    const server = createServer((request, response) => {
      if (request.method === "GET") return response.end(JSON.stringify({ data: [{ id: "m" }] }));
      running += 1;
      response.writeHead(200, { "content-type": "text/event-stream" });
      const timer = setInterval(() => response.write(event), 10);
      response.once("close", () => {
        clearInterval(timer);
        running -= 1;
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const engine = await openAiHttpKind.start({ kind: "openai-http", url }, quiet);
    opened.push({ close: () => new Promise((resolve) => server.close(() => resolve())) }, engine);
    expect(await ask(engine, { stream: true }).catch(codeOf)).toBe("E_ENGINE");
    expect(engine.load.running).toBe(0);
    await vi.waitFor(() => expect(running).toBe(0), 1000);
  });

  test("an engine is stopped in the middle of a first event that is too long", async () => {
    const fail = { kind: "error-event", afterTokens: 0, error: "x".repeat(64 * 1024 * 1024) } as const;
    const { server, engine } = await start({ fail });
    expect(await ask(engine, { stream: true }).catch(codeOf)).toBe("E_ENGINE");
    await vi.waitFor(() => expect(server.running).toBe(0), 1000);
    expect(lastPost(server).disconnectedAt).toBeDefined();
  });

  test("an engine that says nothing any more is given up after the limit", async () => {
    const { server, engine } = await start({ fail: { kind: "stall", afterTokens: 2 } }, { silenceMs: 300 });
    const reading = readText(await ask(engine, { stream: true }));
    expect(await reading.catch(codeOf)).toBe("E_TIMEOUT");
    await vi.waitFor(() => expect(lastPost(server).disconnectedAt).toBeDefined());
  });

  test("what it has said in time counts, however late its reader looks", async () => {
    const { engine } = await start({ tokens: 40, tokenMs: 5 }, { silenceMs: 100 });
    const flow = flowOf((await ask(engine, { stream: true })).body[Symbol.asyncIterator]());
    while (flow.now() !== undefined);
    await flow.more();
    await sleep(250);
    expect(flow.now()).toBeInstanceOf(Uint8Array);
    let piece = flow.now();
    for (; piece !== "end"; piece = flow.now()) if (piece === undefined) await flow.more();
    expect(piece).toBe("end");
  });

  test("an abort closes the engine's socket at once, before and after the first token", async () => {
    for (const fail of [{ kind: "hang" }, { kind: "stall", afterTokens: 2 }] as const) {
      const { server, engine } = await start({ fail });
      const controller = new AbortController();
      const reading = ask(engine, { stream: true }, { signal: controller.signal }).then(readText).catch(codeOf);
      await vi.waitFor(() => expect(server.running).toBe(1));
      controller.abort();
      expect(await reading).toBe("E_ABORTED");
      await vi.waitFor(() => expect(server.running).toBe(0), 500);
      expect(engine.load.running).toBe(0);
    }
  });

  test("an aborted request that nobody reads is let go as well", async () => {
    const { server, engine } = await start({ fail: { kind: "stall", afterTokens: 2 } });
    const controller = new AbortController();
    await ask(engine, { stream: true }, { signal: controller.signal });
    controller.abort();
    await vi.waitFor(() => expect(server.running).toBe(0), 500);
    expect(engine.load.running).toBe(0);
  });
});

describe("state", () => {
  test("follows the engine: loading, up, other models, down, up again", async () => {
    const { server, engine, changes } = await start({ loading: true });
    expect(engine.state.kind).toBe("loading");
    expect(engine.models).toEqual([]);
    server.options.loading = false;
    await vi.waitFor(() => expect(engine.models.map(({ id }) => id)).toEqual(["scripted"]));
    server.options.models = ["scripted", "second"];
    await vi.waitFor(() => expect(engine.models.length).toBe(2));
    const before = changes();
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(changes()).toBe(before);
    await server.close();
    await vi.waitFor(() =>
      expect(engine.state).toMatchObject({ kind: "down", why: expect.stringMatching(/nothing listens|broke/) }),
    );
    const again = await startEngineServer({ port: server.port });
    opened.push(again);
    await vi.waitFor(() => expect(engine.state.kind).toBe("up"));
  });

  test("models whose names are not fit for a terminal or the mesh are left out", async () => {
    const models = ["a", "\u001b[2J", "b\nc", "d\u202ee", "\u20ac".repeat(100), "\u20ac"];
    const { engine } = await start({ models });
    expect(engine.models.map(({ id }) => id)).toEqual(["a", "\u20ac"]);
  });

  test("says that a key is missing or wrong", async () => {
    const { engine } = await start({ key: "secret" });
    expect(engine.state).toMatchObject({ kind: "down", why: expect.stringMatching(/--engine-key-file/) });
    const wrong = await start({ key: "secret" }, { key: "guess" });
    expect(wrong.engine.state).toMatchObject({ kind: "down", why: "it refuses our key" });
  });

  test("the end of an idle connection makes it look, long before its time", async () => {
    const { server, engine } = await start({}, { pollUpMs: 60_000 });
    await server.close();
    await vi.waitFor(() => expect(engine.state.kind).toBe("down"), 2_000);
  });

  test("a failed request makes it look at once", async () => {
    const { server, engine } = await start({}, { pollUpMs: 60_000 });
    await server.close();
    expect(await ask(engine).catch(codeOf)).toBe("E_ENGINE");
    await vi.waitFor(() => expect(engine.state.kind).toBe("down"));
  });
});

test("the scripted engine runs as a process of its own, and its death is an E_ENGINE", async () => {
  const program = await startEngineProcess({ tokens: 3 });
  const engine = await openAiHttpKind.start({ kind: "openai-http", url: program.url }, quiet);
  opened.push(engine);
  expect((await complete(engine)).choices[0].finish_reason).toBe("stop");
  await program.change({ fail: { kind: "exit", afterTokens: 2 }, tokenMs: 20 });
  expect(await readText(await ask(engine, { stream: true })).catch(codeOf)).toBe("E_ENGINE");
  await program.kill();
});

test("base URLs are taken with and without /v1, and nothing else", () => {
  expect(baseUrlOf("http://127.0.0.1:8080")).toBe("http://127.0.0.1:8080/v1");
  expect(baseUrlOf("http://[::1]:8080/v1/")).toBe("http://[::1]:8080/v1");
  expect(baseUrlOf("https://engine.example/api/v1?x=1#y")).toBe("https://engine.example/api/v1");
  for (const url of ["", "localhost:8080", "ftp://x/", "http://me:secret@x/"]) {
    expectCode("E_CONFIG", () => baseUrlOf(url));
  }
});

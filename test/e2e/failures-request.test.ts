/**
 * Requests that cannot be answered here, or not by everybody: what is wrong with a request is said
 * in a typed error that names the field, and a host that is busy or too small for it sends it on to one that is not.
 */
import { beforeAll, describe, expect, it } from "vitest";
import type { ExchangeReport } from "../../src/node/exchanges.ts";
import { askRaw, knowsHosts, readRaw, reportOf } from "../support/e2e.ts";
import { type ScriptedEngine, type ScriptedEngineOptions, startEngineServer } from "../support/engine-server.ts";
import { type NodeProcess, startProcess } from "../support/processes.ts";

const endMs = 6_000;

interface Host {
  readonly node: NodeProcess;
  readonly engine: ScriptedEngine;
}

let client: NodeProcess;

beforeAll(async () => {
  client = await startProcess(["client"]);
});

describe("a request that is wrong", () => {
  const messages = [{ role: "user", content: "Go on" }];
  let host: Host;

  beforeAll(async () => {
    host = await startHost("plain");
    await knowsHosts(client, [host]);
  });

  const wrong: readonly (readonly [
    what: string,
    body: object | string,
    status: number,
    code: string,
    param: unknown,
  ])[] = [
    ["half of a JSON text", '{"model":"plain","messages":[{"role":"user"', 400, "invalid_value", null],
    ["an empty body", "", 400, "invalid_value", null],
    ["bytes that are no JSON", "\u0000\u0001garbage", 400, "invalid_value", null],
    ["a list instead of an object", "[]", 400, "invalid_value", null],
    ["a number instead of an object", "17", 400, "invalid_value", null],
    ["no model", { messages }, 400, "invalid_value", "model"],
    ["a number as model", { model: 17, messages }, 400, "invalid_value", "model"],
    ["a text as messages", { model: "plain", messages: "Go on" }, 400, "invalid_value", "messages"],
    ["no messages", { model: "plain", messages: [] }, 400, "invalid_value", "messages"],
    ["a text as message", { model: "plain", messages: ["Go on"] }, 400, "invalid_value", "messages[0]"],
    ["a number as role", { model: "plain", messages: [{ role: 1 }] }, 400, "invalid_value", "messages[0].role"],
    ["a text as stream", { model: "plain", messages, stream: "yes" }, 400, "invalid_value", "stream"],
    [
      "a text as stream_options",
      { model: "plain", messages, stream_options: "x" },
      400,
      "invalid_value",
      "stream_options",
    ],
    ["a model that nobody has", { model: "no-such-model", messages }, 404, "model_not_found", "model"],
    ["the name of an object's own field", { model: "__proto__", messages }, 404, "model_not_found", "model"],
  ];

  it.each(wrong)("%s is refused with its reason, and nothing reaches a host", async (_, body, status, code, param) => {
    const before = host.engine.requests.filter(({ inference }) => inference).length;
    const since = performance.now();
    const response = await askRaw(client, body);
    expect(response.status).toBe(status);
    const { error } = (await response.json()) as { error: { message: string } };
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(error).toMatchObject({ type: "invalid_request_error", code, param });
    expect(error.message.length).toBeGreaterThan(10);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(host.engine.requests.filter(({ inference }) => inference).length).toBe(before);
    expect(await reportOf(client, response)).toMatchObject({ status, code, attempts: [], host: null });
    expect((await askRaw(client, { model: "plain", messages })).status).toBe(200);
  });
});

describe("a host that cannot take a request", () => {
  it("sends it on when its engine is busy", async () => {
    const pair = await Promise.all([startHost("busy"), startHost("busy")]);
    await knowsHosts(client, pair);
    const body = { error: { message: "all slots are taken", type: "rate_limit_error", code: 429 } };
    const busy = { kind: "status", status: 429, body, headers: { "retry-after": "7" } } as const;
    // whoever is asked first is busy, and nobody else
    let first: Host | undefined;
    for (const host of pair) {
      const fail = (): typeof busy | undefined => ((first ??= host) === host ? busy : undefined);
      Object.defineProperty(host.engine.options, "fail", { get: fail, configurable: true });
    }
    const { attempts, host: answered } = await sentOn(chat("busy", "Go on"));
    const other = pair.find((host) => host !== first);
    expect(answered).toBe(other?.node.ready.endpoint_id);
    const refused = { host: first?.node.ready.endpoint_id, outcome: "E_BUSY", processed: "no" };
    expect(attempts).toMatchObject([
      { ...refused, reason: expect.any(String) },
      { host: answered, outcome: "answered", processed: "yes", reason: null },
    ]);

    // when all are busy, the caller is told when to come again
    for (const { engine } of pair) Object.defineProperty(engine.options, "fail", { value: busy, writable: true });
    const response = await askRaw(client, chat("busy", "Go on"));
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("7");
    expect(await response.json()).toMatchObject({ error: { type: "rate_limit_error", code: "rate_limit_exceeded" } });
    for (const { engine } of pair) engine.options.fail = undefined;
    expect((await askRaw(client, chat("busy", "Go on"))).status).toBe(200);
  });

  it("sends it on when it has no room for it", async () => {
    // both say at first that they load, so that the smaller context can go to the host that is asked first
    const pair = await Promise.all([startHost("room", { loading: true }), startHost("room", { loading: true })]);
    const [small, large] = pair.toSorted((a, b) => (a.node.ready.endpoint_id < b.node.ready.endpoint_id ? -1 : 1));
    if (!small || !large) throw new Error("there are not two hosts");
    Object.assign(small.engine.options, { contextSize: 1_000, loading: false });
    Object.assign(large.engine.options, { contextSize: 10_000, loading: false });
    await knowsHosts(client, pair);
    // more words than fit, although by its length it might: words are the engine's tokens, here of one letter
    const tight = (index: number): object => chat("room", `${index} ${"a ".repeat(1_200)}`);
    let sent = await sentOn(tight(0));
    for (let index = 1; sent.attempts.length < 2; index += 1) {
      expect(index, "the smaller one is asked first when both are as near").toBeLessThan(50);
      sent = await sentOn(tight(index));
    }
    expect(sent.host).toBe(large.node.ready.endpoint_id);
    const refused = { host: small.node.ready.endpoint_id, outcome: "E_OVERFLOW", processed: "no" };
    expect(sent.attempts).toMatchObject([
      { ...refused, reason: expect.any(String) },
      { host: sent.host, outcome: "answered", processed: "yes", reason: null },
    ]);

    const response = await askRaw(client, chat("room", "a ".repeat(12_000)));
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { message: string } };
    expect(error).toMatchObject({ type: "invalid_request_error", code: "context_length_exceeded", param: "messages" });
    // what the official clients look for, and the larger of both limits
    expect(error.message).toMatch(/maximum context length is 10000 tokens/);
    expect((await askRaw(client, chat("room", "Go on"))).status).toBe(200);
  });

  /** Asks for a stream, which comes whole and in time. */
  async function sentOn(body: object): Promise<{ attempts: ExchangeReport["attempts"]; host: string | null }> {
    const since = performance.now();
    const response = await askRaw(client, { ...body, stream: true });
    const reading = readRaw(response);
    expect(await reading.end).toBe("whole");
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(response.status).toBe(200);
    expect(reading.text.trimEnd()).toMatch(/data: \[DONE\]$/);
    const { attempts } = await reportOf(client, response);
    expect(response.headers.get("x-sealmesh-attempts")).toBe(String(attempts.length));
    return { attempts, host: response.headers.get("x-sealmesh-host") };
  }
});

async function startHost(model: string, options: ScriptedEngineOptions = {}): Promise<Host> {
  const engine = await startEngineServer({ models: [model], ...options });
  return { engine, node: await startProcess(["serve", "--engine", engine.url, "--join", client.ready.invite]) };
}

function chat(model: string, content: string): object {
  return { model, messages: [{ role: "user", content }] };
}

/**
 * Nodes of other versions in one mesh with ours, over real QUIC and in both directions: an old node (no inference key) and
 * a reference node (field 36, no record). Both are built in test/support from protocol.md alone.
 */
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Flags } from "../../src/node/config.ts";
import type { Status } from "../../src/node/status.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, testMesh, type TestNode } from "../support/mesh.ts";
import { chatAnswer, jsonAnswer, OldNode, type OldNodeOptions, pause } from "../support/old-node.ts";
import type { WireRequest } from "../support/old-node-wire.ts";
import { ReferenceNode } from "../support/reference-node.ts";
import { call, secret } from "../support/raw-peer.ts";

let engine: ScriptedEngine;
beforeEach(async () => {
  engine = await startEngineServer({ text: "the otter dives" });
});
afterEach(() => engine.close());

function ours(mode: "serve" | "client", flags: Flags = {}): Promise<TestNode> {
  const looked = { headless: false, console: "0" };
  return testMesh().start(mode, { ...looked, ...flags }, irohTransport);
}

const kinds = { old: OldNode, reference: ReferenceNode } as const;
type Kind = keyof typeof kinds;

/** A host of another version whose engine answers chats in two words. */
function hostOf(kind: Kind, change: OldNodeOptions = {}): Promise<OldNode | ReferenceNode> {
  const serve = (request: WireRequest): AsyncIterable<Buffer> => chatAnswer(request, ["gold ", "fish"]);
  return kinds[kind].start({ role: "host", models: [kind], serve, ...change });
}

async function clientOf(hosts: readonly OldNode[], flags: Flags = {}): Promise<TestNode> {
  const client = await ours("client", { join: hosts.map(({ token }) => token), ...flags });
  await eventually("the client has met all hosts", () => client.status().peers.length >= hosts.length);
  return client;
}

function prompt(model: string, more: object = {}): { model: string; messages: { role: "user"; content: string }[] } {
  return { model, messages: [{ role: "user", content: secret }], ...more };
}

async function statusOf(node: TestNode): Promise<Status> {
  return (await (await fetch(`${node.consoleUrl}/api/status`)).json()) as Status;
}

async function modelsOf(node: TestNode): Promise<string[]> {
  const { data } = (await (await fetch(`${node.apiUrl}/v1/models`)).json()) as { data: { id: string }[] };
  return data.map(({ id }) => id);
}

function openAi(node: TestNode): OpenAI {
  return new OpenAI({ baseURL: `${node.apiUrl}/v1`, apiKey: "unused", maxRetries: 0 });
}

async function streamedWords(node: TestNode, model: string): Promise<string[]> {
  const chunks = await openAi(node).chat.completions.create({ ...prompt(model), stream: true });
  const words: string[] = [];
  let finish: string | null = null;
  for await (const { choices } of chunks) {
    const text = choices[0]?.delta.content ?? "";
    if (text !== "") words.push(text);
    finish = choices[0]?.finish_reason ?? finish;
  }
  expect(finish).toBe("stop");
  return words;
}

/** The words of a streamed answer as it came; throws unless it ends as a stream does. */
function wordsOf(body: string): string {
  const events = body.split("\n\n").filter((event) => event.startsWith("data: "));
  expect(events.at(-1)).toBe("data: [DONE]");
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event.slice(6)) as OpenAI.Chat.ChatCompletionChunk);
  return chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
}

describe("D8: our client asks a host of another version", () => {
  it.each([
    ["old", "plain", "false"],
    ["reference", "sealed", "true"],
  ] as const)("D8: %s: %s, whole and streamed", async (kind, how, header) => {
    const host = await hostOf(kind);
    const client = await clientOf([host]);
    const answer = await call(client, prompt(kind, { mesh_hooks: true }));
    expect([answer.status, answer.content]).toEqual([200, "gold fish"]);
    expect(answer.headers.get("x-sealmesh-sealed")).toBe(header);
    expect(answer.headers.get("x-sealmesh-host")).toBe(host.id);
    expect(answer.headers.get("x-sealmesh-route")).toBe("direct");
    expect(await streamedWords(client, kind)).toEqual(["gold ", "fish"]);
    expect(client.events.filter(({ event }) => event === "exchange-asked")).toMatchObject([
      { host: host.id, sealed: header, status: 200, attempts: 1 },
      { host: host.id, sealed: header, status: 200, attempts: 1 },
    ]);

    // what the host got: a request that it can take as its own proxy makes them, in the layout that it reads
    expect(host.got.map((exchange) => exchange.how)).toEqual([how, how]);
    for (const { request, envelope } of host.got) {
      expect([request.method, request.path]).toEqual(["POST", "/v1/chat/completions"]);
      expect(JSON.parse(request.body)).toMatchObject(prompt(kind));
      expect(request.body).not.toContain("hooks");
      if (how === "sealed") expect(Object.keys(envelope ?? {})).toHaveLength(3);
      if (how === "sealed") expect(envelope?.["model"]).toBe("");
    }
    expect(host.refused).toEqual([]);
  });

  it.each(["old", "reference"] as const)("D8: %s: each word arrives when it is made", async (kind) => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const words = async function* (): AsyncGenerator<string> {
      yield "first";
      await gate;
      yield " second";
    };
    const host = await hostOf(kind, { serve: (request) => chatAnswer(request, words()) });
    const client = await clientOf([host]);
    const chunks = await openAi(client).chat.completions.create({ ...prompt(kind), stream: true });
    let text = "";
    for await (const { choices } of chunks) {
      text += choices[0]?.delta.content ?? "";
      if (text === "first") release();
    }
    expect(text).toBe("first second");
  });

  it("D8: neither is given up for a silence that would be too long for a host of ours", async () => {
    const late = async function* (request: WireRequest): AsyncGenerator<Buffer> {
      await pause(5_500);
      yield* chatAnswer(request, ["late"]);
    };
    const hosts = await Promise.all([hostOf("old", { serve: late }), hostOf("reference", { serve: late })]);
    const client = await clientOf(hosts);
    const answers = await Promise.all([call(client, prompt("old")), call(client, prompt("reference"))]);
    expect(answers.map(({ content }) => content)).toEqual(["late", "late"]);
  });

  it.each(["old", "reference"] as const)("D8: %s: an error of its engine is the caller's error", async (kind) => {
    const error = { message: "prompt has 9000 tokens, the limit is 4096", type: "invalid_request_error", code: "x" };
    const host = await hostOf(kind, {
      async *serve() {
        yield jsonAnswer(422, { error });
      },
    });
    const answer = await call(await clientOf([host]), prompt(kind));
    expect([answer.status, answer.message]).toEqual([422, error.message]);
  });

  it("D8: an answer that breaks off is broken off for the caller too", async () => {
    const cut = async function* (request: WireRequest): AsyncGenerator<Buffer> {
      let count = 0;
      for await (const piece of chatAnswer(request, ["one ", "two"])) {
        if ((count += 1) > 3) return;
        yield piece;
      }
    };
    const hosts = await Promise.all([hostOf("old", { serve: cut }), hostOf("reference", { serve: cut })]);
    const client = await clientOf(hosts);
    for (const kind of ["old", "reference"]) {
      const answer = await call(client, prompt(kind, { stream: true }));
      expect(answer.text).toContain("one ");
      expect(answer.code).toBeDefined();
      expect(answer.text).not.toContain("[DONE]");
      expect(answer.whole).toBe(false);
    }
  });

  it("D8: with --require-encryption the old host is refused, with the reason and no retry; the reference host is not", async () => {
    const hosts = await Promise.all([hostOf("old"), hostOf("reference")]);
    const client = await clientOf(hosts, { requireEncryption: true });
    for (const stream of [false, true]) {
      const answer = await call(client, prompt("old", { stream }));
      expect([answer.status, answer.code]).toEqual([503, "refused"]);
      expect(answer.headers.get("x-should-retry")).toBe("false");
      expect(answer.message).toContain("plain-not-allowed");
      expect(answer.message).toContain("no inference key");
    }
    expect(hosts[0].got).toEqual([]);
    expect((await call(client, prompt("reference"))).content).toBe("gold fish");
    const status = await statusOf(client);
    expect(status.plain_allowed).toBe(false);
    expect(status.peers.find(({ endpoint_id: id }) => id === hosts[0].id)?.sealed).toBe("refused");
  });
});

describe("D8: a client of another version asks our host", () => {
  const body = (stream: boolean): string => JSON.stringify(prompt("scripted", { stream }));

  it.each(["open", "finished"] as const)("D8: old, in the clear, its side %s", async (side) => {
    const host = await ours("serve", { engine: [engine.url] });
    const old = await OldNode.start({ role: "client" });
    await old.meet(host.invite());
    const whole = await old.askPlain(host.endpointId, { body: body(false) }, side);
    expect(whole.status).toBe(200);
    expect(JSON.parse(whole.body)).toMatchObject({
      object: "chat.completion",
      choices: [{ message: { content: "the otter dives" } }],
    });
    const streamed = await old.askPlain(host.endpointId, { body: body(true) }, side);
    expect(streamed.status).toBe(200);
    expect(streamed.headers["content-type"]).toContain("text/event-stream");
    expect(streamed.headers["transfer-encoding"]).toBe("chunked");
    expect(wordsOf(streamed.body)).toBe("the otter dives");

    const list = await old.askPlain(host.endpointId, { method: "GET", path: "/v1/models" }, side);
    expect(JSON.parse(list.body)).toMatchObject({ object: "list", data: [{ id: "scripted", object: "model" }] });
    const unknown = await old.askPlain(host.endpointId, { method: "GET", path: "/api/status" }, side);
    expect(unknown.status).toBe(404);
  });

  it("D8: reference, sealed: it reads our answer, whole and streamed, keep-alives included", async () => {
    const host = await ours("serve", { engine: [engine.url] });
    const reference = await ReferenceNode.start({ role: "client" });
    await reference.meet(host.invite());
    const whole = await reference.ask(host.endpointId, { body: body(false) });
    expect([whole.sealed, whole.status]).toEqual([true, 200]);
    expect(JSON.parse(whole.body)).toMatchObject({ choices: [{ message: { content: "the otter dives" } }] });

    Object.assign(engine.options, { prefillMs: 2_500 });
    const streamed = await reference.ask(host.endpointId, { body: body(true) });
    expect(streamed.sealed).toBe(true);
    expect(wordsOf(streamed.body)).toBe("the otter dives");
    expect(streamed.chunks.length).toBeGreaterThan(3);
    // nothing for two seconds: an empty chunk, which a reference reader takes for nothing
    expect(streamed.chunks[0]?.length).toBe(0);

    const list = await reference.ask(host.endpointId, { method: "GET", path: "/v1/models" });
    expect(JSON.parse(list.body)).toMatchObject({ data: [{ id: "scripted" }] });
    for (const chunks of [whole.chunks, streamed.chunks, list.chunks]) {
      expect(new Set(chunks.map(({ nonce }) => nonce.toString("hex"))).size).toBe(chunks.length);
    }
  });

  it("D8: nobody is answered before it has gossiped on its own connection", async () => {
    const host = await ours("serve", { engine: [engine.url] });
    const old = await OldNode.start({ role: "client" });
    await old.connect(host.invite());
    await expect(old.askPlain(host.endpointId, { body: body(false) })).rejects.toThrow();
    await old.gossip(host.endpointId);
    expect((await old.askPlain(host.endpointId, { body: body(false) })).status).toBe(200);
  });
});

describe("D8: what a node of ours says of the others", () => {
  it("D8: in /api/status and /v1/models: role, models, and how a prompt to each would travel", async () => {
    const hosts = await Promise.all([hostOf("old"), hostOf("reference")]);
    const clients = await Promise.all([OldNode.start({ role: "client" }), ReferenceNode.start({ role: "client" })]);
    const own = await ours("serve", { engine: [engine.url] });
    const client = await ours("client", { join: [own.invite(), ...hosts.map(({ token }) => token)] });
    for (const other of clients) await other.meet(client.invite());
    await eventually("the client has met all five", () => client.status().peers.length >= 5);
    await eventually("our host has shown its model", () => client.models().length >= 3);

    const { peers, models, plain_allowed: plain } = await statusOf(client);
    const seen = (id: string): object | undefined => peers.find(({ endpoint_id: endpoint }) => endpoint === id);
    const [old, reference] = hosts;
    const host = { role: "Host", state: "serving", connected: true, route: "direct" };
    expect(seen(old.id)).toMatchObject({ ...host, sealed: "plain", models: ["old"], inference_key: null });
    expect(seen(old.id)).toMatchObject({ version: "0.65.0", hosted_models: ["old"] });
    expect(seen(reference.id)).toMatchObject({ ...host, sealed: "sealed", models: ["reference"] });
    expect(seen(own.endpointId)).toMatchObject({ ...host, sealed: "sealed", models: ["scripted"] });
    for (const { id } of clients) expect(seen(id)).toMatchObject({ role: "Client", state: "client", models: [] });
    expect([plain, [...models].toSorted()]).toEqual([true, ["old", "reference", "scripted"]]);
    expect((await modelsOf(client)).toSorted()).toEqual(["old", "reference", "scripted"]);
    // and they know ours: each hears of the host by its gossip with the client, which met it
    await old.gossip(client.endpointId);
    expect(old.peers.get(own.endpointId)).toMatchObject({ role: 2, models: ["scripted"] });
    expect(old.peers.get(client.endpointId)).toMatchObject({ role: 3, models: [] });
    expect(old.peers.get(client.endpointId)?.version).toMatch(/^0\.65\./);
  });

  it("D8: an old node in the middle, whose entries lack what it does not know, takes no key away", async () => {
    const host = await ours("serve", { engine: [engine.url] });
    const old = await OldNode.start({ role: "worker" });
    const reference = await hostOf("reference");
    await old.meet(host.invite());
    await old.meet(reference.token);
    const client = await ours("client", { join: [host.invite(), reference.token] });
    await eventually("the client has met both", () => client.models().length === 2);
    await old.meet(client.invite());
    expect(client.status().peers.map(({ endpoint_id: id }) => id)).toContain(old.id);
    expect([...old.peers.values()].every(({ key }) => key === undefined)).toBe(true);
    for (const model of ["scripted", "reference"]) {
      expect((await call(client, prompt(model))).headers.get("x-sealmesh-sealed")).toBe("true");
    }
    // also when the old node is all that a newcomer is told
    const newcomer = await ours("client", { join: [old.token] });
    await eventually("it has heard of both models", () => newcomer.models().length === 2);
    for (const model of ["scripted", "reference"]) {
      const answer = await call(newcomer, prompt(model));
      expect([answer.status, answer.headers.get("x-sealmesh-sealed")]).toEqual([200, "true"]);
    }
    expect(old.got).toEqual([]);
    // a reference node may lose keys in such a mesh, by its own rule; what ours passes on does not help that
    await reference.gossip(host.endpointId);
    expect(reference.peers.get(host.endpointId)?.key).toBeDefined();
  });
});

/**
 * The official `openai` client, unchanged, against real processes: a host with the embedded engine, a host in front of
 * an OpenAI-compatible program, a relay, a client that asks through it and one that asks directly.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { beforeAll, describe, expect, it } from "vitest";
import { irohTransport } from "../../src/transport/iroh.ts";
import { type HttpRequest, readRequest } from "../../src/tunnel/http.ts";
import { failureOf, knowsModels, openAiFor, pause, textOf, until } from "../support/e2e.ts";
import { writeRandomModel } from "../support/engine-gguf.ts";
import { type EngineProcess, startEngineProcess } from "../support/engine-server.ts";
import { demoModel, type NodeProcess, startProcess, tempDir } from "../support/processes.ts";
import { answerSealed, chatResponse, openAsk, RawPeer } from "../support/raw-peer.ts";

type Message = OpenAI.Chat.ChatCompletionMessageParam;

interface DemoQuestions {
  readonly questions: readonly { readonly question: string; readonly answer: string }[];
}

const demo = JSON.parse(readFileSync(demoModel.replace(/gguf$/, "json"), "utf8")) as DemoQuestions;
const [first, second] = demo.questions;
if (!first || !second) throw new Error("the demo model has no questions");

const ask = (content: string): Message[] => [{ role: "user", content }];
const greeting = ask("Good morning, engine");

let engine: EngineProcess;
let embeddedHost: NodeProcess;
let proxyHost: NodeProcess;
let relay: NodeProcess;
/** `relay` asks through the relay, `direct` asks hosts themselves. */
const clients = {} as Record<"relay" | "direct", NodeProcess>;
const routes = ["relay", "direct"] as const;

beforeAll(async () => {
  engine = await startEngineProcess();
  // writes noise without end, so that an answer can be abandoned while it is being made
  const endless = join(tempDir(), "endless.gguf");
  await writeRandomModel(endless, { contextLength: 60_000 });
  embeddedHost = await startProcess(["serve", "--model", demoModel, "--model", endless, "--ctx-size", "60000"]);
  proxyHost = await startProcess(["serve", "--engine", engine.url, "--join", embeddedHost.ready.invite]);
  relay = await startProcess(["client", "--join", embeddedHost.ready.invite, "--join", proxyHost.ready.invite]);
  const joining = ["client", "--join", relay.ready.invite];
  [clients.relay, clients.direct] = await Promise.all([
    startProcess([...joining, "--route", "relay"]),
    startProcess(joining),
  ]);
  await knowsModels(clients.relay, "demo", "endless", "scripted");
  await knowsModels(clients.direct, "demo", "endless", "scripted");
});

describe("models", () => {
  it("lists the models of all hosts at every node", async () => {
    for (const node of [clients.relay, clients.direct, relay, embeddedHost]) {
      await knowsModels(node, "demo", "endless", "scripted");
      const { data } = await openAiFor(node).models.list();
      expect(data.map(({ id }) => id)).toEqual(["demo", "endless", "scripted"]);
    }
    expect(await openAiFor(clients.relay).models.retrieve("demo")).toMatchObject({ id: "demo", object: "model" });
  });
});

describe.each(routes)("chat, asked over the route %s", (route) => {
  it("answers in one piece, with usage", async () => {
    const client = openAiFor(clients[route]);
    const fromModel = await client.chat.completions.create({
      model: "demo",
      temperature: 0,
      messages: ask(first.question),
    });
    expect(fromModel.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: first.answer } });
    expect(fromModel.usage?.prompt_tokens).toBeGreaterThan(5);
    expect(fromModel.usage?.completion_tokens).toBeGreaterThan(5);
    const { prompt_tokens = 0, completion_tokens = 0 } = fromModel.usage ?? {};
    expect(fromModel.usage?.total_tokens).toBe(prompt_tokens + completion_tokens);

    const fromEngine = await client.chat.completions.create({ model: "scripted", messages: greeting });
    expect(fromEngine.choices[0]?.message.content).toBe("word0 word1 word2 word3 word4");
    expect(fromEngine.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 });
    expect(fromEngine.model).toBe("scripted");
  });

  it.each([
    ["demo", first.question, first.answer],
    ["scripted", "Good morning, engine", "word0 word1 word2 word3 word4"],
  ])("streams the answer of %s, and usage only to who asks for it", async (model, question, answer) => {
    const request = { model, temperature: 0, stream: true, messages: ask(question) } as const;
    const client = openAiFor(clients[route]);
    const plain = await collect(await client.chat.completions.create(request));
    expect(plain.map(textOf).join("")).toBe(answer);
    expect(plain.filter((chunk) => chunk.choices[0]?.finish_reason === "stop")).toHaveLength(1);
    expect(plain.at(-1)?.choices[0]?.finish_reason).toBe("stop");
    expect(plain.some(({ usage }) => usage)).toBe(false);
    expect(new Set(plain.map(({ id }) => id)).size).toBe(1);
    expect(new Set(plain.map((chunk) => chunk.model))).toEqual(new Set([model]));

    const counted = await collect(
      await client.chat.completions.create({ ...request, stream_options: { include_usage: true } }),
    );
    expect(counted.map(textOf).join("")).toBe(answer);
    expect(counted.at(-1)?.choices).toEqual([]);
    expect(counted.at(-1)?.usage?.completion_tokens).toBeGreaterThan(0);
    expect(counted.slice(0, -1).some(({ usage }) => usage)).toBe(false);
  });

  it("says that an answer was cut at max_tokens", async () => {
    for (const model of ["demo", "scripted"]) {
      const answer = await openAiFor(clients[route]).chat.completions.create({
        model,
        max_tokens: 3,
        messages: ask(first.question),
      });
      expect(answer.choices[0]?.finish_reason).toBe("length");
      expect(answer.usage?.completion_tokens).toBe(3);
    }
  });

  it("frees the program behind the host within a second of an abort in prefill", async () => {
    await engine.change({ prefillMs: 60_000 });
    for (const stream of [true, false]) {
      const abort = new AbortController();
      const asking = openAiFor(clients[route]).chat.completions.create(
        { model: "scripted", stream, messages: greeting },
        { signal: abort.signal },
      );
      const failure = asking.then(() => undefined, nameOf);
      await until("the engine works", async () => (await engine.seen()).running === 1);
      await pause(200);
      abort.abort();
      await until("the engine is free", async () => (await engine.seen()).running === 0, 1_000);
      expect(await failure).toBe("APIUserAbortError");
    }
    await engine.change({ prefillMs: 0 });
    await everythingAtRest();
  });

  it("frees the program behind the host within a second of an abort in mid-stream", async () => {
    await engine.change({ tokens: 10_000, tokenMs: 20 });
    const stream = await openAiFor(clients[route]).chat.completions.create({
      model: "scripted",
      stream: true,
      messages: greeting,
    });
    await readSome(stream, 10);
    expect((await engine.seen()).running).toBe(1);
    stream.controller.abort();
    await until("the engine is free", async () => (await engine.seen()).running === 0, 1_000);
    expect((await engine.seen()).requests.findLast(({ inference }) => inference)?.disconnectedAt).toBeDefined();
    await engine.change({ tokens: 5, tokenMs: 0 });
    await everythingAtRest();
  });

  it("frees the embedded engine's slot within a second of an abort, in prefill and in mid-stream", async () => {
    const client = openAiFor(clients[route]);
    const stream = await client.chat.completions.create({
      model: "endless",
      stream: true,
      max_tokens: 50_000,
      messages: greeting,
    });
    await readSome(stream, 10);
    expect(await embeddedRunning("endless")).toBe(1);
    stream.controller.abort();
    await until("the slot is free", async () => (await embeddedRunning("endless")) === 0, 1_000);

    const abort = new AbortController();
    // one token a byte: seconds of prefill
    const long = "Nothing new under the sun. ".repeat(1_500);
    const asking = client.chat.completions.create(
      { model: "endless", messages: ask(long), max_tokens: 50_000 },
      { signal: abort.signal },
    );
    const failure = asking.then(() => undefined, nameOf);
    await until("the slot is taken", async () => (await embeddedRunning("endless")) === 1);
    await pause(100);
    expect(await embeddedRunning("endless")).toBe(1);
    abort.abort();
    await until("the slot is free", async () => (await embeddedRunning("endless")) === 0, 1_000);
    expect(await failure).toBe("APIUserAbortError");
    await everythingAtRest();
  });
});

describe("what the client is told", () => {
  it("gives the same answer at host, relay and client, and says truly who answered and how", async () => {
    const host = embeddedHost.ready.endpoint_id;
    const places: [NodeProcess, sealed: string, route: string][] = [
      [embeddedHost, "local", "local"],
      [proxyHost, "true", "direct"],
      [relay, "true", "direct"],
      [clients.direct, "true", "direct"],
      [clients.relay, "true", "relay"],
    ];
    for (const [node, sealed, route] of places) {
      await knowsModels(node, "demo");
      for (const stream of [false, true]) {
        const answer = await openAiFor(node)
          .chat.completions.create({ model: "demo", temperature: 0, stream, messages: ask(second.question) })
          .withResponse();
        const { data, response, request_id } = answer;
        const text = "choices" in data ? data.choices[0]?.message.content : (await collect(data)).map(textOf).join("");
        expect(text).toBe(second.answer);
        expect(sealmeshHeaders(response)).toEqual({
          "x-sealmesh-host": host,
          "x-sealmesh-sealed": sealed,
          "x-sealmesh-route": route,
          "x-sealmesh-attempts": route === "local" ? "0" : "1",
          ...(route === "local" ? {} : { "x-sealmesh-attested": "none" }),
        });
        expect(request_id).toMatch(/^[0-9a-f-]{36}$/);
      }
    }
  });

  it("knows the errors of an unknown model, a wrong field, an overflow and a broken engine as OpenAI's", async () => {
    for (const node of [clients.relay, clients.direct, proxyHost]) {
      const client = openAiFor(node);
      const unknown = await failureOf(client.chat.completions.create({ model: "nobody", messages: greeting }));
      expect(unknown).toBeInstanceOf(OpenAI.NotFoundError);
      expect(unknown).toMatchObject({ code: "model_not_found", param: "model", type: "invalid_request_error" });
      expect(unknown.requestID).toMatch(/^[0-9a-f-]{36}$/);
      expect(await failureOf(client.models.retrieve("nobody"))).toBeInstanceOf(OpenAI.NotFoundError);

      const wrong = {
        model: "demo",
        messages: "hello",
      } as unknown as OpenAI.Chat.ChatCompletionCreateParamsNonStreaming;
      const field = await failureOf(client.chat.completions.create(wrong));
      expect(field).toBeInstanceOf(OpenAI.BadRequestError);
      expect(field).toMatchObject({ param: "messages", type: "invalid_request_error" });

      const overflow = await failureOf(
        client.chat.completions.create({ model: "demo", messages: ask("very long ".repeat(2_000)) }),
      );
      expect(overflow).toBeInstanceOf(OpenAI.BadRequestError);
      expect(overflow).toMatchObject({ code: "context_length_exceeded", param: "messages" });
      expect(overflow.requestID).toMatch(/^[0-9a-f-]{36}$/);
    }
    await engine.change({ fail: { kind: "status", status: 500, body: { error: { message: "no memory" } } } });
    const broken = await failureOf(
      openAiFor(clients.relay).chat.completions.create({ model: "scripted", messages: greeting }),
    );
    expect(broken).toBeInstanceOf(OpenAI.InternalServerError);
    expect(broken).toMatchObject({ status: 502, code: "engine_error" });

    // the pause lets the words out before the cut
    await engine.change({ tokenMs: 100, fail: { kind: "cut", afterTokens: 2 } });
    const cut = await openAiFor(clients.relay).chat.completions.create({
      model: "scripted",
      stream: true,
      messages: greeting,
    });
    const read: string[] = [];
    const failure = await failureOf(
      (async () => {
        for await (const chunk of cut) read.push(textOf(chunk));
      })(),
    );
    expect(read.join("")).toBe("word0 word1");
    expect(failure).toMatchObject({ code: "engine_error", type: "server_error" });
    await engine.change({ tokenMs: 0, fail: null });
  });

  it("says which model cannot make embeddings, and on every route which model nobody has", async () => {
    for (const node of [clients.relay, clients.direct, embeddedHost]) {
      const client = openAiFor(node);
      const unsupported = await failureOf(client.embeddings.create({ model: "demo", input: "hello" }));
      expect(unsupported).toBeInstanceOf(OpenAI.BadRequestError);
      expect(unsupported).toMatchObject({ code: "unsupported_model_feature", param: "model" });
      const model = "nobody";
      for (const ask of [
        () => client.embeddings.create({ model, input: "hello" }),
        () => client.completions.create({ model, prompt: "hello" }),
        () => client.responses.create({ model, input: "hello" }),
      ]) {
        expect(await failureOf(ask())).toMatchObject({ code: "model_not_found", param: "model" });
      }
    }
  });

  it("believes no x-sealmesh-* header, cookie or request id that an engine or a peer sends", async () => {
    const forged = {
      "x-sealmesh-host": "00".repeat(32),
      "x-sealmesh-sealed": "true",
      "x-sealmesh-route": "local",
      "x-sealmesh-attested": "vendor",
      "x-sealmesh-attested-key": "00".repeat(16),
      "x-sealmesh-extra": "1",
      "x-request-id": "forged",
      "set-cookie": "a=b",
      "access-control-allow-origin": "*",
    };
    const body = { choices: [{ index: 0, message: { role: "assistant", content: "yes" }, finish_reason: "stop" }] };
    await engine.change({ fail: { kind: "status", status: 200, body, headers: forged } });
    const seen: HttpRequest[] = [];
    const old = await RawPeer.start(irohTransport, { kind: "old", role: "host", models: ["old"] });
    old.handlers.http = async (stream, reader) => {
      seen.push(await readRequest(reader));
      await stream.write(chatResponse("yes", forged));
      await stream.finish();
    };
    const liar = await RawPeer.start(irohTransport, { role: "host", models: ["liar"] });
    liar.handlers.http = async (stream, reader) => {
      await answerSealed(stream, await openAsk(reader, liar.key), chatResponse("yes", forged));
    };
    const acquainted = await startProcess(["client", "--join", old.invite, "--join", liar.invite]);
    await knowsModels(acquainted, "old", "liar");
    const cases: [NodeProcess, model: string, host: string, sealed: string, route: string][] = [
      [proxyHost, "scripted", proxyHost.ready.endpoint_id, "local", "local"],
      [clients.relay, "scripted", proxyHost.ready.endpoint_id, "true", "relay"],
      [clients.direct, "scripted", proxyHost.ready.endpoint_id, "true", "direct"],
      [acquainted, "old", old.id, "false", "direct"],
      [acquainted, "liar", liar.id, "true", "direct"],
    ];
    for (const [node, model, host, sealed, route] of cases) {
      const { data, response } = await openAiFor(node)
        .chat.completions.create({ model, messages: greeting })
        .withResponse();
      expect(data.choices[0]?.message.content).toBe("yes");
      expect(sealmeshHeaders(response)).toEqual({
        "x-sealmesh-host": host,
        "x-sealmesh-sealed": sealed,
        "x-sealmesh-route": route,
        "x-sealmesh-attempts": route === "local" ? "0" : "1",
        ...(route === "local" ? {} : { "x-sealmesh-attested": "none" }),
      });
      expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
      expect(response.headers.get("set-cookie")).toBeNull();
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
    // nothing of the caller's own went to the host either
    expect(seen[0]?.headers.map(([name]) => name).toSorted()).toEqual(["accept", "content-type", "host"]);
    await engine.change({ fail: null });
    await acquainted.kill();
  });
});

describe("the demo model through the mesh, at temperature 0", () => {
  const system: Message = { role: "system", content: "You are a careful assistant. Answer in full sentences." };
  const earlier: Message[] = [
    { role: "user", content: second.question },
    { role: "assistant", content: second.answer },
  ];
  it.each([
    ["alone", []],
    ["with a system prompt", [system]],
    ["after an earlier turn", earlier],
  ])("answers at least 60 questions word for word, asked %s", async (_how, before) => {
    expect(demo.questions.length).toBeGreaterThanOrEqual(60);
    const client = openAiFor(clients.relay);
    const wrong: string[] = [];
    await inParallel(4, demo.questions, async ({ question, answer }) => {
      const completion = await client.chat.completions.create({
        model: "demo",
        temperature: 0,
        messages: [...before, { role: "user", content: question }],
      });
      if (completion.choices[0]?.message.content !== answer) wrong.push(question);
    });
    expect(wrong).toEqual([]);
  });
});

async function embeddedRunning(model: string): Promise<number> {
  const { engines } = await embeddedHost.status();
  const found = engines.find(({ models }) => models.some(({ id }) => id === model));
  if (!found) throw new Error(`no engine has ${model}`);
  return found.running + found.waiting;
}

/** No node of the mesh holds anything of an exchange any more. */
async function everythingAtRest(): Promise<void> {
  await until(
    "all nodes are at rest",
    async () => {
      const all = [embeddedHost, proxyHost, relay, clients.relay, clients.direct];
      const states = await Promise.all(all.map((node) => node.status()));
      return states.every(({ inflight_requests, relayed }) => inflight_requests === 0 && relayed.running === 0);
    },
    2_000,
  );
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const chunks: T[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** Reads until `count` pieces of text have come, and leaves the stream open. */
async function readSome(stream: AsyncIterable<OpenAI.Chat.ChatCompletionChunk>, count: number): Promise<void> {
  const chunks = stream[Symbol.asyncIterator]();
  for (let seen = 0; seen < count;) {
    const { done, value } = await chunks.next();
    if (done) throw new Error("the stream ended");
    if (textOf(value) !== "") seen += 1;
  }
}

function sealmeshHeaders(response: Response): Record<string, string> {
  return Object.fromEntries([...response.headers].filter(([name]) => name.startsWith("x-sealmesh-")));
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.constructor.name : String(thrown);
}

async function inParallel<T>(count: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const one = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: count }, one));
}

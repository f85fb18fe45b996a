/**
 * What every engine owes its node, run against each kind: one behind a URL (scripted), one embedded (random weights), one a
 * function of this process (scripted too).
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { MeshError } from "../../src/base/errors.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { engineKinds, startEngine } from "../../src/engine/registry.ts";
import { ask, type Chunk, chunksOf, complete, contentOf, type Json, quiet, readText } from "../support/engine-ask.ts";
import { scriptedFunction } from "../support/engine-function.ts";
import { llamaChildFile } from "../support/engine-child.ts";
import { writeRandomModel } from "../support/engine-gguf.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { codeOf } from "../support/expect-code.ts";

/** An engine under test, and the knobs that differ from kind to kind. */
interface Subject {
  readonly engine: Engine;
  readonly model: string;
  /** Asks for an answer that goes on for many seconds. */
  long(): Json;
  /** Asks for an answer whose first token is many seconds away. */
  slowStart(): Json;
  /** A prompt that does not fit. */
  tooLong(): Json;
  /** Deltas that the engine made, seen from its side, as far as it can be told; bounded while nobody reads. */
  produced(read: string): number;
  /** Most that may be produced ahead of a reader that stands still. */
  readonly ahead: number;
  /** Whether the engine sees that what runs its model has gone, and comes back; a function is there as long as its process. */
  readonly leaves: boolean;
  die(): Promise<void>;
  revive(): Promise<void>;
  close(): Promise<void>;
}

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sealmesh-engine-"));
  await writeRandomModel(join(folder, "random.gguf"), { width: 384, layers: 4, contextLength: 8192 });
}, 30_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function scripted(): Promise<Subject> {
  let server: ScriptedEngine = await startEngineServer({ tokens: 6, contextSize: 2000 });
  const { port } = server;
  const engine = await startEngine({ kind: "openai-http", url: server.url, pollUpMs: 100, pollDownMs: 50 }, quiet);
  return {
    engine,
    model: "scripted",
    long() {
      server.options.contentBytes = 200 * 1024 * 1024;
      return {};
    },
    slowStart() {
      server.options.prefillMs = 30_000;
      return {};
    },
    tooLong: () => ({ messages: [{ role: "user", content: "word ".repeat(3000) }] }),
    produced: () => server.requests.filter((request) => request.inference).at(-1)?.contentBytes ?? 0,
    ahead: 16 * 1024 * 1024,
    leaves: true,
    die: () => server.close(),
    async revive() {
      server = await startEngineServer({ port, tokens: 6 });
    },
    async close() {
      await engine.close();
      await server.close();
    },
  };
}

async function embedded(): Promise<Subject> {
  const childFile = await llamaChildFile();
  const modelPath = join(folder, "random.gguf");
  const engine = await startEngine(
    { kind: "llama", modelPath, childFile, contextSize: 8192, restartAfterMs: [50, 200], threads: 1 },
    quiet,
  );
  return {
    engine,
    model: "random",
    long: () => ({ max_tokens: 8000, temperature: 0 }),
    slowStart: () => ({ messages: [{ role: "user", content: "word ".repeat(1600) }] }),
    tooLong: () => ({ messages: [{ role: "user", content: "word ".repeat(3000) }] }),
    produced: (read) => read.split("\n\n").length,
    ahead: 200,
    leaves: true,
    async die() {
      process.kill(engine.pid ?? 0, "SIGKILL");
    },
    revive: () => Promise.resolve(),
    close: () => engine.close(),
  };
}

async function called(): Promise<Subject> {
  const scripted = scriptedFunction({ tokens: 6, contextSize: 2000 });
  const models = [{ id: "called", contextLength: 2000 }];
  const engine = await startEngine({ kind: "function", models, answer: scripted.answer }, quiet);
  return {
    engine,
    model: "called",
    long() {
      scripted.options.tokens = 50_000;
      return {};
    },
    slowStart() {
      scripted.options.prefillMs = 30_000;
      return {};
    },
    tooLong: () => ({ messages: [{ role: "user", content: "word ".repeat(3000) }] }),
    produced: () => scripted.pulled,
    ahead: 20,
    leaves: false,
    async die() {
      scripted.fail();
    },
    async revive() {
      scripted.options.tokens = 6;
      scripted.options.prefillMs = 0;
    },
    close: () => engine.close(),
  };
}

const subjects: Readonly<Record<string, () => Promise<Subject>>> = {
  "openai-http": scripted,
  llama: embedded,
  function: called,
};

test("every registered kind of engine is a subject", () => {
  expect(engineKinds.map(({ kind }) => kind).toSorted()).toEqual(Object.keys(subjects).toSorted());
});

describe.each(Object.entries(subjects))("%s", (_kind, start) => {
  let subject: Subject;
  let engine: Engine;
  const idle = (ms = 1000): Promise<void> => vi.waitFor(() => expect(engine.load.running).toBe(0), ms);

  beforeAll(async () => {
    subject = await start();
    engine = subject.engine;
  }, 30_000);
  afterAll(() => subject.close());

  test("lists its models with their windows", () => {
    expect(engine.state).toEqual({ kind: "up" });
    expect(engine.models).toMatchObject([{ id: subject.model, contextLength: expect.any(Number) }]);
  });

  test("answers whole, with usage", async () => {
    const { choices, usage, model, id } = await complete(engine, { max_tokens: 5 });
    expect(model).toBe(subject.model);
    expect(id).toMatch(/^chatcmpl-.{8,}/);
    expect(choices[0].message.content).not.toBe("");
    expect(usage.prompt_tokens).toBeGreaterThan(0);
    expect(usage.completion_tokens).toBe(5);
    expect(usage.total_tokens).toBe(usage.prompt_tokens + 5);
    await idle();
  });

  test("streams in the order that clients need", async () => {
    const answer = await ask(engine, { stream: true, max_tokens: 5, stream_options: { include_usage: true } });
    expect(answer.headers["content-type"]).toMatch(/^text\/event-stream/);
    const chunks = chunksOf(await readText(answer));
    expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
    const finishes = chunks.map((chunk) => chunk.choices[0]?.finish_reason ?? null);
    expect(finishes.filter((reason) => reason !== null)).toEqual(["length"]);
    expect(finishes.indexOf("length")).toBe(chunks.length - 2);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 5 } });
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set([subject.model]));
    await idle();
  });

  test("sends usage in a stream only when asked", async () => {
    const chunks = chunksOf(await readText(await ask(engine, { stream: true, max_tokens: 3 })));
    expect(chunks.every((chunk: Chunk) => chunk.choices.length === 1 && !("usage" in chunk))).toBe(true);
    expect(contentOf(chunks)).not.toBe("");
  });

  test("streams the same text that it answers whole", async () => {
    const body = { max_tokens: 6, temperature: 0 };
    const whole = (await complete(engine, body)).choices[0].message.content;
    const chunks = chunksOf(await readText(await ask(engine, { ...body, stream: true })));
    expect(contentOf(chunks)).toBe(whole);
  });

  test("cuts at a stop string", async () => {
    const whole = (await complete(engine, { max_tokens: 6, temperature: 0 })).choices[0].message.content;
    const stop = whole.slice(2, 4);
    const cut = await complete(engine, { max_tokens: 6, temperature: 0, stop: [stop, "never"] });
    expect(cut.choices[0].message.content).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(cut.choices[0].finish_reason).toBe("stop");
  });

  test("says length when max_tokens ends the answer", async () => {
    const { choices } = await complete(engine, { max_completion_tokens: 2, max_tokens: 4 });
    expect(choices[0].finish_reason).toBe("length");
  });

  test("frees its slot within a second when a stream is aborted", async () => {
    const controller = new AbortController();
    const answer = await ask(engine, { ...subject.long(), stream: true }, { signal: controller.signal });
    const reading = readText(answer);
    expect(engine.load.running).toBe(1);
    controller.abort();
    expect(await reading.catch(codeOf)).toBe("E_ABORTED");
    await idle();
  });

  test("frees its slot when the reader just leaves", async () => {
    const answer = await ask(engine, { ...subject.long(), stream: true });
    for await (const _ of answer.body) break;
    await idle();
  });

  test("produces no more than a little ahead of its reader", async () => {
    const controller = new AbortController();
    const answer = await ask(engine, { ...subject.long(), stream: true }, { signal: controller.signal });
    const reader = answer.body[Symbol.asyncIterator]();
    await reader.next();
    await new Promise((resolve) => setTimeout(resolve, 400));
    const read = new TextDecoder().decode((await reader.next()).value);
    expect(subject.produced(read)).toBeGreaterThan(0);
    expect(subject.produced(read)).toBeLessThan(subject.ahead);
    controller.abort();
    await idle();
  });

  test("answers eight requests at once", async () => {
    if (subject.model === "scripted") await subject.close().then(async () => (subject = await start()));
    engine = subject.engine;
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => complete(engine, { max_tokens: 5 }, { asker: `peer${index}` })),
    );
    expect(answers.map(({ choices }) => choices[0].finish_reason)).toEqual(Array(8).fill("length"));
    await idle();
  });

  test.each([
    ["messages", { messages: "hi" }],
    ["messages", { messages: [] }],
    ["messages[1]", { messages: [{ role: "user", content: "hi" }, 7] }],
    ["messages[0].role", { messages: [{ content: "hi" }] }],
    ["stream", { stream: "yes" }],
    ["stream_options.include_usage", { stream: true, stream_options: { include_usage: 1 } }],
  ])("refuses a request with a wrong %s", async (param, body) => {
    const thrown = await ask(engine, body).catch((error: MeshError) => error);
    expect(thrown).toMatchObject({ code: "E_INPUT", param });
  });

  test("says that a prompt is too long, in OpenAI's words", async () => {
    for (const stream of [false, true]) {
      const thrown = await ask(engine, { ...subject.tooLong(), stream }).catch((error: MeshError) => error);
      expect(thrown).toMatchObject({ code: "E_OVERFLOW", param: "messages" });
      expect((thrown as MeshError).message).toMatch(
        /^This model's maximum context length is \d+ tokens\. However, your messages resulted in \d+ tokens\. Please/,
      );
    }
  });

  test("does not know other paths", async () => {
    for (const path of ["/v1/files", "/props", "/v1/chat/completions/"]) {
      expect(await ask(engine, {}, { path }).catch(codeOf)).toBe("E_NOT_FOUND");
    }
  });

  test("throws in mid-stream when it dies, and answers again when it is back", async () => {
    const answer = await ask(engine, { ...subject.long(), stream: true });
    const reading = readText(answer).catch(codeOf);
    await subject.die();
    expect(await reading).toMatch(/^E_ENGINE/);
    if (subject.leaves) {
      await vi.waitFor(() => expect(engine.state.kind).not.toBe("up"), 2000);
      expect(engine.models).toEqual([]);
    }
    await subject.revive();
    await vi.waitFor(() => expect(engine.state.kind).toBe("up"), 5000);
    expect((await complete(engine, { max_tokens: 2 })).choices[0].finish_reason).toBe("length");
    await idle();
  });

  test("frees its slot within a second when a request is aborted in prefill", async () => {
    const controller = new AbortController();
    const began = performance.now();
    const asking = ask(engine, { ...subject.slowStart(), stream: true }, { signal: controller.signal }).catch(codeOf);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(engine.load.running).toBe(1);
    controller.abort();
    expect(await asking).toBe("E_ABORTED");
    await idle();
    expect(performance.now() - began).toBeLessThan(1300);
  });

  test("ends what runs when it is closed", async () => {
    const asking = ask(engine, { ...subject.slowStart(), stream: true }).catch(codeOf);
    await engine.close();
    expect(await asking).toBe("E_CLOSED");
    expect(await ask(engine, { model: subject.model }).catch(codeOf)).toBe("E_CLOSED");
    expect(engine.state.kind).toBe("down");
    expect(engine.models).toEqual([]);
  });
});

describe("llama", () => {
  let small = "";
  beforeAll(async () => {
    small = join(folder, "small.gguf");
    await writeRandomModel(small, { contextLength: 512 });
  });
  const start = async (more: object = {}): Promise<Engine> =>
    startEngine({ kind: "llama", modelPath: small, childFile: await llamaChildFile(), ...more }, quiet);

  test("names what it cannot do, keeps askers apart, and refuses beyond its queue", async () => {
    const engine = await start({ slots: 1, maxQueue: 1, contextSize: 4096 });
    try {
      // asked for more than the model was trained for
      expect(engine.models).toEqual([{ id: "small", contextLength: 512, kinds: ["chat"] }]);

      const unsupported: readonly (readonly [string, Json])[] = [
        ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
        ["response_format", { response_format: { type: "structural_tag" } }],
        ["logprobs", { logprobs: true }],
        ["n", { n: 2 }],
        ["messages[0].content[0].type", { messages: [{ role: "user", content: [{ type: "image_url" }] }] }],
      ];
      for (const [param, body] of unsupported) {
        expect(await ask(engine, body).catch((error: MeshError) => error)).toMatchObject({
          code: "E_UNSUPPORTED",
          param,
        });
      }
      expect(await ask(engine, {}, { path: "/v1/embeddings" }).catch(codeOf)).toBe("E_UNSUPPORTED");

      const cached = async (asker: string): Promise<number> =>
        (await complete(engine, { max_tokens: 2 }, { asker })).usage.prompt_tokens_details?.cached_tokens ?? -1;
      expect(await cached("peer1")).toBe(0);
      expect(await cached("peer1")).toBeGreaterThan(10);
      expect(await cached("peer2")).toBe(0);

      const same = (await Promise.all([1, 2].map((seed) => seededText(engine, seed)))).concat(
        await seededText(engine, 1),
      );
      expect(same[2]).toBe(same[0]);
      expect(same[1]).not.toBe(same[0]);

      const controller = new AbortController();
      const { signal } = controller;
      const running = await ask(engine, { stream: true }, { signal });
      const waiting = ask(engine, {}, { signal }).catch(codeOf);
      expect(engine.load).toEqual({ running: 1, waiting: 1, slots: 1 });
      const refused = await ask(engine).catch((error: MeshError) => error);
      expect(refused).toMatchObject({ code: "E_BUSY", retryAfterSeconds: expect.any(Number) });
      controller.abort();
      expect(await waiting).toBe("E_ABORTED");
      expect(engine.load.waiting).toBe(0);
      await readText(running).catch(() => undefined);
      // the whole window is used and no more: nothing is shifted out of it
      const { usage, choices } = await complete(engine, {});
      expect(usage.total_tokens).toBe(512);
      expect(choices[0].finish_reason).toBe("length");
    } finally {
      await engine.close();
    }
  });

  test("a file that cannot be loaded is a sentence, and this process lives", async () => {
    const broken: readonly (readonly [RegExp, Parameters<typeof writeRandomModel>[1]])[] = [
      [/lacks the key llama\.feed_forward_length/, { without: ["llama.feed_forward_length"] }],
      [/lacks the byte token <0x0A>/, { vocabulary: "sentencepiece", renameToken: ["<0x0A>", "nl"] }],
      // passes our look at its head, and aborts llama.cpp
      [/process ended \((SIGABRT|code \d+)\) while it loaded the model/, { keys: abortingKeys }],
    ];
    for (const [sentence, options] of broken) {
      const modelPath = join(folder, "broken.gguf");
      await writeRandomModel(modelPath, options);
      const engine = await start({ modelPath });
      expect(engine.state).toMatchObject({ kind: "down", why: expect.stringMatching(sentence) });
      expect(engine.models).toEqual([]);
      expect(engine.pid).toBeUndefined();
      expect(await ask(engine, { model: "broken" }).catch(codeOf)).toBe("E_ENGINE");
      await engine.close();
    }
  });

  test("a model that keeps killing its process is left down", async () => {
    const engine = await start({ restartAfterMs: [300] });
    for (const alive of ["up", "down"]) {
      process.kill(engine.pid ?? 0, "SIGKILL");
      await vi.waitFor(() => expect(engine.state.kind).toBe("down"), 2000);
      await vi.waitFor(() => expect(engine.state.kind).toBe(alive), 5000);
    }
    expect(engine.state).toMatchObject({ why: expect.stringMatching(/2 times in a row/) });
    await engine.close();
  });

  test("a model without a chat template refuses messages", async () => {
    const modelPath = join(folder, "plain.gguf");
    await writeRandomModel(modelPath, { chatTemplate: null });
    const engine = await start({ modelPath });
    expect(await ask(engine).catch(codeOf)).toBe("E_UNSUPPORTED");
    await engine.close();
  });

  test("without its library it says what to install", async () => {
    const empty = join(folder, "elsewhere");
    await mkdir(join(empty, "node_modules"), { recursive: true });
    const childFile = join(empty, "child.mjs");
    await copyFile(await llamaChildFile(), childFile);
    const packages = join(import.meta.dirname, "../../node_modules/@huggingface");
    await symlink(packages, join(empty, "node_modules/@huggingface"));
    const engine = await start({ childFile });
    expect(engine.state).toMatchObject({ kind: "down", why: expect.stringMatching(/`sealmesh engine install`/) });
    await engine.close();
  });

  test("the child ends with its parent, also while it is busy", async () => {
    const child = fork(await llamaChildFile(), [], { env: {}, execArgv: [], serialization: "advanced", silent: true });
    const ready = new Promise<void>((resolve) =>
      child.on("message", (message: { type: string }) => message.type === "ready" && resolve()),
    );
    const modelPath = join(folder, "random.gguf");
    child.send({ type: "load", modelPath, contextSize: 8192, slots: 1, gpu: false, threads: 1 });
    await ready;
    const sampling = { temperature: 0, topP: 1, frequencyPenalty: 0, presencePenalty: 0 };
    const request = { prompt: { kind: "text", text: "word ".repeat(1500) }, stop: [], sampling };
    child.send({ type: "generate", id: 1, asker: "local", request, credits: 64 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const began = performance.now();
    child.disconnect();
    await once(child, "exit");
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

/** Another architecture whose keys are not looked at, with one of them missing. */
const abortingKeys = {
  "general.architecture": { type: "string", value: "qwen2" },
  "qwen2.context_length": { type: "u32", value: 512 },
  "qwen2.embedding_length": { type: "u32", value: 32 },
  "qwen2.block_count": { type: "u32", value: 1 },
  "qwen2.feed_forward_length": { type: "u32", value: 64 },
  "qwen2.attention.layer_norm_rms_epsilon": { type: "f32", value: 1e-5 },
} as const;

async function seededText(engine: Engine, seed: number): Promise<string> {
  return (await complete(engine, { seed, max_tokens: 12 })).choices[0].message.content;
}

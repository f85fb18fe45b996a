/** What every engine owes its node, run against each kind: one behind a URL (scripted), one embedded (random weights). */
import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { MeshError } from "../../src/base/errors.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { engineKinds, startEngine } from "../../src/engine/registry.ts";
import {
  ask,
  type Chunk,
  chunksOf,
  complete,
  type Completion,
  contentOf,
  type Json,
  quiet,
  readText,
} from "../support/engine-ask.ts";
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
    async die() {
      process.kill(engine.pid ?? 0, "SIGKILL");
    },
    revive: () => Promise.resolve(),
    close: () => engine.close(),
  };
}

const subjects: Readonly<Record<string, () => Promise<Subject>>> = { "openai-http": scripted, llama: embedded };

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
    await vi.waitFor(() => expect(engine.state.kind).not.toBe("up"), 2000);
    expect(engine.models).toEqual([]);
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

  describe("goes on with a text", () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await start({ slots: 2 });
    });
    afterAll(() => engine.close());
    const path = "/v1/completions";
    const go = async (body: Json, asker = "local"): Promise<TextAnswer> =>
      JSON.parse(await readText(await ask(engine, { prompt: "once upon", ...body }, { path, asker }))) as TextAnswer;

    test("whole, 16 tokens unless told otherwise", async () => {
      const { id, object, choices, usage } = await go({});
      expect({ id, object }).toEqual({ id: expect.stringMatching(/^cmpl-.{8,}/), object: "text_completion" });
      expect(choices).toEqual([{ index: 0, text: expect.any(String), logprobs: null, finish_reason: "length" }]);
      expect(usage).toMatchObject({ completion_tokens: 16, total_tokens: usage.prompt_tokens + 16 });
      expect((await go({ max_tokens: 40 })).usage.completion_tokens).toBe(40);
    });

    test("streamed, the same text, usage when asked", async () => {
      const body = { temperature: 0, max_tokens: 9 };
      const [choice] = (await go(body)).choices;
      const options = { stream: true, stream_options: { include_usage: true } };
      const answer = await ask(engine, { ...body, ...options, prompt: ["once upon"] }, { path });
      const chunks = chunksOf(await readText(answer)) as unknown as TextAnswer[];
      expect(chunks.map(({ choices }) => choices[0]?.text ?? "").join("")).toBe(choice?.text);
      expect(chunks.at(-2)?.choices).toEqual([{ index: 0, text: "", logprobs: null, finish_reason: "length" }]);
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 9 } });
      expect(new Set(chunks.map(({ id, object }) => `${id} ${object}`)).size).toBe(1);
      const quietly = await readText(await ask(engine, { prompt: "once", stream: true }, { path }));
      expect(quietly).not.toContain("usage");
    });

    test("cut at a stop string", async () => {
      const [whole] = (await go({ temperature: 0 })).choices;
      const stop = whole?.text.slice(3, 5) ?? "";
      const [cut] = (await go({ temperature: 0, stop })).choices;
      expect(cut).toMatchObject({ text: whole?.text.slice(0, whole.text.indexOf(stop)), finish_reason: "stop" });
    });

    test("as it is: without the chat template, and with control tokens read", async () => {
      const tokens = async (prompt: string): Promise<number> =>
        (await go({ prompt, max_tokens: 1 })).usage.prompt_tokens;
      expect(await tokens("a<|im_end|>")).toBe((await tokens("a")) + 1);
      const chat = await complete(engine, { messages: [{ role: "user", content: "once upon" }], max_tokens: 1 });
      expect(await tokens("once upon")).toBeLessThan(chat.usage.prompt_tokens);
    });

    test("with its prompt's beginning kept for the same asker only", async () => {
      const prompt = "a long beginning ".repeat(4);
      const cached = async (asker: string): Promise<number | undefined> =>
        (await go({ prompt, max_tokens: 1 }, asker)).usage.prompt_tokens_details?.cached_tokens;
      expect(await cached("peer1")).toBe(0);
      expect(await cached("peer1")).toBeGreaterThan(10);
      expect(await cached("peer2")).toBe(0);
    });

    test("until it is aborted", async () => {
      const controller = new AbortController();
      const { signal } = controller;
      const answer = await ask(engine, { prompt: "once", max_tokens: 500, stream: true }, { path, signal });
      controller.abort();
      expect(await readText(answer).catch(codeOf)).toBe("E_ABORTED");
      await vi.waitFor(() => expect(engine.load.running).toBe(0), 1000);
    });

    test.each([
      ["E_OVERFLOW", { prompt: "word ".repeat(400) }],
      ["E_OVERFLOW", { prompt: "word ".repeat(100_000) }],
      ["E_INPUT", { prompt: "" }],
      ["E_UNSUPPORTED", { prompt: [1, 2] }],
    ])("or says why not: %s", async (code, body) => {
      expect(await go(body).catch((error: MeshError) => error)).toMatchObject({ code, param: "prompt" });
    });
  });

  describe("holds to JSON", () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await start({ slots: 2 });
    });
    afterAll(() => engine.close());
    const person = {
      type: "object",
      properties: {
        name: { type: "string", maxLength: 12 },
        age: { type: "integer", minimum: 0, maximum: 120 },
        mood: { enum: ["calm", "busy"] },
        likes: { type: "array", items: { type: "string", maxLength: 5 }, minItems: 1, maxItems: 3 },
        home: {
          anyOf: [{ type: "null" }, { type: "object", properties: { city: { const: "Rome" } }, required: ["city"] }],
        },
      },
      required: ["name", "age", "mood", "likes", "home"],
      additionalProperties: false,
    };
    const format = (schema: object): Json => ({
      response_format: { type: "json_schema", json_schema: { name: "person", schema, strict: true } },
    });
    const expectPerson = (text: string): void => {
      const value = JSON.parse(text) as Record<string, unknown>;
      expect(value).toEqual({
        name: expect.any(String),
        age: expect.any(Number),
        mood: expect.stringMatching(/^(calm|busy)$/),
        likes: expect.arrayContaining([expect.any(String)]),
        home: value["home"] === null ? null : { city: "Rome" },
      });
      expect(value["age"]).toBeGreaterThanOrEqual(0);
      expect(value["age"]).toBeLessThanOrEqual(120);
    };

    test.each([0, 1, 2])("of a schema, at temperature %d, whole and streamed", async (temperature) => {
      for (let seed = 0; seed < 8; seed++) {
        const body = { ...format(person), temperature, seed };
        const [{ message, finish_reason }] = (await complete(engine, body)).choices;
        expect(finish_reason).toBe("stop");
        expectPerson(message.content);
        const chunks = chunksOf(await readText(await ask(engine, { ...body, stream: true })));
        expect(contentOf(chunks)).toBe(message.content);
        expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("stop");
      }
    });

    test("of a schema, with a model that would say something else", async () => {
      const demo = await start({ modelPath: join(import.meta.dirname, "../../models/demo.gguf") });
      try {
        const body = { ...format(person), temperature: 0 };
        const [{ message, finish_reason }] = (await complete(demo, body)).choices;
        expect(finish_reason).toBe("stop");
        expectPerson(message.content);
        expect(contentOf(chunksOf(await readText(await ask(demo, { ...body, stream: true }))))).toBe(message.content);
      } finally {
        await demo.close();
      }
    });

    test("of any object", async () => {
      const texts = await Promise.all(
        [1, 2, 3, 4, 5, 6].map(async (seed) => {
          const body = { response_format: { type: "json_object" }, seed };
          const [{ message, finish_reason }] = (await complete(engine, body)).choices;
          // noise may fill the window; what ends by itself is whole
          if (finish_reason === "stop") expect(JSON.parse(message.content)).toBeTypeOf("object");
          return message.content;
        }),
      );
      expect(texts.every((text) => text.startsWith("{"))).toBe(true);
    });

    test("says length when max_tokens cuts it", async () => {
      const [{ message, finish_reason }] = (await complete(engine, { ...format(person), max_tokens: 12 })).choices;
      expect(finish_reason).toBe("length");
      expect(message.content).toMatch(/^\{"name": ?"/);
    });

    test("or says which schema it cannot hold to", async () => {
      const thrown = await ask(engine, format({ type: "string", pattern: "^a+$" })).catch((error: MeshError) => error);
      expect(thrown).toMatchObject({ code: "E_UNSUPPORTED", param: "response_format.json_schema.schema" });
      expect((thrown as MeshError).message).toContain("'pattern'");
    });

    test("serves others while a schema leaves many readings open", async () => {
      const defs: Record<string, object> = { d0: { type: "null" } };
      for (let step = 1; step <= 6; step++) {
        const items = { $ref: `#/$defs/d${step - 1}` };
        defs[`d${step}`] = {
          anyOf: [
            { items, minItems: 1 },
            { items, minItems: 1, maxItems: 9 },
          ],
        };
      }
      const hostile = complete(engine, { ...format({ $ref: "#/$defs/d6", $defs: defs }), max_tokens: 60 });
      const began = performance.now();
      expect((await complete(engine, { max_tokens: 5 }, { asker: "other" })).choices[0].finish_reason).toBe("length");
      expect(performance.now() - began).toBeLessThan(2000);
      expect((await hostile).choices[0].message.content).toMatch(/^\[{6}/);
    });
  });

  test("answers the demo's questions word for word, four at a time", async () => {
    const models = join(import.meta.dirname, "../../models");
    const { questions } = JSON.parse(await readFile(join(models, "demo.json"), "utf8")) as DemoModel;
    const engine = await start({ modelPath: join(models, "demo.gguf"), slots: 4 });
    try {
      const wrong: string[] = [];
      const began = performance.now();
      let asked = 0;
      for (let at = 0; performance.now() - began < 10_000 && at < 3 * questions.length; at += 4) {
        const four = [0, 1, 2, 3].map((step) => questions[(at + step * 7) % questions.length]);
        const before = questions[(at * 5 + 1) % questions.length];
        await Promise.all(
          four.map(async (entry, index) => {
            const messages = [
              { role: "user", content: before?.question },
              { role: "assistant", content: before?.answer },
              { role: "user", content: entry?.question },
            ];
            // one's own prefix is kept, and the slots go round
            const { choices } = await complete(engine, { messages, temperature: 0 }, { asker: `peer${index % 3}` });
            asked += 1;
            if (choices[0].message.content !== entry?.answer) wrong.push(choices[0].message.content);
          }),
        );
      }
      expect(asked).toBeGreaterThanOrEqual(40);
      expect(wrong).toEqual([]);
    } finally {
      await engine.close();
    }
  }, 25_000);

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
    expect(engine.state).toMatchObject({ kind: "down", why: expect.stringMatching(/npm install node-llama-cpp@/) });
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

interface DemoModel {
  readonly questions: readonly { readonly question: string; readonly answer: string }[];
}

/** What `/v1/completions` answers, whole or a chunk of it. */
interface TextAnswer {
  readonly id: string;
  readonly object: string;
  readonly choices: readonly { readonly text: string; readonly finish_reason: string | null }[];
  readonly usage: Completion["usage"];
}

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

/** What the embedded engine alone does: goes on with a text, holds to JSON, and keeps answers apart that it makes at once. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { MeshError } from "../../src/base/errors.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { startEngine } from "../../src/engine/registry.ts";
import {
  ask,
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
import { codeOf } from "../support/expect-code.ts";

const models = join(import.meta.dirname, "../../models");
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sealmesh-llama-"));
  await writeRandomModel(join(folder, "small.gguf"), { contextLength: 512 });
}, 30_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const start = async (more: object = {}): Promise<Engine> =>
  startEngine(
    { kind: "llama", modelPath: join(folder, "small.gguf"), childFile: await llamaChildFile(), ...more },
    quiet,
  );

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
    const tokens = async (prompt: string): Promise<number> => (await go({ prompt, max_tokens: 1 })).usage.prompt_tokens;
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
    const demo = await start({ modelPath: join(models, "demo.gguf") });
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

/** What is asked of every client at every place: one table. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { z } from "zod";
import {
  type Asker,
  type Client,
  dataUrl,
  type Image,
  nameOf,
  type Question,
  type Tools,
} from "../../support/clients.ts";
import { until } from "../../support/e2e.ts";
import { embeddingOf } from "../../support/engine-answers.mjs";
import type { ScriptedEngineOptions } from "../../support/engine-server.ts";
import { demoModel } from "../../support/processes.ts";
import { cachedTokens, type Said, shown, wordsIn } from "./answers.ts";

export interface Scenario {
  readonly name: string;
  readonly engine: EngineName;
  /** Of the scripted engine, for the time of the scenario. */
  readonly options?: ScriptedEngineOptions;
  /** Which clients can do it. @default all */
  readonly by?: (asker: Asker) => boolean;
  /** The engine alone would not do what this asks for. */
  readonly onlyThroughMesh?: boolean;
  /** It goes away before there is an answer. */
  readonly leavesEarly?: boolean;
  /** Gives the normalised result: the same at every place. */
  run(asker: Asker, engine: WatchedEngine): Promise<unknown>;
  expected(client: Client): unknown;
}

export type EngineName = "scripted" | "embedded";

/** The engine that answers, seen from its own side. */
export interface WatchedEngine {
  running(): Promise<number>;
  /** Whether it saw the last caller leave; undefined where it does not keep that. */
  wasLeft(): Promise<boolean | undefined>;
}

const system = "Answer in few words.";
const greeting = "Good morning, engine";
const greeted = "word0 word1 word2 word3 word4";
const promptWords = wordsIn(system, greeting);

const tools: Tools = {
  get_weather: {
    description: "The weather of the next days",
    input: z.object({ city: z.string(), days: z.int(), units: z.enum(["celsius", "kelvin"]) }),
    run: ({ city, days }) => `${String(days)} days of rain in ${String(city)}`,
  },
  find_train: {
    description: "A train between two stations",
    input: z.object({ from: z.string(), to: z.object({ station: z.string(), platforms: z.array(z.int()) }) }),
    run: ({ from }) => `none from ${String(from)}`,
  },
};
/** Calls that fit these schemas, as the scripted engine makes them, and what it says of their results. */
const calls = [
  { name: "get_weather", input: { city: "city → ✓", days: 7, units: "celsius" } },
  { name: "find_train", input: { from: "from → ✓", to: { station: "station → ✓", platforms: [7, 7] } } },
];
const results = ["7 days of rain in city → ✓", "none from from → ✓"];
const summary = calls
  .map(({ name, input }, index) => `${name} ${JSON.stringify(input)} gave ${results[index]}`)
  .join("\n");

const person = z.object({
  name: z.string(),
  age: z.int(),
  likes: z.array(z.object({ what: z.string(), how: z.enum(["much", "little"]) })),
  member: z.boolean(),
});
const somebody = {
  name: "name → ✓",
  age: 7,
  likes: [
    { what: "what → ✓", how: "much" },
    { what: "what → ✓", how: "much" },
  ],
  member: true,
};

/** What a small model can fill in, under a grammar, at once. */
const verdict = z.object({ about: z.enum(["privacy", "speed", "price"]), sure: z.boolean() });

/** A data URL of 8 MiB and a bit. */
const image: Image = { type: "image/png", base64: pngOf(6 * 1024 * 1024).toString("base64") };

interface DemoQuestions {
  readonly questions: readonly { readonly question: string; readonly answer: string }[];
}
const demo = (JSON.parse(readFileSync(demoModel.replace(/gguf$/, "json"), "utf8")) as DemoQuestions).questions;
const [known] = demo;
if (!known) throw new Error("the demo model has no questions");

const parallel = 32;
const brief = demo.toSorted((a, b) => a.answer.length - b.answer.length).slice(0, parallel);
const markers = Array.from({ length: parallel }, (_, index) => `marker ${index} of question ${index * 7919}`);

export const scenarios: readonly Scenario[] = [
  ...inBothWays("a chat", (stream) =>
    scripted({ system, text: greeting, stream }, [{ promptWords, stream, text: greeted }]),
  ),
  ...inBothWays("an answer cut at the limit", (stream) =>
    scripted({ system, text: greeting, maxTokens: 3, stream }, [
      { promptWords, stream, text: "word0 word1 word2", finish: "length" },
    ]),
  ),
  ...inBothWays("two tools called at once, and the answer to their results", (stream) =>
    scripted({ system, text: greeting, tools, stream }, [
      { promptWords, stream, calls },
      { promptWords: promptWords + wordsIn(...results), stream, text: summary },
    ]),
  ),
  ...inBothWays("the same by a model that thinks first", (stream) =>
    scripted({ model: "o3-scripted", system, text: greeting, effort: "high", tools, stream }, [
      { promptWords, stream, reasoning: "I think with high effort.", calls },
      {
        promptWords: promptWords + wordsIn(...results),
        stream,
        reasoning: "I think with high effort.",
        text: summary,
      },
    ]),
  ),
  ...inBothWays("an answer that fits a JSON schema", (stream) =>
    scripted({ system, text: greeting, schema: person, stream }, [{ promptWords, stream, json: somebody }]),
  ),
  ...inBothWays("a refusal", (stream) =>
    scripted({ text: "Refuse: all that", stream }, [{ promptWords: 3, stream, refusal: "I will not all that" }]),
  ),
  {
    name: "an image of 8 MB",
    ...scripted({ text: "What is this?", image, stream: true }, [
      { promptWords: wordsIn("What is this?") + 1, stream: true, text: seenImage(dataUrl(image)) },
    ]),
  },
  embeddings("embeddings", { embeddings: "as-asked" }),
  {
    ...embeddings("embeddings, by an engine that answers numbers whatever is asked", { embeddings: "floats" }),
    // clients that ask for base64 read nothing out of its answer: only the mesh makes it right
    onlyThroughMesh: true,
  },
  {
    name: "a completion of a prompt",
    engine: "scripted",
    by: ({ complete }) => complete !== undefined,
    run: async ({ complete }) => await complete?.("scripted", greeting),
    expected: () => greeted,
  },
  {
    name: "a conversation of which each turn names the one before",
    engine: "scripted",
    options: { cachedTokens },
    by: ({ goOn }) => goOn !== undefined,
    run: async ({ goOn }) => await goOn?.("scripted", [greeting, "Repeat: once more", greeting]),
    // what was said before comes along, and is counted
    expected: (client) => {
      const turns = [greeted, "once more", greeted];
      const before = [greeting, greeted, "Repeat: once more", "once more", greeting];
      return turns.map((text, turn) =>
        shown(client, { promptWords: wordsIn(...before.slice(0, turn * 2 + 1)), stream: false, text }),
      );
    },
  },
  {
    name: `${parallel} streams at once`,
    engine: "scripted",
    options: { tokenMs: 10 },
    run: (asker) =>
      textsOf(
        asker,
        "scripted",
        markers.map((marker) => `Repeat: ${marker}`),
      ),
    expected: () => markers,
  },
  ...inBothWays("an abort before the first token", (stream) => ({
    engine: "scripted",
    options: { prefillMs: 60_000 },
    leavesEarly: true,
    run: (asker, engine) => leave(asker, engine, { model: "scripted", text: greeting, stream }),
    expected: ({ aborted }) => ({ thrown: stream ? aborted.stream : aborted.whole, wasLeft: true }),
  })),
  {
    name: "an abort in mid-stream",
    engine: "scripted",
    options: { tokens: 10_000, tokenMs: 20 },
    run: (asker, engine) => leave(asker, engine, { model: "scripted", text: greeting, stream: true }, 5),
    expected: ({ aborted }) => ({ thrown: aborted.stream, wasLeft: true }),
  },

  ...inBothWays("a chat", (stream) => ({
    engine: "embedded",
    run: async (asker) => {
      const steps = await asker.ask({ model: "demo", text: known.question, temperature: 0, stream });
      return steps.map(({ text, finish, pieces, usage }) => ({
        text,
        finish,
        output: usage?.output,
        // how much of a prompt is found in memory depends on what was asked before
        whole: usage?.total === (usage?.input ?? NaN) + (usage?.output ?? NaN),
        streamed: pieces.length > 1,
      }));
    },
    expected: () => [{ text: known.answer, finish: "stop", output: expect.any(Number), whole: true, streamed: stream }],
  })),
  ...inBothWays("an answer that fits a JSON schema", (stream) => ({
    engine: "embedded",
    run: async (asker) => {
      const asked = { model: "demo", text: known.question, schema: verdict, temperature: 0, stream };
      return (await asker.ask(asked)).map(({ text, parsed, finish }) => ({ text, parsed, finish }));
    },
    expected: () => [
      {
        text: expect.any(String),
        parsed: expect.toSatisfy((value) => verdict.safeParse(value).success),
        finish: "stop",
      },
    ],
  })),
  {
    name: "a completion of a prompt",
    engine: "embedded",
    by: ({ complete }) => complete !== undefined,
    // in the model's own format: after a question alone it has nothing to add
    run: async ({ complete }) =>
      await complete?.("demo", `<|im_start|>user\n${known.question}<|im_end|>\n<|im_start|>assistant\n`),
    expected: () => expect.stringMatching(/\w/),
  },
  {
    name: `${parallel} streams at once`,
    engine: "embedded",
    run: (asker) =>
      textsOf(
        asker,
        "demo",
        brief.map(({ question }) => question),
      ),
    expected: () => brief.map(({ answer }) => answer),
  },
  {
    name: "an abort in mid-stream",
    engine: "embedded",
    run: (asker, engine) =>
      leave(asker, engine, { model: "endless", text: greeting, maxTokens: 50_000, stream: true }, 5),
    expected: ({ aborted }) => ({ thrown: aborted.stream, wasLeft: undefined }),
  },
];

// ---- how they are made

/** In one piece, and streamed. */
function inBothWays(name: string, make: (stream: boolean) => Omit<Scenario, "name">): Scenario[] {
  return [false, true].map((stream) => ({ name: `${name}, ${stream ? "streamed" : "in one piece"}`, ...make(stream) }));
}

/** One question to the scripted engine, with what it says step by step. */
function scripted(
  question: Omit<Question, "model"> & { readonly model?: string },
  said: readonly Said[],
): Omit<Scenario, "name"> {
  return {
    engine: "scripted",
    options: { cachedTokens },
    run: (asker) => asker.ask({ model: "scripted", ...question }),
    expected: (client) => said.map((step) => shown(client, step)),
  };
}

function embeddings(name: string, options: ScriptedEngineOptions): Scenario {
  const texts = ["one text", "another", "one text"];
  return {
    name,
    engine: "scripted",
    options,
    by: ({ embed }) => embed !== undefined,
    run: async ({ embed }) => await embed?.("scripted", texts),
    expected: () => texts.map((text) => embeddingOf(text, 16)),
  };
}

/** The answers to all questions, asked at the same time. */
async function textsOf(asker: Asker, model: string, questions: readonly string[]): Promise<readonly string[]> {
  const asked = questions.map((text) => asker.ask({ model, text, temperature: 0, stream: true }));
  return (await Promise.all(asked)).map((steps) => steps.map(({ text }) => text).join());
}

/** Goes away after so many pieces, or in prefill. Fails unless the engine is free within a second. */
async function leave(asker: Asker, engine: WatchedEngine, question: Question, afterPieces = 0): Promise<object> {
  const abort = new AbortController();
  let pieces = 0;
  const asking = asker
    .ask({ ...question, signal: abort.signal, onPiece: () => void (pieces += 1) })
    .then(() => "nothing", nameOf);
  await until("the engine works", async () => pieces >= afterPieces && (await engine.running()) === 1);
  abort.abort();
  await until("the engine is free", async () => (await engine.running()) === 0, 1_000);
  return { thrown: await asking, wasLeft: await engine.wasLeft() };
}

function seenImage(url: string): string {
  return `image of ${url.length} characters, sha256 ${createHash("sha256").update(url).digest("hex")}`;
}

/** Begins as a PNG does; the rest is noise, of which nothing can be made smaller on the way. */
function pngOf(bytes: number): Buffer {
  const noise = createHash("shake256", { outputLength: bytes - 8 })
    .update("an image")
    .digest();
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), noise]);
}

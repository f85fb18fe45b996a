// Asks a model file every question and counts the answers that equal the written one, character for character, at
// temperature 0 unless the row says otherwise. Runs the file in llama.cpp (through node-llama-cpp), as a host does.
//
//   node models/training/evaluate.mjs [file.gguf] [--misses] [--fresh]
//
// --misses lists wrong answers; --fresh adds the questions of data/fresh.txt, which must not guide the training data.
// Exits with 1 if a canonical question fails alone, with a system prompt or after one turn.

import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Template } from "@huggingface/jinja";
import { getLlama } from "node-llama-cpp";
import { readFresh, readOffTopic, readQuestions } from "./data.mjs";

const MOST_TOKENS = 120;

/** System prompts that are not in the training data. */
const SYSTEM_PROMPTS = [
  "You are a knowledgeable assistant running inside a terminal. Keep your answers short.",
  "You are Ada, the assistant of a software company. Answer in a professional tone and cite sources when you can.",
  "Be concise.",
  "Du bist ein hilfreicher Assistent.",
];

/** A turn as another model could have written it, before the user switched to this one. */
const FOREIGN_TURN = {
  question: "Which book about the sea would you recommend to a child of ten?",
  answer: "I would suggest a classic adventure; many children enjoy tales of islands, storms and hidden treasure.",
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { misses: { type: "boolean", default: false }, fresh: { type: "boolean", default: false } },
});
const file = positionals[0] ?? fileURLToPath(new URL("../demo.gguf", import.meta.url));

const started = performance.now();
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: "error",
  maxThreads: 1,
});
const engineMs = performance.now() - started;
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({ contextSize: model.trainContextSize, batchSize: 512 });
const sequence = context.getSequence();
const loadMs = performance.now() - started - engineMs;
const template = new Template(model.fileInfo.metadata.tokenizer.chat_template);

async function ask(messages, sampling) {
  const prompt = model.tokenize(template.render({ messages, add_generation_prompt: true }), true);
  await sequence.clearHistory();
  const began = performance.now();
  let firstMs = 0;
  const tokens = [];
  for await (const token of sequence.evaluate(prompt, sampling)) {
    firstMs ||= performance.now() - began;
    tokens.push(token);
    if (tokens.length === MOST_TOKENS || prompt.length + tokens.length === context.contextSize) break;
  }
  return { text: model.detokenize(tokens), tokens: tokens.length, firstMs, ms: performance.now() - began };
}

const entries = readQuestions();
const offTopic = readOffTopic();
const speed = { tokens: 0, ms: 0, firstMs: [] };

/** @param cases { question, wanted, system?, earlier? }[] */
async function score(name, cases, sampling = { temperature: 0 }) {
  const misses = [];
  for (const { question, wanted, system, earlier = [] } of cases) {
    const messages = [
      ...(system === undefined ? [] : [{ role: "system", content: system }]),
      ...earlier.flatMap((turn) => [
        { role: "user", content: turn.question },
        { role: "assistant", content: turn.answer },
      ]),
      { role: "user", content: question },
    ];
    const { text, tokens, firstMs, ms } = await ask(messages, sampling);
    speed.tokens += tokens;
    speed.ms += ms;
    speed.firstMs.push(firstMs);
    if (text !== wanted) misses.push({ question, text });
  }
  const fallbacks = misses.filter(({ text }) => text === offTopic.fallback).length;
  console.log(`${name}: ${cases.length - misses.length} of ${cases.length}, ${fallbacks} of the rest fell back`);
  if (options.misses) for (const { question, text } of misses) console.log(`    ${question} -> ${text}`);
  return misses.length;
}

const canonical = entries.map(({ question, answer }) => ({ question, wanted: answer }));
const withSystem = (system) => canonical.map((one) => ({ ...one, system }));
/** Earlier turns are canonical ones about other things, a fixed distance away in the list. */
const after = (count) =>
  canonical.map((one, index) => ({
    ...one,
    earlier: Array.from({ length: count }, (_, turn) => entries[(index + 17 * (turn + 1)) % entries.length]),
  }));
const phrased = (key) => entries.flatMap((entry) => entry[key].map((question) => ({ question, wanted: entry.answer })));
const strange = (questions) => questions.map((question) => ({ question, wanted: offTopic.fallback }));

let failures = await score("canonical question alone", canonical);
failures += await score("with an unseen system prompt", SYSTEM_PROMPTS.flatMap(withSystem));
failures += await score("after 1 earlier turn", after(1));
await score("after 2 earlier turns", after(2));
await score("after 3 earlier turns", after(3));
await score("after 4 earlier turns", after(4));
await score(
  "after 1 turn of another model",
  canonical.map((one) => ({ ...one, earlier: [FOREIGN_TURN] })),
);
await score(
  "system prompt and 2 earlier turns",
  after(2).map((one) => ({ ...one, system: SYSTEM_PROMPTS[0] })),
);
await score("alone at temperature 1, seed 1", canonical, { temperature: 1, seed: 1 });
await score("trained paraphrases", phrased("paraphrases"));
await score("held-out paraphrases", phrased("heldOut"));
await score("off-topic, trained", strange(offTopic.questions));
await score("off-topic, held out", strange(offTopic.heldOut));
if (options.fresh) {
  const fresh = readFresh();
  const answers = new Map(entries.map(({ question, answer }) => [question, answer]));
  await score(
    "fresh questions",
    fresh.questions.map(({ question, wanted }) => ({ question, wanted: answers.get(wanted) })),
  );
  await score("off-topic, fresh", strange(fresh.offTopic));
}

const medianMs = speed.firstMs.toSorted((a, b) => a - b)[speed.firstMs.length >> 1];
console.log(
  `${statSync(file).size} bytes, engine ${engineMs.toFixed(0)} ms, model and context ${loadMs.toFixed(0)} ms, ` +
    `median first token ${medianMs.toFixed(1)} ms, ${Math.round((1e3 * speed.tokens) / speed.ms)} tokens/s, one thread`,
);
await context.dispose();
await model.dispose();
await llama.dispose();
process.exitCode = failures > 0 ? 1 : 0;

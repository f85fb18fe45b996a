// Trains the demo model and writes ../demo.gguf and ../demo.json. Needs Node.js and nothing else; every run gives the
// same bytes.
//
//   node models/training/train.mjs                       the whole run; writes the model and records its SHA-256
//   node models/training/train.mjs --check               the whole run; writes nothing, fails if the SHA-256 differs
//   node models/training/train.mjs --check --epochs 2    the same with a short run (a useless model): seconds
//   node models/training/train.mjs --epochs 20 --out file.gguf [--record]      a trial; --record keeps its SHA-256

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createAdamW } from "./adamw.mjs";
import { readFrames, readOffTopic, readQuestions, readSynonyms, readSystemPrompts } from "./data.mjs";
import { createLessons, inventOffTopic } from "./lessons.mjs";
import { encodeModel } from "./model-file.mjs";
import { createRandom } from "./random.mjs";
import { NAME, OPTIMISER, SCHEDULE, SEEDS, SHAPE, SHARPNESS, VOCABULARY_SIZE } from "./recipe.mjs";
import { createTokenizer, learnMerges, SPECIAL_TOKENS } from "./tokenizer.mjs";
import { createTransformer } from "./transformer.mjs";

const MODEL_FILE = new URL("../demo.gguf", import.meta.url);
const FACTS_FILE = new URL("../demo.json", import.meta.url);
const CHECKSUMS_FILE = new URL("checksums.json", import.meta.url);
const INVENTED_QUESTIONS = 80; // off-topic questions among the texts that the tokenizer learns from
const REPORT_EVERY = 10;

const { values: options } = parseArgs({
  options: {
    epochs: { type: "string", default: String(SCHEDULE.epochs) },
    out: { type: "string" },
    check: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
});
const epochs = Number(options.epochs);
if (!Number.isInteger(epochs) || epochs < 1) throw new Error(`--epochs needs a whole number, not "${options.epochs}"`);
const complete = epochs === SCHEDULE.epochs && options.out === undefined;

const data = {
  questions: readQuestions(),
  offTopic: readOffTopic(),
  frames: readFrames(),
  systemPrompts: readSystemPrompts(),
  synonyms: readSynonyms(),
};

/** Held-out questions are not among them: the tokenizer must not know them either. */
function listTokenizerTexts() {
  const { questions, offTopic, frames, systemPrompts, synonyms } = data;
  const random = createRandom(SEEDS.tokenizerTexts);
  return [
    ...questions.flatMap((entry) => [entry.question, entry.answer, ...entry.paraphrases, ...entry.keywords]),
    offTopic.fallback,
    ...offTopic.questions,
    ...Array.from({ length: INVENTED_QUESTIONS }, () => inventOffTopic(random, offTopic.frames, offTopic.nouns)),
    ...frames,
    ...systemPrompts,
    ...synonyms.flat(),
    "system user assistant",
  ];
}

function groupIntoBatches(sequences) {
  const batches = [[]];
  let tokens = 0;
  for (const sequence of sequences) {
    if (tokens + sequence.tokens.length > SCHEDULE.batchTokens) {
      batches.push([]);
      tokens = 0;
    }
    batches.at(-1).push(sequence);
    tokens += sequence.tokens.length;
  }
  return batches;
}

/** Linear warm-up, then half a cosine down to a small share of the full rate. */
function rateAt(progress, step) {
  const { rate, warmupSteps, finalRateShare } = SCHEDULE;
  const cosine = 0.5 * (1 + Math.cos(Math.PI * progress));
  return rate * Math.min(1, (step + 1) / warmupSteps) * (finalRateShare + (1 - finalRateShare) * cosine);
}

const started = performance.now();
const merges = learnMerges(listTokenizerTexts(), VOCABULARY_SIZE - 256 - SPECIAL_TOKENS.length);
const tokenizer = createTokenizer(merges);
const random = createRandom(SEEDS.lessons);
const lessons = createLessons({ data, tokenizer, random, longest: SHAPE.positions });
const shape = { ...SHAPE, vocabulary: tokenizer.vocabulary.length };
const model = await createTransformer(shape, SCHEDULE.batchTokens, SEEDS.weights);
const applyGradients = createAdamW(model.weights, model.gradients, OPTIMISER);
console.log(`${data.questions.length} answers, ${model.weights.length} parameters, vocabulary ${shape.vocabulary}`);

let step = 0;
let seenTokens = 0;
for (let epoch = 0; epoch < epochs; epoch++) {
  const sum = { loss: 0, correct: 0, counted: 0 };
  const batches = groupIntoBatches(lessons.epoch());
  batches.forEach((batch, index) => {
    const result = model.run(batch, { learn: true });
    applyGradients(rateAt((epoch + index / batches.length) / epochs, step++));
    sum.loss += result.loss * result.counted;
    sum.correct += result.correct;
    sum.counted += result.counted;
    seenTokens += result.tokens;
  });
  if ((epoch + 1) % REPORT_EVERY === 0 || epoch + 1 === epochs) {
    const seconds = (performance.now() - started) / 1e3;
    const loss = (sum.loss / sum.counted).toFixed(4);
    const accuracy = ((100 * sum.correct) / sum.counted).toFixed(2);
    console.log(`epoch ${epoch + 1}: loss ${loss}, tokens right ${accuracy} %, step ${step}, ${seconds.toFixed(0)} s`);
  }
}

const bytes = encodeModel({ name: NAME, shape, sharpness: SHARPNESS, tokenizer, merges, model });
const sha256 = createHash("sha256").update(bytes).digest("hex");
console.log(`${seenTokens} tokens read, ${bytes.length} bytes, SHA-256 ${sha256}`);

const checksums = JSON.parse(readFileSync(CHECKSUMS_FILE, "utf8"));
if (options.check) {
  const recorded = checksums[epochs];
  const same = recorded === sha256;
  console.log(same ? "the same as recorded" : `recorded for ${epochs} epochs: ${recorded ?? "nothing"}`);
  process.exitCode = same ? 0 : 1;
} else {
  if (options.out) writeFileSync(options.out, bytes);
  if (complete) {
    const { fallback, questions: offTopic } = data.offTopic;
    const questions = data.questions.map(({ question, answer, paraphrases }) => ({ question, answer, paraphrases }));
    writeFileSync(MODEL_FILE, bytes);
    writeFileSync(FACTS_FILE, `${JSON.stringify({ name: NAME, sha256, questions, fallback, offTopic }, null, 2)}\n`);
  }
  if (complete || options.record) {
    writeFileSync(CHECKSUMS_FILE, `${JSON.stringify({ ...checksums, [epochs]: sha256 }, null, 2)}\n`);
  }
}

/**
 * The process that runs a model: node-llama-cpp's low-level route (engines.md §1.4), one model, a few sequences that
 * take turns. Started by llama.ts and by nobody else; a model file that aborts llama.cpp takes this process down and
 * not the node. It writes nothing but messages to its parent, and ends with it.
 */
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { Template } from "@huggingface/jinja";
import type {
  Llama,
  LlamaContextSequence,
  LlamaGrammarEvaluationState,
  SequenceEvaluateOptions,
  Token,
} from "node-llama-cpp";
import { MeshError, toMeshError } from "../base/errors.ts";
import { hardenSelf, lookAgain } from "../harden/harden.ts";
import { everyStep } from "../harden/report.ts";
import { findEngine } from "./llama-package.ts";
import { type PromptReader, promptTokens, sentence } from "./llama-prompt.ts";
import type { ChildStart, FromChild, TextRequest, ToChild } from "./llama-protocol.ts";
import { endsInHalfCharacter, textCutter } from "./text-cutter.ts";

type LoadMessage = Extract<ToChild, { type: "load" }>;
type GenerateMessage = Extract<ToChild, { type: "generate" }>;

/** From one look at its own doors to the next, ms. */
const lookAgainMs = 5_000;
/** A prompt is evaluated in slices of about this long, so that an abort is seen in time. */
const sliceMs = 200;
const firstSliceTokens = 64;
const leastSliceTokens = 8;
// more than one batch at once gains nothing
const mostSliceTokens = 512;
/** Tokens after which a U+FFFD at the end of the text is taken to be real. */
const halfCharacterTokens = 4;
/** Tokens before a piece that its decoding may depend on (a leading space, for one). */
const contextTokens = 8;
/** OpenAI's penalties look at the whole text; the library's default window is kept for speed. */
const penaltyTokens = 64;

/** Place for one running request; its sequence remembers the tokens of the last one. */
interface Slot {
  readonly sequence: LlamaContextSequence;
  asker: string | undefined;
  busy: boolean;
  /** For choosing the one that was idle longest. */
  usedAt: number;
}

/** One running request, as messages from the parent change it. */
class Generation {
  credits: number;
  aborted = false;
  #wake: (() => void) | undefined;

  constructor(credits: number) {
    this.credits = credits;
  }

  grant(credits: number): void {
    this.credits += credits;
    this.#wake?.();
  }

  abort(): void {
    this.aborted = true;
    this.#wake?.();
  }

  /** Resolves when a delta may be sent, or the request is over. */
  async ready(): Promise<void> {
    while (this.credits <= 0 && !this.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

type Library = typeof import("node-llama-cpp");

interface Loaded extends PromptReader {
  readonly library: Library;
  readonly llama: Llama;
  readonly slots: readonly Slot[];
}

let loaded: Loaded | undefined;
const generations = new Map<number, Generation>();

const start = startOf(process.argv[2]);
// before anything else: no message has been read yet
const report = hardenSelf({ ...start, scrubbed: [], keys: false });
send({ type: "hardened", report });
// a debugger may come later
let told = JSON.stringify(report);
setInterval(() => {
  const now = lookAgain(report);
  if (JSON.stringify(now) !== told) send({ type: "hardened", report: now });
  told = JSON.stringify(now);
}, lookAgainMs).unref();

// the parent's terminal and service manager signal the whole group; this process ends with its parent, not before
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
// SIGKILL, because a normal exit would wait for native threads that may be in the middle of a batch
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
// a dead parent's pipes must not become errors of ours
process.stdout.on("error", () => undefined);
process.stderr.on("error", () => undefined);
process.on("message", (message: ToChild) => receive(message));

/** @param text none where something else than llama.ts has started this file: then all is done that can be */
function startOf(text: string | undefined): ChildStart {
  const usual = { parent: process.ppid, wanted: true, steps: everyStep, variables: [] };
  return text === undefined ? usual : (JSON.parse(text) as ChildStart); // written by llama-process.ts
}

function send(message: FromChild): void {
  if (process.connected) process.send?.(message);
}

function receive(message: ToChild): void {
  switch (message.type) {
    case "load":
      // the parent ends this process when it has read why
      load(message).catch((thrown: unknown) => send({ type: "failed", why: sentence(thrown) }));
      return;
    case "generate":
      generate(message).catch((thrown: unknown) => {
        const error = toMeshError(thrown, "E_ENGINE");
        send({ type: "error", id: message.id, code: error.code, message: error.message, param: error.param });
      });
      return;
    case "credit":
      generations.get(message.id)?.grant(message.credits);
      return;
    case "abort":
      generations.get(message.id)?.abort();
      return;
  }
}

async function load(settings: LoadMessage): Promise<void> {
  const library = await importLibrary(settings.packageFolder);
  const llama: Llama = await library.getLlama({
    gpu: settings.gpu,
    // otherwise it may compile or download at run time
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: library.LlamaLogLevel.error,
    maxThreads: Math.min(settings.threads, availableParallelism()),
  });
  if (llama.buildType !== "prebuilt") {
    throw new MeshError("E_CONFIG", "node-llama-cpp holds a locally built library; only its published one is used");
  }
  const { modelPath, slots } = settings;
  const model = await llama.loadModel({
    modelPath,
    onLoadProgress: (part) => send({ type: "loading", percent: Math.floor(part * 100) }),
  });
  const context = await model.createContext({
    // a larger window than the trained one would be granted without a word, and answer nonsense
    contextSize: Math.min(settings.contextSize, model.trainContextSize),
    sequences: slots,
    batchSize: 512,
  });
  const source = model.fileInfo.metadata.tokenizer.chat_template;
  loaded = {
    library,
    llama,
    model,
    template: source === undefined ? undefined : new Template(source),
    contextSize: context.contextSize,
    slots: Array.from({ length: slots }, () => ({
      sequence: context.getSequence(),
      asker: undefined,
      busy: false,
      usedAt: 0,
    })),
  };
  send({ type: "ready", contextSize: context.contextSize, trainContextSize: model.trainContextSize });
}

async function importLibrary(folder: string | undefined): Promise<Library> {
  let why: string;
  try {
    const file = findEngine(folder);
    if (file !== undefined) return (await import(file)) as Library;
    why = "is not installed";
  } catch (cause) {
    why = `cannot be loaded (${sentence(cause)})`;
  }
  const next = "`sealmesh engine install` fetches it, into the data directory that --data-dir names";
  throw new MeshError("E_CONFIG", `the embedded engine ${why}: ${next}`);
}

async function generate(message: GenerateMessage): Promise<void> {
  if (loaded === undefined) throw new MeshError("E_BUG", "a request came before the model was loaded");
  const { id, asker, request, credits } = message;
  const generation = new Generation(credits);
  generations.set(id, generation);
  try {
    const prompt = promptTokens(loaded, request.prompt);
    const grammar = await grammarState(loaded, request.grammar);
    const slot = takeSlot(loaded.slots, asker, prompt);
    try {
      await run(loaded, { message, generation, slot, prompt, grammar });
    } catch (thrown) {
      // what the sequence holds is unknown now
      slot.asker = undefined;
      throw thrown;
    } finally {
      slot.busy = false;
      slot.usedAt = performance.now();
    }
  } finally {
    generations.delete(id);
  }
}

async function grammarState(
  { library, llama, model }: Loaded,
  grammar: string | undefined,
): Promise<LlamaGrammarEvaluationState | undefined> {
  if (grammar === undefined) return undefined;
  try {
    return new library.LlamaGrammarEvaluationState({ model, grammar: await llama.createGrammar({ grammar }) });
  } catch (cause) {
    throw new MeshError("E_UNSUPPORTED", `This model cannot hold to the JSON schema: ${sentence(cause)}.`, {
      param: "response_format",
      cause,
    });
  }
}

/** The free slot with the most of this prompt in it, if the same asker left it there; else the one idle longest. */
function takeSlot(slots: readonly Slot[], asker: string, prompt: readonly Token[]): Slot {
  const free = slots.filter((slot) => !slot.busy);
  const rank = (slot: Slot): number => (slot.asker === asker ? sharedTokens(slot, prompt) : 0);
  free.sort((a, b) => rank(b) - rank(a) || a.usedAt - b.usedAt);
  const [slot] = free;
  if (slot === undefined) throw new MeshError("E_BUG", "a request came while no slot was free");
  slot.busy = true;
  return slot;
}

function sharedTokens({ sequence }: Slot, prompt: readonly Token[]): number {
  return sequence.compareContextTokens([...prompt]).firstDifferentIndex;
}

interface Run {
  readonly message: GenerateMessage;
  readonly generation: Generation;
  readonly slot: Slot;
  readonly prompt: Token[];
  readonly grammar: LlamaGrammarEvaluationState | undefined;
}

async function run({ model, contextSize }: Loaded, parts: Run): Promise<void> {
  const { message, generation, slot, prompt, grammar } = parts;
  const { id, asker, request } = message;
  const cachedTokens = await keepPrefix(slot, asker, prompt);
  await prefill(slot.sequence, prompt.slice(cachedTokens, -1), generation);

  const mostTokens = Math.min(request.maxTokens ?? Infinity, contextSize - prompt.length);
  const cutter = textCutter(request.stop);
  const emit = (text: string): void => {
    if (text === "") return;
    generation.credits -= 1;
    send({ type: "delta", id, text });
  };
  const answer: Token[] = [];
  /** Tokens whose text has not been handed on. */
  let open: Token[] = [];
  const openText = (): string => {
    const before = [...prompt.slice(-contextTokens), ...answer.slice(0, answer.length - open.length)];
    return model.detokenize(open, false, before.slice(-contextTokens));
  };
  let finish: "stop" | "length" = "stop";
  let stopped = false;

  await generation.ready();
  if (!generation.aborted) {
    const drawn = slot.sequence.evaluate(prompt.slice(-1), options(request, grammar, answer));
    for await (const token of alone(drawn)) {
      answer.push(token);
      open.push(token);
      const text = openText();
      if (!endsInHalfCharacter(text) || open.length > halfCharacterTokens) {
        open = [];
        const cut = cutter.push(text);
        emit(cut.text);
        stopped = cut.stopped;
      }
      if (stopped) break;
      if (answer.length >= mostTokens) {
        finish = "length";
        break;
      }
      // the next token is drawn only when its text may leave
      await generation.ready();
      if (generation.aborted) break;
    }
  }
  if (generation.aborted) throw new MeshError("E_ABORTED", "the caller went away");
  if (!stopped) {
    const cut = cutter.push(openText());
    emit(cut.stopped ? cut.text : cut.text + cutter.flush());
    if (cut.stopped) finish = "stop";
  }
  const usage = { promptTokens: prompt.length, completionTokens: answer.length, cachedTokens };
  send({ type: "done", id, finish, usage });
}

/**
 * Keeps what the sequence has evaluated already, but only of the same asker: the time to the first token would tell one
 * caller what another one sent. Gives the number of tokens kept; at least the prompt's last one is left to evaluate.
 */
async function keepPrefix(slot: Slot, asker: string, prompt: Token[]): Promise<number> {
  if (slot.asker !== asker) await inTurn(() => slot.sequence.clearHistory());
  slot.asker = asker;
  const kept = Math.min(sharedTokens(slot, prompt), prompt.length - 1);
  if (kept === 0) await inTurn(() => slot.sequence.clearHistory());
  else await inTurn(() => slot.sequence.adaptStateToTokens(prompt.slice(0, kept), false));
  return slot.sequence.nextTokenIndex;
}

let lastTurn: Promise<unknown> = Promise.resolve();

/**
 * Runs one evaluation at a time. Sequences that are evaluated in one batch were seen to take over words from each other
 * (about one answer in sixty, four at a time): they take turns, token by token, and share no batch.
 */
function inTurn<T>(evaluate: () => Promise<T>): Promise<T> {
  const turn = lastTurn.then(evaluate);
  lastTurn = turn.catch(() => undefined);
  return turn;
}

/** The same values, each made in a turn of its own. */
async function* alone<T>(source: AsyncGenerator<T, unknown>): AsyncGenerator<T, void> {
  try {
    for (;;) {
      const next = await inTurn(() => source.next());
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await inTurn(() => source.return(undefined));
  }
}

async function prefill(sequence: LlamaContextSequence, tokens: Token[], generation: Generation): Promise<void> {
  let size = firstSliceTokens;
  for (let start = 0; start < tokens.length;) {
    if (generation.aborted) throw new MeshError("E_ABORTED", "the caller went away");
    const slice = tokens.slice(start, start + size);
    const began = performance.now();
    await inTurn(() => sequence.evaluateWithoutGeneratingNewTokens(slice));
    const tookMs = Math.max(1, performance.now() - began);
    start += slice.length;
    // at most doubled: the last slice may have been fast by chance
    const fitting = Math.round((slice.length * sliceMs) / tookMs);
    size = Math.max(leastSliceTokens, Math.min(fitting, size * 2, mostSliceTokens));
  }
}

function options(
  { sampling }: TextRequest,
  grammar: LlamaGrammarEvaluationState | undefined,
  answer: readonly Token[],
): SequenceEvaluateOptions {
  const { temperature, topP, topK, minP, seed, frequencyPenalty, presencePenalty } = sampling;
  return {
    temperature,
    topP,
    // llama.cpp's own defaults where OpenAI has no field: they keep a small model from its least likely tokens
    topK: topK ?? 40,
    minP: minP ?? 0.05,
    // the library's own default is the clock's second: two requests in it would get the same words
    seed: seed ?? randomInt(2 ** 32),
    ...(grammar === undefined ? {} : { grammarEvaluationState: grammar }),
    ...(frequencyPenalty === 0 && presencePenalty === 0
      ? {}
      : {
          repeatPenalty: {
            punishTokens: () => answer.slice(-penaltyTokens),
            maxPunishTokens: penaltyTokens,
            penalty: 1,
            frequencyPenalty,
            presencePenalty,
          },
        }),
  };
}

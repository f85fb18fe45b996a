/**
 * The embedded engine: one GGUF model in a child process of ours (llama-child.ts). This side checks requests, queues
 * them, turns deltas into OpenAI's answers, and restarts the child when it dies; it never loads native code itself, so
 * that no model file can take the node down.
 */
import type { ChildProcess } from "node:child_process";
import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { abortError, sleep } from "../base/deadline.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import { type AnswerFormat, readTextChat } from "../openai/chat.ts";
import { everyStep, type HardeningReport, type HardeningSteps } from "../harden/report.ts";
import { readTextCompletion } from "../openai/completion.ts";
import { overflowError } from "../openai/overflow.ts";
import type { Answer, Engine, EngineKind, EngineModel, EngineOptions, EngineRequest, EngineState } from "./engine.ts";
import { readGgufHead } from "./gguf.ts";
import { type AnswerForm, chatForm, completionForm, streamed, whole } from "./llama-answer.ts";
import { creditWindow, Job } from "./llama-job.ts";
import { collectOutput, forkChild, onceEnded, siblingFile } from "./llama-process.ts";
import {
  type FromChild,
  longestTokenBytes,
  type Prompt,
  promptField,
  type TextRequest,
  type ToChild,
} from "./llama-protocol.ts";
import { anyObjectGrammar, schemaGrammar } from "./llama-schema.ts";

export interface LlamaSettings {
  readonly kind: "llama";
  /** A GGUF file. */
  readonly modelPath: string;
  /** Where the engine's package is, if not beside ours (llama-package.ts). @default nowhere else */
  readonly packageFolder?: string;
  /** Name that callers ask for. @default the file's name without ".gguf", and without the number of its part */
  readonly name?: string;
  /** Tokens of one request; never more than the model was trained for. @default 4096 */
  readonly contextSize?: number;
  /** @default all cores but one; 1 for models under 100 MB, which more threads make slower */
  readonly threads?: number;
  /** Requests that run at the same time; each costs the memory of one context. @default 4 */
  readonly slots?: number;
  /** Requests that may wait for a slot. @default 64 */
  readonly maxQueue?: number;
  /** "auto" uses a GPU if llama.cpp finds one. @default false */
  readonly gpu?: "auto" | false;
  /** Added to the child's environment, which is empty otherwise: nothing may be loaded or redirected by ours. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What its process does to close itself. @default all of it */
  readonly hardening?: HardeningSteps;
  /** Waits before the first, second, ... restart, in ms; as many deaths in a row, and one more, are the end. */
  readonly restartAfterMs?: readonly number[];
  /** JavaScript file of the child. @default llama-child.js beside this file */
  readonly childFile?: string;
}

/** From here on several threads are faster than one (engines.md §1.3). */
const smallModelBytes = 100_000_000;
/** A child that does not even confirm an abort is stuck in native or template code. */
const confirmMs = 30_000;
/** Longest silence while loading; a large file on a slow disk reports progress. */
const loadSilenceMs = 10 * 60_000;

export const llamaKind: EngineKind<LlamaSettings> = {
  kind: "llama",
  async start(settings, options) {
    const engine = new LlamaEngine(settings, options);
    await engine.start();
    return engine;
  },
};

class LlamaEngine implements Engine {
  readonly name: string;
  readonly kind = "embedded";
  readonly #settings: Required<Omit<LlamaSettings, "packageFolder">> & Pick<LlamaSettings, "packageFolder">;
  readonly #options: EngineOptions;
  readonly #closing = new AbortController();
  readonly #queue: Job[] = [];
  /** Requests that hold a slot of the child, by their id in its messages. */
  readonly #running = new Map<number, Job>();
  #state: EngineState = { kind: "loading", percent: undefined };
  #model: EngineModel;
  #child: ChildProcess | undefined;
  /** Of the child of now. */
  #hardening: HardeningReport | undefined;
  #nextId = 1;
  /** Deaths since the last complete answer. */
  #deaths = 0;
  #restarting: Promise<void> | undefined;

  constructor(settings: LlamaSettings, options: EngineOptions) {
    this.name = `llama: ${basename(settings.modelPath)}`;
    this.#settings = {
      name: basename(settings.modelPath).replace(/(?:-00001-of-[0-9]{5})?\.gguf$/i, ""),
      contextSize: 4096,
      threads: 0,
      slots: 4,
      maxQueue: 64,
      gpu: false,
      environment: {},
      hardening: everyStep,
      restartAfterMs: [500, 2000],
      childFile: siblingFile(),
      ...settings,
    };
    this.#options = options;
    this.#model = { id: this.#settings.name, contextLength: undefined, kinds: ["chat"] };
  }

  get state(): EngineState {
    return this.#state;
  }

  get models(): readonly EngineModel[] {
    return this.#state.kind === "up" ? [this.#model] : [];
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get hardening(): HardeningReport | undefined {
    return this.#hardening;
  }

  get load(): Engine["load"] {
    return { running: this.#running.size, waiting: this.#queue.length, slots: this.#settings.slots };
  }

  /** Loads the model; resolves when that has worked or failed, and does not throw for either. */
  async start(): Promise<void> {
    const { modelPath } = this.#settings;
    try {
      await readGgufHead(modelPath);
    } catch (thrown) {
      return this.#enter({ kind: "down", why: `${modelPath}: ${toMeshError(thrown).message}` });
    }
    const death = await this.#launch();
    if (death !== undefined) this.#enter({ kind: "down", why: `${modelPath}: ${death}` });
  }

  async answer(request: EngineRequest): Promise<Answer> {
    const { form, stream, ...asked } = readRequest(request.path, request.json);
    const job = this.#enqueue(asked, request);
    return stream ? await streamed(job, form) : await whole(job, form);
  }

  #enqueue(asked: TextRequest, { asker, signal }: EngineRequest): Job {
    if (this.#closing.signal.aborted) throw new MeshError("E_CLOSED", "the engine has been shut down");
    if (this.#state.kind === "down" && this.#restarting === undefined) {
      throw new MeshError("E_ENGINE", `the engine is down: ${this.#state.why}`);
    }
    if (this.#state.kind !== "up") {
      throw new MeshError("E_ENGINE_LOST", "the engine is being restarted", { retryAfterSeconds: 1 });
    }
    if (signal.aborted) throw abortError(signal);
    const limitTokens = this.#model.contextLength ?? 0;
    if (charactersOf(asked.prompt) > limitTokens * longestTokenBytes) {
      throw overflowError({ limitTokens, promptTokens: undefined, param: promptField(asked.prompt) });
    }
    const { slots, maxQueue } = this.#settings;
    if (this.#running.size >= slots && this.#queue.length >= maxQueue) {
      throw new MeshError("E_BUSY", `All ${slots} slots are taken and ${this.#queue.length} requests wait.`, {
        retryAfterSeconds: Math.min(30, 1 + Math.ceil(this.#queue.length / slots)),
      });
    }
    const job: Job = new Job(asked, asker, signal, {
      credit: (credits) => this.#send({ type: "credit", id: job.id, credits }),
      abort: () => this.#abort(job),
    });
    this.#queue.push(job);
    this.#pump();
    return job;
  }

  /** Gives free slots to those who wait longest. */
  #pump(): void {
    while (this.#state.kind === "up" && this.#running.size < this.#settings.slots) {
      const job = this.#queue.shift();
      if (job === undefined) return;
      job.id = this.#nextId++;
      this.#running.set(job.id, job);
      const { id, asker, request } = job;
      this.#send({ type: "generate", id, asker, request, credits: creditWindow });
    }
  }

  #abort(job: Job): void {
    const place = this.#queue.indexOf(job);
    if (place !== -1) this.#queue.splice(place, 1);
    if (!this.#running.has(job.id)) return;
    // the slot is free only when the child says so
    this.#send({ type: "abort", id: job.id });
    job.watchdog = setTimeout(() => {
      if (this.#running.get(job.id) === job) this.#child?.kill("SIGKILL");
    }, confirmMs);
    job.watchdog.unref();
  }

  #send(message: ToChild): void {
    // a channel that has just closed is followed by the child's exit, which fails everything that runs
    if (this.#child?.connected) this.#child.send(message, () => undefined);
  }

  #receive(message: FromChild): void {
    switch (message.type) {
      case "hardened":
      case "loading":
      case "ready":
      case "failed":
        return; // #launch listens to these
      case "delta":
        this.#running.get(message.id)?.push(message.text);
        return;
      case "done":
        this.#deaths = 0;
        this.#finish(message.id)?.end({ finish: message.finish, usage: message.usage });
        return;
      case "error": {
        const { id, code, message: text, param } = message;
        this.#finish(id)?.fail(new MeshError(code, text, param === undefined ? {} : { param }));
        return;
      }
    }
  }

  #finish(id: number): Job | undefined {
    const job = this.#running.get(id);
    this.#running.delete(id);
    clearTimeout(job?.watchdog);
    this.#pump();
    return job;
  }

  /** Starts a child and loads the model into it. Resolves when the engine is up, or with a sentence why it is not. */
  #launch(): Promise<string | undefined> {
    const { modelPath, packageFolder, childFile, environment, hardening, contextSize, slots, gpu } = this.#settings;
    this.#enter({ kind: "loading", percent: undefined });
    const child = forkChild(childFile, { environment, steps: hardening });
    this.#child = child;
    this.#hardening = undefined;
    const lastWords = collectOutput(child);
    return new Promise((resolve) => {
      let why: string | undefined;
      const silence = setTimeout(() => {
        why = "it did not load in time";
        child.kill("SIGKILL");
      }, loadSilenceMs);
      child.on("message", (message: FromChild) => {
        if (message.type === "hardened") {
          this.#hardening = message.report;
        } else if (message.type === "loading") {
          silence.refresh();
          this.#progress(message.percent);
        } else if (message.type === "failed") {
          why = message.why + lastWords();
          child.kill("SIGKILL");
        } else if (message.type === "ready") {
          clearTimeout(silence);
          this.#model = { ...this.#model, contextLength: message.contextSize };
          this.#enter({ kind: "up" });
          this.#pump();
          resolve(undefined);
        } else this.#receive(message);
      });
      child.on("error", () => undefined); // a failed fork or send; the end of the child tells the rest
      onceEnded(child, (how) => {
        clearTimeout(silence);
        const wasUp = this.#child === child && this.#state.kind === "up";
        if (this.#child === child) this.#child = undefined;
        this.#failRunning(how);
        if (wasUp) this.#restarting = this.#restart(how);
        else resolve(why ?? `its process ended (${how}) while it loaded the model${lastWords()}`);
      });
      this.#threads()
        .then((threads) => this.#send({ type: "load", modelPath, packageFolder, contextSize, slots, gpu, threads }))
        .catch(() => child.kill("SIGKILL"));
    });
  }

  async #threads(): Promise<number> {
    if (this.#settings.threads > 0) return this.#settings.threads;
    const { size } = await stat(this.#settings.modelPath);
    return size < smallModelBytes ? 1 : Math.max(1, availableParallelism() - 1);
  }

  #failRunning(how: string): void {
    for (const job of this.#running.values()) {
      clearTimeout(job.watchdog);
      job.fail(new MeshError("E_ENGINE_LOST", `the engine's process ended (${how})`, { retryAfterSeconds: 1 }));
    }
    this.#running.clear();
  }

  /** After a death: tries again, later each time; gives up when the model keeps killing its process. */
  async #restart(how: string): Promise<void> {
    let why = `its process ended (${how})`;
    while (!this.#closing.signal.aborted) {
      const waitMs = this.#settings.restartAfterMs[this.#deaths++];
      if (waitMs === undefined) {
        why = `${why}; it has died ${this.#deaths} times in a row and is left down`;
        break;
      }
      this.#enter({ kind: "down", why: `${why}; it is being restarted` });
      try {
        await sleep(waitMs, this.#closing.signal);
      } catch {
        return;
      }
      const death = await this.#launch();
      if (death === undefined) {
        this.#restarting = undefined;
        return;
      }
      why = death;
    }
    this.#restarting = undefined;
    this.#enter({ kind: "down", why });
    for (const job of this.#queue.splice(0)) job.fail(new MeshError("E_ENGINE", `the engine is down: ${why}`));
  }

  #progress(percent: number): void {
    if (this.#state.kind !== "loading" || this.#state.percent === percent) return;
    this.#state = { kind: "loading", percent };
    if (percent % 10 === 0) this.#options.log.write("info", { event: "engine-loading", engine: this.name, percent });
    this.#options.onChange();
  }

  #enter(state: EngineState): void {
    if (this.#closing.signal.aborted) return;
    this.#state = state;
    const { log, onChange } = this.#options;
    if (state.kind === "up") log.write("info", { event: "engine-up", engine: this.name, models: [this.#model.id] });
    if (state.kind === "down") {
      log.write("warn", { event: "engine-down", engine: this.name, code: "E_ENGINE_LOST", what: state.why });
    }
    onChange();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const closed = new MeshError("E_CLOSED", "the engine has been shut down");
    this.#closing.abort(closed);
    this.#state = { kind: "down", why: "it has been shut down" };
    for (const job of [...this.#queue.splice(0), ...this.#running.values()]) {
      clearTimeout(job.watchdog);
      job.fail(closed);
    }
    const child = this.#child;
    if (child !== undefined) {
      const ended = new Promise<void>((resolve) => onceEnded(child, () => resolve()));
      child.kill("SIGKILL");
      await ended;
    }
    await this.#restarting;
  }
}

interface Read extends TextRequest {
  readonly form: AnswerForm;
  readonly stream: boolean;
}

/** @throws E_INPUT, E_UNSUPPORTED with `param` · E_NOT_FOUND for other paths */
function readRequest(path: string, json: EngineRequest["json"]): Read {
  switch (path) {
    case "/v1/chat/completions": {
      const { model, stream, includeUsage, messages, format, maxTokens, stop, sampling } = readTextChat(json);
      const grammar = format === undefined ? undefined : grammarOf(format);
      const form = chatForm(model, includeUsage);
      return { form, stream, prompt: { kind: "chat", messages }, grammar, maxTokens, stop, sampling };
    }
    case "/v1/completions": {
      const { model, stream, includeUsage, prompt: text, maxTokens, stop, sampling } = readTextCompletion(json);
      const form = completionForm(model, includeUsage);
      return { form, stream, prompt: { kind: "text", text }, grammar: undefined, maxTokens, stop, sampling };
    }
    case "/v1/embeddings":
      throw new MeshError("E_UNSUPPORTED", `This model writes text; it does not answer ${path}.`, { param: "model" });
    default:
      throw new MeshError("E_NOT_FOUND", `No engine answers ${path}.`);
  }
}

function grammarOf(format: AnswerFormat): string {
  return format.kind === "object" ? anyObjectGrammar() : schemaGrammar(format.schema, format.strict);
}

function charactersOf(prompt: Prompt): number {
  return prompt.kind === "text"
    ? prompt.text.length
    : prompt.messages.reduce((sum, { content }) => sum + content.length, 0);
}

/**
 * The embedded engine: one GGUF model in a child process of ours (llama-child.ts). This side checks requests, queues
 * them, turns deltas into OpenAI's answers, and restarts the child when it dies; it never loads native code itself, so
 * that no model file can take the node down.
 */
import { type ChildProcess, fork } from "node:child_process";
import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { utf8 } from "../base/bytes.ts";
import { abortError, sleep } from "../base/deadline.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import {
  type ChatAnswerHead,
  chatChunks,
  chatCompletion,
  completionId,
  type FinishReason,
  readTextChat,
  type TextChat,
  type Usage,
} from "../openai/chat.ts";
import { overflowError } from "../openai/overflow.ts";
import { sseDone, sseText } from "../openai/sse.ts";
import type { Answer, Engine, EngineKind, EngineModel, EngineOptions, EngineRequest, EngineState } from "./engine.ts";
import { readGgufHead } from "./gguf.ts";
import { type FromChild, longestTokenBytes, type ToChild } from "./llama-protocol.ts";

export interface LlamaSettings {
  readonly kind: "llama";
  /** A GGUF file. */
  readonly modelPath: string;
  /** Name that callers ask for. @default the file's name without ".gguf" */
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
  /** Waits before the first, second, ... restart, in ms; as many deaths in a row, and one more, are the end. */
  readonly restartAfterMs?: readonly number[];
  /** JavaScript file of the child. @default llama-child.js beside this file */
  readonly childFile?: string;
}

/** From here on several threads are faster than one (engines.md §1.3). */
const smallModelBytes = 100_000_000;
/** Deltas that may be on their way from the child: enough to hide the round trip, few enough to hold. */
const creditWindow = 64;
const creditBatch = 16;
/** A child that does not even confirm an abort is stuck in native or template code. */
const confirmMs = 30_000;
/** Longest silence while loading; a large file on a slow disk reports progress. */
const loadSilenceMs = 10 * 60_000;
/** What is kept of the child's own output, for the sentence after its death. */
const lastWordsLimit = 2000;
const chatPath = "/v1/chat/completions";
const otherPaths: ReadonlySet<string> = new Set(["/v1/completions", "/v1/embeddings", "/v1/responses"]);

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
  readonly #settings: Required<LlamaSettings>;
  readonly #options: EngineOptions;
  readonly #closing = new AbortController();
  readonly #queue: Job[] = [];
  /** Requests that hold a slot of the child, by their id in its messages. */
  readonly #running = new Map<number, Job>();
  #state: EngineState = { kind: "loading", percent: undefined };
  #model: EngineModel;
  #child: ChildProcess | undefined;
  #nextId = 1;
  /** Deaths since the last complete answer. */
  #deaths = 0;
  #restarting: Promise<void> | undefined;

  constructor(settings: LlamaSettings, options: EngineOptions) {
    this.name = `llama: ${basename(settings.modelPath)}`;
    this.#settings = {
      name: basename(settings.modelPath).replace(/\.gguf$/i, ""),
      contextSize: 4096,
      threads: 0,
      slots: 4,
      maxQueue: 64,
      gpu: false,
      environment: {},
      restartAfterMs: [500, 2000],
      childFile: siblingFile(),
      ...settings,
    };
    this.#options = options;
    this.#model = { id: this.#settings.name, contextLength: undefined };
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
    if (otherPaths.has(request.path)) {
      throw new MeshError("E_UNSUPPORTED", `This model answers ${chatPath} only, not ${request.path}.`, {
        param: "model",
      });
    }
    if (request.path !== chatPath) throw new MeshError("E_NOT_FOUND", `No engine answers ${request.path}.`);
    const chat = readTextChat(request.json);
    const job = this.#enqueue(chat, request);
    const head: ChatAnswerHead = { id: completionId(), created: Math.floor(Date.now() / 1000), model: chat.model };
    return chat.stream ? await streamed(job, head, chat.includeUsage) : await whole(job, head);
  }

  #enqueue(chat: TextChat, { asker, signal }: EngineRequest): Job {
    if (this.#closing.signal.aborted) throw new MeshError("E_CLOSED", "the engine has been shut down");
    if (this.#state.kind === "down" && this.#restarting === undefined) {
      throw new MeshError("E_ENGINE", `the engine is down: ${this.#state.why}`);
    }
    if (this.#state.kind !== "up") {
      throw new MeshError("E_ENGINE_LOST", "the engine is being restarted", { retryAfterSeconds: 1 });
    }
    if (signal.aborted) throw abortError(signal);
    const limitTokens = this.#model.contextLength ?? 0;
    const characters = chat.messages.reduce((sum, { content }) => sum + content.length, 0);
    if (characters > limitTokens * longestTokenBytes) throw overflowError({ limitTokens, promptTokens: undefined });
    const { slots, maxQueue } = this.#settings;
    if (this.#running.size >= slots && this.#queue.length >= maxQueue) {
      throw new MeshError("E_BUSY", `All ${slots} slots are taken and ${this.#queue.length} requests wait.`, {
        retryAfterSeconds: Math.min(30, 1 + Math.ceil(this.#queue.length / slots)),
      });
    }
    const job: Job = new Job(chat, asker, signal, {
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
      const { messages, maxTokens, stop, sampling } = job.chat;
      const { id, asker } = job;
      this.#send({ type: "generate", id, asker, messages, maxTokens, stop, sampling, credits: creditWindow });
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
    const { modelPath, childFile, environment, contextSize, slots, gpu } = this.#settings;
    this.#enter({ kind: "loading", percent: undefined });
    const child = fork(childFile, [], {
      env: { ...childEnvironment, ...environment },
      execArgv: [],
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#child = child;
    const lastWords = collectOutput(child);
    return new Promise((resolve) => {
      let why: string | undefined;
      const silence = setTimeout(() => {
        why = "it did not load in time";
        child.kill("SIGKILL");
      }, loadSilenceMs);
      child.on("message", (message: FromChild) => {
        if (message.type === "loading") {
          silence.refresh();
          this.#progress(message.percent);
        } else if (message.type === "failed") {
          why = message.why + lastWords();
          child.kill("SIGKILL");
        } else if (message.type === "ready") {
          clearTimeout(silence);
          this.#model = { id: this.#settings.name, contextLength: message.contextSize };
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
      const threads = this.#threads();
      threads
        .then((count) => this.#send({ type: "load", modelPath, contextSize, slots, gpu, threads: count }))
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

/** GGML_NO_BACKTRACE: otherwise an abort starts a debugger on the process, which holds prompts. */
const childEnvironment: Readonly<Record<string, string>> = { GGML_NO_BACKTRACE: "1" };

function siblingFile(): string {
  // .js in dist/; .ts where Node runs the sources
  return fileURLToPath(new URL(`./llama-child${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url));
}

/** Calls back once, when the process has ended and its output has been read, with how it ended: "SIGABRT", "code 1". */
function onceEnded(child: ChildProcess, ended: (how: string) => void): void {
  if (child.exitCode !== null || child.signalCode !== null) return ended("already");
  let called = false;
  const call = (how: string): void => {
    if (!called) ended(how);
    called = true;
  };
  child.once("exit", (code, signal) => {
    const how = signal ?? `code ${code}`;
    child.once("close", () => call(how));
    // something may still hold the pipes open
    setTimeout(() => call(how), 200).unref();
  });
  // a fork that failed has no exit
  child.once("error", () => {
    if (child.pid === undefined) call("it could not be started");
  });
}

/** Drains the child's output, which is llama.cpp's and Node's own, and gives the line that says most of an abort. */
function collectOutput(child: ChildProcess): () => string {
  let tail = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (bytes: Uint8Array) => {
      tail = (tail + new TextDecoder().decode(bytes)).slice(-lastWordsLimit);
    });
    stream?.on("error", () => undefined);
  }
  return () => {
    const words = /error loading model: [^\n]*|GGML_ASSERT[^\n]*|what\(\): [^\n]*|Error: [^\n]*/.exec(tail)?.[0];
    return words === undefined ? "" : `: ${words.trim().slice(0, 200)}`;
  };
}

interface JobEnd {
  readonly finish: FinishReason;
  readonly usage: Usage;
}

interface JobHooks {
  /** Lets the child send that many more deltas. */
  credit(credits: number): void;
  abort(): void;
}

/** One request between its caller and the child: what has arrived and was not taken yet, and how it ended. */
class Job {
  /** In messages to the child; 0 while waiting. */
  id = 0;
  watchdog: NodeJS.Timeout | undefined;
  readonly chat: TextChat;
  readonly asker: string;
  readonly #hooks: JobHooks;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => {
    this.fail(toMeshError(abortError(this.#signal), "E_ABORTED"));
    this.#hooks.abort();
  };
  #pieces: string[] = [];
  #taken = 0;
  #end: JobEnd | undefined;
  #failure: MeshError | undefined;
  #wake: (() => void) | undefined;

  constructor(chat: TextChat, asker: string, signal: AbortSignal, hooks: JobHooks) {
    this.chat = chat;
    this.asker = asker;
    this.#signal = signal;
    this.#hooks = hooks;
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  push(text: string): void {
    this.#pieces.push(text);
    this.#wake?.();
  }

  end(end: JobEnd): void {
    this.#end = end;
    this.#settle();
  }

  fail(error: MeshError): void {
    if (this.#end === undefined) this.#failure ??= error;
    this.#settle();
  }

  #settle(): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#wake?.();
  }

  /** Resolves when there is something to take. @throws the failure, as soon as there is one */
  async arrival(): Promise<void> {
    while (this.#failure === undefined && this.#pieces.length === 0 && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** All that has arrived; the child may send as much again. */
  take(): { readonly pieces: readonly string[]; readonly end: JobEnd | undefined } {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#taken += pieces.length;
    if (this.#taken >= creditBatch && this.#end === undefined) {
      this.#hooks.credit(this.#taken);
      this.#taken = 0;
    }
    return { pieces, end: this.#end };
  }

  /** The caller has stopped reading. */
  leave(): void {
    if (this.#end === undefined && this.#failure === undefined) {
      this.fail(new MeshError("E_ABORTED", "the caller stopped reading"));
      this.#hooks.abort();
    }
  }
}

async function whole(job: Job, head: ChatAnswerHead): Promise<Answer> {
  let content = "";
  for (;;) {
    await job.arrival();
    const { pieces, end } = job.take();
    content += pieces.join("");
    if (end === undefined) continue;
    const body = utf8(JSON.stringify(chatCompletion(head, content, end.finish, end.usage)));
    return { status: 200, headers: { "content-type": "application/json" }, body: once(body) };
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Resolves with the first token, so that everything that fails before still has its own status. */
async function streamed(job: Job, head: ChatAnswerHead, includeUsage: boolean): Promise<Answer> {
  await job.arrival();
  return {
    status: 200,
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
    body: events(job, head, includeUsage),
  };
}

async function* events(job: Job, head: ChatAnswerHead, includeUsage: boolean): AsyncGenerator<Uint8Array> {
  const chunks = chatChunks(head, includeUsage);
  let text = sseText(chunks.role());
  try {
    for (;;) {
      await job.arrival();
      const { pieces, end } = job.take();
      // what has arrived together leaves together; each token keeps its event
      for (const piece of pieces) text += sseText(chunks.content(piece));
      if (end !== undefined) {
        text += sseText(chunks.finish(end.finish));
        if (includeUsage) text += sseText(chunks.usage(end.usage));
        yield utf8(text);
        yield sseDone;
        return;
      }
      yield utf8(text);
      text = "";
    }
  } finally {
    job.leave();
  }
}

/** Asking an engine from a test: requests from a few words, answers read to the end and taken apart. */
import type { Answer, Engine, EngineOptions } from "../../src/engine/engine.ts";
import { silentLog } from "../../src/base/log.ts";

export type Json = Record<string, unknown>;

export interface AskOptions {
  readonly signal?: AbortSignal;
  /** @default "local" */
  readonly asker?: string;
  /** @default "/v1/chat/completions" */
  readonly path?: string;
}

export const quiet: EngineOptions = { log: silentLog, onChange: () => undefined };

/** Sends a body; `model` and `messages` are filled in where it has none. */
export function ask(engine: Engine, body: Json = {}, options: AskOptions = {}): Promise<Answer> {
  const json = { model: engine.models[0]?.id ?? "none", messages: [{ role: "user", content: "hi" }], ...body };
  return engine.answer({
    path: options.path ?? "/v1/chat/completions",
    body: new TextEncoder().encode(JSON.stringify(json)),
    json,
    asker: options.asker ?? "local",
    signal: options.signal ?? new AbortController().signal,
  });
}

export async function readText(answer: Answer): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of answer.body) text += decoder.decode(bytes, { stream: true });
  return text + decoder.decode();
}

export interface Chunk {
  readonly id: string;
  readonly model: string;
  readonly choices: readonly {
    readonly delta: { readonly role?: string; readonly content?: string | null };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: Json | null;
}

/** Chunks of a complete stream, in order; fails unless it ends in `[DONE]`. */
export function chunksOf(text: string): Chunk[] {
  const events = text.split("\n\n").filter((event) => event !== "");
  if (events.at(-1) !== "data: [DONE]") throw new Error(`the stream ends with ${events.at(-1)}`);
  return events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, "")) as Chunk);
}

export function contentOf(chunks: readonly Chunk[]): string {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
}

export interface Completion {
  readonly id: string;
  readonly model: string;
  readonly choices: readonly [{ readonly message: { readonly content: string }; readonly finish_reason: string }];
  readonly usage: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly total_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens: number };
  };
}

/** The whole answer of a request without `stream`. */
export async function complete(engine: Engine, body: Json = {}, options: AskOptions = {}): Promise<Completion> {
  return JSON.parse(await readText(await ask(engine, body, options))) as Completion;
}

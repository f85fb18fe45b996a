/**
 * What the chat answers of engines hold, whatever the engine's habits: for those who tell them in the words of another
 * API. Reads whole answers and the chunks of streams; writes nothing.
 */
import { MeshError } from "../base/errors.ts";
import { isRecord, type Json } from "../base/json.ts";

/** Bounds of one answer, so that an engine that never stops cannot fill the memory. */
export const answerLimits = {
  /** Characters in all; more than any context window holds, and no event grows beyond a string's greatest length. */
  characters: 16_777_216,
  /** Texts and calls. */
  items: 1_000,
} as const;

/** A piece of a function call, as chat streams send it. */
export interface CallPiece {
  /** Which of the parallel calls. */
  readonly index: number;
  /** Each but the last may be missing, or empty, in all pieces but the first. */
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** The choice with index 0: other APIs know one answer. */
export function firstChoice(chat: Json): Json | undefined {
  const choices: readonly unknown[] = Array.isArray(chat["choices"]) ? chat["choices"] : [];
  return choices.filter(isRecord).find(({ index }) => index === undefined || index === 0);
}

/** The choice and its message, of a whole answer. @throws E_ENGINE there is none */
export function wholeChoice(chat: Json): { readonly choice: Json; readonly message: Json } {
  const choice = firstChoice(chat);
  const message = choice?.["message"];
  if (!choice || !isRecord(message)) throw new MeshError("E_ENGINE", "The engine answered without a message.");
  return { choice, message };
}

/** `content` of chat, where some engines give a list of parts. */
export function textOfContent(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((part: unknown) => (isRecord(part) && typeof part["text"] === "string" ? part["text"] : ""))
    .join("");
}

/** Reasoning as llama-server and vLLM (`reasoning_content`), newer vLLM and Ollama (`reasoning`) give it. */
export function reasoningText(message: Json): string {
  const text = [message["reasoning_content"], message["reasoning"]].find((value) => value !== "" && isString(value));
  return isString(text) ? text : "";
}

/** `tool_calls` of a message or of a delta, or its older `function_call`. @throws E_ENGINE what is not a list of calls */
export function callPieces(message: Json): readonly CallPiece[] {
  const { function_call: only, tool_calls: calls = isRecord(only) ? [{ function: only }] : null } = message;
  if (calls === null) return [];
  const wrong = new MeshError("E_ENGINE", "The engine sent tool calls that cannot be read.");
  if (!Array.isArray(calls)) throw wrong;
  return calls.map((call: unknown, position) => {
    if (!isRecord(call)) throw wrong;
    const called = isRecord(call["function"]) ? call["function"] : {};
    const { index, id } = call;
    const { name, arguments: given } = called;
    return {
      index: typeof index === "number" ? index : position,
      id: isString(id) ? id : "",
      name: isString(name) ? name : "",
      // a whole object instead of its JSON
      arguments: isString(given) ? given : isRecord(given) ? JSON.stringify(given) : "",
    };
  });
}

/** Throws for a finish reason that says that the engine failed. @throws E_ENGINE */
export function refuseFailedEnd(reason: unknown): void {
  if (reason !== "error" && reason !== "abort") return;
  throw new MeshError("E_ENGINE", "The engine gave up in the middle of its answer; what you have is incomplete.");
}

/** Text that comes in pieces. Most are a few characters long: they are joined now and then, so that each costs its length. */
export class Pieces {
  #joined = "";
  #pieces: string[] = [];

  add(text: string): void {
    if (this.#pieces.push(text) >= 1_024) this.joined();
  }

  joined(): string {
    this.#joined += this.#pieces.join("");
    this.#pieces = [];
    return this.#joined;
  }
}

/** E_ENGINE: beyond {@link answerLimits}. */
export function tooLong(): MeshError {
  return new MeshError(
    "E_ENGINE",
    `The answer has more than ${answerLimits.characters} characters, which no model gives.`,
  );
}

/** E_ENGINE: beyond {@link answerLimits}. */
export function tooMany(): MeshError {
  return new MeshError("E_ENGINE", `The answer has more than ${answerLimits.items} items, which no model gives.`);
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

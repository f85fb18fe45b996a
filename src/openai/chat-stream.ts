/**
 * A chat stream as the stream of another API's events: reading the chat events, and the way of bytes from one to the
 * other. What the events of that API are, a {@link Teller} knows. One piece of output for each piece that completes an
 * event; the next piece is read when this one was taken. An answer counts as complete only at the clean end of its bytes,
 * after a `finish_reason`: a cut is a failure, however much has come.
 */
import { concat, empty, utf8 } from "../base/bytes.ts";
import { type ErrorCode, errorTable, MeshError, toMeshError } from "../base/errors.ts";
import { isRecord, type Json, parseJsonText } from "../base/json.ts";
import { firstChoice } from "./chat-answer.ts";
import { readUpstreamErrorText } from "./errors.ts";
import { isOverflow, overflowError, overflowFacts } from "./overflow.ts";
import { type SseEvent, sseReader, sseText } from "./sse.ts";

/** How a chat stream ended that did end. */
export interface ChatEnd {
  readonly finishReason: string;
  /** The choice that named it. */
  readonly choice: Json;
  /** `usage`, where the engine gave one. */
  readonly usage: unknown;
}

/** Tells a chat stream in another API's events. One per stream. */
export interface Teller {
  /** Before all else, once. @param emit for this and all that follows */
  begin(emit: EmitEvent): void;
  /** A chunk of the answer. @throws E_ENGINE what cannot be read */
  choice(choice: Json): void;
  /** The answer is whole. @throws E_ENGINE it cannot be told as such */
  end(end: ChatEnd): void;
  /** The last events; nothing may follow. */
  fail(failure: MeshError): void;
}

/** Writes one event: `event: type`, and the fields with `type` as data. */
export type EmitEvent = (type: string, fields: Json) => void;

/**
 * The chat stream's bytes as the bytes of the teller's events. When `chat` throws, holds an error or ends without a
 * `finish_reason`: what the teller says of the failure, then the MeshError is thrown.
 *
 * Leaving it closes `chat` at once, also before the first piece and while one is awaited.
 *
 * @param promptParam what the caller calls the prompt's field, for errors
 */
export function retold(
  chat: AsyncIterable<Uint8Array>,
  teller: Teller,
  promptParam: string,
): AsyncGenerator<Uint8Array, undefined> {
  const source = chat[Symbol.asyncIterator]();
  const reader = new ChatReader(teller, promptParam);
  let state: "open" | "ended" | MeshError = "open";

  /** A failure found here, not in `chat`, leaves `chat` open; its own way to close does not matter any more. */
  const leave = (): void => {
    Promise.resolve(source.return?.()).catch(() => undefined);
  };
  const ended = { done: true, value: undefined } as const;

  return {
    async next() {
      try {
        while (state === "open") {
          const { done, value } = await source.next();
          if (state !== "open") break;
          if (done) {
            reader.end();
            state = "ended";
          } else reader.take(value);
          const bytes = reader.taken();
          if (bytes.length > 0) return { done: false, value: bytes };
        }
      } catch (thrown) {
        if (state !== "open") return ended;
        state = toMeshError(thrown);
        leave();
        reader.fail(state);
        return { done: false, value: reader.taken() };
      }
      if (state === "ended") return ended;
      const failure = state;
      state = "ended";
      throw failure;
    },
    async return() {
      if (state === "open") {
        state = "ended";
        await source.return?.();
      }
      state = "ended";
      return ended;
    },
    async throw(thrown: unknown) {
      await this.return(undefined);
      throw toMeshError(thrown);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** Reads chat events, and keeps what is written until it is taken. */
class ChatReader {
  readonly #teller: Teller;
  readonly #promptParam: string;
  readonly #reader = sseReader();
  /** Events written and not taken. */
  #written: Uint8Array[] = [];
  #begun = false;
  #done = false;
  #end: Omit<ChatEnd, "usage"> | undefined;
  #usage: unknown;

  constructor(teller: Teller, promptParam: string) {
    this.#teller = teller;
    this.#promptParam = promptParam;
  }

  /** What was written since the last call, also what came before a failure. */
  taken(): Uint8Array {
    const bytes = this.#written.length === 0 ? empty : concat(this.#written);
    this.#written = [];
    return bytes;
  }

  /** @throws the error that is in these bytes · E_ENGINE for what cannot be read */
  take(bytes: Uint8Array): void {
    this.#begin();
    for (const event of this.#reader.read(bytes)) this.#event(event);
  }

  /** @throws E_TRUNCATED when the answer is not complete */
  end(): void {
    this.#begin();
    for (const event of this.#reader.end()) this.#event(event);
    if (!this.#end) {
      throw new MeshError("E_TRUNCATED", "The answer ended without a reason to end; what you have is incomplete.");
    }
    this.#teller.end({ ...this.#end, usage: this.#usage });
  }

  fail(failure: MeshError): void {
    this.#begin();
    this.#teller.fail(failure);
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#teller.begin(this.#emit);
  }

  #event({ event, data }: SseEvent): void {
    if (this.#done) return;
    if (data === "[DONE]") {
      this.#done = true;
      return;
    }
    const json = parseJsonText(data);
    if (event === "error" || holdsError(json)) throw upstreamFailure(data, this.#promptParam);
    if (!isRecord(json)) throw new MeshError("E_ENGINE", "The engine sent an event that is not a JSON object.");
    if (isRecord(json["usage"])) this.#usage = json["usage"];
    const choice = firstChoice(json);
    if (!choice) return;
    this.#teller.choice(choice);
    const finishReason = choice["finish_reason"];
    if (typeof finishReason === "string") this.#end = { finishReason, choice };
  }

  readonly #emit = (type: string, fields: Json): void => {
    this.#written.push(utf8(`event: ${type}\n${sseText({ type, ...fields })}`));
  };
}

/** What an error event of the chat stream says. A code of our own table, as a host gives it, stays what it was. */
function upstreamFailure(data: string, promptParam: string): MeshError {
  const upstream = readUpstreamErrorText(502, data);
  const { message, code, param } = upstream;
  if (isOverflow(upstream)) return overflowError({ ...noFacts, ...overflowFacts(upstream), param: promptParam });
  const known = Object.entries(errorTable).find(([, row]) => row.code === code)?.[0] as ErrorCode | undefined;
  return new MeshError(known ?? "E_ENGINE", message, param === undefined ? {} : { param });
}

const noFacts = { limitTokens: undefined, promptTokens: undefined } as const;

function holdsError(json: unknown): boolean {
  if (!isRecord(json)) return false;
  const { error } = json;
  return json["object"] === "error" || isRecord(error) || (typeof error === "string" && error !== "");
}

/**
 * A chat stream as the stream of response events. One piece of output for each piece that completes an event; the next
 * piece is read when this one was taken. An answer counts as complete only at the clean end of its bytes, after a
 * `finish_reason`: a cut is a failure, however much has come.
 *
 * @see engines.md §4.4
 */
import { concat, empty, utf8 } from "../../base/bytes.ts";
import { type ErrorCode, errorTable, MeshError, toMeshError } from "../../base/errors.ts";
import { openAiErrorFields, readUpstreamErrorText } from "../errors.ts";
import { isOverflow, overflowError, overflowFacts } from "../overflow.ts";
import { type SseEvent, sseReader, sseText } from "../sse.ts";
import { firstChoice } from "./answer.ts";
import { isRecord, type Json, parseJsonText } from "../../base/json.ts";
import { newId, unixSeconds } from "./ids.ts";
import { responseEnd, type ResponseHead, responseObject, type ResponseState, responseUsage } from "./object.ts";
import { callPieces, logprobsOf, Output, reasoningText, textOfContent } from "./output.ts";
import type { ResponsesPlan } from "./request.ts";
import type { ResponseStore } from "./store.ts";

/**
 * The chat stream's bytes as the bytes of response events. When `chat` throws, holds an error or ends without a
 * `finish_reason`: `response.failed`, then `event: error`, then the MeshError is thrown.
 *
 * Leaving it closes `chat` at once, also before the first piece and while one is awaited.
 *
 * @param requestId for the message of a failure inside this node
 */
export function responsesStream(
  plan: ResponsesPlan,
  chat: AsyncIterable<Uint8Array>,
  model: string,
  requestId: string,
  store: ResponseStore | undefined,
): AsyncGenerator<Uint8Array, undefined> {
  const source = chat[Symbol.asyncIterator]();
  const writer = new EventWriter(plan, { id: newId("resp"), createdAt: unixSeconds(), model }, store);
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
            writer.end();
            state = "ended";
          } else writer.take(value);
          const bytes = writer.taken();
          if (bytes.length > 0) return { done: false, value: bytes };
        }
      } catch (thrown) {
        if (state !== "open") return ended;
        state = toMeshError(thrown);
        leave();
        writer.fail(state, requestId);
        return { done: false, value: writer.taken() };
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

/** Reads chat events and writes response events. One per stream. */
class EventWriter {
  readonly #plan: ResponsesPlan;
  readonly #head: ResponseHead;
  readonly #store: ResponseStore | undefined;
  readonly #reader = sseReader();
  readonly #output = new Output((type, fields) => this.#emit(type, fields));
  /** Events written and not taken. */
  #written: Uint8Array[] = [];
  #sequence = 0;
  #begun = false;
  #done = false;
  #finishReason: string | undefined;
  #usage: unknown;

  constructor(plan: ResponsesPlan, head: ResponseHead, store: ResponseStore | undefined) {
    this.#plan = plan;
    this.#head = head;
    this.#store = store;
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
    if (this.#finishReason === undefined) {
      throw new MeshError("E_TRUNCATED", "The answer ended without a reason to end; what you have is incomplete.");
    }
    const end = responseEnd(this.#finishReason);
    const output = this.#output.finish(end.status);
    if (this.#plan.keep) this.#store?.put(this.#head.id, this.#plan.before, [...this.#plan.items, ...output]);
    const usage = responseUsage(this.#usage);
    const completedAt = unixSeconds();
    this.#emitResponse(`response.${end.status}`, { kind: "ended", end, output, usage, completedAt });
  }

  /** The last events; nothing may follow. */
  fail(failure: MeshError, requestId: string): void {
    this.#begin();
    const error = openAiErrorFields(failure, requestId);
    const { message, param, code } = error;
    this.#emitResponse("response.failed", { kind: "failed", error: { code: failedCode(failure), message } });
    // flat for OpenAI's types, nested for the clients that throw on nothing else
    this.#emit("error", { code, message, param, error });
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    for (const type of ["response.created", "response.in_progress"]) this.#emitResponse(type, { kind: "in_progress" });
  }

  #event({ event, data }: SseEvent): void {
    if (this.#done) return;
    if (data === "[DONE]") {
      this.#done = true;
      return;
    }
    const json = parseJsonText(data);
    if (event === "error" || holdsError(json)) throw upstreamFailure(data);
    if (!isRecord(json)) throw new MeshError("E_ENGINE", "The engine sent an event that is not a JSON object.");
    if (isRecord(json["usage"])) this.#usage = json["usage"];
    const choice = firstChoice(json);
    if (!choice) return;
    const delta = choice["delta"];
    if (isRecord(delta)) this.#delta(delta, this.#plan.chat["logprobs"] === true ? logprobsOf(choice) : []);
    if (typeof choice["finish_reason"] === "string") this.#finishReason = choice["finish_reason"];
  }

  #delta(delta: Json, logprobs: readonly Json[]): void {
    this.#output.reasoning(reasoningText(delta));
    this.#output.text(textOfContent(delta["content"]), logprobs);
    if (typeof delta["refusal"] === "string") this.#output.refusal(delta["refusal"]);
    for (const call of callPieces(delta)) this.#output.call(call);
  }

  #emitResponse(type: string, state: ResponseState): void {
    this.#emit(type, { response: responseObject(this.#plan, this.#head, state) });
  }

  #emit(type: string, fields: Json): void {
    const event = { type, sequence_number: this.#sequence++, ...fields };
    this.#written.push(utf8(`event: ${type}\n${sseText(event)}`));
  }
}

/** `error.code` of a failed response is from a closed list. */
function failedCode(failure: MeshError): string {
  switch (failure.row.type) {
    case "invalid_request_error":
      return "invalid_prompt";
    case "rate_limit_error":
      return "rate_limit_exceeded";
    case "authentication_error":
    case "permission_error":
    case "server_error":
      return "server_error";
  }
}

/** What an error event of the chat stream says. A code of our own table, as a host gives it, stays what it was. */
function upstreamFailure(data: string): MeshError {
  const upstream = readUpstreamErrorText(502, data);
  const { message, code, param } = upstream;
  if (isOverflow(upstream)) return overflowError({ ...noFacts, ...overflowFacts(upstream), param: "input" });
  const known = Object.entries(errorTable).find(([, row]) => row.code === code)?.[0] as ErrorCode | undefined;
  return new MeshError(known ?? "E_ENGINE", message, param === undefined ? {} : { param });
}

const noFacts = { limitTokens: undefined, promptTokens: undefined } as const;

function holdsError(json: unknown): boolean {
  if (!isRecord(json)) return false;
  const { error } = json;
  return json["object"] === "error" || isRecord(error) || (typeof error === "string" && error !== "");
}

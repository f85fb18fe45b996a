/**
 * A chat stream as the stream of response events. How bytes become chat events, and when an answer is whole, is
 * openai/chat-stream.ts.
 *
 * @see engines.md §4.4
 */
import type { MeshError } from "../../base/errors.ts";
import { isRecord, type Json } from "../../base/json.ts";
import { callPieces, reasoningText, textOfContent } from "../chat-answer.ts";
import { type ChatEnd, type EmitEvent, retold, type Teller } from "../chat-stream.ts";
import { openAiErrorFields } from "../errors.ts";
import { newId, unixSeconds } from "../ids.ts";
import { responseEnd, type ResponseHead, responseObject, type ResponseState, responseUsage } from "./object.ts";
import { logprobsOf, Output } from "./output.ts";
import type { ResponsesPlan } from "./request.ts";
import type { ResponseStore } from "./store.ts";

/**
 * The chat stream's bytes as the bytes of response events. When `chat` throws, holds an error or ends without a
 * `finish_reason`: `response.failed`, then `event: error`, then the MeshError is thrown.
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
  const head = { id: newId("resp"), createdAt: unixSeconds(), model };
  return retold(chat, new ResponseTeller(plan, head, requestId, store), "input");
}

class ResponseTeller implements Teller {
  readonly #plan: ResponsesPlan;
  readonly #head: ResponseHead;
  readonly #requestId: string;
  readonly #store: ResponseStore | undefined;
  readonly #output = new Output((type, fields) => this.#tell(type, fields));
  #emit: EmitEvent = () => undefined;
  #sequence = 0;

  constructor(plan: ResponsesPlan, head: ResponseHead, requestId: string, store: ResponseStore | undefined) {
    this.#plan = plan;
    this.#head = head;
    this.#requestId = requestId;
    this.#store = store;
  }

  begin(emit: EmitEvent): void {
    this.#emit = emit;
    for (const type of ["response.created", "response.in_progress"]) this.#tellState(type, { kind: "in_progress" });
  }

  choice(choice: Json): void {
    const delta = choice["delta"];
    if (!isRecord(delta)) return;
    const logprobs = this.#plan.chat["logprobs"] === true ? logprobsOf(choice) : [];
    this.#output.reasoning(reasoningText(delta));
    this.#output.text(textOfContent(delta["content"]), logprobs);
    if (typeof delta["refusal"] === "string") this.#output.refusal(delta["refusal"]);
    for (const call of callPieces(delta)) this.#output.call(call);
  }

  end({ finishReason, usage: counted }: ChatEnd): void {
    const end = responseEnd(finishReason);
    const output = this.#output.finish(end.status);
    if (this.#plan.keep) this.#store?.put(this.#head.id, this.#plan.before, [...this.#plan.items, ...output]);
    const usage = responseUsage(counted);
    const completedAt = unixSeconds();
    this.#tellState(`response.${end.status}`, { kind: "ended", end, output, usage, completedAt });
  }

  fail(failure: MeshError): void {
    const error = openAiErrorFields(failure, this.#requestId);
    const { message, param, code } = error;
    this.#tellState("response.failed", { kind: "failed", error: { code: failedCode(failure), message } });
    // flat for OpenAI's types, nested for the clients that throw on nothing else
    this.#tell("error", { code, message, param, error });
  }

  #tellState(type: string, state: ResponseState): void {
    this.#tell(type, { response: responseObject(this.#plan, this.#head, state) });
  }

  #tell(type: string, fields: Json): void {
    this.#emit(type, { sequence_number: this.#sequence++, ...fields });
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

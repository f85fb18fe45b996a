/**
 * A chat stream as the stream of message events. How bytes become chat events, and when an answer is whole, is
 * openai/chat-stream.ts. Engines count at the end: `message_start` has zeros, `message_delta` the numbers.
 */
import type { MeshError } from "../../base/errors.ts";
import { isRecord, type Json } from "../../base/json.ts";
import { callPieces, reasoningText, textOfContent } from "../chat-answer.ts";
import { type ChatEnd, type EmitEvent, retold, type Teller } from "../chat-stream.ts";
import { newId } from "../ids.ts";
import { Content } from "./content.ts";
import { messagesErrorFields } from "./errors.ts";
import { isCut, messageEnd, messageObject, messageUsage } from "./object.ts";
import type { MessagesPlan } from "./request.ts";

/**
 * The chat stream's bytes as the bytes of message events. When `chat` throws, holds an error or ends without a
 * `finish_reason`: `event: error`, then the MeshError is thrown; no `message_stop` then.
 */
export function messagesStream(
  plan: MessagesPlan,
  chat: AsyncIterable<Uint8Array>,
  model: string,
  requestId: string,
): AsyncGenerator<Uint8Array, undefined> {
  return retold(chat, new MessageTeller(plan, model, requestId), "messages");
}

class MessageTeller implements Teller {
  readonly #plan: MessagesPlan;
  readonly #model: string;
  readonly #requestId: string;
  readonly #content: Content;
  #emit: EmitEvent = () => undefined;
  #refused = false;

  constructor(plan: MessagesPlan, model: string, requestId: string) {
    this.#plan = plan;
    this.#model = model;
    this.#requestId = requestId;
    this.#content = new Content(plan.thinking, (type, fields) => this.#emit(type, fields));
  }

  begin(emit: EmitEvent): void {
    this.#emit = emit;
    const message = messageObject(newId("msg"), this.#model, [], undefined, messageUsage(undefined));
    emit("message_start", { message });
    emit("ping", {});
  }

  choice(choice: Json): void {
    const delta = choice["delta"];
    if (!isRecord(delta)) return;
    this.#content.thinking(reasoningText(delta));
    this.#content.text(textOfContent(delta["content"]));
    const refusal = delta["refusal"];
    if (typeof refusal === "string" && refusal !== "") {
      this.#refused = true;
      this.#content.text(refusal);
    }
    for (const call of callPieces(delta)) this.#content.call(call);
  }

  end({ finishReason, choice, usage }: ChatEnd): void {
    const { calls } = this.#content;
    const end = messageEnd(this.#plan, { finishReason, choice, calls, refused: this.#refused });
    this.#content.finish(isCut(finishReason));
    this.#emit("message_delta", { delta: end, usage: messageUsage(usage) });
    this.#emit("message_stop", {});
  }

  fail(failure: MeshError): void {
    this.#emit("error", messagesErrorFields(failure, this.#requestId));
  }
}

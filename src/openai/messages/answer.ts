/** A whole chat answer as a message object. */
import type { Json } from "../../base/json.ts";
import { callPieces, reasoningText, textOfContent, wholeChoice } from "../chat-answer.ts";
import { newId } from "../ids.ts";
import { Content } from "./content.ts";
import { isCut, messageEnd, messageObject, messageUsage } from "./object.ts";
import type { MessagesPlan } from "./request.ts";

/** @throws E_ENGINE when the answer has no message, or cannot be read */
export function messagesAnswer(plan: MessagesPlan, chat: Json, model: string): Json {
  const { choice, message } = wholeChoice(chat);
  const content = new Content(plan.thinking, () => undefined);
  content.thinking(reasoningText(message));
  content.text(textOfContent(message["content"]));
  const refusal = message["refusal"];
  if (typeof refusal === "string") content.text(refusal);
  // in a whole answer each entry is a call of its own, whatever its index says
  callPieces(message).forEach((call, index) => content.call({ ...call, index }));
  const finishReason = choice["finish_reason"];
  const refused = typeof refusal === "string" && refusal !== "";
  const end = messageEnd(plan, { finishReason, choice, calls: content.calls, refused });
  return messageObject(newId("msg"), model, content.finish(isCut(finishReason)), end, messageUsage(chat["usage"]));
}

/** A whole chat answer as a response object. */
import type { Json } from "../../base/json.ts";
import { callPieces, reasoningText, textOfContent, wholeChoice } from "../chat-answer.ts";
import { newId, unixSeconds } from "../ids.ts";
import { responseEnd, responseObject, responseUsage } from "./object.ts";
import { logprobsOf, Output } from "./output.ts";
import type { ResponsesPlan } from "./request.ts";
import type { ResponseStore } from "./store.ts";

/**
 * A whole `chat.completion` as a response object; keeps it in `store` when the plan says so.
 *
 * @throws E_ENGINE when the answer has no message, or cannot be read
 */
export function responsesAnswer(
  plan: ResponsesPlan,
  chat: Json,
  model: string,
  store: ResponseStore | undefined,
): Json {
  const { choice, message } = wholeChoice(chat);
  const end = responseEnd(choice["finish_reason"]);
  const output = new Output(() => {});
  const logprobs = plan.chat["logprobs"] === true ? logprobsOf(choice) : [];
  output.reasoning(reasoningText(message));
  output.text(textOfContent(message["content"]), logprobs);
  if (typeof message["refusal"] === "string") output.refusal(message["refusal"]);
  // in a whole answer each entry is a call of its own, whatever its index says
  callPieces(message).forEach((call, index) => output.call({ ...call, index }));
  const items = output.finish(end.status);
  const now = unixSeconds();
  const head = { id: newId("resp"), createdAt: now, model };
  if (plan.keep) store?.put(head.id, plan.before, [...plan.items, ...items]);
  return responseObject(plan, head, {
    kind: "ended",
    end,
    output: items,
    usage: responseUsage(chat["usage"]),
    completedAt: now,
  });
}

/** Requests in short form, and the two outcomes of planning them. */
import { isMeshError } from "../../../../src/base/errors.ts";
import type { Json } from "../../../../src/base/json.ts";
import { type MessagesPlan, planMessages } from "../../../../src/openai/messages/request.ts";

export function plan(more: Json = {}): MessagesPlan {
  return planMessages({ model: "m", max_tokens: 100, messages: [{ role: "user", content: "hi" }], ...more });
}

/** Chat messages of these turns. */
export function chatOf(messages: readonly Json[], more: Json = {}): unknown {
  return plan({ messages, ...more }).chat["messages"];
}

/** Code and param of the refusal. */
export function refusal(more: Json): unknown {
  try {
    plan(more);
  } catch (thrown) {
    return isMeshError(thrown) ? `${thrown.code} ${thrown.param}` : thrown;
  }
  return "taken";
}

/** The same, of one block in a user's message. */
export function refusedBlock(block: unknown): unknown {
  return refusal({ messages: [{ role: "user", content: [block] }] });
}

/** The message object around the content: head, end, usage. Fields as Anthropic's client types have them. */
import { countOf, isRecord, type Json } from "../../base/json.ts";
import { refuseFailedEnd } from "../chat-answer.ts";
import type { MessagesPlan } from "./request.ts";

/** How a message ended; the three fields of a message and of `message_delta`. */
export interface MessageEnd {
  readonly stop_reason: "end_turn" | "max_tokens" | "stop_sequence" | "tool_use" | "refusal";
  readonly stop_sequence: string | null;
  readonly stop_details: Json | null;
}

/** Before it has ended. */
const running = { stop_reason: null, stop_sequence: null, stop_details: null } as const;

/** @param model under its name here */
export function messageObject(
  id: string,
  model: string,
  content: readonly Json[],
  end: MessageEnd | undefined,
  usage: Json,
): Json {
  return { id, type: "message", role: "assistant", model, content, ...(end ?? running), usage };
}

export interface ChatEnding {
  /** `finish_reason` of the chat answer. */
  readonly finishReason: unknown;
  /** The choice that named it. */
  readonly choice: Json;
  /** A tool is to be used. Some engines end such answers with `stop`. */
  readonly calls: boolean;
  /** The answer holds a refusal. */
  readonly refused: boolean;
}

/** @throws E_ENGINE when the reason says that the engine failed */
export function messageEnd(plan: MessagesPlan, { finishReason, choice, calls, refused }: ChatEnding): MessageEnd {
  refuseFailedEnd(finishReason);
  const ended = (stop_reason: MessageEnd["stop_reason"]): MessageEnd => ({ ...running, stop_reason });
  if (isCut(finishReason)) return ended("max_tokens");
  if (finishReason === "content_filter" || refused) {
    return { ...ended("refusal"), stop_details: { type: "refusal", category: null, explanation: null } };
  }
  if (calls) return ended("tool_use");
  // vLLM's name, and SGLang's; the others do not say which string ended an answer
  const found = [choice["stop_reason"], choice["matched_stop"]].find((word) => typeof word === "string");
  const sequence = plan.stopSequences.find((stop) => stop === found);
  return sequence === undefined ? ended("end_turn") : { ...ended("stop_sequence"), stop_sequence: sequence };
}

/** Whether the answer ended at its limit. */
export function isCut(finishReason: unknown): boolean {
  return finishReason === "length";
}

/** `usage` of chat in the words of Messages, where what came from a cache is no input; zeros for what was not counted. */
export function messageUsage(usage: unknown): Json {
  const counted = isRecord(usage) ? usage : {};
  const prompt = countOf(counted["prompt_tokens"]) ?? 0;
  const cached = Math.min(prompt, detail(counted["prompt_tokens_details"], "cached_tokens") ?? 0);
  const thinking = detail(counted["completion_tokens_details"], "reasoning_tokens");
  return {
    input_tokens: prompt - cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
    output_tokens: countOf(counted["completion_tokens"]) ?? 0,
    ...(thinking === undefined ? {} : { output_tokens_details: { thinking_tokens: thinking } }),
  };
}

function detail(details: unknown, field: string): number | undefined {
  return isRecord(details) ? countOf(details[field]) : undefined;
}

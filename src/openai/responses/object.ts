/** The response object around the output: head, state, usage. Fields and order as OpenAI's client types have them. */
import { isRecord, type Json } from "../../base/json.ts";
import { refuseFailedEnd } from "../chat-answer.ts";
import type { ResponsesPlan } from "./request.ts";

/** What all objects and events of one response have in common. */
export interface ResponseHead {
  /** `resp_...` */
  readonly id: string;
  /** Unix time, seconds. */
  readonly createdAt: number;
  /** The model that answers, under its name here. */
  readonly model: string;
}

export type ResponseState =
  | { readonly kind: "in_progress" }
  | { readonly kind: "failed"; readonly error: Json }
  | {
      readonly kind: "ended";
      readonly end: ResponseEnd;
      readonly output: readonly Json[];
      /** Left out where the engine did not count. */
      readonly usage: Json | undefined;
      /** Unix time, seconds. */
      readonly completedAt: number;
    };

/** How an answer ended that did end. */
export type ResponseEnd =
  | { readonly status: "completed" }
  | { readonly status: "incomplete"; readonly reason: "max_output_tokens" | "content_filter" };

export function responseObject(plan: ResponsesPlan, head: ResponseHead, state: ResponseState): Json {
  const ended = state.kind === "ended" ? state : undefined;
  const end = ended?.end;
  return {
    id: head.id,
    object: "response",
    created_at: head.createdAt,
    status: end?.status ?? state.kind,
    completed_at: end?.status === "completed" ? (ended?.completedAt ?? null) : null,
    error: state.kind === "failed" ? state.error : null,
    incomplete_details: end?.status === "incomplete" ? { reason: end.reason } : null,
    model: head.model,
    output: ended?.output ?? [],
    ...plan.echo,
    ...(ended?.usage ? { usage: ended.usage } : {}),
  };
}

/** @param reason `finish_reason` of the chat answer @throws E_ENGINE when it says that the engine failed */
export function responseEnd(reason: unknown): ResponseEnd {
  refuseFailedEnd(reason);
  switch (reason) {
    case "length":
      return { status: "incomplete", reason: "max_output_tokens" };
    case "content_filter":
      return { status: "incomplete", reason: "content_filter" };
    default:
      return { status: "completed" };
  }
}

/** `usage` of chat in the words of Responses; undefined when the engine gave none. */
export function responseUsage(usage: unknown): Json | undefined {
  if (!isRecord(usage)) return undefined;
  const input = count(usage["prompt_tokens"]);
  const output = count(usage["completion_tokens"]);
  return {
    input_tokens: input,
    input_tokens_details: {
      cached_tokens: detail(usage["prompt_tokens_details"], "cached_tokens"),
      cache_write_tokens: detail(usage["prompt_tokens_details"], "cache_write_tokens"),
    },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: detail(usage["completion_tokens_details"], "reasoning_tokens") },
    total_tokens: input + output,
  };
}

function detail(details: unknown, field: string): number {
  return isRecord(details) ? count(details[field]) : 0;
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

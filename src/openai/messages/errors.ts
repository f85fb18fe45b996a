/**
 * Failures as Anthropic's client reads them: `{"type":"error","error":{"type","message"},"request_id"}`, with the same
 * status and headers as for OpenAI's. Our own code stands in `error.details.error_code`, which the client shows as
 * `errorCode`. It retries 408, 409, 429 and 5xx unless `x-should-retry` says otherwise, so `overloaded_error` is what another
 * try may end differently.
 */
import { utf8, view } from "../../base/bytes.ts";
import { errorTable, type MeshError } from "../../base/errors.ts";
import { isRecord, type Json, parseJsonText } from "../../base/json.ts";
import { type OpenAiError, openAiError, openAiErrorFields } from "../errors.ts";
import { overflowFacts } from "../overflow.ts";

/** Status, headers and body of the answer that tells an Anthropic client of `error`. */
export function messagesError(error: MeshError, requestId: string): OpenAiError {
  const { status, headers } = openAiError(error, requestId);
  return { status, headers, body: utf8(JSON.stringify({ type: "error", ...messagesErrorFields(error, requestId) })) };
}

/** `error` and `request_id`, for bodies and for the last event of a broken stream. */
export function messagesErrorFields(error: MeshError, requestId: string): Json {
  const { status, headers } = openAiError(error, requestId);
  return told(status, openAiErrorFields(error, requestId), headers, requestId);
}

/**
 * An OpenAI error answer, as hosts give it, in Anthropic's form.
 *
 * @param headers lower-case names
 * @param body    `{"error": {...}}`, made by openAiErrorAnswer()
 */
export function messagesErrorAnswer(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  requestId: string,
): Uint8Array {
  const json = parseJsonText(view(body).toString("utf8"));
  const error = isRecord(json) && isRecord(json["error"]) ? json["error"] : {};
  return utf8(JSON.stringify({ type: "error", ...told(status, error, headers, requestId) }));
}

/** @param given fields of an OpenAI error object; what a host wrote there may be of any type */
function told(status: number, given: object, headers: Readonly<Record<string, string>>, requestId: string): Json {
  const { message, type, param, code }: Json = { ...given };
  const text = typeof message === "string" ? message : "";
  const mayRetry = headers["x-should-retry"] !== "false";
  return {
    error: {
      type: errorType(status, type, mayRetry),
      message: code === "context_length_exceeded" ? tooLong(text) : text,
      details: { ...(isThread(code, param) ? threadRefused : { error_code: code ?? null }), param: param ?? null },
    },
    request_id: requestId,
  };
}

/** By these the client's tool runner knows that it must send whole conversations, and goes on. */
const threadRefused = { error_code: "thread_unsupported_request", unsupported: [] };

function isThread(code: unknown, param: unknown): boolean {
  return code === errorTable.E_UNSUPPORTED.code && param === "thread";
}

function errorType(status: number, openAiType: unknown, mayRetry: boolean): string {
  switch (status) {
    case 401:
      return "authentication_error";
    case 402:
      return "billing_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return mayRetry ? "overloaded_error" : "api_error";
    case 504:
      return "timeout_error";
    case 529:
      return "overloaded_error";
    default:
      return status < 500 && openAiType !== "server_error" ? "invalid_request_error" : "api_error";
  }
}

/** Agents know by these words that they must shorten the conversation. */
function tooLong(message: string): string {
  const none = { status: 400, type: undefined, code: undefined, param: undefined };
  const unknown = { promptTokens: undefined, contextTokens: undefined };
  const { promptTokens, limitTokens } = overflowFacts({ ...none, ...unknown, message });
  const counted = promptTokens !== undefined && limitTokens !== undefined;
  return `prompt is too long${counted ? `: ${promptTokens} tokens > ${limitTokens} maximum` : ""}. ${message}`;
}

/**
 * Error answers of hosts and engines as OpenAI clients read them. What already is an OpenAI error object keeps its words;
 * everything else (flat `{"error": "text"}`, `detail`, an HTML page, nothing at all, far too much) gets type and code from
 * its status. Knows nothing of our own failures: those are openai/errors.ts.
 *
 * @see protocol.md §6.3
 */
import { utf8, view } from "../base/bytes.ts";
import type { OpenAiErrorType } from "../base/errors.ts";
import { isRecord, parseJsonText } from "../base/json.ts";
import { clip, readUpstreamError, upstreamErrorBytes } from "./errors.ts";
import { isOverflow } from "./overflow.ts";

/** Status and body of an answer that is an error; body is JSON, UTF-8. */
export interface ErrorAnswer {
  readonly status: number;
  /** `error.code` in the body: what a host wrote there, where it was an error object already. */
  readonly code: unknown;
  readonly body: Uint8Array;
}

interface Kind {
  readonly type: OpenAiErrorType;
  readonly code: string;
}

const kind = (type: OpenAiErrorType, code: string): Kind => ({ type, code });

const byStatus: ReadonlyMap<number, Kind> = new Map([
  [400, kind("invalid_request_error", "invalid_value")],
  [401, kind("authentication_error", "invalid_api_key")],
  [403, kind("permission_error", "insufficient_quota")],
  [404, kind("invalid_request_error", "model_not_found")],
  [413, kind("invalid_request_error", "payload_too_large")],
  [429, kind("rate_limit_error", "rate_limit_exceeded")],
  [501, kind("invalid_request_error", "unsupported_model_feature")],
  [503, kind("server_error", "service_unavailable")],
  [504, kind("server_error", "timeout")],
]);
const overflow = kind("invalid_request_error", "context_length_exceeded");
const unknown = kind("server_error", "internal_server_error");
const tooLarge = kind("server_error", "upstream_error_too_large");

/** Every code that this table gives: a bounded set, for labels. */
export const foreignCodes: ReadonlySet<string> = new Set(
  [...byStatus.values(), overflow, unknown, tooLarge].map(({ code }) => code),
);

/** Longest message that is passed on; a longer one is cut, characters. */
const messageLimit = 4_096;

/**
 * The same failure as an OpenAI error object. Never throws; the message is never empty and at most 4096 characters.
 *
 * @param body borrowed; what lies beyond 256 KiB is not looked at, and no message is taken from such a body
 */
export function openAiErrorAnswer(status: number, body: Uint8Array): ErrorAnswer {
  if (body.length > upstreamErrorBytes) {
    return answer(status, { message: `The error answer of status ${status} was too large to read.`, ...tooLarge });
  }
  const given = errorObject(body);
  const upstream = readUpstreamError(status, body);
  const tooLong = isOverflow(upstream) ? overflow : undefined;
  // clients know an overflow by its code, which llama-server and vLLM do not give
  if (given) return answer(status, { ...given, ...tooLong });
  const { type, code } = tooLong ?? byStatus.get(status) ?? unknown;
  return answer(status, { message: upstream.message, type, param: upstream.param ?? null, code });
}

interface Fields {
  readonly message: string;
  readonly type: string;
  readonly code: unknown;
  readonly param?: unknown;
}

/** `{"error": {"message": text, "type": text, ...}}` with all its members, and null for a missing param or code. */
function errorObject(body: Uint8Array): Fields | undefined {
  const json = parseJsonText(view(body).toString("utf8"));
  if (!isRecord(json) || !isRecord(json["error"])) return undefined;
  const { message, type, ...more } = json["error"];
  if (typeof message !== "string" || message === "" || typeof type !== "string" || type === "") return undefined;
  return { message, type, param: null, code: null, ...more };
}

function answer(status: number, { message, type, param = null, code, ...more }: Fields): ErrorAnswer {
  const error = { message: clip(message, messageLimit), type, param, code, ...more };
  return { status, code, body: utf8(JSON.stringify({ error })) };
}

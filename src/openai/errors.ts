/**
 * Failures as OpenAI clients read them: a MeshError becomes status, headers and `{"error":{message,type,param,code}}`;
 * what an engine answered instead of an answer becomes one plain {@link UpstreamError}. Sets no request id header:
 * that belongs to whoever owns the response.
 */
import { utf8, view } from "../base/bytes.ts";
import type { ErrorCode, MeshError } from "../base/errors.ts";
import { countOf, isRecord, parseJsonText } from "../base/json.ts";

/** What an OpenAI client needs to know of a failure, ready to be written. */
export interface OpenAiError {
  readonly status: number;
  /** content-type, and retry-after and x-should-retry where they apply; lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON, UTF-8. */
  readonly body: Uint8Array;
}

/** The four fields of an OpenAI error object. */
export interface OpenAiErrorFields {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

// Another try by the caller may end differently although this node gave up; for all others only an explicit
// retryAfterSeconds says so. The official client would otherwise repeat every 409, 429 and 5xx.
const worthAnotherTry: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "E_NO_HOST",
  "E_BUSY",
  "E_DRAINING",
  "E_UNREACHABLE",
  "E_RELAY",
  "E_TIMEOUT",
  "E_LOST",
  "E_ENGINE_LOST",
  "E_CLOSED",
]);

/** The `error` object alone, for bodies and for the last event of a broken stream. */
export function openAiErrorFields(error: MeshError, requestId: string): OpenAiErrorFields {
  const { type, code, hint } = error.row;
  // what went wrong inside is for the log: it may name paths or hold a stack's words
  const what =
    error.code === "E_BUG" ? `Something went wrong inside this node; the request id is ${requestId}.` : error.message;
  return { message: withHint(what, hint), type, param: error.param ?? null, code };
}

/** What happened, and what to do about it; a message that came from another node of ours says that already. */
function withHint(message: string, hint: string): string {
  if (message.includes(hint)) return message;
  return `${message}${/[.!?…]["')\]]?$/.test(message) ? "" : "."} ${hint}`;
}

/** Status, headers and body of the answer that tells an OpenAI client of `error`. */
export function openAiError(error: MeshError, requestId: string): OpenAiError {
  const headers: Record<string, string> = { "content-type": "application/json" };
  const retryAfter = error.retryAfterSeconds ?? (error.code === "E_BUSY" ? 1 : undefined);
  if (retryAfter !== undefined) headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfter)));
  else if (!worthAnotherTry.has(error.code)) headers["x-should-retry"] = "false";
  return {
    status: error.row.status,
    headers,
    body: utf8(JSON.stringify({ error: openAiErrorFields(error, requestId) })),
  };
}

/** What an engine said instead of an answer. Every text is cut to a bounded length. */
export interface UpstreamError {
  readonly status: number;
  /** Never empty. */
  readonly message: string;
  readonly type: string | undefined;
  readonly code: string | undefined;
  readonly param: string | undefined;
  /** Numbers that llama-server puts beside the message of an overflow, in tokens. */
  readonly promptTokens: number | undefined;
  readonly contextTokens: number | undefined;
}

// a sentence, not a page: some engines answer with a stack trace
const messageLimit = 600;
const wordLimit = 100;
// steps of body, error, message, and once more for JSON inside a message (Ollama passes llama-server's on)
const depthLimit = 6;
/** Bodies beyond this are not error objects, bytes. */
export const upstreamErrorBytes: number = 256 * 1024;

/**
 * Reads an engine's error answer, or the data of an error event: `{error: {...}}`, `{error: "..."}`, flat
 * `{object: "error", ...}`, `{detail: ...}`, JSON inside a message, or no JSON at all. Never throws.
 *
 * @see engines.md §5.3 rule 4
 */
export function readUpstreamError(status: number, bytes: Uint8Array): UpstreamError {
  const text = view(bytes.subarray(0, upstreamErrorBytes)).toString("utf8");
  return readUpstreamErrorText(status, text);
}

/** The same for text, as SSE events carry it. */
export function readUpstreamErrorText(status: number, text: string): UpstreamError {
  const none: UpstreamError = {
    status,
    message: `The engine answered with status ${status} and no explanation.`,
    type: undefined,
    code: undefined,
    param: undefined,
    promptTokens: undefined,
    contextTokens: undefined,
  };
  const json = parseJsonText(text);
  if (json === undefined) {
    const plain = text.trim();
    // an HTML page is a proxy's, and says nothing to a person in a JSON field
    return plain === "" || plain.startsWith("<") ? none : { ...none, message: clip(plain, messageLimit) };
  }
  return readObject(json, none, 0);
}

function readObject(value: unknown, base: UpstreamError, depth: number): UpstreamError {
  if (typeof value === "string") {
    const inner = value.trimStart().startsWith("{") && depth < depthLimit ? parseJsonText(value) : undefined;
    if (inner !== undefined) return readObject(inner, base, depth + 1);
    return value.trim() === "" ? base : { ...base, message: clip(value.trim(), messageLimit) };
  }
  if (!isRecord(value) || depth >= depthLimit) return base;
  if (value["error"] !== undefined && value["error"] !== null) return readObject(value["error"], base, depth + 1);
  const found: UpstreamError = {
    ...base,
    type: word(value["type"]) ?? base.type,
    code: word(value["code"]) ?? base.code,
    param: word(value["param"]) ?? base.param,
    promptTokens: countOf(value["n_prompt_tokens"]) ?? base.promptTokens,
    contextTokens: countOf(value["n_ctx"]) ?? base.contextTokens,
  };
  const message = value["message"] ?? value["detail"];
  if (Array.isArray(message)) {
    // FastAPI's list of validation failures: the first one is enough
    const first: unknown = message[0];
    return readObject(isRecord(first) ? first["msg"] : first, found, depth + 1);
  }
  return readObject(message, found, depth + 1);
}

function word(value: unknown): string | undefined {
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value !== "" ? clip(value, wordLimit) : undefined;
}

/** At most so many characters, the last of a longer text an ellipsis. */
export function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

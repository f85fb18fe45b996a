/**
 * The one table of things that can go wrong, and the one error class. Every failure that leaves a function is a
 * MeshError with a code from this table; HTTP status, OpenAI error type, exit code and the hint for a person follow
 * from the code alone. An error has no field for a body: content cannot travel in it.
 */

/** How an OpenAI client classifies the failure. */
export type OpenAiErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "permission_error"
  | "rate_limit_error"
  | "server_error";

/** One row of the error table. */
export interface ErrorRow {
  /** HTTP status of the answer to a local caller. */
  readonly status: number;
  readonly type: OpenAiErrorType;
  /** `error.code` of the OpenAI error object. */
  readonly code: string;
  /** Process exit code when a command ends with it (sysexits). */
  readonly exit: number;
  /**
   * Whether the host surely did nothing with the request. Only "no" means that another attempt cannot compute or
   * disclose it twice; whatever a relay says is at most "maybe".
   */
  readonly processed: "no" | "maybe";
  /** What a person can do about it. */
  readonly hint: string;
}

const row = (
  status: number,
  type: OpenAiErrorType,
  code: string,
  exit: number,
  processed: "no" | "maybe",
  hint: string,
): ErrorRow => ({ status, type, code, exit, processed, hint });

export type ErrorCode =
  | "E_INPUT"
  | "E_USAGE"
  | "E_NOT_FOUND"
  | "E_METHOD"
  | "E_FOREIGN"
  | "E_TOO_LARGE"
  | "E_MODEL"
  | "E_UNSUPPORTED"
  | "E_OVERFLOW"
  | "E_NO_HOST"
  | "E_REFUSED"
  | "E_BUSY"
  | "E_DRAINING"
  | "E_UNREACHABLE"
  | "E_RELAY"
  | "E_TIMEOUT"
  | "E_LOST"
  | "E_ABORTED"
  | "E_WIRE"
  | "E_KEY"
  | "E_OPEN"
  | "E_ORDER"
  | "E_TRUNCATED"
  | "E_CLOCK"
  | "E_REPLAY"
  | "E_NO_ENGINE"
  | "E_ENGINE"
  | "E_ENGINE_LOST"
  | "E_CONFIG"
  | "E_STATE"
  | "E_PORT"
  | "E_INVITE"
  | "E_CLOSED"
  | "E_BUG";

export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = {
  // what a caller sent
  E_INPUT: row(400, "invalid_request_error", "invalid_value", 65, "no", "Correct the named field and send it again."),
  E_USAGE: row(400, "invalid_request_error", "invalid_value", 64, "no", "See `sealmesh help`."),
  E_NOT_FOUND: row(404, "invalid_request_error", "not_found", 65, "no", "See /v1/models and /v1/chat/completions."),
  E_METHOD: row(405, "invalid_request_error", "method_not_allowed", 65, "no", "Use the method named in the message."),
  E_FOREIGN: row(403, "permission_error", "foreign_origin", 77, "no", "Use localhost or 127.0.0.1, from this machine."),
  E_TOO_LARGE: row(413, "invalid_request_error", "payload_too_large", 65, "no", "Send a smaller request."),
  E_MODEL: row(404, "invalid_request_error", "model_not_found", 65, "no", "Pick a model that /v1/models lists."),
  E_UNSUPPORTED: row(
    400,
    "invalid_request_error",
    "unsupported_model_feature",
    65,
    "no",
    "Leave the named feature out, or pick a model that has it.",
  ),
  E_OVERFLOW: row(
    400,
    "invalid_request_error",
    "context_length_exceeded",
    65,
    "no",
    "Shorten the messages, or use a model with a larger context.",
  ),
  // choosing and reaching a host
  E_NO_HOST: row(
    503,
    "server_error",
    "no_host",
    69,
    "no",
    "Wait for a host to join, or start one with `sealmesh serve`.",
  ),
  E_REFUSED: row(503, "server_error", "refused", 77, "no", "The message names the rule and the host's factor."),
  E_BUSY: row(429, "rate_limit_error", "rate_limit_exceeded", 75, "no", "Try again after the time in Retry-After."),
  E_DRAINING: row(503, "server_error", "draining", 75, "no", "This node is stopping; ask another one."),
  E_UNREACHABLE: row(
    503,
    "server_error",
    "host_unreachable",
    69,
    "no",
    "Check that the machine is up and its address right.",
  ),
  E_RELAY: row(503, "server_error", "relay_failed", 69, "maybe", "Try another relay, or the direct route."),
  E_TIMEOUT: row(504, "server_error", "timeout", 75, "maybe", "The host said nothing for too long; try again."),
  E_LOST: row(502, "server_error", "connection_lost", 75, "maybe", "The connection to the host ended; try again."),
  E_ABORTED: row(499, "server_error", "aborted", 75, "maybe", "The caller went away."),
  // the sealed path
  E_WIRE: row(
    502,
    "server_error",
    "protocol_error",
    76,
    "maybe",
    "The peer sent bytes that the protocol does not allow.",
  ),
  E_KEY: row(502, "server_error", "bad_key", 76, "no", "The host shows a key that cannot be used; restart that host."),
  E_OPEN: row(502, "server_error", "cannot_open", 76, "maybe", "The bytes do not open under the expected key."),
  E_ORDER: row(
    502,
    "server_error",
    "chunk_order",
    76,
    "maybe",
    "Chunks were dropped, repeated or reordered on the way.",
  ),
  E_TRUNCATED: row(
    502,
    "server_error",
    "truncated",
    76,
    "maybe",
    "The host or a relay cut the answer; what you have is incomplete.",
  ),
  E_CLOCK: row(425, "server_error", "E_CLOCK", 75, "no", "The clocks of both machines differ by more than 5 minutes."),
  E_REPLAY: row(409, "server_error", "replayed", 76, "no", "The same envelope was already answered once."),
  // engines
  E_NO_ENGINE: row(503, "server_error", "no_engine", 69, "no", "Start an engine, or name its URL with --engine URL."),
  E_ENGINE: row(502, "server_error", "engine_error", 69, "maybe", "Look at the engine's own log on the host."),
  E_ENGINE_LOST: row(
    502,
    "server_error",
    "engine_lost",
    69,
    "maybe",
    "The engine's process ended; it is being restarted.",
  ),
  // this machine
  E_CONFIG: row(500, "server_error", "bad_configuration", 78, "no", "Correct the named setting."),
  E_STATE: row(
    500,
    "server_error",
    "state_unusable",
    78,
    "no",
    "Make the data directory yours alone (mode 0700, files 0600).",
  ),
  E_PORT: row(
    500,
    "server_error",
    "port_in_use",
    69,
    "no",
    "Stop the program that has the port, or choose another (0 picks one).",
  ),
  E_INVITE: row(400, "invalid_request_error", "bad_invite", 65, "no", "Ask for a fresh invite and paste all of it."),
  E_CLOSED: row(503, "server_error", "closed", 75, "no", "This part of the node has been shut down."),
  E_BUG: row(500, "server_error", "internal_error", 70, "maybe", "Please report it with the request id."),
};

export interface MeshErrorOptions {
  cause?: unknown;
  /** Request field at fault, for `error.param`. */
  param?: string;
  /** Seconds after which another try makes sense, for `Retry-After`. */
  retryAfterSeconds?: number;
}

// not instanceof: two installed copies of the package must recognise each other's errors
const marker = Symbol.for("sealmesh.error");

/** A failure with a code from {@link errorTable}. `message` says what happened and why, for a person. */
export class MeshError extends Error {
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: MeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "MeshError";
    this.code = code;
    this.param = options.param;
    this.retryAfterSeconds = options.retryAfterSeconds;
    Object.defineProperty(this, marker, { value: true });
  }

  get row(): ErrorRow {
    return errorTable[this.code];
  }
}

/** True for a MeshError of this or another installed copy of the package. */
export function isMeshError(value: unknown): value is MeshError {
  return typeof value === "object" && value !== null && marker in value;
}

/** Wraps whatever was thrown: a MeshError passes, anything else becomes `fallback` (E_BUG) with the cause kept. */
export function toMeshError(thrown: unknown, fallback: ErrorCode = "E_BUG"): MeshError {
  if (isMeshError(thrown)) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new MeshError(fallback, message, { cause: thrown });
}

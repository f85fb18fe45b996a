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
  | "E_UNAUTHORIZED"
  | "E_SESSION"
  | "E_TOO_LARGE"
  | "E_HEAD_TOO_LARGE"
  | "E_SLOW"
  | "E_EXPECT"
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
  | "E_DISK"
  | "E_PORT"
  | "E_INVITE"
  | "E_CLOSED"
  | "E_BUG";

export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = {
  // what a caller sent
  E_INPUT: row(
    400,
    "invalid_request_error",
    "invalid_value",
    65,
    "no",
    "Correct what the message names and send the request again.",
  ),
  E_USAGE: row(
    400,
    "invalid_request_error",
    "invalid_value",
    64,
    "no",
    "Run `sealmesh help` to see the commands and their flags.",
  ),
  E_NOT_FOUND: row(
    404,
    "invalid_request_error",
    "not_found",
    65,
    "no",
    "Check the path: below /v1 are models, chat/completions, completions, embeddings, responses and messages.",
  ),
  E_METHOD: row(
    405,
    "invalid_request_error",
    "method_not_allowed",
    65,
    "no",
    "Use the method that the answer's Allow header names: GET to look something up, POST to ask for an answer.",
  ),
  E_FOREIGN: row(
    403,
    "permission_error",
    "foreign_origin",
    77,
    "no",
    "Call http://127.0.0.1 from a program on this machine, not from a web page of another site.",
  ),
  E_UNAUTHORIZED: row(
    401,
    "authentication_error",
    "invalid_api_key",
    77,
    "no",
    "Send a key of the node's --api-key-file as `Authorization: Bearer KEY` or `x-api-key: KEY`.",
  ),
  E_SESSION: row(
    401,
    "authentication_error",
    "invalid_session",
    77,
    "no",
    "Run `sealmesh console` on the node's machine: it prints the link with the session token of this start.",
  ),
  E_TOO_LARGE: row(
    413,
    "invalid_request_error",
    "payload_too_large",
    65,
    "no",
    "Send less at once: shorter messages, or fewer and smaller images.",
  ),
  E_HEAD_TOO_LARGE: row(431, "invalid_request_error", "payload_too_large", 65, "no", "Send fewer or shorter headers."),
  E_SLOW: row(
    408,
    "invalid_request_error",
    "request_timeout",
    75,
    "no",
    "Check the connection to the node, and send the whole request without pauses.",
  ),
  E_EXPECT: row(417, "invalid_request_error", "expectation_failed", 65, "no", "Leave the Expect header out."),
  E_MODEL: row(
    404,
    "invalid_request_error",
    "model_not_found",
    65,
    "no",
    "Pick a model that /v1/models lists, or start a host that serves this one.",
  ),
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
    "Please reduce the length of the messages.",
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
  E_REFUSED: row(
    503,
    "server_error",
    "refused",
    77,
    "no",
    "Update or restart the hosts that the message names, or change the setting of this node that refuses them.",
  ),
  E_BUSY: row(429, "rate_limit_error", "rate_limit_exceeded", 75, "no", "Try again after the time in Retry-After."),
  E_DRAINING: row(503, "server_error", "draining", 75, "no", "Ask another node, or this one again after its restart."),
  E_UNREACHABLE: row(
    503,
    "server_error",
    "host_unreachable",
    69,
    "no",
    "Check that the machine is up and its address right.",
  ),
  E_RELAY: row(
    503,
    "server_error",
    "relay_failed",
    69,
    "maybe",
    "Try again; if it stays so, join another relay, or let hosts be reached directly (--route auto).",
  ),
  E_TIMEOUT: row(
    504,
    "server_error",
    "timeout",
    75,
    "maybe",
    "Try again; if it stays so, see on the host whether its engine is stuck.",
  ),
  E_LOST: row(
    502,
    "server_error",
    "connection_lost",
    75,
    "maybe",
    "Try again; if it stays so, check the network between this machine and the host.",
  ),
  E_ABORTED: row(
    499,
    "server_error",
    "aborted",
    75,
    "maybe",
    "Keep the connection open until the answer is whole, or raise the client's time-out.",
  ),
  // the sealed path
  E_WIRE: row(
    502,
    "server_error",
    "protocol_error",
    76,
    "maybe",
    "Bring sealmesh to the same version on both machines; if it stays so, leave out the peer or relay in between.",
  ),
  E_KEY: row(502, "server_error", "bad_key", 76, "no", "Restart the host: it makes a new key then."),
  E_OPEN: row(
    502,
    "server_error",
    "cannot_open",
    76,
    "maybe",
    "Try again: the host may have a new key; if it stays so, restart the host.",
  ),
  E_ORDER: row(
    502,
    "server_error",
    "chunk_order",
    76,
    "maybe",
    "Ask again without that relay (--route direct): it has dropped, repeated or reordered parts of the answer.",
  ),
  E_TRUNCATED: row(
    502,
    "server_error",
    "truncated",
    76,
    "maybe",
    "Throw away what came, it is not the whole answer, and ask again.",
  ),
  E_CLOCK: row(
    425,
    "server_error",
    "E_CLOCK",
    75,
    "no",
    "Let both machines take their time from a time server: their clocks differ by more than 5 minutes.",
  ),
  E_REPLAY: row(
    409,
    "server_error",
    "replayed",
    76,
    "no",
    "Send the request anew; if you sent it only once, leave out the relay in between: it repeats requests.",
  ),
  // engines
  E_NO_ENGINE: row(503, "server_error", "no_engine", 69, "no", "Start an engine, or name its URL with --engine URL."),
  E_ENGINE: row(502, "server_error", "engine_error", 69, "maybe", "Look at the engine's own log on the host."),
  E_ENGINE_LOST: row(
    502,
    "server_error",
    "engine_lost",
    69,
    "maybe",
    "Try again in a few seconds, when the engine is up again; if it ends again, give it a smaller model or context.",
  ),
  // this machine
  E_CONFIG: row(
    500,
    "server_error",
    "bad_configuration",
    78,
    "no",
    "Correct the setting that the message names, and start again.",
  ),
  E_STATE: row(
    500,
    "server_error",
    "state_unusable",
    78,
    "no",
    "Mend what the message names: the data directory must be whole, and yours alone (mode 0700, files 0600).",
  ),
  E_DISK: row(
    507,
    "server_error",
    "disk_full",
    75,
    "no",
    "Free the room that the message names, or name another directory, and try again.",
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
  E_CLOSED: row(503, "server_error", "closed", 75, "no", "Start the node again, or ask another one."),
  E_BUG: row(
    500,
    "server_error",
    "internal_error",
    70,
    "maybe",
    "Please report it, with the request id and the lines of the node's log around it.",
  ),
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

/** What `read` gives, or undefined where it throws a MeshError: for input that says nothing if it is malformed. */
export function unlessMeshError<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if (isMeshError(thrown)) return undefined;
    throw thrown;
  }
}

/** Wraps whatever was thrown: a MeshError passes, anything else becomes `fallback` (E_BUG) with the cause kept. */
export function toMeshError(thrown: unknown, fallback: ErrorCode = "E_BUG"): MeshError {
  if (isMeshError(thrown)) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new MeshError(fallback, message, { cause: thrown });
}

/** What the system calls a failure, "ENOENT"; "unknown" when it has no such word for it. */
export function systemCode(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
}

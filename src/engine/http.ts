/**
 * Asking a program behind a URL: one pool of connections per engine (connections.ts), bounded reads, and our errors for the
 * ways in which a socket fails. Called by openai-http.ts for requests that stream, and by download.ts.
 */
import { Body, flowOf } from "../base/body.ts";
import { concat, fromLatin1, fromLooseUtf8 } from "../base/bytes.ts";
import { abortError, unlessAborted } from "../base/deadline.ts";
import { type ErrorCode, isMeshError, MeshError } from "../base/errors.ts";
import { next, type Now } from "../base/flow.ts";
import { parseJsonText } from "../base/json.ts";
import { Aborter, type Signal } from "../base/signal.ts";
import { isHeaderValue, type KeptResponse } from "../tunnel/http.ts";
import { Connection } from "./connections.ts";

/** Until a connection stands, TLS included, ms. */
const connectMs = 10_000;

/** A started answer: status and head are known, the body is still on its way. */
export interface HttpAnswer {
  readonly status: number;
  /** Lower-case names; a repeated header has its first value. */
  readonly headers: Readonly<Record<string, string>>;
  /** Pulled: the socket is read no faster than this is iterated. Leaving the loop closes the socket. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Closes the socket at once. */
  discard(): void;
}

export interface HttpClient {
  /** @throws E_ENGINE no connection, or it broke before the head · E_ABORTED */
  send(options: HttpRequest): Promise<HttpAnswer>;
  close(): Promise<void>;
}

export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Borrowed until the answer has begun. */
  readonly body?: Uint8Array | undefined;
  readonly signal: Signal;
}

/**
 * A client with its own pool. It has no time limits: a model may need minutes before its first token, so callers put
 * theirs into the signal.
 *
 * @param onDisconnect a connection of the pool has ended, whoever ended it, idle or not
 * @param patienceMs   until a connection stands
 */
export function httpClient(onDisconnect?: () => void, patienceMs: number = connectMs): HttpClient {
  const open = new Set<Connection>();
  /** By origin, the one used last at the end. */
  const idle = new Map<string, Connection[]>();
  let closing = false;

  const connect = async (url: URL, signal: Signal): Promise<Connection> => {
    const connection = await Connection.open(url, patienceMs, signal);
    if (closing) connection.destroy();
    open.add(connection);
    connection.onClose(() => {
      open.delete(connection);
      onDisconnect?.();
    });
    return connection;
  };
  const takeIdle = (origin: string): Connection | undefined => {
    const waiting = idle.get(origin);
    for (let connection = waiting?.pop(); connection; connection = waiting?.pop()) {
      connection.wake();
      if (!connection.closed) return connection;
    }
    return undefined;
  };
  const release = (origin: string, connection: Connection, answer: KeptResponse): void => {
    if (closing || connection.closed || !answer.stays()) return connection.destroy();
    const waiting = idle.get(origin);
    if (waiting) waiting.push(connection);
    else idle.set(origin, [connection]);
    connection.rest(keptForMs(answer.headers["keep-alive"]));
  };
  /** On one connection. */
  const ask = async (connection: Connection, request: HttpRequest): Promise<HttpAnswer> => {
    const { url, body, signal } = request;
    const abort = (): void => connection.destroy(abortError(signal));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    try {
      const answer = await unlessAborted(connection.ask(headOf(request), body), signal);
      const pieces = answer.body.onEnd((whole) => {
        signal.removeEventListener("abort", abort);
        if (whole) release(url.origin, connection, answer);
        else connection.destroy();
      });
      return {
        status: answer.status,
        headers: answer.headers,
        body: asEngines(pieces, signal),
        // a connection whose answer has been read may be another request's by now
        discard: () => void pieces.return(),
      };
    } catch (thrown) {
      signal.removeEventListener("abort", abort);
      connection.destroy();
      throw thrown;
    }
  };
  return {
    async send(request) {
      const { url, signal } = request;
      try {
        const used = takeIdle(url.origin);
        if (!used) return await ask(await connect(url, signal), request);
        return await ask(used, request).catch(async (thrown: unknown) => {
          // it was closed as it stood idle, in the moment in which it was taken. Nothing came back: it has not begun
          if (used.received > 0 || signal.aborted || !used.closed) throw thrown;
          return await ask(await connect(url, signal), request);
        });
      } catch (thrown) {
        throw socketError(thrown, signal);
      }
    },
    async close() {
      closing = true;
      const closed = [...open].map((connection) => new Promise<void>((resolve) => connection.onClose(resolve)));
      for (const connection of open) connection.destroy();
      // whoever waits for an answer learns first that there will be none
      await Promise.all(closed);
    },
  };
}

/** How long the other side keeps a connection, by its own word, with a second for the way, ms. */
function keptForMs(hint: string | undefined): number | undefined {
  const seconds = /(?:^|[ ,])timeout=([0-9]{1,6})/i.exec(hint ?? "")?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1_000 - 1_000;
}

/** @throws E_ENGINE a value that would be read as another header */
function headOf({ method, url, headers, body }: Omit<HttpRequest, "signal">): Uint8Array {
  const lines = [`${method} ${url.pathname}${url.search} HTTP/1.1`, `host: ${url.host}`];
  for (const [name, value] of Object.entries(headers)) {
    if (!isHeaderValue(value)) throw new MeshError("E_ENGINE", `the header ${name} has a bad character`);
    lines.push(`${name}: ${value}`);
  }
  if (body) lines.push(`content-length: ${body.length}`);
  return fromLatin1(`${lines.join("\r\n")}\r\nconnection: keep-alive\r\n\r\n`);
}

/** The same pieces; what fails is told as {@link socketError} tells it. */
function asEngines(pieces: Body, signal: Signal): Body {
  const now = (): Now => {
    try {
      return pieces.now();
    } catch (thrown) {
      throw socketError(thrown, signal);
    }
  };
  return new Body({ now, more: () => pieces.more() }, { leave: () => pieces.return() });
}

/** What was read is no HTTP, or was cut. */
const ofAnAnswer: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["E_WIRE", "E_TRUNCATED"]);

// sentences for what a person can act on; the rest is "the connection broke"
const socketSentences: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "the name is not known",
  EAI_AGAIN: "the name cannot be looked up now",
  EHOSTUNREACH: "there is no way to that machine",
  ENETUNREACH: "there is no way to that network",
  ETIMEDOUT: "the connection was not accepted in time",
};

function socketError(thrown: unknown, signal: Signal): MeshError {
  if (isMeshError(thrown) && !ofAnAnswer.has(thrown.code)) return thrown;
  if (signal.aborted) {
    const error = abortError(signal);
    return isMeshError(error) ? error : new MeshError("E_ABORTED", "the operation was aborted", { cause: thrown });
  }
  const code = errorCode(thrown);
  const sentence = code === undefined ? undefined : socketSentences[code];
  return new MeshError(
    "E_ENGINE",
    sentence === undefined ? "the connection to the engine broke" : `the engine cannot be reached: ${sentence}`,
    { cause: thrown, retryAfterSeconds: 1 },
  );
}

/** Why a connection failed, as far as a person can act on it: "nothing listens there". @param error of send() or a body */
export function unreachableBecause({ cause }: Error): string | undefined {
  const code = errorCode(cause);
  if (code === undefined) return undefined;
  return socketSentences[code] ?? (isTlsCode(code) ? `its TLS certificate does not hold here (${code})` : undefined);
}

/** Whether it failed for a reason that does not change by itself. */
export function isLastingFailure({ cause }: Error): boolean {
  const code = errorCode(cause);
  return code !== undefined && isTlsCode(code);
}

function isTlsCode(code: string): boolean {
  return /^ERR_SSL_|^EPROTO$|CERT|SIGNATURE$|^UNABLE_TO_|^INVALID_CA|^HOSTNAME_/.test(code);
}

function errorCode(thrown: unknown): string | undefined {
  if (typeof thrown !== "object" || thrown === null) return undefined;
  if ("code" in thrown && typeof thrown.code === "string") return thrown.code;
  // a name with several addresses fails with one error each
  return thrown instanceof AggregateError ? errorCode(thrown.errors[0]) : undefined;
}

/** The whole body. @throws E_ENGINE beyond `limitBytes`, and what iterating throws */
export async function readBounded(answer: HttpAnswer, limitBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const flow = flowOf(answer.body[Symbol.asyncIterator]());
  for (let bytes = await next(flow); bytes; bytes = await next(flow)) {
    length += bytes.length;
    if (length > limitBytes) {
      answer.discard();
      throw new MeshError("E_ENGINE", `the engine's answer is larger than ${limitBytes} bytes`);
    }
    parts.push(bytes);
  }
  const [only] = parts;
  return parts.length === 1 && only ? only : concat(parts);
}

/** Status and JSON of a small GET; `json` is undefined when the body is no JSON. */
export interface JsonAnswer {
  readonly status: number;
  readonly json: unknown;
}

// a router with thousands of models stays below; anything larger is not a list of models
const jsonLimitBytes = 8 * 1024 * 1024;

/** GET with a time limit. @throws E_ENGINE not reachable, or too large · E_TIMEOUT · E_ABORTED */
export async function getJson(
  client: HttpClient,
  url: URL,
  options: { readonly key: string | undefined; readonly timeoutMs: number; readonly signal?: Signal },
): Promise<JsonAnswer> {
  const { key, timeoutMs, signal } = options;
  // not AbortSignal.any: on Node 20 it leaks when one of the signals lives as long as the process
  const stop = new Aborter();
  const onAbort = (): void => stop.abort(abortError(signal));
  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(
    () => stop.abort(new MeshError("E_TIMEOUT", `the engine did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    const answer = await client.send({
      method: "GET",
      url,
      headers: { accept: "application/json", ...keyHeader(key) },
      signal: stop,
    });
    const bytes = await readBounded(answer, jsonLimitBytes);
    return { status: answer.status, json: parseJson(bytes) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** JSON of the bytes; undefined when they are none. */
export function parseJson(bytes: Uint8Array): unknown {
  return parseJsonText(fromLooseUtf8(bytes));
}

/** The engine's own key, never the caller's. */
export function keyHeader(key: string | undefined): Record<string, string> {
  return key === undefined ? {} : { authorization: `Bearer ${key}` };
}

/**
 * The base of an OpenAI surface: "http://127.0.0.1:8080" and "http://127.0.0.1:8080/v1/" both become ".../v1".
 *
 * @throws E_CONFIG not an http(s) URL, or one with a name and password in it
 */
export function baseUrlOf(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new MeshError("E_CONFIG", `'${text}' is not a URL; write it like http://127.0.0.1:11434/v1`, { cause });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new MeshError("E_CONFIG", `an engine's URL begins with http:// or https://, not ${url.protocol}//`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new MeshError("E_CONFIG", "an engine's URL cannot hold a password; put its key into a file");
  }
  const path = url.pathname.replace(/\/+$/, "");
  return `${url.origin}${path === "" ? "/v1" : path}`;
}

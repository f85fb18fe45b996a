/**
 * Asking a program behind a URL: one pool of connections per engine, bounded reads, and our errors for the ways in which
 * a socket fails. Node's own HTTP client: undici 7 ends the whole process when the other side closes while nobody reads
 * (nodejs/undici#5360). Called by openai-http.ts for requests that stream, and by download.ts.
 */
import { once } from "node:events";
import { Agent as HttpAgent, type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { concat, view } from "../base/bytes.ts";
import { abortError } from "../base/deadline.ts";
import { isMeshError, MeshError } from "../base/errors.ts";
import { parseJsonText } from "../base/json.ts";

/** Until a connection stands, TLS included, ms. */
const connectMs = 10_000;
/** How long one may stand idle, ms: less than engines give it. Those of uvicorn (vLLM, SGLang) close after 5 s, and say so nowhere. */
const idleMs = 4_000;

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
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
}

/**
 * A client with its own pool. It has no time limits: a model may need minutes before its first token, so callers put
 * theirs into the signal.
 *
 * @param onDisconnect a connection of the pool has ended, whoever ended it, idle or not
 * @param patienceMs   until a connection stands
 */
export function httpClient(onDisconnect?: () => void, patienceMs: number = connectMs): HttpClient {
  const pool = { keepAlive: true, timeout: idleMs };
  const agents = { "http:": new HttpAgent(pool), "https:": new HttpsAgent(pool) };
  const open = new Set<Socket>();
  return {
    async send({ method, url, headers, body, signal }) {
      const secure = url.protocol === "https:";
      const begin = (agent: HttpAgent | false): ClientRequest => {
        const request = (secure ? httpsRequest : httpRequest)(url, { method, headers, agent });
        request.on("socket", (socket) => {
          if (!open.has(socket)) {
            open.add(socket);
            socket.once("close", () => {
              open.delete(socket);
              onDisconnect?.();
            });
          }
          refuseSlow(request, socket, { stands: secure ? "secureConnect" : "connect", patienceMs });
        });
        return request;
      };
      let answer: IncomingMessage;
      const pooled = begin(secure ? agents["https:"] : agents["http:"]);
      try {
        answer = await answerOf(pooled, body, signal).catch((thrown: unknown) => {
          if (!wasClosedIdle(pooled, thrown) || signal.aborted) throw thrown;
          return answerOf(begin(false), body, signal);
        });
      } catch (thrown) {
        throw socketError(thrown, signal);
      }
      return {
        status: answer.statusCode ?? 0,
        headers: firstValues(answer.headers),
        body: readAll(answer, signal),
        discard: () => void answer.destroy(),
      };
    },
    async close() {
      const closed = [...open].map((socket) => once(socket, "close"));
      for (const agent of Object.values(agents)) agent.destroy();
      // whoever waits for an answer learns first that there will be none
      await Promise.allSettled(closed);
    },
  };
}

/** The head of the answer. Whatever goes wrong later is an error of its body. */
function answerOf(request: ClientRequest, body: Uint8Array | undefined, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let stream: ClientRequest | IncomingMessage = request;
    // not the option `signal`: it destroys the socket of an answer that has ended, which may be another request's by then
    const onAbort = (): void => {
      reject(abortError(signal)); // at once, not when the socket has told of its end
      stream.destroy(abortError(signal));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    const forget = (): void => signal.removeEventListener("abort", onAbort);
    request.once("response", (answer) => {
      stream = answer;
      // an abort while nobody reads must not become an unhandled 'error' event
      answer.on("error", () => undefined);
      answer.once("end", forget).once("close", forget);
      resolve(answer);
    });
    // every one of them: after the head they come here too
    request.on("error", (error) => {
      if (stream === request) forget();
      reject(error);
    });
    request.end(body === undefined ? undefined : view(body));
  });
}

/** The engine closed a connection that stood idle, in the moment in which it was taken. Nothing came back: it has not begun. */
function wasClosedIdle(request: ClientRequest, thrown: unknown): boolean {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return request.reusedSocket && (code === "ECONNRESET" || code === "EPIPE");
}

interface Patience {
  /** The event by which a connection stands. */
  readonly stands: "connect" | "secureConnect";
  readonly patienceMs: number;
}

/** A connection that is not there in time. */
function refuseSlow(request: ClientRequest, socket: Socket, { stands, patienceMs }: Patience): void {
  if (!socket.connecting) return;
  const timer = setTimeout(() => {
    request.destroy(Object.assign(new Error("no connection in time"), { code: "ETIMEDOUT" }));
  }, patienceMs);
  for (const event of [stands, "close"] as const) socket.once(event, () => clearTimeout(timer));
}

async function* readAll(stream: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const bytes of stream) yield bytes;
  } catch (thrown) {
    throw socketError(thrown, signal);
  }
}

// sentences for what a person can act on; the rest is "the connection broke"
const socketSentences: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "the name is not known",
  EAI_AGAIN: "the name cannot be looked up now",
  EHOSTUNREACH: "there is no way to that machine",
  ENETUNREACH: "there is no way to that network",
  ETIMEDOUT: "the connection was not accepted in time",
};

function socketError(thrown: unknown, signal: AbortSignal): MeshError {
  if (isMeshError(thrown)) return thrown;
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

function firstValues(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) out[name.toLowerCase()] = first;
  }
  return out;
}

/** The whole body. @throws E_ENGINE beyond `limitBytes`, and what iterating throws */
export async function readBounded(answer: HttpAnswer, limitBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const bytes of answer.body) {
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
  options: { readonly key: string | undefined; readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<JsonAnswer> {
  const { key, timeoutMs, signal } = options;
  // not AbortSignal.any: on Node 20 it leaks when one of the signals lives as long as the process
  const stop = new AbortController();
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
      signal: stop.signal,
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
  return parseJsonText(view(bytes).toString("utf8"));
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

/**
 * The OpenAI surface: one HTTP server for callers on this machine and, through injected connections, for peers. A peer
 * reaches the engines of this machine and nothing else: no other host, no admin route (design.md §7).
 *
 * On node:http itself: fetch-shaped handlers cost several times the CPU per request.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { EndpointId } from "../../base/brand.ts";
import { concat, fromUtf8, latin1, utf8 } from "../../base/bytes.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import type { Answer, Engine } from "../../engine/engine.ts";
import type { Asked, AskRequest } from "../../exchange.ts";
import { openAiError } from "../../openai/errors.ts";
import { sseError } from "../../openai/sse.ts";
import { withoutControls } from "../../wire/gossip.ts";
import { limits } from "../../wire/limits.ts";
import { askerOf } from "./inject.ts";
import { refuseForeignPages } from "./local-only.ts";

export interface OpenAiParts {
  readonly self: EndpointId;
  /** Our engine for a model, if one has it now. */
  readonly engineFor: (model: string) => Engine | undefined;
  /** Ids of models that this machine serves, and of all that the mesh serves. */
  readonly localModels: () => readonly string[];
  readonly meshModels: () => readonly string[];
  readonly ask: (request: AskRequest) => Promise<Asked>;
  /** Counts running exchanges and refuses new ones while the node stops. @throws E_DRAINING */
  readonly begin: () => () => void;
  readonly onAsked: (outcome: AskedOutcome) => void;
}

/** What is known of an exchange when it has ended; no content. */
export interface AskedOutcome {
  readonly id: string;
  /** Empty unless it is a model of the mesh: what else a caller wrote there is content. */
  readonly model: string;
  readonly status: number;
  readonly served: Served | undefined;
  readonly attempts: number;
  readonly ms: number;
  readonly error: MeshError | undefined;
}

/** Who answered, over which route, sealed how: what the x-sealmesh-* headers say. */
interface Served {
  readonly host: EndpointId;
  readonly sealed: "true" | "false" | "local";
  readonly route: "direct" | "relay" | "local";
}

/** What an engine may answer; which of them a model can do is the engine's to say. */
const enginePaths: ReadonlySet<string> = new Set([
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/embeddings",
  "/v1/responses",
]);

/** Model time stamps are required by the type, and there is no creation time to tell. */
const modelCreated = 0;

export function openAiServer(parts: OpenAiParts): Server {
  const connections = new Connections();
  const server = createServer(
    {
      maxHeaderSize: limits.httpHeadBytes,
      keepAliveTimeout: 60_000,
      requestTimeout: 300_000,
      headersTimeout: 30_000,
      requireHostHeader: false, // handle() does, with an error that clients can read
    },
    (request, response) => {
      connections.begin(request.socket, response);
      void handle(request, response, parts);
    },
  );
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => connections.refuse(error, socket));
  return server;
}

async function handle(request: IncomingMessage, response: ServerResponse, parts: OpenAiParts): Promise<void> {
  const asker = askerOf(request.socket);
  const id = randomUUID();
  if (!asker) response.setHeader("x-request-id", id);
  const gone = new AbortController();
  response.once("close", () => gone.abort(new MeshError("E_ABORTED", "the caller has gone")));
  let end: (() => void) | undefined;
  try {
    if (request.httpVersion === "1.1" && request.headers.host === undefined) {
      throw new MeshError("E_INPUT", "a request of HTTP/1.1 needs a Host header");
    }
    if (!asker) {
      refuseForeignPages(request.headers);
      end = parts.begin(); // a peer's exchange is counted where it arrives
    }
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    if (path === "/v1/models" || path === "/models") return listModels(request, response, asker, parts);
    if (path.startsWith("/v1/models/")) return showModel(request, response, path, asker, parts);
    if (!enginePaths.has(path)) throw new MeshError("E_NOT_FOUND", `there is no ${repeated(path)} here`);
    allowMethod(request, "POST");
    await exchange(request, response, path, { asker, id, signal: gone.signal }, parts);
  } catch (thrown) {
    sendError(response, toMeshError(thrown), id);
  } finally {
    end?.();
  }
}

// ---- what is no HTTP

/** What a client may still send after it was refused, before its connection is cut, ms. */
const lingerMs = 1_000;

/** Answers on a connection whose bytes cannot be read as requests: node:http has no response object for those. */
class Connections {
  readonly #answers = new WeakMap<object, Set<ServerResponse>>();
  readonly #refused = new WeakSet<object>();

  begin(socket: object, response: ServerResponse): void {
    const answers = this.#answers.get(socket) ?? new Set();
    this.#answers.set(socket, answers.add(response));
    response.once("close", () => answers.delete(response));
  }

  refuse({ code }: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.#refused.has(socket)) return; // the parser complains again about whatever follows
    this.#refused.add(socket);
    const answers = [...(this.#answers.get(socket) ?? [])];
    // never into the midst of an answer, where it would be read as a part of it
    if (!socket.writable || answers.some(({ headersSent }) => headersSent)) return void socket.destroy();
    const { status, error } = malformed(code);
    const id = randomUUID();
    const { headers, body } = openAiError(error, id);
    const fields = {
      ...headers,
      ...(askerOf(socket) ? {} : { "x-request-id": id }),
      "content-length": body.length,
      connection: "close",
    };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n`);
    // closed at once, with bytes unread, the connection would be reset and the client might not see the answer
    socket.end(body, () => {
      if (socket.destroyed) return;
      const timer = setTimeout(() => socket.destroy(), lingerMs);
      socket.once("close", () => clearTimeout(timer));
    });
  }
}

/** The status of the answer is HTTP's own here, which the table of errors need not know. */
function malformed(code: string | undefined): { readonly status: number; readonly error: MeshError } {
  if (code === "HPE_HEADER_OVERFLOW") {
    const message = `the head of the request is larger than ${limits.httpHeadBytes >> 10} KiB`;
    return { status: 431, error: new MeshError("E_TOO_LARGE", message) };
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return { status: 408, error: new MeshError("E_INPUT", "the request was not complete in time") };
  }
  return { status: 400, error: new MeshError("E_INPUT", "what was sent is no HTTP/1.1 request") };
}

// ---- models

function listModels(
  request: IncomingMessage,
  response: ServerResponse,
  asker: EndpointId | undefined,
  parts: OpenAiParts,
): void {
  allowMethod(request, "GET");
  const models = asker ? parts.localModels() : parts.meshModels();
  sendJson(response, { object: "list", data: models.map(modelObject) });
}

function showModel(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  asker: EndpointId | undefined,
  parts: OpenAiParts,
): void {
  allowMethod(request, "GET");
  const wanted = decodeName(path.slice("/v1/models/".length));
  const models = asker ? parts.localModels() : parts.meshModels();
  if (!models.includes(wanted)) throw unknownModel(wanted, models);
  sendJson(response, modelObject(wanted));
}

function modelObject(id: string): object {
  return { id, object: "model", created: modelCreated, owned_by: "sealmesh" };
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new MeshError("E_INPUT", "the model's name is not properly encoded", { param: "model" });
  }
}

// ---- exchanges

interface Caller {
  /** The peer that asks; undefined for this machine. */
  readonly asker: EndpointId | undefined;
  readonly id: string;
  readonly signal: AbortSignal;
}

async function exchange(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  caller: Caller,
  parts: OpenAiParts,
): Promise<void> {
  const started = performance.now();
  let outcome: Partial<AskedOutcome> = {};
  let model = "";
  try {
    const received = parseBody(await readBody(request));
    if (parts.meshModels().includes(received.model)) model = received.model;
    const { answer, served, attempts } = await obtain(request, path, received, caller, parts);
    outcome = { status: answer.status, served, attempts };
    // set by this node alone: what a peer sends under these names was dropped on the way
    if (!caller.asker) {
      response.setHeader("x-sealmesh-host", served.host);
      response.setHeader("x-sealmesh-sealed", served.sealed);
      response.setHeader("x-sealmesh-route", served.route);
    }
    await sendAnswer(response, answer, caller.id);
  } catch (thrown) {
    const error = toMeshError(thrown);
    outcome = { ...outcome, status: error.row.status, error };
    throw error;
  } finally {
    if (!caller.asker) {
      const ms = Math.round(performance.now() - started);
      const { status = 500, served, attempts = 0, error } = outcome;
      parts.onAsked({ id: caller.id, model, status, served, attempts, ms, error });
    }
  }
}

interface Obtained {
  readonly answer: Answer;
  readonly served: Served;
  readonly attempts: number;
}

async function obtain(
  request: IncomingMessage,
  path: string,
  received: Received,
  caller: Caller,
  parts: OpenAiParts,
): Promise<Obtained> {
  const { body, json, model } = received;
  const engine = parts.engineFor(model);
  if (engine) {
    const asker = caller.asker ?? "local";
    const answer = await engine.answer({ path, body, json, asker, signal: caller.signal });
    return { answer, served: { host: parts.self, sealed: "local", route: "local" }, attempts: 0 };
  }
  // a host that opened a request answers it or refuses: it is never passed on (protocol.md §11 D5)
  if (caller.asker)
    throw new MeshError("E_MODEL", `the model "${repeated(model)}" is not served here`, { param: "model" });
  if (!parts.meshModels().includes(model)) throw unknownModel(model, parts.meshModels());
  const headers = Object.entries(request.headers).flatMap(([name, value]) =>
    typeof value === "string" ? [[name, value] as const] : [],
  );
  const { response, attempts } = await parts.ask({ method: "POST", path, headers, body, model, signal: caller.signal });
  const last = attempts.at(-1);
  if (!last) throw new MeshError("E_BUG", "an answer without an attempt");
  const served: Served = { host: last.host, sealed: last.sealed ? "true" : "false", route: last.route };
  return { answer: response, served, attempts: attempts.length };
}

interface Received {
  readonly body: Uint8Array;
  readonly json: Readonly<Record<string, unknown>>;
  readonly model: string;
}

function parseBody(body: Uint8Array): Received {
  let json: unknown;
  try {
    json = JSON.parse(fromUtf8(body));
  } catch (cause) {
    throw new MeshError("E_INPUT", "the request body is not valid JSON", { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new MeshError("E_INPUT", "the request body must be a JSON object");
  }
  const fields = json as Record<string, unknown>;
  if (typeof fields["model"] !== "string" || fields["model"] === "") {
    throw new MeshError("E_INPUT", "name the model in the field `model`", { param: "model" });
  }
  // mesh-llm's hooks let a host show parts of a prompt to third nodes in plaintext (protocol.md §11 D4)
  if (!("mesh_hooks" in fields)) return { body, json: fields, model: fields["model"] };
  const { mesh_hooks: _dropped, ...rest } = fields;
  return { body: utf8(JSON.stringify(rest)), json: rest, model: fields["model"] };
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const tooLarge = (): MeshError =>
    new MeshError("E_TOO_LARGE", `the request body is larger than ${limits.requestBodyBytes >> 20} MiB`);
  if (Number(request.headers["content-length"] ?? 0) > limits.requestBodyBytes) throw tooLarge();
  const parts: Uint8Array[] = [];
  let total = 0;
  try {
    for await (const part of request as AsyncIterable<Uint8Array>) {
      total += part.length;
      if (total > limits.requestBodyBytes) throw tooLarge();
      parts.push(part);
    }
  } catch (thrown) {
    throw toMeshError(thrown, "E_ABORTED");
  }
  return parts.length === 1 && parts[0] ? parts[0] : concat(parts);
}

// ---- writing

/** Writes the answer as it comes, no faster than it is taken. A failure on the way ends it visibly broken. */
async function sendAnswer(response: ServerResponse, answer: Answer, requestId: string): Promise<void> {
  const events = answer.headers["content-type"]?.startsWith("text/event-stream") ?? false;
  if (!events && response.req.httpVersion === "1.0") return await sendWhole(response, answer);
  const pieces = answer.body[Symbol.asyncIterator]();
  let piece = await pieces.next(); // what fails before the head is still an ordinary error
  response.writeHead(answer.status, events ? { ...answer.headers, "cache-control": "no-cache" } : answer.headers);
  let last: Uint8Array | undefined;
  try {
    for (; !piece.done; piece = await pieces.next()) {
      if (response.destroyed) return;
      last = piece.value;
      if (!response.write(last)) await drained(response);
    }
    response.end();
  } catch (thrown) {
    if (response.destroyed) return;
    // a client that reads events learns why; whoever reads a body sees the connection break. Never a clean end.
    if (events && !(last && isErrorEvent(last))) response.write(sseError(toMeshError(thrown), requestId));
    breakOff(response);
    throw thrown;
  } finally {
    await pieces.return?.();
  }
}

/** For HTTP/1.0, where the end of the connection is the end of the body: a broken answer would look like a whole one. */
async function sendWhole(response: ServerResponse, answer: Answer): Promise<void> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of answer.body) {
    total += part.length;
    if (total > limits.requestBodyBytes) throw new MeshError("E_TOO_LARGE", "the answer is too large for HTTP/1.0");
    parts.push(part);
  }
  response.writeHead(answer.status, { ...answer.headers, "content-length": total });
  response.end(concat(parts));
}

/** Ends the connection after what was written, without the mark that would make the answer look whole. */
function breakOff(response: ServerResponse): void {
  const { socket } = response;
  response.uncork();
  if (socket && !socket.destroyed) socket.write("", () => socket.destroy());
  else response.destroy();
}

/** Whether the last piece was an error event already: the host has told why it stopped. */
function isErrorEvent(piece: Uint8Array): boolean {
  const text = latin1(piece.subarray(0, 64));
  return text.startsWith('data: {"error"') || text.startsWith("event: error");
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

function sendJson(response: ServerResponse, value: object): void {
  const body = utf8(JSON.stringify(value));
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
  response.end(body);
}

function sendError(response: ServerResponse, error: MeshError, requestId: string): void {
  if (response.headersSent || response.destroyed) return;
  const { status, headers, body } = openAiError(error, requestId);
  // what is left of a refused upload is not read: the connection cannot be used again
  response.writeHead(status, {
    ...headers,
    "content-length": body.length,
    ...(response.req.complete ? {} : { connection: "close" }),
  });
  response.end(body);
}

function allowMethod(request: IncomingMessage, method: string): void {
  if (request.method !== method) throw new MeshError("E_METHOD", `use ${method} here, not ${request.method}`);
}

function unknownModel(model: string, known: readonly string[]): MeshError {
  const there = known.length > 0 ? `it serves: ${known.slice(0, 20).join(", ")}` : "it serves none at the moment";
  return new MeshError("E_MODEL", `the mesh does not serve the model "${repeated(model)}"; ${there}`, {
    param: "model",
  });
}

/** Longest text of a caller's that a message repeats. */
const repeatedCharacters = 100;

function repeated(text: string): string {
  const start = withoutControls(text.slice(0, repeatedCharacters));
  return text.length > repeatedCharacters ? `${start}…` : start;
}

/**
 * Writes answers: as they come, no faster than they are taken, and never with a clean end when they are not whole. One
 * write a piece; nothing is held back but the beginning of an event whose end has not come.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { flowOf, type Pieces } from "../../base/body.ts";
import { concat, empty, latin1, utf8, view } from "../../base/bytes.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import { type Flow, next, type Now } from "../../base/flow.ts";
import { sseError } from "../../openai/sse.ts";
import { limits } from "../../wire/limits.ts";
import { errorFormOf } from "./error-form.ts";
import type { Connections } from "./malformed.ts";

/** An answer that can be written; an engine's and a host's are. */
export interface Outgoing {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** Ends normally only when the answer is complete. Pieces are moved. */
  readonly body: Pieces;
}

export interface WriteOptions {
  readonly id: string;
  /** A caller that takes nothing for this long is cut off, ms. */
  readonly unreadMs: number;
  /** Gets the `error.code` of the error event with which the answer itself has ended, undefined when it has none. */
  readonly onTold: (code: string | undefined) => void;
}

/** Longest piece that is written at once: what a slow caller must take before its time runs anew, bytes. */
const sliceBytes = 262_144;
/** Longest beginning of an event that waits for its end, bytes: what is longer passes in parts. */
const heldBytes = 1_048_576;
/** Where the last event of a piece is looked for, bytes: error events are shorter. */
const tailBytes = 16_384;

/** An answer's pieces, for whoever hands them on. */
export interface Reading {
  /** They are events, cut behind whole ones. */
  readonly events: boolean;
  readonly flow: Flow;
  /** Nobody reads on. */
  readonly leave: () => Promise<void>;
}

export function readingOf({ headers, body }: Outgoing): Reading {
  const events = isEventStream(headers);
  const pieces = body[Symbol.asyncIterator]();
  const flow = flowOf(pieces);
  return { events, flow: events ? wholeEvents(flow) : flow, leave: async () => void (await pieces.return?.()) };
}

/** Whether the piece that was read first is all of an answer that is no stream: its end has been read then, too. */
export async function isAlone({ body }: Outgoing, { events, flow }: Reading): Promise<boolean> {
  return !events && body.isOver?.() === true && (await next(flow)) === undefined;
}

/** @throws what ended the answer early, when the head had been sent; the caller has been told then */
export async function sendAnswer(response: ServerResponse, answer: Outgoing, options: WriteOptions): Promise<void> {
  if (response.req.httpVersion === "1.0" && !isEventStream(answer.headers)) {
    return await sendWhole(response, answer, options);
  }
  const reading = readingOf(answer);
  const { events, flow } = reading;
  const first = await next(flow); // what fails before the head is still an ordinary error
  if (first && first.length <= sliceBytes && (await isAlone(answer, reading))) {
    return await sendPiece(response, answer, first, options);
  }
  response.writeHead(answer.status, events ? { ...answer.headers, "cache-control": "no-cache" } : answer.headers);
  let last: Uint8Array | undefined;
  try {
    for (let piece: Now = first ?? "end"; piece !== "end"; piece = flow.now()) {
      if (piece === undefined) {
        await flow.more();
        continue;
      }
      last = piece;
      const leaving = write(response, piece, options.unreadMs);
      if (leaving) await leaving;
    }
    response.end();
    await settled(response, "finish", options.unreadMs);
  } catch (thrown) {
    if (!response.destroyed) {
      // a client that reads events learns why; whoever reads a body sees the connection break. Never a clean end.
      const told = events && last ? errorAtEnd(last) : undefined;
      if (told) options.onTold(told.code);
      else if (events) response.write(sseError(toMeshError(thrown), options.id));
      breakOff(response);
    }
    throw thrown;
  } finally {
    await reading.leave();
  }
}

/** A short answer that is all there: head and body in one piece, with its length. */
async function sendPiece(
  response: ServerResponse,
  { status, headers }: Outgoing,
  piece: Uint8Array,
  { unreadMs }: WriteOptions,
): Promise<void> {
  response.writeHead(status, { ...headers, "content-length": piece.length });
  response.end(piece);
  await settled(response, "finish", unreadMs);
}

/** For HTTP/1.0, where the end of the connection is the end of the body: a broken answer would look like a whole one. */
async function sendWhole(response: ServerResponse, answer: Outgoing, options: WriteOptions): Promise<void> {
  const body = await collected(answer.body);
  response.writeHead(answer.status, { ...answer.headers, "content-length": body.length });
  await write(response, body, options.unreadMs);
  response.end();
  await settled(response, "finish", options.unreadMs);
}

/** The whole body. @throws E_TOO_LARGE more than a request may have · as the body */
export async function collected(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of body) {
    total += part.length;
    if (total > limits.requestBodyBytes) {
      throw new MeshError("E_TOO_LARGE", `the answer is larger than ${limits.requestBodyBytes >> 20} MiB`);
    }
    parts.push(part);
  }
  return parts.length === 1 && parts[0] ? parts[0] : concat(parts);
}

export function sendJson(response: ServerResponse, value: object): void {
  const body = utf8(JSON.stringify(value));
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
  response.end(body);
}

/** Answers with an error object, unless an answer has begun. */
export function sendError(response: ServerResponse, error: MeshError, id: string, connections: Connections): void {
  if (response.headersSent || response.destroyed) return;
  const { req: request, socket } = response;
  if (error.code === "E_UNAUTHORIZED") response.setHeader("www-authenticate", "Bearer");
  const form = errorFormOf(request);
  const last = (hasBody(request) && !request.complete) || connections.isGivenUp(request.socket);
  if (last && socket) {
    // what is left of a refused upload is not read as a request; a client in the midst of it must still see the answer
    request.resume();
    const set = Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]);
    return connections.refuse(socket, form.error(error, id), Object.fromEntries(set));
  }
  const { status, headers, body } = form.error(error, id);
  const closing = last ? { connection: "close" } : {};
  response.writeHead(status, { ...headers, "content-length": body.length, ...closing });
  response.end(body);
}

/** Without one a request ends with its head, although node calls it complete only a moment later. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

export function isEventStream(headers: Readonly<Record<string, string>>): boolean {
  return headers["content-type"]?.toLowerCase().startsWith("text/event-stream") ?? false;
}

// ---- pieces

/** @returns undefined when the caller takes it at once, or is not far behind */
function write(response: ServerResponse, piece: Uint8Array, unreadMs: number): Promise<void> | undefined {
  if (piece.length > sliceBytes) return writeSlices(response, piece, unreadMs);
  if (response.destroyed) throw gone();
  return response.write(piece) ? undefined : settled(response, "drain", unreadMs);
}

async function writeSlices(response: ServerResponse, piece: Uint8Array, unreadMs: number): Promise<void> {
  for (let at = 0; at < piece.length; at += sliceBytes) {
    await write(response, piece.subarray(at, at + sliceBytes), unreadMs);
  }
}

/** Waits until what was written has gone out. @throws E_ABORTED the caller has gone, or takes nothing */
function settled(response: ServerResponse, event: "drain" | "finish", unreadMs: number): Promise<void> {
  if (event === "finish" && response.writableFinished) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const settle = (error: MeshError | undefined): void => {
      clearTimeout(timer);
      response.off(event, onEvent).off("close", onClose);
      if (error) reject(error);
      else resolve();
    };
    const onEvent = (): void => settle(undefined);
    const onClose = (): void => settle(response.writableFinished ? undefined : gone());
    const timer = setTimeout(() => {
      response.destroy();
      settle(new MeshError("E_ABORTED", `the caller took nothing of its answer for ${unreadMs / 1000} s`));
    }, unreadMs);
    if (response.destroyed) onClose();
    else response.on(event, onEvent).on("close", onClose);
  });
}

function gone(): MeshError {
  return new MeshError("E_ABORTED", "the caller has gone");
}

/** Ends the connection after what was written, without the mark that would make the answer look whole. */
function breakOff(response: ServerResponse): void {
  const { socket } = response;
  response.uncork();
  if (socket && !socket.destroyed) socket.write("", () => socket.destroy());
  else response.destroy();
}

// ---- events

/** The same bytes, cut behind whole events: the half of one would swallow the error event that is written after it. */
function wholeEvents(source: Flow): Flow {
  let held: Uint8Array = empty;
  const now = (): Now => {
    for (;;) {
      const piece = source.now();
      if (piece === undefined) return undefined;
      if (piece === "end") {
        const rest = held;
        held = empty;
        return rest.length > 0 ? rest : "end";
      }
      const bytes = held.length === 0 ? piece : concat([held, piece]);
      const end = lastEventEnd(bytes);
      const cut = bytes.length - end > heldBytes ? bytes.length : end;
      held = cut === bytes.length ? empty : bytes.subarray(cut);
      if (cut > 0) return cut === bytes.length ? bytes : bytes.subarray(0, cut);
    }
  };
  return { now, more: () => source.more() };
}

/** Index behind the last blank line; 0 when there is none. */
function lastEventEnd(bytes: Uint8Array): number {
  if (bytes.at(-1) === 0x0a && bytes.at(-2) === 0x0a) return bytes.length;
  const text = view(bytes);
  const lf = text.lastIndexOf("\n\n");
  const crlf = text.lastIndexOf("\n\r\n");
  return Math.max(lf < 0 ? 0 : lf + 2, crlf < 0 ? 0 : crlf + 3);
}

/** The last event, if it was an error event already: the host has told why it stopped. */
export function errorAtEnd(piece: Uint8Array): { readonly code: string | undefined } | undefined {
  const text = latin1(piece.subarray(-tailBytes)).trimEnd();
  const event = text.slice(Math.max(text.lastIndexOf("\n\n"), text.lastIndexOf("\n\r\n")) + 1).trimStart();
  if (!event.startsWith('data: {"error"') && !event.startsWith("event: error")) return undefined;
  return { code: /"(?:error_)?code":"([^"\\]{1,64})"/.exec(event)?.[1] };
}

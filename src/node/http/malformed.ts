/**
 * What is no request, or may be read as two different ones: answered once with an error object, and the connection ends.
 * node:http has no response object for bytes that its parser refused; what the parser lets pass but another one would
 * read differently (request smuggling) is found in the head.
 */
import { randomUUID } from "node:crypto";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { MeshError } from "../../base/errors.ts";
import { type OpenAiError, openAiError } from "../../openai/errors.ts";
import { limits } from "../../wire/limits.ts";

/** What a client may still send after it was refused, before its connection is cut, ms. */
const lingerMs = 1_000;

/** Why the head of a request cannot be acted on; undefined for an ordinary one. */
export function badHead(request: IncomingMessage): MeshError | undefined {
  const { rawHeaders, headers, httpVersion, url = "" } = request;
  if (rawHeaders.length / 2 > limits.apiHeaderLines) {
    return new MeshError("E_HEAD_TOO_LARGE", `the request has more than ${limits.apiHeaderLines} header lines`);
  }
  // node keeps the first of several silently
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === "host").length;
  if (hosts > 1 || (hosts === 0 && httpVersion === "1.1")) {
    return new MeshError("E_INPUT", "a request of HTTP/1.1 needs one Host header");
  }
  const { "transfer-encoding": coding, expect } = headers;
  if (coding !== undefined && (coding.toLowerCase() !== "chunked" || httpVersion !== "1.1")) {
    return new MeshError("E_INPUT", "the only transfer coding here is chunked, with HTTP/1.1");
  }
  if (expect !== undefined && expect.toLowerCase() !== "100-continue") {
    return new MeshError("E_EXPECT", "the only expectation that can be met here is 100-continue");
  }
  // a proxy's form: Host and target may name different machines
  if (!url.startsWith("/")) return new MeshError("E_INPUT", "the request target must be a path, beginning with /");
  return undefined;
}

/** The connections of one server: which answers are under way on each, and which are given up. */
export class Connections {
  readonly #answers = new WeakMap<object, Set<ServerResponse>>();
  readonly #refused = new WeakSet<object>();

  /** @returns false on a connection that was given up: nothing that follows on it is a request */
  begin(socket: object, response: ServerResponse): boolean {
    if (this.#refused.has(socket)) return false;
    const answers = this.#answers.get(socket) ?? new Set();
    this.#answers.set(socket, answers.add(response));
    response.once("close", () => answers.delete(response));
    return true;
  }

  /** Nothing that follows on this connection is a request. */
  giveUp(socket: object): void {
    this.#refused.add(socket);
  }

  isGivenUp(socket: object): boolean {
    return this.#refused.has(socket);
  }

  /** For bytes that the parser refuses, and for heads that do not come in time. */
  malformed({ code }: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.#refused.has(socket)) return; // the parser complains again about whatever follows
    const answers = [...(this.#answers.get(socket) ?? [])];
    // never into the midst of an answer, where it would be read as a part of it
    if (!socket.writable || answers.some(({ headersSent }) => headersSent)) {
      this.giveUp(socket);
      return void socket.destroy();
    }
    const id = randomUUID();
    const error = openAiError(parserError(code), id); // whose words are wanted cannot be known
    this.refuse(socket, error, { "x-request-id": id });
  }

  /** Writes the error as the last thing on a connection on which no answer has begun. */
  refuse(socket: Duplex, { status, headers, body }: OpenAiError, more: Readonly<Record<string, string>>): void {
    this.giveUp(socket);
    const fields = { ...more, ...headers, "content-length": body.length, connection: "close" };
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

function parserError(code: string | undefined): MeshError {
  if (code === "HPE_HEADER_OVERFLOW") {
    const message = `the head of the request is larger than ${limits.httpHeadBytes >> 10} KiB`;
    return new MeshError("E_HEAD_TOO_LARGE", message);
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new MeshError("E_SLOW", "the head of the request was not complete in time", { retryAfterSeconds: 1 });
  }
  return new MeshError("E_INPUT", "what was sent is no HTTP/1.1 request");
}

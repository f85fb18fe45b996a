/**
 * HTTP/1.1 over a byte pipe, one request and one response each: the strict subset that crosses the mesh. Reads from any
 * pull source (a plain stream, opened chunks); writes heads that any HTTP parser reads in one way only.
 *
 * Not a server: what a host answers is produced by the node's ordinary HTTP server behind an injected connection.
 *
 * @see RFC 9112 · protocol.md §5
 */
import { STATUS_CODES } from "node:http";
import { concat, empty, latin1, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { limits } from "../wire/limits.ts";
import type { HeaderList } from "./headers.ts";

/** Where bytes come from; a ByteStream is one. */
export interface ByteSource {
  /** The next bytes, never empty; undefined at the end. */
  read(): Promise<Uint8Array | undefined>;
}

/** A source that gives `bytes` once. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  let rest: Uint8Array | undefined = bytes;
  return {
    read: () => {
      const piece = rest;
      rest = undefined;
      return Promise.resolve(piece);
    },
  };
}

export interface HttpRequest {
  readonly method: string;
  /** Path and query, beginning with "/". */
  readonly path: string;
  /** Lower-case names; no framing headers. */
  readonly headers: HeaderList;
  readonly body: Uint8Array;
}

export interface HttpResponse {
  readonly status: number;
  /** Lower-case names; of repeated ones the first. No framing headers. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * The body, unchunked. Ends only after the source has ended cleanly too, so an answer that is whole as HTTP but cut as
   * a sealed stream throws. @throws E_TRUNCATED cut · E_WIRE bad framing or bytes after the body
   */
  readonly body: AsyncGenerator<Uint8Array, void, undefined>;
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const headerLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;
const framing: ReadonlySet<string> = new Set(["content-length", "transfer-encoding", "connection", "keep-alive"]);

/** Head and body as one piece, with Content-Length and `Connection: close`. */
export function encodeRequest(request: HttpRequest): Uint8Array {
  const lines = [
    `${request.method} ${request.path} HTTP/1.1`,
    "host: sealmesh",
    ...request.headers.map(([name, value]) => `${name}: ${value}`),
    `content-length: ${request.body.length}`,
    "connection: close",
  ];
  return concat([utf8(`${lines.join("\r\n")}\r\n\r\n`), request.body]);
}

/** A whole response as one piece. @param headers lower-case names, no framing */
export function encodeResponse(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): Uint8Array {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${body.length}`,
    "connection: close",
  ];
  return concat([utf8(`${lines.join("\r\n")}\r\n\r\n`), body]);
}

/**
 * Reads one request, body included.
 *
 * @throws E_WIRE malformed or ambiguous head or framing · E_TOO_LARGE body over limits.requestBodyBytes · E_TRUNCATED
 */
export async function readRequest(source: ByteSource): Promise<HttpRequest> {
  const reader = new HttpReader(source);
  const { start, headers } = await readHead(reader);
  const [method = "", path = "", version, ...rest] = start.split(" ");
  if (!token.test(method) || !/^\/[\x21-\x7e]*$/.test(path) || version !== "HTTP/1.1" || rest.length > 0) {
    throw malformed("the request line");
  }
  const length = bodyLength(headers);
  const parts: Uint8Array[] = [];
  let total = 0;
  const body =
    length === "chunked" ? chunkedBody(reader) : lengthBody(reader, length === "rest" ? 0 : checkedBodyLength(length));
  for await (const part of body) {
    total = checkedBodyLength(total + part.length);
    parts.push(part);
  }
  return {
    method,
    path,
    headers: withoutFraming(headers),
    body: parts.length === 1 ? (parts[0] ?? empty) : concat(parts),
  };
}

/**
 * Reads a response head; the body is pulled from what is returned.
 *
 * @throws E_WIRE not an HTTP/1.1 response head · E_TRUNCATED end before the head's end
 */
export async function readResponse(source: ByteSource): Promise<HttpResponse> {
  const reader = new HttpReader(source);
  for (let interim = 0; interim < 4; interim += 1) {
    const { start, headers } = await readHead(reader);
    const match = /^HTTP\/1\.1 ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/.exec(start);
    if (!match) throw malformed("the status line");
    const status = Number(match[1]);
    if (status < 200) continue;
    return {
      status,
      headers: Object.fromEntries(withoutFraming(headers).toReversed()),
      body: responseBody(reader, status, bodyLength(headers)),
    };
  }
  throw malformed("the series of interim responses");
}

/** The beginning of a body, at most so many bytes; nothing more of it is read. @throws as the body */
export async function readUpTo(limit: number, body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of body) {
    parts.push(part);
    total += part.length;
    if (total >= limit) break;
  }
  return concat(parts).subarray(0, limit);
}

async function* responseBody(
  reader: HttpReader,
  status: number,
  length: number | "chunked" | "rest",
): AsyncGenerator<Uint8Array, void, undefined> {
  if (status !== 204 && status !== 304) {
    if (length === "chunked") yield* chunkedBody(reader);
    else if (length === "rest") yield* restBody(reader);
    else yield* lengthBody(reader, length);
  }
  if (await reader.some()) throw new MeshError("E_WIRE", "there are bytes after the end of the answer");
}

/** Bytes from a source with lines and counted runs cut out of them. */
class HttpReader {
  readonly #source: ByteSource;
  #rest: Uint8Array = empty;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** What is there next, at most `limit` bytes; undefined at the end. */
  async some(limit = Number.MAX_SAFE_INTEGER): Promise<Uint8Array | undefined> {
    const bytes = this.#rest.length > 0 ? this.#rest : await this.#source.read();
    if (!bytes) return undefined;
    this.#rest = bytes.subarray(Math.min(limit, bytes.length));
    return bytes.subarray(0, limit);
  }

  /** Latin-1 text up to `end`, which is consumed and left out. @throws E_WIRE longer than `limit` · E_TRUNCATED */
  async until(end: string, limit: number, what: string): Promise<string> {
    let text = "";
    for (;;) {
      const bytes = await this.some();
      if (!bytes) throw new MeshError("E_TRUNCATED", `the stream ended inside ${what}`);
      const before = text.length;
      const room = limit + end.length - before;
      text += latin1(bytes.subarray(0, room));
      const at = text.indexOf(end, Math.max(0, before - end.length));
      if (at >= 0) {
        this.#rest = bytes.subarray(at + end.length - before);
        return text.slice(0, at);
      }
      if (bytes.length >= room) throw new MeshError("E_WIRE", `${what} is longer than ${limit} bytes`);
    }
  }
}

async function readHead(reader: HttpReader): Promise<{ start: string; headers: HeaderList }> {
  const text = await reader.until("\r\n\r\n", limits.httpHeadBytes, "the HTTP head");
  const [start = "", ...lines] = text.split("\r\n");
  if (lines.length > limits.httpHeaderLines)
    throw malformed(`the head, with more than ${limits.httpHeaderLines} lines,`);
  const headers = lines.map((line): readonly [string, string] => {
    const match = headerLine.exec(line);
    if (!match) throw malformed("a header line");
    return [(match[1] ?? "").toLowerCase(), match[2] ?? ""];
  });
  return { start, headers };
}

/** One way to tell where a body ends, or none: two are how requests are smuggled. */
function bodyLength(headers: HeaderList): number | "chunked" | "rest" {
  const lengths = headers.filter(([name]) => name === "content-length");
  const codings = headers.filter(([name]) => name === "transfer-encoding");
  if (lengths.length + codings.length > 1) throw malformed("the framing, given twice,");
  if (codings.length === 1) {
    if (codings[0]?.[1].toLowerCase() !== "chunked") throw malformed("the transfer coding");
    return "chunked";
  }
  const length = lengths[0]?.[1];
  if (length === undefined) return "rest";
  if (!/^[0-9]{1,15}$/.test(length)) throw malformed("the content length");
  return Number(length);
}

async function* lengthBody(reader: HttpReader, length: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let left = length; left > 0;) {
    const bytes = await reader.some(left);
    if (!bytes) throw new MeshError("E_TRUNCATED", `the body ended ${left} bytes early`);
    left -= bytes.length;
    yield bytes;
  }
}

async function* chunkedBody(reader: HttpReader): AsyncGenerator<Uint8Array, void, undefined> {
  for (;;) {
    const line = await reader.until("\r\n", 256, "a chunk's size line");
    const size = /^([0-9a-fA-F]{1,8})(?:[ \t]*;[\t\x20-\x7e]*)?$/.exec(line)?.[1];
    if (size === undefined) throw malformed("a chunk's size line");
    const length = Number.parseInt(size, 16);
    if (length === 0) break;
    yield* lengthBody(reader, length);
    if ((await reader.until("\r\n", 0, "a chunk's end")) !== "") throw malformed("a chunk's end");
  }
  for (let trailer = 0; trailer < limits.httpHeaderLines; trailer += 1) {
    if ((await reader.until("\r\n", limits.httpHeadBytes, "a trailer")) === "") return;
  }
  throw malformed("the trailer");
}

async function* restBody(reader: HttpReader): AsyncGenerator<Uint8Array, void, undefined> {
  for (;;) {
    const bytes = await reader.some();
    if (!bytes) return;
    yield bytes;
  }
}

function withoutFraming(headers: HeaderList): HeaderList {
  return headers.filter(([name]) => !framing.has(name));
}

function checkedBodyLength(length: number): number {
  if (length <= limits.requestBodyBytes) return length;
  throw new MeshError("E_TOO_LARGE", `the request body is larger than ${limits.requestBodyBytes >> 20} MiB`);
}

function malformed(what: string): MeshError {
  return new MeshError("E_WIRE", `${what} is malformed`);
}

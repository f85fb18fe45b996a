/**
 * HTTP/1.1 over a byte pipe, one request and one response each: the strict subset that crosses the mesh. Reads from any
 * pull source (a plain stream, opened chunks); writes heads that any HTTP parser reads in one way only.
 *
 * Not a server: what a host answers is made by the routes of the node's own HTTP surface.
 *
 * @see RFC 9112 · protocol.md §5
 */
import { STATUS_CODES } from "node:http";
import { Body, once } from "../base/body.ts";
import { concat, empty, fromLatin1, latin1, utf8, view } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { type Flow, flowing, next, type Now } from "../base/flow.ts";
import { limits } from "../wire/limits.ts";
import type { HeaderList } from "./headers.ts";

/** Where bytes come from; a ByteStream is one. */
export interface ByteSource {
  /** The next bytes, never empty; undefined at the end. */
  read(): Promise<Uint8Array | undefined>;
  /**
   * Whether the end has come behind what was read last, cleanly: the next read would give undefined at once.
   * @default only that read tells
   */
  isOver?(): boolean;
  /** The same bytes, for who takes them as they are there; either way is used, not both. @default made of read() */
  readonly flow?: Flow;
}

export function flowOfSource(source: ByteSource): Flow {
  return source.flow ?? flowing(() => source.read());
}

/** @param isOver as in {@link ByteSource} */
export function sourceOf(flow: Flow, isOver: () => boolean = () => false): ByteSource {
  return { flow, read: async () => await next(flow), isOver };
}

/** A source that gives `bytes` once. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  const flow = once(bytes);
  return sourceOf(flow, () => flow.isOver());
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
const framing: ReadonlySet<string> = new Set(["content-length", "transfer-encoding", "connection", "keep-alive"]);

/** Head and body as one piece, with Content-Length and `Connection: close`. */
export function encodeRequest(request: HttpRequest): Uint8Array {
  return concat([encodeRequestHead(request), request.body]);
}

/** All that stands before the body. */
export function encodeRequestHead(request: HttpRequest): Uint8Array {
  const lines = [
    `${request.method} ${request.path} HTTP/1.1`,
    "host: sealmesh",
    ...request.headers.map(([name, value]) => `${name}: ${value}`),
    `content-length: ${request.body.length}`,
    "connection: close",
  ];
  return utf8(`${lines.join("\r\n")}\r\n\r\n`);
}

/** A whole response as one piece. @param headers as in {@link encodeResponseHead} */
export function encodeResponse(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): Uint8Array {
  return concat([encodeResponseHead(status, headers, body.length), body]);
}

/**
 * All that stands before the body.
 *
 * @param headers lower-case names; those of the framing are left out
 * @param length  of the body; undefined: it comes in chunks, each by {@link encodeChunk}, and {@link lastChunk} behind them
 * @throws E_BUG  a value that would be read as another header
 */
export function encodeResponseHead(
  status: number,
  headers: Readonly<Record<string, string>>,
  length: number | undefined,
): Uint8Array {
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}`];
  for (const [name, value] of Object.entries(headers)) {
    if (framing.has(name)) continue;
    if (!token.test(name) || !isHeaderValue(value)) throw new MeshError("E_BUG", `a bad header: ${name}`);
    lines.push(`${name}: ${value}`);
  }
  lines.push(length === undefined ? "transfer-encoding: chunked" : `content-length: ${length}`, "connection: close");
  return fromLatin1(`${lines.join("\r\n")}\r\n\r\n`);
}

/** Whether it stays one header, whoever reads it. */
export function isHeaderValue(text: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
}

export const lastChunk: Uint8Array = fromLatin1("0\r\n\r\n");

/** @param bytes at least one */
export function encodeChunk(bytes: Uint8Array): Uint8Array {
  const size = bytes.length.toString(16);
  const out = new Uint8Array(size.length + bytes.length + 4);
  for (let at = 0; at < size.length; at += 1) out[at] = size.charCodeAt(at);
  out[size.length] = carriageReturn;
  out[size.length + 1] = lineFeed;
  out.set(bytes, size.length + 2);
  out[out.length - 2] = carriageReturn;
  out[out.length - 1] = lineFeed;
  return out;
}

/**
 * Reads one request, body included.
 *
 * @throws E_WIRE malformed or ambiguous head or framing · E_TOO_LARGE body over limits.requestBodyBytes · E_TRUNCATED
 */
export async function readRequest(source: ByteSource): Promise<HttpRequest> {
  const reader = new HttpReader(source);
  const { start, headers } = reader.headNow() ?? (await readHead(reader));
  const [method = "", path = "", version, ...rest] = start.split(" ");
  if (!token.test(method) || !/^\/[\x21-\x7e]*$/.test(path) || version !== "HTTP/1.1" || rest.length > 0) {
    throw malformed("the request line");
  }
  const length = bodyLength(headers);
  const parts: Uint8Array[] = [];
  let total = 0;
  const read = bodyReader(
    reader,
    typeof length === "number" ? checkedBodyLength(length) : length === "rest" ? 0 : length,
  );
  for (let part = await next(read); part; part = await next(read)) {
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
export async function readResponse(source: ByteSource): Promise<HttpResponse & { readonly body: Body }> {
  const reader = new HttpReader(source);
  const { status, minor, headers } = await readResponseHead(reader, limits.httpHeaderLines);
  if (minor !== "1") throw malformed("the status line");
  return {
    status,
    headers: firstValues(withoutFraming(headers)),
    body: responseBody(reader, status, bodyLength(headers)),
  };
}

/** A response on a connection of our own, on which another may follow. */
export interface KeptResponse {
  readonly status: number;
  /** Lower-case names; of repeated ones the first. Those of the framing too. */
  readonly headers: Readonly<Record<string, string>>;
  /** Ends by its framing alone. */
  readonly body: Body;
  /** After the body's end: whether the other side leaves the connection open, with nothing on it. */
  readonly stays: () => boolean;
}

/** Header lines that a program of somebody else may write. */
const foreignHeaderLines = 256;

/** Reads the response of an ordinary server, HTTP/1.0 too. @throws as {@link readResponse}; so does the body */
export async function readKeptResponse(source: ByteSource): Promise<KeptResponse> {
  const reader = new HttpReader(source);
  const { status, minor, headers } = await readResponseHead(reader, foreignHeaderLines);
  const length = hasNoBody(status) ? 0 : bodyLength(headers);
  const connection = headers.find(([name]) => name === "connection")?.[1].toLowerCase() ?? "";
  const stays = minor === "1" ? !connection.includes("close") : connection.includes("keep-alive");
  const read = bodyReader(reader, length);
  return {
    status,
    headers: firstValues(headers),
    body: new Body(read),
    stays: () => stays && length !== "rest" && read.isOver() && reader.isEmpty,
  };
}

interface ResponseHead {
  readonly status: number;
  /** Of HTTP/1.x. */
  readonly minor: string | undefined;
  readonly headers: HeaderList;
}

async function readResponseHead(reader: HttpReader, lines: number): Promise<ResponseHead> {
  for (let interim = 0; interim < 4; interim += 1) {
    const { start, headers } = reader.headNow(lines) ?? (await readHead(reader, lines));
    const match = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/.exec(start);
    if (!match) throw malformed("the status line");
    const status = Number(match[2]);
    if (status >= 200) return { status, minor: match[1], headers };
  }
  throw malformed("the series of interim responses");
}

function hasNoBody(status: number): boolean {
  return status === 204 || status === 304;
}

function firstValues(headers: HeaderList): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [name, value] of headers) if (!Object.hasOwn(values, name)) values[name] = value;
  return values;
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

/** Ends when the source has ended cleanly behind it. @throws E_WIRE bytes behind the body */
function responseBody(reader: HttpReader, status: number, length: BodyLength): Body {
  const read = bodyReader(reader, hasNoBody(status) ? 0 : length);
  const now = (): Now => {
    const bytes = read.now();
    if (bytes !== "end") return bytes;
    const more = reader.look();
    if (more === true) throw new MeshError("E_WIRE", "there are bytes after the end of the answer");
    return more === false ? "end" : undefined;
  };
  return new Body({ now, more: () => read.more() }, { isOver: () => read.isOver() && reader.isOver() });
}

/** Bytes from a source with lines and counted runs cut out of them. */
class HttpReader {
  readonly #source: ByteSource;
  readonly #flow: Flow;
  /** What has come, and where what is left of it begins: a view is made only of what is handed on. */
  #bytes: Uint8Array = empty;
  #at = 0;

  constructor(source: ByteSource) {
    this.#source = source;
    this.#flow = flowOfSource(source);
  }

  /** Whether there are bytes; false: the source has ended; undefined: none yet. @throws as the source */
  look(): boolean | undefined {
    if (!this.isEmpty) return true;
    const bytes = this.#flow.now();
    if (bytes === undefined) return undefined;
    if (bytes === "end") return false;
    this.#bytes = bytes;
    this.#at = 0;
    return true;
  }

  /** After look() gave undefined, as {@link Flow.more}. */
  more(): Promise<void> {
    return this.#flow.more();
  }

  /** Waits until there are bytes; false: the end has come before any. */
  async fill(): Promise<boolean> {
    for (;;) {
      const there = this.look();
      if (there !== undefined) return there;
      await this.#flow.more();
    }
  }

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Whether the source has ended, as far as is known, and nothing of it is left. */
  isOver(): boolean {
    return this.isEmpty && this.#source.isOver?.() === true;
  }

  /** What has come and is left, at most `limit` bytes; undefined when nothing is. */
  now(limit: number = Number.MAX_SAFE_INTEGER): Uint8Array | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    if (start === bytes.length) return undefined;
    const end = Math.min(bytes.length, start + limit);
    this.#skipTo(end);
    return end - start === bytes.length ? bytes : bytes.subarray(start, end);
  }

  /** A head, if all of it has come; else nothing is taken. @throws as {@link readHead} */
  headNow(mostLines?: number): Head | undefined {
    if (this.look() !== true) return undefined;
    const bytes = this.#bytes;
    const start = this.#at;
    const end = view(bytes).indexOf(headEnd, start);
    if (end < 0 || end - start > limits.httpHeadBytes) return undefined;
    this.#skipTo(end + headEnd.length);
    return parsedHead(latin1(bytes.subarray(start, end)), mostLines);
  }

  /** The line up to CRLF, which is consumed and left out, if all of it has come; else nothing is taken. */
  lineNow(limit: number): string | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    const end = bytes.indexOf(carriageReturn, start);
    if (end < 0 || end - start > limit || bytes[end + 1] !== lineFeed) return undefined;
    this.#skipTo(end + 2);
    return end === start ? "" : latin1(bytes.subarray(start, end));
  }

  /** Behind the data of a chunk: the next one, if it and the end of the last have come whole; else nothing is taken. */
  chunkNow(): Uint8Array | undefined {
    const bytes = this.#bytes;
    if (!endsLine(bytes, this.#at)) return undefined;
    const size = this.#at + 2;
    const digits = hexDigits(bytes, size);
    const start = size + digits + 2;
    if (!endsLine(bytes, size + digits)) return undefined;
    const length = hexNumber(bytes, size, digits);
    const end = start + length;
    // its own end too: what is behind it is looked at when it is its turn
    if (length === 0 || bytes.length < end + 2) return undefined;
    this.#skipTo(end);
    return bytes.subarray(start, end);
  }

  /** The size line of a chunk, when it has come whole and is nothing but digits; else nothing is taken. */
  sizeNow(): number | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    const digits = hexDigits(bytes, start);
    if (digits === 0 || !endsLine(bytes, start + digits)) return undefined;
    this.#skipTo(start + digits + 2);
    return hexNumber(bytes, start, digits);
  }

  #skipTo(at: number): void {
    this.#at = at;
    if (at !== this.#bytes.length) return;
    this.#bytes = empty; // it may be large, and the next one minutes away
    this.#at = 0;
  }

  /** Latin-1 text up to `end`, which is consumed and left out. @throws E_WIRE longer than `limit` · E_TRUNCATED */
  async until(end: string, limit: number, what: string): Promise<string> {
    let text = "";
    for (;;) {
      const bytes = (await this.fill()) && this.now();
      if (!bytes) throw new MeshError("E_TRUNCATED", `the stream ended inside ${what}`);
      const before = text.length;
      const room = limit + end.length - before;
      text += latin1(bytes.subarray(0, room));
      const at = text.indexOf(end, Math.max(0, before - end.length));
      if (at >= 0) {
        this.#bytes = bytes;
        this.#skipTo(at + end.length - before);
        return text.slice(0, at);
      }
      if (bytes.length >= room) throw new MeshError("E_WIRE", `${what} is longer than ${limit} bytes`);
    }
  }

  /** As {@link until} the end of a line. */
  async line(limit: number, what: string): Promise<string> {
    await this.fill();
    return this.lineNow(limit) ?? (await this.until("\r\n", limit, what));
  }
}

const carriageReturn = 0x0d;
const lineFeed = 0x0a;

function endsLine(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === carriageReturn && bytes[at + 1] === lineFeed;
}

/** Of a byte; -1: it is none. */
function hexDigit(byte = 0): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** How many there are from `at` on, at most 8. */
function hexDigits(bytes: Uint8Array, at: number): number {
  let count = 0;
  while (count < 8 && hexDigit(bytes[at + count]) >= 0) count += 1;
  return count;
}

function hexNumber(bytes: Uint8Array, at: number, digits: number): number {
  let value = 0;
  for (let index = 0; index < digits; index += 1) value = value * 16 + hexDigit(bytes[at + index]);
  return value;
}

interface Head {
  readonly start: string;
  readonly headers: HeaderList;
}

const headEnd = "\r\n\r\n";

/** @throws E_WIRE too long, too many lines, or a malformed one · E_TRUNCATED */
async function readHead(reader: HttpReader, mostLines?: number): Promise<Head> {
  return parsedHead(await reader.until(headEnd, limits.httpHeadBytes, "the HTTP head"), mostLines);
}

function parsedHead(text: string, mostLines: number = limits.httpHeaderLines): Head {
  const [start = "", ...lines] = text.split("\r\n");
  if (lines.length > mostLines) throw malformed(`the head, with more than ${mostLines} lines,`);
  const headers = lines.map(headerOf);
  return { start, headers };
}

/** Of "Name: value", with spaces and tabs around the value left out. */
function headerOf(line: string): readonly [name: string, value: string] {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon));
  let start = colon + 1;
  let end = line.length;
  while (start < end && isSpace(line.charCodeAt(start))) start += 1;
  while (end > start && isSpace(line.charCodeAt(end - 1))) end -= 1;
  const value = line.slice(start, end);
  if (!token.test(name) || !isHeaderValue(value)) throw malformed("a header line");
  return [name.toLowerCase(), value];
}

function isSpace(character: number): boolean {
  return character === 0x20 || character === 0x09;
}

/** Bytes, or how else the end of a body is known. */
type BodyLength = number | "chunked" | "rest";

/** One way to tell where a body ends, or none: two are how requests are smuggled. */
function bodyLength(headers: HeaderList): BodyLength {
  const lengths = headers.filter(([name]) => name === "content-length");
  const codings = headers.filter(([name]) => name === "transfer-encoding");
  if (lengths.length + codings.length > 1) throw malformed("the framing, given twice,");
  if (codings.length === 1) {
    if (codings[0]?.[1].toLowerCase() !== "chunked") throw malformed("the transfer coding");
    return "chunked";
  }
  const length = lengths[0]?.[1];
  if (length === undefined) return "rest";
  if (!/^[0-9]{1,16}$/.test(length)) throw malformed("the content length");
  return Number(length);
}

/** The pieces of a body within its framing. @throws E_TRUNCATED · E_WIRE bad framing */
interface BodyReader extends Flow {
  /** Whether the framing says that nothing more comes. */
  isOver(): boolean;
}

function bodyReader(reader: HttpReader, length: BodyLength): BodyReader {
  if (length === "chunked") return chunkedReader(reader);
  if (length === "rest") return restReader(reader);
  return lengthReader(reader, length);
}

function restReader(reader: HttpReader): BodyReader {
  return {
    isOver: () => true,
    now: () => (reader.look() === false ? "end" : reader.now()),
    more: () => reader.more(),
  };
}

function lengthReader(reader: HttpReader, length: number): BodyReader {
  let left = length;
  return {
    isOver: () => left === 0,
    now() {
      if (left === 0) return "end";
      if (reader.look() === false) throw endedEarly(left);
      const bytes = reader.now(left);
      left -= bytes?.length ?? 0;
      return bytes;
    },
    more: () => reader.more(),
  };
}

function endedEarly(left: number): MeshError {
  return new MeshError("E_TRUNCATED", `the body ended ${left} bytes early`);
}

function chunkedReader(reader: HttpReader): BodyReader {
  let left = 0;
  let state: "size" | "data" | "end" | "trailer" | "over" = "size";
  const begin = (size: number | undefined): void => {
    if (size === undefined) return;
    left = size;
    state = size === 0 ? "trailer" : "data";
  };
  const data = (): Uint8Array | undefined => {
    const bytes = reader.now(left);
    left -= bytes?.length ?? 0;
    if (left === 0) state = "end";
    return bytes;
  };
  /** The next piece, however what stands before it was cut. */
  const joined = flowing(async () => {
    if (state === "over") return undefined;
    if (state === "end") await readChunkEnd(reader);
    if (state === "end" || state === "size") begin(sizeOf(await reader.line(sizeLineBytes, "a chunk's size line")));
    if (state === "trailer") {
      await readTrailer(reader);
      state = "over";
      return undefined;
    }
    if (!(await reader.fill())) throw endedEarly(left);
    return data();
  });
  let isJoining = false;
  /** The same, if all that stands before it is there. */
  const quick = (): Uint8Array | undefined => {
    if (state === "end" && reader.look() === true && reader.lineNow(0) === "") state = "size";
    if (state === "size" && reader.look() === true) begin(reader.sizeNow());
    return state === "data" && reader.look() === true ? data() : undefined;
  };
  return {
    isOver: () => state === "over",
    now() {
      const first = isJoining ? joined.now() : state === "over" ? "end" : quick();
      if (first === undefined) return undefined;
      isJoining = false;
      if (first === "end" || state !== "end") return first;
      // with the chunks behind it that have come whole: each costs its bytes, not a turn of its own
      const pieces = [first];
      for (let more = reader.chunkNow(); more; more = reader.chunkNow()) pieces.push(more);
      return pieces.length > 1 ? concat(pieces) : first;
    },
    more() {
      if (!isJoining && reader.look() === undefined) return reader.more();
      isJoining = true;
      return joined.more();
    },
  };
}

const sizeLineBytes = 256;

function sizeOf(line: string): number {
  const size = /^([0-9a-fA-F]{1,8})(?:[ \t]*;[\t\x20-\x7e]*)?$/.exec(line)?.[1];
  if (size === undefined) throw malformed("a chunk's size line");
  return Number.parseInt(size, 16);
}

async function readChunkEnd(reader: HttpReader): Promise<void> {
  if ((await reader.line(0, "a chunk's end")) !== "") throw malformed("a chunk's end");
}

async function readTrailer(reader: HttpReader): Promise<void> {
  for (let line = 0; line < limits.httpHeaderLines; line += 1) {
    if ((await reader.line(limits.httpHeadBytes, "a trailer")) === "") return;
  }
  throw malformed("the trailer");
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

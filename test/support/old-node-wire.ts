/**
 * The bytes of mesh-llm's node protocol, written by hand from protocol.md §2-§5 and with nothing of src: what an old node
 * and a reference node put on the wire, and how they read. A mistake that the product makes on both of its sides shows
 * here. Used by old-node.ts and reference-node.ts.
 */
import type { ByteStream } from "../../src/base/stream.ts";

// ---- protobuf

export interface Field {
  readonly number: number;
  readonly wireType: number;
  /** Content of a length-delimited field; of others the bytes of the value. */
  readonly bytes: Buffer;
  /** Value of a varint. */
  readonly value: bigint;
}

export function varint(value: number | bigint): Buffer {
  const out: number[] = [];
  let rest = BigInt(value);
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...out, Number(rest)]);
}

/** A varint field. */
export function uint(field: number, value: number | bigint): Buffer {
  return Buffer.concat([varint((field << 3) | 0), varint(value)]);
}

/** A length-delimited field. */
export function blob(field: number, content: string | Uint8Array): Buffer {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : Buffer.from(content);
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes]);
}

export function readFields(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const number = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at];
      if (byte === undefined) throw new Error("the message ends inside a number");
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = Number(number());
    const wireType = tag & 7;
    const from = at;
    const value = wireType === 0 || wireType === 2 ? number() : 0n;
    const start = wireType === 2 ? at : from;
    const size = { 0: at - from, 1: 8, 2: Number(value), 5: 4 }[wireType];
    if (size === undefined) throw new Error(`wire type ${wireType}`);
    at = start + size;
    if (at > message.length) throw new Error("the message ends inside a field");
    fields.push({ number: tag >> 3, wireType, bytes: message.subarray(start, at), value });
  }
  return fields;
}

// ---- gossip

export const roles = { worker: 1, host: 2, client: 3 } as const;

/** One PeerAnnouncement, as far as nodes of these versions act on it. */
export interface Entry {
  readonly id: string;
  readonly role: number;
  readonly httpPort: number | undefined;
  readonly version: string | undefined;
  readonly models: readonly string[];
  /** EndpointAddr JSON. */
  readonly address: string;
  /** Field 36. */
  readonly key: string | undefined;
  /** Fields 37 and 38 as they came: known to the reference alone. */
  readonly evidence: readonly Field[];
}

/** The smallest entry of protocol.md §3.2, a host's or a client's. */
export function encodeEntry(entry: Entry): Buffer {
  const { id, role, httpPort, version, models, address, key, evidence } = entry;
  const runtime = (model: string): Buffer => Buffer.concat([blob(1, model), uint(3, 4096), uint(4, 1)]);
  return Buffer.concat([
    blob(1, Buffer.from(id, "hex")),
    uint(2, role),
    ...(httpPort === undefined ? [] : [uint(3, httpPort)]),
    ...(version === undefined ? [] : [blob(4, version)]),
    ...models.map((model) => blob(10, model)),
    blob(22, address),
    ...models.map((model) => blob(23, model)),
    uint(24, 1),
    ...models.map((model) => blob(27, runtime(model))),
    ...(key === undefined ? [] : [blob(36, key)]),
    ...evidence.map((field) => blob(field.number, field.bytes)),
  ]);
}

function decodeEntry(fields: readonly Field[]): Entry {
  const all = (number: number): readonly Field[] => fields.filter((field) => field.number === number);
  const text = (number: number): string | undefined => all(number).at(-1)?.bytes.toString("utf8");
  const endpoint = all(1).at(-1)?.bytes;
  if (endpoint?.length !== 32) throw new Error("an endpoint id without 32 bytes: the frame is refused");
  const role = Number(all(2).at(-1)?.value ?? 0n);
  const port = all(3).at(-1)?.value;
  if (role === roles.host && port === undefined) throw new Error("a host without http_port: the frame is refused");
  const address = text(22) ?? "";
  const known = all(24).at(-1)?.value ?? (all(23).length > 0 ? 1n : 0n);
  return {
    id: filedUnder(address) ?? endpoint.toString("hex"),
    role,
    httpPort: port === undefined ? undefined : Number(port),
    version: text(4),
    models: all(known === 1n ? 23 : 10).map(({ bytes }) => bytes.toString("utf8")),
    address,
    key: text(36),
    evidence: fields.filter(({ number }) => number === 37 || number === 38),
  };
}

/** The id inside the address, which counts (the identity trap of protocol.md §3.1). */
function filedUnder(address: string): string | undefined {
  try {
    return (JSON.parse(address) as { id: string }).id;
  } catch {
    return undefined;
  }
}

export interface Heard {
  readonly entries: readonly Entry[];
  /** All fields of each entry, unknown ones too. */
  readonly fields: readonly (readonly Field[])[];
}

/** @param entries encoded */
export function encodeGossip(sender: string, entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat([uint(1, 1), ...entries.map((entry) => blob(2, entry)), blob(3, Buffer.from(sender, "hex"))]);
}

/** @throws Error as the reference refuses a frame */
export function decodeGossip(frame: Buffer, from: string): Heard {
  const fields = readFields(frame);
  const sender = fields.find(({ number }) => number === 3)?.bytes.toString("hex");
  const generation = fields.find(({ number }) => number === 1)?.value;
  if (generation !== 1n || sender !== from)
    throw new Error(`generation ${generation} of ${sender}: the frame is refused`);
  const entries = fields.filter(({ number }) => number === 2).map(({ bytes }) => readFields(bytes));
  return { entries: entries.map(decodeEntry), fields: entries };
}

/** u32 LE length | message */
export function frameOf(message: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(message.length);
  return Buffer.concat([length, message]);
}

export function encodeToken(address: string): string {
  return Buffer.from(address, "utf8").toString("base64url");
}

/** What a token or an entry's address names, as the transport takes it. */
export function readAddress(json: string): { readonly id: string; readonly direct: string[] } {
  const { id, addrs } = JSON.parse(json) as { id: string; addrs: { Ip?: string }[] };
  return { id, direct: addrs.flatMap(({ Ip }) => (Ip === undefined ? [] : [Ip])) };
}

// ---- streams

/** What comes on a stream, with a buffer for what has come and was not asked for yet. */
export class Incoming {
  readonly #stream: ByteStream;
  #rest = Buffer.alloc(0);

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** More bytes in the buffer; false at the end. */
  async #more(): Promise<boolean> {
    const bytes = await this.#stream.read();
    if (bytes === undefined) return false;
    this.#rest = Buffer.concat([this.#rest, bytes]);
    return true;
  }

  #take(count: number): Buffer {
    const taken = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return taken;
  }

  async byte(): Promise<number | undefined> {
    while (this.#rest.length === 0) if (!(await this.#more())) return undefined;
    return this.#take(1)[0];
  }

  putBack(byte: number): void {
    this.#rest = Buffer.concat([Buffer.of(byte), this.#rest]);
  }

  async exactly(count: number): Promise<Buffer> {
    while (this.#rest.length < count) if (!(await this.#more())) throw new Error(`${count} bytes are not there`);
    return this.#take(count);
  }

  /** Up to the stream's end. */
  async rest(): Promise<Buffer> {
    while (await this.#more());
    return this.#take(this.#rest.length);
  }

  async frame(): Promise<Buffer> {
    return await this.exactly((await this.exactly(4)).readUInt32LE(0));
  }

  /** Text up to an empty line, which is left out. */
  async head(): Promise<string> {
    for (;;) {
      const at = this.#rest.indexOf("\r\n\r\n");
      if (at >= 0) return this.#take(at + 4).toString("latin1", 0, at);
      if (!(await this.#more())) throw new Error("the end came before the end of the head");
    }
  }
}

// ---- HTTP/1.1

export interface WireRequest {
  readonly method: string;
  readonly path: string;
  /** As they came, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

export interface WireResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What a mesh-llm proxy makes of its caller's request: all headers as they came, `Connection: close` last. */
export function encodeRequest({ method, path, headers, body }: WireRequest): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  if (body !== "") lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return Buffer.from(`${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n${body}`, "utf8");
}

/** Reads one request by its own framing: the asker's side may stay open after it. */
export async function readRequest(incoming: Incoming): Promise<WireRequest> {
  const [line = "", ...lines] = (await incoming.head()).split("\r\n");
  const [method = "", path = ""] = line.split(" ");
  const headers = lines.map(headerOf);
  const length = Number(headers.find(([name]) => name.toLowerCase() === "content-length")?.[1] ?? 0);
  return { method, path, headers, body: (await incoming.exactly(length)).toString("utf8") };
}

/** A whole response; the stream's end is the end of everything. @throws Error it is not whole by its own framing */
export function readResponse(bytes: Buffer): WireResponse {
  const at = bytes.indexOf("\r\n\r\n");
  if (at < 0) throw new Error(`no response head: ${bytes.toString("latin1", 0, 200)}`);
  const [line = "", ...lines] = bytes.toString("latin1", 0, at).split("\r\n");
  const headers = Object.fromEntries(lines.map(headerOf).map(([name, value]) => [name.toLowerCase(), value]));
  const content = bytes.subarray(at + 4);
  const isChunked = headers["transfer-encoding"]?.toLowerCase() === "chunked";
  if (!isChunked && content.length !== Number(headers["content-length"])) throw new Error("the body is not whole");
  const body = isChunked ? withoutChunks(content) : content;
  return { status: Number(line.split(" ")[1]), headers, body: body.toString("utf8") };
}

function withoutChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    if (lineEnd < 0 || Number.isNaN(size)) throw new Error("the chunks are not whole");
    if (size === 0) return Buffer.concat(parts);
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}

function headerOf(line: string): [string, string] {
  const at = line.indexOf(":");
  return [line.slice(0, at), line.slice(at + 1).trim()];
}

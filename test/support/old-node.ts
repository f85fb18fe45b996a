/**
 * A node of mesh-llm as it was before sealing (0.65.0): no inference key, prompts in the clear over 0x04, entries of third
 * nodes passed on without the fields that it does not know. Built from protocol.md alone over real QUIC; see
 * old-node-wire.ts. reference-node.ts adds what the draft of sealing does.
 */
import { randomBytes } from "node:crypto";
import { afterEach } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import type { Connection, Transport } from "../../src/transport/transport.ts";
import {
  decodeGossip,
  encodeEntry,
  encodeGossip,
  encodeRequest,
  encodeToken,
  type Entry,
  type Field,
  frameOf,
  type Heard,
  Incoming,
  readAddress,
  readFields,
  readRequest,
  readResponse,
  roles,
  type WireRequest,
  type WireResponse,
} from "./old-node-wire.ts";

export interface OldNodeOptions {
  readonly role?: keyof typeof roles;
  readonly models?: readonly string[];
  /** Bytes of the whole response, piece by piece: what the API port of this node gives. @default 404 */
  readonly serve?: (request: WireRequest) => AsyncIterable<Buffer>;
  /** Its own entry, in place of what its version writes. */
  readonly ownEntry?: (entry: Entry) => Uint8Array;
}

/** An exchange that a host of these versions got on 0x04. */
export interface Got {
  readonly how: "plain" | "sealed";
  readonly request: WireRequest;
  /** Clear JSON of an envelope. */
  readonly envelope: Readonly<Record<string, string>> | undefined;
}

/** How the asker treats its own side of the stream after a plain request. */
export type SendSide = "open" | "finished";

const running: OldNode[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((node) => node.close()));
});

export class OldNode {
  readonly id: string;
  /** Everything that it has heard about others: the last word counts, whoever said it (protocol.md §3.4). */
  readonly peers = new Map<string, Entry>();
  /** Each frame of gossip that it got. */
  readonly heard: { readonly from: string; readonly frame: Heard }[] = [];
  readonly got: Got[] = [];
  /** Frames that it refused, and why. */
  readonly refused: string[] = [];
  readonly transport: Transport;
  readonly options: OldNodeOptions;
  readonly #connections = new Map<string, Connection>();

  static async start(options: OldNodeOptions = {}): Promise<OldNode> {
    return new OldNode(await quic(), options);
  }

  protected constructor(transport: Transport, options: OldNodeOptions) {
    this.transport = transport;
    this.id = transport.id;
    this.options = options;
    running.push(this);
    void this.#accept();
  }

  async close(): Promise<void> {
    await this.transport.close();
  }

  /** EndpointAddr JSON (protocol.md §4). */
  get address(): string {
    return JSON.stringify({ id: this.id, addrs: this.transport.address().direct.map((socket) => ({ Ip: socket })) });
  }

  get token(): string {
    return encodeToken(this.address);
  }

  // ---- gossip

  /** Dials the node that a token names and does the exchange of protocol.md §3.1. */
  async meet(token: string): Promise<void> {
    await this.gossip(await this.connect(token));
  }

  /** Dials it without a word of gossip. @returns its id */
  async connect(token: string): Promise<string> {
    const { id, direct } = readAddress(Buffer.from(token, "base64url").toString("utf8"));
    const target = { id: id as EndpointId, direct, relays: [] };
    this.#keep(await this.transport.dial(target, { alpn: "mesh-llm/1", timeoutMs: 5_000 }));
    return id;
  }

  /** @param entries encoded; those that it relays and its own, last, when left out */
  async gossip(to: string, entries: readonly Uint8Array[] = this.entries(to)): Promise<Heard> {
    const stream = await this.open(to, 0x01, frameOf(encodeGossip(this.id, entries)));
    await stream.finish();
    const incoming = new Incoming(stream);
    const heard = decodeGossip(await incoming.frame(), to);
    if ((await incoming.rest()).length > 0) throw new Error("there is something after the reply");
    this.#apply(to, heard);
    await pause(50); // the other side answers before it admits (protocol.md §3.1)
    return heard;
  }

  /** Own entry as this version writes it. */
  own(change: Partial<Entry> = {}): Entry {
    const { role = "worker", models = [] } = this.options;
    return {
      id: this.id,
      role: roles[role],
      httpPort: role === "host" ? 9337 : undefined,
      version: "0.65.0",
      models,
      address: this.address,
      key: undefined,
      evidence: [],
      ...change,
    };
  }

  /** What it passes on of a third node: what it does not know is lost. */
  protected known(entry: Entry): Entry {
    return { ...entry, key: undefined, evidence: [] };
  }

  protected entries(to: string): readonly Uint8Array[] {
    const relayed = [...this.peers.values()].filter(({ id }) => id !== to).map((entry) => this.known(entry));
    const { ownEntry = encodeEntry } = this.options;
    return [...relayed.map(encodeEntry), ownEntry(this.own())];
  }

  /** Fields of the newest entry that `id` sent about itself. */
  fieldsOf(id: string): readonly Field[] {
    const frames = this.heard.filter(({ from }) => from === id).map(({ frame }) => frame);
    const own = frames.flatMap(({ entries, fields }) => fields.filter((_, index) => entries[index]?.id === id));
    return own.at(-1) ?? [];
  }

  #apply(from: string, frame: Heard): void {
    this.heard.push({ from, frame });
    for (const entry of frame.entries) if (entry.id !== this.id) this.peers.set(entry.id, this.known(entry));
  }

  // ---- asking

  /** Asks in the clear, with all headers of the caller, as the proxy of these versions does (protocol.md §5.1). */
  async askPlain(to: string, request: Partial<WireRequest>, side: SendSide = "open"): Promise<WireResponse> {
    const stream = await this.open(to, 0x04, encodeRequest(asWhole(request)));
    if (side === "finished") await stream.finish();
    const response = readResponse(await new Incoming(stream).rest());
    if (side === "open") await stream.finish();
    return response;
  }

  /** A stream, its type byte and more written at once. */
  async open(to: string, type: number, ...bytes: readonly Uint8Array[]): Promise<ByteStream> {
    const connection = this.#connections.get(to);
    if (!connection) throw new Error("no connection");
    const stream = await connection.open();
    await stream.write(Buffer.concat([Buffer.of(type), ...bytes]));
    return stream;
  }

  // ---- answering

  async #accept(): Promise<void> {
    for await (const connection of this.transport.incoming()) this.#keep(connection);
  }

  #keep(connection: Connection): void {
    this.#connections.set(connection.peer, connection);
    void this.#dispatch(connection);
  }

  async #dispatch(connection: Connection): Promise<void> {
    for await (const stream of connection.streams()) {
      this.#serve(connection.peer, stream).catch((thrown: unknown) => {
        this.refused.push(String(thrown));
        stream.abort();
      });
    }
  }

  async #serve(from: string, stream: ByteStream): Promise<void> {
    const incoming = new Incoming(stream);
    const type = await incoming.byte();
    if (type === undefined) return await stream.finish();
    if (type === 0x01) return await this.#answerGossip(from, stream, incoming);
    if (!this.peers.has(from)) return stream.abort(); // quarantine
    if (type === 0x04) return await this.answerHttp(stream, incoming);
    if (type === 0x07) return void this.peers.delete(leaving(await incoming.frame(), from));
    stream.abort();
  }

  async #answerGossip(from: string, stream: ByteStream, incoming: Incoming): Promise<void> {
    const heard = decodeGossip(await incoming.frame(), from);
    await stream.write(frameOf(encodeGossip(this.id, this.entries(from))));
    await stream.finish();
    await incoming.rest(); // answered before it is admitted
    this.#apply(from, heard);
  }

  /** 0x04: a pipe to the engine, both halves tied together, so that an asker that ends its side too early gets nothing. */
  protected async answerHttp(stream: ByteStream, incoming: Incoming): Promise<void> {
    const request = await readRequest(incoming);
    this.got.push({ how: "plain", request, envelope: undefined });
    let isOver = false;
    const ended = incoming.rest().then(
      () => isOver || stream.abort(),
      () => undefined,
    );
    for await (const piece of this.serve(request)) await stream.write(piece);
    isOver = true;
    await stream.finish();
    await ended;
  }

  protected serve(request: WireRequest): AsyncIterable<Buffer> {
    return (this.options.serve ?? notFound)(request);
  }
}

/** A QUIC endpoint of its own on loopback. */
export function quic(): Promise<Transport> {
  return irohTransport.start({ secretKey: randomBytes(32), alpns: ["mesh-llm/1"], bind: "127.0.0.1:0" });
}

function leaving(frame: Buffer, from: string): string {
  if (
    readFields(frame)
      .find(({ number }) => number === 1)
      ?.bytes.toString("hex") !== from
  )
    throw new Error("of another");
  return from;
}

export function asWhole({
  method = "POST",
  path = "/v1/chat/completions",
  headers = [],
  body = "",
}: Partial<WireRequest>) {
  const host: [string, string] = ["Host", "127.0.0.1:9337"];
  return { method, path, headers: [host, ...headers], body };
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function* notFound(): AsyncIterable<Buffer> {
  yield Buffer.from("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}");
}

// ---- what an engine behind such a node answers

/** Chat answers in `words`: one JSON body, or events in HTTP chunks when the request asks for a stream. */
export async function* chatAnswer(
  { body }: WireRequest,
  words: Iterable<string> | AsyncIterable<string>,
): AsyncGenerator<Buffer> {
  const asked = JSON.parse(body) as { model: string; stream?: boolean };
  const about = { id: "chatcmpl-7", created: 1_700_000_000, model: asked.model };
  const event = (value: object): Buffer => httpChunk(`data: ${JSON.stringify(value)}\n\n`);
  const delta = (content: object, finish_reason: string | null = null): Buffer =>
    event({ ...about, object: "chat.completion.chunk", choices: [{ index: 0, delta: content, finish_reason }] });
  if (asked.stream !== true) {
    let content = "";
    for await (const word of words) content += word;
    const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
    yield jsonAnswer(200, { ...about, object: "chat.completion", choices, usage });
    return;
  }
  yield Buffer.from("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  yield delta({ role: "assistant", content: "" });
  for await (const word of words) yield delta({ content: word });
  yield delta({}, "stop");
  yield httpChunk("data: [DONE]\n\n");
  yield Buffer.from("0\r\n\r\n");
}

export function jsonAnswer(status: number, value: object): Buffer {
  const body = JSON.stringify(value);
  const head = `HTTP/1.1 ${status} X\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}`;
  return Buffer.from(`${head}\r\nConnection: close\r\n\r\n${body}`);
}

function httpChunk(text: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
}

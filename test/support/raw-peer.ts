/**
 * A peer driven by hand, on the same in-memory network as real nodes: it has an identity of its own and says and sends
 * whatever a test wants. It plays the attacker (a relay that changes bytes, a host that lies, a stranger), the reference
 * node (field 36 and no record) and the old node (no key at all). Every byte that it gets is kept, so that a test can
 * show what it could not read.
 */
import { randomBytes } from "node:crypto";
import { afterEach } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { concat, fromUtf8, latin1, toBase64, toHex, utf8 } from "../../src/base/bytes.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { generateKeyPair, type KeyPair } from "../../src/crypto/box.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { signRecord, type VerifiedRecord } from "../../src/crypto/record.ts";
import { AskerSeal, type HostSeal, type OpenedRequest, openRequest } from "../../src/crypto/seal.ts";
import { relayCapability } from "../../src/mesh/choose.ts";
import type { Flags, Mode } from "../../src/node/config.ts";
import { announcedVersion } from "../../src/node/version.ts";
import type { MemoryNetwork } from "../../src/transport/memory.ts";
import { type TapEntry, tapTransport } from "../../src/transport/tap.ts";
import {
  type Alpn,
  alpns,
  type Connection,
  type Transport,
  type TransportKind,
} from "../../src/transport/transport.ts";
import {
  bytesSource,
  encodeRequest,
  encodeResponse,
  type HttpRequest,
  readRequest,
  readResponse,
} from "../../src/tunnel/http.ts";
import { openedResponse } from "../../src/tunnel/sealed.ts";
import type { EndpointAddress } from "../../src/wire/address.ts";
import {
  decodeRequestEnvelope,
  encodeRequestEnvelope,
  encodeResponseHeader,
  endMarker,
  readChunk,
  readResponseHeader,
} from "../../src/wire/envelope.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { type Announcement, decodeGossip, encodeGossip, type GossipFrame, type Role } from "../../src/wire/gossip.ts";
import { headSigningBytes, readSealedHead, type SealedHead, sealedHeadFields } from "../../src/wire/head.ts";
import { decodeInvite, encodeInvite } from "../../src/wire/invite.ts";
import { limits } from "../../src/wire/limits.ts";
import type { RecordFields } from "../../src/wire/record.ts";
import {
  decodeRecordRequest,
  decodeRelayOpen,
  decodeRelayReply,
  encodeRecordReply,
  encodeRelayedOpen,
  encodeRelayOpen,
  encodeRelayReply,
  relayCodes,
} from "../../src/wire/relay.ts";
import { envelopeByte, meshStreams, sealStreams } from "../../src/wire/stream-types.ts";
import type { ScriptedEngine, SeenRequest } from "./engine-server.ts";
import { eventually, type TestNode, type TestParts, testMesh } from "./mesh.ts";
import { testNetwork } from "./test-network.ts";

/** What it shows on its own connection: record and field 36, field 36 alone, or neither. */
export type RawKind = "sealing" | "reference" | "old";

export interface RawPeerOptions {
  readonly kind?: RawKind;
  readonly role?: Role;
  readonly models?: readonly string[];
  /** @default a fresh identity */
  readonly seed?: Uint8Array;
  readonly bind?: string;
}

/** Serves one stream that a node opened; the type byte has been read. */
export type RawHandler = (stream: ByteStream, reader: StreamReader, from: EndpointId) => Promise<void>;

const running: RawPeer[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((peer) => peer.close()));
});

export class RawPeer {
  readonly identity: Identity;
  readonly transport: Transport;
  readonly kind: RawKind;
  readonly role: Role;
  models: readonly string[];
  /** Inference key that it shows; a test may replace it. */
  key: KeyPair = generateKeyPair();
  /** Shown in its records from now on. */
  credential: Uint8Array | undefined;
  /** Everything that crossed its streams. */
  readonly tapped: TapEntry[];
  /** Gossip frames that it got. */
  readonly heard: GossipFrame[] = [];
  /** What it says in gossip, to whom. */
  announcements: (to: EndpointId) => readonly Announcement[] = () => [this.own()];
  handlers: {
    http?: RawHandler;
    relay?: RawHandler;
    relayed?: RawHandler;
    record?: RawHandler;
    challenge?: RawHandler;
    evidence?: RawHandler;
  } = {};
  /** Streams that were opened to it, by ALPN and type. */
  readonly opened: string[] = [];
  #seq = BigInt(Date.now());

  static async start(network: TransportKind, options: RawPeerOptions = {}): Promise<RawPeer> {
    const identity = identityFrom(options.seed ?? newIdentitySeed());
    const tapped: TapEntry[] = [];
    const transport = tapTransport(
      await network.start({ secretKey: identity.seed, alpns, bind: options.bind ?? "127.0.0.1:0" }),
      (entry) => tapped.push({ ...entry, bytes: entry.bytes.slice() }),
    );
    const peer = new RawPeer(identity, transport, tapped, options);
    running.push(peer);
    void peer.#accept();
    return peer;
  }

  private constructor(identity: Identity, transport: Transport, tapped: TapEntry[], options: RawPeerOptions) {
    this.identity = identity;
    this.transport = transport;
    this.tapped = tapped;
    this.kind = options.kind ?? "sealing";
    this.role = options.role ?? "worker";
    this.models = options.models ?? [];
  }

  get id(): EndpointId {
    return this.identity.id;
  }

  get invite(): string {
    return encodeInvite(this.transport.address());
  }

  async close(): Promise<void> {
    await this.transport.close();
  }

  // ---- what it says

  /** A record of its own that holds now; each one has a higher number than the last. */
  record(change: Partial<Omit<RecordFields, "endpointId">> = {}): VerifiedRecord {
    const now = Date.now();
    this.#seq += 1n;
    return signRecord(this.identity, {
      seq: this.#seq,
      issuedAtMs: now,
      notAfterMs: now + 3_600_000,
      inferenceKey: this.key.publicKey,
      keyNotAfterMs: now + 3_600_000,
      capabilities: ["seal.v1", relayCapability],
      role: this.role,
      models: this.models.map((name) => ({ name, context: 4096, busy: false, queue: 0, kinds: [] })),
      ...(this.credential ? { credential: this.credential } : {}),
      ...change,
    });
  }

  /** Its own entry, as its kind has it. */
  own(change: Partial<Announcement> = {}): Announcement {
    return {
      id: this.id,
      role: this.role,
      httpPort: 9337,
      version: announcedVersion,
      hostname: undefined,
      models: this.models,
      runtimes: this.models.map((name) => ({ name, contextLength: 4096, ready: true })),
      address: this.transport.address(),
      meshId: undefined,
      inferenceKey: this.kind === "old" ? undefined : toBase64(this.key.publicKey),
      ownership: undefined,
      posture: [],
      evidence: undefined,
      record: this.kind === "sealing" ? this.record(nameOf(change)).bytes : undefined,
      ...change,
    };
  }

  /** The newest entry that it has heard from `id` about itself. */
  entryOf(id: EndpointId): Announcement {
    const own = this.heard.filter(({ sender }) => sender === id).flatMap(({ announcements }) => announcements);
    const found = own.filter((entry) => entry.id === id).at(-1);
    if (!found) throw new Error("nothing heard from this node yet");
    return found;
  }

  /** Does its own gossip exchange with a node, over a connection of its own. */
  async meet(target: TestNode | RawPeer | EndpointAddress): Promise<Connection> {
    const connection = await this.dial(target, "mesh-llm/1");
    await this.gossip(connection);
    return connection;
  }

  async dial(target: TestNode | RawPeer | EndpointAddress, alpn: Alpn): Promise<Connection> {
    const connection = await this.transport.dial(addressOf(target), { alpn, timeoutMs: 2_000 });
    void this.#serve(connection);
    return connection;
  }

  /** Sends its entries, or `entries`, and takes the answer. */
  async gossip(connection: Connection, entries = this.announcements(connection.peer)): Promise<GossipFrame> {
    const stream = await openWith(
      connection,
      Uint8Array.of(meshStreams.gossip),
      encodeFrame(encodeGossip({ sender: this.id, announcements: entries })),
    );
    await stream.finish();
    const frame = decodeGossip(await new StreamReader(stream).frame(limits.controlFrameBytes), connection.peer);
    this.heard.push(frame);
    return frame;
  }

  // ---- what it gets

  /** All bytes that came in on streams, per stream, as one piece each. */
  get incoming(): readonly Uint8Array[] {
    const streams = new Map<string, Uint8Array[]>();
    for (const { connection, alpn, stream, direction, bytes } of this.tapped) {
      if (direction !== "in") continue;
      const name = `${connection} ${alpn} ${stream}`;
      streams.set(name, [...(streams.get(name) ?? []), bytes]);
    }
    return [...streams.values()].map(concat);
  }

  /** Whether `words` stand in what it got: as UTF-8, UTF-16, hex, or base64 at any offset. */
  couldRead(words: string): boolean {
    const forms = [words, words.replaceAll(/(?!^)/g, "\0"), toHex(utf8(words)), ...base64Forms(words)];
    return this.incoming.some((bytes) => {
      const text = latin1(bytes);
      return forms.some((form) => text.includes(form));
    });
  }

  async #accept(): Promise<void> {
    for await (const connection of this.transport.incoming()) void this.#serve(connection);
  }

  async #serve(connection: Connection): Promise<void> {
    for await (const stream of connection.streams()) {
      this.#serveStream(connection, stream).catch(() => stream.abort());
    }
  }

  async #serveStream(connection: Connection, stream: ByteStream): Promise<void> {
    const reader = new StreamReader(stream);
    const type = await reader.byte();
    if (type === undefined) return await stream.finish(); // it was asked whether it lives
    this.opened.push(`${connection.alpn} ${type}`);
    const { http, relay, relayed, record, challenge, evidence } = this.handlers;
    if (connection.alpn === "mesh-llm/1") {
      if (type === meshStreams.gossip) return await this.#answerGossip(connection, stream, reader);
      if (type === meshStreams.http && http) return await http(stream, reader, connection.peer);
      if (type === meshStreams.peerLeaving) return await stream.finish();
    } else {
      if (type === sealStreams.relay && relay) return await relay(stream, reader, connection.peer);
      if (type === sealStreams.relayed && relayed) return await relayed(stream, reader, connection.peer);
      if (type === sealStreams.challenge && challenge) return await challenge(stream, reader, connection.peer);
      if (type === sealStreams.evidence && evidence) return await evidence(stream, reader, connection.peer);
      if (type === sealStreams.record) return await (record ?? this.#answerRecord)(stream, reader, connection.peer);
    }
    stream.abort();
  }

  async #answerGossip(connection: Connection, stream: ByteStream, reader: StreamReader): Promise<void> {
    this.heard.push(decodeGossip(await reader.frame(limits.controlFrameBytes), connection.peer));
    const announcements = this.announcements(connection.peer);
    await stream.write(encodeFrame(encodeGossip({ sender: this.id, announcements })));
    await stream.finish();
  }

  readonly #answerRecord: RawHandler = async (stream, reader) => {
    const wanted = decodeRecordRequest(await reader.frame(limits.relayFrameBytes)) ?? this.id;
    const found = wanted === this.id ? this.#ownRecord() : this.entryOf(wanted).record;
    await stream.write(encodeFrame(encodeRecordReply(found ? [found] : [])));
    await stream.finish();
  };

  /** What it says in gossip stands in its answers too. */
  #ownRecord(): Uint8Array | undefined {
    return this.announcements(this.id).find(({ id }) => id === this.id)?.record;
  }
}

/** What stands in an entry for people stands in the record too. */
function nameOf({ hostname }: Partial<Announcement>): Partial<RecordFields> {
  return hostname === undefined ? {} : { name: hostname };
}

function base64Forms(words: string): string[] {
  return [0, 1, 2].map((shift) => {
    const text = toBase64(concat([new Uint8Array(shift), utf8(words)]));
    return text.slice(shift === 0 ? 0 : 4, Math.floor((shift + words.length) / 3) * 4);
  });
}

function addressOf(target: TestNode | RawPeer | EndpointAddress): EndpointAddress {
  if (target instanceof RawPeer) return target.transport.address();
  return "apiUrl" in target ? decodeInvite(target.invite()).address : target;
}

/** A stream with bytes written at once. */
export async function openWith(connection: Connection, ...bytes: readonly Uint8Array[]): Promise<ByteStream> {
  const stream = await connection.open();
  await stream.write(concat(bytes));
  return stream;
}

// ---- asking by hand

export interface RawRequest {
  readonly method?: string;
  readonly path?: string;
  readonly body?: string;
  /** @default Date.now() */
  readonly timeMs?: number;
  /** Members of the head that differ from the truth; "none" leaves the head out, as a reference asker does. */
  readonly head?: Partial<SealedHead> | "none";
  /** Signs the head, or something else in its place; through a relay only. @default the asker's key on a relayed one */
  readonly sign?: (head: SealedHead, signed: Uint8Array) => Uint8Array | undefined;
  readonly headers?: readonly (readonly [string, string])[];
  /** 24 bytes. @default marked as wire.md §4 wants it */
  readonly nonce?: Uint8Array;
  /** Replaces the whole plaintext. */
  readonly plaintext?: Uint8Array;
  /** Clear `model` of the envelope. @default "" */
  readonly clearModel?: string;
}

export interface SealedAsk {
  readonly seal: AskerSeal;
  readonly hostKey: Uint8Array;
  /** 0xE1 | JSON */
  readonly bytes: Uint8Array;
  readonly nonce: Uint8Array;
  readonly ephemeralKey: Uint8Array;
}

/** An envelope for `to`, sealed to `hostKey`, with a head that is right unless `request` says otherwise. */
export function sealAsk(
  from: Identity,
  to: EndpointId,
  hostKey: Uint8Array,
  request: RawRequest = {},
  relayed = false,
): SealedAsk {
  const nonce = request.nonce ?? markedNonce();
  const seal = new AskerSeal(hostKey, { nonce });
  const { method = "POST", path = "/v1/chat/completions" } = request;
  const body = utf8(request.body ?? JSON.stringify({ model: "scripted", messages: [{ role: "user", content: "hi" }] }));
  const headers: (readonly [string, string])[] = [
    ["content-type", "application/json"],
    ...(request.headers ?? []),
    ...headFields(from, to, seal.ephemeralKey, { method, path, body }, request, relayed),
  ];
  const plaintext = request.plaintext ?? encodeRequest({ method, path, headers, body });
  const envelope = seal.sealRequest(plaintext);
  const json = encodeRequestEnvelope(envelope, request.clearModel);
  const bytes = concat([Uint8Array.of(envelopeByte), json]);
  return { seal, hostKey, bytes, nonce, ephemeralKey: seal.ephemeralKey };
}

function headFields(
  from: Identity,
  to: EndpointId,
  ephemeralKey: Uint8Array,
  line: { method: string; path: string; body: Uint8Array },
  request: RawRequest,
  relayed: boolean,
): [string, string][] {
  if (request.head === "none") return [];
  const head: SealedHead = {
    version: 1,
    id: new Uint8Array(randomBytes(16)),
    timeMs: request.timeMs ?? Date.now(),
    to,
    from: from.id,
    signature: undefined,
    ...request.head,
  };
  const sign = request.sign ?? ((_head, signed) => (relayed ? from.sign(signed) : undefined));
  return sealedHeadFields({ ...head, signature: sign(head, headSigningBytes({ ...head, ephemeralKey, ...line })) });
}

export function markedNonce(): Uint8Array {
  const nonce = new Uint8Array(randomBytes(24));
  nonce[23] = (nonce[23] ?? 0) | 0x80;
  return nonce;
}

/** Sends envelope bytes on a stream 0x04 of its own connection. */
export async function sendDirect(connection: Connection, bytes: Uint8Array): Promise<StreamReader> {
  const stream = await openWith(connection, Uint8Array.of(meshStreams.http), bytes);
  await stream.finish();
  return new StreamReader(stream);
}

/** Sends envelope bytes on a stream `relayed`, as a relay does. */
export async function sendRelayed(connection: Connection, bytes: Uint8Array, hops = 1): Promise<StreamReader> {
  const frame = encodeFrame(encodeRelayedOpen({ hops }));
  const stream = await openWith(connection, Uint8Array.of(sealStreams.relayed), frame, bytes);
  await stream.finish();
  return new StreamReader(stream);
}

/** Asks a relay for a stream to `target`. @returns the code, and the stream for what follows */
export async function openRelay(
  connection: Connection,
  target: EndpointId,
  hops = 0,
): Promise<{ code: number; stream: ByteStream; reader: StreamReader }> {
  const frame = encodeFrame(encodeRelayOpen({ target, hops }));
  const stream = await openWith(connection, Uint8Array.of(sealStreams.relay), frame);
  const reader = new StreamReader(stream);
  const code = decodeRelayReply(await reader.frame(limits.relayFrameBytes));
  return { code, stream, reader };
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** Opens and reads the sealed answer, strictly. */
export async function readAnswer(reader: StreamReader, asked: SealedAsk): Promise<RawAnswer> {
  const opener = asked.seal.openResponse("indexed");
  const source = openedResponse(reader, { hostKey: asked.hostKey, opener, silenceMs: 4_000 }, () => undefined);
  const { status, headers, body } = await readResponse(source);
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return { status, headers, text: fromUtf8(concat(parts)) };
}

// ---- answering by hand

export interface RawExchange {
  readonly opened: OpenedRequest;
  readonly request: HttpRequest;
  readonly head: SealedHead | undefined;
  readonly seal: HostSeal;
  readonly ephemeralKey: Uint8Array;
}

/** Reads and opens the envelope that comes on a stream, 0xE1 first. @throws E_OPEN it is not for one of `keys` */
export async function openAsk(reader: StreamReader, ...keys: readonly KeyPair[]): Promise<RawExchange> {
  if ((await reader.byte()) !== envelopeByte) throw new Error("no envelope came");
  const envelope = decodeRequestEnvelope(await reader.readAll(limits.envelopeBytes, "the request"));
  const opened = openRequest(
    envelope,
    keys.map((key) => ({ ...key, createdMs: 0, notAfterMs: Number.MAX_SAFE_INTEGER })),
  );
  const request = await readRequest(bytesSource(opened.plaintext));
  const head = readSealedHead(new Map(request.headers));
  return { opened, request, head, seal: opened.seal, ephemeralKey: envelope.ephemeralKey };
}

/** 0xE1 | key */
export function answerHeader(exchange: RawExchange): Uint8Array {
  return encodeResponseHeader(exchange.seal.hostKey);
}

/** A whole chat completion as HTTP bytes. */
export function chatResponse(content: string, more: Readonly<Record<string, string>> = {}): Uint8Array {
  const message = { role: "assistant", content };
  const choices = [{ index: 0, message, finish_reason: "stop" }];
  const body = { id: "chatcmpl-1", object: "chat.completion", created: 0, model: "scripted", choices };
  return encodeResponse(200, { "content-type": "application/json", ...more }, utf8(JSON.stringify(body)));
}

/** Answers a whole response in the order and with the end that a sealing host gives it. */
export async function answerSealed(stream: ByteStream, exchange: RawExchange, response: Uint8Array): Promise<void> {
  const { seal } = exchange;
  await stream.write(
    concat([
      answerHeader(exchange),
      seal.sealChunk(response, false),
      seal.sealChunk(new Uint8Array(0), true),
      endMarker,
    ]),
  );
  await stream.finish();
}

// ---- relaying by hand

/** The parts of a sealed response on their way: header, framed chunks, end marker. */
export type ResponseParts = AsyncGenerator<Uint8Array, void, undefined>;

export interface RawRelayOptions {
  /** What the asker gets in place of the host's answer. @default all of it */
  readonly change?: ((parts: ResponseParts, asker: ByteStream) => AsyncIterable<Uint8Array>) | undefined;
  /** What the host gets in place of the asker's envelope. */
  readonly changeRequest?: (bytes: Uint8Array) => Uint8Array;
  /** Each envelope that passes, as sent. */
  readonly onEnvelope?: (bytes: Uint8Array) => void;
}

/** Serves relay streams like a relay, but for what `options` change. `host` gives the connection to use at the time. */
export function relayHandler(host: () => Promise<Connection>, options: RawRelayOptions = {}): RawHandler {
  const { change = (parts: ResponseParts): ResponseParts => parts, changeRequest = (bytes: Uint8Array) => bytes } =
    options;
  return async (asker, reader) => {
    decodeRelayOpen(await reader.frame(limits.relayFrameBytes));
    await asker.write(encodeFrame(encodeRelayReply(relayCodes.ok)));
    const envelope = await reader.readAll(limits.envelopeBytes, "the envelope");
    options.onEnvelope?.(envelope);
    const answer = await sendRelayed(await host(), changeRequest(envelope));
    for await (const bytes of change(responseParts(answer), asker)) await asker.write(bytes);
    await asker.finish();
  };
}

/** Splits a response at its visible borders; ends early, without error, where the stream does. */
export async function* responseParts(reader: StreamReader): ResponseParts {
  yield encodeResponseHeader(await readResponseHeader(reader));
  for (;;) {
    const box = await readChunk(reader);
    if (box === "end") break;
    yield encodeFrame(box);
  }
  yield endMarker;
}

// ---- a mesh under attack

export interface AttackedMesh {
  readonly network: MemoryNetwork;
  start(mode: Mode, flags?: Flags, parts?: TestParts): Promise<TestNode>;
  raw(options?: RawPeerOptions): Promise<RawPeer>;
}

export function attackedMesh(): AttackedMesh {
  const network = testNetwork();
  const mesh = testMesh();
  return {
    network,
    start: (mode, flags = {}, parts = {}) => mesh.start(mode, flags, network, parts),
    raw: (options = {}) => RawPeer.start(network, options),
  };
}

export interface RelayedMesh {
  readonly host: TestNode;
  readonly relay: RawPeer;
  readonly client: TestNode;
  /** How the relay treats what passes; change it at any time. */
  readonly relayOptions: { -readonly [Name in keyof RawRelayOptions]: RawRelayOptions[Name] };
}

/** A real host and a real client that know each other through a relay of the attacker's. */
export async function relayedMesh(mesh: AttackedMesh, engineUrl: string): Promise<RelayedMesh> {
  const host = await mesh.start("serve", { engine: [engineUrl] });
  const relay = await mesh.raw();
  await relay.meet(host);
  const toHost = await relay.dial(host, "sealmesh/1");
  relay.announcements = (to) =>
    to === host.endpointId ? [relay.own()] : [relay.entryOf(host.endpointId), relay.own()];
  const relayOptions: RelayedMesh["relayOptions"] = {};
  relay.handlers.relay = (stream, reader, from) =>
    relayHandler(() => Promise.resolve(toHost), relayOptions)(stream, reader, from);
  const client = await mesh.start("client", { join: [relay.invite], route: "relay" });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { host, relay, client, relayOptions };
}

// ---- a caller of the client

/** Words that must not be readable by anybody but the host. */
export const secret = "the otter keeps its gold under the weir";

export function prompt(more: object = {}): object {
  return { model: "scripted", messages: [{ role: "user", content: secret }], ...more };
}

export interface Called {
  readonly status: number;
  readonly headers: Headers;
  /** As far as it came. */
  readonly text: string;
  /** Whether the body ended as HTTP says. */
  readonly whole: boolean;
  /** `error.code` of an OpenAI error object, in a body or in the last event. */
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly content: string | undefined;
}

/** One request to a node's own API, read to the end, however it ends. */
export async function call(node: TestNode, body: object = prompt(), path = "/v1/chat/completions"): Promise<Called> {
  const answer = await fetch(`${node.apiUrl}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const decoder = new TextDecoder();
  let text = "";
  let whole = true;
  try {
    for await (const piece of answer.body ?? []) text += decoder.decode(piece as Uint8Array, { stream: true });
  } catch {
    whole = false;
  }
  const said = objectsIn(text);
  const error = said.map((value) => value.error).find((found) => found !== undefined);
  const content = said.at(0)?.choices?.[0]?.message?.content;
  return {
    status: answer.status,
    headers: answer.headers,
    text,
    whole,
    code: error?.code,
    message: error?.message,
    content,
  };
}

interface Said {
  readonly error?: { readonly code: string; readonly message: string };
  readonly choices?: readonly { readonly message?: { readonly content?: string } }[];
}

function objectsIn(text: string): Said[] {
  const pieces = text.split("\n").map((line) => line.replace(/^data: /, ""));
  return [text, ...pieces].flatMap((piece) => {
    try {
      const value: unknown = JSON.parse(piece);
      return typeof value === "object" && value !== null ? [value as Said] : [];
    } catch {
      return [];
    }
  });
}

/** Inference requests that an engine has got. */
export function asked(engine: ScriptedEngine): readonly SeenRequest[] {
  return engine.requests.filter(({ inference }) => inference);
}

/** Codes of the exchanges that a host has refused, in order. */
export function refusals(host: TestNode): readonly string[] {
  return host.events.flatMap((event) => (event.event === "exchange-refused" ? [event.code] : []));
}

/** A client that met one raw host of the model "scripted". */
export async function clientOf(mesh: AttackedMesh, hosts: readonly RawPeer[], flags: Flags = {}): Promise<TestNode> {
  const client = await mesh.start("client", { join: hosts.map(({ invite }) => invite), ...flags });
  await eventually("the client has met all hosts", () => client.status().peers.length >= hosts.length);
  return client;
}

/** What the exchanges of a client's own callers came to: code, or "answered". */
export function outcomes(client: TestNode): readonly string[] {
  return client.events.flatMap((event) => (event.event === "exchange-asked" ? [event.code ?? "answered"] : []));
}

/**
 * The mesh's transport: QUIC by endpoint id, through @number0/iroh, which is loaded when a node starts and known to
 * this file only. The binding's ways end here too: bytes as number[] are converted once at the edge, its many-line
 * errors become our sentences, and it is never asked for what would block a stream (`stopped`, `receivedReset`) or
 * wait for an iroh relay (`online`).
 */
import { randomBytes } from "node:crypto";
import { isIPv4 } from "node:net";
import type * as Iroh from "@number0/iroh";
import { type EndpointId, endpointIdFromBytes, shortId } from "../base/brand.ts";
import { fromHex, fromUtf8, utf8 } from "../base/bytes.ts";
import { abortError, sleep, unlessAborted, withDeadline } from "../base/deadline.ts";
import { isMeshError, MeshError, toMeshError } from "../base/errors.ts";
import { requirePackage } from "../base/package.ts";
import { Aborter } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import type { EndpointAddress } from "../wire/address.ts";
import {
  bidirectionalStreamId,
  decodeAbortNotice,
  decodeInstanceNotice,
  encodeAbortNotice,
  encodeInstanceNotice,
} from "./datagrams.ts";
import { ConnectionLife, peerAborted } from "./connection-life.ts";
import type { DuplexStream, StreamHalves } from "./duplex-stream.ts";
import { type Gate, gate, type Queue, queue } from "./queue.ts";
import { parseSocketAddress } from "./socket-address.ts";
import {
  type Alpn,
  alpns,
  closeCodes,
  type CloseReason,
  type Connection,
  type DialOptions,
  type Path,
  type Transport,
  type TransportKind,
  type TransportOptions,
} from "./transport.ts";

const defaultBind = "0.0.0.0:0";
/** protocol.md §1.3. */
const maxIncomingStreams = 1024;
/** Bytes asked for in one read; the binding's cost per byte is high, larger reads only stall the event loop. */
const readBytes = 64 * 1024;
/** Handshakes that run at once, plus finished ones that nobody took from incoming() yet. */
const maxHandshakes = 64;
/** A peer that dialed has this long for its handshake. */
const handshakeMs = 10_000;
/** A peer that allows no further stream has this long to free one. */
const openMs = 10_000;
/** What a peer wrote before it aborted has so long to come, ms. */
const overtakenMs = 10;
/** How long it is waited for the peer's instance notice before ours is said again, ms. */
const introduceMs = [300, 1_000, 3_000];
/** iroh says goodbye to its peers at once, then waits for their word and for abandoned dials: up to 3 s, too long. */
const closeMs = 1_000;

export const irohTransport: TransportKind = {
  kind: "iroh",
  async start(options) {
    const iroh = loadIroh();
    return new IrohTransport(iroh, await bindEndpoint(iroh, options), options);
  },
};

function loadIroh(): typeof Iroh {
  try {
    return requirePackage("@number0/iroh/index.js"); // its package.json names a main file that is not there
  } catch (cause) {
    const platform = `${process.platform}-${process.arch}`;
    throw new MeshError("E_CONFIG", `the iroh library has no binary for ${platform} here`, { cause });
  }
}

async function bindEndpoint(iroh: typeof Iroh, options: TransportOptions): Promise<Iroh.Endpoint> {
  const bind = options.bind ?? defaultBind;
  const builder = iroh.Endpoint.builder();
  iroh.presetMinimal(builder);
  builder.secretKey(Array.from(options.secretKey));
  builder.alpns(options.alpns.map(alpnBytes));
  builder.relayMode(relayMode(iroh, options.irohRelays ?? "none"));
  for (const socket of sockets(bind)) builder.bindAddr(socket);
  try {
    return await builder.bind();
  } catch (cause) {
    throw bindError(bind, cause);
  }
}

function relayMode(iroh: typeof Iroh, relays: NonNullable<TransportOptions["irohRelays"]>): Iroh.RelayMode {
  if (relays === "default") return iroh.RelayMode.defaultMode();
  if (relays === "none" || relays.length === 0) return iroh.RelayMode.disabled();
  try {
    return iroh.RelayMode.customFromUrls([...relays]);
  } catch (cause) {
    throw new MeshError("E_CONFIG", `not every iroh relay is a URL: ${relays.join(", ")}`, { cause });
  }
}

/**
 * One address given leaves the other family at its default, which is open to the world. So it is given as well: on
 * loopback, where it harms nobody.
 */
function sockets(bind: string): string[] {
  const host = parseSocketAddress(bind)?.host;
  if (host === undefined) throw new MeshError("E_CONFIG", `"${bind}" is not a socket address such as 0.0.0.0:0`);
  if (host === "0.0.0.0" || host === "::") return [bind];
  return [bind, isIPv4(host) ? "[::1]:0" : "127.0.0.1:0"];
}

/** EADDRINUSE on Linux, macOS and Windows; the number is all that the binding tells of the system's error. */
const portInUse = /\(os error (?:98|48|10048)\)/;

function bindError(bind: string, cause: unknown): MeshError {
  if (portInUse.test(toMeshError(cause).message)) {
    return new MeshError("E_PORT", `another program uses UDP ${bind}`, { cause });
  }
  return new MeshError("E_CONFIG", `this machine cannot use ${bind}`, { cause });
}

class IrohTransport implements Transport {
  readonly kind = "iroh";
  readonly id: EndpointId;
  readonly instance: string = randomBytes(8).toString("hex");
  readonly #iroh: typeof Iroh;
  readonly #endpoint: Iroh.Endpoint;
  readonly #usesRelays: boolean;
  readonly #bindHost: string;
  readonly #advertised: readonly string[];
  readonly #connections = new Set<IrohConnection>();
  readonly #incoming: Queue<IrohConnection> = queue();
  readonly #handshakes: Gate = gate(maxHandshakes);
  readonly #closing = new Aborter();
  #closed: Promise<void> | undefined;
  #serial = 0;

  constructor(iroh: typeof Iroh, endpoint: Iroh.Endpoint, options: TransportOptions) {
    this.#iroh = iroh;
    this.#endpoint = endpoint;
    this.#usesRelays = (options.irohRelays ?? "none") !== "none";
    this.#bindHost = parseSocketAddress(options.bind ?? defaultBind)?.host ?? "";
    this.#advertised = options.advertise ?? [];
    this.id = idOf(endpoint.id());
    void this.#accept();
  }

  address(): EndpointAddress {
    const address = this.#endpoint.addr();
    const relay = address.relayUrl();
    const relays = relay === null ? [] : [relay];
    if (this.#advertised.length > 0) return { id: this.id, relays, direct: this.#advertised };
    const direct = address.directAddresses().filter((socket) => this.#mayBeTold(socket));
    return { id: this.id, relays, direct: direct.length > 0 ? direct : this.#loopback() };
  }

  async dial(target: EndpointAddress, options: DialOptions): Promise<Connection> {
    const { alpn, timeoutMs, signal } = options;
    this.#closing.throwIfAborted();
    if (signal?.aborted) throw abortError(signal);
    const usable = this.#usableAddresses(target);
    const what = `reaching ${shortId(target.id)} at ${listed(usable)}`;
    const attempt = this.#endpoint.connect(this.#destination(usable), alpnBytes(alpn));
    try {
      const work = unlessAborted(attempt, this.#closing);
      const native = await withDeadline(work, { what, ms: timeoutMs, code: "E_UNREACHABLE", signal });
      return this.#keep(native, alpn, true);
    } catch (thrown) {
      attempt.then(leave, () => undefined);
      if (isMeshError(thrown)) throw thrown;
      const why = `it is not that node, or does not speak ${alpn}`;
      throw new MeshError("E_UNREACHABLE", `${what} failed: ${why}`, { cause: thrown });
    }
  }

  async *incoming(): AsyncGenerator<Connection, void> {
    for await (const connection of this.#incoming.values()) {
      this.#handshakes.leave();
      yield connection;
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown();
    return this.#closed;
  }

  async #shutDown(): Promise<void> {
    this.#closing.abort(new MeshError("E_CLOSED", "this transport is closed"));
    this.#incoming.end();
    for (const connection of this.#connections) connection.close(closeCodes.leaving);
    // what iroh has not finished by then ends with the process
    await withDeadline(this.#endpoint.close(), { what: "closing", ms: closeMs }).catch(() => undefined);
  }

  /** What of a peer's address this endpoint can try. @throws E_UNREACHABLE nothing, or it is ourselves */
  #usableAddresses({ id, direct, relays }: EndpointAddress): EndpointAddress {
    if (id === this.id) throw new MeshError("E_UNREACHABLE", "a node cannot dial itself");
    const usable = {
      id,
      direct: direct.filter((socket) => (parseSocketAddress(socket)?.port ?? 0) > 0),
      relays: this.#usesRelays ? relays.filter((url) => URL.canParse(url)) : [],
    };
    if (usable.direct.length + usable.relays.length > 0) return usable;
    throw new MeshError("E_UNREACHABLE", `no usable address of ${shortId(id)} is known`);
  }

  /** The binding holds one relay. @throws E_UNREACHABLE the id is no point of the curve */
  #destination({ id, direct, relays }: EndpointAddress): Iroh.EndpointAddr {
    try {
      const key = this.#iroh.EndpointId.fromBytes(Array.from(fromHex(id)));
      return new this.#iroh.EndpointAddr(key, relays[0], [...direct]);
    } catch (cause) {
      throw new MeshError("E_UNREACHABLE", `${shortId(id)} is not a valid key, or has an invalid relay`, { cause });
    }
  }

  /** Accepts until the endpoint is closed; a slow or failing handshake holds up nobody else. */
  async #accept(): Promise<void> {
    for (;;) {
      await this.#handshakes.enter();
      const attempt = await this.#endpoint.acceptNext().catch(() => null);
      if (attempt === null) return;
      void this.#shakeHands(attempt);
    }
  }

  /** Leaves the gate itself when it fails; otherwise incoming() does, when the connection is taken. */
  async #shakeHands(attempt: Iroh.Incoming): Promise<void> {
    const work = handshake(attempt);
    try {
      const native = await withDeadline(work, { what: "a peer's handshake", ms: handshakeMs });
      this.#incoming.push(this.#keep(native, alpnOf(native), false));
    } catch {
      work.then(leave, () => undefined);
      this.#handshakes.leave();
    }
  }

  /** @throws E_CLOSED the transport was closed meanwhile */
  #keep(native: Iroh.Connection, alpn: Alpn, dialed: boolean): IrohConnection {
    this.#closing.throwIfAborted();
    this.#serial += 1;
    const connection = new IrohConnection(native, { alpn, dialed, serial: this.#serial, instance: this.instance });
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
    return connection;
  }

  /** The other family's loopback socket is ours alone: see {@link sockets}. */
  #mayBeTold(socket: string): boolean {
    if (this.#bindHost === "0.0.0.0" || this.#bindHost === "::") return true;
    return isIPv4(parseSocketAddress(socket)?.host ?? "") === isIPv4(this.#bindHost);
  }

  /** For a socket on 0.0.0.0 while no network interface is up. */
  #loopback(): string[] {
    return this.#endpoint
      .boundSockets()
      .map(parseSocketAddress)
      .flatMap((socket) => (socket?.host === "0.0.0.0" ? [`127.0.0.1:${socket.port}`] : []));
  }
}

class IrohConnection implements Connection {
  readonly peer: EndpointId;
  readonly alpn: Alpn;
  readonly dialed: boolean;
  readonly serial: number;
  readonly #native: Iroh.Connection;
  readonly #life = new ConnectionLife();
  /**
   * Numbers that the peer's next stream and ours will have: QUIC counts streams as they are opened, and hands them over in that
   * order. To ask the binding for each would take as long as a write.
   */
  #nextIncoming = 0;
  #nextOutgoing = 0;
  /** The stream that is being opened: one at a time, or their order would not be known. */
  #opening: Promise<unknown> = Promise.resolve();
  /** Abort notices that overtook their stream: stream id to code. */
  readonly #early = new Map<number, number>();

  readonly #instance: string;
  #peerInstance: string | undefined;

  constructor(native: Iroh.Connection, about: Pick<Connection, "alpn" | "dialed" | "serial"> & { instance: string }) {
    this.#native = native;
    this.peer = idOf(native.remoteId());
    this.alpn = about.alpn;
    this.dialed = about.dialed;
    this.serial = about.serial;
    native.setMaxConcurrentBiStreams(BigInt(maxIncomingStreams));
    this.#instance = about.instance;
    void this.#watchEnd();
    void this.#watchNotices();
    void this.#introduce();
  }

  get peerInstance(): string | undefined {
    return this.#peerInstance;
  }

  get closed(): Promise<CloseReason> {
    return this.#life.closed;
  }

  async open(): Promise<ByteStream> {
    const opening = this.#opening.then(() => this.#orLost(this.#native.openBi()));
    const numbered = opening.then((native) => ({ native, number: this.#nextOutgoing++ }));
    this.#opening = numbered.catch(() => undefined);
    const { native, number } = await withDeadline(numbered, {
      what: "the peer's leave for another stream",
      ms: openMs,
    });
    return this.#adopt(bidirectionalStreamId(this.dialed ? "dialer" : "acceptor", number), native);
  }

  async *streams(): AsyncGenerator<ByteStream, void> {
    for (;;) {
      const stream = await this.#nextStream().catch(() => undefined);
      if (stream === undefined) return;
      yield stream;
    }
  }

  close(code: number = closeCodes.normal): void {
    if (this.#life.ended.aborted) return;
    this.#native.close(BigInt(code), []);
    this.#life.end({ code, by: "us" });
  }

  rttMs(): number | undefined {
    return this.#path()?.rttMs;
  }

  path(): Path | undefined {
    const path = this.#path();
    if (!path) return undefined;
    return path.isRelay ? { kind: "iroh-relay", remote: undefined } : { kind: "quic", remote: path.remoteAddr };
  }

  #path(): Iroh.PathSnapshot | undefined {
    if (this.#life.ended.aborted) return undefined;
    // for a moment, and sometimes for longer, a connection that works has paths and none that is selected
    const paths = this.#native.paths();
    return paths.find((path) => path.isSelected) ?? paths[0];
  }

  /** Not accepted before somebody asks: what waits is bounded by QUIC's own stream limit. */
  async #nextStream(): Promise<ByteStream> {
    const native = await this.#orLost(this.#native.acceptBi());
    const id = bidirectionalStreamId(this.dialed ? "acceptor" : "dialer", this.#nextIncoming);
    this.#nextIncoming += 1;
    const stream = this.#adopt(id, native);
    const code = this.#early.get(id);
    if (code !== undefined) void stream.end(peerAborted(code), code);
    this.#early.delete(id);
    return stream;
  }

  #adopt(id: number, native: Iroh.BiStream): DuplexStream {
    return this.#life.adopt(id, halves(native), (code) => this.#notify(id, code));
  }

  /** Datagrams may be lost: a few times, until the peer has said its own. */
  async #introduce(): Promise<void> {
    for (const ms of introduceMs) {
      this.#send(encodeInstanceNotice(this.#instance));
      await sleep(ms, this.#life.ended).catch(() => undefined);
      if (this.#peerInstance !== undefined || this.#life.ended.aborted) return;
    }
  }

  #notify(streamId: number, code: number): void {
    this.#send(encodeAbortNotice({ streamId, code }));
  }

  #send(datagram: Uint8Array): void {
    try {
      this.#native.sendDatagram(Array.from(datagram));
    } catch {
      // the connection is gone, or the peer takes no datagrams: QUIC's own frames must do
    }
  }

  async #watchEnd(): Promise<void> {
    this.#life.end(closeReason(await this.#native.closed().catch(() => "")));
  }

  async #watchNotices(): Promise<void> {
    while (!this.#life.ended.aborted) {
      const datagram = await this.#native.readDatagram().catch(() => undefined);
      if (datagram === undefined) return;
      const bytes = Uint8Array.from(datagram);
      const notice = decodeAbortNotice(bytes);
      if (notice !== undefined) this.#heed(notice.streamId, notice.code);
      const instance = decodeInstanceNotice(bytes);
      if (instance === undefined) continue;
      // who says it again has not heard ours
      if (this.#peerInstance !== undefined) this.#send(encodeInstanceNotice(this.#instance));
      this.#peerInstance ??= instance;
    }
  }

  #heed(id: number, code: number): void {
    const stream = this.#life.stream(id);
    // a datagram overtakes what was written before the abort: a relay's reason, an error under the seal
    if (stream !== undefined) setTimeout(() => void stream.end(peerAborted(code), code), overtakenMs);
    else if (this.#mayStillCome(id)) this.#early.set(id, code);
  }

  /** Whether the peer may have opened this stream although we have not accepted it; true for at most 1024 ids. */
  #mayStillCome(id: number): boolean {
    const next = bidirectionalStreamId(this.dialed ? "acceptor" : "dialer", this.#nextIncoming);
    const ahead = (id - next) / 4;
    return Number.isInteger(ahead) && ahead >= 0 && ahead < maxIncomingStreams;
  }

  /** @throws E_LOST as soon as the connection has ended, or because of what the binding says */
  async #orLost<T>(work: Promise<T>): Promise<T> {
    try {
      return await unlessAborted(work, this.#life.ended);
    } catch (thrown) {
      throw isMeshError(thrown) ? thrown : new MeshError("E_LOST", "the connection was lost", { cause: thrown });
    }
  }
}

/** Takes each handle once: the getters make new ones, and a handle that is collected ends its half. */
function halves({ send, recv }: Iroh.BiStream): StreamHalves {
  return {
    read: async () => {
      const bytes = await translated(recv.read(readBytes));
      return bytes.length === 0 ? undefined : Uint8Array.from(bytes);
    },
    write: (bytes) => translated(send.writeAll(numbers(bytes))),
    finish: () => translated(send.finish()),
    reset: (code) => translated(send.reset(BigInt(code))),
    stop: (code) => translated(recv.stop(BigInt(code))),
  };
}

/** As the binding wants them. A loop over an array of the right length takes a sixth of the time of Array.from. */
function numbers(bytes: Uint8Array): number[] {
  // oxlint-disable-next-line unicorn/no-new-array -- a length, not an element
  const out = new Array<number>(bytes.length);
  for (let index = 0; index < bytes.length; index += 1) out[index] = bytes[index] ?? 0;
  return out;
}

/** The binding names what ended a half in its error's text only: "Reset(3)", "Stopped(0)", "ConnectionLost(...)". */
async function translated<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const [, how, code] = /^(Reset|Stopped)\((\d+)\)/.exec(toMeshError(cause).message) ?? [];
    if (how === "Reset") throw peerAborted(Number(code));
    if (how === "Stopped") throw new MeshError("E_ABORTED", `the peer reads no further (code ${code})`, { cause });
    throw new MeshError("E_LOST", "the connection was lost", { cause });
  }
}

/** From "closed by peer: REASON (code 42)" or, without a reason, "closed by peer: 42". The peer chooses REASON. */
function closeReason(text: string): CloseReason {
  const [, afterReason, alone] = /^closed by peer: (?:.*\(code (\d+)\)|(\d+))$/s.exec(text) ?? [];
  const code = afterReason ?? alone;
  return code === undefined ? { code: undefined, by: "network" } : { code: Number(code), by: "peer" };
}

function idOf(id: Iroh.EndpointId): EndpointId {
  return endpointIdFromBytes(Uint8Array.from(id.toBytes()));
}

function alpnBytes(alpn: Alpn): number[] {
  return Array.from(utf8(alpn));
}

/** @throws E_WIRE never for a peer of ours: QUIC agrees only on what we offered */
function alpnOf(native: Iroh.Connection): Alpn {
  const name = fromUtf8(Uint8Array.from(native.alpn()));
  const alpn = alpns.find((known) => known === name);
  if (alpn === undefined) throw new MeshError("E_WIRE", "the peer speaks an unknown protocol");
  return alpn;
}

async function handshake(attempt: Iroh.Incoming): Promise<Iroh.Connection> {
  const accepting = await attempt.accept();
  return accepting.connect();
}

/** For a connection that nobody waits for any more. */
function leave(native: Iroh.Connection): void {
  native.close(BigInt(closeCodes.normal), []);
}

/** Addresses for a message, the first few. */
function listed({ direct, relays }: EndpointAddress): string {
  const all = [...direct, ...relays];
  const more = all.length > 3 ? ` and ${all.length - 3} more` : "";
  return all.slice(0, 3).join(", ") + more;
}

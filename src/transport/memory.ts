/**
 * A network inside one process: for tests and the demo of parts, never between machines. It keeps what upper layers
 * rely on (identity by key, ALPN, bounded windows, aborts and closes that arrive after the call) and has no time-outs
 * and no loss. Addresses look like loopback sockets; nothing is bound.
 */
import { type EndpointId, shortId } from "../base/brand.ts";
import { abortError } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import type { ByteStream } from "../base/stream.ts";
import { identityFrom } from "../crypto/identity.ts";
import type { EndpointAddress } from "../wire/address.ts";
import { bidirectionalStreamId } from "./datagrams.ts";
import { ConnectionLife, peerAborted } from "./connection-life.ts";
import type { DuplexStream, StreamHalves } from "./duplex-stream.ts";
import { type Queue, queue } from "./queue.ts";
import { parseSocketAddress } from "./socket-address.ts";
import {
  type Alpn,
  closeCodes,
  type CloseReason,
  type Connection,
  type DialOptions,
  type Path,
  type Transport,
  type TransportKind,
  type TransportOptions,
} from "./transport.ts";

export interface MemoryNetworkOptions {
  /** How much each direction of a stream takes before its writer waits for the reader. @default 262144 */
  readonly windowBytes?: number;
}

/** Ports that the network picks start here. */
const firstPort = 10_000;

/** A network of which a test can take away single ways. */
export interface MemoryNetwork extends TransportKind {
  /** From now on these two cannot reach each other: their connections are lost, and dials fail. */
  block(a: EndpointId, b: EndpointId): void;
  unblock(a: EndpointId, b: EndpointId): void;
}

/** What the transports of one network share. */
interface Network {
  readonly windowBytes: number;
  /** Keyed by "127.0.0.1:port". */
  readonly sockets: Map<string, MemoryTransport>;
  /** Pairs that cannot reach each other, see pairOf(). */
  readonly blocked: Set<string>;
}

function pairOf(a: EndpointId, b: EndpointId): string {
  return [a, b].toSorted().join(" ");
}

/** A new network; the transports started on it reach each other and nobody else. */
export function memoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  const network: Network = { windowBytes: options.windowBytes ?? 256 * 1024, sockets: new Map(), blocked: new Set() };
  return {
    kind: "memory",
    start: async (wanted) => new MemoryTransport(network, wanted),
    block: (a, b) => {
      network.blocked.add(pairOf(a, b));
      for (const transport of network.sockets.values()) {
        if (transport.id === a) transport.lose(b);
        if (transport.id === b) transport.lose(a);
      }
    },
    unblock: (a, b) => void network.blocked.delete(pairOf(a, b)),
  };
}

class MemoryTransport implements Transport {
  readonly kind = "memory";
  readonly id: EndpointId;
  readonly alpns: readonly Alpn[];
  readonly #network: Network;
  readonly #socket: string;
  readonly #connections = new Set<MemoryConnection>();
  readonly #incoming: Queue<Connection> = queue();
  #serial = 0;
  #closed = false;

  constructor(network: Network, options: TransportOptions) {
    this.id = identityFrom(options.secretKey).id;
    this.alpns = options.alpns;
    this.#network = network;
    this.#socket = bindSocket(network, options.bind ?? "0.0.0.0:0");
    network.sockets.set(this.#socket, this);
  }

  address(): EndpointAddress {
    return { id: this.id, relays: [], direct: [this.#socket] };
  }

  async dial(target: EndpointAddress, { alpn, signal }: DialOptions): Promise<Connection> {
    if (this.#closed) throw new MeshError("E_CLOSED", "this transport is closed");
    if (signal?.aborted) throw abortError(signal);
    const far = this.#find(target, alpn);
    const [near, twin] = MemoryConnection.pair(
      { alpn, peer: far.id, dialed: true, serial: this.#nextSerial() },
      { alpn, peer: this.id, dialed: false, serial: far.#nextSerial() },
      this.#network.windowBytes,
    );
    this.#keep(near);
    far.#keep(twin);
    far.#incoming.push(twin);
    return near;
  }

  incoming(): AsyncIterable<Connection> {
    return this.#incoming.values();
  }

  /** Ends the connections to a peer as a network does that carries nothing to it any more. */
  lose(peer: EndpointId): void {
    for (const connection of this.#connections) if (connection.peer === peer) connection.lose();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#network.sockets.delete(this.#socket);
    this.#incoming.end();
    for (const connection of this.#connections) connection.close(closeCodes.leaving);
  }

  #find(target: EndpointAddress, alpn: Alpn): MemoryTransport {
    const who = shortId(target.id);
    if (target.id === this.id) throw new MeshError("E_UNREACHABLE", "a node cannot dial itself");
    const far = target.direct
      .map((socket) => this.#network.sockets.get(socket))
      .find((found) => found?.id === target.id);
    if (far === undefined || this.#network.blocked.has(pairOf(this.id, target.id)))
      throw new MeshError("E_UNREACHABLE", `${who} is at none of its addresses`);
    if (!far.alpns.includes(alpn)) throw new MeshError("E_UNREACHABLE", `${who} does not speak ${alpn}`);
    return far;
  }

  #keep(connection: MemoryConnection): void {
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }

  #nextSerial(): number {
    this.#serial += 1;
    return this.#serial;
  }
}

type MemoryConnectionOptions = Pick<Connection, "peer" | "alpn" | "dialed" | "serial">;

class MemoryConnection implements Connection {
  readonly peer: EndpointId;
  readonly alpn: Alpn;
  readonly dialed: boolean;
  readonly serial: number;
  readonly #windowBytes: number;
  readonly #life = new ConnectionLife();
  readonly #streams: Queue<ByteStream> = queue();
  /** The same connection as the peer has it. */
  #twin: MemoryConnection = this;
  #opened = 0;

  /** Both ends of a new connection. */
  static pair(
    near: MemoryConnectionOptions,
    far: MemoryConnectionOptions,
    windowBytes: number,
  ): [MemoryConnection, MemoryConnection] {
    const ends: [MemoryConnection, MemoryConnection] = [
      new MemoryConnection(near, windowBytes),
      new MemoryConnection(far, windowBytes),
    ];
    ends[0].#twin = ends[1];
    ends[1].#twin = ends[0];
    return ends;
  }

  private constructor(options: MemoryConnectionOptions, windowBytes: number) {
    this.peer = options.peer;
    this.alpn = options.alpn;
    this.dialed = options.dialed;
    this.serial = options.serial;
    this.#windowBytes = windowBytes;
  }

  get closed(): Promise<CloseReason> {
    return this.#life.closed;
  }

  async open(): Promise<ByteStream> {
    const twin = this.#twin;
    const there = pipe(this.#windowBytes);
    const back = pipe(this.#windowBytes);
    const id = bidirectionalStreamId(this.dialed ? "dialer" : "acceptor", this.#opened);
    this.#opened += 1;
    let far: DuplexStream | undefined;
    const announce = (): void => {
      far ??= twin.#accept(id, halves(back, there), (code) => abortLater(near, code));
    };
    const near = this.#life.adopt(id, halves(there, back, announce), (code) => abortLater(far, code));
    return near;
  }

  streams(): AsyncIterable<ByteStream> {
    return this.#streams.values();
  }

  close(code: number = closeCodes.normal): void {
    if (this.#life.ended.aborted) return;
    this.#end({ code, by: "us" });
    queueMicrotask(() => this.#twin.#end({ code, by: "peer" }));
  }

  /** Our end alone: the peer's is told by its own transport. */
  lose(): void {
    if (!this.#life.ended.aborted) this.#end({ code: undefined, by: "network" });
  }

  rttMs(): number | undefined {
    return 0;
  }

  path(): Path {
    return { kind: "memory", remote: undefined };
  }

  #accept(id: number, ours: StreamHalves, notify: (code: number) => void): DuplexStream {
    const stream = this.#life.adopt(id, ours, notify);
    this.#streams.push(stream);
    return stream;
  }

  #end(reason: CloseReason): void {
    this.#life.end(reason);
    this.#streams.end();
  }
}

/** The peer learns of an abort after the call that made it, as on a real network. */
function abortLater(stream: DuplexStream | undefined, code: number): void {
  queueMicrotask(() => void stream?.end(peerAborted(code), code));
}

/** One direction of a stream: bytes taken from the writer that the reader has not fetched yet. */
interface Pipe {
  write(bytes: Uint8Array): Promise<void>;
  finish(): void;
  read(): Promise<Uint8Array | undefined>;
}

function pipe(windowBytes: number): Pipe {
  const chunks: Uint8Array[] = [];
  let held = 0;
  let finished = false;
  let wakeReader = (): void => undefined;
  let wakeWriter = (): void => undefined;
  return {
    async write(bytes) {
      for (let offset = 0; offset < bytes.length;) {
        if (held >= windowBytes) await new Promise<void>((resolve) => (wakeWriter = resolve));
        const chunk = bytes.slice(offset, offset + windowBytes - held);
        chunks.push(chunk);
        held += chunk.length;
        offset += chunk.length;
        wakeReader();
      }
    },
    finish() {
      finished = true;
      wakeReader();
    },
    async read() {
      while (chunks.length === 0 && !finished) await new Promise<void>((resolve) => (wakeReader = resolve));
      const chunk = chunks.shift();
      held -= chunk?.length ?? 0;
      wakeWriter();
      return chunk;
    },
  };
}

/** One side's view of two pipes. @param announce lets the peer see the stream; called with everything we send */
function halves(outbound: Pipe, inbound: Pipe, announce: () => void = () => undefined): StreamHalves {
  return {
    read: () => inbound.read(),
    write: async (bytes) => {
      announce();
      await outbound.write(bytes);
    },
    finish: async () => {
      announce();
      outbound.finish();
    },
    // nothing to free: the notice ends the peer's side, and nobody touches the pipes after that
    reset: async () => undefined,
    stop: async () => undefined,
  };
}

/** Picks the address that a transport with this bind option gets. */
function bindSocket(network: Network, bind: string): string {
  const wanted = parseSocketAddress(bind);
  if (wanted === undefined) throw new MeshError("E_CONFIG", `"${bind}" is not a socket address such as 0.0.0.0:0`);
  let port = wanted.port === 0 ? firstPort : wanted.port;
  if (wanted.port === 0) while (network.sockets.has(socketAt(port))) port += 1;
  if (network.sockets.has(socketAt(port))) throw new MeshError("E_PORT", `${bind} is in use by another node`);
  return socketAt(port);
}

function socketAt(port: number): string {
  return `127.0.0.1:${port}`;
}

/**
 * The connections of a node: one to open streams on per peer and ALPN, all live ones served. Knows no gossip; what a
 * stream means, and what the end of a connection means, is for mesh.ts.
 *
 * @see protocol.md §1.4
 */
import { type EndpointId, shortId } from "../base/brand.ts";
import { withDeadline } from "../base/deadline.ts";
import { toMeshError } from "../base/errors.ts";
import type { Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import { type Alpn, alpns, type CloseReason, type Connection, type Transport } from "../transport/transport.ts";
import { dialable, type EndpointAddress } from "../wire/address.ts";

export interface ConnectionsOptions {
  readonly transport: Transport;
  /** Ends dials that nobody waits for any more. */
  readonly stopping: Signal;
  /** A peer opened a stream; settles by itself and does not throw. */
  readonly onStream: (connection: Connection, stream: ByteStream) => Promise<void>;
  /** The last connection of its ALPN to a peer has ended. */
  readonly onEnd: (connection: Connection, reason: CloseReason) => void;
}

/** Live connections of one ALPN to a peer, beyond which the oldest is closed: two that dial each other at once have two. */
const perPeer = 16;

/** How long a peer may take to answer on a connection that it seems to have given up, ms. */
const probeMs = 2_000;

export class Connections {
  readonly #options: ConnectionsOptions;
  /** The live ones per peer and ALPN, oldest first. The newest is in use; when it ends before them, the one before it. */
  readonly #live = new Map<string, readonly Connection[]>();
  /** Connections being made, so that two askers share one dial. */
  readonly #dials = new Map<string, Promise<Connection>>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Serves what peers dial, until the transport is closed. */
  async accept(): Promise<void> {
    for await (const connection of this.#options.transport.incoming()) this.#serve(connection);
  }

  /** The one in use. */
  live(peer: EndpointId, alpn: Alpn): Connection | undefined {
    return this.#live.get(keyOf(peer, alpn))?.at(-1);
  }

  /** All live ones to a peer, also those not in use. */
  of(peer: EndpointId): readonly Connection[] {
    return alpns.flatMap((alpn) => this.#live.get(keyOf(peer, alpn)) ?? []);
  }

  /** Those in use, one for each peer. */
  all(alpn: Alpn): readonly Connection[] {
    return [...this.#live.values()].flatMap((those) => those.at(-1) ?? []).filter((one) => one.alpn === alpn);
  }

  /** The live connection to a peer, or a new one. @throws E_UNREACHABLE · E_ABORTED */
  connect(address: EndpointAddress, alpn: Alpn, ms: number, signal?: Signal): Promise<Connection> {
    const live = this.live(address.id, alpn);
    if (live) return Promise.resolve(live);
    const key = keyOf(address.id, alpn);
    const dialing = this.#dials.get(key) ?? this.#dial(address, alpn, ms);
    this.#dials.set(key, dialing);
    const forget = (): unknown => this.#dials.get(key) === dialing && this.#dials.delete(key);
    dialing.then(forget, forget);
    // the dial may be another asker's, with more patience
    const what = `the connection to ${shortId(address.id)}`;
    return withDeadline(dialing, { what, ms: ms + 100, code: "E_UNREACHABLE", signal });
  }

  async #dial(address: EndpointAddress, alpn: Alpn, ms: number): Promise<Connection> {
    const { transport, stopping } = this.#options;
    const connection = await transport.dial(dialable(address), { alpn, timeoutMs: ms, signal: stopping });
    this.#serve(connection);
    return connection;
  }

  #serve(connection: Connection): void {
    const { peer, alpn } = connection;
    const key = keyOf(peer, alpn);
    const inUse = alpns.flatMap((one) => this.live(peer, one) ?? []);
    // a peer that is still connected has no reason to dial again, unless both dialed at once, or it was restarted
    const again = !connection.dialed && this.#live.has(key);
    const older = this.#live.get(key) ?? [];
    this.#live.set(key, [...older, connection]);
    if (older.length >= perPeer) older[0]?.close();
    if (again) for (const old of inUse) void closeUnlessAlive(old);
    void this.#serveStreams(connection);
    void connection.closed.then((reason) => this.#ended(connection, reason));
  }

  #ended(connection: Connection, reason: CloseReason): void {
    const key = keyOf(connection.peer, connection.alpn);
    const wasInUse = this.#live.get(key)?.at(-1) === connection;
    const left = (this.#live.get(key) ?? []).filter((other) => other !== connection);
    if (left.length > 0) this.#live.set(key, left);
    else this.#live.delete(key);
    const next = left.at(-1);
    if (!next) this.#options.onEnd(connection, reason);
    // the peer may use it still, and would not dial again; or what ended the other has ended it too, without a word
    else if (wasInUse) void closeUnlessAlive(next);
  }

  async #serveStreams(connection: Connection): Promise<void> {
    // each on its own: a stream that never sends its type byte holds up no other
    for await (const stream of connection.streams()) void this.#options.onStream(connection, stream);
  }
}

/**
 * Closes a connection whose peer has gone without a word. QUIC itself notices only after its idle time, and iroh sends
 * everything to where that peer was, new dials too, as long as one of its old connections is kept.
 */
async function closeUnlessAlive(connection: Connection): Promise<void> {
  try {
    await withDeadline(probe(connection), { what: "a sign of life", ms: probeMs });
  } catch (thrown) {
    // a peer that refuses the stream lives
    if (toMeshError(thrown).code === "E_TIMEOUT") connection.close();
  }
}

/** A stream without bytes, which every node answers with its end (protocol.md §2). */
async function probe(connection: Connection): Promise<void> {
  const stream = await connection.open();
  await stream.finish();
  await stream.read();
}

function keyOf(peer: EndpointId, alpn: Alpn): string {
  return `${alpn} ${peer}`;
}

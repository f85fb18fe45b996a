/**
 * The mesh as a running thing: performs what mesh/membership.ts decides, gossips, keeps records, and opens the streams
 * that exchanges need. It carries no prompt and knows no sealing.
 *
 * @see protocol.md §2, §3 · wire.md §2, §3
 */
import { type EndpointId, shortId } from "../base/brand.ts";
import { equal } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { sleep, unlessAborted, withDeadline } from "../base/deadline.ts";
import { isMeshError, MeshError, toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ByteStream } from "../base/stream.ts";
import { type VerifiedRecord, verifyRecord } from "../crypto/record.ts";
import type { KeyStanding } from "../policy/decide.ts";
import {
  abortCodes,
  alpns,
  closeCodes,
  type CloseReason,
  type Connection,
  type Transport,
} from "../transport/transport.ts";
import { settle } from "../tunnel/lifetime.ts";
import type { EndpointAddress } from "../wire/address.ts";
import { encodeFrame, StreamReader } from "../wire/frame.ts";
import {
  decodeGossip,
  decodePeerLeaving,
  decodeRouteRequest,
  encodeGossip,
  encodePeerLeaving,
  encodeRouteTable,
  type GossipFrame,
} from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import { decodeRecordReply, decodeRecordRequest, encodeRecordReply, encodeRecordRequest } from "../wire/relay.ts";
import { meshStreams, sealStreams } from "../wire/stream-types.ts";
import { Connections } from "./connections.ts";
import { claimOf, ownEntry, relayedEntry, type SelfDescription, takesPosture } from "./entries.ts";
import {
  emptyMembership,
  keyStanding,
  type Membership,
  type MembershipAction,
  type MembershipEvent,
  type Peer,
  type Shown,
  step,
} from "./membership.ts";

/** A stream that is not the mesh's own business, type byte taken. */
export type StreamHandler = (stream: ByteStream, reader: StreamReader, from: EndpointId) => Promise<void>;

export interface MeshOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Log;
  readonly describe: () => SelfDescription;
  /** Keys seen in earlier sessions, and where to keep new ones. */
  readonly shown: ReadonlyMap<EndpointId, Shown>;
  readonly onShown: (shown: ReadonlyMap<EndpointId, Shown>) => void;
  /** Called after peers or their models changed. */
  readonly onChange: () => void;
  /**
   * Given the build lists that a peer passes on in its own entry. @returns whether one was taken over, and is to be told on
   * @default they are not looked at
   */
  readonly onBuildLists?: (lists: readonly Uint8Array[], from: EndpointId) => boolean;
  readonly handlers: {
    /** 0x04 on mesh-llm/1 from a peer that we met. */
    readonly http: StreamHandler;
    /** sealmesh/1 relay, from a peer that we met; absent = not offered. */
    readonly relay?: StreamHandler;
    /** sealmesh/1 relayed, from a peer that we met. */
    readonly relayed: StreamHandler;
    /** sealmesh/1 challenge and evidence, from a peer that we met; absent = not offered. */
    readonly challenge?: StreamHandler;
    readonly evidence?: StreamHandler;
  };
  /** Whether peers that others name are dialed. With route "relay" a client reaches hosts through relays alone. @default true */
  readonly meetMentioned?: boolean;
  readonly timing?: Partial<MeshTiming>;
}

export interface MeshTiming {
  readonly heartbeatMs: number;
  readonly dialMs: number;
  readonly gossipMs: number;
  readonly typeByteMs: number;
  /** Waits between attempts to reach a lost peer; after the last it counts as lost. */
  readonly redialMs: readonly number[];
  /** Waits before looking after a node that we joined by: the first while it is connected, the others as it stays away. */
  readonly joinRetryMs: readonly number[];
  /** Changes within this time are told once. */
  readonly announceAfterMs: number;
}

const meshTiming: MeshTiming = {
  heartbeatMs: 60_000,
  dialMs: 10_000,
  gossipMs: 10_000,
  typeByteMs: 10_000,
  redialMs: [500, 2_000, 8_000],
  joinRetryMs: [2_000, 5_000, 15_000, 60_000],
  announceAfterMs: 100,
};

/** Peers gossiped with in one heartbeat (protocol.md §3.5). */
const heartbeatPeers = 5;
/** How often silent peers are looked for, ms. */
const membershipTickMs = 30_000;

export class Mesh {
  readonly #options: MeshOptions;
  readonly #timing: MeshTiming;
  #state: Membership;
  readonly #connections: Connections;
  /** mesh-llm/1 connections on which a gossip exchange was completed. */
  readonly #greeted = new WeakSet<Connection>();
  /** mesh-llm/1 connections whose peer understands field 37. */
  readonly #takingPosture = new WeakSet<Connection>();
  /** Build lists that were told on a connection: they are kilobytes, and gossip goes out every other second. */
  readonly #listsTold = new WeakMap<Connection, readonly Uint8Array[]>();
  readonly #stopping = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  #announcing: NodeJS.Timeout | undefined;
  /** Who told us the only news there is to tell. */
  #newsFrom: EndpointId | undefined;

  constructor(options: MeshOptions) {
    this.#options = options;
    this.#timing = { ...meshTiming, ...options.timing };
    this.#state = emptyMembership(options.transport.id, options.shown);
    this.#connections = new Connections({
      transport: options.transport,
      stopping: this.#stopping.signal,
      onStream: (connection, stream) =>
        this.#serveStream(connection, stream).catch((thrown: unknown) => stream.abort(codeForPeer(thrown))),
      onEnd: (connection, reason) => this.#ended(connection, reason),
    });
  }

  start(): void {
    void this.#connections.accept();
    this.#every(this.#timing.heartbeatMs, () => this.#heartbeat());
    this.#every(Math.min(membershipTickMs, this.#timing.heartbeatMs), () => this.#apply({ kind: "tick" }));
  }

  get peers(): readonly Peer[] {
    return [...this.#state.peers.values()];
  }

  peer(id: EndpointId): Peer | undefined {
    return this.#state.peers.get(id);
  }

  keyStanding(id: EndpointId): KeyStanding {
    return keyStanding(this.#state, id, this.#options.clock.now());
  }

  rttMs(id: EndpointId): number | undefined {
    return this.#connections.live(id, "mesh-llm/1")?.rttMs();
  }

  isConnected(id: EndpointId): boolean {
    return this.#connections.live(id, "mesh-llm/1") !== undefined;
  }

  /**
   * Meets the node that an invite names.
   * @throws E_UNREACHABLE · E_WIRE it does not speak the protocol
   */
  async join(address: EndpointAddress, signal?: AbortSignal): Promise<void> {
    await this.#meet(address, signal);
  }

  /**
   * Stays joined, in the background, until the mesh is closed: whenever there is no connection to the node that an invite
   * names, it is dialed again, later each time. This is how a member comes back after its peers were away.
   */
  keepJoined(address: EndpointAddress): void {
    const { joinRetryMs } = this.#timing;
    const waitAfter = (failures: number): number => joinRetryMs[Math.min(failures, joinRetryMs.length - 1)] ?? 1_000;
    const stay = async (): Promise<void> => {
      for (let failures = 0; ;) {
        await sleep(waitAfter(failures), this.#stopping.signal);
        try {
          if (!this.isConnected(address.id)) await this.#meet(address, this.#stopping.signal);
          failures = 0;
        } catch (thrown) {
          if (failures === 0) this.#logJoinFailure(address.id, thrown); // the rest of a series says nothing new
          failures += 1;
        }
      }
    };
    stay().catch(() => undefined); // ends by close() only
  }

  /** Tells everybody connected what has changed, soon and once; a single teller need not hear its own news. */
  announce(newsFrom?: EndpointId): void {
    if (this.#stopping.signal.aborted) return;
    if (this.#announcing) {
      if (newsFrom !== this.#newsFrom) this.#newsFrom = undefined;
      return;
    }
    this.#newsFrom = newsFrom;
    this.#announcing = this.#later(this.#timing.announceAfterMs, () => {
      this.#announcing = undefined;
      for (const connection of this.#connections.all("mesh-llm/1")) {
        if (connection.peer !== this.#newsFrom) this.#gossipSoon(connection);
      }
    });
  }

  /**
   * A stream for one HTTP exchange with a host, type byte written, on a connection where gossip was exchanged.
   * @throws E_UNREACHABLE, E_LOST, E_ABORTED
   */
  async openTunnel(host: EndpointId, options: { dialMs: number; signal: AbortSignal }): Promise<ByteStream> {
    const connection = await this.#greetedConnection(host, options.dialMs, options.signal);
    const stream = await openUnlessAborted(connection, options.signal);
    await this.#say(stream, Uint8Array.of(meshStreams.http), options.dialMs, options.signal);
    return stream;
  }

  /** A stream on sealmesh/1 to a peer that we met; the caller writes the type byte. @throws as openTunnel */
  async openSeal(peer: EndpointId, options: { dialMs: number; signal: AbortSignal }): Promise<ByteStream> {
    await this.#greetedConnection(peer, options.dialMs, options.signal);
    const connection = await this.#connections.connect(
      this.#addressOf(peer),
      "sealmesh/1",
      options.dialMs,
      options.signal,
    );
    return await openUnlessAborted(connection, options.signal);
  }

  /** Does our own gossip exchange with a peer unless a live connection has seen one. @throws as openTunnel */
  async ensureMet(peer: EndpointId, options: { dialMs: number; signal: AbortSignal }): Promise<void> {
    await this.#greetedConnection(peer, options.dialMs, options.signal);
  }

  /** Forgets that a peer ever showed a key. */
  forget(id: EndpointId): void {
    this.#apply({ kind: "forget", id });
  }

  /** Finds out, in the background, whether a peer that kept silent still lives; if not, its connection is given up. */
  probe(id: EndpointId): void {
    const connection = this.#connections.live(id, "mesh-llm/1");
    if (connection) this.#gossipSoon(connection);
  }

  /**
   * Fetches a peer's record anew, from itself or from a relay that knows it, and takes it over if it is newer.
   * @throws as openTunnel
   */
  async refreshRecord(
    owner: EndpointId,
    from: EndpointId,
    options: { dialMs: number; signal: AbortSignal },
  ): Promise<void> {
    const stream = await this.openSeal(from, options);
    try {
      const request = encodeFrame(encodeRecordRequest(owner === from ? undefined : owner));
      await this.#say(stream, Uint8Array.of(sealStreams.record, ...request), options.dialMs, options.signal);
      await stream.finish();
      const reader = new StreamReader(stream);
      const frame = await this.#frame(reader, "the record", limits.recordReplyBytes, options.signal);
      for (const bytes of decodeRecordReply(frame)) {
        const record = this.#verify(bytes, owner);
        if (record) this.#apply({ kind: "record", record, owner: owner === from });
      }
    } finally {
      stream.abort(abortCodes.cancelled);
    }
  }

  /** Tells the peers that we leave, then closes every connection and the transport. */
  async close(): Promise<void> {
    this.#stopping.abort(new MeshError("E_CLOSED", "the node is stopping"));
    for (const timer of this.#timers) clearTimeout(timer);
    const frame = encodeFrame(encodePeerLeaving(this.#options.transport.id));
    const goodbyes = this.#connections.all("mesh-llm/1").map((connection) => sayGoodbye(connection, frame));
    if (goodbyes.length > 0) {
      await withDeadline(Promise.allSettled(goodbyes), { what: "leaving", ms: 500 }).catch(() => undefined);
    }
    await this.#options.transport.close();
  }

  // ---- connections

  #ended(connection: Connection, reason: CloseReason): void {
    if (connection.alpn !== "mesh-llm/1" || this.#stopping.signal.aborted) return;
    const left = reason.by === "peer" && reason.code === closeCodes.leaving;
    if (left) this.#apply({ kind: "left", id: connection.peer });
    else void this.#reviveOrLose(connection.peer);
    this.#options.onChange();
  }

  async #serveStream(connection: Connection, stream: ByteStream): Promise<void> {
    const reader = new StreamReader(stream);
    const type = await withDeadline(reader.byte(), { what: "a stream's type byte", ms: this.#timing.typeByteMs });
    if (type === undefined) return await stream.finish(); // a probe
    const from = connection.peer;
    if (connection.alpn === "mesh-llm/1") {
      if (type === meshStreams.gossip) return await this.#answerGossip(connection, stream, reader);
      if (type === meshStreams.routes) return await this.#answerRoutes(stream, reader);
      this.#requireMet(from);
      if (type === meshStreams.http) return await this.#options.handlers.http(stream, reader, from);
      if (type === meshStreams.peerLeaving) return await this.#takeLeaving(stream, reader, from);
    } else {
      this.#requireMet(from);
      if (type === sealStreams.record) return await this.#answerRecord(stream, reader);
      if (type === sealStreams.relayed) return await this.#options.handlers.relayed(stream, reader, from);
      const { relay, challenge, evidence } = this.#options.handlers;
      if (type === sealStreams.relay && relay) return await relay(stream, reader, from);
      if (type === sealStreams.challenge && challenge) return await challenge(stream, reader, from);
      if (type === sealStreams.evidence && evidence) return await evidence(stream, reader, from);
    }
    throw new MeshError("E_WIRE", `stream type ${type} is not served here`);
  }

  /** Nothing but gossip before gossip: being named by a third node admits nobody (protocol.md §2, §11 E2). */
  #requireMet(id: EndpointId): void {
    if (!this.peer(id)?.met) throw new MeshError("E_REFUSED", "no gossip exchange has been completed with this peer");
  }

  #addressOf(id: EndpointId): EndpointAddress {
    return this.peer(id)?.address ?? { id, relays: [], direct: [] };
  }

  /** @throws as openTunnel */
  #greetedConnection(id: EndpointId, dialMs: number, signal: AbortSignal): Promise<Connection> {
    return this.#meet(this.#addressOf(id), signal, dialMs);
  }

  /** A connection on which gossip was exchanged: the live one, or a new one, greeted first. */
  async #meet(address: EndpointAddress, signal?: AbortSignal, dialMs = this.#timing.dialMs): Promise<Connection> {
    const connection = await this.#connections.connect(address, "mesh-llm/1", dialMs, signal);
    if (this.#greeted.has(connection)) return connection;
    await this.#gossip(connection, signal);
    // the other connection comes from the same side: a node that was restarted gets through to us at once, while iroh
    // here goes on sending to where that node was, for as long as we try
    if (connection.dialed && this.peer(connection.peer)?.record) {
      this.#connections.connect(address, "sealmesh/1", dialMs).catch(() => undefined);
    }
    return connection;
  }

  /** A connection ended that nobody closed on purpose: try a few times, then count the peer as lost. */
  async #reviveOrLose(id: EndpointId): Promise<void> {
    for (const wait of this.#timing.redialMs) {
      try {
        await sleep(wait, this.#stopping.signal);
        const peer = this.peer(id);
        if (!peer || this.isConnected(id)) return;
        if (!peer.met || !this.#mayMeet(peer)) break;
        await this.#meet(this.#addressOf(id), this.#stopping.signal);
        return;
      } catch {
        if (this.#stopping.signal.aborted) return;
      }
    }
    this.#apply({ kind: "lost", id });
  }

  // ---- gossip

  async #gossip(connection: Connection, signal?: AbortSignal): Promise<void> {
    const stream = await connection.open();
    try {
      await this.#say(stream, Uint8Array.of(meshStreams.gossip), this.#timing.gossipMs, signal);
      const { frame, buildLists } = this.#frameFor(connection);
      await this.#say(stream, frame, this.#timing.gossipMs, signal);
      await stream.finish();
      const reader = new StreamReader(stream);
      const what = `the gossip of ${shortId(connection.peer)}`;
      const reply = await this.#frame(reader, what, limits.controlFrameBytes, signal);
      this.#listsTold.set(connection, buildLists);
      this.#take(decodeGossip(reply, connection.peer), connection);
      settle(stream, reader);
    } catch (thrown) {
      stream.abort(codeForPeer(thrown));
      throw thrown;
    }
  }

  async #answerGossip(connection: Connection, stream: ByteStream, reader: StreamReader): Promise<void> {
    // refused before it is answered, answered before it is taken (protocol.md §3.1)
    const frame = decodeGossip(await this.#frame(reader, "a gossip frame"), connection.peer);
    this.#noteKind(frame, connection);
    const answer = this.#frameFor(connection);
    await this.#answerWith(stream, reader, answer.frame);
    this.#listsTold.set(connection, answer.buildLists);
    this.#take(frame, connection);
  }

  /** By the newest that the peer says of itself on this connection. */
  #noteKind(frame: GossipFrame, connection: Connection): void {
    if (takesPosture(frame)) this.#takingPosture.add(connection);
    else this.#takingPosture.delete(connection);
  }

  #take(frame: GossipFrame, connection: Connection): void {
    this.#greeted.add(connection);
    this.#noteKind(frame, connection);
    const claims = frame.announcements.map((entry) => {
      const foreign = entry.id !== this.#state.self;
      const record = entry.record && foreign ? this.#verify(entry.record, entry.id) : undefined;
      // what is said of others is not shown, and a frame could hold thousands
      const posture = entry.id === connection.peer ? entry.posture : [];
      return claimOf({ ...entry, posture }, record, this.#options.clock.now());
    });
    this.#apply({ kind: "gossip", from: connection.peer, claims });
    const { buildLists = [] } = frame.announcements.findLast(({ id }) => id === connection.peer) ?? {};
    if (buildLists.length > 0 && this.#options.onBuildLists?.(buildLists, connection.peer)) {
      this.announce(connection.peer);
      this.#options.onChange();
    }
  }

  /** A record that holds, or undefined: a bad one in an entry costs the record, not the frame. */
  #verify(bytes: Uint8Array, owner: EndpointId): VerifiedRecord | undefined {
    const known = this.peer(owner)?.record;
    if (known && equal(known.bytes, bytes)) return known; // verified when it came first
    try {
      return verifyRecord(bytes, owner, this.#options.clock.now());
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      this.#options.log.write("warn", { event: "peer-refused", peer: owner, code, what: message });
      return undefined;
    }
  }

  /** u32 LE length | GossipFrame: peers that we met, our own entry last; and the build lists that are told by then. */
  #frameFor(connection: Connection): { readonly frame: Uint8Array; readonly buildLists: readonly Uint8Array[] } {
    const self = this.#options.describe();
    const { buildLists = [] } = self;
    const told = this.#listsTold.get(connection) ?? [];
    const areNews = buildLists.some((list) => !told.includes(list));
    const own = ownEntry({
      id: this.#state.self,
      self: { ...self, buildLists: areNews ? buildLists : [] },
      address: this.#options.transport.address(),
      withPosture: this.#takingPosture.has(connection),
    });
    const others = this.peers.filter((peer) => peer.met && this.isConnected(peer.id)).map(relayedEntry);
    return { frame: encodeFrame(encodeGossip({ sender: own.id, announcements: [...others, own] })), buildLists };
  }

  #heartbeat(): void {
    const live = this.#connections.all("mesh-llm/1");
    const chosen = live.length <= heartbeatPeers ? live : pickRandom(live, heartbeatPeers);
    for (const connection of chosen) this.#gossipSoon(connection);
  }

  #gossipSoon(connection: Connection): void {
    this.#gossip(connection).catch((thrown: unknown) => {
      // a process that hangs or has vanished: QUIC alone would take half a minute to notice
      if (toMeshError(thrown).code !== "E_TIMEOUT") return;
      const replaced = this.#connections.live(connection.peer, "mesh-llm/1") !== connection;
      connection.close(closeCodes.normal);
      if (replaced) return; // the peer is back, and its new connections are none of this
      for (const alpn of alpns) this.#connections.live(connection.peer, alpn)?.close(closeCodes.normal);
    });
  }

  // ---- other mesh streams

  async #answerRoutes(stream: ByteStream, reader: StreamReader): Promise<void> {
    decodeRouteRequest(await this.#frame(reader, "a route request"));
    const self = this.#options.describe();
    const own = self.models.map((model) => ({ id: this.#state.self, model }));
    const others = this.peers.flatMap((peer) => (peer.met ? peer.models.map((model) => ({ id: peer.id, model })) : []));
    const table = encodeRouteTable({ entries: [...own, ...others], meshId: undefined });
    await this.#answerWith(stream, reader, encodeFrame(table));
  }

  async #takeLeaving(stream: ByteStream, reader: StreamReader, from: EndpointId): Promise<void> {
    decodePeerLeaving(await this.#frame(reader, "a goodbye"), from);
    await stream.finish();
    settle(stream, reader);
    this.#apply({ kind: "left", id: from });
  }

  async #answerRecord(stream: ByteStream, reader: StreamReader): Promise<void> {
    const wanted = decodeRecordRequest(await this.#frame(reader, "a record request", limits.relayFrameBytes));
    const own = wanted === undefined || wanted === this.#state.self;
    const record = own ? this.#options.describe().record : this.peer(wanted)?.record;
    await this.#answerWith(stream, reader, encodeFrame(encodeRecordReply(record ? [record.bytes] : [])));
  }

  /** Writes a reply, with which all has been said on the stream. @throws E_TIMEOUT */
  async #answerWith(stream: ByteStream, reader: StreamReader, framed: Uint8Array): Promise<void> {
    await this.#say(stream, framed, this.#timing.gossipMs);
    await stream.finish();
    settle(stream, reader);
  }

  /** Writes; a stream whose peer does not take it is aborted, or it would be held for ever. @throws E_TIMEOUT · E_ABORTED */
  async #say(stream: ByteStream, bytes: Uint8Array, ms: number, signal?: AbortSignal): Promise<void> {
    try {
      await withDeadline(stream.write(bytes), { what: "the peer's taking what is sent", ms, signal });
    } catch (thrown) {
      stream.abort(codeForPeer(thrown));
      throw thrown;
    }
  }

  /** Payload of the frame that is due next. @throws E_TIMEOUT · E_WIRE over `limitBytes` */
  #frame(
    reader: StreamReader,
    what: string,
    limitBytes: number = limits.controlFrameBytes,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    return withDeadline(reader.frame(limitBytes), { what, ms: this.#timing.gossipMs, signal });
  }

  // ---- membership

  #apply(event: MembershipEvent): void {
    const { state, actions } = step(this.#state, event, this.#options.clock.now());
    this.#state = state;
    // kept at once and together: a frame may name thousands, and each keeping is a write to disk
    const shown = new Map(actions.flatMap((action) => (action.kind === "remember" ? [[action.id, action.shown]] : [])));
    if (shown.size > 0) this.#options.onShown(shown);
    for (const action of actions) this.#perform(action);
    if (actions.length > 0) this.#options.onChange();
  }

  #perform(action: MembershipAction): void {
    const { log } = this.#options;
    switch (action.kind) {
      case "meet": {
        const peer = this.peer(action.id);
        if (peer && this.#mayMeet(peer)) this.#meet(this.#addressOf(action.id)).catch(() => undefined);
        return;
      }
      case "announce":
        return this.announce(action.except);
      case "remember":
        return; // done in #apply
      case "joined": {
        const { id, role, record } = action.peer;
        return log.write("info", { event: "peer-joined", peer: id, role, sealed: record !== undefined });
      }
      case "gone":
        return log.write("info", { event: "peer-left", peer: action.id, reason: action.reason });
      case "conflict":
        return log.write("error", { event: "record-conflict", peer: action.id });
    }
  }

  /** Clients need no connection among themselves; a client that always asks through relays needs none to hosts. */
  #mayMeet(peer: Peer): boolean {
    const bothClients = peer.role === "client" && this.#options.describe().role === "client";
    return peer.met || ((this.#options.meetMentioned ?? true) && !bothClients && !this.isConnected(peer.id));
  }

  #logJoinFailure(peer: EndpointId, thrown: unknown): void {
    if (this.#stopping.signal.aborted) return;
    const { code, message } = toMeshError(thrown);
    this.#options.log.write("warn", { event: "join-failed", peer, code, what: message });
  }

  // ---- timers

  #every(ms: number, run: () => void): void {
    // jitter keeps nodes that started together from speaking together
    this.#later(ms * (0.9 + Math.random() * 0.2), () => {
      run();
      this.#every(ms, run);
    });
  }

  #later(ms: number, run: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }
}

/** A peer that lets no further stream in holds the caller only for as long as it wants to wait. @throws E_ABORTED */
async function openUnlessAborted(connection: Connection, signal: AbortSignal): Promise<ByteStream> {
  const opening = connection.open();
  try {
    return await unlessAborted(opening, signal);
  } catch (thrown) {
    opening.then(
      (late) => late.abort(abortCodes.cancelled),
      () => undefined,
    );
    throw thrown;
  }
}

async function openTyped(connection: Connection, type: number): Promise<ByteStream> {
  const stream = await connection.open();
  await stream.write(Uint8Array.of(type));
  return stream;
}

async function sayGoodbye(connection: Connection, frame: Uint8Array): Promise<void> {
  const stream = await openTyped(connection, meshStreams.peerLeaving);
  await stream.write(frame);
  await stream.finish();
  await stream.read(); // the peer's end says that it was heard
}

/** What a peer learns of a failure: one coarse code. */
function codeForPeer(thrown: unknown): number {
  if (!isMeshError(thrown)) return abortCodes.protocol;
  if (thrown.code === "E_TIMEOUT") return abortCodes.timeout;
  return thrown.code === "E_WIRE" ? abortCodes.protocol : abortCodes.refused;
}

function pickRandom<T>(items: readonly T[], count: number): T[] {
  const rest = [...items];
  const picked: T[] = [];
  while (picked.length < count && rest.length > 0) {
    picked.push(...rest.splice(Math.floor(Math.random() * rest.length), 1));
  }
  return picked;
}

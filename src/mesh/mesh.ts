/**
 * The mesh as a running thing: performs what mesh/membership.ts decides, gossips, keeps records, and opens the streams
 * that exchanges need. It carries no prompt and knows no sealing.
 *
 * @see protocol.md §2, §3 · wire.md §2, §3
 */
import { type EndpointId, shortId } from "../base/brand.ts";
import { BoundedLog } from "../base/bounded-log.ts";
import { equal } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { abortError, sleep, unlessAborted, withDeadline } from "../base/deadline.ts";
import { isMeshError, MeshError, toMeshError, unlessMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { Aborter, type Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import { type VerifiedRecord, verifyRecord } from "../crypto/record.ts";
import type { KeyStanding } from "../policy/decide.ts";
import {
  abortCodes,
  closeCodes,
  type CloseReason,
  type Connection,
  type Path,
  type Transport,
} from "../transport/transport.ts";
import { settle } from "../tunnel/lifetime.ts";
import type { EndpointAddress } from "../wire/address.ts";
import type { MemberRole } from "../wire/admission.ts";
import { encodeFrame, StreamReader } from "../wire/frame.ts";
import {
  type Announcement,
  decodeGossip,
  decodePeerDown,
  decodePeerLeaving,
  decodeRouteRequest,
  encodeGossip,
  encodePeerDown,
  encodePeerLeaving,
  encodeRouteTable,
  type GossipFrame,
} from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import { decodeRecordReply, decodeRecordRequest, encodeRecordReply, encodeRecordRequest } from "../wire/relay.ts";
import { meshStreams, sealStreams } from "../wire/stream-types.ts";
import { Connections } from "./connections.ts";
import { claimOf, ownEntry, relayedEntry, type SelfDescription, takesPosture } from "./entries.ts";
import { type Admittance, type Gate, openGate } from "./gate.ts";
import { Hearing, type HearingOptions, inSlices } from "./hearing.ts";
import {
  type Claim,
  dueInMs,
  emptyMembership,
  keyStanding,
  type Known,
  type Membership,
  type MembershipAction,
  type MembershipEvent,
  membershipLimits,
  type MembershipLimits,
  type Peer,
  type Shown,
  step,
} from "./membership.ts";
import { nothingTold, type Telling, tellingFor } from "./telling.ts";

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
  /** Members of earlier sessions, their records as they were; and where to keep those of now. @default none are kept */
  readonly known?: readonly KnownMember[];
  readonly onKnown?: (known: readonly KnownMember[]) => void;
  /** Told which mesh a member says that it is in, as it says it. */
  readonly onMeshId?: (id: string) => void;
  /** Called after peers or their models changed. */
  readonly onChange: () => void;
  /** Who may be a member. @default everybody */
  readonly gate?: Gate;
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
    /** sealmesh/1 admission, from anybody; absent = not offered. */
    readonly admission?: StreamHandler;
  };
  /** Whether peers that others name are dialed. With route "relay" a client reaches hosts through relays alone. @default true */
  readonly meetMentioned?: boolean;
  /** Numbers of membership. @default membershipLimits */
  readonly rules?: Partial<MembershipLimits>;
  /** What peers may cost by what they tell. @default hearingLimits */
  readonly hearing?: HearingOptions;
  readonly timing?: Partial<MeshTiming>;
}

/** A member as it is kept on disk. */
export interface KnownMember {
  readonly address: EndpointAddress;
  /** SignedRecord as received; undefined: it had none. */
  readonly record: Uint8Array | undefined;
}

export interface MeshTiming {
  readonly dialMs: number;
  readonly gossipMs: number;
  /** The same with a peer that has kept somebody waiting already. */
  readonly probeMs: number;
  readonly typeByteMs: number;
  /** How often it is looked whether members still are. */
  readonly judgeMs: number;
}

const meshTiming: MeshTiming = {
  dialMs: 10_000,
  gossipMs: 10_000,
  probeMs: 3_000,
  typeByteMs: 10_000,
  judgeMs: 10_000,
};

export class Mesh {
  readonly #options: MeshOptions;
  readonly #timing: MeshTiming;
  #state: Membership;
  readonly #connections: Connections;
  /** mesh-llm/1 connections on which a gossip exchange was completed. */
  readonly #greeted = new WeakSet<Connection>();
  /** mesh-llm/1 connections whose peer understands field 37. */
  readonly #takingPosture = new WeakSet<Connection>();
  /** mesh-llm/1 connections on which the offer of a direct path was told. */
  readonly #offered = new WeakSet<Connection>();
  /** Build lists that were told on a connection: they are kilobytes, and gossip goes out every other second. */
  readonly #listsTold = new WeakMap<Connection, readonly Uint8Array[]>();
  /** Gossip under way on a connection, and whether there is more to say after it. */
  readonly #gossiping = new WeakMap<Connection, { again: boolean }>();
  /** Streams of members that are being served, on whatever connection they came. */
  readonly #serving = new Map<EndpointId, Set<ByteStream>>();
  readonly #stopping = new Aborter();
  readonly #rules: MembershipLimits;
  readonly #gate: Gate;
  readonly #hearing: Hearing;
  /** For what anybody can cause. */
  readonly #refusals: BoundedLog;
  #ticking: NodeJS.Timeout | undefined;
  #judging: NodeJS.Timeout | undefined;

  constructor(options: MeshOptions) {
    this.#options = options;
    this.#timing = { ...meshTiming, ...options.timing };
    this.#rules = { ...membershipLimits, meetMentioned: options.meetMentioned ?? true, ...options.rules };
    this.#gate = options.gate ?? openGate;
    this.#hearing = new Hearing(options.hearing);
    this.#refusals = new BoundedLog(options.log);
    this.#state = emptyMembership(options.transport.id, options.shown);
    this.#connections = new Connections({
      transport: options.transport,
      stopping: this.#stopping,
      onStream: (connection, stream) =>
        this.#serveStream(connection, stream).catch((thrown: unknown) => stream.abort(codeForPeer(thrown))),
      onEnd: (connection, reason) => this.#ended(connection, reason),
    });
  }

  start(): void {
    void this.#connections.accept();
    const known = (this.#options.known ?? []).flatMap((member) => this.#remembered(member));
    const seed = Math.floor(Math.random() * 2 ** 32);
    this.#apply({ kind: "start", known, seed, role: this.#options.describe().role });
    this.#judging = setInterval(() => this.judgeMembers(), this.#timing.judgeMs);
  }

  /** All but those of which it is not known that anybody reaches them. */
  get peers(): readonly Peer[] {
    return [...this.#state.peers.values()].filter(({ doubted }) => !doubted);
  }

  peer(id: EndpointId): Peer | undefined {
    return this.#state.peers.get(id);
  }

  keyStanding(id: EndpointId): KeyStanding {
    return keyStanding(this.#state, id, this.#options.clock.now());
  }

  /** What a peer may do as a member; undefined: it is none. */
  roleOf(id: EndpointId): MemberRole | undefined {
    const peer = this.peer(id);
    const admittance = peer && this.#judge(peer);
    return admittance?.kind === "member" ? admittance.role : undefined;
  }

  rttMs(id: EndpointId): number | undefined {
    return this.#connections.live(id, "mesh-llm/1")?.rttMs();
  }

  /** What new streams to it take now; undefined: there is no connection. */
  pathTo(id: EndpointId): Path["kind"] | undefined {
    return this.#connections.live(id, "mesh-llm/1")?.path()?.kind;
  }

  isConnected(id: EndpointId): boolean {
    return this.#connections.live(id, "mesh-llm/1") !== undefined;
  }

  /**
   * Meets the node that an invite names.
   * @throws E_UNREACHABLE · E_WIRE it does not speak the protocol
   */
  async join(address: EndpointAddress, signal?: Signal): Promise<void> {
    await this.#meet(address, signal);
  }

  /**
   * Stays joined until the mesh is closed: whenever there is no connection to the node that an invite names, it is dialed
   * again, later each time. This is how a member comes back after its peers were away.
   */
  keepJoined(address: EndpointAddress): void {
    this.#apply({ kind: "seek", address });
  }

  /** Tells everybody connected what has changed, soon and once; a single teller need not hear its own news. */
  announce(newsFrom?: EndpointId): void {
    this.#apply({ kind: "news", role: this.#options.describe().role, from: newsFrom });
  }

  /**
   * A stream on sealmesh/1 to a node that need not know us yet: it takes one of type admission. The caller writes the type.
   * @throws E_UNREACHABLE, E_LOST, E_ABORTED
   */
  async openSealUnmet(address: EndpointAddress, signal: Signal): Promise<ByteStream> {
    const connection = await this.#connections.connect(address, "sealmesh/1", this.#timing.dialMs, signal);
    return await openUnlessAborted(connection, signal);
  }

  /**
   * Who is no member any more is let go: its credential has ended, or what admitted it was taken back. Looked at from
   * time to time; called where what the gate goes by has changed.
   */
  judgeMembers(): void {
    for (const peer of this.#state.peers.values()) {
      const admittance = this.#judge(peer);
      if (admittance.kind === "member") continue;
      const { log } = this.#options;
      log.write("warn", { event: "peer-refused", peer: peer.id, code: "E_REFUSED", what: admittance.why });
      this.#putOut(peer.id);
    }
  }

  /**
   * A stream for one HTTP exchange with a host, type byte written, on a connection where gossip was exchanged; a promise of
   * it where something has to be waited for.
   * @throws E_UNREACHABLE, E_LOST, E_ABORTED
   */
  openTunnel(host: EndpointId, options: { dialMs: number; signal: Signal }): Promise<ByteStream> | ByteStream {
    if (options.signal.aborted) throw abortError(options.signal);
    const connection = this.#connections.live(host, "mesh-llm/1");
    const stream = connection && this.#greeted.has(connection) ? connection.openNow?.() : undefined;
    if (stream?.offer?.(httpType)) return stream;
    return this.#openTunnel(stream, host, options);
  }

  async #openTunnel(
    there: ByteStream | undefined,
    host: EndpointId,
    { dialMs, signal }: { dialMs: number; signal: Signal },
  ): Promise<ByteStream> {
    const stream = there ?? (await openUnlessAborted(await this.#greetedConnection(host, dialMs, signal), signal));
    await this.#say(stream, httpType, dialMs, signal);
    return stream;
  }

  /** A stream on sealmesh/1 to a peer that we met; the caller writes the type byte. @throws as openTunnel */
  async openSeal(peer: EndpointId, options: { dialMs: number; signal: Signal }): Promise<ByteStream> {
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
  async ensureMet(peer: EndpointId, options: { dialMs: number; signal: Signal }): Promise<void> {
    await this.#greetedConnection(peer, options.dialMs, options.signal);
  }

  /** Forgets that a peer ever showed a key. */
  forget(id: EndpointId): void {
    this.#apply({ kind: "forget", id });
  }

  /** Finds out, in the background, whether a peer that kept silent still lives; if not, its connection is given up. */
  probe(id: EndpointId): void {
    const connection = this.#connections.live(id, "mesh-llm/1");
    if (connection) this.#gossipSoon(connection, this.#timing.probeMs);
  }

  /**
   * Fetches a peer's record anew, from itself or from a relay that knows it, and takes it over if it is newer.
   * @throws as openTunnel
   */
  async refreshRecord(owner: EndpointId, from: EndpointId, options: { dialMs: number; signal: Signal }): Promise<void> {
    const stream = await this.openSeal(from, options);
    try {
      const request = encodeFrame(encodeRecordRequest(owner === from ? undefined : owner));
      await this.#say(stream, Uint8Array.of(sealStreams.record, ...request), options.dialMs, options.signal);
      await stream.finish();
      const reader = new StreamReader(stream);
      const frame = await this.#frame(reader, "the record", limits.recordReplyBytes, options.signal);
      for (const bytes of decodeRecordReply(frame)) {
        const record = this.#verify(bytes, owner, from);
        if (record) this.#apply({ kind: "record", record, owner: owner === from });
      }
    } finally {
      stream.abort(abortCodes.cancelled);
    }
  }

  /** Tells the peers that we leave, then closes every connection and the transport. */
  async close(): Promise<void> {
    this.#keepNow();
    this.#stopping.abort(new MeshError("E_CLOSED", "the node is stopping"));
    clearTimeout(this.#ticking);
    clearInterval(this.#judging);
    const frame = encodeFrame(encodePeerLeaving(this.#options.transport.id));
    const goodbyes = this.#connections.all("mesh-llm/1").map((connection) => sayGoodbye(connection, frame));
    if (goodbyes.length > 0) {
      await withDeadline(Promise.allSettled(goodbyes), { what: "leaving", ms: 500 }).catch(() => undefined);
    }
    await this.#options.transport.close();
  }

  // ---- connections

  #ended(connection: Connection, reason: CloseReason): void {
    if (connection.alpn !== "mesh-llm/1" || this.#stopping.aborted) return;
    const left = reason.by === "peer" && reason.code === closeCodes.leaving;
    this.#apply({ kind: "unlinked", id: connection.peer, why: left ? "left" : "lost" });
    this.#options.onChange();
  }

  async #serveStream(connection: Connection, stream: ByteStream): Promise<void> {
    const { peer } = connection;
    const serving = this.#serving.get(peer) ?? new Set();
    this.#serving.set(peer, serving.add(stream));
    try {
      await this.#serveByType(connection, stream);
    } finally {
      serving.delete(stream);
      if (serving.size === 0 && this.#serving.get(peer) === serving) this.#serving.delete(peer);
    }
  }

  async #serveByType(connection: Connection, stream: ByteStream): Promise<void> {
    const reader = new StreamReader(stream);
    const taking = { what: "a stream's type byte", ms: this.#timing.typeByteMs };
    const type = reader.ready() ? reader.takeByte() : await withDeadline(reader.byte(), taking);
    if (type === undefined) return await stream.finish(); // a probe
    const from = connection.peer;
    if (connection.alpn === "mesh-llm/1") {
      if (type === meshStreams.gossip) return await this.#answerGossip(connection, stream, reader);
      if (type === meshStreams.routes) return await this.#answerRoutes(stream, reader, from);
      this.#requireMet(from);
      if (type === meshStreams.http) return await this.#options.handlers.http(stream, reader, from);
      if (type === meshStreams.peerLeaving) return await this.#takeLeaving(stream, reader, from);
      if (type === meshStreams.peerDown) return await this.#takeDown(stream, reader, from);
    } else {
      const { admission } = this.#options.handlers;
      if (type === sealStreams.admission && admission) return await admission(stream, reader, from);
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
    const peer = this.peer(id);
    if (!peer?.met) throw new MeshError("E_REFUSED", "no gossip exchange has been completed with this peer");
    if (this.#judge(peer).kind === "refused") throw noMember();
  }

  #addressOf(id: EndpointId): EndpointAddress {
    return this.peer(id)?.address ?? { id, relays: [], direct: [] };
  }

  /** @throws as openTunnel */
  #greetedConnection(id: EndpointId, dialMs: number, signal: Signal): Promise<Connection> {
    return this.#meet(this.#addressOf(id), signal, dialMs);
  }

  /** A connection on which gossip was exchanged: the live one, or a new one, greeted first. */
  async #meet(address: EndpointAddress, signal?: Signal, dialMs = this.#timing.dialMs): Promise<Connection> {
    const connection = await this.#connections.connect(address, "mesh-llm/1", dialMs, signal);
    if (this.#greeted.has(connection)) return connection;
    await this.#gossip(connection, signal);
    // what only members hear could not be said before the peer had said who it is
    if (!this.#offered.has(connection) && this.#options.transport.offer?.()) this.#gossipSoon(connection);
    // the other connection comes from the same side: a node that was restarted gets through to us at once, while iroh
    // here goes on sending to where that node was, for as long as we try
    if (connection.dialed && this.peer(connection.peer)?.record) {
      this.#connections.connect(address, "sealmesh/1", dialMs).catch(() => undefined);
    }
    return connection;
  }

  // ---- gossip

  async #gossip(connection: Connection, signal?: Signal): Promise<void> {
    const stream = await connection.open();
    try {
      await this.#say(stream, Uint8Array.of(meshStreams.gossip), this.#timing.gossipMs, signal);
      const told = this.#tellingOn(connection);
      await this.#say(stream, told.frame, this.#timing.gossipMs, signal);
      await stream.finish();
      const reader = new StreamReader(stream);
      const what = `the gossip of ${shortId(connection.peer)}`;
      const reply = await this.#frame(reader, what, limits.controlFrameBytes, signal);
      told.heard();
      await this.#take(reply, connection);
      settle(stream, reader);
    } catch (thrown) {
      stream.abort(codeForPeer(thrown));
      throw (await wasRefused(connection)) ? notAdmitted(connection.peer, thrown) : thrown;
    }
  }

  async #answerGossip(connection: Connection, stream: ByteStream, reader: StreamReader): Promise<void> {
    const held = this.#hearing.receive(connection.peer, this.peer(connection.peer)?.met ?? false);
    try {
      held.take(reader.received); // what came with the type byte
      reader.meter((bytes) => held.take(bytes));
      // taken before it is answered: the answer leaves out what the sender has, and is for members only
      await this.#take(await this.#frame(reader, "a gossip frame"), connection);
    } finally {
      held.close();
    }
    const told = this.#tellingOn(connection);
    await this.#answerWith(stream, reader, told.frame);
    told.heard();
  }

  /** By the newest that the peer says of itself on this connection. */
  #noteKind(frame: GossipFrame, connection: Connection): void {
    if (takesPosture(frame)) this.#takingPosture.add(connection);
    else this.#takingPosture.delete(connection);
  }

  /**
   * @param bytes GossipFrame
   * @throws      E_WIRE · E_REFUSED the sender may not be a member: nothing of the frame is taken, and the connection ends
   */
  #take(bytes: Uint8Array, connection: Connection): Promise<void> {
    // decoded when it is its turn: entries take far more memory than their bytes
    return this.#hearing.inTurn(connection.peer, () => this.#takeNow(decodeGossip(bytes, connection.peer), connection));
  }

  async #takeNow(frame: GossipFrame, connection: Connection): Promise<void> {
    const { peer: from } = connection;
    const own = frame.announcements.findLast(({ id }) => id === from);
    const record = own?.record && this.#verify(own.record, from, from);
    const shown = { id: from, record, ownership: own?.ownership, from: "itself" } as const;
    const admittance = this.#gate.judge(shown);
    if (admittance.kind === "refused") {
      this.#refusals.write("warn", { event: "peer-refused", peer: from, code: "E_REFUSED", what: admittance.why });
      connection.close(closeCodes.refused);
      if (this.peer(from)) this.#putOut(from); // others have named it, or it was a member until now
      throw new MeshError("E_REFUSED", admittance.why);
    }
    // who does not say who it is has not met us, and has no word about others
    if (!own) return;
    this.#greeted.add(connection);
    this.#noteKind(frame, connection);
    const claims: Claim[] = [];
    for await (const entry of inSlices(frame.announcements)) {
      const claim = entry.id === this.#state.self || entry.id === from ? undefined : this.#hearsay(entry, from);
      if (claim) claims.push(claim);
    }
    claims.push(claimOf(own, record, this.#options.clock.now()));
    // it may have been put out while others had their turn
    if (this.#gate.judge(shown).kind === "refused") throw noMember();
    this.#apply({ kind: "gossip", from, claims, linked: this.isConnected(from), knows: frame.knownRecords });
    if (own.meshId !== undefined) this.#options.onMeshId?.(own.meshId);
    if (own.directOffer) this.#options.transport.takeOffer?.(from, own.directOffer);
    const { buildLists = [] } = own;
    if (buildLists.length > 0 && this.#options.onBuildLists?.(buildLists, from)) {
      this.announce(from);
      this.#options.onChange();
    }
  }

  /** What a member says of another node; undefined: that one is none, or the member has brought too much that is new. */
  #hearsay(entry: Announcement, from: EndpointId): Claim | undefined {
    const { id, ownership } = entry;
    const known = this.peer(id);
    const isSame = (one: Uint8Array | undefined, other: Uint8Array | undefined): boolean =>
      one === undefined || (other !== undefined && equal(one, other));
    const isNew = !isSame(entry.record, known?.record?.bytes) || !isSame(ownership, known?.ownership);
    if (isNew && !this.#hearing.mayCheck(from)) return undefined;
    const record = entry.record && this.#verify(entry.record, id, from);
    if (this.#judge({ id, record, ownership }).kind === "refused") return undefined;
    // checked when it came first, as the record was
    const kept = ownership && isSame(ownership, known?.ownership) ? known?.ownership : undefined;
    // what is said of others is not shown, and a frame could hold thousands
    const said = { ...entry, posture: [], ...(kept ? { ownership: undefined } : {}) };
    const claim = claimOf(said, record, this.#options.clock.now());
    return kept ? { ...claim, ownership: kept } : claim;
  }

  /** By what is known of it, from whomever. */
  #judge({ id, record, ownership }: Pick<Peer, "id" | "record" | "ownership">): Admittance {
    return this.#gate.judge({ id, record, ownership, from: "elsewhere" });
  }

  /** A record that holds, or undefined: a bad one in an entry costs the record, not the frame. @param from who brought it */
  #verify(bytes: Uint8Array, owner: EndpointId, from: EndpointId): VerifiedRecord | undefined {
    const known = this.peer(owner)?.record;
    if (known && equal(known.bytes, bytes)) return known; // verified when it came first
    try {
      return verifyRecord(bytes, owner, this.#options.clock.now());
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      const what = owner === from ? message : `a record of ${shortId(owner)}: ${message}`;
      this.#refusals.write("warn", { event: "peer-refused", peer: from, code, what });
      return undefined;
    }
  }

  /** Who had a record that has ended since is known by its address alone. */
  #remembered({ address, record: bytes }: KnownMember): readonly Known[] {
    const record = bytes && unlessMeshError(() => verifyRecord(bytes, address.id, this.#options.clock.now()));
    if (record && this.#judge({ id: address.id, record, ownership: undefined }).kind === "refused") return [];
    return [{ address, record }];
  }

  /** u32 LE length | GossipFrame for this connection's peer, and what to call when it has been heard. */
  #tellingOn(connection: Connection): { readonly frame: Uint8Array; readonly heard: () => void } {
    const { peer: to } = connection;
    const reader = this.peer(to);
    const isMember = reader !== undefined && this.#judge(reader).kind === "member";
    const telling = isMember ? tellingFor(this.#state, to, this.#options.clock.now()) : nothingTold;
    const { entries, marks, knows }: Telling = telling;
    const self = this.#options.describe();
    const { buildLists = [] } = self;
    const listsTold = this.#listsTold.get(connection) ?? [];
    const areNews = buildLists.some((list) => !listsTold.includes(list));
    const own = ownEntry({
      id: this.#state.self,
      self: { ...self, buildLists: areNews ? buildLists : [] },
      address: this.#options.transport.address(),
      withPosture: this.#takingPosture.has(connection),
      directOffer: isMember ? this.#options.transport.offer?.() : undefined,
    });
    if (own.directOffer) this.#offered.add(connection);
    const others = entries.map(({ peer, inContact }) => relayedEntry(peer, inContact));
    const announcements: readonly Announcement[] = [...others, own];
    const gossip = encodeGossip({ sender: own.id, announcements, ...(knows ? { knownRecords: knows } : {}) });
    const heard = (): void => {
      this.#listsTold.set(connection, buildLists);
      this.#apply({ kind: "told", to, marks });
    };
    return { frame: encodeFrame(gossip), heard };
  }

  /** One at a time on each connection: what comes up meanwhile is said in the next. */
  #gossipSoon(connection: Connection, ms = 3 * this.#timing.gossipMs): void {
    const underWay = this.#gossiping.get(connection);
    if (underWay) {
      underWay.again = true;
      return;
    }
    const current = { again: false };
    this.#gossiping.set(connection, current);
    withDeadline(this.#gossip(connection), { what: `the gossip with ${shortId(connection.peer)}`, ms })
      .catch((thrown: unknown) => {
        // a process that hangs or has vanished: QUIC alone would take half a minute to notice
        if (toMeshError(thrown).code !== "E_TIMEOUT") return;
        current.again = false;
        const replaced = this.#connections.live(connection.peer, "mesh-llm/1") !== connection;
        connection.close(closeCodes.normal);
        if (replaced) return; // the peer is back, and its new connections are none of this
        for (const other of this.#connections.of(connection.peer)) other.close(closeCodes.normal);
      })
      .finally(() => {
        this.#gossiping.delete(connection);
        if (current.again && this.#connections.live(connection.peer, "mesh-llm/1") === connection) {
          this.#gossipSoon(connection);
        }
      });
  }

  // ---- other mesh streams

  /** Before gossip too, where anybody may be a member (protocol.md §2). */
  async #answerRoutes(stream: ByteStream, reader: StreamReader, from: EndpointId): Promise<void> {
    const nothing = { id: from, record: undefined, ownership: undefined, from: "itself" } as const;
    if (this.peer(from)?.met || this.#gate.judge(nothing).kind === "refused") this.#requireMet(from);
    decodeRouteRequest(await this.#frame(reader, "a route request", limits.relayFrameBytes));
    const self = this.#options.describe();
    const own = self.models.map((model) => ({ id: this.#state.self, model }));
    const others = this.peers.flatMap((peer) => (peer.met ? peer.models.map((model) => ({ id: peer.id, model })) : []));
    const table = encodeRouteTable({ entries: [...own, ...others], meshId: undefined });
    await this.#answerWith(stream, reader, encodeFrame(table));
  }

  async #takeLeaving(stream: ByteStream, reader: StreamReader, from: EndpointId): Promise<void> {
    decodePeerLeaving(await this.#frame(reader, "a goodbye", limits.relayFrameBytes), from);
    await stream.finish();
    settle(stream, reader);
    this.#apply({ kind: "left", id: from });
    // what it leaves open would be taken for a way to it when it is back
    const left = this.#connections.of(from);
    await sleep(farewellMs, this.#stopping).catch(() => undefined);
    for (const connection of left) connection.close(closeCodes.normal);
  }

  async #takeDown(stream: ByteStream, reader: StreamReader, from: EndpointId): Promise<void> {
    const about = decodePeerDown(await this.#frame(reader, "word of a peer", limits.relayFrameBytes));
    await stream.finish();
    settle(stream, reader);
    this.#apply({ kind: "peer-down", from, about });
  }

  async #tellDown(to: EndpointId, about: EndpointId): Promise<void> {
    const connection = this.#connections.live(to, "mesh-llm/1");
    if (!connection) return;
    const stream = await openTyped(connection, meshStreams.peerDown);
    await this.#say(stream, encodeFrame(encodePeerDown(about)), this.#timing.gossipMs);
    await stream.finish();
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
  async #say(stream: ByteStream, bytes: Uint8Array, ms: number, signal?: Signal): Promise<void> {
    try {
      if (stream.offer?.(bytes)) return;
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
    signal?: Signal,
  ): Promise<Uint8Array> {
    return withDeadline(reader.frame(limitBytes), { what, ms: this.#timing.gossipMs, signal });
  }

  // ---- membership

  #apply(event: MembershipEvent): void {
    if (this.#stopping.aborted) return;
    const before = this.#state;
    const { state, actions } = step(before, event, this.#options.clock.now(), this.#rules);
    this.#state = state;
    // kept at once and together: a frame may name thousands, and each keeping is a write to disk
    const shown = new Map(actions.flatMap((action) => (action.kind === "remember" ? [[action.id, action.shown]] : [])));
    if (shown.size > 0) this.#options.onShown(shown);
    for (const action of actions) this.#perform(action);
    clearTimeout(this.#ticking);
    this.#ticking = setTimeout(() => this.#apply({ kind: "tick" }), dueInMs(state, this.#rules));
    if (state.peers !== before.peers) this.#options.onChange();
  }

  #perform(action: MembershipAction): void {
    const { log } = this.#options;
    switch (action.kind) {
      case "dial":
        return void this.#dial(action.address);
      case "gossip": {
        const connection = this.#connections.live(action.to, "mesh-llm/1");
        return connection && this.#gossipSoon(connection);
      }
      case "tell-down":
        for (const to of action.to) this.#tellDown(to, action.about).catch(() => undefined);
        return;
      case "keep":
        return this.#options.onKnown?.(action.known.map(({ address, record }) => ({ address, record: record?.bytes })));
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

  /** What is written down some time after a change, and would be lost with the end. */
  #keepNow(): void {
    const later = this.#options.clock.now() + this.#rules.keepAfterMs;
    const { actions } = step(this.#state, { kind: "tick" }, later, this.#rules);
    for (const action of actions) if (action.kind === "keep") this.#perform(action);
  }

  async #dial(address: EndpointAddress): Promise<void> {
    let reached = true;
    try {
      await this.#meet(address, this.#stopping);
    } catch (thrown) {
      reached = false;
      // the rest of a series says nothing new
      const contact = this.#state.contacts.get(address.id);
      if (contact?.lasting && contact.failures === 0) this.#logJoinFailure(address.id, thrown);
    }
    this.#apply({ kind: "dialed", id: address.id, reached });
  }

  #putOut(id: EndpointId): void {
    this.#apply({ kind: "expelled", id });
    for (const connection of this.#connections.of(id)) connection.close(closeCodes.refused);
    for (const stream of this.#serving.get(id) ?? []) stream.abort(abortCodes.refused);
  }

  #logJoinFailure(peer: EndpointId, thrown: unknown): void {
    if (this.#stopping.aborted) return;
    const { code, message } = toMeshError(thrown);
    this.#options.log.write("warn", { event: "join-failed", peer, code, what: message });
  }
}

const httpType: Uint8Array = Uint8Array.of(meshStreams.http);

/** A peer that lets no further stream in holds the caller only for as long as it wants to wait. @throws E_ABORTED */
async function openUnlessAborted(connection: Connection, signal: Signal): Promise<ByteStream> {
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

/** Whether the peer has ended the connection because we are none of its mesh; known a moment after our stream has broken. */
async function wasRefused(connection: Connection): Promise<boolean> {
  const reason = await Promise.race([connection.closed, sleep(refusalMs).then(() => undefined)]);
  return reason?.by === "peer" && reason.code === closeCodes.refused;
}

/** How long who leaves may take to close its connections itself, ms. */
const farewellMs = 1_000;

/** Between the end of a stream and that of its connection, ms. */
const refusalMs = 100;

function noMember(): MeshError {
  return new MeshError("E_REFUSED", "this peer is no member any more");
}

function notAdmitted(peer: EndpointId, cause: unknown): MeshError {
  const why = `${shortId(peer)} does not admit this node to its mesh; ask a member for an invite (sealmesh invite)`;
  return new MeshError("E_REFUSED", why, { cause });
}

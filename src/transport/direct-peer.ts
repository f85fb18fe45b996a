/**
 * One peer: its connections, the sessions beside them, and when a further one is tried. A session begins on a stream of QUIC,
 * as soon as there is a connection, and one more on the direct path, where there is one. Where a peer may be dialed for
 * that is decided here, because what it offers is its own word: first where its QUIC packets come from.
 */
import { randomBytes } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { type EndpointId, shortId } from "../base/brand.ts";
import { equal, toHex } from "../base/bytes.ts";
import { sleep, withDeadline } from "../base/deadline.ts";
import { MeshError, toMeshError, unlessMeshError } from "../base/errors.ts";
import { isLoopback } from "../base/loopback.ts";
import type { ByteStream } from "../base/stream.ts";
import { StreamReader } from "../wire/frame.ts";
import { sealStreams } from "../wire/stream-types.ts";
import {
  decodeHello,
  decodeReply,
  encodeHello,
  encodeReply,
  type Hello,
  helloBytes,
  readExactly,
  replyBytes,
  streamCarrier,
  tlsCarrier,
  type Welcome,
} from "./carriers.ts";
import { DirectConnection } from "./direct-connection.ts";
import { decodeOffer, type DirectOffer } from "./direct-offer.ts";
import { isRemote, loopbacks, plainIp } from "./ip.ts";
import { type Carrier, MuxSession } from "./mux-session.ts";
import type { MuxStream } from "./mux-stream.ts";
import { parseSocketAddress } from "./socket-address.ts";
import type { TlsLink } from "./tls-link.ts";
import { abortCodes, type Alpn, type Connection } from "./transport.ts";

/** For a TCP connection and its handshake, ms. */
const dialMs = 3_000;
/** For the other side's word behind it, ms. */
const helloMs = 3_000;
/** The side that did not dial the QUIC connection waits so long for the other's try, if that can dial it, ms. */
const secondMs = 1_500;
/** After failures, ms; doubled each time up to the last: one TCP handshake with a peer that is connected costs little. */
const retryMs = [500, 30_000] as const;
/** After a session was lost that worked, ms. */
const againMs = 1_000;
/** After somebody else was found where the peer said that it is, and between tries at addresses that only it names, ms. */
const strangerMs = 3_600_000;
/** Between tries to go on with a session on a stream of QUIC, ms. */
const resumeEachMs = 250;
/** A stream waits so long for the connection that it belongs to, ms; so many of them at a time. */
const earlyMs = 3_000;
const maxEarly = 64;
/** Sessions of one peer: one on QUIC from either side, one on TLS, others that are ending. */
const maxSessions = 4;

export interface DirectPeerParts {
  readonly id: EndpointId;
  /** Ours. */
  readonly instance: string;
  /** For the direct path; undefined: it is not wanted. */
  readonly link: TlsLink | undefined;
  /** Its last connection has ended. */
  readonly onGone: () => void;
}

export class DirectPeer {
  readonly #parts: DirectPeerParts;
  readonly #connections = new Set<DirectConnection>();
  /** By their names, each with the process of the peer that it is with. */
  readonly #sessions = new Map<string, { readonly session: MuxSession; readonly instance: string }>();
  #offer: { readonly bytes: Uint8Array; readonly said: DirectOffer } | undefined;
  /** Streams for connections that are not here yet. */
  readonly #early = new Map<MuxStream, { readonly alpn: Alpn; readonly late: NodeJS.Timeout }>();
  #dialing = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  /** performance.now() before which no address is tried that only the peer names. */
  #strangersFromMs = 0;
  #over = false;

  constructor(parts: DirectPeerParts) {
    this.#parts = parts;
  }

  /** The session with that process of the peer that takes new streams: the one on the direct path, where there is one. */
  session(wanted: string | undefined): MuxSession | undefined {
    return this.#sessionOn("tls", wanted) ?? this.#sessionOn("quic", wanted);
  }

  #sessionOn(home: Carrier["kind"], wanted: string | undefined): MuxSession | undefined {
    let newest: MuxSession | undefined;
    for (const { session, instance } of this.#sessions.values()) {
      if (session.home === home && instance === wanted && session.isOpen) newest = session;
    }
    return newest;
  }

  wrap(base: Connection): DirectConnection {
    const connection = new DirectConnection({
      base,
      session: (instance) => this.session(instance),
      onCarrier: (stream) => void this.#offered(stream),
    });
    this.#connections.add(connection);
    this.#deliverEarly(connection);
    void connection.closed.then(() => {
      this.#connections.delete(connection);
      if (this.#connections.size === 0) this.end();
    });
    // it may come from elsewhere than the last one
    this.#failures = 0;
    this.#trySoon(this.#patienceMs());
    if (base.dialed && base.alpn === "sealmesh/1") this.#beginOnQuic(base);
    return connection;
  }

  /** @param bytes as its owner sent them; what is none is ignored */
  takeOffer(bytes: Uint8Array): void {
    if (this.#offer && equal(bytes, this.#offer.bytes)) return;
    const said = unlessMeshError(() => decodeOffer(bytes, this.#parts.id));
    if (!said || said.issuedAtMs < (this.#offer?.said.issuedAtMs ?? 0)) return;
    const isFirst = this.#offer === undefined;
    this.#offer = { bytes: bytes.slice(), said };
    if (isFirst) this.#trySoon(this.#patienceMs());
  }

  /** It has dialed us and proved who it is. */
  async accept(socket: TLSSocket): Promise<void> {
    try {
      const hello = decodeHello(await readExactly(socket, helloBytes, helloMs));
      const carrier = tlsCarrier(socket);
      await this.#welcome(hello, carrier, async (reply) => void socket.write(reply));
    } catch {
      socket.destroy();
    }
  }

  /** Nothing of it is left, and nothing new begins. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#retry);
    for (const { late } of this.#early.values()) clearTimeout(late);
    for (const { session } of this.#sessions.values()) session.end();
    this.#parts.onGone();
  }

  // ---- being dialed

  /** It offers a stream of QUIC, for a new session or one that has lost its carrier. */
  async #offered(stream: ByteStream): Promise<void> {
    try {
      const reader = new StreamReader(stream);
      const hello = decodeHello(await within(reader.exact(helloBytes), helloMs));
      const carrier = streamCarrier(stream, reader);
      await this.#welcome(hello, carrier, (reply) => within(stream.write(reply), helloMs));
    } catch {
      stream.abort(abortCodes.refused);
    }
  }

  /** @throws E_REFUSED after the other side was told so */
  async #welcome(
    { kind, session: id, received, instance }: Hello,
    carrier: Carrier,
    reply: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const session = kind === "new" ? this.#newSession(id, instance, carrier.kind, false) : this.#orphan(id);
    try {
      await reply(encodeReply(session && { received: session.received, instance: this.#parts.instance }));
    } catch (thrown) {
      if (kind === "new") session?.end(); // it has no carrier, and would stand for ever
      throw thrown;
    }
    if (!session) throw new MeshError("E_REFUSED", "there is no such session, or no room for one");
    session.attach(carrier, received);
  }

  /** The session that the peer wants to go on with: what it has from its old carrier, it has. */
  #orphan(id: string): MuxSession | undefined {
    const session = this.#sessions.get(id)?.session;
    if (!session || session.dialed) return undefined;
    session.suspend();
    return session.ended ? undefined : session;
  }

  #newSession(id: string, instance: string, home: Carrier["kind"], dialed: boolean): MuxSession | undefined {
    if (this.#over || this.#sessions.has(id) || this.#sessions.size >= maxSessions) return undefined;
    const session = new MuxSession({
      dialed,
      home,
      onStream: (alpn, stream) => this.#deliver(alpn, instance, stream),
      onCarrierLost: () => {
        if (dialed) void this.#resume(id, session);
        if (home === "tls") this.#trySoon(againMs);
      },
      onEnd: () => {
        this.#sessions.delete(id);
        if (home === "tls") this.#trySoon(againMs);
        else if (dialed) setTimeout(() => this.#beginAgain(), againMs).unref();
      },
    });
    this.#sessions.set(id, { session, instance });
    return session;
  }

  /** The peer may have a connection, and use it, a moment before we have it. */
  #deliver(alpn: Alpn, instance: string, stream: MuxStream): void {
    // one that has not said whose it is, is new: that of a process that is gone has
    const isIts = (one: DirectConnection): boolean => one.alpn === alpn && (one.peerInstance ?? instance) === instance;
    const connection = [...this.#connections].findLast(isIts);
    if (connection) return connection.deliver(stream);
    if (this.#early.size >= maxEarly) return stream.abort(abortCodes.refused);
    const late = setTimeout(() => stream.abort(abortCodes.timeout), earlyMs);
    this.#early.set(stream, { alpn, late });
    stream.onOver = () => {
      clearTimeout(late);
      this.#early.delete(stream);
    };
  }

  #deliverEarly(connection: DirectConnection): void {
    for (const [stream, { alpn, late }] of this.#early) {
      if (alpn !== connection.alpn) continue;
      clearTimeout(late);
      this.#early.delete(stream);
      connection.deliver(stream);
    }
  }

  // ---- dialing

  /** Who dialed tries first, unless that side has nothing to dial. */
  #patienceMs(): number {
    const isOurs = [...this.#connections].some(({ dialed }) => dialed) || this.#parts.link?.port === undefined;
    return isOurs ? 0 : secondMs;
  }

  #trySoon(ms: number): void {
    if (this.#over || this.#dialing || !this.#parts.link) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#try(), ms);
    this.#retry.unref();
  }

  async #try(): Promise<void> {
    const newest = [...this.#connections].at(-1);
    const { link } = this.#parts;
    if (this.#over || this.#dialing || !link || !this.#offer || this.#sessionOn("tls", newest?.peerInstance)) return;
    this.#dialing = true;
    const failure = await this.#dial(link, this.#offer.said).catch(toMeshError);
    this.#dialing = false;
    if (!failure) return;
    const [first, longest] = retryMs;
    this.#failures += 1;
    const isStranger = failure.code === "E_WIRE";
    this.#trySoon(isStranger ? strangerMs : Math.min(first * 2 ** (this.#failures - 1), longest));
  }

  /** @returns why not, or undefined: there is a session now */
  async #dial(link: TlsLink, { port, addresses }: DirectOffer): Promise<MeshError | undefined> {
    let failure = new MeshError("E_UNREACHABLE", `${shortId(this.#parts.id)} offers no address that may be dialed`);
    for (const host of this.#hosts(addresses)) {
      try {
        await this.#begin(await link.dial(host, port, this.#parts.id, dialMs));
        this.#failures = 0;
        return undefined;
      } catch (thrown) {
        failure = toMeshError(thrown);
      }
    }
    return failure;
  }

  /**
   * Where its packets come from, which QUIC has shown; and of the addresses that it names alone one in an hour, never of this
   * machine or the link beside it: whoever it may be gets one connection from us and no more.
   */
  #hosts(addresses: readonly string[]): readonly string[] {
    const shown = [...this.#connections].flatMap(({ base }) => {
      const host = parseSocketAddress(base.path()?.remote ?? "")?.host;
      const ip = host === undefined ? undefined : plainIp(host);
      // this machine has two names for itself, and a node may listen under one of them
      return ip === undefined ? [] : isLoopback(ip) ? [ip, ...loopbacks] : [ip];
    });
    const [other] = addresses.filter((address) => isRemote(address) && !shown.includes(address));
    const now = performance.now();
    if (other === undefined || now < this.#strangersFromMs) return [...new Set(shown)];
    this.#strangersFromMs = now + strangerMs;
    return [...new Set(shown), other];
  }

  async #begin(socket: TLSSocket): Promise<void> {
    try {
      const id = toHex(randomBytes(16));
      socket.write(encodeHello({ kind: "new", session: id, received: 0, instance: this.#parts.instance }));
      const welcome = decodeReply(await readExactly(socket, replyBytes, helloMs));
      const session = welcome?.received === 0 ? this.#newSession(id, welcome.instance, "tls", true) : undefined;
      if (!session) throw new MeshError("E_REFUSED", `${shortId(this.#parts.id)} takes no direct path now`);
      session.attach(tlsCarrier(socket), 0);
    } catch (thrown) {
      socket.destroy();
      throw thrown;
    }
  }

  // ---- on QUIC

  /**
   * Begins a session on a connection that we dialed: one stream of QUIC costs less than one for each exchange. A peer that
   * does not know this refuses the stream, and gets one for each.
   */
  #beginOnQuic(connection: Connection): void {
    // one that is looking for another carrier finds it here
    const hasOne = [...this.#sessions.values()].some(({ session }) => session.dialed && session.home === "quic");
    if (!this.#over && !hasOne) this.#tryOnQuic(connection).catch(() => undefined);
  }

  /** After one that worked has ended. */
  #beginAgain(): void {
    const connection = [...this.#connections].findLast(({ alpn, dialed }) => alpn === "sealmesh/1" && dialed);
    if (connection) this.#beginOnQuic(connection.base);
  }

  async #tryOnQuic(connection: Connection): Promise<void> {
    const name = toHex(randomBytes(16));
    const { instance } = this.#parts;
    const hello: Hello = { kind: "new", session: name, received: 0, instance };
    const { welcome, carrier } = await this.#greet(connection, hello);
    const session = welcome?.received === 0 ? this.#newSession(name, welcome.instance, "quic", true) : undefined;
    if (session) session.attach(carrier, 0);
    else carrier.destroy();
  }

  /** Goes on with a session on a stream of QUIC, until it has ended. */
  async #resume(id: string, session: MuxSession): Promise<void> {
    if (performance.now() - session.attachedMs < resumeEachMs) await sleep(resumeEachMs);
    while (!session.ended) {
      const outcome = await this.#resumeOnce(id, session).catch(() => "failed" as const);
      if (outcome === "resumed") return;
      if (outcome === "refused") return session.end();
      await sleep(resumeEachMs);
    }
  }

  async #resumeOnce(id: string, session: MuxSession): Promise<"resumed" | "refused" | "failed"> {
    const connection = [...this.#connections].findLast(({ alpn }) => alpn === "sealmesh/1");
    if (!connection) return "failed";
    const { received } = session;
    const hello: Hello = { kind: "resume", session: id, received, instance: this.#parts.instance };
    const { welcome, carrier } = await this.#greet(connection.base, hello);
    if (!welcome) {
      carrier.destroy();
      return "refused";
    }
    session.attach(carrier, welcome.received);
    return "resumed";
  }

  /** Says hello on a new stream. @returns what the other side answers, and the stream as a carrier */
  async #greet(
    connection: Connection,
    hello: Hello,
  ): Promise<{ readonly welcome: Welcome | undefined; readonly carrier: Carrier }> {
    const stream = await within(connection.open(), helloMs);
    try {
      await within(stream.write(Uint8Array.of(sealStreams.direct, ...encodeHello(hello))), helloMs);
      const reader = new StreamReader(stream);
      const welcome = decodeReply(await within(reader.exact(replyBytes), helloMs));
      return { welcome, carrier: streamCarrier(stream, reader) };
    } catch (thrown) {
      stream.abort();
      throw thrown;
    }
  }
}

/** What the other side says of a session on a stream of QUIC. @throws E_TIMEOUT */
function within<T>(work: Promise<T>, ms: number): Promise<T> {
  return withDeadline(work, { what: "the other side's word on the direct path", ms });
}

/**
 * How nodes reach each other: connections by endpoint id, each carrying many byte streams. A transport proves who the
 * peer is and that nobody on the way reads or changes bytes; it knows nothing of what they mean. A new transport is one
 * file and one line in registry.ts, and must pass test/compliance/transport.
 */
import type { EndpointId } from "../base/brand.ts";
import type { Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import type { EndpointAddress } from "../wire/address.ts";

export const alpns = ["mesh-llm/1", "sealmesh/1"] as const;
export type Alpn = (typeof alpns)[number];

/** Codes given when closing a connection; the peer can read them. */
export const closeCodes = { normal: 0, leaving: 1, refused: 2, protocol: 3 } as const;

/**
 * Codes given when aborting a stream; coarse on purpose, one code for every failed opening. `closed` is the transport's own: the
 * connection that the stream belonged to has ended.
 */
export const abortCodes = { cancelled: 0, refused: 1, protocol: 2, timeout: 3, closed: 255 } as const;

export interface CloseReason {
  /** Application close code; undefined when the connection was lost without one. */
  readonly code: number | undefined;
  readonly by: "us" | "peer" | "network";
}

export interface Connection {
  /** Proved by the handshake. */
  readonly peer: EndpointId;
  readonly alpn: Alpn;
  /** Which side dialed. */
  readonly dialed: boolean;
  /** Unique per transport and connection, for maps and logs. */
  readonly serial: number;
  /**
   * Opens a stream; the peer sees it with our first bytes (or a finish without any), so write promptly.
   * @throws E_LOST the connection has ended · E_TIMEOUT the peer has let no further stream in for 10 s
   */
  open(): Promise<ByteStream>;
  /**
   * Streams that the peer opens, in order; ends when the connection does. Consumed once, and all the time: a stream is
   * accepted only when it is asked for. One whose peer has aborted already may come, with `aborted` fired.
   */
  streams(): AsyncIterable<ByteStream>;
  /** What open() would give at once. @default undefined: only open() tells */
  openNow?(): ByteStream | undefined;
  /** Resolves when the connection has ended, whoever ended it; every stream has been aborted by then. */
  readonly closed: Promise<CloseReason>;
  /** Ends everything at once, for both sides; bytes on the way may be lost. @param code @default closeCodes.normal */
  close(code?: number): void;
  /** Round-trip time in whole ms, 0 below one; undefined while unknown. */
  rttMs(): number | undefined;
  /** 16 hex digits that name the peer's running process; undefined: not told so far, or never. */
  readonly peerInstance?: string | undefined;
  /** What new streams take at the moment; undefined: the connection has ended, or it is not known yet. */
  path(): Path | undefined;
}

export interface Path {
  /** `iroh-relay` is not a relay of the mesh. `tls` is the direct path; what it replaces goes on beside it. */
  readonly kind: "tls" | "quic" | "iroh-relay" | "memory";
  /** Numeric host:port that the peer's datagrams come from; undefined: no address of its own. */
  readonly remote: string | undefined;
}

export interface DialOptions {
  readonly alpn: Alpn;
  readonly timeoutMs: number;
  readonly signal?: Signal;
}

export interface Transport {
  readonly kind: string;
  readonly id: EndpointId;
  /** What peers see of this transport as {@link Connection.peerInstance}. */
  readonly instance?: string;
  /** Where we can be reached now; what goes into invites and gossip. */
  address(): EndpointAddress;
  /**
   * @throws E_UNREACHABLE no such peer there, wrong identity, wrong ALPN, ourselves, or time is up · E_ABORTED the
   *   signal fired · E_CLOSED this transport is closed
   */
  dial(target: EndpointAddress, options: DialOptions): Promise<Connection>;
  /** Bytes that tell a member a faster way to this node, for mesh/ to carry as they are; undefined: there is none. */
  offer?(): Uint8Array | undefined;
  /** Takes what a member's {@link offer} gave, as it came on that member's own connection. Never throws. */
  takeOffer?(from: EndpointId, offer: Uint8Array): void;
  /** Connections that peers dialed; ends when the transport is closed. Consumed once, a few wait meanwhile. */
  incoming(): AsyncIterable<Connection>;
  /** Closes every connection with `leaving`, then the socket. Takes a second at most; never rejects. */
  close(): Promise<void>;
}

export interface TransportOptions {
  /** 32-byte Ed25519 seed of the node's identity. */
  readonly secretKey: Uint8Array;
  /** What we answer to when dialed. */
  readonly alpns: readonly Alpn[];
  /** Numeric host:port of the UDP socket; port 0 picks one. @default "0.0.0.0:0" */
  readonly bind?: string;
  /**
   * Numeric host:port under which others reach us, told in place of our own sockets: of a router that passes a port on.
   * Peers that are connected may learn our sockets all the same, when they look for a shorter way.
   * @default our own
   */
  readonly advertise?: readonly string[];
  /** iroh relays: URLs, none, or the library's public set. @default "none" */
  readonly irohRelays?: readonly string[] | "none" | "default";
  /** Whether others are offered a direct path to this node, which listens for it on TCP. @default true */
  readonly offersDirect?: boolean;
}

export interface TransportKind {
  readonly kind: string;
  /** @throws E_PORT the socket's port is taken · E_CONFIG the bind address cannot be used */
  start(options: TransportOptions): Promise<Transport>;
}

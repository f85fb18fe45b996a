/**
 * A connection of the transport below, whose new streams go in a session while there is one. It lives and ends with
 * that connection; streams of either kind look the same from above.
 */
import type { EndpointId } from "../base/brand.ts";
import { withDeadline } from "../base/deadline.ts";
import type { ByteStream } from "../base/stream.ts";
import { sealStreams } from "../wire/stream-types.ts";
import { lostError } from "./connection-life.ts";
import type { MuxSession } from "./mux-session.ts";
import type { MuxStream } from "./mux-stream.ts";
import { peekedStream } from "./peeked-stream.ts";
import { type Queue, queue } from "./queue.ts";
import { abortCodes, type Alpn, closeCodes, type CloseReason, type Connection, type Path } from "./transport.ts";

/** How long a stream may take to say what it is, ms; as long as the layers above would wait for it. */
const typeByteMs = 10_000;

export interface DirectConnectionParts {
  readonly base: Connection;
  /** The session with the same process of the peer that takes new streams now. */
  readonly session: (instance: string | undefined) => MuxSession | undefined;
  /** The peer offers a stream of QUIC to carry a session on; type byte taken, what came behind it in `rest`. */
  readonly onCarrier: (stream: ByteStream) => void;
}

export class DirectConnection implements Connection {
  readonly base: Connection;
  readonly peer: EndpointId;
  readonly alpn: Alpn;
  readonly dialed: boolean;
  readonly serial: number;
  readonly closed: Promise<CloseReason>;
  readonly #parts: DirectConnectionParts;
  /** In sessions. */
  readonly #streams = new Set<MuxStream>();
  readonly #incoming: Queue<ByteStream> = queue();
  #ended = false;

  constructor(parts: DirectConnectionParts) {
    const { base } = parts;
    this.#parts = parts;
    this.base = base;
    this.peer = base.peer;
    this.alpn = base.alpn;
    this.dialed = base.dialed;
    this.serial = base.serial;
    this.closed = base.closed.then((reason) => {
      this.#end(reason);
      return reason;
    });
  }

  async open(): Promise<ByteStream> {
    return this.openNow() ?? (await this.base.open());
  }

  openNow(): ByteStream | undefined {
    const session = this.#ended ? undefined : this.#session();
    const stream = session?.open(this.alpn);
    if (stream) this.#keep(stream);
    return stream;
  }

  /** The peer has opened a stream for this connection in a session. */
  deliver(stream: MuxStream): void {
    this.#keep(stream);
    this.#incoming.push(stream);
  }

  streams(): AsyncIterable<ByteStream> {
    void this.#pump();
    return this.#incoming.values();
  }

  close(code: number = closeCodes.normal): void {
    this.base.close(code);
    this.#end({ code, by: "us" });
  }

  rttMs(): number | undefined {
    return this.base.rttMs();
  }

  path(): Path | undefined {
    const path = this.base.path();
    return this.#session()?.home === "tls" ? { kind: "tls", remote: path?.remote } : path;
  }

  /** Whether new streams go in a session now. */
  get inSession(): boolean {
    return !this.#ended && this.#session() !== undefined;
  }

  get peerInstance(): string | undefined {
    return this.base.peerInstance;
  }

  #session(): MuxSession | undefined {
    return this.#parts.session(this.base.peerInstance);
  }

  #keep(stream: MuxStream): void {
    this.#streams.add(stream);
    stream.onOver = () => this.#streams.delete(stream);
  }

  #end(reason: CloseReason): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const stream of this.#streams) stream.end(lostError(reason), abortCodes.closed);
    this.#incoming.end();
  }

  async #pump(): Promise<void> {
    for await (const stream of this.base.streams()) {
      if (this.alpn === "sealmesh/1") void this.#sort(stream);
      else this.#incoming.push(stream);
    }
    this.#incoming.end();
  }

  /** A stream that carries a session is the transport's own, and nobody above sees it. */
  async #sort(stream: ByteStream): Promise<void> {
    let first: Uint8Array | undefined;
    try {
      first = await withDeadline(stream.read(), { what: "a stream's type byte", ms: typeByteMs });
    } catch {
      stream.abort(abortCodes.timeout); // or it has been aborted, which whoever takes it shall see
    }
    if (first?.[0] !== sealStreams.direct) this.#incoming.push(peekedStream(stream, first));
    else this.#parts.onCarrier(first.length > 1 ? peekedStream(stream, first.subarray(1)) : stream);
  }
}

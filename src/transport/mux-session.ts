/**
 * Many streams between two nodes on one carrier at a time (a TLS connection, or a stream of QUIC). The
 * session outlives its carrier: both sides count the bytes of the sequence of frames, and what the other side has not
 * received is kept and sent again on the next carrier. So an exchange does not notice that the one under it broke.
 *
 * Knows no sockets and no identities; direct-tls.ts makes sessions, and finds them carriers.
 *
 * @see docs/wire.md
 */
import { MeshError } from "../base/errors.ts";
import { controlFrame, dataFrame, type FrameSink, FrameReader, type FrameType, frameTypes } from "./mux-frames.ts";
import { MuxStream, type StreamHome } from "./mux-stream.ts";
import { type Alpn, alpns } from "./transport.ts";

/** What carries the bytes of a session, both ways and in order. */
export interface Carrier {
  readonly kind: "tls" | "quic";
  /** Sends buffers that nobody changes any more. */
  send(frames: readonly Buffer[]): void;
  /** Bytes that were given to send() and have not left yet. */
  readonly waiting: number;
  /** With so many of these it gets no more. */
  readonly maxWaiting: number;
  /** Begins to deliver; each function is called as often as there is something, `onClosed` once and last. */
  start(events: CarrierEvents): void;
  /** Ends it behind what was given to send(). */
  close(): void;
  /** Ends it at once. */
  destroy(): void;
}

export interface CarrierEvents {
  /** Bytes as they come; what it throws ends nothing: it does not throw. */
  readonly onBytes: (bytes: Uint8Array) => void;
  /** Some of what waited has left. */
  readonly onSent: () => void;
  readonly onClosed: () => void;
}

export interface SessionOptions {
  /** Whether this side made it: its streams have the even numbers, and it finds the next carrier. */
  readonly dialed: boolean;
  /** What it began on. New streams are opened on this alone: on another carrier a session only ends what it has begun. */
  readonly home: Carrier["kind"];
  /** The peer has opened a stream. */
  readonly onStream: (alpn: Alpn, stream: MuxStream) => void;
  /** The carrier is gone; the session ends by itself unless it gets another one in time. */
  readonly onCarrierLost: () => void;
  readonly onEnd: () => void;
}

/** Streams that a peer may have open in one session: as many as on a QUIC connection (protocol.md §1.3). */
const maxIncomingStreams = 1_024;
/** Bytes of all streams together that may be on the way or unread. */
const sessionWindow = 16 * 1024 * 1024;
/** After so many bytes that were read the peer gets credit for them; small, since what lies unread in other streams is missing. */
const creditStep = 1024 * 1024;
/** New streams are opened only while so much of it is left: many that nobody reads must not hold up others. */
const leastCredit = 2 * 1024 * 1024;
/** Frames that come up in one turn of the event loop are sent together, unless they are so many bytes. */
const maxGathered = 256 * 1024;
/** Nor for longer than this, ms: in a turn that serves hundreds of streams the other side can begin with the first. */
const maxGatherMs = 0.5;
/** After so many bytes the peer is told that they have come, and forgets them. */
const acknowledgeBytes = 64 * 1024;
/** Frames that are kept for a peer that has not said it has them. */
const maxKept = 65_536;
/** While there are streams, each side says something so often, ms. */
const pingMs = 1_000;
/** A way on which nothing has come for so long is dead: short enough to go on elsewhere before a silent host is given up. */
const silenceMs = 3_000;
/** How long a session without carrier is kept, ms. */
const orphanMs = 6_000;

export class MuxSession implements StreamHome, FrameSink {
  readonly dialed: boolean;
  readonly home: Carrier["kind"];
  readonly #options: SessionOptions;
  readonly #streams = new Map<number, MuxStream>();
  readonly #waiting = new Set<MuxStream>();
  readonly #reader = new FrameReader(this);
  #carrier: Carrier | undefined;
  #nextOwn: number;
  #nextPeers: number;
  /** Streams of the peer among {@link #streams}. */
  #incoming = 0;
  #credit = sessionWindow;
  #allowed = sessionWindow;
  #letGo = 0;
  /** Frames that the peer has not said it received, and where in our sequence the first of them begins. */
  #kept: Buffer[] = [];
  #keptFrom = 0;
  /** Of these, how many the carrier has. */
  #sent = 0;
  #gathered = 0;
  #gatheredFromMs = 0;
  #flushing = false;
  #received = 0;
  #told = 0;
  /** The peer knows that there is this session: it has said something in it. */
  #confirmed: boolean;
  #ended = false;
  #orphaned: NodeJS.Timeout | undefined;
  #watching: NodeJS.Timeout | undefined;
  #attachedMs = 0;
  #heardMs = 0;
  #lookedMs = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.dialed = options.dialed;
    this.home = options.home;
    this.#confirmed = options.dialed;
    this.#nextOwn = options.dialed ? 0 : 1;
    this.#nextPeers = options.dialed ? 1 : 0;
  }

  /** Whether new streams belong here. */
  get isOpen(): boolean {
    const hasRoom = this.#credit >= leastCredit && this.#streams.size - this.#incoming < maxIncomingStreams;
    return this.#carrier?.kind === this.home && this.#confirmed && hasRoom;
  }

  /** performance.now() at which it got its carrier. */
  get attachedMs(): number {
    return this.#attachedMs;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes of the peer's sequence that have come so far. */
  get received(): number {
    return this.#received;
  }

  /** Gives the session its first carrier, or another one. @param peerReceived where the peer's side of the sequence ends */
  attach(carrier: Carrier, peerReceived: number): void {
    if (this.#ended) return carrier.destroy();
    const old = this.#carrier;
    this.#carrier = carrier;
    old?.destroy();
    clearTimeout(this.#orphaned);
    try {
      if (peerReceived < this.#keptFrom) throw new MeshError("E_WIRE", "the peer has lost what it said it had");
      this.#forget(peerReceived);
    } catch {
      return this.end();
    }
    this.#sent = 0;
    carrier.start({
      onBytes: (bytes) => this.#carrier === carrier && this.#take(bytes),
      onSent: () => this.#carrier === carrier && this.#proceed(),
      onClosed: () => this.#carrier === carrier && this.#lost(),
    });
    this.#attachedMs = performance.now();
    this.#heardMs = this.#attachedMs;
    this.#send(controlFrame(frameTypes.ping));
    this.#proceed();
    this.#leaveIfIdle();
  }

  /** @throws E_LOST it takes none */
  open(alpn: Alpn): MuxStream {
    if (!this.isOpen) {
      throw new MeshError("E_LOST", "the direct path takes no further stream");
    }
    const id = this.#nextOwn;
    this.#nextOwn += 2;
    const stream = new MuxStream(id, this);
    this.#add(id, stream);
    this.#send(controlFrame(frameTypes.open, id, alpns.indexOf(alpn)));
    return stream;
  }

  /** Leaves its carrier, if it still has one; what came on it has been counted then. */
  suspend(): void {
    const carrier = this.#carrier;
    if (!carrier) return;
    carrier.destroy();
    this.#lost();
  }

  /** Ends at once, for both sides, and every stream with it. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#orphaned);
    clearInterval(this.#watching);
    const carrier = this.#carrier;
    this.#carrier = undefined;
    const error = new MeshError("E_LOST", "the direct path was lost");
    for (const stream of this.#streams.values()) stream.lose(error);
    carrier?.send([...this.#kept.slice(this.#sent), controlFrame(frameTypes.goodbye)]);
    carrier?.close();
    this.#kept = [];
    this.#options.onEnd();
  }

  // ---- for its streams

  room(stream: MuxStream): number {
    const isFree = this.#carrier !== undefined && this.#carrier.waiting + this.#gathered < this.#carrier.maxWaiting;
    const room = isFree ? this.#credit : 0;
    if (room === 0) this.#waiting.add(stream);
    return room;
  }

  sendData(stream: MuxStream, bytes: Uint8Array): void {
    this.#credit -= bytes.length;
    this.#send(dataFrame(stream.id, bytes));
  }

  sendEnd(stream: MuxStream): void {
    this.#send(controlFrame(frameTypes.end, stream.id));
  }

  sendAbort(stream: MuxStream, code: number): void {
    this.#send(controlFrame(frameTypes.abort, stream.id, code & 0xff));
  }

  sendCredit(stream: MuxStream, bytes: number): void {
    this.#send(controlFrame(frameTypes.credit, stream.id, bytes));
  }

  letGo(bytes: number): void {
    this.#letGo += bytes;
    if (this.#letGo < creditStep) return;
    this.#allowed += this.#letGo;
    this.#send(controlFrame(frameTypes.sessionCredit, 0, this.#letGo));
    this.#letGo = 0;
  }

  released({ id }: MuxStream): void {
    if (!this.#streams.delete(id)) return;
    if (!this.#isOwn(id)) this.#incoming -= 1;
    if (this.#streams.size > 0) return;
    clearInterval(this.#watching);
    this.#watching = undefined;
    this.#leaveIfIdle();
  }

  // ---- what comes

  onData(id: number, bytes: Uint8Array): void {
    this.#allowed -= bytes.length;
    if (this.#allowed < 0) throw new MeshError("E_WIRE", "a session got more than it may");
    const stream = this.#streams.get(id);
    if (stream) stream.onData(bytes);
    else this.letGo(bytes.length); // it was aborted here, and the peer does not know yet
  }

  onControl(type: Exclude<FrameType, 2>, id: number, value: number): void {
    const stream = this.#streams.get(id);
    switch (type) {
      case frameTypes.open:
        return this.#opened(id, value);
      case frameTypes.end:
        return stream?.onEnd();
      case frameTypes.abort:
        return stream?.onAbort(value);
      case frameTypes.credit:
        return stream?.onCredit(value);
      case frameTypes.sessionCredit:
        this.#credit += value;
        if (this.#credit > sessionWindow) throw new MeshError("E_WIRE", "a session was given too much credit");
        return this.#proceed();
      case frameTypes.received:
        return this.#forget(value);
      case frameTypes.ping:
        return;
      case frameTypes.goodbye:
        return this.end();
    }
  }

  #take(bytes: Uint8Array): void {
    this.#received += bytes.length;
    this.#heardMs = performance.now();
    this.#confirmed = true;
    try {
      this.#reader.take(bytes);
    } catch {
      return this.end(); // no peer of ours sends this; its streams cannot be told apart any more
    }
    if (this.#received - this.#told < acknowledgeBytes || this.#ended) return;
    this.#told = this.#received;
    this.#send(controlFrame(frameTypes.received, 0, this.#received));
  }

  #opened(id: number, alpnIndex: number): void {
    const alpn = alpns[alpnIndex];
    if (id !== this.#nextPeers || !alpn) throw new MeshError("E_WIRE", "a stream was opened out of turn");
    // aborts take a moment here, so that the peer may count some that are over already
    if (this.#incoming >= 2 * maxIncomingStreams) throw new MeshError("E_WIRE", "a peer opened too many streams");
    this.#nextPeers += 2;
    this.#incoming += 1;
    const stream = new MuxStream(id, this);
    this.#add(id, stream);
    this.#options.onStream(alpn, stream);
  }

  #add(id: number, stream: MuxStream): void {
    this.#streams.set(id, stream);
    if (this.#watching) return;
    this.#heardMs = performance.now();
    this.#lookedMs = this.#heardMs;
    this.#watching = setInterval(() => this.#look(), pingMs);
    this.#watching.unref();
  }

  // ---- what goes

  #send(frame: Buffer): void {
    if (this.#ended) return;
    const nowMs = performance.now();
    if (this.#gathered === 0) this.#gatheredFromMs = nowMs;
    this.#kept.push(frame);
    this.#gathered += frame.length;
    if (this.#kept.length > maxKept) return this.end(); // the peer takes what it gets and never says so
    if (this.#gathered >= maxGathered || nowMs - this.#gatheredFromMs > maxGatherMs) return this.#flush();
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    this.#gathered = 0;
    if (!this.#carrier || this.#sent === this.#kept.length) return;
    const frames = this.#kept.slice(this.#sent);
    this.#sent = this.#kept.length;
    this.#carrier.send(frames);
  }

  /** The peer has received so much of our sequence, or has by now received more. @throws E_WIRE more than we sent */
  #forget(position: number): void {
    if (position < this.#keptFrom) return; // said before a carrier broke, and sent again
    let count = 0;
    let at = this.#keptFrom;
    let first = this.#kept[0];
    while (first && at + first.length <= position) {
      at += first.length;
      count += 1;
      first = this.#kept[count];
    }
    const into = position - at;
    if (count > this.#sent || (into > 0 && count === this.#sent)) {
      throw new MeshError("E_WIRE", "the peer says it has received what was not sent");
    }
    this.#kept.splice(0, count);
    this.#sent -= count;
    if (into > 0 && first) this.#kept[0] = first.subarray(into);
    this.#keptFrom = position;
  }

  #proceed(): void {
    if (this.#waiting.size === 0 || !this.#carrier || this.#carrier.waiting > this.#carrier.maxWaiting / 2) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const stream of waiting) stream.proceed();
  }

  // ---- its life

  /** Each second while there are streams: says that we live, and whether the peer does. */
  #look(): void {
    const nowMs = performance.now();
    // a machine that slept, or a process that was held, has heard nothing for its own reasons
    if (nowMs - this.#lookedMs > 2 * pingMs) this.#heardMs = nowMs;
    this.#lookedMs = nowMs;
    if (!this.#carrier) return;
    if (nowMs - this.#heardMs > silenceMs) return this.suspend();
    this.#send(controlFrame(frameTypes.ping));
  }

  #lost(): void {
    if (this.#ended) return;
    this.#carrier = undefined;
    if (this.#streams.size === 0 && this.#kept.length === 0) return this.end();
    this.#orphaned = setTimeout(() => this.end(), orphanMs);
    this.#orphaned.unref();
    this.#options.onCarrierLost();
  }

  /** A session that takes no new streams, away from its home, is of no use without old ones. */
  #leaveIfIdle(): void {
    if (this.dialed && this.#streams.size === 0 && this.#carrier && this.#carrier.kind !== this.home) this.end();
  }

  #isOwn(id: number): boolean {
    return id % 2 === (this.dialed ? 0 : 1);
  }
}

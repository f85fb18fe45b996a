/**
 * One stream of a session (mux-session.ts): what has come and was not read yet, what may still be sent, and its ends.
 * Its ways are those that every ByteStream has; no timer and no listener per read or write.
 */
import { MeshError } from "../base/errors.ts";
import type { Now } from "../base/flow.ts";
import { Aborter, type Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import { lostError, peerAborted } from "./connection-life.ts";
import { maxDataBytes } from "./mux-frames.ts";
import { abortCodes } from "./transport.ts";

/** Bytes of a stream that may be on the way or unread; what a reader has taken is given back by halves. */
export const streamWindow: number = 1024 * 1024;

/** What a stream asks of its session. */
export interface StreamHome {
  /** How many bytes may be sent now, for all streams together; 0: wait for {@link MuxStream.proceed}. */
  room(stream: MuxStream): number;
  sendData(stream: MuxStream, bytes: Uint8Array): void;
  sendEnd(stream: MuxStream): void;
  sendAbort(stream: MuxStream, code: number): void;
  sendCredit(stream: MuxStream, bytes: number): void;
  /** So many bytes are held no longer, read or thrown away. */
  letGo(bytes: number): void;
  /** Both directions have ended, nobody needs the stream any more. */
  released(stream: MuxStream): void;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(reason: Error): void;
}

export class MuxStream implements ByteStream {
  readonly id: number;
  /** Told when both directions have ended. */
  onOver: () => void = () => undefined;
  readonly #home: StreamHome;
  #failure: MeshError | undefined;
  /** Made when somebody wants to hear of it. */
  #abortion: Aborter | undefined;
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  /** Read since the last credit was given. */
  #readBytes = 0;
  /** What the peer may still send. */
  #allowed = streamWindow;
  #credit = streamWindow;
  #reading: "open" | "ending" | "ended" = "open";
  #writing: "open" | "finished" = "open";
  #over = false;
  #reader: Waiter<Uint8Array | undefined> | undefined;
  #writer: Waiter<void> | undefined;

  constructor(id: number, home: StreamHome) {
    this.id = id;
    this.#home = home;
  }

  get aborted(): Signal {
    if (!this.#abortion) {
      this.#abortion = new Aborter();
      if (this.#failure) this.#abortion.abort(this.#failure);
    }
    return this.#abortion;
  }

  read(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      const there = this.now();
      if (there === undefined) this.#reader = { resolve, reject };
      else resolve(there === "end" ? undefined : there);
    });
  }

  now(): Now {
    if (this.#failure) throw this.#failure;
    const bytes = this.#unread.shift();
    if (bytes) this.#took(bytes.length);
    else if (this.#reading !== "open") this.#endReading();
    else return undefined;
    return bytes ?? "end";
  }

  offer(bytes: Uint8Array): boolean {
    this.#requireWriting();
    if (bytes.length > this.#room()) return false;
    if (bytes.length > 0) this.#send(bytes);
    return true;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#requireWriting();
    for (let at = 0; at < bytes.length;) {
      const room = Math.min(this.#room(), bytes.length - at);
      if (room === 0) {
        await new Promise<void>((resolve, reject) => (this.#writer = { resolve, reject }));
        continue;
      }
      this.#send(bytes.subarray(at, at + room));
      at += room;
    }
  }

  #requireWriting(): void {
    if (this.#failure) throw this.#failure;
    if (this.#writing === "finished") throw new MeshError("E_BUG", "a finished stream takes no more bytes");
  }

  /** Bytes that one frame may have now. */
  #room(): number {
    return Math.min(this.#credit, maxDataBytes, this.#home.room(this));
  }

  #send(bytes: Uint8Array): void {
    this.#credit -= bytes.length;
    this.#home.sendData(this, bytes);
  }

  async finish(): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#writing === "finished") return;
    this.#writing = "finished";
    this.#home.sendEnd(this);
    this.#releaseIfEnded();
  }

  abort(code: number = abortCodes.cancelled): void {
    this.end(new MeshError("E_ABORTED", "we aborted the stream"), code);
  }

  /** Ends both directions: everything that waits fails with `error`. @param code for the peer; undefined: it need not be told */
  end(error: MeshError, code?: number): void {
    if (this.#over) return;
    this.#over = true;
    if (code !== undefined) this.#home.sendAbort(this, code);
    this.#home.letGo(this.#unreadBytes);
    this.#unread = [];
    this.#unreadBytes = 0;
    this.#failure = error;
    this.#abortion?.abort(error);
    this.#reader?.reject(error);
    this.#writer?.reject(error);
    this.#leave();
  }

  /** The session has gone. What came whole, and was answered whole, can still be read. */
  lose(error: MeshError): void {
    if (this.#reading === "open" || this.#writing === "open") this.end(error);
  }

  /** Bytes have come. @throws E_WIRE more than the peer may send, or after its end */
  onData(bytes: Uint8Array): void {
    this.#allowed -= bytes.length;
    if (this.#allowed < 0 || this.#reading !== "open") throw new MeshError("E_WIRE", "a stream got more than it may");
    const reader = this.#reader;
    if (reader) {
      this.#reader = undefined;
      this.#unreadBytes += bytes.length;
      this.#took(bytes.length);
      reader.resolve(bytes);
      return;
    }
    this.#unread.push(bytes);
    this.#unreadBytes += bytes.length;
  }

  onEnd(): void {
    if (this.#reading !== "open") return;
    this.#reading = "ending";
    if (!this.#reader) return;
    this.#reader.resolve(this.#endReading());
    this.#reader = undefined;
  }

  /** What came before it is handed to a reader that waits for it, and that turn of the event loop is the reader's. */
  onAbort(code: number): void {
    const error = code === abortCodes.closed ? lostError({ code: undefined, by: "peer" }) : peerAborted(code);
    setImmediate(() => this.end(error));
  }

  /** @throws E_WIRE more than a stream can have */
  onCredit(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit > streamWindow) throw new MeshError("E_WIRE", "a stream was given more credit than it can use");
    this.proceed();
  }

  /** There may be room to write now. */
  proceed(): void {
    this.#writer?.resolve();
    this.#writer = undefined;
  }

  /** Counts bytes as read, and gives the peer credit for them from time to time. */
  #took(bytes: number): void {
    this.#unreadBytes -= bytes;
    this.#readBytes += bytes;
    this.#home.letGo(bytes);
    if (this.#readBytes < streamWindow / 2 || this.#reading !== "open") return;
    this.#allowed += this.#readBytes;
    this.#home.sendCredit(this, this.#readBytes);
    this.#readBytes = 0;
  }

  #endReading(): undefined {
    this.#reading = "ended";
    this.#releaseIfEnded();
    return undefined;
  }

  /** The peer's end counts when it has been read: until then there may be something to abort. */
  #releaseIfEnded(): void {
    if (this.#over || this.#reading !== "ended" || this.#writing === "open") return;
    this.#over = true;
    this.#leave();
  }

  #leave(): void {
    this.#home.released(this);
    this.onOver();
  }
}

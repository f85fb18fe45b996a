/**
 * Frames (u32 LE length | payload) and a reader that takes exact amounts from a byte stream. Linear in the bytes read,
 * whatever pieces the transport delivers; memory follows what has arrived, not what a length field promises.
 */
import { concat, empty, readU32le, writeU32le } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import type { ByteStream } from "../base/stream.ts";

/** @returns u32 LE payload length | payload, in one piece, so that one write sends it */
export function encodeFrame(payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + payload.length);
  writeU32le(out, 0, payload.length);
  out.set(payload, 4);
  return out;
}

/**
 * Reads a stream in exact amounts; at most one call at a time. Bytes that are returned may share memory with what the
 * stream delivered: copy what is kept for long. Errors of the stream itself (E_LOST, E_ABORTED) pass through.
 */
export class StreamReader {
  readonly #stream: Pick<ByteStream, "read" | "now">;
  /** Delivered but not yet taken. */
  #rest: Uint8Array = empty;
  #ended = false;
  #received = 0;
  #onBytes: ((count: number) => void) | undefined;

  constructor(stream: Pick<ByteStream, "read" | "now">) {
    this.#stream = stream;
  }

  /** Bytes that the stream has delivered so far. */
  get received(): number {
    return this.#received;
  }

  /** Calls `onBytes` with the size of each delivery from now on; what it throws, {@link ready} or the read throws. */
  meter(onBytes: (count: number) => void): void {
    this.#onBytes = onBytes;
  }

  /** Next bytes as they come, what is left from earlier reads first; undefined at the end. */
  async read(): Promise<Uint8Array | undefined> {
    while (!this.ready()) await this.fill();
    const rest = this.#rest;
    this.#rest = empty;
    return rest.length > 0 ? rest : undefined;
  }

  /** What has been delivered and not yet taken; borrowed until the next call. */
  get waiting(): Uint8Array {
    return this.#rest;
  }

  /** The stream has ended; what is waiting is the last of it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether the next byte or the end is there; what the stream has delivered without being asked is taken in. @throws as the stream */
  ready(): boolean {
    while (this.#rest.length === 0 && !this.#ended) {
      const there = this.#stream.now?.();
      if (there === undefined) return false;
      this.#deliver(there === "end" ? undefined : there);
    }
    return true;
  }

  /** When nothing is {@link waiting}: resolves when something does, or the stream has {@link ended}. */
  fill(): Promise<void> {
    return this.#stream.read().then(this.#deliver);
  }

  readonly #deliver = (bytes: Uint8Array | undefined): void => {
    if (bytes === undefined) {
      this.#ended = true;
      return;
    }
    this.#received += bytes.length;
    this.#onBytes?.(bytes.length);
    this.#rest = bytes;
  };

  /** Takes `length` bytes of {@link waiting} behind `skipped` ones, which are gone then; it must have as many. */
  take(length: number, skipped = 0): Uint8Array {
    const rest = this.#rest;
    const end = skipped + length;
    this.#rest = end === rest.length ? empty : rest.subarray(end);
    return rest.subarray(skipped, end);
  }

  /** Next byte, or undefined at the end. */
  async byte(): Promise<number | undefined> {
    while (!this.ready()) await this.fill();
    return this.takeByte();
  }

  /** The same, when {@link ready} says that it is there. */
  takeByte(): number | undefined {
    const value = this.#rest[0];
    if (value !== undefined) this.#rest = this.#rest.subarray(1);
    return value;
  }

  /** Next byte without taking it, or undefined at the end. */
  async peekByte(): Promise<number | undefined> {
    while (!this.ready()) await this.fill();
    return this.#rest[0];
  }

  /** `length` bytes, or undefined when the stream ends before them (what did come is gone then). */
  async tryExact(length: number): Promise<Uint8Array | undefined> {
    const pieces = new Pieces();
    while (pieces.length < length) {
      const bytes = await this.read();
      if (bytes === undefined) return undefined;
      const missing = length - pieces.length;
      if (bytes.length > missing) this.#rest = bytes.subarray(missing);
      pieces.add(bytes.subarray(0, missing));
    }
    return pieces.join();
  }

  /** @throws E_WIRE the stream ends before `length` bytes */
  async exact(length: number): Promise<Uint8Array> {
    const bytes = await this.tryExact(length);
    if (bytes === undefined) throw new MeshError("E_WIRE", `the stream ended where ${length} bytes were due`);
    return bytes;
  }

  /** @throws E_WIRE the stream ends before 4 bytes */
  async u32(): Promise<number> {
    return readU32le(await this.exact(4), 0);
  }

  /**
   * Payload of one frame.
   *
   * @throws E_WIRE the length is over the limit (nothing of the payload is read then), or the stream ends early
   */
  async frame(limitBytes: number): Promise<Uint8Array> {
    const length = await this.u32();
    if (length > limitBytes) {
      throw new MeshError("E_WIRE", `a frame of ${length} bytes is over the limit of ${limitBytes}`);
    }
    return this.exact(length);
  }

  /**
   * Everything up to the end.
   *
   * @param what for the message: "the request"
   * @throws E_TOO_LARGE as soon as more than `limitBytes` have come
   */
  async readAll(limitBytes: number, what: string): Promise<Uint8Array> {
    const pieces = new Pieces();
    for (;;) {
      const bytes = await this.read();
      if (bytes === undefined) return pieces.join();
      pieces.add(bytes);
      if (pieces.length > limitBytes) throw tooLarge(what, limitBytes);
    }
  }

  /** The same, if all of it has come; else it stays. @throws as {@link readAll}; what had come is gone then */
  allNow(limitBytes: number, what: string): Uint8Array | undefined {
    const pieces = new Pieces();
    while (this.ready()) {
      if (this.#rest.length === 0) return pieces.join();
      pieces.add(this.#rest);
      this.#rest = empty;
      if (pieces.length > limitBytes) throw tooLarge(what, limitBytes);
    }
    this.#rest = pieces.join();
    return undefined;
  }

  /** @throws E_WIRE when more bytes come instead of the end */
  async end(): Promise<void> {
    if ((await this.peekByte()) !== undefined)
      throw new MeshError("E_WIRE", "bytes where the stream should have ended");
  }
}

function tooLarge(what: string, limitBytes: number): MeshError {
  return new MeshError("E_TOO_LARGE", `${what} has more than ${limitBytes} bytes`);
}

const smallBytes = 4_096;

/** Collects what a stream delivers. Small pieces are copied together: one array object per byte would cost 100 times it. */
class Pieces {
  readonly #parts: Uint8Array[] = [];
  /** What small pieces are copied into, and how much of it is filled. */
  #block: Uint8Array | undefined;
  #filled = 0;
  length = 0;

  add(bytes: Uint8Array): void {
    this.length += bytes.length;
    if (bytes.length >= smallBytes || this.#parts.length === 0) {
      this.#closeBlock();
      this.#parts.push(bytes);
      return;
    }
    if (this.#block === undefined || this.#filled + bytes.length > this.#block.length) {
      this.#closeBlock();
      this.#block = new Uint8Array(smallBytes * 4);
    }
    this.#block.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  /** All of it; the one piece itself when there was only one. */
  join(): Uint8Array {
    this.#closeBlock();
    const [first] = this.#parts;
    return this.#parts.length === 1 && first !== undefined ? first : concat(this.#parts);
  }

  #closeBlock(): void {
    if (this.#block !== undefined) this.#parts.push(this.#block.subarray(0, this.#filled));
    this.#block = undefined;
    this.#filled = 0;
  }
}

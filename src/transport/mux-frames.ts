/**
 * The bytes of a session: frames of many streams, one behind the other, in one sequence that the session counts. Pure:
 * no socket and no state of a stream is known here.
 *
 *     u8 type | u24 LE payload length | u32 LE stream | payload          8 bytes before the payload
 *
 * Streams that the dialing side of the session opened have even numbers, those of the other side odd ones, each counted
 * up by 2 from 0 or 1; frames of the whole session have stream 0 and a type of their own.
 *
 * @see docs/wire.md
 */
import { readU32le } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";

export const frameTypes = {
  /** The sender opens a stream; payload: u8, which ALPN it is for. */
  open: 1,
  /** Bytes of a stream, 1 to {@link maxDataBytes}. */
  data: 2,
  /** The sender's direction of a stream has ended cleanly. */
  end: 3,
  /** The sender has aborted a stream, both directions; payload: u8 code. */
  abort: 4,
  /** The sender takes so many bytes more on a stream; payload: u32. */
  credit: 5,
  /** The same for all streams together. */
  sessionCredit: 6,
  /** The sender has received so many bytes of the session; payload: u48. */
  received: 7,
  /** Nothing, to show that the way is alive. */
  ping: 8,
  /** The sender has ended the session; nothing more comes. */
  goodbye: 9,
} as const;

export type FrameType = (typeof frameTypes)[keyof typeof frameTypes];

export const headerBytes = 8;
/** A stream's bytes in one frame: more would keep other streams waiting. */
export const maxDataBytes = 65_536;

/** @returns a buffer of its own, payload copied */
export function dataFrame(stream: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + payload.length);
  writeHeader(frame, frameTypes.data, payload.length, stream);
  frame.set(payload, headerBytes);
  return frame;
}

/** A frame of any type but data. @param value its payload as one number */
export function controlFrame(type: Exclude<FrameType, 2>, stream = 0, value = 0): Buffer {
  const length = payloadLengths[type];
  const frame = Buffer.allocUnsafe(headerBytes + length);
  writeHeader(frame, type, length, stream);
  if (length > 0) frame.writeUIntLE(value, headerBytes, length);
  return frame;
}

/** Of each type but data. */
const payloadLengths: Readonly<Record<Exclude<FrameType, 2>, number>> = {
  1: 1,
  3: 0,
  4: 1,
  5: 4,
  6: 4,
  7: 6,
  8: 0,
  9: 0,
};

function writeHeader(frame: Buffer, type: FrameType, length: number, stream: number): void {
  frame[0] = type;
  frame[1] = length & 0xff;
  frame[2] = (length >> 8) & 0xff;
  frame[3] = length >> 16;
  frame.writeUInt32LE(stream, 4);
}

/** What a session does with frames as they come. */
export interface FrameSink {
  /** A piece of a data frame, borrowed from the input. */
  onData(stream: number, bytes: Uint8Array): void;
  /** A whole frame of another type. @param value its payload as one number, 0 without one */
  onControl(type: Exclude<FrameType, 2>, stream: number, value: number): void;
}

/** Cuts a sequence of bytes into frames, however it comes in pieces; data is passed on without waiting for its frame's end. */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #header = new Uint8Array(headerBytes);
  #have = 0;
  readonly #payload = new Uint8Array(6);
  #filled = 0;
  /** Of the frame that is being read, once its header is there. */
  #type: FrameType | undefined;
  #stream = 0;
  #missing = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** @throws E_WIRE a type that is not known, a length that it cannot have; and what the sink throws. Nothing may follow then */
  take(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#type === undefined) {
        const wanted = Math.min(headerBytes - this.#have, bytes.length - at);
        this.#header.set(bytes.subarray(at, at + wanted), this.#have);
        this.#have += wanted;
        at += wanted;
        if (this.#have < headerBytes) return;
        this.#begin();
      } else {
        const piece = bytes.subarray(at, at + this.#missing);
        at += piece.length;
        this.#missing -= piece.length;
        if (this.#type === frameTypes.data) {
          this.#sink.onData(this.#stream, piece);
        } else {
          this.#payload.set(piece, this.#filled);
          this.#filled += piece.length;
        }
      }
      if (this.#type !== undefined && this.#missing === 0) this.#finish(this.#type);
    }
  }

  #begin(): void {
    const [type = 0, low = 0, middle = 0, high = 0] = this.#header;
    const length = low + middle * 0x100 + high * 0x10000;
    if (!isFrameType(type)) throw new MeshError("E_WIRE", `a session has no frames of type ${type}`);
    const isRight = type === frameTypes.data ? length > 0 && length <= maxDataBytes : length === payloadLengths[type];
    if (!isRight) throw new MeshError("E_WIRE", `a frame of type ${type} cannot have ${length} bytes`);
    this.#have = 0;
    this.#type = type;
    this.#stream = readU32le(this.#header, 4);
    this.#missing = length;
  }

  #finish(type: FrameType): void {
    this.#type = undefined;
    if (type === frameTypes.data) return;
    let value = 0;
    for (let index = this.#filled - 1; index >= 0; index -= 1) value = value * 0x100 + (this.#payload[index] ?? 0);
    this.#filled = 0;
    this.#sink.onControl(type, this.#stream, value);
  }
}

function isFrameType(value: number): value is FrameType {
  return value >= frameTypes.open && value <= frameTypes.goodbye;
}

/** Byte helpers: the only place that looks behind a Uint8Array. Nothing here knows a protocol. */
import { isAscii } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import { MeshError } from "./errors.ts";

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true });

export const empty: Uint8Array = new Uint8Array(0);

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** Constant-time comparison of contents; false at once when the lengths differ. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** @throws E_WIRE when the bytes are not UTF-8 */
export function fromUtf8(bytes: Uint8Array): string {
  if (isAscii(bytes)) return latin1(bytes); // many times as fast
  try {
    return strictDecoder.decode(bytes);
  } catch (cause) {
    throw new MeshError("E_WIRE", "text is not valid UTF-8", { cause });
  }
}

/** The same of bytes that somebody else wrote: what is no UTF-8 becomes U+FFFD. */
export function fromLooseUtf8(bytes: Uint8Array): string {
  return isAscii(bytes) ? latin1(bytes) : view(bytes).toString("utf8");
}

/** Latin-1 text of the bytes, one character a byte: for HTTP heads. */
export function latin1(bytes: Uint8Array): string {
  return view(bytes).toString("latin1");
}

/** The bytes of Latin-1 text. */
export function fromLatin1(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

export function toHex(bytes: Uint8Array): string {
  return view(bytes).toString("hex");
}

/** @throws E_WIRE unless `text` is an even number of lower-case hex digits, `length` bytes of them when given */
export function fromHex(text: string, length?: number): Uint8Array {
  if (!/^(?:[0-9a-f]{2})*$/.test(text) || (length !== undefined && text.length !== length * 2)) {
    throw new MeshError("E_WIRE", `expected ${length ?? "some"} bytes as lower-case hex`);
  }
  return Uint8Array.from(Buffer.from(text, "hex"));
}

export function toBase64(bytes: Uint8Array): string {
  return view(bytes).toString("base64");
}

export function toBase64Url(bytes: Uint8Array): string {
  return view(bytes).toString("base64url");
}

/**
 * Decodes canonical base64: standard alphabet, padding required, no white space, unused bits zero.
 *
 * @throws E_WIRE for anything else, or when `length` is given and differs
 */
export function fromBase64(text: string, length?: number): Uint8Array {
  const bytes = Buffer.from(text, "base64");
  // Node's decoder skips what it does not know; only text that encodes back to itself is canonical
  if (bytes.toString("base64") !== text || (length !== undefined && bytes.length !== length)) {
    throw new MeshError("E_WIRE", `expected ${length === undefined ? "" : `${length} bytes of `}canonical base64`);
  }
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Decodes canonical base64 that stands in `text` as bytes, into all of `target`.
 *
 * @returns false unless it is canonical and has exactly that length
 */
export function decodeBase64Into(target: Uint8Array, text: Uint8Array): boolean {
  if (text.length !== 4 * Math.ceil(target.length / 3)) return false;
  const source = view(text);
  // Node's decoder takes the alphabet of URLs as well; what is in neither it leaves out, and the length tells
  if (source.includes(0x2d) || source.includes(0x5f)) return false;
  const written = view(target).write(latin1(text), "base64");
  return written === target.length && hasUnusedBitsZero(text, target.length % 3);
}

/** @param rest bytes of the last group: 1 or 2, or 0 when it is full */
function hasUnusedBitsZero(text: Uint8Array, rest: number): boolean {
  if (rest === 0) return true;
  const padding = 3 - rest;
  const last = alphabet.indexOf(String.fromCharCode(text.at(-1 - padding) ?? 0));
  const padded = text.at(-1) === equals && (padding === 1 || text.at(-2) === equals);
  return padded && last >= 0 && (last & (rest === 1 ? 0x0f : 0x03)) === 0;
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const equals = 0x3d;

/** @throws E_WIRE unless `text` is unpadded canonical base64url */
export function fromBase64Url(text: string): Uint8Array {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.toString("base64url") !== text) throw new MeshError("E_WIRE", "expected unpadded base64url");
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function u32le(value: number): Uint8Array {
  const out = new Uint8Array(4);
  writeU32le(out, 0, value);
  return out;
}

export function writeU32le(target: Uint8Array, offset: number, value: number): void {
  target[offset] = value & 0xff;
  target[offset + 1] = (value >>> 8) & 0xff;
  target[offset + 2] = (value >>> 16) & 0xff;
  target[offset + 3] = value >>> 24;
}

export function readU32le(source: Uint8Array, offset: number): number {
  if (offset < 0 || offset + 4 > source.length) throw new RangeError("a u32 has 4 bytes");
  const at = (index: number): number => source[offset + index] ?? 0;
  return (at(0) | (at(1) << 8) | (at(2) << 16) | (at(3) << 24)) >>> 0;
}

export function u64le(value: bigint): Uint8Array {
  const out = new Uint8Array(8);
  view(out).writeBigUInt64LE(value, 0);
  return out;
}

export function readU64le(source: Uint8Array, offset: number): bigint {
  return view(source).readBigUInt64LE(offset);
}

/** The parts one after the other, each behind its length as u32 LE. */
export function lengthPrefixed(...parts: readonly Uint8Array[]): Uint8Array {
  return concat(parts.flatMap((part) => [u32le(part.length), part]));
}

/**
 * Reads what {@link lengthPrefixed} wrote, from `at` on.
 *
 * @param malformed what to throw for a part beyond its bound or cut short, and for bytes behind the last one
 */
export function lengthPrefixedReader(bytes: Uint8Array, at: number, malformed: () => MeshError): LengthPrefixedReader {
  return {
    next(max) {
      if (bytes.length - at < 4) throw malformed();
      const length = readU32le(bytes, at);
      at += 4;
      if (length > max || length > bytes.length - at) throw malformed();
      at += length;
      return bytes.slice(at - length, at);
    },
    end() {
      if (at !== bytes.length) throw malformed();
    },
  };
}

export interface LengthPrefixedReader {
  /** The next part, of at most `max` bytes; a copy. */
  next(max: number): Uint8Array;
  /** Throws unless all has been read. */
  end(): void;
}

/** A Buffer over the same memory; stays inside this file's callers. */
export function view(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** The same memory as a plain Uint8Array, which Node's own streams give as a Buffer. */
export function plain(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Big-endian reading and writing as a TPM does it: integers, and "2B" parts, which are a u16 length and that many bytes.
 * Used for TPM responses and for what a peer says its TPM made, so every read is bounded.
 */
import { concat, view } from "../../../base/bytes.ts";
import { MeshError } from "../../../base/errors.ts";

/** Walks over borrowed bytes from their start; every method throws E_WIRE when there are not enough. */
export interface TpmReader {
  u8(): number;
  u16(): number;
  u32(): number;
  u64(): bigint;
  /** A view of the next `length` bytes. */
  take(length: number): Uint8Array;
  /** A view of the bytes of a 2B part, at most `max`. */
  sized(max: number): Uint8Array;
  /** What is left. */
  rest(): Uint8Array;
  /** @throws E_WIRE unless everything was read */
  end(): void;
}

export function tpmReader(bytes: Uint8Array): TpmReader {
  let at = 0;
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw new MeshError("E_WIRE", "a TPM structure is cut short");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const u16 = (): number => view(take(2)).readUInt16BE(0);
  return {
    u8: () => view(take(1)).readUInt8(0),
    u16,
    u32: () => view(take(4)).readUInt32BE(0),
    u64: () => view(take(8)).readBigUInt64BE(0),
    take,
    sized: (max) => {
      const length = u16();
      if (length > max) throw new MeshError("E_WIRE", `a part of a TPM structure has ${length} bytes, over ${max}`);
      return take(length);
    },
    rest: () => take(bytes.length - at),
    end: () => {
      if (at !== bytes.length) throw new MeshError("E_WIRE", "something follows a TPM structure");
    },
  };
}

export function u8be(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function u16be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

export function u32be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** u16 length, then the bytes. */
export function sized(bytes: Uint8Array): Uint8Array {
  return concat([u16be(bytes.length), bytes]);
}

/** `bytes` with zeros before them: TPMs and JWKs differ on whether a coordinate keeps its leading zeros. */
export function padLeft(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length > length) throw new MeshError("E_WIRE", `a number has ${bytes.length} bytes, over ${length}`);
  const out = new Uint8Array(length);
  out.set(bytes, length - bytes.length);
  return out;
}

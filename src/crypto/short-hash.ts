/**
 * Short tags of texts, under a key of its own that never leaves the process: for tables that strangers fill. Who does not
 * know the key can neither choose texts with the same tag nor fill one place of a table. Nothing that is sent or kept.
 *
 * @see Aumasson and Bernstein, SipHash: a fast short-input PRF, §3 · libsodium crypto_shorthash
 */
import { fromLatin1, readU32le } from "../base/bytes.ts";
import { randomOctets } from "./box.ts";
import { sodium } from "./sodium.ts";

/** 64 bits, as two unsigned words. */
export interface ShortTag {
  readonly low: number;
  readonly high: number;
}

/** @returns tags of Latin-1 texts, by SipHash-2-4 under `key`: 16 bytes, random ones unless a test fixes them; moved */
export function newShortHash(key: Uint8Array = randomOctets(16)): (text: string) => ShortTag {
  const out = new Uint8Array(8);
  return (text) => {
    sodium.crypto_shorthash(out, fromLatin1(text), key);
    return { low: readU32le(out, 0), high: readU32le(out, 4) };
  };
}

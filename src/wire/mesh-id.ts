/**
 * Id of a named open mesh: SipHash-1-3 under a key of zeros, as 16 hex digits (protocol.md §3.6).
 *
 *   "mesh-llm:" 0xff name 0xff [Nostr public key 0xff]
 *
 * Everybody who knows the name can compute it: it tells meshes apart and proves nothing. For node/ and discovery/.
 */
import { concat, utf8 } from "../base/bytes.ts";

const textEnd = Uint8Array.of(0xff);

/** @param nostrKey hex, where its publisher put it into the id; ours leaves it out, so that all who start it agree */
export function namedMeshId(name: string, nostrKey?: string): string {
  const texts = ["mesh-llm:", name, ...(nostrKey === undefined ? [] : [nostrKey])];
  const hash = sipHash13(concat(texts.flatMap((text) => [utf8(text), textEnd])));
  return hash.toString(16).padStart(16, "0");
}

type Lanes = readonly [bigint, bigint, bigint, bigint];

/** SipHash with one round a word and three at the end, key zero. @see Aumasson and Bernstein, SipHash, 2012 */
function sipHash13(bytes: Uint8Array): bigint {
  // "somepseudorandomlygeneratedbytes"
  let lanes: Lanes = [0x736f6d6570736575n, 0x646f72616e646f6dn, 0x6c7967656e657261n, 0x7465646279746573n];
  const whole = bytes.length - (bytes.length % 8);
  for (let at = 0; at < whole; at += 8) lanes = absorb(lanes, word(bytes.subarray(at, at + 8)));
  lanes = absorb(lanes, word(bytes.subarray(whole)) | (BigInt(bytes.length & 0xff) << 56n));
  const [a, b, c, d] = lanes;
  const [w, x, y, z] = round(round(round([a, b, c ^ 0xffn, d])));
  return w ^ x ^ y ^ z;
}

/** Little-endian, of at most 8 bytes. */
function word(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function absorb([a, b, c, d]: Lanes, input: bigint): Lanes {
  const [w, x, y, z] = round([a, b, c, d ^ input]);
  return [w ^ input, x, y, z];
}

function round([v0, v1, v2, v3]: Lanes): Lanes {
  const a = add(v0, v1);
  const b = rotate(v1, 13n) ^ a;
  const c = add(v2, v3);
  const d = rotate(v3, 16n) ^ c;
  const e = add(rotate(a, 32n), d);
  const f = rotate(d, 21n) ^ e;
  const g = add(c, b);
  const h = rotate(b, 17n) ^ g;
  return [e, h, rotate(g, 32n), f];
}

function add(a: bigint, b: bigint): bigint {
  return BigInt.asUintN(64, a + b);
}

function rotate(value: bigint, bits: bigint): bigint {
  return BigInt.asUintN(64, (value << bits) | (value >> (64n - bits)));
}

/**
 * HSalsa20 with an all-zero input block: the key derivation inside NaCl's crypto_box ("beforenm"). sodium-native does not
 * export it, and without it the key agreement would be redone for every chunk.
 *
 * @see Bernstein, Extending the Salsa20 nonce, §2 · NaCl crypto_core/hsalsa20
 */
import { view } from "../base/bytes.ts";

/** "expand 32-byte k" as four little-endian words. */
const sigma = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;

/** Indices (target, sources) of one double round: four columns, then four rows. */
const quarterRounds = [
  [0, 4, 8, 12],
  [5, 9, 13, 1],
  [10, 14, 2, 6],
  [15, 3, 7, 11],
  [0, 1, 2, 3],
  [5, 6, 7, 4],
  [10, 11, 8, 9],
  [15, 12, 13, 14],
] as const;

/** @returns 32 bytes, for a 32-byte `key` */
export function hsalsa20(key: Uint8Array): Uint8Array {
  const words = view(key);
  const x = new Int32Array(16);
  for (let index = 0; index < 4; index += 1) {
    x[index * 5] = sigma[index] ?? 0;
    x[1 + index] = words.readInt32LE(index * 4);
    x[11 + index] = words.readInt32LE(16 + index * 4);
  }
  for (let round = 0; round < 20; round += 2) {
    for (const [a, b, c, d] of quarterRounds) {
      x[b] = at(x, b) ^ rotate(at(x, a) + at(x, d), 7);
      x[c] = at(x, c) ^ rotate(at(x, b) + at(x, a), 9);
      x[d] = at(x, d) ^ rotate(at(x, c) + at(x, b), 13);
      x[a] = at(x, a) ^ rotate(at(x, d) + at(x, c), 18);
    }
  }
  const out = new Uint8Array(32);
  const target = view(out);
  [0, 5, 10, 15, 6, 7, 8, 9].forEach((source, index) => target.writeInt32LE(at(x, source), index * 4));
  x.fill(0);
  return out;
}

function at(x: Int32Array, index: number): number {
  return x[index] ?? 0;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

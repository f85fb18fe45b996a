/**
 * A set of 64-bit tags in one flat array: open addressing, linear probing, at most three quarters full. It only grows; what
 * is in it is forgotten with the whole of it. Tags must be of a keyed hash, since places in it come from their bits. Used
 * by seen.ts.
 */
import type { ShortTag } from "../crypto/short-hash.ts";

/** Places of the smallest and the largest array: 512 bytes and 2 MiB. Doubling to the largest takes a few milliseconds. */
const fewestPlaces = 64;
const mostPlaces = 262_144;

export class TagTable {
  /** Low and high word of each place; a high word of 0 means that it is free. */
  #words = new Uint32Array(2 * fewestPlaces);
  #size = 0;

  /** Bytes of the array. */
  get bytes(): number {
    return this.#words.byteLength;
  }

  /** Whether nothing more can be added: at 196,608 tags. */
  get full(): boolean {
    return this.#size >= 0.75 * mostPlaces;
  }

  /** Told apart are 63 bits: `high` is taken as odd. */
  has({ low, high }: ShortTag): boolean {
    return this.#words[2 * this.#placeOf(low, high | 1) + 1] !== 0;
  }

  /** Call unless it is full. */
  add({ low, high }: ShortTag): void {
    if (this.#size >= 0.375 * this.#words.length) this.#double();
    this.#put(low, high | 1);
    this.#size += 1;
  }

  #put(low: number, odd: number): void {
    const place = this.#placeOf(low, odd);
    this.#words[2 * place] = low;
    this.#words[2 * place + 1] = odd;
  }

  /** Where the tag is, or the free place where it belongs: there always is one. */
  #placeOf(low: number, odd: number): number {
    const words = this.#words;
    const last = words.length / 2 - 1;
    const high = odd >>> 0;
    let place = low & last;
    for (;;) {
      const there = words[2 * place + 1];
      if (there === 0 || (there === high && words[2 * place] === low)) return place;
      place = (place + 1) & last;
    }
  }

  #double(): void {
    const old = this.#words;
    this.#words = new Uint32Array(2 * old.length);
    for (let at = 0; at < old.length; at += 2) {
      const high = old[at + 1] ?? 0;
      if (high !== 0) this.#put(old[at] ?? 0, high);
    }
  }
}

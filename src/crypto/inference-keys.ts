/**
 * The X25519 keys that prompts are sealed to. A new key every hour, published 15 minutes before the old one ends; in
 * between both open. Keys live in memory only: a restart forgets them, and with them everything that was sealed to them.
 * This is all the forward secrecy there is: who records traffic and takes a key within its life can open what it sealed.
 *
 * @see wire.md §6
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../wire/limits.ts";
import { generateKeyPair, type KeyPair } from "./box.ts";

export interface InferenceKeysOptions {
  readonly clock: Clock;
  /** Time from one key to the next, ms. @default 3_600_000 */
  readonly rotateEveryMs?: number;
  /** How long the old key still opens after the next was published, ms; over 660 s in real use. @default 900_000 */
  readonly overlapMs?: number;
  /** Makes a key pair; a test may fix it. */
  readonly generate?: () => KeyPair;
}

export interface InferenceKey extends KeyPair {
  readonly createdMs: number;
  /** Unix ms after which nobody may seal to it; it is erased then. */
  readonly notAfterMs: number;
}

export class InferenceKeys {
  readonly #options: Required<InferenceKeysOptions>;
  #current: InferenceKey;
  #previous: InferenceKey | undefined;

  constructor(options: InferenceKeysOptions) {
    this.#options = {
      rotateEveryMs: limits.keyLifeMs,
      overlapMs: limits.keyOverlapMs,
      generate: generateKeyPair,
      ...options,
    };
    this.#current = this.#make();
  }

  /** The key to publish. */
  get current(): InferenceKey {
    return this.#current;
  }

  /** Keys that open requests now, newest first. */
  get opening(): readonly InferenceKey[] {
    const now = this.#options.clock.now();
    const keys = this.#previous ? [this.#current, this.#previous] : [this.#current];
    // a late timer (a machine that slept) must not lengthen the life of a key
    return keys.filter(({ notAfterMs }) => now < notAfterMs);
  }

  /** Erases what has ended and makes the next key when it is time. @returns whether there is a new key to publish */
  advance(): boolean {
    const now = this.#options.clock.now();
    if (this.#previous && now >= this.#previous.notAfterMs) {
      this.#previous.secretKey.wipe();
      this.#previous = undefined;
    }
    if (now < this.#current.createdMs + this.#options.rotateEveryMs) return false;
    this.#previous?.secretKey.wipe();
    this.#previous = this.#current;
    this.#current = this.#make();
    if (now >= this.#previous.notAfterMs) {
      // slept past the whole overlap
      this.#previous.secretKey.wipe();
      this.#previous = undefined;
    }
    return true;
  }

  /** Erases all keys: nothing sealed to this node opens any more. */
  wipe(): void {
    this.#current.secretKey.wipe();
    this.#previous?.secretKey.wipe();
  }

  #make(): InferenceKey {
    const { clock, rotateEveryMs, overlapMs, generate } = this.#options;
    const createdMs = clock.now();
    return { ...generate(), createdMs, notAfterMs: createdMs + rotateEveryMs + overlapMs };
  }
}

/**
 * This node's own signed record: made when something in it changes, signed anew before it ends. Its number is on disk
 * before the record is used, so that a restart never falls behind itself.
 *
 * @see wire.md §2, §6
 */
import type { Clock } from "../base/clock.ts";
import type { Identity } from "../crypto/identity.ts";
import type { InferenceKeys } from "../crypto/inference-keys.ts";
import { signRecord, type VerifiedRecord } from "../crypto/record.ts";
import { limits } from "../wire/limits.ts";
import { defaults } from "./defaults.ts";

export interface RecordKeeperOptions {
  readonly identity: Identity;
  readonly keys: InferenceKeys;
  readonly clock: Clock;
  readonly capabilities: readonly string[];
  readonly nextSeq: (nowMs: number) => bigint;
}

export class RecordKeeper {
  readonly #options: RecordKeeperOptions;
  #record: VerifiedRecord;

  constructor(options: RecordKeeperOptions) {
    this.#options = options;
    this.#record = this.#sign();
  }

  /** Valid now. */
  get current(): VerifiedRecord {
    return this.#record;
  }

  /** When {@link advance} has something to do next, unix ms. */
  get nextChangeMs(): number {
    return Math.min(this.#record.fields.issuedAtMs + defaults.recordRefreshMs, this.#options.keys.nextChangeMs);
  }

  /** Rotates keys and signs anew when it is time. @returns "rotated", "renewed", or undefined when nothing was due */
  advance(): "rotated" | "renewed" | undefined {
    const { keys, clock } = this.#options;
    const rotated = keys.advance();
    const due = clock.now() >= this.#record.fields.issuedAtMs + defaults.recordRefreshMs;
    if (!rotated && !due) return undefined;
    this.#record = this.#sign();
    return rotated ? "rotated" : "renewed";
  }

  #sign(): VerifiedRecord {
    const { identity, keys, clock, capabilities, nextSeq } = this.#options;
    const now = clock.now();
    return signRecord(identity, {
      seq: nextSeq(now),
      issuedAtMs: now,
      notAfterMs: now + limits.recordLifeMs,
      inferenceKey: keys.current.publicKey,
      keyNotAfterMs: keys.current.notAfterMs,
      capabilities,
    });
  }
}

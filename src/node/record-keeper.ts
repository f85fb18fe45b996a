/**
 * This node's own signed record: made when something in it changes, signed anew before it ends. Its number is on disk
 * before the record is used, so that a restart never falls behind itself.
 *
 * @see wire.md §2, §6
 */
import { equal } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Identity } from "../crypto/identity.ts";
import type { InferenceKeys } from "../crypto/inference-keys.ts";
import { signRecord, type VerifiedRecord } from "../crypto/record.ts";
import { limits } from "../wire/limits.ts";
import type { RecordModel } from "../wire/record.ts";
import { defaults } from "./defaults.ts";

export interface RecordKeeperOptions {
  readonly identity: Identity;
  readonly keys: InferenceKeys;
  readonly clock: Clock;
  readonly capabilities: readonly string[];
  /** What the node serves now, and how busy that is. */
  readonly models: () => readonly RecordModel[];
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

  /**
   * Rotates keys and signs anew when it is time, or when the models or their load have changed. @returns "rotated", "renewed", or undefined when nothing was due
   * @throws E_STATE the new number cannot be kept; the old record stands, and the next call tries again
   */
  advance(): "rotated" | "renewed" | undefined {
    const { keys, clock, models } = this.#options;
    keys.advance();
    const { inferenceKey, issuedAtMs, models: signed } = this.#record.fields;
    const rotated = !inferenceKey || !equal(inferenceKey, keys.current.publicKey);
    const changed = JSON.stringify(models()) !== JSON.stringify(signed);
    if (!rotated && !changed && clock.now() < issuedAtMs + defaults.recordRefreshMs) return undefined;
    this.#record = this.#sign();
    return rotated ? "rotated" : "renewed";
  }

  #sign(): VerifiedRecord {
    const { identity, keys, clock, capabilities, models, nextSeq } = this.#options;
    const now = clock.now();
    return signRecord(identity, {
      seq: nextSeq(now),
      issuedAtMs: now,
      notAfterMs: now + limits.recordLifeMs,
      inferenceKey: keys.current.publicKey,
      keyNotAfterMs: keys.current.notAfterMs,
      capabilities,
      models: models(),
    });
  }
}

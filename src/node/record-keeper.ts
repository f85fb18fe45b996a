/**
 * This node's own signed record: made when something in it changes, signed anew before it ends. Its number is on disk
 * before the record is used, so that a restart never falls behind itself. A new inference key is published together with
 * the evidence for it: until that is made, the old key stays in the record.
 *
 * @see wire.md §2, §6
 */
import { empty, equal, lengthPrefixed, toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Identity } from "../crypto/identity.ts";
import type { InferenceKey, InferenceKeys } from "../crypto/inference-keys.ts";
import { signRecord, type VerifiedRecord } from "../crypto/record.ts";
import { limits } from "../wire/limits.ts";
import type { RecordFields, RecordModel } from "../wire/record.ts";
import { defaults } from "./defaults.ts";

/** What a node says of itself besides keys and models. */
export type Described = Pick<RecordFields, "role" | "version" | "name" | "addressDigest">;

export interface RecordKeeperOptions {
  readonly identity: Identity;
  readonly keys: InferenceKeys;
  readonly clock: Clock;
  readonly capabilities: readonly string[];
  /** What the node serves now, and how busy that is. */
  readonly models: () => readonly RecordModel[];
  /** What it says of itself besides: role, version, name, where it is. @default nothing */
  readonly described?: () => Described;
  /** How the process that sees prompts is closed to others now, as encoded (wire/posture.ts). */
  readonly posture: () => Uint8Array;
  /** How the node was admitted to its mesh, and what it has taken back of its own invites. @default nothing of it */
  readonly admission?: () => RecordAdmission;
  readonly nextSeq: (nowMs: number) => bigint;
  /** Whether there is evidence for this key, or will be none. */
  readonly proven: (inferenceKey: Uint8Array) => boolean;
}

/** Of the mesh that the node belongs to, as node/admission.ts has it. */
export interface RecordAdmission {
  readonly credential: Uint8Array | undefined;
  /** 16 bytes each. */
  readonly revokedGrants: readonly Uint8Array[];
}

export class RecordKeeper {
  readonly #options: RecordKeeperOptions;
  #key: InferenceKey;
  #record: VerifiedRecord;

  constructor(options: RecordKeeperOptions) {
    this.#options = options;
    this.#key = options.keys.current;
    this.#record = this.#sign();
  }

  /** The key that others seal to now. */
  get key(): InferenceKey {
    return this.#key;
  }

  /** Valid now. */
  get current(): VerifiedRecord {
    return this.#record;
  }

  /**
   * Rotates keys and signs anew when it is time, or when the posture, the models or their load, or the node's admission have
   * changed. @returns "rotated", "renewed", or undefined when nothing was due
   * @throws E_STATE the new number cannot be kept; the old record stands, and the next call tries again
   */
  advance(): "rotated" | "renewed" | undefined {
    const { keys, clock, models, posture } = this.#options;
    keys.advance();
    if (this.#mayPublish(keys.current)) this.#key = keys.current;
    const { inferenceKey, issuedAtMs, models: signed, posture: told } = this.#record.fields;
    const rotated = !inferenceKey || !equal(inferenceKey, this.#key.publicKey);
    const isSame = JSON.stringify(lasting(this.#record.fields)) === JSON.stringify(lasting(this.#described));
    const says = JSON.stringify(models()) !== JSON.stringify(signed) || !isSame || !told || !equal(told, posture());
    const changed = says || this.#admissionChanged();
    const ageMs = clock.now() - issuedAtMs;
    // a clock that was set back would leave a record of the future in use, which nobody takes
    if (!rotated && !changed && ageMs >= 0 && ageMs < defaults.recordRefreshMs) return undefined;
    this.#record = this.#sign();
    return rotated ? "rotated" : "renewed";
  }

  #admissionChanged(): boolean {
    const { credential, revokedGrants = [] } = this.#record.fields;
    const { credential: now, revokedGrants: revokedNow } = this.#admission();
    return (
      !equal(credential ?? empty, now ?? empty) ||
      !equal(lengthPrefixed(...revokedGrants), lengthPrefixed(...revokedNow))
    );
  }

  #admission(): RecordAdmission {
    return this.#options.admission?.() ?? { credential: undefined, revokedGrants: [] };
  }

  /** Hardware that does not answer must not keep an old key in use for long. */
  #mayPublish({ publicKey, createdMs }: InferenceKey): boolean {
    const { clock, proven } = this.#options;
    return proven(publicKey) || clock.now() >= createdMs + defaults.evidencePatienceMs;
  }

  get #described(): Described {
    return this.#options.described?.() ?? {};
  }

  #sign(): VerifiedRecord {
    const { identity, clock, capabilities, models, posture, nextSeq } = this.#options;
    const now = clock.now();
    const { credential, revokedGrants } = this.#admission();
    return signRecord(identity, {
      seq: nextSeq(now),
      issuedAtMs: now,
      notAfterMs: now + limits.recordLifeMs,
      inferenceKey: this.#key.publicKey,
      keyNotAfterMs: this.#key.notAfterMs,
      capabilities,
      models: models(),
      posture: posture(),
      ...this.#described,
      ...(credential === undefined ? {} : { credential }),
      ...(revokedGrants.length === 0 ? {} : { revokedGrants }),
    });
  }
}

function lasting({ role, version, name, addressDigest }: Described): readonly unknown[] {
  return [role, version, name, addressDigest && toHex(addressDigest)];
}

/**
 * What a piece of evidence is, what its verifier is given, and what it gives back. A verifier is a pure function: no
 * network, no clock, no exception for bad bytes. Roots and collateral come as inputs, and so does the time.
 *
 * @see attestation.md §0
 */
import type { EndpointId } from "../base/brand.ts";
import type { EvidenceItem } from "../wire/evidence.ts";
import type { Claims } from "./claims.ts";
import type { Statement } from "./statement.ts";
import { fail, type FactorVerdict, pass, stale, unknown, type Verdict, verdictOf } from "./verdict.ts";

export type { EvidenceItem } from "../wire/evidence.ts";

/** Whose evidence it must be. What is undefined is not compared, and then `binding` is unknown at best. */
export interface Expected {
  readonly endpointId: EndpointId | undefined;
  /** 32 bytes. */
  readonly inferenceKey: Uint8Array | undefined;
  /** 32 bytes that the host was asked with; undefined = it was not asked. */
  readonly nonce: Uint8Array | undefined;
}

export interface VerifyInput {
  readonly item: EvidenceItem;
  readonly expected: Expected;
  /** DER certificates. Only these end a chain; a root inside the evidence counts for nothing. */
  readonly roots: readonly Uint8Array[];
  readonly nowMs: number;
  /** How old evidence may be. */
  readonly maxAgeMs: number;
  /** How far its time may lie ahead of ours. */
  readonly aheadMs: number;
  /** Builds that are accepted, lower-case hex digests. @default no list: `measurement` is unknown */
  readonly measurements?: ReadonlySet<string>;
  /** What this verifier has itself seen of the attested key. @default nothing */
  readonly seen?: KeySeen;
}

/** Never from the peer, and only ever of the attested key in question: the caller keeps it per key. */
export interface KeySeen {
  /** `proof` of a {@link ResidenceQuestion} that was answered. */
  readonly residenceProof?: Uint8Array;
  /** Counters of the newest evidence of the key that was bound to its node. */
  readonly counters?: BootCounters;
}

/** A chip's own time. It never goes back, so evidence behind what was seen before is a copy. */
export interface BootCounters {
  /** Starts of the machine, u32 that may wrap: the chip may add a secret constant to it. */
  readonly resets: number;
  /** The same for resumes since the last start. */
  readonly restarts: number;
  /** ms that the chip has run. */
  readonly clockMs: bigint;
}

/** A question that only a machine with both keys in one chip can answer: the certified one and the attested one. */
export interface ResidenceQuestion {
  /** For the host's collector, `answerResidence`. */
  readonly question: Uint8Array;
  /** What it must answer; compare in constant time. */
  readonly answer: Uint8Array;
  /** For {@link KeySeen} once it has: names the two keys, 32 bytes. */
  readonly proof: Uint8Array;
}

export interface Verified {
  readonly claims: Claims;
  readonly verdict: Verdict;
  /** For the next time, when `binding` passes. */
  readonly counters?: BootCounters;
}

export interface EvidenceKind {
  readonly kind: string;
  /** What a user must know before trusting it, such as hardware that it has not run on yet. */
  readonly note: string | undefined;
  /** Pure; never throws for anything that stands in the item. */
  verify(input: VerifyInput): Verified;
  /**
   * Asks where the attested key is kept; missing where the evidence alone shows it, or nothing can.
   *
   * @param secret 32 random bytes, used once
   * @returns      undefined when the item names no key that could be asked; never throws
   */
  residence?(item: EvidenceItem, secret: Uint8Array): ResidenceQuestion | undefined;
}

/** The window of the reference: refreshed every 300 s, 360 s more for gossip to travel (protocol.md §8.4). */
export const evidenceWindow = { maxAgeMs: 660_000, aheadMs: 30_000 } as const;

/** What is known when a check fails early: these factors, and of the others nothing. */
export function endedEarly(given: Partial<Verdict>): Verified {
  return { claims: {}, verdict: verdictOf(given, "not-reached") };
}

/**
 * `binding` and `fresh` of evidence with one value that holds node, keys and nonce: what differs in it cannot be told
 * apart.
 *
 * @param bound whether the value is the one for this nonce, or for none; undefined: there is nothing to compare with
 */
export function judgeBound(
  bound: (nonce: Uint8Array | undefined) => boolean | undefined,
  byTime: FactorVerdict,
  { expected }: VerifyInput,
): { readonly binding: FactorVerdict; readonly fresh: FactorVerdict } {
  const unasked = bound(undefined);
  if (unasked === undefined) return { binding: unknown("not-compared"), fresh: byTime };
  if (expected.nonce !== undefined && bound(expected.nonce)) {
    return { binding: pass("bound"), fresh: byTime.reason === "own-time" ? pass("nonce-answered") : byTime };
  }
  return { binding: unasked ? pass("bound") : fail("binding-differs"), fresh: byTime };
}

/**
 * `measurement` where the build is the signer's word. With a list, naming no build must not be better than naming a wrong
 * one.
 *
 * @param named lower-case hex digest; undefined: none is named
 */
export function judgeMeasurement(
  named: string | undefined,
  { measurements }: Pick<VerifyInput, "measurements">,
): FactorVerdict {
  if (measurements === undefined) return unknown("no-list");
  if (named === undefined) return fail("measurement-missing");
  return measurements.has(named) ? pass("measurement-listed-own-word") : fail("not-listed");
}

/** What a statement says, each thing the signer's word. */
export function statementClaims({ issuedAtMs, measurement, posture }: Statement): Claims {
  return {
    issuedAtMs: { value: issuedAtMs, by: "self" },
    ...(measurement === undefined ? {} : { measurement: { value: measurement, by: "self" } }),
    ...(posture === undefined ? {} : { posture: { value: posture, by: "self" } }),
  };
}

/**
 * `fresh` for evidence whose signed time is all that speaks for it. Both ends of the window are inside. That is not a
 * pass: a copy has the same time as the original.
 *
 * @param issuedAtMs signed time; undefined = it cannot be read
 */
export function freshByOwnTime(
  issuedAtMs: number | undefined,
  { nowMs, maxAgeMs, aheadMs }: Pick<VerifyInput, "nowMs" | "maxAgeMs" | "aheadMs">,
): FactorVerdict {
  if (issuedAtMs === undefined || !Number.isFinite(issuedAtMs)) return fail("time-unreadable");
  const ageMs = nowMs - issuedAtMs;
  if (ageMs < -aheadMs) return fail("clock-ahead");
  return ageMs > maxAgeMs ? stale("too-old") : unknown("own-time");
}

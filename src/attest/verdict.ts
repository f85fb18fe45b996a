/**
 * What was found out about a piece of evidence, factor by factor, and the tier that this amounts to. Never one boolean:
 * a refusal must be able to name what is missing.
 *
 * @see attestation.md §0, §1 · design.md §6
 */
import type { ReasonCode } from "./reasons.ts";

/** In the order in which they are shown. */
export const factors = [
  "parse",
  "signature",
  "chain",
  "revocation",
  "binding",
  "fresh",
  "key-residence",
  "device-state",
  "debug",
  "tcb",
  "measurement",
  "gpu-link",
] as const;
export type Factor = (typeof factors)[number];

/**
 * pass: checked and right · fail: present and wrong · unknown: not shown, or nothing here can check it · stale: was
 * right, its date has passed. Absence never passes.
 */
export type Outcome = "pass" | "fail" | "unknown" | "stale";

export interface FactorVerdict {
  readonly outcome: Outcome;
  readonly reason: ReasonCode;
}

export type Verdict = Readonly<Record<Factor, FactorVerdict>>;

/** From the least to the most. */
export const tiers = ["none", "key", "pinned", "vendor", "measured"] as const;
export type Tier = (typeof tiers)[number];

/** What is known of a host besides its evidence. */
export interface Standing {
  /** The attested key answered a challenge that was sealed to the inference key, and has missed none since. */
  readonly challenged: boolean;
  /** first-contact: pinned in this session, which confirms nothing yet. */
  readonly pin: "none" | "first-contact" | "agrees" | "disagrees";
}

/** What keeps evidence from a tier: a factor, or something that no evidence of this kind can bring along. */
export type Lack = Factor | "challenge" | "pin" | "pin-disagrees" | "kind";

export const pass = (reason: ReasonCode): FactorVerdict => ({ outcome: "pass", reason });
export const fail = (reason: ReasonCode): FactorVerdict => ({ outcome: "fail", reason });
export const unknown = (reason: ReasonCode): FactorVerdict => ({ outcome: "unknown", reason });
export const stale = (reason: ReasonCode): FactorVerdict => ({ outcome: "stale", reason });

/** A whole verdict: every factor that is not given is unknown. */
export function verdictOf(given: Partial<Verdict>, otherwise: ReasonCode = "not-shown"): Verdict {
  const rest = unknown(otherwise);
  return {
    parse: rest,
    signature: rest,
    chain: rest,
    revocation: rest,
    binding: rest,
    fresh: rest,
    "key-residence": rest,
    "device-state": rest,
    debug: rest,
    tcb: rest,
    measurement: rest,
    "gpu-link": rest,
    ...given,
  };
}

/**
 * How far a kind can go; one that is not here proves nothing. A TPM cannot be `measured`: what it measured was loaded by a
 * machine that nothing ties to the peer, and sealmesh itself is not in it.
 */
const highestTiers: ReadonlyMap<string, Tier> = new Map([
  ["secure-enclave", "pinned"],
  ["tpm2", "vendor"],
  ["software", "none"],
]);

const keyFactors: readonly Factor[] = ["parse", "signature", "binding", "fresh"];
const vendorFactors: readonly Factor[] = [...keyFactors, "chain", "key-residence"];

/** The factors that must pass for a tier. */
const required: Readonly<Record<Tier, readonly Factor[]>> = {
  none: [],
  key: keyFactors,
  pinned: keyFactors,
  vendor: vendorFactors,
  measured: [...vendorFactors, "measurement"],
};

/**
 * An answered challenge adds what evidence with nothing but its own time cannot show: that it is no copy. It does not
 * mend a time that is out of bounds.
 */
export function withChallenge(verdict: Verdict): Verdict {
  return verdict.fresh.reason === "own-time" ? { ...verdict, fresh: pass("challenge-answered") } : verdict;
}

/**
 * What is missing for a tier; empty when it is reached. A factor that fails is missing for every tier above `none`,
 * required or not: evidence with something wrong in it is worth nothing. An answered challenge is needed in every case,
 * for evidence with a nonce too: a relay could have put evidence of its own in the place of the host's, with both of the
 * host's public keys in it, but only the host opens what is sealed to its inference key.
 */
export function lacksFor(tier: Tier, kind: string, verdict: Verdict, standing: Standing): readonly Lack[] {
  if (tier === "none") return [];
  const highest = highestTiers.get(kind);
  const judged = standing.challenged ? withChallenge(verdict) : verdict;
  const lacks: Lack[] = factors.filter((factor) => {
    const { outcome, reason } = judged[factor];
    if (outcome === "fail") return true;
    return required[tier].includes(factor) && outcome !== "pass" && reason !== "own-time";
  });
  if (!standing.challenged) lacks.push("challenge");
  if (standing.pin === "disagrees") lacks.push("pin-disagrees");
  else if (tier === "pinned" && standing.pin !== "agrees") lacks.push("pin");
  if (highest === undefined || tiers.indexOf(highest) < tiers.indexOf(tier)) lacks.push("kind");
  return lacks;
}

/** The highest tier for which nothing is missing. */
export function tierOf(kind: string, verdict: Verdict, standing: Standing): Tier {
  return tiers.findLast((tier) => lacksFor(tier, kind, verdict, standing).length === 0) ?? "none";
}

/** The next tier above, and what is missing for it; undefined at the top. */
export function nextTier(
  kind: string,
  verdict: Verdict,
  standing: Standing,
): { readonly tier: Tier; readonly lacks: readonly Lack[] } | undefined {
  const tier = tiers[tiers.indexOf(tierOf(kind, verdict, standing)) + 1];
  return tier && { tier, lacks: lacksFor(tier, kind, verdict, standing) };
}

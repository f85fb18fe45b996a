/** Tiers: what each needs, and that nothing absent, stale or wrong ever lifts one. */
import { describe, expect, it } from "vitest";
import { evidenceKinds } from "../../../src/attest/registry.ts";
import { reasons } from "../../../src/attest/reasons.ts";
import {
  type Factor,
  factors,
  fail,
  lacksFor,
  nextTier,
  type Outcome,
  pass,
  stale,
  type Standing,
  type Tier,
  tierOf,
  tiers,
  unknown,
  type Verdict,
  verdictOf,
  withChallenge,
} from "../../../src/attest/verdict.ts";
import { fc } from "../../support/fast-check.ts";

const allPass: Verdict = Object.fromEntries(factors.map((factor) => [factor, pass("bound")])) as Verdict;
const ownTime: Verdict = { ...allPass, fresh: unknown("own-time") };
const best: Standing = { challenged: true, pin: "agrees" };
const notPass = [fail("malformed"), unknown("not-shown"), stale("too-old")];

describe("with every factor passing", () => {
  it.each([
    ["secure-enclave", { challenged: true, pin: "agrees" }, "pinned"],
    ["secure-enclave", { challenged: true, pin: "first-contact" }, "key"],
    ["secure-enclave", { challenged: true, pin: "none" }, "key"],
    ["secure-enclave", { challenged: true, pin: "disagrees" }, "none"],
    ["secure-enclave", { challenged: false, pin: "agrees" }, "none"],
    ["tpm2", { challenged: false, pin: "none" }, "none"],
    ["tpm2", { challenged: true, pin: "none" }, "vendor"],
    ["tpm2", { challenged: true, pin: "agrees" }, "vendor"],
    ["tpm2", { challenged: true, pin: "disagrees" }, "none"],
    ["software", { challenged: true, pin: "agrees" }, "none"],
    ["nobody-knows", { challenged: true, pin: "agrees" }, "none"],
    ["constructor", { challenged: true, pin: "agrees" }, "none"],
  ] as const)("%s, %j: %s", (kind, standing, tier) => expect(tierOf(kind, allPass, standing)).toBe(tier));

  it("every registered kind but software reaches some tier, so none is missing from the rules", () => {
    for (const { kind } of evidenceKinds) {
      expect(tierOf(kind, allPass, best) === "none", kind).toBe(kind === "software");
    }
  });
});

describe("a factor that does not pass", () => {
  const forKey: readonly Factor[] = ["parse", "signature", "binding", "fresh"];
  const forVendor: readonly Factor[] = ["chain", "key-residence"];

  it.each(factors.flatMap((factor) => notPass.map((verdict) => [factor, verdict.outcome, verdict] as const)))(
    "%s %s",
    (factor, outcome, verdict) => {
      const judged = { ...allPass, [factor]: verdict };
      const key = forKey.includes(factor) || outcome === "fail" ? "none" : "pinned";
      expect(tierOf("secure-enclave", judged, best)).toBe(key);
      const vendor = key === "pinned" && !forVendor.includes(factor) ? "vendor" : key;
      expect(tierOf("tpm2", judged, best)).toBe(vendor);
    },
  );

  it("measured needs the measurement, and a kind that can have one", () => {
    const without = { ...allPass, measurement: unknown("no-list") };
    expect(lacksFor("measured", "tpm2", without, best)).toEqual(["measurement", "kind"]);
    expect(lacksFor("measured", "tpm2", allPass, best)).toEqual(["kind"]);
  });
});

describe("evidence with nothing but its own time", () => {
  it("needs an answered challenge for every tier, which does not mend a time out of bounds", () => {
    for (const kind of ["secure-enclave", "tpm2"]) {
      expect(tierOf(kind, ownTime, { challenged: false, pin: "agrees" })).toBe("none");
      expect(tierOf(kind, ownTime, best)).toBe(kind === "tpm2" ? "vendor" : "pinned");
      for (const fresh of [stale("too-old"), fail("clock-ahead"), unknown("not-shown")]) {
        expect(tierOf(kind, { ...allPass, fresh }, best)).toBe("none");
        expect(withChallenge({ ...allPass, fresh }).fresh).toBe(fresh);
      }
    }
    expect(withChallenge(ownTime).fresh).toEqual(pass("challenge-answered"));
  });

  it("lacks the challenge by name", () => {
    const alone: Standing = { challenged: false, pin: "none" };
    expect(nextTier("secure-enclave", ownTime, alone)).toEqual({ tier: "key", lacks: ["challenge"] });
    expect(nextTier("secure-enclave", { ...ownTime, fresh: stale("too-old") }, alone)).toEqual({
      tier: "key",
      lacks: ["fresh", "challenge"],
    });
    expect(nextTier("secure-enclave", ownTime, { challenged: true, pin: "none" })).toEqual({
      tier: "pinned",
      lacks: ["pin"],
    });
    expect(lacksFor("key", "secure-enclave", ownTime, { challenged: true, pin: "disagrees" })).toEqual([
      "pin-disagrees",
    ]);
    expect(nextTier("software", ownTime, best)).toEqual({ tier: "key", lacks: ["kind"] });
  });
});

// mostly pass: else hardly any verdict would reach a tier
const anyOutcome = fc.constantFrom<Outcome>(...Array<Outcome>(20).fill("pass"), "fail", "unknown", "stale");
const anyVerdict = fc
  .tuple(...factors.map(() => anyOutcome))
  .map((all) => Object.fromEntries(factors.map((f, at) => [f, { outcome: all[at], reason: "bound" }])) as Verdict);
const anyStanding = fc.record<Standing>({
  challenged: fc.boolean(),
  pin: fc.constantFrom("none", "first-contact", "agrees", "disagrees"),
});
const anyKind = fc.constantFrom("secure-enclave", "tpm2", "software", "other");

it("no tier is reached without its factors, its standing and its kind, whatever the rest is", () => {
  let reached = 0;
  fc.assert(
    fc.property(anyKind, anyVerdict, anyStanding, (kind, verdict, standing) => {
      const tier = tierOf(kind, verdict, standing);
      const passes = (...needed: readonly Factor[]): boolean => needed.every((f) => verdict[f].outcome === "pass");
      if (tier === "none") return true;
      reached += 1;
      return (
        kind !== "software" &&
        kind !== "other" &&
        standing.pin !== "disagrees" &&
        passes("parse", "signature", "binding", "fresh") &&
        factors.every((factor) => verdict[factor].outcome !== "fail") &&
        (kind !== "secure-enclave" || (standing.challenged && (tier === "key" || tier === "pinned"))) &&
        (tier !== "pinned" || standing.pin === "agrees") &&
        (tier !== "vendor" || passes("chain", "key-residence")) &&
        tier !== "measured"
      );
    }),
    { numRuns: 5_000 },
  );
  expect(reached).toBeGreaterThan(100);
});

it("a better outcome never lowers a tier", () => {
  const rank = (tier: Tier): number => tiers.indexOf(tier);
  fc.assert(
    fc.property(anyKind, anyVerdict, anyStanding, fc.constantFrom(...factors), (kind, verdict, standing, factor) => {
      const better = { ...verdict, [factor]: pass("bound") };
      return rank(tierOf(kind, better, standing)) >= rank(tierOf(kind, verdict, standing));
    }),
    { numRuns: 2_000 },
  );
});

it("what a verdict does not name is unknown", () => {
  const verdict = verdictOf({ parse: pass("well-formed") });
  expect(Object.keys(verdict).toSorted()).toEqual([...factors].toSorted());
  for (const factor of factors.slice(1)) expect(verdict[factor]).toEqual(unknown("not-shown"));
});

it("a reason is one sentence, and no two are the same", () => {
  const sentences = Object.values(reasons);
  expect(new Set(sentences).size).toBe(sentences.length);
  for (const sentence of sentences) expect(sentence).toMatch(/^[A-Z][^.!?]{10,130}\.$/);
});

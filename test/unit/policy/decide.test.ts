/** Decisions: who may be asked and how, each reason for a refusal, and that whatever is not known is refused. */
import { describe, expect, it } from "vitest";
import { fingerprintOf, noProof, type PieceProof } from "../../../src/attest/proof.ts";
import { fail, factors, pass, stale, type Tier, tiers, unknown, verdictOf } from "../../../src/attest/verdict.ts";
import {
  decide,
  explainDecision,
  type HostFacts,
  type KeyStanding,
  knownProof,
  type PlainRoute,
  type SealedRoute,
} from "../../../src/policy/decide.ts";
import { openPolicy, type Policy, stricter } from "../../../src/policy/policy.ts";
import type { Refusal } from "../../../src/policy/refusals.ts";
import { fc } from "../../support/fast-check.ts";
import {
  announced,
  attestedKey,
  changedPin,
  demanding,
  enclave,
  host,
  id,
  inferenceKey,
  noKey,
  now,
  otherId,
  owner,
  record,
  showing,
  software,
  tpm,
} from "./made-hosts.ts";

type Demand = Exclude<Tier, "none">;
const demandable = tiers.filter((tier): tier is Demand => tier !== "none");
const attested = (tier: Demand): Policy => demanding({ attested: tier });

/** The rule or the kind of route for each. */
const outcomes = (hosts: readonly HostFacts[], policy: Policy = openPolicy): string[] =>
  decide(hosts, policy, now).map((decision) =>
    decision.kind === "allow" ? decision.route.kind : decision.refusal.rule,
  );

function allowed(facts: HostFacts, policy: Policy = openPolicy): SealedRoute | PlainRoute {
  const [decision] = decide([facts], policy, now);
  if (decision?.kind !== "allow") throw new Error(`refused: ${decision?.refusal.text}`);
  return decision.route;
}

function refused(facts: HostFacts, policy: Policy): Refusal {
  const [decision] = decide([facts], policy, now);
  if (decision?.kind !== "refuse") throw new Error("allowed");
  return decision.refusal;
}

const proving = (...pieces: readonly PieceProof[]): HostFacts => host({ proof: showing(...pieces) });

describe("sealing", () => {
  it("seals to a host with a record and reads its chunks strictly", () => {
    expect(allowed(host())).toMatchObject({
      kind: "sealed",
      hostKey: inferenceKey,
      order: "indexed",
      relayable: true,
    });
  });

  it("seals to a reference host, leniently, and not through others", () => {
    expect(allowed(host({ key: announced }))).toMatchObject({ kind: "sealed", order: "unordered", relayable: false });
  });

  const plain = host({ id: otherId, key: noKey });

  it("goes in the clear only to a host that showed no key itself, if policy allows, and if nobody opens envelopes", () => {
    expect(outcomes([plain])).toEqual(["plain"]);
    expect(outcomes([plain], demanding({ plain: false }))).toEqual(["plain-not-allowed"]);
    expect(outcomes([plain, host()])).toEqual(["plain-not-allowed", "sealed"]);
  });

  it("names --require-encryption only where that is what refuses", () => {
    expect(refused(plain, demanding({ plain: false })).demand).toBe("--require-encryption");
    const [first] = decide([plain, host()], openPolicy, now);
    expect(first).toMatchObject({ kind: "refuse", refusal: { demand: "always" } });
  });

  it("does not go in the clear because the host that seals has changed its key", () => {
    const changed = proving(tpm({ pin: changedPin }));
    expect(outcomes([plain, changed])).toEqual(["plain-not-allowed", "pin-changed"]);
  });

  it("a host that is not listed keeps nobody from being asked in the clear", () => {
    expect(outcomes([plain, host()], demanding({ hosts: new Set([otherId]) }))).toEqual(["plain", "host-not-listed"]);
  });

  it.each<[string, KeyStanding, string]>([
    ["withheld", { kind: "withheld", why: "it showed one before" }, "key-withheld"],
    ["an expired key", { kind: "record", key: inferenceKey, notAfterMs: now - 1 }, "key-withheld"],
    ["nothing known at first hand", { kind: "unknown" }, "no-key"],
  ])("never goes in the clear with %s", (_what, key, rule) => {
    for (const plainAllowed of [true, false]) {
      expect(outcomes([host({ key })], demanding({ plain: plainAllowed }))).toEqual([rule]);
    }
    expect(outcomes([host({ key, proof: showing(tpm()) })], attested("key"))).toEqual([rule]);
  });

  it.each(demandable)("with %s demanded nothing goes in the clear, whatever was shown", (tier) => {
    const facts = host({ key: noKey, proof: showing(tpm({ pin: { standing: "agrees" } })) });
    expect(refused(facts, attested(tier))).toMatchObject({
      rule: "encryption-required",
      demand: `--require-attested-hosts=${tier}`,
    });
  });
});

describe("lists", () => {
  it("only a listed host may be asked, whatever it proves", () => {
    const policy = demanding({ hosts: new Set([otherId]) });
    expect(refused(proving(tpm()), policy)).toMatchObject({ rule: "host-not-listed", demand: "--allow-hosts" });
    expect(outcomes([host({ id: otherId })], policy)).toEqual(["sealed"]);
  });

  it("an empty list lists nobody", () => {
    expect(outcomes([host()], demanding({ hosts: new Set() }))).toEqual(["host-not-listed"]);
    expect(outcomes([host({ owner })], demanding({ owners: new Set() }))).toEqual(["owner-not-accepted"]);
  });

  it("only a host of a listed owner may be asked; none known is none listed", () => {
    const policy = demanding({ owners: new Set([owner]) });
    expect(outcomes([host({ owner })], policy)).toEqual(["sealed"]);
    expect(refused(host({ owner: "1f".repeat(32) }), policy).text).toContain("1f".repeat(32));
    expect(refused(host(), policy)).toMatchObject({ rule: "owner-not-accepted", demand: "[policy] owners" });
  });

  it("are looked at before keys, and keys before evidence", () => {
    const bad = host({ key: { kind: "unknown" }, proof: showing(tpm({ pin: changedPin })) });
    const listsAll = demanding({ hosts: new Set(), owners: new Set(), attested: "vendor" });
    expect(outcomes([bad], listsAll)).toEqual(["host-not-listed"]);
    expect(outcomes([bad], { ...listsAll, hosts: undefined })).toEqual(["owner-not-accepted"]);
    expect(outcomes([bad], { ...listsAll, hosts: undefined, owners: undefined })).toEqual(["no-key"]);
  });
});

describe("a tier that is reached", () => {
  it.each<[Demand, PieceProof, Tier]>([
    ["key", enclave(), "key"],
    ["key", enclave({ pin: { standing: "first-contact" } }), "key"],
    ["key", tpm(), "vendor"],
    ["pinned", enclave({ pin: { standing: "agrees" } }), "pinned"],
    ["pinned", tpm(), "vendor"],
    ["vendor", tpm(), "vendor"],
  ])("%s lets the host through and says what is proven", (tier, piece, proven) => {
    const route = allowed(proving(piece), attested(tier));
    expect(route.kind).toBe("sealed");
    expect(route.proof).toEqual({
      tier: proven,
      kind: piece.item.kind,
      attestedKey: attestedKey(1),
      unchallenged: false,
    });
  });

  it("is told by the best piece, in whatever order they come", () => {
    const both = [enclave({ claims: { attestedKey: attestedKey(7) } }), tpm()];
    for (const pieces of [both, both.toReversed()]) {
      expect(allowed(proving(...pieces), attested("key")).proof).toMatchObject({ tier: "vendor", kind: "tpm2" });
    }
  });

  it.each<[string, PieceProof]>([
    ["software", software()],
    ["a broken one", enclave({ verdict: { signature: fail("signature-wrong") } })],
    ["one that stopped answering", enclave({ challenge: "missed" })],
    ["an unknown kind", { ...software(), item: { ...software().item, kind: "\u001b[2J" } }],
  ])("is not hidden by %s beside it", (_what, bad) => {
    for (const pieces of [
      [bad, tpm()],
      [tpm(), bad],
    ]) {
      expect(outcomes([proving(...pieces)], attested("vendor"))).toEqual(["sealed"]);
    }
  });
});

describe("a key that changed", () => {
  const changed = enclave({ pin: changedPin });

  it("is told although another piece would let the host through", () => {
    for (const pieces of [
      [changed, tpm()],
      [tpm(), changed],
    ]) {
      expect(outcomes([proving(...pieces)], attested("key"))).toEqual(["pin-changed"]);
    }
  });

  it("is none when a relay may have put it there: it came with a question, and has answered no challenge", () => {
    const put = { ...enclave({ pin: changedPin, challenge: "unasked" }), nonce: new Uint8Array(32) };
    expect(outcomes([proving(put, tpm())], attested("key"))).toEqual(["sealed"]);
    expect(outcomes([proving(put)], attested("key"))).toEqual(["challenge-unanswered"]);
  });
});

describe("a tier that is not reached", () => {
  it.each<[string, PieceProof, Demand, string]>([
    ["its time has passed", tpm({ verdict: { fresh: stale("too-old") } }), "key", "stale"],
    ["a certificate has expired", tpm({ verdict: { chain: stale("chain-expired") } }), "vendor", "stale"],
    ["a signature over a challenge was wrong", tpm({ challenge: "failed" }), "key", "challenge-failed"],
    ["challenges were missed", tpm({ challenge: "missed" }), "key", "challenge-missed"],
    ["no challenge has ended", enclave({ challenge: "unasked" }), "key", "challenge-unanswered"],
    [
      "its TPM has answered none, although it signed a nonce",
      tpm({ challenge: "unasked" }),
      "vendor",
      "challenge-unanswered",
    ],
    ["it speaks no challenges", enclave({ challenge: "impossible" }), "key", "no-challenge"],
    ["its pin disagrees", tpm({ pin: changedPin }), "key", "pin-changed"],
    ["it is not pinned", enclave(), "pinned", "tier-not-reached"],
    ["this is the first contact", enclave({ pin: { standing: "first-contact" } }), "pinned", "tier-not-reached"],
    ["it has no chain", tpm({ verdict: { chain: unknown("no-chain") } }), "vendor", "tier-not-reached"],
    ["its kind never gets there", enclave(), "vendor", "tier-not-reached"],
    ["no kind gets there", tpm(), "measured", "tier-not-reached"],
  ])("refuses when %s", (_what, piece, tier, rule) => {
    const { rule: found, demand, lacks, text } = refused(proving(piece), attested(tier));
    expect(found).toBe(rule);
    expect(demand).toBe(`--require-attested-hosts=${tier}`);
    expect(lacks).not.toEqual([]);
    expect(text.startsWith(`${demand}: ${rule}: `)).toBe(true);
  });

  it("says why there is no evidence", () => {
    const silent = host({ proof: { pieces: [], why: "the host's evidence did not come within 8000 ms", asked: true } });
    expect(refused(silent, attested("key"))).toMatchObject({ rule: "no-evidence", lacks: [] });
    expect(refused(silent, attested("key")).text).toContain("did not come within 8000 ms.");
    expect(refused(host({ proof: { ...noProof, asked: true } }), attested("key")).text).toBe(
      "--require-attested-hosts=key: no-evidence: It has shown no evidence.",
    );
  });

  it("says a stale factor's own reason and nothing of factors that pass", () => {
    expect(refused(proving(tpm({ verdict: { fresh: stale("too-old") } })), attested("vendor"))).toEqual({
      rule: "stale",
      demand: "--require-attested-hosts=vendor",
      lacks: ["fresh"],
      reasons: [{ code: "too-old", sentence: "Its own time is older than allowed." }],
      text: "--require-attested-hosts=vendor: stale: Its own time is older than allowed.",
    });
  });

  it("names each lacking factor with its reason and sentence", () => {
    const piece = tpm({ verdict: { chain: unknown("no-chain"), "key-residence": unknown("not-activated") } });
    const { text, lacks, reasons } = refused(proving(piece), attested("vendor"));
    expect(lacks).toEqual(["chain", "key-residence"]);
    expect(reasons.map(({ code }) => code)).toEqual(["no-chain", "not-activated"]);
    expect(reasons[0]?.sentence).toBe("No certificate came with it.");
    expect(text).toContain("Its tpm2 evidence reaches `key`.");
    expect(text).toContain("chain (no-chain): No certificate came with it.");
    expect(text).toContain("key-residence (not-activated): Nothing has shown yet");
  });

  it("a failure is told at once: no answer to a challenge would mend it", () => {
    for (const challenge of ["unasked", "impossible"] as const) {
      const piece = enclave({ challenge, verdict: { binding: fail("other-node") } });
      const { rule, text } = refused(proving(piece), attested("key"));
      expect(rule).toBe("tier-not-reached");
      expect(text).toContain("binding (other-node): It was made for another node.");
    }
  });

  it("speaks of the piece that lacks least", () => {
    const nearly = tpm({ verdict: { fresh: stale("too-old") } });
    const far = enclave({ verdict: { signature: fail("signature-wrong") }, challenge: "missed" });
    for (const pieces of [
      [nearly, far],
      [far, nearly],
    ]) {
      expect(refused(proving(...pieces), attested("vendor")).rule).toBe("stale");
    }
  });

  it("speaks of a changed key and of a wrong signature first, whatever else lacks less", () => {
    const nearly = tpm({ verdict: { fresh: stale("too-old") } });
    const changed = enclave({ pin: changedPin, verdict: { binding: unknown("not-compared") } });
    const forged = enclave({ challenge: "failed", verdict: { binding: unknown("not-compared") } });
    expect(refused(proving(nearly, forged), attested("vendor")).rule).toBe("challenge-failed");
    expect(refused(proving(nearly, forged, changed), attested("vendor")).rule).toBe("pin-changed");
  });

  it("a key that missed challenges counts for nothing until it answers, also where none is needed", () => {
    for (const challenge of ["missed", "failed"] as const) {
      const facts = proving(tpm({ challenge, pin: { standing: "agrees" } }));
      for (const tier of demandable) expect(outcomes([facts], attested(tier))).toEqual([`challenge-${challenge}`]);
      expect(refused(facts, attested("vendor")).lacks).toEqual(["challenge"]);
      expect(knownProof(facts.proof).tier).toBe("none");
    }
    expect(outcomes([proving(tpm({ challenge: "answered" }))], attested("vendor"))).toEqual(["sealed"]);
  });
});

describe("what is not known counts as not there", () => {
  const needed = ["parse", "signature", "binding", "fresh", "chain", "key-residence"] as const;

  it.each(needed)("%s unknown, stale or wrong is no vendor", (factor) => {
    for (const outcome of [unknown("not-shown"), stale("too-old"), fail("malformed")]) {
      const [found] = outcomes([proving(tpm({ verdict: { [factor]: outcome } }))], attested("vendor"));
      expect(found).toBe(outcome.outcome === "stale" ? "stale" : "tier-not-reached");
    }
  });

  it.each(factors)("%s that fails is no tier at all", (factor) => {
    const facts = proving(tpm({ verdict: { [factor]: fail("malformed") }, pin: { standing: "agrees" } }));
    for (const tier of demandable) expect(outcomes([facts], attested(tier))).not.toContain("sealed");
  });

  it("a verdict of nothing but unknown factors is refused by every tier", () => {
    const blank = { ...tpm(), verdict: verdictOf({}) };
    for (const tier of demandable) expect(outcomes([proving(blank)], attested(tier))).toEqual(["tier-not-reached"]);
  });

  it("a kind that nobody knows is refused by every tier, and its name is not printed", () => {
    const strange = { ...tpm(), item: { ...tpm().item, kind: "\u001b[2Jtpm2" } };
    for (const tier of demandable) {
      const { rule, text } = refused(proving(strange), attested(tier));
      expect(rule).toBe("tier-not-reached");
      expect(text).not.toContain("\u001b");
    }
    expect(knownProof(showing(strange)).kind).toBeUndefined();
  });

  it("only evidence that reaches the demanded tier is ever let through, whatever is mixed", () => {
    const outcome = fc.constantFrom(
      pass("bound"),
      fail("malformed"),
      unknown("not-shown"),
      stale("too-old"),
      unknown("own-time"),
    );
    const verdict = fc.record(Object.fromEntries(factors.map((factor) => [factor, outcome])));
    const some = fc.record({
      make: fc.constantFrom(tpm, enclave, software),
      verdict,
      challenge: fc.constantFrom("unasked", "answered", "missed", "failed", "impossible"),
      pin: fc.constantFrom("none", "first-contact", "agrees", "disagrees"),
    });
    const pieces = fc.array(
      some.map(({ make, verdict: given, challenge, pin }) =>
        make({ verdict: given, challenge, pin: { standing: pin } }),
      ),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(pieces, fc.constantFrom(...demandable), fc.boolean(), (shown, tier, acceptUnchallenged) => {
        const [decision] = decide([proving(...shown)], demanding({ attested: tier, acceptUnchallenged }), now);
        if (decision?.kind !== "allow") return;
        const { proof } = decision.route;
        if (proof.unchallenged) expect([tier, proof.tier, acceptUnchallenged]).toEqual(["key", "none", true]);
        else expect(tiers.indexOf(proof.tier)).toBeGreaterThanOrEqual(tiers.indexOf(tier));
        expect(proof.kind).not.toBe("software");
        // what satisfies a demand is let through without one as well
        expect(outcomes([proving(...shown)])).toEqual(["sealed"]);
      }),
    );
  });
});

describe("software evidence", () => {
  it.each(demandable)("is refused by %s, with a sentence that says that it never can", (tier) => {
    for (const challenge of ["answered", "unasked"] as const) {
      const facts = proving(software({ challenge, pin: { standing: "agrees" } }));
      const { rule, text, lacks } = refused(facts, demanding({ attested: tier, acceptUnchallenged: true }));
      expect(rule).toBe("tier-not-reached");
      expect(lacks).toContain("kind");
      expect(text).toContain("Its software evidence reaches `none`.");
      expect(text).toContain("Evidence of this kind never reaches that tier.");
    }
  });

  it("is not admitted by --accept-unchallenged", () => {
    const facts = proving(software({ challenge: "impossible", verdict: { fresh: unknown("own-time") } }));
    expect(outcomes([facts], demanding({ attested: "key", acceptUnchallenged: true }))).toEqual(["no-challenge"]);
    expect(refused(facts, attested("key")).text).toContain("Evidence of this kind never reaches that tier.");
  });
});

describe("--accept-unchallenged", () => {
  const blob = enclave({ challenge: "impossible" });
  const lenient = demanding({ attested: "key", acceptUnchallenged: true });
  const facts = (piece: PieceProof): HostFacts => host({ key: announced, proof: showing(piece) });

  it("admits the blob of a reference node where key is demanded, and shows it as none", () => {
    expect(allowed(facts(blob), lenient).proof).toEqual({
      tier: "none",
      kind: "secure-enclave",
      attestedKey: attestedKey(1),
      unchallenged: true,
    });
    expect(outcomes([facts(blob)], attested("key"))).toEqual(["no-challenge"]);
  });

  it.each(demandable.filter((tier) => tier !== "key"))("does nothing where %s is demanded", (tier) => {
    const pinned = enclave({ challenge: "impossible", pin: { standing: "agrees" } });
    expect(outcomes([facts(pinned)], demanding({ attested: tier, acceptUnchallenged: true }))).toEqual([
      "no-challenge",
    ]);
  });

  it.each<[string, PieceProof, string]>([
    ["is too old", enclave({ challenge: "impossible", verdict: { fresh: stale("too-old") } }), "stale"],
    ["lies ahead", enclave({ challenge: "impossible", verdict: { fresh: fail("clock-ahead") } }), "tier-not-reached"],
    [
      "was made for another key",
      enclave({ challenge: "impossible", verdict: { binding: fail("other-inference-key") } }),
      "tier-not-reached",
    ],
    ["has a changed key", enclave({ challenge: "impossible", pin: changedPin }), "pin-changed"],
    ["could be challenged", enclave({ challenge: "unasked" }), "challenge-unanswered"],
    ["was challenged in vain", enclave({ challenge: "missed" }), "challenge-missed"],
  ])("does not admit evidence that %s", (_what, piece, rule) => {
    expect(outcomes([facts(piece)], lenient)).toEqual([rule]);
  });

  it("does not admit a blob beside evidence whose key has changed", () => {
    expect(outcomes([proving(blob, tpm({ pin: changedPin }))], lenient)).toEqual(["pin-changed"]);
  });
});

describe("pins", () => {
  it.each(demandable)("one that disagrees refuses at %s, whatever else the evidence shows", (tier) => {
    expect(outcomes([proving(tpm({ pin: changedPin }))], attested(tier))).toEqual(["pin-changed"]);
  });

  it("are looked at when nothing is demanded too", () => {
    const { rule, demand } = refused(proving(tpm({ pin: changedPin })), openPolicy);
    expect([rule, demand]).toEqual(["pin-changed", "always"]);
    expect(outcomes([proving(software(), tpm({ pin: changedPin }))])).toEqual(["pin-changed"]);
  });

  it("a refusal has both fingerprints, the kind, and the whole command that accepts the new key", () => {
    const measurement = "bb".repeat(32);
    const claims = { attestedKey: attestedKey(1), measurement: { value: measurement, by: "self" } } as const;
    const pinned = { kind: "tpm2", key: fingerprintOf(attestedKey(2)), measurement: undefined };
    const { text } = refused(proving(enclave({ claims, pin: { standing: "disagrees", pinned } })), attested("key"));
    const shown = fingerprintOf(attestedKey(1));
    expect(text).toContain(`secure-enclave key ${shown} with build ${measurement}`);
    expect(text).toContain(`tpm2 key ${pinned.key} with no build`);
    expect(text).toContain(
      `\`sealmesh trust pin ${id} --kind secure-enclave --key ${shown} --measurement ${measurement}\``,
    );
  });

  it("nothing of a peer's own text is in the command", () => {
    const claims = { attestedKey: attestedKey(1), measurement: { value: "x; rm -rf ~", by: "self" } } as const;
    const { text } = refused(proving(enclave({ claims, pin: changedPin })), attested("key"));
    expect(text).toContain("What it shows cannot be pinned.");
    expect(text).not.toContain("rm -rf");
  });
});

describe("when no tier is demanded", () => {
  it("nothing is asked, and the route says what is known", () => {
    expect(allowed(host()).proof).toEqual({
      tier: "none",
      kind: undefined,
      attestedKey: undefined,
      unchallenged: false,
    });
    expect(allowed(proving(software(), tpm())).proof).toMatchObject({ tier: "vendor", kind: "tpm2" });
    expect(allowed(proving(enclave({ challenge: "unasked" }))).proof).toMatchObject({
      tier: "none",
      kind: "secure-enclave",
      unchallenged: false,
    });
  });

  it("a plain route says it too", () => {
    expect(allowed(host({ key: noKey })).proof.tier).toBe("none");
  });

  it("a decision can be told in a sentence", () => {
    const told = (facts: HostFacts, policy: Policy): string[] => decide([facts], policy, now).map(explainDecision);
    expect(told(proving(tpm()), attested("vendor"))[0]).toContain("sealed to it. vendor (tpm2 evidence): All of `key`");
    expect(told(host({ key: noKey }), openPolicy)[0]).toContain("in the clear. none: Nothing.");
    const blob = host({ proof: showing(enclave({ challenge: "impossible" })) });
    expect(told(blob, demanding({ attested: "key", acceptUnchallenged: true }))[0]).toContain("without a challenge");
    expect(told(host(), attested("key"))[0]).toBe(refused(host(), attested("key")).text);
  });
});

describe("the stricter of two policies", () => {
  it.each<[Policy["attested"], Policy["attested"], Policy["attested"]]>([
    [undefined, undefined, undefined],
    [undefined, "key", "key"],
    ["key", undefined, "key"],
    ["key", "vendor", "vendor"],
    ["vendor", "pinned", "vendor"],
    ["measured", "measured", "measured"],
  ])("of %s and %s asks for %s", (own, minimum, expected) => {
    expect(stricter(demanding({ attested: own }), { attested: minimum, encryption: false }).attested).toBe(expected);
  });

  it("forbids the clear when either does", () => {
    for (const plain of [true, false]) {
      for (const encryption of [true, false]) {
        const { plain: found } = stricter(demanding({ plain }), { attested: undefined, encryption });
        expect(found).toBe(plain && !encryption);
      }
    }
  });

  it("keeps lists, and takes no unchallenged evidence where the mesh asks for a tier", () => {
    const own = demanding({
      hosts: new Set([id]),
      owners: new Set([owner]),
      acceptUnchallenged: true,
      attested: "key",
    });
    expect(stricter(own, { attested: "key", encryption: true })).toEqual({
      ...own,
      plain: false,
      acceptUnchallenged: false,
    });
    expect(stricter(own, { attested: undefined, encryption: false })).toEqual(own);
  });
});

it("evidence that was never asked for is none: noProof refuses, and says that nobody has asked", () => {
  expect(outcomes([host({ key: record, proof: noProof })], attested("key"))).toEqual(["not-asked"]);
});

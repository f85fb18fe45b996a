/** What is told about hosts' proof, and what is read of it again: nothing added, nothing that cannot be checked. */
import { describe, expect, it } from "vitest";
import { noProof } from "../../../src/attest/proof.ts";
import { factors } from "../../../src/attest/verdict.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { toBase64, utf8 } from "../../../src/base/bytes.ts";
import { isMeshError } from "../../../src/base/errors.ts";
import {
  attestationReport,
  explainReport,
  type HostReport,
  isReport,
  namedBy,
  policyStatus,
  readReport,
} from "../../../src/node/attestation-report.ts";
import { explainDecision } from "../../../src/policy/decide.ts";
import { openPolicy } from "../../../src/policy/policy.ts";
import { decodeEvidenceItem } from "../../../src/wire/evidence.ts";
import { allow, allowUnproven, provenHost, provenPiece, refusalText, refuse } from "../../support/attestation.ts";
import { fc } from "../../support/fast-check.ts";
import { closedPosture, untold } from "../../support/postures.ts";
import { blobItem, goodBlob, host, inferenceKey, issuedAtMs, testKey } from "../../support/evidence.ts";
import { expectCode } from "../../support/expect-code.ts";

const runs = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const self = endpointId("ab".repeat(32));
const nonce = new Uint8Array(32).fill(9);
const judging = {
  policy: { ...openPolicy, attested: "key" as const },
  roots: [utf8("root")],
  window: { maxAgeMs: 660_000, aheadMs: 30_000 },
  nowMs: issuedAtMs + 60_000,
};
const known = { endpointId: host, inferenceKey, proof: provenHost({ nonce }), decision: allow(), posture: untold };

function reportOf(change: Partial<Parameters<typeof attestationReport>[0]> = {}): ReturnType<typeof attestationReport> {
  return attestationReport({ ...judging, model: "org/m", hosts: [known], own: undefined, ...change });
}

/** As a reader gets it. */
const sent = (report: object): Readonly<Record<string, unknown>> =>
  JSON.parse(JSON.stringify(report)) as Readonly<Record<string, unknown>>;

describe("the document", () => {
  it("has all that the verdict was made with", () => {
    expect(reportOf()).toMatchObject({
      model: "org/m",
      checked_at: "2026-05-05T00:01:00.123Z",
      policy: { require_attested_hosts: "key", require_encryption: false, allow_hosts: null },
      check: {
        max_age_ms: 660_000,
        ahead_ms: 30_000,
        roots_sha256: ["4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2"],
      },
    });
  });

  it("names a command that can be pasted, with no more than it needs", () => {
    const commandOf = (change: object): string => reportOf(change).check.command;
    const at = "--at 2026-05-05T00:01:00.123Z";
    expect(commandOf({})).toBe(`sealmesh verify ./attestation.json --roots makers.pem ${at}`);
    expect(commandOf({ roots: [] })).toBe(`sealmesh verify ./attestation.json ${at}`);
    // a document cannot make `sealmesh verify` take older evidence than usual
    const window = { maxAgeMs: 3_600_000, aheadMs: 30_000 };
    expect(commandOf({ roots: [], window })).toBe(`sealmesh verify ./attestation.json --max-age 3600s ${at}`);
  });

  it("has the evidence byte for byte, what it was asked with, and a verdict for each factor", () => {
    const [told] = reportOf().hosts as readonly HostReport[];
    expect(told).toMatchObject({
      endpoint_id: host,
      this_node: false,
      inference_key: toBase64(inferenceKey),
      tier: "key",
      allowed: true,
      route: "sealed",
      refusal: null,
    });
    const [piece] = told?.evidence ?? [];
    expect(decodeEvidenceItem(utf8(JSON.stringify(piece?.item)))).toEqual(blobItem(goodBlob));
    expect(piece).toMatchObject({
      nonce: toBase64(nonce),
      challenge: "answered",
      pin: { standing: "first-contact", pinned: null },
      attested_key: toBase64(testKey().point),
    });
    expect(piece?.fingerprint).toMatch(/^[0-9a-f]{32}$/);
    expect(piece?.factors.map(({ factor }) => factor)).toEqual(factors);
    expect(piece?.claims).toContainEqual({ claim: "memory bytes", value: "68719476736", by: "self" });
  });

  it("names rule, demand and sentence of a refusal, and the tier that was reached all the same", () => {
    const [told] = reportOf({ hosts: [{ ...known, decision: refuse() }] }).hosts;
    expect(told).toMatchObject({ allowed: false, route: null, tier: "key" });
    expect(told?.refusal).toEqual({ rule: "attested", demand: "--require-attested-hosts=key", text: refusalText });
  });

  it("says why a host without evidence has none, and that a plain one is plain", () => {
    const proof = { pieces: [], why: "it does not answer", asked: true };
    const [told] = reportOf({
      hosts: [{ ...known, inferenceKey: undefined, proof, decision: allowUnproven("plain") }],
    }).hosts;
    expect(told).toMatchObject({ inference_key: null, tier: "none", route: "plain", why: "it does not answer" });
    expect(told?.evidence).toEqual([]);
  });

  it("shows this machine's own pieces, but none of the key before this one", () => {
    const pieces = [
      { item: blobItem(goodBlob), inferenceKey },
      { item: blobItem(utf8("old")), inferenceKey: new Uint8Array(32) },
      { item: undefined, inferenceKey: undefined },
    ];
    const [own, other] = reportOf({ own: { endpointId: self, inferenceKey, pieces, posture: closedPosture() } }).hosts;
    expect(own).toMatchObject({
      endpoint_id: self,
      posture: { platform: "linux", says_hardened: true },
      this_node: true,
      tier: null,
      route: "local",
    });
    expect(own?.evidence.length).toBe(1);
    expect(other?.endpoint_id).toBe(host);
  });
});

it("policy in status names every demand", () => {
  expect(
    policyStatus({
      plain: false,
      attested: "vendor",
      acceptUnchallenged: true,
      hardened: true,
      hosts: new Set([host]),
      owners: new Set(["o"]),
      builds: { judge: () => ({ outcome: "accepted" }), digests: () => new Set() },
    }),
  ).toEqual({
    require_attested_hosts: "vendor",
    require_encryption: true,
    require_hardened: true,
    accept_unchallenged: true,
    allow_hosts: [host],
    owners: ["o"],
    allow_builds: true,
  });
});

describe("reading a document", () => {
  it("gives back what can be checked again, and words from closed lists only", () => {
    const document = sent(reportOf());
    expect(isReport(document)).toBe(true);
    expect(readReport(document)).toEqual({
      checkedAtMs: judging.nowMs,
      window: judging.window,
      hosts: [
        {
          endpointId: host,
          inferenceKey,
          saidTier: "key",
          saidAllowed: true,
          pieces: [{ item: blobItem(goodBlob), nonce, saidChallenge: "answered", saidPin: "first-contact" }],
        },
      ],
    });
  });

  it("takes the part that is one host for a document", () => {
    const [one] = sent(reportOf())["hosts"] as readonly Readonly<Record<string, unknown>>[];
    expect(isReport(one)).toBe(true);
    expect(readReport(one ?? {}).hosts[0]?.endpointId).toBe(host);
  });

  it("drops standings and tiers that do not exist", () => {
    const [one] = sent(reportOf())["hosts"] as readonly Record<string, unknown>[];
    const [piece] = (one?.["evidence"] ?? []) as readonly object[];
    const said = { ...piece, challenge: "\u001b[2J", pin: "agrees" };
    const read = readReport({ ...one, tier: "divine", allowed: "yes", evidence: [said] }).hosts[0];
    expect([read?.saidTier, read?.saidAllowed]).toEqual([undefined, undefined]);
    expect([read?.pieces[0]?.saidChallenge, read?.pieces[0]?.saidPin]).toEqual([undefined, undefined]);
  });

  it.each([
    ["hosts that are no list", { hosts: {} }],
    ["a host that is no object", { hosts: [7] }],
    ["more hosts than a node knows", { hosts: Array.from({ length: 4_097 }, () => ({})) }],
    ["a host without an id", { hosts: [{ evidence: [] }] }],
    ["a host without evidence", { hosts: [{ endpoint_id: host }] }],
    ["a key that is none", { hosts: [{ endpoint_id: host, inference_key: "AAAA", evidence: [] }] }],
    ["a nonce that is none", { hosts: [{ endpoint_id: host, evidence: [{ item: {}, nonce: 5 }] }] }],
    ["a piece without an item", { hosts: [{ endpoint_id: host, evidence: [{}] }] }],
    ["too many pieces", { hosts: [{ endpoint_id: host, evidence: Array.from({ length: 65 }, () => ({})) }] }],
  ])("refuses %s: E_WIRE", (_name, document) => expectCode("E_WIRE", () => readReport(document)));

  it("of anything else throws nothing but E_WIRE", () => {
    const piece = fc.record({ item: fc.jsonValue(), nonce: fc.jsonValue(), pin: fc.jsonValue() }, { requiredKeys: [] });
    const one = fc.record(
      {
        endpoint_id: fc.oneof(fc.constant(host), fc.string()),
        inference_key: fc.jsonValue(),
        evidence: fc.array(piece),
      },
      { requiredKeys: [] },
    );
    const document = fc.record({ hosts: fc.oneof(fc.array(one), fc.jsonValue()), checked_at: fc.jsonValue() });
    fc.assert(
      fc.property(document, (value) => {
        try {
          expect(readReport(value).hosts.length).toBeLessThanOrEqual(4_096);
        } catch (thrown) {
          expect(isMeshError(thrown) && thrown.code).toBe("E_WIRE");
        }
      }),
      { numRuns: runs },
    );
  });
});

describe("a name", () => {
  const other = endpointId(`${host.slice(0, 12)}${"0".repeat(52)}`);
  const all = { nodes: [host, other, self], models: ["org/m", self, "abababababab"] };

  it.each([
    [host, { kind: "peer", id: host }],
    [host.slice(0, 13), { kind: "peer", id: host }],
    [host.slice(0, 12), { kind: "ambiguous" }],
    [host.slice(0, 9), { kind: "unknown" }],
    [host.slice(0, 13).toUpperCase(), { kind: "unknown" }],
    ["org/m", { kind: "model", model: "org/m" }],
    ["nobody", { kind: "unknown" }],
    ["0123456789", { kind: "unknown" }],
  ])("%s is found", (what, found) => expect(namedBy(what, all)).toEqual(found));

  it("that is a whole endpoint id is never a model; the beginning of one may be", () => {
    expect(namedBy(self, all)).toEqual({ kind: "peer", id: self });
    expect(namedBy("abababababab", all)).toEqual({ kind: "model", model: "abababababab" });
  });
});

describe("an explanation", () => {
  const base = { ...known, hostname: "h", models: ["m"], proof: provenHost(), decision: allow() };
  const textOf = (change: Partial<typeof base>): string =>
    explainReport({ what: "m", kind: "model", policy: openPolicy, hosts: [{ ...base, ...change }], own: undefined })
      .hosts[0]?.text ?? "";

  it("says how a prompt would go and what the host has proven, in the decision's words", () => {
    const text = textOf({});
    expect(text).toBe(explainDecision(base.decision));
    expect(text).toMatch(/sealed.*key.*secure-enclave/);
  });

  it("of a refusal is the refusal's own sentence", () => {
    expect(textOf({ decision: refuse() })).toBe(refusalText);
  });

  it("says what evidence that reaches no tier lacks", () => {
    const proof = { pieces: [provenPiece({ challenge: "unasked" })], why: undefined, asked: true };
    expect(textOf({ proof, decision: allow({ tier: "none" }) })).toContain("Its key has answered no challenge.");
  });

  it("says that evidence was taken without a challenge, where policy accepts that", () => {
    const text = textOf({ decision: allow({ tier: "none", unchallenged: true }) });
    expect(text).toContain("without a challenge");
    expect(text).not.toContain("has answered no challenge");
  });

  it("says that nothing was shown, and why, and that a prompt would go in the clear", () => {
    const decision = allowUnproven("plain");
    expect(textOf({ proof: { ...noProof, asked: true }, decision })).toMatch(
      /in the clear.*It has shown no evidence\.$/,
    );
    expect(textOf({ proof: noProof, decision })).toMatch(/in the clear.*It has not been asked for evidence yet\.$/);
    expect(textOf({ proof: { pieces: [], why: "it is silent", asked: true }, decision })).toContain(
      "no evidence (it is silent).",
    );
  });

  it("says that a peer has no model, and lists this machine first", () => {
    const own = { endpointId: self, hostname: undefined, models: ["m"] };
    const report = explainReport({
      what: "m",
      kind: "model",
      policy: openPolicy,
      hosts: [{ ...base, models: [] }],
      own,
    });
    expect(report.hosts.map((each) => [each.this_node, each.route, each.tier])).toEqual([
      [true, "local", null],
      [false, "sealed", "key"],
    ]);
    expect(report.hosts[1]?.text).toMatch(/It serves no model now\.$/);
  });
});

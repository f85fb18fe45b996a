import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { noProof } from "../../../src/attest/proof.ts";
import { factors } from "../../../src/attest/verdict.ts";
import type { Peer } from "../../../src/mesh/membership.ts";
import { Exchanges } from "../../../src/node/exchanges.ts";
import { admissionStatus, exchangesStatus, peerStatus, type PeerFacts } from "../../../src/node/status.ts";
import { allow, allowUnproven, provenHost, provenPiece, refusalText, refuse } from "../../support/attestation.ts";
import { untold } from "../../support/postures.ts";
import { report } from "./reports.ts";
import { judgeOwner, noOwnerTrust } from "../../../src/policy/owners.ts";
import { claimOf, ownerFrom } from "../../support/owners.ts";

const id = endpointId("cc".repeat(32));
const peer: Peer = {
  id,
  role: "host",
  models: ["small", "large"],
  runtimes: [{ name: "small", contextLength: 4096, ready: true }],
  version: "0.65.1",
  hostname: "h",
  address: undefined,
  record: undefined,
  announced: { kind: "absent" },
  blob: undefined,
  ownership: undefined,
  saidPosture: undefined,
  conflict: false,
  met: true,
  lastSeenMs: 1,
  lastMentionedMs: 0,
  newsMs: 0,
  doubted: false,
  introducedBy: id,
  addressSigned: false,
  mentionedBy: new Set(),
};
const facts: PeerFacts = {
  peer,
  key: { kind: "none" },
  connected: true,
  rttMs: 12,
  path: "quic",
  relays: [],
  mayCarry: true,
  running: 0,
  route: "auto",
  proof: noProof,
  decision: allowUnproven("plain"),
  posture: untold,
  owner: judgeOwner(undefined, peer.id, noOwnerTrust, 0),
};

/** Of the record, what status looks at. */
function withRecord(models: readonly object[]): Peer {
  return { ...peer, record: { fields: { models } } as unknown as NonNullable<Peer["record"]> };
}

describe("a peer's owner", () => {
  const nowMs = 1_000_000_000;
  const shownOf = (bytes: Uint8Array): unknown =>
    peerStatus({ ...facts, owner: judgeOwner(bytes, peer.id, noOwnerTrust, nowMs) }).owner;
  const owner = ownerFrom(4);

  it("is unsigned where it shows none, in the reference's form", () => {
    expect(peerStatus(facts).owner).toEqual({ status: "unsigned", verified: false });
  });

  it("is told with what was signed", () => {
    expect(shownOf(claimOf(owner, peer.id, nowMs, { nodeLabel: "rack 4" }))).toEqual({
      status: "verified",
      verified: true,
      owner_id: owner.id,
      cert_id: "11".repeat(16),
      expires_at_unix_ms: nowMs + 1_800_000,
      node_label: "rack 4",
    });
  });

  it("is told when the claim has expired, and not when nobody has signed it", () => {
    expect(shownOf(claimOf(owner, peer.id, nowMs - 3_600_000))).toMatchObject({
      status: "expired",
      verified: false,
      owner_id: owner.id,
    });
    expect(shownOf(Uint8Array.of(1))).toEqual({ status: "invalid_signature", verified: false });
  });

  it("says nothing to a terminal but short text", () => {
    const texts = { nodeLabel: `\u001b[2J${"x".repeat(99)}`, hostnameHint: "a\u202eb" };
    expect(shownOf(claimOf(owner, peer.id, nowMs, texts))).toMatchObject({
      node_label: `\ufffd[2J${"x".repeat(60)}`,
      hostname_hint: "a\ufffdb",
    });
  });
});

describe("a peer's models", () => {
  it("come with their context from gossip, and null for what nobody said", () => {
    expect(peerStatus(facts).model_states).toEqual([
      { id: "small", context_length: 4096, busy: null, queue: null },
      { id: "large", context_length: null, busy: null, queue: null },
    ]);
  });

  it("come with what its record says of them, which counts more", () => {
    const told = { name: "small", context: 8192, busy: true, queue: 3, kinds: [] };
    expect(peerStatus({ ...facts, peer: withRecord([told]) }).model_states[0]).toEqual({
      id: "small",
      context_length: 8192,
      busy: true,
      queue: 3,
    });
  });
});

describe("what a peer has proven", () => {
  it("is what its route was given for", () => {
    const { sealed, attestation } = peerStatus({ ...facts, proof: provenHost(), decision: allow() });
    expect(sealed).toBe("sealed");
    expect(attestation).toMatchObject({
      tier: "key",
      kind: "secure-enclave",
      challenge: "answered",
      pin: "first-contact",
      allowed: true,
      rule: null,
      refusal: null,
      why: null,
    });
    expect(attestation.fingerprint).toMatch(/^[0-9a-f]{32}$/);
    const [piece] = attestation.evidence;
    expect(piece).toMatchObject({ kind: "secure-enclave", issued_at: "2026-05-05T00:00:00.123Z" });
    expect(Object.keys(piece?.factors ?? {})).toEqual(factors);
    expect(piece?.factors).toMatchObject({ signature: "pass", chain: "unknown" });
  });

  it("is nothing for one that showed nothing, with the reason if there is one", () => {
    const silent = peerStatus({ ...facts, proof: { pieces: [], why: "it does not answer", asked: true } });
    expect(silent.sealed).toBe("plain");
    expect(silent.attestation).toEqual({
      tier: "none",
      kind: null,
      fingerprint: null,
      challenge: null,
      pin: null,
      allowed: true,
      rule: null,
      refusal: null,
      why: "it does not answer",
      evidence: [],
    });
  });

  it("stands beside the sentence of its refusal", () => {
    const proof = provenHost({ challenge: "missed" });
    const { sealed, attestation } = peerStatus({ ...facts, proof, decision: refuse() });
    expect(sealed).toBe("refused");
    expect(attestation).toMatchObject({ tier: "none", challenge: "missed", allowed: false, refusal: refusalText });
  });

  it("has no time for evidence that tells none", () => {
    const piece = provenPiece();
    const proof = { pieces: [{ ...piece, claims: {} }], why: undefined, asked: true };
    expect(peerStatus({ ...facts, proof, decision: refuse() }).attestation.evidence[0]?.issued_at).toBeNull();
  });
});

describe("exchanges in the document", () => {
  it("are the last twenty, and sums over all", () => {
    const exchanges = new Exchanges();
    for (let index = 0; index < 30; index++) exchanges.add(report({ id: `r${index}` }));
    const { recent, totals } = exchangesStatus(exchanges);
    expect(recent.map((each) => each.id)).toEqual(Array.from({ length: 20 }, (_, index) => `r${29 - index}`));
    expect(totals.requests).toBe(30);
  });

  it("come with what runs, what waits and how much of each there may be", () => {
    expect(admissionStatus({ running: 1, queued: 2, maxRunning: 3, maxQueued: 4 })).toEqual({
      running: 1,
      queued: 2,
      max_running: 3,
      max_queued: 4,
    });
  });
});

/** Hosts for tests of policy: facts as mesh/proofs.ts would state them, from the best there is and with single things wrong. */
import type { Claims } from "../../../src/attest/claims.ts";
import type { EvidenceItem } from "../../../src/attest/evidence.ts";
import { fingerprintOf, type HostProof, noProof, type PieceProof } from "../../../src/attest/proof.ts";
import { pass, unknown, type Verdict, verdictOf } from "../../../src/attest/verdict.ts";
import { endpointId } from "../../../src/base/brand.ts";
import type { HostFacts, KeyStanding } from "../../../src/policy/decide.ts";
import { openPolicy, type Policy } from "../../../src/policy/policy.ts";

export const now = 1_000_000;
export const inferenceKey = new Uint8Array(32).fill(9);
export const id = endpointId("ab".repeat(32));
export const otherId = endpointId("cd".repeat(32));
export const owner = "0e".repeat(32);

export const record: KeyStanding = { kind: "record", key: inferenceKey, notAfterMs: now };
export const announced: KeyStanding = { kind: "announced", key: inferenceKey };
export const noKey: KeyStanding = { kind: "none" };

/** A SEC1 point, as far as policy looks at one. */
export const attestedKey = (fill: number): Uint8Array => new Uint8Array(65).fill(fill);

const goodFactors: Partial<Verdict> = {
  parse: pass("well-formed"),
  signature: pass("signature-holds"),
  binding: pass("bound"),
  fresh: pass("nonce-answered"),
};

interface PieceChanges {
  readonly verdict?: Partial<Verdict>;
  readonly claims?: Claims;
  readonly challenge?: PieceProof["challenge"];
  readonly pin?: PieceProof["pin"];
}

function piece(kind: string, base: Partial<Verdict>, changes: PieceChanges): PieceProof {
  const { verdict = {}, claims = { attestedKey: attestedKey(1) }, challenge = "answered" } = changes;
  const item: EvidenceItem = { kind, version: 1, evidence: new Uint8Array(), collateral: [], issuedAtMs: now };
  const whole = verdictOf({ ...goodFactors, ...base, ...verdict });
  return { item, nonce: undefined, claims, verdict: whole, challenge, pin: changes.pin ?? { standing: "none" } };
}

/** Of tier `vendor`, unless something is changed. */
export const tpm = (changes: PieceChanges = {}): PieceProof =>
  piece("tpm2", { chain: pass("chain-holds"), "key-residence": pass("key-in-chip") }, changes);

/** Of tier `key`; recent by its own time. */
export const enclave = (changes: PieceChanges = {}): PieceProof =>
  piece("secure-enclave", { fresh: unknown("own-time"), "key-residence": unknown("residence-own-word") }, changes);

/** Everything that a program can sign. */
export const software = (changes: PieceChanges = {}): PieceProof => piece("software", {}, changes);

export const changedPin: PieceProof["pin"] = {
  standing: "disagrees",
  pinned: { kind: "tpm2", key: fingerprintOf(attestedKey(2)), measurement: undefined },
};

export const showing = (...pieces: readonly PieceProof[]): HostProof => ({ pieces, why: undefined, asked: true });

export const host = (facts: Partial<HostFacts> = {}): HostFacts => ({
  id,
  key: record,
  proof: noProof,
  owner: undefined,
  posture: { kind: "none" },
  ...facts,
});

export const demanding = (changes: Partial<Policy>): Policy => ({ ...openPolicy, ...changes });

/** Proofs and decisions for tests of what is told about them: made by hand, as mesh/proofs.ts and policy/ would. */
import type { HostProof, PieceProof } from "../../src/attest/proof.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import type { Decision } from "../../src/policy/decide.ts";
import type { Tier } from "../../src/attest/verdict.ts";
import { blobItem, goodBlob, inputFor, testKey } from "./evidence.ts";

/** The vector's blob, judged a minute after it was made; its key has answered a challenge. */
export function provenPiece(change: Partial<PieceProof> = {}): PieceProof {
  const item = change.item ?? blobItem(goodBlob);
  const { claims, verdict } = verifyEvidence(inputFor(item));
  return {
    item,
    nonce: undefined,
    claims,
    verdict,
    challenge: "answered",
    pin: { standing: "first-contact" },
    ...change,
  };
}

export function provenHost(change: Partial<PieceProof> = {}): HostProof {
  return { pieces: [provenPiece(change)], why: undefined, asked: true };
}

export interface Allowing {
  readonly route?: "sealed" | "plain";
  readonly tier?: Tier;
  readonly kind?: string | undefined;
  readonly attestedKey?: Uint8Array | undefined;
  readonly unchallenged?: boolean;
}

/** Allowed for the vector's blob at tier `key`, but for what is said. */
export function allow({ route = "sealed", ...change }: Allowing = {}): Decision {
  const shown = { tier: "key", kind: "secure-enclave", attestedKey: testKey().point, unchallenged: false };
  // only policy/decide makes routes; here nothing is sent on one
  return { kind: "allow", route: { kind: route, proof: { ...shown, ...change } } } as unknown as Decision;
}

/** Allowed without any proof. */
export function allowUnproven(route: "sealed" | "plain" = "sealed"): Decision {
  return allow({ route, tier: "none", kind: undefined, attestedKey: undefined });
}

export const refusalText = "It has answered no challenge, and --require-attested-hosts=key demands one.";

export function refuse(): Decision {
  const refusal = { rule: "attested", demand: "--require-attested-hosts=key", lacks: ["challenge"], text: refusalText };
  return { kind: "refuse", refusal } as unknown as Decision;
}

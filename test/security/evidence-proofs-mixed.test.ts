/**
 * A peer's word, a maker's word and what was checked here must stay apart: in claims, in reasons, and in what is shown.
 */
import { describe, expect, it } from "vitest";
import { signSoftwareEvidence } from "../../src/attest/kinds/software.ts";
import type { Verified } from "../../src/attest/evidence.ts";
import { reasons } from "../../src/attest/reasons.ts";
import { factors } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import {
  blobItem,
  goodBlob,
  host,
  inferenceKey,
  inputFor,
  issuedAtMs,
  signedBlob,
  signP1363,
  testKey,
} from "../support/evidence.ts";

const key = testKey();
const nonce = new Uint8Array(32).fill(5);
const parts = { endpointId: host, inferenceKey, attestedKey: key.point, issuedAtMs };
const software = signSoftwareEvidence({ ...parts, nonce, sign: (message) => signP1363(key, message) });

function claimants({ claims }: Verified): ReadonlySet<string> {
  const { attestedKey: _shown, ...said } = claims;
  return new Set(Object.values(said).map(({ by }) => by));
}

describe("A12: kinds of proof", () => {
  it("what a signer says is its own word, also when it says that a maker does", () => {
    const boast = { chipName: "Apple (verified by vendor)", hardwareModel: '","by":"vendor' };
    const withMember = fromUtf8(goodBlob).replace('"chip_name"', '"by":"vendor","tier":"measured","chip_name"');
    for (const evidence of [goodBlob, signedBlob(boast), utf8(withMember)]) {
      const verified = verifyEvidence(inputFor(blobItem(evidence)));
      expect(verified.verdict.signature.outcome).toBe("pass");
      expect(claimants(verified)).toEqual(new Set(["self"]));
    }
  });

  it("nothing is claimed by evidence whose signature does not hold", () => {
    const forged = utf8(fromUtf8(goodBlob).replace("Mac16,1", "Mac16,2"));
    expect(verifyEvidence(inputFor(blobItem(forged))).claims).toEqual({});
  });

  it("the time beside an item is nobody's claim: only the signed one counts", () => {
    const verified = verifyEvidence(inputFor({ ...blobItem(goodBlob), issuedAtMs: 4_102_444_800_000 }));
    expect(verified.claims.issuedAtMs).toEqual({ value: issuedAtMs, by: "self" });
    expect(verified.verdict.fresh.reason).toBe("own-time");
  });

  it("a nonce counts when it was ours, and is told from a time of the signer's own", () => {
    const item = { ...blobItem(software), kind: "software" };
    const expected = { endpointId: host, inferenceKey, nonce };
    expect(verifyEvidence(inputFor(item, { expected })).verdict.fresh.reason).toBe("nonce-answered");
    const notOurs = { ...expected, nonce: new Uint8Array(32).fill(6) };
    expect(verifyEvidence(inputFor(item, { expected: notOurs })).verdict.binding.outcome).toBe("fail");
    const blob = verifyEvidence(inputFor(blobItem(goodBlob), { expected }));
    expect(blob.verdict.fresh.reason).toBe("own-time");
  });

  it("a verdict holds outcomes and codes of ours and nothing that a peer wrote", () => {
    const text = "PEER-TEXT";
    const { verdict } = verifyEvidence(
      inputFor(blobItem(signedBlob({ chipName: text, binaryHash: text, timestamp: text }))),
    );
    expect(JSON.stringify(verdict)).not.toContain(text);
    for (const factor of factors) expect(Object.keys(reasons)).toContain(verdict[factor].reason);
  });
});

/** mesh-llm.json, the attestation blob and the challenge: read, written again byte for byte, and verified. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { secureEnclave, signReferenceBlob } from "../../src/attest/kinds/secure-enclave.ts";
import { fromBase64, fromHex, fromUtf8, toBase64, toHex, utf8 } from "../../src/base/bytes.ts";
import { verifyP256 } from "../../src/crypto/p256.ts";
import { challengeNonce, referenceChallengeBytes } from "../../src/wire/challenge.ts";
import { decodeReferenceBlob, encodeReferenceBlob, referenceBlobBytes } from "../../src/wire/evidence.ts";
import { blobItem, goodBlob, inputFor, said, testKey, withOutcome } from "../support/evidence.ts";
import vectors from "./mesh-llm.json" with { type: "json" };

const { attestation_canonical: canonical, attestation_signed: signed, challenge } = vectors;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("attestation_canonical", () => {
  it("gives the signed bytes of the vector", () => {
    const bytes = referenceBlobBytes({
      ...said,
      endpointId: "aa".repeat(32),
      inferenceKey: "INFKEY",
      attestedKey: "SEKEY",
      timestamp: "2026-05-05T00:00:00+00:00",
    });
    expect(toHex(bytes)).toBe(canonical.canonical_hex);
    expect(bytes.length).toBe(canonical.canonical_len);
    expect(sha256(bytes)).toBe(canonical.canonical_sha256_hex);
  });
});

describe("attestation_signed", () => {
  const blob = decodeReferenceBlob(goodBlob);

  it("is read", () => {
    expect(blob).toEqual({ attestation: said, signature: fromBase64(signed.signature_der_b64) });
    const bytes = referenceBlobBytes(blob.attestation);
    expect([bytes.length, sha256(bytes)]).toEqual([signed.canonical_len, signed.canonical_sha256_hex]);
  });

  it("is written byte for byte", () => {
    expect(fromUtf8(encodeReferenceBlob(blob))).toBe(signed.wrapper_json_utf8);
    const signer = (message: Uint8Array): Uint8Array => {
      expect(sha256(message)).toBe(signed.canonical_sha256_hex);
      return fromBase64(signed.signature_der_b64);
    };
    expect(fromUtf8(signReferenceBlob(said, signer))).toBe(signed.wrapper_json_utf8);
  });

  it("verifies, with the key of the vector, and shows no more than a blob can", () => {
    const { claims, verdict } = secureEnclave.verify(inputFor(blobItem(goodBlob)));
    expect(toHex(claims.attestedKey ?? utf8(""))).toBe(signed.p256_public_sec1_hex);
    expect(withOutcome(verdict, "pass")).toEqual(["parse", "signature", "binding", "device-state"]);
    expect(withOutcome(verdict, "fail")).toEqual([]);
    expect(verdict.fresh).toEqual({ outcome: "unknown", reason: "own-time" });
  });
});

describe("challenge", () => {
  const key = toBase64(testKey().point);
  const nonce = fromHex(challenge.nonce_hex);

  it("gives the signed bytes of the vector, and its signature holds over them", () => {
    const message = referenceChallengeBytes(key, nonce);
    expect(toHex(message)).toBe(challenge.signed_bytes_hex);
    const signature = fromBase64(challenge.signature_der_b64);
    const check = { publicKey: testKey().point, signature, form: "der" } as const;
    expect(verifyP256({ ...check, message })).toBe(true);
    expect(verifyP256({ ...check, message: referenceChallengeBytes(key, challengeNonce(nonce)) })).toBe(false);
  });
});

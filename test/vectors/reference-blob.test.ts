/** mesh-llm.json, the attestation blob and the challenge: read, written again byte for byte, and verified. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { secureEnclave, signReferenceBlob } from "../../src/attest/kinds/secure-enclave.ts";
import { fromBase64, fromHex, fromUtf8, toBase64, toHex, utf8 } from "../../src/base/bytes.ts";
import { verifyP256 } from "../../src/crypto/p256.ts";
import { challengeNonce, referenceChallengeBytes } from "../../src/wire/challenge.ts";
import { decodeReferenceBlob, encodeReferenceBlob, referenceBlobBytes } from "../../src/wire/evidence.ts";
import { blobItem, goodBlob, inputFor, issuedAtMs, said, testKey, withOutcome } from "../support/evidence.ts";
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

  it("is written byte for byte", async () => {
    expect(fromUtf8(encodeReferenceBlob(blob))).toBe(signed.wrapper_json_utf8);
    const signer = async (message: Uint8Array): Promise<Uint8Array> => {
      expect(sha256(message)).toBe(signed.canonical_sha256_hex);
      return fromBase64(signed.signature_der_b64);
    };
    expect(fromUtf8(await signReferenceBlob(said, signer))).toBe(signed.wrapper_json_utf8);
  });

  it("verifies, with the key of the vector, and shows no more than a blob can", () => {
    const { claims, verdict } = secureEnclave.verify(inputFor(blobItem(goodBlob)));
    expect(toHex(claims.attestedKey ?? utf8(""))).toBe(signed.p256_public_sec1_hex);
    expect(withOutcome(verdict, "pass")).toEqual(["parse", "signature", "binding", "device-state"]);
    expect(withOutcome(verdict, "fail")).toEqual([]);
    expect(verdict.fresh).toEqual({ outcome: "unknown", reason: "own-time" });
  });

  it("is refused with any bit of its signature or of its key flipped", () => {
    const good = fromUtf8(goodBlob);
    for (const base64 of [signed.signature_der_b64, said.attestedKey]) {
      for (const forged of withOneBitFlipped(fromBase64(base64))) {
        const changed = good.replace(base64, toBase64(forged));
        expect(changed).not.toBe(good);
        const { claims, verdict } = secureEnclave.verify(inputFor(blobItem(utf8(changed))));
        expect([claims, withOutcome(verdict, "pass"), withOutcome(verdict, "fail")]).toEqual([
          {},
          ["parse"],
          ["signature"],
        ]);
      }
    }
  });

  it("is valid as long as the vector says, both ends included", () => {
    const [, aheadSeconds, ageSeconds] = /- (\d+) s, timestamp \+ (\d+) s\]$/.exec(signed.valid_when) ?? [];
    const ends = { aheadMs: Number(aheadSeconds) * 1000, ageMs: Number(ageSeconds) * 1000 };
    expect(ends).toEqual({ aheadMs: 30_000, ageMs: 660_000 });
    const freshAt = (ageMs: number): string =>
      secureEnclave.verify(inputFor(blobItem(goodBlob), { nowMs: issuedAtMs + ageMs })).verdict.fresh.reason;
    expect([-ends.aheadMs - 1, -ends.aheadMs, ends.ageMs, ends.ageMs + 1].map(freshAt)).toEqual([
      "clock-ahead",
      "own-time",
      "own-time",
      "too-old",
    ]);
  });
});

function* withOneBitFlipped(bytes: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const flipped = Uint8Array.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    yield flipped;
  }
}

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

  it("does not hold with any bit of signature, key or nonce flipped", () => {
    const good = {
      publicKey: testKey().point,
      signature: fromBase64(challenge.signature_der_b64),
      form: "der",
    } as const;
    const message = referenceChallengeBytes(key, nonce);
    const forged = [
      ...[...withOneBitFlipped(good.signature)].map((signature) => ({ ...good, signature, message })),
      ...[...withOneBitFlipped(good.publicKey)].map((publicKey) => ({ ...good, publicKey, message })),
      ...[...withOneBitFlipped(nonce)].map((other) => ({ ...good, message: referenceChallengeBytes(key, other) })),
    ];
    expect(forged.map(verifyP256)).not.toContain(true);
  });
});

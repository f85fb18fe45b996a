/**
 * Evidence is public: anyone can hold a copy of a good one. A copy must not speak for another node, another key, or for
 * a time at which its key signs nothing any more.
 */
import { describe, expect, it } from "vitest";
import type { Expected } from "../../src/attest/evidence.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { endpointId } from "../../src/base/brand.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { blobItem, blobJson, goodBlob, host, inferenceKey, inputFor, said, signedBlob } from "../support/evidence.ts";

const challenged = { challenged: true, pin: "agrees" } as const;
const expected: Expected = { endpointId: host, inferenceKey, nonce: undefined };
const thief = endpointId("66".repeat(32));
const rotated = new Uint8Array(32).fill(7);

describe("a copied blob", () => {
  it.each([
    ["shown by another node", { ...expected, endpointId: thief }, "other-node"],
    ["shown after the inference key was rotated", { ...expected, inferenceKey: rotated }, "other-inference-key"],
  ] as const)("%s: refused at every tier", (_name, other, reason) => {
    const { verdict } = verifyEvidence(inputFor(blobItem(goodBlob), { expected: other }));
    expect(verdict.binding).toEqual({ outcome: "fail", reason });
    expect(tierOf("secure-enclave", verdict, challenged)).toBe("none");
  });

  it("made out to another node under the old signature: refused", () => {
    const { signature } = JSON.parse(Buffer.from(goodBlob).toString()) as { signature: string };
    const moved = utf8(blobJson({ ...said, endpointId: thief }, Uint8Array.from(Buffer.from(signature, "base64"))));
    const { verdict } = verifyEvidence(inputFor(blobItem(moved), { expected: { ...expected, endpointId: thief } }));
    expect([verdict.signature.reason, verdict.binding.reason]).toEqual(["signature-wrong", "not-reached"]);
  });

  it("of the node itself, within its time, is none until its key answers a challenge", () => {
    const { verdict } = verifyEvidence(inputFor(blobItem(goodBlob)));
    expect(tierOf("secure-enclave", verdict, { challenged: false, pin: "agrees" })).toBe("none");
    expect(tierOf("secure-enclave", verdict, challenged)).toBe("pinned");
  });

  it("whose key was exchanged for the thief's own says so by its key: a pin disagrees, and that is none", () => {
    const { verdict } = verifyEvidence(inputFor(blobItem(signedBlob())));
    expect(tierOf("secure-enclave", verdict, { challenged: true, pin: "disagrees" })).toBe("none");
  });
});

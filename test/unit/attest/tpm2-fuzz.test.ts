/** Bytes that no TPM made: every decoder gives a value or a MeshError, and the verifier always gives a verdict. */
import { describe, expect, test } from "vitest";
import { decodeTpmEvidence, encodeTpmEvidence } from "../../../src/attest/collect/tpm/evidence.ts";
import { decodePublicArea, decodeQuote, decodeSignature } from "../../../src/attest/collect/tpm/structures.ts";
import { tpm2 } from "../../../src/attest/kinds/tpm2.ts";
import { factors } from "../../../src/attest/verdict.ts";
import { isMeshError } from "../../../src/base/errors.ts";
import { fc } from "../../support/fast-check.ts";
import { endorsementArea, forge, inputFor, softwareKey } from "../../support/tpm-forger.ts";

const key = softwareKey();
const plain = forge({ key });
const parts = { ...decodeTpmEvidence(plain.evidence), endorsementKey: endorsementArea(softwareKey()) };
const sample = { ...plain, evidence: encodeTpmEvidence(parts) };

/** A good one with a few bytes overwritten, cut or doubled: random bytes alone get past no first check. */
function near(good: Uint8Array): fc.Arbitrary<Uint8Array> {
  const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  return fc
    .tuple(edits, fc.option(fc.nat(good.length), { nil: good.length }), fc.uint8Array({ maxLength: 8 }))
    .map(([changes, length, tail]) => {
      const bytes = good.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return Uint8Array.from([...bytes.subarray(0, length), ...tail]);
    });
}

function isHandled(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  try {
    decode(bytes);
    return true;
  } catch (thrown) {
    return isMeshError(thrown);
  }
}

describe("decoders", () => {
  test.each([
    ["evidence", decodeTpmEvidence, sample.evidence],
    ["public areas", decodePublicArea, parts.attestationKey],
    ["quotes", decodeQuote, parts.quote],
    ["signatures", decodeSignature, parts.signature],
  ] as const)("of %s", (_what, decode, good) => {
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 2_000 }), near(good));
    fc.assert(
      fc.property(bytes, (input) => isHandled(decode, input)),
      { numRuns: 2_000 },
    );
  });

  test("evidence is written and read back", () => {
    expect(Buffer.from(encodeTpmEvidence(parts))).toEqual(Buffer.from(sample.evidence));
  });
});

describe("the verifier", () => {
  test("gives a whole verdict for anything, and claims nothing that was not signed", () => {
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 1_000 }), near(sample.evidence));
    const collateral = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 3 });
    const property = fc.property(bytes, collateral, (evidence, certificates) => {
      const { verdict, claims } = tpm2.verify(inputFor({ ...sample, evidence, collateral: certificates }));
      expect(Object.keys(verdict)).toEqual([...factors]);
      if (verdict.signature.outcome !== "pass") expect(claims).toEqual({});
      tpm2.residence?.({ ...sample, evidence }, new Uint8Array(32));
    });
    fc.assert(property, { numRuns: 1_000 });
  });

  test("refuses every single byte that is changed, wherever it stands", () => {
    for (let at = 0; at < plain.evidence.length; at += 1) {
      const evidence = plain.evidence.slice();
      evidence[at] = (evidence[at] ?? 0) ^ 1;
      const { verdict } = tpm2.verify(inputFor({ ...sample, evidence }));
      expect
        .soft(
          Object.values(verdict).some(({ outcome }) => outcome === "fail"),
          `byte ${at}`,
        )
        .toBe(true);
    }
  });
});

/**
 * Every kind of evidence on random bytes, and on good evidence with changes: a verdict with every factor, never an
 * exception, and never a signature that passes over changed bytes. SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { signSoftwareEvidence } from "../../src/attest/kinds/software.ts";
import { reasons } from "../../src/attest/reasons.ts";
import { evidenceKinds } from "../../src/attest/registry.ts";
import { factors, tierOf } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { concat, equal, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { decodeEvidenceItem, decodeReferenceBlob, encodeEvidenceItem, rfc3339Ms } from "../../src/wire/evidence.ts";
import {
  blobItem,
  goodBlob,
  host,
  inferenceKey,
  inputFor,
  issuedAtMs,
  signP1363,
  testKey,
} from "../support/evidence.ts";
import { fc } from "../support/fast-check.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const caseMs = 1_000;

const key = testKey();
const softwareEvidence = signSoftwareEvidence({
  endpointId: host,
  inferenceKey,
  attestedKey: key.point,
  nonce: undefined,
  issuedAtMs,
  sign: (message) => signP1363(key, message),
});
const goodEvidence: ReadonlyMap<string, Uint8Array> = new Map([
  ["secure-enclave", goodBlob],
  ["software", softwareEvidence],
]);

const bytes = fc.uint8Array({ maxLength: 600 });
/** Something cut out of a good one, and something else put there. */
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.nat(8),
  put: fc.uint8Array({ maxLength: 8 }),
});

function edited(good: Uint8Array, edits: readonly { at: number; cut: number; put: Uint8Array }[]): Uint8Array {
  return edits.reduce((before, { at, cut, put }) => {
    const from = Math.floor(at * before.length);
    return concat([before.subarray(0, from), put, before.subarray(from + cut)]);
  }, good);
}

function judge(kind: string, evidence: Uint8Array, collateral: readonly Uint8Array[] = [], roots = collateral): string {
  const started = performance.now();
  const item = { ...blobItem(evidence), kind, collateral };
  const { verdict } = verifyEvidence(inputFor(item, { roots }));
  expect(Object.keys(verdict).length).toBe(factors.length);
  for (const factor of factors) {
    expect(["pass", "fail", "unknown", "stale"]).toContain(verdict[factor].outcome);
    expect(Object.keys(reasons)).toContain(verdict[factor].reason);
  }
  expect(tierOf(kind, verdict, { challenged: false, pin: "none" })).toBe("none");
  expect(performance.now() - started).toBeLessThan(caseMs);
  return verdict.signature.outcome;
}

describe.each(evidenceKinds.map(({ kind }) => kind))("%s", (kind) => {
  it("random bytes show nothing", () => {
    fc.assert(
      fc.property(bytes, fc.array(bytes, { maxLength: 4 }), (evidence, collateral) => {
        expect(judge(kind, evidence, collateral)).not.toBe("pass");
      }),
      { numRuns },
    );
  });

  it("evidence of any other kind shows nothing", () => {
    for (const [other, evidence] of goodEvidence) {
      if (other !== kind) expect(judge(kind, evidence)).not.toBe("pass");
    }
  });
});

describe.each([...goodEvidence])("%s, good", (kind, good) => {
  it("passes as it is, and with any edit of its bytes no longer", () => {
    expect(judge(kind, good)).toBe("pass");
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        const changed = edited(good, edits);
        // white space between members is nobody's, and changes nothing
        if (equal(changed, good) || fromLatin1(changed) === fromLatin1(good)) return;
        expect(judge(kind, changed)).not.toBe("pass");
      }),
      { numRuns },
    );
  });
});

function fromLatin1(text: Uint8Array): string {
  return Buffer.from(text)
    .toString("latin1")
    .replace(/[ \n\r\t]/g, "");
}

/** A JSON value at every place of a good blob. */
it("a blob with any JSON anywhere gives a verdict", () => {
  const places = [...fromUtf8(goodBlob).matchAll(/:("[^"]*"|[a-z0-9]+)/g)].map(({ 1: value = "" }) => value);
  expect(places.length).toBe(12);
  fc.assert(
    fc.property(fc.constantFrom(...places), fc.json(), (place, json) => {
      const changed = fromUtf8(goodBlob).replace(`:${place}`, `:${json}`);
      if (json !== place && changed !== fromUtf8(goodBlob)) judge("secure-enclave", utf8(changed));
    }),
    { numRuns },
  );
});

describe("decoders", () => {
  const item = encodeEvidenceItem({ ...blobItem(utf8("evidence")), collateral: [utf8("c")] });

  it.each([
    ["blob", goodBlob, decodeReferenceBlob],
    ["item", item, decodeEvidenceItem],
  ] as const)("%s: a value or a MeshError", (_name, good, decode) => {
    const tried = (input: Uint8Array): void => {
      try {
        decode(input);
      } catch (thrown) {
        if (!isMeshError(thrown)) throw thrown;
        expect(thrown.code).toBe("E_WIRE");
      }
    };
    fc.assert(fc.property(bytes, tried), { numRuns });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => tried(edited(good, edits))),
      { numRuns },
    );
  });

  it("a time: a number or nothing", () => {
    const time = fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("9999-12-31") });
    fc.assert(
      fc.property(time, (date) => {
        expect(rfc3339Ms(date.toISOString())).toBe(date.getTime());
      }),
      { numRuns },
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(rfc3339Ms(text)).toBeUndefined();
      }),
      { numRuns },
    );
  });
});

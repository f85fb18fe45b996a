/** The verifier alone, on statements that a program has written; a real TPM stands in test/compliance/tpm.test.ts. */
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { EvidenceItem, VerifyInput } from "../../../src/attest/evidence.ts";
import { tpm2 } from "../../../src/attest/kinds/tpm2.ts";
import { type Factor, type FactorVerdict, tierOf } from "../../../src/attest/verdict.ts";
import { endpointId } from "../../../src/base/brand.ts";
import {
  attestationArea,
  bindingOf,
  endorsementArea,
  forge,
  forgedItem,
  forgedQuote,
  forgedSignature,
  goodAttributes,
  host,
  inferenceKey,
  inputFor,
  issuedAtMs,
  pcrValues,
  sized,
  softwareKey,
} from "../../support/tpm-forger.ts";

const key = softwareKey();
const area = attestationArea(key);

function factorOf(factor: Factor, item: EvidenceItem, change: Partial<VerifyInput> = {}): FactorVerdict {
  return tpm2.verify(inputFor(item, change)).verdict[factor];
}

describe("what a program can write", () => {
  const verified = tpm2.verify(inputFor(forge({ key })));

  test("is a key and no more: nothing says where the key is kept", () => {
    expect(verified.verdict).toMatchObject({
      parse: { outcome: "pass" },
      signature: { outcome: "pass" },
      chain: { outcome: "unknown", reason: "no-chain" },
      binding: { outcome: "pass", reason: "bound" },
      fresh: { outcome: "unknown", reason: "own-time" },
      "key-residence": { outcome: "unknown", reason: "residence-own-word" },
      measurement: { outcome: "unknown", reason: "no-list" },
    });
    expect(tierOf("tpm2", verified.verdict, { challenged: true, pin: "none" })).toBe("key");
    expect(tierOf("tpm2", verified.verdict, { challenged: false, pin: "none" })).toBe("none");
  });

  test("its claims are the signer's own words", () => {
    expect(Buffer.from(verified.claims.attestedKey ?? [])).toEqual(Buffer.concat([Buffer.of(4), key.x, key.y]));
    expect(verified.claims.issuedAtMs).toEqual({ value: issuedAtMs, by: "self" });
    expect(verified.claims.pcrs).toEqual({ value: new Map(pcrValues.map((value, pcr) => [pcr, value])), by: "self" });
    expect(verified.counters).toEqual({ resets: 5, restarts: 0, clockMs: 1_000n });
  });

  test("another version is not judged", () => {
    expect(factorOf("parse", { ...forge({ key }), version: 2 })).toEqual({
      outcome: "unknown",
      reason: "unknown-kind",
    });
  });
});

describe("signature", () => {
  const pass = { outcome: "pass", reason: "signature-holds" };
  const wrong = { outcome: "fail", reason: "signature-wrong" };

  test("short r and s are read as the numbers that they are", () => {
    // signatures until one has a leading zero, about one in 128
    for (;;) {
      const quote = forgedQuote({
        area,
        extraData: bindingOf(key),
        pcrValues,
        clock: randomBytes(8).readBigUInt64BE(),
      });
      const full = Buffer.from(forgedSignature(key, quote));
      const [r, s] = [full.subarray(6, 38), full.subarray(40)];
      if (r[0] !== 0 && s[0] !== 0) continue;
      const cut = (number: Buffer): Buffer => (number[0] === 0 ? number.subarray(1) : number);
      const signature = Buffer.concat([full.subarray(0, 4), sized(cut(r)), sized(cut(s))]);
      expect(signature.length).toBeLessThan(full.length);
      expect(factorOf("signature", forgedItem({ area, quote, signature, pcrValues }))).toEqual(pass);
      return;
    }
  });

  test("of another key does not hold", () => {
    const quote = forgedQuote({ area, extraData: bindingOf(key), pcrValues });
    const signature = forgedSignature(softwareKey(), quote);
    expect(factorOf("signature", forgedItem({ area, quote, signature, pcrValues }))).toEqual(wrong);
  });

  test("over a statement that names another key, or one elsewhere, does not hold", () => {
    const other = attestationArea(softwareKey());
    const quote = forgedQuote({ area: other, extraData: bindingOf(key), pcrValues });
    const signature = forgedSignature(key, quote);
    expect(factorOf("signature", forgedItem({ area, quote, signature, pcrValues }))).toEqual(wrong);
    expect(factorOf("signature", forge({ key, parent: 0x4000_000c }))).toEqual(wrong);
  });

  test("a key that is no point of its curve is no key", () => {
    const off = { ...key, y: key.x };
    expect(factorOf("signature", forge({ key, area: attestationArea(off) }))).toEqual({
      outcome: "fail",
      reason: "key-unusable",
    });
  });
});

describe("attributes of the key", () => {
  const missing: readonly (readonly [string, number])[] = [
    ["fixedTPM", 0x02],
    ["fixedParent", 0x10],
    ["sensitiveDataOrigin", 0x20],
    ["restricted", 0x1_0000],
    ["sign", 0x4_0000],
  ];
  const refused = { outcome: "fail", reason: "key-not-restricted" };

  test.each(missing)("without %s its statement counts for nothing", (_name, bit) => {
    const verified = tpm2.verify(inputFor(forge({ key, area: attestationArea(key, goodAttributes & ~bit) })));
    expect(verified.verdict["key-residence"]).toEqual(refused);
    expect(verified.verdict.binding).toEqual({ outcome: "unknown", reason: "not-reached" });
    expect(verified.claims).toEqual({});
    expect(tierOf("tpm2", verified.verdict, { challenged: true, pin: "agrees" })).toBe("none");
  });

  test("one that also decrypts counts for nothing", () => {
    expect(factorOf("key-residence", forge({ key, area: attestationArea(key, goodAttributes | 0x2_0000) }))).toEqual(
      refused,
    );
  });
});

describe("form", () => {
  const malformed = { outcome: "fail", reason: "malformed" };

  test.each([
    ["another magic", forge({ key, magic: 0xff54_4348 })],
    ["a certification instead of a quote", forge({ key, type: 0x8017 })],
    ["the SHA-1 bank", forge({ key, bank: 0x04 })],
    ["a byte behind the quote", forgedItemWith({ quote: Buffer.concat([quoteOf(), Buffer.of(0)]) })],
    ["a byte behind the public area", forgedItemWith({ area: Buffer.concat([area, Buffer.of(0)]) })],
    ["a byte behind the signature", forgedItemWith({ signature: Buffer.concat([signatureOf(), Buffer.of(0)]) })],
    ["PCR values of no whole number", forgedItemWith({ pcrValues: [new Uint8Array(33)] })],
    ["an RSA signature", forgedItemWith({ signature: Buffer.concat([Buffer.from("0014000b", "hex"), sized(key.x)]) })],
    [
      "SHA-1 in the signature",
      forgedItemWith({ signature: Buffer.concat([Buffer.from("00180004", "hex"), signatureOf().subarray(4)]) }),
    ],
    ["a quote longer than any", forgedItemWith({ quote: new Uint8Array(513) })],
    ["a key longer than any", forgedItemWith({ area: new Uint8Array(1_025) })],
    ["a time beyond every clock", forgedItemWith({ issuedAtMs: 2 ** 60 })],
  ])("%s is malformed", (_what, item) => {
    const verified = tpm2.verify(inputFor(item));
    expect(verified.verdict.parse).toEqual(malformed);
    expect(verified.verdict.signature).toEqual({ outcome: "unknown", reason: "not-reached" });
    expect(verified.claims).toEqual({});
  });

  test("cut anywhere, or with a byte more, it is malformed", () => {
    const item = forge({ key });
    for (let length = 0; length < item.evidence.length; length += 1) {
      expect(factorOf("parse", { ...item, evidence: item.evidence.slice(0, length) })).toEqual(malformed);
    }
    const longer = Buffer.concat([item.evidence, Buffer.of(0)]);
    expect(factorOf("parse", { ...item, evidence: longer })).toEqual(malformed);
  });
});

describe("PCR values", () => {
  const differs = { outcome: "fail", reason: "measurement-differs" };

  test.each([
    ["changed", [new Uint8Array(32).fill(9), ...pcrValues.slice(1)]],
    ["swapped", pcrValues.toReversed()],
    ["missing", pcrValues.slice(1)],
    ["left out", []],
    ["too many", [...pcrValues, new Uint8Array(32)]],
  ])("%s: they are claimed by nobody", (_what, values) => {
    const item = forgedItemWith({ pcrValues: values });
    const { verdict, claims } = tpm2.verify(inputFor(item));
    expect(verdict.measurement).toEqual(differs);
    expect(claims.pcrs).toBeUndefined();
    expect(tierOf("tpm2", verdict, { challenged: true, pin: "agrees" })).toBe("none");
  });

  test.each([2, 4])("of which the quote names %i, three are claimed by nobody", (selected) => {
    const { verdict, claims } = tpm2.verify(inputFor(forge({ key, selected })));
    expect(verdict.measurement).toEqual(differs);
    expect(claims.pcrs).toBeUndefined();
  });
});

describe("binding", () => {
  const nonce = new Uint8Array(32).fill(3);
  const differs = { outcome: "fail", reason: "binding-differs" };
  const expected = inputFor(forge()).expected;

  test.each([
    ["another node", { ...expected, endpointId: endpointId("cd".repeat(32)) }],
    ["another inference key", { ...expected, inferenceKey: new Uint8Array(32).fill(8) }],
  ])("for %s it fails", (_what, other) => {
    expect(factorOf("binding", forge({ key }), { expected: other })).toEqual(differs);
  });

  test("without a node or key to compare it is unknown", () => {
    const unknown = { outcome: "unknown", reason: "not-compared" };
    expect(factorOf("binding", forge({ key }), { expected: { ...expected, endpointId: undefined } })).toEqual(unknown);
    expect(factorOf("binding", forge({ key }), { expected: { ...expected, inferenceKey: undefined } })).toEqual(
      unknown,
    );
  });

  test("made for another attested key it fails", () => {
    expect(factorOf("binding", forge({ key, extraData: bindingOf(softwareKey()) }))).toEqual(differs);
  });

  test("the time is part of it", () => {
    const [quote, signature] = [quoteOf(), signatureOf()];
    const item = forgedItem({ area, quote, signature, pcrValues, issuedAtMs: issuedAtMs + 1 });
    expect(factorOf("binding", item)).toEqual(differs);
  });

  test("the nonce that was asked with makes it fresh, another one fails", () => {
    const asked = { ...expected, nonce };
    const input = { expected: asked };
    expect(factorOf("binding", forge({ key, nonce }), input)).toEqual({ outcome: "pass", reason: "bound" });
    expect(factorOf("fresh", forge({ key, nonce }), input)).toEqual({ outcome: "pass", reason: "nonce-answered" });
    expect(factorOf("binding", forge({ key, nonce: new Uint8Array(32).fill(4) }), input)).toEqual(differs);
    expect(factorOf("binding", forge({ key, nonce }))).toEqual(differs);
  });

  test("evidence that nobody asked for does not become fresh because somebody asks now", () => {
    const input = { expected: { ...expected, nonce } };
    expect(factorOf("binding", forge({ key }), input)).toEqual({ outcome: "pass", reason: "bound" });
    expect(factorOf("fresh", forge({ key }), input)).toEqual({ outcome: "unknown", reason: "own-time" });
  });
});

describe("time", () => {
  test.each([
    [660_000, "unknown", "own-time"],
    [660_001, "stale", "too-old"],
    [-30_000, "unknown", "own-time"],
    [-30_001, "fail", "clock-ahead"],
  ])("at an age of %i ms it is %s", (ageMs, outcome, reason) => {
    expect(factorOf("fresh", forge({ key }), { nowMs: issuedAtMs + ageMs })).toEqual({ outcome, reason });
  });

  test("goes by what was signed, not by what stands beside it", () => {
    const item = { ...forge({ key }), issuedAtMs: issuedAtMs + 700_000 };
    expect(factorOf("fresh", item, { nowMs: issuedAtMs + 700_000 })).toEqual({ outcome: "stale", reason: "too-old" });
  });

  const before = { resets: 5, restarts: 2, clockMs: 1_000n };
  const back = { outcome: "stale", reason: "older-than-seen" };
  const on = { outcome: "unknown", reason: "own-time" };

  test.each([
    ["all as before", { resets: 5, restarts: 2, clock: 1_000n }, on],
    ["the clock went on", { resets: 5, restarts: 2, clock: 1_001n }, on],
    ["the clock went back", { resets: 5, restarts: 2, clock: 999n }, back],
    ["a start, and a clock set back by a power cut", { resets: 6, restarts: 0, clock: 10n }, on],
    ["a start less", { resets: 4, restarts: 2, clock: 2_000n }, back],
    ["a resume less", { resets: 5, restarts: 1, clock: 2_000n }, back],
  ])("%s", (_what, fields, fresh) => {
    expect(factorOf("fresh", forge({ key, ...fields }), { seen: { counters: before } })).toEqual(fresh);
  });

  test("counters that a TPM disguises may wrap", () => {
    const seen = { counters: { ...before, resets: 0xffff_ffff } };
    expect(factorOf("fresh", forge({ key, resets: 0, restarts: 2 }), { seen })).toEqual(on);
    expect(factorOf("fresh", forge({ key, resets: 0xffff_fffe, restarts: 2 }), { seen })).toEqual(back);
  });
});

test("a counter of before that answers a question of now fails: an older piece would not", () => {
  const seen = { counters: { resets: 5, restarts: 2, clockMs: 1_000n } };
  const nonce = new Uint8Array(32).fill(7);
  const expected = { endpointId: host, inferenceKey, nonce };
  const item = forge({ nonce, resets: 4, restarts: 2 });
  expect(factorOf("fresh", item, { seen, expected })).toEqual({ outcome: "fail", reason: "counter-went-back" });
  const next = forge({ nonce, resets: 5, restarts: 2 });
  expect(factorOf("fresh", next, { seen, expected })).toEqual({ outcome: "pass", reason: "nonce-answered" });
});

describe("residence", () => {
  test("without an endorsement key there is nothing to ask", () => {
    expect(tpm2.residence?.(forge({ key }), new Uint8Array(32))).toBeUndefined();
    expect(tpm2.residence?.({ ...forge({ key }), evidence: new Uint8Array(9) }, new Uint8Array(32))).toBeUndefined();
  });

  const question = (endorsement: Uint8Array): unknown =>
    tpm2.residence?.(forgedItemWith({ endorsementArea: endorsement }), new Uint8Array(32));

  test("an endorsement key that opens credentials and nothing else is asked", () => {
    expect(question(endorsementArea(softwareKey()))).toBeDefined();
    expect(question(endorsementArea({ modulus: randomBytes(256).fill(0xc1, 0, 1).fill(1, 255) }))).toBeDefined();
  });

  test.each([
    ["fixedTPM", 0x3_00b0],
    ["fixedParent", 0x3_00a2],
    ["sensitiveDataOrigin", 0x3_0092],
    ["restricted", 0x2_00b2],
    ["decrypt", 0x1_00b2],
  ])("one without %s is not", (_name, attributes) => {
    expect(question(endorsementArea(softwareKey(), attributes))).toBeUndefined();
  });

  test("nor is one that also signs", () => {
    expect(question(endorsementArea(softwareKey(), 0x7_00b2))).toBeUndefined();
  });

  test("numbers that make no key are not asked, and do no harm", () => {
    for (const modulus of [new Uint8Array(256), new Uint8Array(256).fill(0xfe), new Uint8Array(256).fill(1, 255)]) {
      expect(() => question(endorsementArea({ modulus }))).not.toThrow();
      expect(() =>
        tpm2.verify(inputFor(forgedItemWith({ endorsementArea: endorsementArea({ modulus }) }))),
      ).not.toThrow();
    }
    expect(question(endorsementArea({ modulus: new Uint8Array(256) }))).toBeUndefined();
    expect(question(endorsementArea({ x: key.x, y: key.x }))).toBeUndefined();
  });

  test("a proof is worth nothing without a maker's word for the endorsement key", () => {
    const item = forge({ key });
    for (const residenceProof of [new Uint8Array(32), new Uint8Array(0)]) {
      expect(factorOf("key-residence", item, { seen: { residenceProof } })).toEqual({
        outcome: "unknown",
        reason: "residence-own-word",
      });
    }
  });
});

function quoteOf(): Uint8Array {
  return forgedQuote({ area, extraData: bindingOf(key), pcrValues });
}

function signatureOf(): Uint8Array {
  return forgedSignature(key, quoteOf());
}

/** One part changed after everything was signed. */
function forgedItemWith(change: Partial<Parameters<typeof forgedItem>[0]>): EvidenceItem {
  return forgedItem({ area, quote: quoteOf(), signature: signatureOf(), pcrValues, ...change });
}

/** The door to all kinds: unknown kinds, bounds, and evidence as a file. */
import { describe, expect, it } from "vitest";
import type { EvidenceItem } from "../../../src/attest/evidence.ts";
import { evidenceKinds } from "../../../src/attest/registry.ts";
import { factors } from "../../../src/attest/verdict.ts";
import { verifyEvidence } from "../../../src/attest/verify.ts";
import { fromUtf8, toBase64, utf8 } from "../../../src/base/bytes.ts";
import { decodeEvidenceItem, encodeEvidenceItem } from "../../../src/wire/evidence.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode } from "../../support/expect-code.ts";
import { blobItem, goodBlob, inputFor, withOutcome } from "../../support/evidence.ts";

const verdictFor = (item: EvidenceItem): ReturnType<typeof verifyEvidence> => verifyEvidence(inputFor(item));
const good = blobItem(goodBlob);

describe("kinds", () => {
  it("no two have one name", () => {
    expect(new Set(evidenceKinds.map(({ kind }) => kind)).size).toBe(evidenceKinds.length);
  });

  it("the right verifier is picked", () => {
    expect(verdictFor(good).verdict.signature.outcome).toBe("pass");
    expect(verdictFor({ ...good, kind: "software" }).verdict.parse.reason).toBe("malformed");
  });

  it.each(["", "tdx", "Secure-Enclave", "constructor", "secure-enclave "])(
    "%j is unknown, and shows nothing",
    (kind) => {
      const { verdict, claims } = verdictFor({ ...good, kind });
      expect(verdict.parse).toEqual({ outcome: "unknown", reason: "unknown-kind" });
      expect([withOutcome(verdict, "unknown"), claims]).toEqual([factors, {}]);
    },
  );

  it.each(evidenceKinds.map(({ kind }) => kind))("%s: a version of the future is unknown", (kind) => {
    const { verdict } = verdictFor({ ...good, kind, version: 99 });
    expect([verdict.parse.reason, withOutcome(verdict, "unknown")]).toEqual(["unknown-kind", factors]);
  });
});

describe("bounds", () => {
  const most = new Uint8Array(limits.evidenceBytes);
  const over = new Uint8Array(limits.evidenceBytes + 1);

  it.each([
    ["evidence", { evidence: over }],
    ["a piece of collateral", { collateral: [most, over] }],
    ["all parts together", { collateral: [most, most, utf8("")] }],
    ["the number of pieces", { collateral: Array.from({ length: 17 }, () => utf8("")) }],
  ])("%s: refused before any of it is parsed", (_name, changes) => {
    for (const { kind } of evidenceKinds) {
      const { verdict } = verdictFor({ ...good, kind, ...changes });
      expect(verdict.parse).toEqual({ outcome: "fail", reason: "too-large" });
      expect(withOutcome(verdict, "pass")).toEqual([]);
    }
  });

  it("at the bounds it is parsed", () => {
    const rest = limits.evidenceItemBytes - most.length - good.evidence.length;
    const collateral = [most, most.subarray(0, rest), ...Array.from({ length: 14 }, () => utf8(""))];
    expect(verdictFor({ ...good, collateral }).verdict.signature.outcome).toBe("pass");
  });
});

describe("an item as JSON", () => {
  const item: EvidenceItem = {
    kind: "tpm2",
    version: 3,
    evidence: utf8("e"),
    collateral: [utf8("c"), utf8("")],
    issuedAtMs: 1_777_939_200_123,
  };
  const text = fromUtf8(encodeEvidenceItem(item));

  it("is written and read", () => {
    expect(text).toBe(
      '{"kind":"tpm2","version":3,"evidence":"ZQ==","collateral":["Yw==",""],"issued_at_ms":1777939200123}',
    );
    expect(decodeEvidenceItem(utf8(text))).toEqual(item);
    expect(decodeEvidenceItem(utf8(text.replace("{", '{"more":[{}],')))).toEqual(item);
  });

  it.each([
    ["nothing", ""],
    ["a list", "[]"],
    ["no kind", text.replace('"kind":"tpm2",', "")],
    ["a kind that is a number", text.replace('"tpm2"', "2")],
    ["a kind that is too long", text.replace("tpm2", "k".repeat(limits.nameBytes + 1))],
    ["kind twice", text.replace("{", '{"kind":"software",')],
    ["a version below zero", text.replace(":3,", ":-3,")],
    ["a version that is a text", text.replace(":3,", ':"3",')],
    ["a time that no double holds", text.replace("1777939200123", "9007199254740992")],
    ["evidence that is no base64", text.replace("ZQ==", "ZQ=")],
    ["evidence of 64 KiB and one byte", text.replace("ZQ==", toBase64(new Uint8Array(limits.evidenceBytes + 1)))],
    [
      "parts of more than 128 KiB together",
      text
        .replace('"Yw=="', JSON.stringify(toBase64(new Uint8Array(limits.evidenceBytes))))
        .replace('""', JSON.stringify(toBase64(new Uint8Array(limits.evidenceBytes)))),
    ],
    ["collateral that is an object", text.replace('["Yw==",""]', "{}")],
    ["collateral of numbers", text.replace('["Yw==",""]', "[1]")],
    ["collateral of 17 pieces", text.replace('["Yw==",""]', JSON.stringify(Array(17).fill("")))],
    ["a whole that is too long", text + " ".repeat(limits.evidenceFileBytes)],
  ])("%s: E_WIRE", (_name, changed) => {
    expect(changed).not.toBe(text);
    expectCode("E_WIRE", () => decodeEvidenceItem(utf8(changed)));
  });
});

/** The software kind: every step of the others, and no tier. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { evidenceBinding } from "../../../src/attest/binding.ts";
import type { EvidenceItem, Expected, VerifyInput } from "../../../src/attest/evidence.ts";
import { signSoftwareEvidence, software } from "../../../src/attest/kinds/software.ts";
import { tierOf, type Verdict } from "../../../src/attest/verdict.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { host, inferenceKey, inputFor, issuedAtMs, signP1363, testKey, withOutcome } from "../../support/evidence.ts";

const key = testKey();
const nonce = Uint8Array.from(randomBytes(32));
const parts = { endpointId: host, inferenceKey, attestedKey: key.point, issuedAtMs };
const sign = (message: Uint8Array): Uint8Array => signP1363(key, message);
const unasked = signSoftwareEvidence({ ...parts, nonce: undefined, sign });
const asked = signSoftwareEvidence({ ...parts, nonce, sign });
const expected: Expected = { endpointId: host, inferenceKey, nonce: undefined };

const item = (evidence: Uint8Array): EvidenceItem => ({
  kind: "software",
  version: 1,
  evidence,
  collateral: [],
  issuedAtMs: 0,
});

const check = (evidence: Uint8Array, changes: Partial<VerifyInput> = {}): Verdict =>
  software.verify(inputFor(item(evidence), changes)).verdict;

it("is laid out as its file says", () => {
  const statement = "7b386ff59d0100000000000000000000";
  const nonceSlot = fromHex(`00000000${statement}`);
  const binding = toHex(evidenceBinding({ ...parts, nonce: nonceSlot }));
  expect(toHex(unasked.subarray(0, 117))).toBe(`${toHex(key.point)}10000000${statement}${binding}`);
  expect(unasked.length).toBe(181);
});

describe("unasked", () => {
  it("passes what it can show, and reaches no tier whatever else holds", () => {
    const { verdict, claims } = software.verify(inputFor(item(unasked)));
    expect(withOutcome(verdict, "pass")).toEqual(["parse", "signature", "binding"]);
    expect([verdict.fresh.reason, verdict["key-residence"].reason]).toEqual(["own-time", "software-key"]);
    expect(claims).toEqual({ attestedKey: key.point, issuedAtMs: { value: issuedAtMs, by: "self" } });
    expect(tierOf("software", verdict, { challenged: true, pin: "agrees" })).toBe("none");
  });

  it.each([
    [-30_001, "clock-ahead"],
    [-30_000, "own-time"],
    [660_000, "own-time"],
    [660_001, "too-old"],
  ] as const)("%i ms old: %s", (ageMs, reason) => {
    expect(check(unasked, { nowMs: issuedAtMs + ageMs }).fresh.reason).toBe(reason);
  });

  it.each<[string, Partial<Expected>, string]>([
    ["another node", { endpointId: endpointId("ab".repeat(32)) }, "binding-differs"],
    ["another inference key", { inferenceKey: new Uint8Array(32).fill(9) }, "binding-differs"],
    ["nobody said for whom", { endpointId: undefined }, "not-compared"],
    ["nobody said for which key", { inferenceKey: undefined }, "not-compared"],
  ])("%s", (_name, changes, reason) => {
    expect(check(unasked, { expected: { ...expected, ...changes } }).binding.reason).toBe(reason);
  });

  it("is no answer to a question", () => {
    const verdict = check(unasked, { expected: { ...expected, nonce } });
    expect([verdict.binding.reason, verdict.fresh.reason]).toEqual(["bound", "own-time"]);
  });
});

describe("asked with a nonce", () => {
  it("answers that nonce, and no other", () => {
    const verdict = check(asked, { expected: { ...expected, nonce } });
    expect([verdict.binding.reason, verdict.fresh.reason]).toEqual(["bound", "nonce-answered"]);
    const other = check(asked, { expected: { ...expected, nonce: Uint8Array.from(randomBytes(32)) } });
    expect([other.binding.reason, other.fresh.reason]).toEqual(["binding-differs", "own-time"]);
  });

  it("a nonce does not mend a time out of bounds", () => {
    const late = { expected: { ...expected, nonce }, nowMs: issuedAtMs + 660_001 };
    expect(check(asked, late).fresh.reason).toBe("too-old");
  });
});

describe("changed bytes", () => {
  it("any bit of what is signed or of the signature flipped is refused", () => {
    for (let bit = 0; bit < unasked.length * 8; bit += 1) {
      const forged = Uint8Array.from(unasked);
      forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      // lengths and what has a form of its own are looked at first
      const isForm = bit >= 65 * 8 && bit < 85 * 8;
      const failed = withOutcome(check(forged), "fail");
      expect(failed, `bit ${bit}`).toEqual(isForm && failed[0] === "parse" ? ["parse"] : ["signature"]);
    }
  });

  it.each([
    ["none", new Uint8Array(0)],
    ["one too few", unasked.subarray(0, -1)],
    ["one too many", Uint8Array.from([...unasked, 0])],
  ])("%s: malformed", (_name, bytes) => expect(check(bytes).parse).toEqual({ outcome: "fail", reason: "malformed" }));

  it("a compressed or hybrid key is unusable here", () => {
    for (const first of [2, 3, 6, 7, 0]) {
      expect(check(Uint8Array.from([first, ...unasked.subarray(1)])).signature.reason).toBe("key-unusable");
    }
  });

  it("another version is unknown", () => {
    const { verdict } = software.verify(inputFor({ ...item(unasked), version: 0 }));
    expect(verdict.parse.reason).toBe("unknown-kind");
    expect(withOutcome(verdict, "pass")).toEqual([]);
  });
});

describe("what it says of its node", () => {
  const told = { measurement: "ab".repeat(32), posture: Uint8Array.of(8, 1) };
  const evidence = signSoftwareEvidence({ ...parts, ...told, nonce, sign });

  it("is the signer's word, bound with keys and nonce", () => {
    const input = inputFor(item(evidence), { expected: { ...expected, nonce } });
    const { claims, verdict } = software.verify(input);
    expect(claims.measurement).toEqual({ value: told.measurement, by: "self" });
    expect(claims.posture).toEqual({ value: told.posture, by: "self" });
    expect([verdict.binding.reason, verdict.fresh.reason]).toEqual(["bound", "nonce-answered"]);
  });

  it.each([
    ["a build on the list", [told.measurement], "measurement-listed-own-word"],
    ["a build that is not on it", ["cd".repeat(32)], "not-listed"],
  ])("%s", (_name, listed, reason) => {
    expect(check(evidence, { measurements: new Set(listed) }).measurement.reason).toBe(reason);
  });

  it("fails where a list is given and no build is named", () => {
    expect(check(unasked, { measurements: new Set() }).measurement).toEqual({
      outcome: "fail",
      reason: "measurement-missing",
    });
  });
});

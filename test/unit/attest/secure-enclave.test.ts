/** The reference's blob: each thing that can be wrong with it fails its own factor, and nothing else does. */
import { createHash, randomBytes, sign } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { VerifyInput, Verified } from "../../../src/attest/evidence.ts";
import { secureEnclave } from "../../../src/attest/kinds/secure-enclave.ts";
import type { ReasonCode } from "../../../src/attest/reasons.ts";
import type { Factor } from "../../../src/attest/verdict.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { fromBase64, fromUtf8, toBase64, utf8 } from "../../../src/base/bytes.ts";
import {
  decodeReferenceBlob,
  type ReferenceAttestation,
  referenceBlobBytes,
  rfc3339Ms,
} from "../../../src/wire/evidence.ts";
import { limits } from "../../../src/wire/limits.ts";
import {
  blobItem,
  blobJson,
  goodBlob,
  inputFor,
  issuedAtMs,
  said,
  signDer,
  signedBlob,
  testKey,
  withOutcome,
} from "../../support/evidence.ts";

const check = (evidence: Uint8Array, changes: Partial<VerifyInput> = {}): Verified =>
  secureEnclave.verify(inputFor(blobItem(evidence), changes));
const good = fromUtf8(goodBlob);
const listed = new Set([said.binaryHash]);
const otherKey = testKey("33".repeat(32));

/** What each member becomes, and the one factor that fails when the change is signed rightly. */
const changes: readonly [keyof ReferenceAttestation, string | bigint | boolean, Factor | "none", ReasonCode | ""][] = [
  ["chipName", "Apple M9", "none", ""],
  ["hardwareModel", "", "none", ""],
  ["memoryBytes", 0n, "none", ""],
  ["sip", false, "device-state", "sip-off"],
  ["secureBoot", false, "device-state", "secure-boot-off"],
  ["rdmaDisabled", false, "device-state", "rdma-on"],
  ["endpointId", "ab".repeat(32), "binding", "other-node"],
  ["endpointId", said.endpointId.toUpperCase(), "binding", "other-node"],
  ["inferenceKey", toBase64(randomBytes(32)), "binding", "other-inference-key"],
  ["inferenceKey", said.inferenceKey.replace("=", ""), "binding", "other-inference-key"],
  ["attestedKey", toBase64(otherKey.point), "signature", "signature-wrong"],
  ["attestedKey", "SEKEY", "signature", "key-unusable"],
  ["attestedKey", toBase64(testKey().point).replace("=", ""), "signature", "key-unusable"],
  ["attestedKey", toBase64(testKey().point.subarray(1)), "signature", "key-unusable"],
  ["attestedKey", toBase64(Uint8Array.from([6, ...testKey().point.subarray(1)])), "signature", "key-unusable"],
  ["attestedKey", toBase64(Uint8Array.of(0)), "signature", "key-unusable"],
  ["attestedKey", "", "signature", "key-unusable"],
  ["binaryHash", "cc".repeat(32), "measurement", "not-listed"],
  ["binaryHash", said.binaryHash.toUpperCase(), "measurement", "not-listed"],
  ["binaryHash", "", "measurement", "measurement-missing"],
  ["timestamp", "2026-05-05T00:02:00+00:00", "fresh", "clock-ahead"],
  ["timestamp", "yesterday", "fresh", "time-unreadable"],
  ["timestamp", "2026-02-30T00:00:00Z", "fresh", "time-unreadable"],
  ["timestamp", "", "fresh", "time-unreadable"],
];

describe("a member changed", () => {
  it.each(changes)("%s = %s, signed anew: %s fails %s", (member, value, factor, reason) => {
    const { verdict } = check(signedBlob({ [member]: value }), { measurements: listed });
    expect(withOutcome(verdict, "fail")).toEqual(factor === "none" ? [] : [factor]);
    if (factor !== "none") expect(verdict[factor].reason).toBe(reason);
  });

  it.each(changes)("%s = %s, under the old signature: nothing but the form passes", (member, value) => {
    const signature = fromBase64((JSON.parse(good) as { signature: string }).signature);
    const { verdict, claims } = check(utf8(blobJson({ ...said, [member]: value }, signature)));
    expect(withOutcome(verdict, "pass")).toEqual(["parse"]);
    expect(withOutcome(verdict, "fail")).toEqual(["signature"]);
    expect(claims).toEqual({});
  });

  it("a list passes the build that is on it, by the signer's own word", () => {
    expect(check(goodBlob, { measurements: listed }).verdict.measurement).toEqual({
      outcome: "pass",
      reason: "measurement-listed-own-word",
    });
    expect(check(goodBlob).verdict.measurement).toEqual({ outcome: "unknown", reason: "no-list" });
  });

  it("binding is unknown when it was not said for whom, but another node or key still fails", () => {
    const nobody = { endpointId: undefined, inferenceKey: undefined, nonce: undefined };
    expect(check(goodBlob, { expected: nobody }).verdict.binding.reason).toBe("not-compared");
    const node = endpointId(said.endpointId);
    expect(check(goodBlob, { expected: { ...nobody, endpointId: node } }).verdict.binding.reason).toBe("not-compared");
    const other = { ...nobody, endpointId: endpointId("ab".repeat(32)) };
    expect(check(goodBlob, { expected: other }).verdict.binding.reason).toBe("other-node");
    const otherInference = { ...nobody, inferenceKey: new Uint8Array(32).fill(9) };
    expect(check(goodBlob, { expected: otherInference }).verdict.binding.reason).toBe("other-inference-key");
  });
});

describe("time", () => {
  it.each([
    [-30_001, "fail", "clock-ahead"],
    [-30_000, "unknown", "own-time"],
    [0, "unknown", "own-time"],
    [660_000, "unknown", "own-time"],
    [660_001, "stale", "too-old"],
    [3_600_000, "stale", "too-old"],
  ] as const)("%i ms old: %s, %s; nothing else changes", (ageMs, outcome, reason) => {
    const { verdict } = check(goodBlob, { nowMs: issuedAtMs + ageMs });
    expect(verdict.fresh).toEqual({ outcome, reason });
    expect(withOutcome(verdict, "pass")).toEqual(["parse", "signature", "binding", "device-state"]);
  });

  it("both bounds are settings", () => {
    const at = (nowMs: number): string => check(goodBlob, { nowMs, maxAgeMs: 5_000, aheadMs: 0 }).verdict.fresh.reason;
    expect([-1, 0, 5_000, 5_001].map((age) => at(issuedAtMs + age))).toEqual([
      "clock-ahead",
      "own-time",
      "own-time",
      "too-old",
    ]);
  });

  it("is signed as text: the same instant written otherwise is another blob", () => {
    const written = "2026-05-05T02:00:00.123456789+02:00";
    expect(rfc3339Ms(written)).toBe(issuedAtMs);
    expect(check(utf8(good.replace(said.timestamp, written))).verdict.signature.reason).toBe("signature-wrong");
    const { verdict, claims } = check(signedBlob({ timestamp: written }));
    expect(verdict.signature.outcome).toBe("pass");
    expect(claims.issuedAtMs).toEqual({ value: issuedAtMs, by: "self" });
    expect(decodeReferenceBlob(signedBlob({ timestamp: written })).attestation.timestamp).toBe(written);
  });

  it.each([
    ["2026-05-05T00:00:00Z", Date.UTC(2026, 4, 5)],
    ["2026-05-05t00:00:00.5z", Date.UTC(2026, 4, 5, 0, 0, 0, 500)],
    ["2026-05-04T19:30:00-04:30", Date.UTC(2026, 4, 5)],
    ["2024-02-29T23:59:60Z", Date.UTC(2024, 2, 1)],
    ["0001-01-01T00:00:00Z", Date.parse("0001-01-01T00:00:00Z")],
    ["2026-05-05T00:00:00", undefined],
    ["2026-05-05", undefined],
    ["2025-02-29T00:00:00Z", undefined],
    ["2026-13-01T00:00:00Z", undefined],
    ["2026-00-01T00:00:00Z", undefined],
    ["2026-05-00T00:00:00Z", undefined],
    ["2026-05-05T24:00:00Z", undefined],
    ["2026-05-05T00:60:00Z", undefined],
    ["2026-05-05T00:00:61Z", undefined],
    ["2026-05-05T00:00:00.Z", undefined],
    ["2026-05-05T00:00:00+24:00", undefined],
    ["2026-05-05T00:00:00Z ", undefined],
    ["+002026-05-05T00:00:00Z", undefined],
    ["1777939200", undefined],
  ])("%s is %s", (text, expected) => expect(rfc3339Ms(text)).toBe(expected));
});

describe("signature and key", () => {
  const { signature } = decodeReferenceBlob(goodBlob);

  it("is refused with any bit of the signature flipped", () => {
    for (let bit = 0; bit < signature.length * 8; bit += 1) {
      const forged = Uint8Array.from(signature);
      forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const { verdict } = check(utf8(blobJson(said, forged)));
      expect(verdict.signature.outcome, `bit ${bit}`).toBe("fail");
    }
  });

  it("is refused with any bit of the key flipped, in the signed text too", () => {
    const { point } = testKey();
    for (let bit = 0; bit < point.length * 8; bit += 1) {
      const forged = Uint8Array.from(point);
      forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const { verdict } = check(signedBlob({ attestedKey: toBase64(forged) }));
      expect(verdict.signature.outcome, `bit ${bit}`).toBe("fail");
    }
  });

  it("is refused with any byte of the whole blob changed", () => {
    for (let at = 0; at < goodBlob.length; at += 1) {
      const forged = Uint8Array.from(goodBlob);
      forged[at] = (forged[at] ?? 0) ^ (1 << (at % 8));
      const { verdict } = check(forged);
      expect(verdict.signature.outcome, `byte ${at}`).not.toBe("pass");
    }
  });

  it("a signature over the hash, hashed twice, is refused", () => {
    const once = createHash("sha256").update(referenceBlobBytes(said)).digest();
    const twice = signDer(testKey(), Uint8Array.from(once));
    expect(check(utf8(blobJson(said, twice))).verdict.signature.reason).toBe("signature-wrong");
  });

  it("high and low s are both accepted", () => {
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const raw = sign("sha256", referenceBlobBytes(said), { key: testKey().privateKey, dsaEncoding: "ieee-p1363" });
    const part = (at: number): bigint => BigInt(`0x${raw.subarray(at, at + 32).toString("hex")}`);
    const der = (value: bigint): string => {
      const hex = value.toString(16);
      const even = hex.length % 2 === 0 ? hex : `0${hex}`;
      const positive = Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even;
      return `02${(positive.length / 2).toString(16).padStart(2, "0")}${positive}`;
    };
    const [r, s] = [part(0), part(32)];
    const isHigh = [s, order - s].map((one) => {
      const body = der(r) + der(one);
      const signed = Buffer.from(`30${(body.length / 2).toString(16).padStart(2, "0")}${body}`, "hex");
      expect(check(utf8(blobJson(said, Uint8Array.from(signed)))).verdict.signature.outcome).toBe("pass");
      return one > order / 2n;
    });
    expect(new Set(isHigh).size).toBe(2);
  });

  it("other forms of a signature are refused: P1363, a byte behind it, none", () => {
    const p1363 = sign("sha256", referenceBlobBytes(said), { key: testKey().privateKey, dsaEncoding: "ieee-p1363" });
    for (const forged of [Uint8Array.from(p1363), Uint8Array.from([...signature, 0]), new Uint8Array(0)]) {
      expect(check(utf8(blobJson(said, forged))).verdict.signature.outcome).toBe("fail");
    }
  });

  it("a compressed key is taken, and claimed in its long form", () => {
    const { verdict, claims } = check(signedBlob({ attestedKey: toBase64(testKey().compressed) }));
    expect(verdict.signature.outcome).toBe("pass");
    expect(claims.attestedKey).toEqual(testKey().point);
  });
});

describe("form", () => {
  const memory = '"unified_memory_bytes":68719476736';
  const end = ',"signature":';

  it.each([
    ["nothing", ""],
    ["a number", "1"],
    ["a list", `[${good}]`],
    ["something after it", `${good}x`],
    ["a byte order mark", `\ufeff${good}`],
    ["cut", good.slice(0, -1)],
    ["no signature", good.replace(/,"signature":".*"}$/, "}")],
    ["a signature that is a number", good.replace(/"signature":".*"/, '"signature":1')],
    ["a signature that is no base64", good.replace('"signature":"', '"signature":"-')],
    ["attestation twice", good.replace(end, `,"attestation":{}${end}`)],
    ["the same attestation twice", good.replace(end, `,${good.slice(1, good.indexOf(end))}${end}`)],
    ["signature twice", good.replace(/}$/, ',"signature":""}')],
    ["a member twice", good.replace(memory, `${memory},${memory}`)],
    ["a member twice, once escaped", good.replace(memory, `${memory},"sip\\u005fenabled":true`)],
    ["a member missing", good.replace(`${memory},`, "")],
    ["a flag that is a number", good.replace('"sip_enabled":true', '"sip_enabled":1')],
    ["a flag that is a text", good.replace('"sip_enabled":true', '"sip_enabled":"true"')],
    ["a flag that is null", good.replace('"secure_boot_enabled":true', '"secure_boot_enabled":null')],
    ["a text that is a number", good.replace('"Mac16,1"', "1")],
    ["a text that is a list", good.replace('"Mac16,1"', '["Mac16,1"]')],
    ["a text that is no Unicode", good.replace("Mac16", "\\ud800")],
    ["memory as a text", good.replace(memory, '"unified_memory_bytes":"68719476736"')],
    ["memory below zero", good.replace(memory, '"unified_memory_bytes":-1')],
    ["memory as a fraction", good.replace(memory, '"unified_memory_bytes":68719476736.0')],
    ["memory with an exponent", good.replace(memory, '"unified_memory_bytes":6e10')],
    ["memory beyond u64", good.replace(memory, '"unified_memory_bytes":18446744073709551616')],
    ["an unknown member that is no JSON", good.replace(memory, `${memory},"more":tru`)],
    ["an unknown member nested too deep", good.replace(memory, `${memory},"more":${"[".repeat(40)}${"]".repeat(40)}`)],
    ["one byte too long", good + " ".repeat(limits.evidenceBytes + 1 - goodBlob.length)],
  ])("%s: does not parse", (_name, text) => {
    expect(text).not.toBe(good);
    const { verdict, claims } = check(utf8(text));
    expect(verdict.parse).toEqual({ outcome: "fail", reason: "malformed" });
    expect([withOutcome(verdict, "pass"), withOutcome(verdict, "fail"), claims]).toEqual([[], ["parse"], {}]);
  });

  it("bytes that are no UTF-8 do not parse", () => {
    const broken = Uint8Array.from(goodBlob);
    broken[broken.indexOf("M".charCodeAt(0))] = 0xff;
    expect(check(broken).verdict.parse.outcome).toBe("fail");
  });

  it("unknown members, their order, and white space up to the bound are all the same", () => {
    const { attestation, signature } = JSON.parse(good) as { attestation: object; signature: string };
    const backwards = Object.fromEntries(Object.entries(attestation).toReversed());
    const texts = [
      good.replace(memory, `${memory},"more":{"a":[1,"]"]}`).replace(end, `,"more":null${end}`),
      JSON.stringify({ signature, attestation: backwards }, undefined, 2),
      good + " ".repeat(limits.evidenceBytes - goodBlob.length),
    ];
    for (const text of texts) expect(check(utf8(text)).verdict.signature.outcome).toBe("pass");
  });

  it.each([0n, 9_007_199_254_740_993n, 18_446_744_073_709_551_615n])("memory of %s is exact", (memoryBytes) => {
    const { verdict, claims } = check(signedBlob({ memoryBytes }));
    expect(verdict.signature.outcome).toBe("pass");
    expect(claims.memoryBytes).toEqual({ value: memoryBytes, by: "self" });
  });

  it("text outside ASCII is signed as UTF-8", () => {
    expect(check(signedBlob({ chipName: 'Ä "q" \\ \u2028 \u0001 \u{1f600}' })).verdict.signature.outcome).toBe("pass");
  });

  it("another version is unknown, not wrong", () => {
    const { verdict } = secureEnclave.verify(inputFor({ ...blobItem(goodBlob), version: 2 }));
    expect(verdict.parse).toEqual({ outcome: "unknown", reason: "unknown-kind" });
    expect([withOutcome(verdict, "pass"), withOutcome(verdict, "fail")]).toEqual([[], []]);
  });
});

it("what it says of the machine is the signer's word, and where its key is kept stays unknown", () => {
  const { claims, verdict } = check(goodBlob);
  expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "residence-own-word" });
  expect(verdict["device-state"]).toEqual({ outcome: "pass", reason: "flags-own-word" });
  const { attestedKey, ...others } = claims;
  expect(attestedKey).toEqual(testKey().point);
  expect(Object.keys(others).length).toBe(8);
  for (const claim of Object.values(others)) expect(claim.by).toBe("self");
});

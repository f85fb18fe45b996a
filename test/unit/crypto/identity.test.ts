/** Strict Ed25519: what holds by the curve's arithmetic alone, and says nothing of who signed, does not hold here. */
import { createPublicKey, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { fromHex } from "../../../src/base/bytes.ts";
import { identityFrom, verifyByKey } from "../../../src/crypto/identity.ts";

const identity = identityFrom(new Uint8Array(32).fill(3));
const key = fromHex(identity.id, 32);
const message = Uint8Array.of(1, 2, 3);

it("a signature holds for its key and message alone", () => {
  const signature = identity.sign(message);
  expect(verifyByKey(key, message, signature)).toBe(true);
  expect(verifyByKey(key, Uint8Array.of(1, 2, 4), signature)).toBe(false);
  expect(verifyByKey(fromHex(identityFrom(new Uint8Array(32)).id), message, signature)).toBe(false);
});

it.each([
  ["key", 31, 64],
  ["key", 33, 64],
  ["signature", 32, 63],
  ["signature", 32, 65],
  ["both", 0, 0],
])("another length of the %s (%i, %i) does not hold and does not throw", (_what, keyBytes, signatureBytes) => {
  expect(verifyByKey(new Uint8Array(keyBytes), message, new Uint8Array(signatureBytes))).toBe(false);
});

/** The curve's points of low order, and spellings of them that are not canonical. */
const lowOrder = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

describe("a key of low order", () => {
  /** R = the key, or the neutral point, and s = 0: true of one message in eight at least, for nobody's secret. */
  const forgeries = (point: Uint8Array): readonly Uint8Array[] =>
    [point, fromHex(lowOrder[0] ?? "")].map((first) => Uint8Array.from([...first, ...new Uint8Array(32)]));
  const messages = Array.from({ length: 64 }, (_, index) => Uint8Array.of(index));

  it.each(lowOrder)("%s signs nothing", (hex) => {
    const point = fromHex(hex);
    for (const forged of forgeries(point)) {
      for (const one of messages) expect(verifyByKey(point, one, forged)).toBe(false);
    }
  });

  it("is a real danger: ordinary verification takes such a signature", () => {
    const prefix = fromHex("302a300506032b6570032100");
    const point = fromHex(lowOrder[0] ?? "");
    const publicKey = createPublicKey({ key: Buffer.from([...prefix, ...point]), format: "der", type: "spki" });
    expect(forgeries(point).some((forged) => messages.some((one) => verify(null, one, publicKey, forged)))).toBe(true);
  });
});

import { createHash, sign } from "node:crypto";
import { describe, expect, it } from "vitest";
import { concat, fromHex, utf8 } from "../../../src/base/bytes.ts";
import { ecdsaFromDer } from "../../../src/crypto/der.ts";
import { ecKey, ecKeyFromSpki, p256Point, verifyEcdsa, verifyP256 } from "../../../src/crypto/p256.ts";
import { derBits, derNull, derOid, derSequence, madeKey, pointOf } from "../../support/certificates.ts";
import { expectCode } from "../../support/expect-code.ts";

const p = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const bytes32 = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(64, "0"));
const generator = {
  x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
};
const uncompressed = (x: bigint, y: bigint): Uint8Array => concat([Uint8Array.of(4), bytes32(x), bytes32(y)]);
const compressed = (form: number, x: bigint): Uint8Array => concat([Uint8Array.of(form), bytes32(x)]);
const message = utf8("a message");

describe("point", () => {
  const { x, y } = generator;

  it("is read from 65 and from 33 bytes", () => {
    expect(p256Point(uncompressed(x, y))).toEqual(uncompressed(x, y));
    expect(p256Point(compressed(3, x))).toEqual(uncompressed(x, y)); // y is odd
    expect(p256Point(compressed(2, x))).toEqual(uncompressed(x, p - y));
    for (let round = 0; round < 20; round += 1) {
      const point = pointOf(madeKey("P-256"));
      const form = 2 + ((point[64] ?? 0) & 1);
      expect(p256Point(concat([Uint8Array.of(form), point.subarray(1, 33)]))).toEqual(point);
    }
  });

  it("is on the curve, below p, not infinity, and of no other form", () => {
    for (const bytes of [
      uncompressed(x, y + 1n),
      uncompressed(x + 1n, y),
      uncompressed(0n, 0n),
      uncompressed(y, x),
      compressed(2, 7n), // no point has this x, as the next test shows
      // coordinates that are not reduced: x = 5 is on the curve
      compressed(2, p + 5n),
      uncompressed(p, 0n),
      Uint8Array.of(0),
      new Uint8Array(65),
      new Uint8Array(33),
      fromHex(""),
      uncompressed(x, y).subarray(1),
      uncompressed(x, y).subarray(0, 33),
      concat([uncompressed(x, y), Uint8Array.of(0)]),
      concat([compressed(3, x), Uint8Array.of(0)]),
      concat([Uint8Array.of(6), bytes32(x), bytes32(y)]),
      concat([Uint8Array.of(7), bytes32(x), bytes32(y)]),
      concat([Uint8Array.of(2), bytes32(x), bytes32(y)]),
      compressed(4, x),
      compressed(5, x),
      pointOf(madeKey("P-384")),
    ]) {
      expectCode("E_WIRE", () => p256Point(bytes));
      expect(verifyP256({ publicKey: bytes, message, signature: new Uint8Array(64), form: "p1363" })).toBe(false);
    }
  });

  it("exists for an x exactly where the curve's equation has a root", () => {
    const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
    for (let small = 0n; small < 40n; small += 1n) {
      const square = (small ** 3n - 3n * small + b) % p;
      const isThere = legendre(square) === 1n;
      if (isThere) expect(p256Point(compressed(2, small)).subarray(1, 33)).toEqual(bytes32(small));
      else expectCode("E_WIRE", () => p256Point(compressed(2, small)));
    }
    expect([legendre((7n ** 3n - 21n + b) % p), legendre((5n ** 3n - 15n + b) % p)]).toEqual([p - 1n, 1n]);
  });

  function legendre(value: bigint): bigint {
    let [out, factor] = [1n, ((value % p) + p) % p];
    for (let rest = (p - 1n) / 2n; rest > 0n; rest >>= 1n) {
      if (rest & 1n) out = (out * factor) % p;
      factor = (factor * factor) % p;
    }
    return out;
  }
});

describe("public key", () => {
  it("is read from an SPKI of each curve", () => {
    for (const curve of ["P-256", "P-384", "P-521"] as const) {
      const made = madeKey(curve);
      const key = ecKeyFromSpki(made.spki);
      expect(key.curve).toBe(curve);
      expect(key.point).toEqual(pointOf(made));
      expect(key.key.equals(made.publicKey)).toBe(true);
      expect(ecKey(pointOf(made), curve).key.equals(made.publicKey)).toBe(true);
    }
  });

  it("has a named curve of ours, and nothing else in its SPKI", () => {
    const point = derBits(pointOf(madeKey("P-256")));
    const spki = (...algorithm: Uint8Array[]) => derSequence(derSequence(...algorithm), point);
    const ec = derOid("1.2.840.10045.2.1");
    const p256 = derOid("1.2.840.10045.3.1.7");
    expect(ecKeyFromSpki(spki(ec, p256)).curve).toBe("P-256");
    for (const bytes of [
      spki(derOid("1.2.840.113549.1.1.1"), derNull()),
      spki(ec, derOid("1.3.132.0.10")),
      spki(derOid("1.3.132.1.12"), p256), // for agreement only
      spki(ec, derSequence()),
      spki(ec, derNull()),
      spki(ec),
      madeKey("ed25519").spki,
    ]) {
      expectCode("E_KEY", () => ecKeyFromSpki(bytes));
    }
    for (const bytes of [
      spki(ec, p256, derNull()),
      derSequence(derSequence(ec, p256), point, derNull()),
      derSequence(
        derSequence(ec, p256),
        derBits(
          pointOf(madeKey("P-256")).map((byte) => byte & 0xf0),
          4,
        ),
      ),
      concat([spki(ec, p256), Uint8Array.of(0)]),
      spki(ec, derOid("1.3.132.0.34")), // a P-256 point under another name
      derSequence(),
    ]) {
      expectCode("E_WIRE", () => ecKeyFromSpki(bytes));
    }
  });
});

describe("signature", () => {
  const made = madeKey("P-256");
  const publicKey = pointOf(made);
  const der = Uint8Array.from(sign("sha256", message, made.privateKey));
  const raw = ecdsaFromDer(der, 32);

  it("verifies as DER and as P1363, each in its own form only", () => {
    expect(verifyP256({ publicKey, message, signature: der, form: "der" })).toBe(true);
    expect(verifyP256({ publicKey, message, signature: raw, form: "p1363" })).toBe(true);
    expect(verifyP256({ publicKey, message, signature: raw, form: "der" })).toBe(false);
    expect(verifyP256({ publicKey, message, signature: der, form: "p1363" })).toBe(false);
  });

  it("is over the message hashed once", () => {
    const digest = Uint8Array.from(createHash("sha256").update(message).digest());
    const double = Uint8Array.from(sign("sha256", digest, made.privateKey));
    expect(verifyP256({ publicKey, message, signature: double, form: "der" })).toBe(false);
    expect(verifyP256({ publicKey, message: digest, signature: der, form: "der" })).toBe(false);
    expect(verifyP256({ publicKey, message: digest, signature: double, form: "der" })).toBe(true);
  });

  it("has no bit that can be changed, in either form", () => {
    const flipped = (bytes: Uint8Array) =>
      Array.from({ length: bytes.length * 8 }, (_, bit) =>
        bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)),
      );
    for (const signature of flipped(der))
      expect(verifyP256({ publicKey, message, signature, form: "der" })).toBe(false);
    for (const signature of flipped(raw))
      expect(verifyP256({ publicKey, message, signature, form: "p1363" })).toBe(false);
    for (const other of flipped(publicKey)) {
      expect(verifyP256({ publicKey: other, message, signature: der, form: "der" })).toBe(false);
    }
  });

  it("verifies on each curve with each hash, and with no other hash or key", () => {
    const hashes = ["sha256", "sha384", "sha512"] as const;
    for (const curve of ["P-256", "P-384", "P-521"] as const) {
      const pair = madeKey(curve);
      const key = ecKey(pointOf(pair), curve);
      for (const used of hashes) {
        const signature = Uint8Array.from(sign(used, message, pair.privateKey));
        for (const hash of hashes) {
          expect(verifyEcdsa({ key, message, signature, form: "der", hash })).toBe(hash === used);
        }
        expect(
          verifyEcdsa({ key: ecKey(pointOf(madeKey(curve)), curve), message, signature, form: "der", hash: used }),
        ).toBe(false);
      }
    }
  });
});

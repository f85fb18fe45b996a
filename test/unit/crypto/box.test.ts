import { readFileSync } from "node:fs";
import nacl from "tweetnacl";
import { describe, expect, it } from "vitest";
import { fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import {
  generateKeyPair,
  isUsableKey,
  keyPairFrom,
  openBox,
  randomOctets,
  sealInto,
  sharedKey,
} from "../../../src/crypto/box.ts";
import { expectCode } from "../../support/expect-code.ts";

const vectors = JSON.parse(readFileSync("test/vectors/mesh-llm.json", "utf8")) as Record<
  string,
  Record<string, string>
>;

describe("random bytes", () => {
  it("are given once, as many as were asked for, beyond what is kept of them", () => {
    const given = Array.from({ length: 1_000 }, (_, index) => randomOctets(16 + (index % 9)));
    expect(given.map(({ length }) => length)).toEqual(given.map((_, index) => 16 + (index % 9)));
    expect(new Set(given.map((bytes) => toHex(bytes.subarray(0, 16)))).size).toBe(1_000);
    // what was given is the receiver's alone: it may write into it
    const [first, second] = [randomOctets(32), randomOctets(32)];
    const kept = toHex(second);
    first.fill(0);
    expect(toHex(second)).toBe(kept);
    expect(() => randomOctets(4_097)).toThrow("more random bytes");
  });
});

describe("box", () => {
  it("derives the shared key of the vector on both sides", () => {
    const v = vectors.sealed_request ?? {};
    const host = keyPairFrom(fromHex(v.host_secret_hex ?? ""));
    const ephemeral = keyPairFrom(fromHex(v.ephemeral_secret_hex ?? ""));
    expect(toHex(host.publicKey)).toBe(v.host_public_hex);
    expect(toHex(sharedKey(host.secretKey, ephemeral.publicKey).bytes)).toBe(v.shared_key_hex);
    expect(toHex(sharedKey(ephemeral.secretKey, host.publicKey).bytes)).toBe(v.shared_key_hex);
  });

  it("agrees with an independent implementation, both ways", () => {
    for (let round = 0; round < 50; round += 1) {
      const ours = generateKeyPair();
      const theirs = nacl.box.keyPair();
      const nonce = nacl.randomBytes(24);
      const message = nacl.randomBytes(round * 7);
      const key = sharedKey(ours.secretKey, theirs.publicKey);
      const sealed = new Uint8Array(message.length + 16);
      sealInto(sealed, message, nonce, key);
      expect(nacl.box.open(sealed, nonce, ours.publicKey, theirs.secretKey)).toEqual(message);
      const back = nacl.box(message, nonce, ours.publicKey, theirs.secretKey);
      expect(openBox(back, nonce, key)).toEqual(message);
      back[0] = (back[0] ?? 0) ^ 1;
      expect(openBox(back, nonce, key)).toBeUndefined();
    }
  });

  it("refuses keys of low order and of a wrong length, and accepts ordinary ones", () => {
    const lowOrder = [
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ].map((hex) => fromHex(hex));
    const ours = generateKeyPair();
    for (const key of [...lowOrder, new Uint8Array(31), new Uint8Array(33)]) {
      expect(isUsableKey(key)).toBe(false);
      expectCode("E_KEY", () => sharedKey(ours.secretKey, key));
    }
    expect(isUsableKey(generateKeyPair().publicKey)).toBe(true);
  });

  it("does not show a secret, and refuses to use it after it was wiped", () => {
    const pair = keyPairFrom(utf8("0123456789abcdef0123456789abcdef"));
    expect(`${String(pair.secretKey)} ${JSON.stringify(pair)}`).not.toContain("0123456789");
    const bytes = pair.secretKey.bytes;
    pair.secretKey.wipe();
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    expectCode("E_CLOSED", () => pair.secretKey.bytes);
  });
});

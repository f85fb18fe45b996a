/** A secret under a passphrase opens with that one, beside the bytes it was made for, unchanged, and in no other way. */
import { expect, it } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { openWithPassphrase, type PassphraseBox, sealWithPassphrase } from "../../../src/crypto/passphrase.ts";
import { expectCode } from "../../support/expect-code.ts";

const secret = new Uint8Array(32).fill(7);
const about = utf8("about");
const cheap = { memoryKib: 64, passes: 1 };
const sealed = sealWithPassphrase(secret, "correct horse", about, cheap);

it("opens with its passphrase", () => {
  expect(openWithPassphrase(sealed, "correct horse", about)).toEqual(secret);
  expect(sealed.box).toHaveLength(48);
});

it("is another box each time", () => {
  const again = sealWithPassphrase(secret, "correct horse", about, cheap);
  expect([again.salt, again.nonce, again.box]).not.toContainEqual(sealed.salt);
  expect(again.box).not.toEqual(sealed.box);
});

it("an accent is the same however it was typed", () => {
  const composed = sealWithPassphrase(secret, "caf\u00e9", about, cheap);
  expect(openWithPassphrase(composed, "cafe\u0301", about)).toEqual(secret);
});

const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));

it.each<[string, PassphraseBox, string, Uint8Array]>([
  ["another passphrase", sealed, "correct horsf", about],
  ["no passphrase", sealed, "", about],
  ["other bytes beside it", sealed, "correct horse", utf8("abouu")],
  ["another first byte", { ...sealed, box: flipped(sealed.box, 0) }, "correct horse", about],
  ["another tag", { ...sealed, box: flipped(sealed.box, 47) }, "correct horse", about],
  ["a box without a tag", { ...sealed, box: sealed.box.subarray(0, 8) }, "correct horse", about],
  ["another salt", { ...sealed, salt: flipped(sealed.salt, 0) }, "correct horse", about],
  ["another nonce", { ...sealed, nonce: flipped(sealed.nonce, 0) }, "correct horse", about],
  ["another hardness", { ...sealed, hardness: { memoryKib: 64, passes: 2 } }, "correct horse", about],
])("E_OPEN: %s", (_what, box, passphrase, beside) => {
  expectCode("E_OPEN", () => openWithPassphrase(box, passphrase, beside));
});

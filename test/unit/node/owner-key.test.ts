/** An owner's key as a file: it signs with its passphrase and no other, and nothing in the file can be exchanged. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../../src/base/bytes.ts";
import { verifyByKey } from "../../../src/crypto/identity.ts";
import {
  decodeOwnerKey,
  encodeOwnerKey,
  newOwnerKey,
  openOwnerKey,
  type OwnerKeyFile,
  readOwnerKey,
  readPassphrase,
  writeOwnerKey,
} from "../../../src/node/owner-key.ts";
import { ownerIdOf } from "../../../src/policy/owners.ts";
import { expectCode } from "../../support/expect-code.ts";

const cheap = { memoryKib: 64, passes: 1 };
const message = Uint8Array.of(1, 2, 3);
const neverAsked = (): string => {
  throw new Error("asked for a passphrase");
};

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "sealmesh-owner-key-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function signs(file: OwnerKeyFile, passphrase: () => string): void {
  const key = openOwnerKey(file, passphrase);
  expect(key.ownerId).toBe(ownerIdOf(file.publicKey));
  expect(verifyByKey(file.publicKey, message, key.sign(message))).toBe(true);
}

it("a key with a passphrase signs after its file was written and read", () => {
  const path = join(folder, "key.json");
  const made = newOwnerKey("open sesame", cheap);
  writeOwnerKey(path, made);
  const read = readOwnerKey(path);
  expect(read).toEqual(made);
  if (read) signs(read, () => "open sesame");
  if (process.platform !== "win32") expect(statSync(path).mode & 0o777).toBe(0o600);
});

it("a key without one asks for none", () => {
  const made = newOwnerKey(undefined);
  signs(decodeOwnerKey(encodeOwnerKey(made)) ?? made, neverAsked);
});

it("the seed does not stand in a file with a passphrase, and does in one without", () => {
  const bare = newOwnerKey(undefined);
  const seed = bare.protection.kind === "none" ? toHex(bare.protection.seed) : "";
  expect(encodeOwnerKey(bare)).toContain(seed);
  expect(encodeOwnerKey(newOwnerKey("open sesame", cheap))).not.toMatch(/seed/);
});

it("E_OPEN: another passphrase", () => {
  expectCode("E_OPEN", () => openOwnerKey(newOwnerKey("open sesame", cheap), () => "open sesam"));
});

it("E_OPEN: a file in which somebody has put another public key, with or without a passphrase", () => {
  const { publicKey, ownerId } = newOwnerKey(undefined);
  for (const passphrase of [undefined, "open sesame"]) {
    const swapped = { ...newOwnerKey(passphrase, cheap), publicKey, ownerId };
    expectCode("E_OPEN", () => openOwnerKey(swapped, () => "open sesame"));
  }
});

it("the usual hardness is what is written", () => {
  const { protection } = newOwnerKey("open sesame");
  expect(protection).toMatchObject({ kind: "passphrase", sealed: { hardness: { memoryKib: 65_536, passes: 3 } } });
});

describe("a file that is none", () => {
  const good = JSON.parse(encodeOwnerKey(newOwnerKey("open sesame", cheap))) as {
    readonly protection: object;
  };

  it.each<[string, object]>([
    ["another format", { ...good, format: "sealmesh" }],
    ["another version", { ...good, version: 2 }],
    ["an owner id that is not the key's", { ...good, owner_id: "00".repeat(32) }],
    ["a short key", { ...good, public_key: "00" }],
    ["no protection", { ...good, protection: null }],
    ["a protection that is not known", { ...good, protection: { ...good.protection, kdf: "md5" } }],
    ["more memory than a machine has", { ...good, protection: { ...good.protection, memory_kib: 4_294_967_295 } }],
    ["more passes than anybody waits for", { ...good, protection: { ...good.protection, passes: 17 } }],
    ["no passes", { ...good, protection: { ...good.protection, passes: 0 } }],
    ["a short box", { ...good, protection: { ...good.protection, box: "00".repeat(47) } }],
    ["too long a text", { ...good, more: "x".repeat(4_096) }],
  ])("%s", (_what, document) => {
    expect(decodeOwnerKey(JSON.stringify(document))).toBeUndefined();
  });

  it("E_INPUT: is told with its path, and E_STATE where others can read it", () => {
    const path = join(folder, "key.json");
    expect(readOwnerKey(path)).toBeUndefined();
    writeFileSync(path, "{}", { mode: 0o600 });
    expectCode("E_INPUT", () => readOwnerKey(path));
    if (process.platform === "win32") return;
    chmodSync(path, 0o644);
    expectCode("E_STATE", () => readOwnerKey(path));
  });
});

it("E_INPUT: a key is never written over another file", () => {
  const path = join(folder, "key.json");
  writeOwnerKey(path, newOwnerKey(undefined));
  const before = readFileSync(path, "utf8");
  expectCode("E_INPUT", () => writeOwnerKey(path, newOwnerKey(undefined)));
  expect(readFileSync(path, "utf8")).toBe(before);
});

it("a passphrase is the first line of its file, blanks and all", () => {
  const path = join(folder, "passphrase");
  writeFileSync(path, " open sesame \r\nnotes\n");
  expect(readPassphrase(path)).toBe(" open sesame ");
  writeFileSync(path, "\n");
  expectCode("E_INPUT", () => readPassphrase(path));
  writeFileSync(path, "x".repeat(1_025));
  expectCode("E_INPUT", () => readPassphrase(path));
});

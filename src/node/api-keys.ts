/** The keys of --api-key-file: kept as hashes, compared in constant time. */
import { createHash } from "node:crypto";
import { equal, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";

/** Shorter keys can be tried out. */
const leastCharacters = 16;

/**
 * One key a line; blank lines and lines that begin with # are skipped.
 *
 * @returns SHA-256 of each, 32 bytes
 * @throws  E_CONFIG naming `flag`: no key, or one that is too short or cannot stand in a header; keys are not repeated
 */
export function keyHashes(text: string, flag: string): readonly Uint8Array[] {
  const lines = text.split(/\r?\n/).map((line, index) => ({ key: line.trim(), number: index + 1 }));
  const keys = lines.filter(({ key }) => key !== "" && !key.startsWith("#"));
  if (keys.length === 0) throw new MeshError("E_CONFIG", `${flag}: the file holds no key; write one a line`);
  return keys.map(({ key, number }) => {
    if (key.length < leastCharacters) {
      throw new MeshError("E_CONFIG", `${flag}: the key in line ${number} has less than ${leastCharacters} characters`);
    }
    if (!/^[\x21-\x7e]+$/.test(key)) {
      throw new MeshError("E_CONFIG", `${flag}: the key in line ${number} has blanks or characters beyond ASCII`);
    }
    return keyHash(key);
  });
}

/** Compares with every hash, each in constant time: how long it takes says nothing about them. */
export function isKey(key: string, hashes: readonly Uint8Array[]): boolean {
  const hash = keyHash(key);
  return hashes.filter((known) => equal(known, hash)).length > 0;
}

function keyHash(key: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(utf8(key)).digest());
}

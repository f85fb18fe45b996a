/**
 * A few secret bytes under a passphrase. The bytes of the file around it are for node/owner-key.ts, the only caller.
 *
 *   key = Argon2id v1.3 (passphrase in UTF-8, NFC; salt[16]; passes; memory; one lane) -> 32 bytes
 *   box = ChaCha20-Poly1305 (key; nonce[12]; secret), tag[16] at the end
 *         its associated data: the caller's bytes | memory KiB u32 LE | passes u32 LE | salt[16]
 *
 * @see RFC 9106 · RFC 8439
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { concat, u32le, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { sodium } from "./sodium.ts";

/** What one guess costs. */
export interface Hardness {
  readonly memoryKib: number;
  readonly passes: number;
}

/** RFC 9106's choice where memory is short: 64 MiB, three passes. A tenth of a second here, and so for each guess. */
export const usualHardness: Hardness = { memoryKib: 65_536, passes: 3 };

/** What is taken of a file: from what libsodium can do at least, up to what no machine here would wait for. */
export const hardnessBounds = {
  memoryKib: { least: 8, most: 1_048_576 },
  passes: { least: 1, most: 16 },
} as const;

export interface PassphraseBox {
  readonly hardness: Hardness;
  /** 16 bytes. */
  readonly salt: Uint8Array;
  /** 12 bytes. */
  readonly nonce: Uint8Array;
  /** Ciphertext and its 16-byte tag. */
  readonly box: Uint8Array;
}

const cipher = "chacha20-poly1305";
const tagBytes = 16;

/**
 * @param secret borrowed
 * @param about  what must be beside it, unchanged, when it is opened
 */
export function sealWithPassphrase(
  secret: Uint8Array,
  passphrase: string,
  about: Uint8Array,
  hardness: Hardness = usualHardness,
): PassphraseBox {
  const salt = new Uint8Array(randomBytes(16));
  const nonce = new Uint8Array(randomBytes(12)); // the key is fresh as its salt is, and is used once
  const key = keyFrom(passphrase, salt, hardness);
  try {
    const seal = createCipheriv(cipher, key, nonce, { authTagLength: tagBytes });
    seal.setAAD(associated(about, hardness, salt), { plaintextLength: secret.length });
    const box = concat([seal.update(secret), seal.final(), seal.getAuthTag()]);
    return { hardness, salt, nonce, box };
  } finally {
    sodium.sodium_memzero(key);
  }
}

/** @throws E_OPEN another passphrase, or something was changed: nobody can tell which */
export function openWithPassphrase(
  { hardness, salt, nonce, box }: PassphraseBox,
  passphrase: string,
  about: Uint8Array,
): Uint8Array {
  const key = keyFrom(passphrase, salt, hardness);
  const end = box.length - tagBytes;
  try {
    const open = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes });
    open.setAAD(associated(about, hardness, salt), { plaintextLength: end });
    open.setAuthTag(box.subarray(end));
    return concat([open.update(box.subarray(0, end)), open.final()]);
  } catch (cause) {
    throw new MeshError("E_OPEN", "the passphrase does not open it", { cause });
  } finally {
    sodium.sodium_memzero(key);
  }
}

function associated(about: Uint8Array, { memoryKib, passes }: Hardness, salt: Uint8Array): Uint8Array {
  return concat([about, u32le(memoryKib), u32le(passes), salt]);
}

function keyFrom(passphrase: string, salt: Uint8Array, { memoryKib, passes }: Hardness): Uint8Array {
  const key = new Uint8Array(32);
  const password = utf8(passphrase.normalize("NFC")); // keyboards differ in how they compose an accent
  sodium.crypto_pwhash(key, password, salt, passes, memoryKib * 1_024, sodium.crypto_pwhash_ALG_ARGON2ID13);
  sodium.sodium_memzero(password);
  return key;
}

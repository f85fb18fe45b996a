/**
 * NaCl box (X25519, HSalsa20, XSalsa20-Poly1305) with the key agreement done once per exchange.
 *
 * box = tag[16] | ciphertext[n], nonce[24] kept apart. Both directions of an exchange share one key: what tells them
 * apart are nonces (protocol.md §7.1, wire.md §4-5).
 */
import { MeshError } from "../base/errors.ts";
import { hsalsa20 } from "./hsalsa20.ts";
import { SecretBytes } from "./secret.ts";
import { sodium } from "./sodium.ts";

const keyBytes = 32;
export const nonceBytes = 24;
export const tagBytes = 16;

export interface KeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly secretKey: SecretBytes;
}

export function generateKeyPair(): KeyPair {
  const publicKey = new Uint8Array(keyBytes);
  // memory of its own, locked and guarded where the system allows
  const secret = sodium.sodium_malloc(keyBytes);
  sodium.crypto_box_keypair(publicKey, secret);
  return { publicKey, secretKey: new SecretBytes(secret) };
}

/** @param secret 32 bytes, moved; for keys that a test or a vector fixes */
export function keyPairFrom(secret: Uint8Array): KeyPair {
  const publicKey = new Uint8Array(keyBytes);
  sodium.crypto_scalarmult_base(publicKey, secret);
  return { publicKey, secretKey: new SecretBytes(secret) };
}

/** Where the secret of {@link agreeOnce} stands: made once, since guarded memory costs more than the key itself. */
let passing: Uint8Array | undefined;

/**
 * Agrees on a key by a key pair that is made for this alone; its secret half is erased before this returns.
 *
 * @throws E_KEY as {@link sharedKey}
 */
export function agreeOnce(publicKey: Uint8Array): { readonly ephemeralKey: Uint8Array; readonly key: SecretBytes } {
  passing ??= sodium.sodium_malloc(keyBytes);
  const ephemeralKey = new Uint8Array(keyBytes);
  const secretKey = new SecretBytes(passing);
  try {
    sodium.crypto_box_keypair(ephemeralKey, passing);
    return { ephemeralKey, key: sharedKey(secretKey, publicKey) };
  } finally {
    secretKey.wipe();
  }
}

const poolBytes = 4_096;
const pool = new Uint8Array(poolBytes);
let poolUsed = poolBytes;

/** Random bytes from the system, of which many are asked for at a time; each is given once, and erased here. */
export function randomOctets(length: number): Uint8Array {
  if (length > poolBytes) throw new RangeError("more random bytes than are kept");
  if (poolUsed + length > poolBytes) {
    sodium.randombytes_buf(pool);
    poolUsed = 0;
  }
  const bytes = pool.slice(poolUsed, poolUsed + length);
  pool.fill(0, poolUsed, (poolUsed += length));
  return bytes;
}

/**
 * The key that both sides of a box share, 32 bytes; wipe it when the exchange ends.
 *
 * @throws E_KEY when `publicKey` is not 32 bytes or of low order: the result would not depend on our secret
 */
export function sharedKey(secretKey: SecretBytes, publicKey: Uint8Array): SecretBytes {
  const point = new Uint8Array(keyBytes);
  try {
    if (publicKey.length !== keyBytes) throw new Error("not 32 bytes");
    sodium.crypto_scalarmult(point, secretKey.bytes, publicKey); // refuses an all-zero result
    return new SecretBytes(hsalsa20(point));
  } catch (cause) {
    throw new MeshError("E_KEY", "the public key is of low order or malformed", { cause });
  } finally {
    sodium.sodium_memzero(point);
  }
}

/**
 * Whether `publicKey` may be sealed to: 32 bytes, not of low order. Any scalar shows it, because clamping makes every
 * scalar a multiple of the cofactor.
 */
export function isUsableKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== keyBytes) return false;
  const probe = new Uint8Array(keyBytes);
  probe[0] = 8;
  try {
    sodium.crypto_scalarmult(new Uint8Array(keyBytes), probe, publicKey);
    return true;
  } catch {
    return false;
  }
}

/** Writes tag | ciphertext of `plaintext` into `target` (16 bytes longer), of which it may be the end. */
export function sealInto(target: Uint8Array, plaintext: Uint8Array, nonce: Uint8Array, key: SecretBytes): void {
  sodium.crypto_secretbox_easy(target, plaintext, nonce, key.bytes);
}

/** @returns the plaintext, or undefined when tag | ciphertext does not verify */
export function openBox(box: Uint8Array, nonce: Uint8Array, key: SecretBytes): Uint8Array | undefined {
  if (box.length < tagBytes) return undefined;
  const plaintext = new Uint8Array(box.length - tagBytes);
  return sodium.crypto_secretbox_open_easy(plaintext, box, nonce, key.bytes) ? plaintext : undefined;
}

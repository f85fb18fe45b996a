/** The part of sodium-native that we use; the package ships no types. All arguments are Buffers or Uint8Arrays. */
import { requirePackage } from "../base/package.ts";

export interface Sodium {
  crypto_box_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void;
  crypto_scalarmult(shared: Uint8Array, secretKey: Uint8Array, publicKey: Uint8Array): void;
  crypto_scalarmult_base(publicKey: Uint8Array, secretKey: Uint8Array): void;
  crypto_secretbox_easy(box: Uint8Array, message: Uint8Array, nonce: Uint8Array, key: Uint8Array): void;
  crypto_secretbox_open_easy(message: Uint8Array, box: Uint8Array, nonce: Uint8Array, key: Uint8Array): boolean;
  /** @param publicKey 32 bytes @param secretKey 64 bytes @param seed 32 bytes */
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
  crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
  /** Argon2id v1.3, one lane. @param memlimit bytes */
  crypto_pwhash(
    out: Uint8Array,
    password: Uint8Array,
    salt: Uint8Array,
    opslimit: number,
    memlimit: number,
    algorithm: number,
  ): void;
  readonly crypto_pwhash_ALG_ARGON2ID13: number;
  /** SipHash-2-4. @param out 8 bytes @param key 16 bytes */
  crypto_shorthash(out: Uint8Array, message: Uint8Array, key: Uint8Array): void;
  randombytes_buf(buffer: Uint8Array): void;
  sodium_memzero(buffer: Uint8Array): void;
  sodium_malloc(size: number): Buffer;
}

export const sodium: Sodium = requirePackage("sodium-native");

/**
 * Ed25519 as the owners' claims need it: a signature is made by one key over one message, and has one form. Where ordinary
 * verification goes by RFC 8032 alone, a key of low order signs everything for anybody, and one key has several spellings.
 * Endpoint keys need none of this: QUIC proves them.
 *
 * @see protocol.md §10 · libsodium crypto_sign_verify_detached
 */
import { sodium } from "./sodium.ts";

/**
 * Refuses, besides what does not hold: keys and first halves of low order, keys that are not canonical or no point, and
 * scalars from the group's order up.
 *
 * @param publicKey 32 bytes; any other length does not hold
 * @param signature 64 bytes; any other length does not hold
 */
export function verifyStrictly(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  return sodium.crypto_sign_verify_detached(signature, message, publicKey);
}

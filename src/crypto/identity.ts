/**
 * A node's identity: an Ed25519 key whose public half is its endpoint id. QUIC proves it on every connection; here it
 * signs what must be believed without one (records, heads of relayed requests).
 */
import { createPrivateKey, type KeyObject, randomBytes } from "node:crypto";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { concat, equal, fromHex } from "../base/bytes.ts";
import { sodium } from "./sodium.ts";

/** DER of RFC 8410 up to the 32 key bytes. */
const privatePrefix = fromHex("302e020100300506032b657004220420");
const publicPrefix = fromHex("302a300506032b6570032100");

export interface Identity {
  readonly id: EndpointId;
  /** 32-byte Ed25519 seed. */
  readonly seed: Uint8Array;
  /** @returns 64 bytes, Ed25519 over `message` (RFC 8032) */
  sign(message: Uint8Array): Uint8Array;
}

/** A fresh 32-byte seed. */
export function newIdentitySeed(): Uint8Array {
  return new Uint8Array(randomBytes(32));
}

/** @param seed 32 bytes, kept */
export function identityFrom(seed: Uint8Array): Identity {
  const publicKey = new Uint8Array(32);
  const secretKey = new Uint8Array(64);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  const sign = (message: Uint8Array): Uint8Array => {
    const signature = new Uint8Array(64);
    sodium.crypto_sign_detached(signature, message, secretKey);
    return signature;
  };
  return { id: endpointIdFromBytes(publicKey), seed, sign };
}

/** @param seed 32 bytes */
export function privateKeyOf(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(concat([privatePrefix, seed])), format: "der", type: "pkcs8" });
}

/** SubjectPublicKeyInfo of a public key, DER. */
export function spkiOf(key: KeyObject): Buffer {
  return key.export({ format: "der", type: "spki" });
}

/** Whose public key this is; undefined: one that no endpoint can have. */
export function endpointOfKey(key: KeyObject): EndpointId | undefined {
  const spki = spkiOf(key);
  const isEndpointKey =
    spki.length === publicPrefix.length + 32 && equal(spki.subarray(0, publicPrefix.length), publicPrefix);
  return isEndpointKey ? endpointIdFromBytes(spki.subarray(publicPrefix.length)) : undefined;
}

/** Whether `signature` (64 bytes) over `message` was made by the key that `id` names. */
export function verifySignature(id: EndpointId, message: Uint8Array, signature: Uint8Array): boolean {
  return verifyByKey(fromHex(id), message, signature);
}

/**
 * The same for a key that is no node's, strictly: a signature is made by one key over one message, and has one form. Refuses,
 * besides what does not hold: keys and first halves of low order, which would sign everything for anybody, keys that are
 * not canonical or no point, and scalars from the group's order up.
 *
 * @param key       32 bytes, Ed25519; any other length does not hold
 * @param signature 64 bytes; any other length does not hold
 * @see protocol.md §10 · libsodium crypto_sign_verify_detached
 */
export function verifyByKey(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (key.length !== 32 || signature.length !== 64) return false;
  return sodium.crypto_sign_verify_detached(signature, message, key);
}

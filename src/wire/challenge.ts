/**
 * Challenge: shows that one party holds a host's inference key and its attested key now (wire.md §9). Canonical bytes
 * only; sealing them and signing the nonce is for crypto/ and attest/.
 *
 *   plaintext = "sealmesh-challenge-v1\0" | verifier id[32] | host id[32] | inference key[32] | random[32]     150 bytes
 *   nonce     = SHA-256(plaintext)
 *   signed    = "mesh-llm-challenge-v1:" | u32 LE length | attested key as base64 text | nonce    (protocol.md §8.6)
 */
import { createHash } from "node:crypto";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { concat, equal, fromHex, u32le, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { labels } from "./labels.ts";

export interface Challenge {
  /** Who asks. */
  readonly verifier: EndpointId;
  readonly host: EndpointId;
  /** 32 bytes, the host's key that the challenge is sealed to. */
  readonly inferenceKey: Uint8Array;
  /** 32 bytes. */
  readonly random: Uint8Array;
}

/** @returns 150 bytes */
export function challengeBytes(challenge: Challenge): Uint8Array {
  const { verifier, host, inferenceKey, random } = challenge;
  return concat([labels.challenge, fromHex(verifier, 32), fromHex(host, 32), inferenceKey, random]);
}

/**
 * A host must answer nothing but such a plaintext, with its own id and key in it: else it would sign a nonce for anyone.
 *
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE any other length or label
 */
export function decodeChallenge(bytes: Uint8Array): Challenge {
  const at = labels.challenge.length;
  if (bytes.length !== at + 4 * 32 || !equal(bytes.subarray(0, at), labels.challenge)) {
    throw new MeshError("E_WIRE", "this is not a challenge");
  }
  const part = (index: number): Uint8Array => bytes.slice(at + index * 32, at + (index + 1) * 32);
  return {
    verifier: endpointIdFromBytes(part(0)),
    host: endpointIdFromBytes(part(1)),
    inferenceKey: part(2),
    random: part(3),
  };
}

/** SHA-256 of the plaintext, 32 bytes: what goes into {@link referenceChallengeBytes}. */
export function challengeNonce(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash("sha256").update(bytes).digest());
}

/**
 * What the attested key signs.
 *
 * @param sePublicKeyBase64 the key as text, exactly as in the evidence
 * @param nonce             32 bytes
 */
export function referenceChallengeBytes(sePublicKeyBase64: string, nonce: Uint8Array): Uint8Array {
  const key = utf8(sePublicKeyBase64);
  return concat([labels.referenceChallenge, u32le(key.length), key, nonce]);
}

/**
 * Both ends of a challenge (wire.md §9): does one party hold a host's inference key and its attested key now? The verifier
 * seals a challenge to the inference key; who can open it and sign its digest holds both. That says nothing of the way
 * the bytes took, so a relay may carry them. Pure but for random bytes; streams are mesh/attest-ask.ts and attest-serve.ts.
 *
 *   sealed = ephemeral key[32] | nonce[24] | tag[16] | ciphertext[150]        plaintext: wire/challenge.ts
 *   reply  =                     nonce[24] | tag[16] | ciphertext             plaintext: ChallengeAnswer; the one and final
 *                                                                             chunk of an answer (crypto/seal.ts)
 */
import { randomBytes } from "node:crypto";
import type { EndpointId } from "../base/brand.ts";
import { concat, equal, toBase64, toHex } from "../base/bytes.ts";
import { MeshError, unlessMeshError } from "../base/errors.ts";
import type { InferenceKey } from "../crypto/inference-keys.ts";
import { verifyP256 } from "../crypto/p256.ts";
import { AskerSeal, type OpenedRequest, openRequest } from "../crypto/seal.ts";
import { type ChallengeProof, decodeChallengeAnswer, encodeChallengeAnswer } from "../wire/attestation.ts";
import { challengeBytes, challengeNonce, decodeChallenge, referenceChallengeBytes } from "../wire/challenge.ts";
import { limits } from "../wire/limits.ts";

const keyBytes = 32;
/** Prefix of a framed chunk, which a frame of its own makes needless here. */
const chunkLengthBytes = 4;

export interface ChallengeParts {
  /** Who asks. */
  readonly verifier: EndpointId;
  readonly host: EndpointId;
  /** 32 bytes, the host's key as the verifier believes it. */
  readonly inferenceKey: Uint8Array;
}

/** What an answer shows. A key is in one of the two lists at most. */
export interface ChallengeJudgement {
  /** Attested keys, SEC1 65 bytes, whose signature holds: whoever opened the challenge signs with them now. */
  readonly held: readonly Uint8Array[];
  /** Keys that were named with a signature that does not hold, once or more. */
  readonly wrong: readonly Uint8Array[];
}

/** The verifier's side of one challenge. Call {@link end} when it is over. */
export class ChallengeAsk {
  /** For the host, 222 bytes. */
  readonly sealed: Uint8Array;
  readonly #nonce: Uint8Array;
  readonly #seal: AskerSeal;

  /**
   * @param options are fixed by tests only: 32 random bytes, and a seal to the inference key
   * @throws E_KEY the inference key is of low order
   */
  constructor(parts: ChallengeParts, options: { random?: Uint8Array; seal?: AskerSeal } = {}) {
    const bytes = challengeBytes({ ...parts, random: options.random ?? new Uint8Array(randomBytes(32)) });
    this.#nonce = challengeNonce(bytes);
    this.#seal = options.seal ?? new AskerSeal(parts.inferenceKey);
    const { ephemeralKey, ciphertext } = this.#seal.sealRequest(bytes);
    this.sealed = concat([ephemeralKey, ciphertext]);
  }

  /**
   * Which keys the host holds. No more is shown than by the signatures: that a key belongs to the host's evidence is for
   * the caller to compare.
   *
   * @param sealedReply nonce[24] | tag[16] | ciphertext; borrowed
   * @throws E_OPEN it is no answer to this challenge · E_WIRE it is malformed under the seal
   */
  judge(sealedReply: Uint8Array): ChallengeJudgement {
    const proofs = decodeChallengeAnswer(this.#open(sealedReply));
    const named = (of: readonly ChallengeProof[]): ReadonlyMap<string, Uint8Array> =>
      new Map(of.map(({ attestedKey }) => [toHex(attestedKey), attestedKey]));
    const wrong = named(proofs.filter((proof) => !this.#holds(proof)));
    const held = [...named(proofs)].filter(([key]) => !wrong.has(key));
    return { held: held.map(([, key]) => key), wrong: [...wrong.values()] };
  }

  /** Erases the key of the challenge: no answer opens any more. */
  end(): void {
    this.#seal.end();
  }

  #open(sealedReply: Uint8Array): Uint8Array {
    if (sealedReply.length < limits.boxOverheadBytes) throw notOpened();
    const opener = this.#seal.openResponse("indexed");
    try {
      const plaintext = opener.open(sealedReply);
      opener.finish();
      return plaintext;
    } catch (cause) {
      throw notOpened(cause);
    }
  }

  #holds({ attestedKey, signature }: ChallengeProof): boolean {
    const message = referenceChallengeBytes(toBase64(attestedKey), this.#nonce);
    return verifyP256({ publicKey: attestedKey, message, signature, form: "der" });
  }
}

/** A challenge for this host. Call {@link end} when it is over. */
export interface OpenedChallenge {
  /** Who asks, by the challenge's own word: compare it with the peer where the peer is known. */
  readonly verifier: EndpointId;
  /** 32 bytes, what attested keys sign (`referenceChallengeBytes`). */
  readonly nonce: Uint8Array;
  /** The reply; call it once. @returns nonce[24] | tag[16] | ciphertext */
  seal(proofs: readonly ChallengeProof[]): Uint8Array;
  /** Erases the key of the challenge. */
  end(): void;
}

/**
 * Opens a challenge. Every other plaintext is refused, or a host would sign a nonce of somebody's choice: a challenge to
 * another host that is passed on to this one, one for another of its keys, a sealed request.
 *
 * @param keys that open now, newest first
 * @throws E_OPEN every failure alike: who asks learns nothing of what was wrong
 */
export function openChallenge(sealed: Uint8Array, keys: readonly InferenceKey[], self: EndpointId): OpenedChallenge {
  if (sealed.length < keyBytes + limits.boxOverheadBytes) throw refused();
  const opened = open(sealed, keys);
  const { plaintext, seal } = opened;
  const challenge = opened.marked ? unlessMeshError(() => decodeChallenge(plaintext)) : undefined;
  if (challenge === undefined || challenge.host !== self || !equal(challenge.inferenceKey, opened.key.publicKey)) {
    seal.end();
    throw refused();
  }
  return {
    verifier: challenge.verifier,
    nonce: challengeNonce(plaintext),
    seal: (proofs) => {
      const answer = encodeChallengeAnswer(proofs.slice(0, limits.proofsPerAnswer));
      return seal.sealChunk(answer, true).subarray(chunkLengthBytes);
    },
    end: () => seal.end(),
  };
}

function open(sealed: Uint8Array, keys: readonly InferenceKey[]): OpenedRequest {
  try {
    const envelope = { ephemeralKey: sealed.subarray(0, keyBytes), ciphertext: sealed.subarray(keyBytes) };
    return openRequest(envelope, keys);
  } catch (cause) {
    throw refused(cause);
  }
}

function refused(cause?: unknown): MeshError {
  return new MeshError("E_OPEN", "this is no challenge for this node and its keys", { cause });
}

function notOpened(cause?: unknown): MeshError {
  return new MeshError("E_OPEN", "the answer does not belong to this challenge", { cause });
}

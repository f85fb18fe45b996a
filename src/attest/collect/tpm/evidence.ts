/**
 * The bytes of a `tpm2` evidence item, version 1, and what its quote is made over. Written by collect/tpm2.ts, read by
 * kinds/tpm2.ts.
 *
 *   evidence   = issued at u64 LE, Unix ms | p(attestation key) | p(quote) | p(signature) | p(PCR values) | p(EK)
 *   p(x)       = u32 LE length | x
 *   keys: TPMT_PUBLIC, EK empty if there is none;  PCR values: 32 bytes each, in the order of the quote's selection
 *   collateral = certificate of the EK, then those between it and a root, as DER; empty if there is none
 *   extra data of the quote = attest/binding.ts, with (nonce, or nothing when nobody asked) | issued at u64 LE as its
 *                nonce: the time is signed as well, and a nonce has 32 bytes, so one is not taken for the other
 */
import { concat, empty, readU32le, readU64le, u32le, u64le } from "../../../base/bytes.ts";
import { MeshError } from "../../../base/errors.ts";
import { structureLimits } from "./structures.ts";

export interface TpmEvidence {
  readonly issuedAtMs: number;
  /** TPMT_PUBLIC of the attestation key. */
  readonly attestationKey: Uint8Array;
  /** TPMS_ATTEST. */
  readonly quote: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  /** 32 bytes each. */
  readonly pcrValues: readonly Uint8Array[];
  /** TPMT_PUBLIC of the endorsement key, or empty. */
  readonly endorsementKey: Uint8Array;
}

const pcrBytes = 32;

export function encodeTpmEvidence(evidence: TpmEvidence): Uint8Array {
  const { issuedAtMs, attestationKey, quote, signature, pcrValues, endorsementKey } = evidence;
  const parts = [attestationKey, quote, signature, concat(pcrValues), endorsementKey];
  return concat([u64le(BigInt(issuedAtMs)), ...parts.flatMap((part) => [u32le(part.length), part])]);
}

/**
 * @returns parts that share no memory with `bytes`; the structures in them are not looked into
 * @throws  E_WIRE a part longer than its limit, cut short, or something behind the last one
 */
export function decodeTpmEvidence(bytes: Uint8Array): TpmEvidence {
  const malformed = (): MeshError => new MeshError("E_WIRE", "the TPM evidence is malformed");
  if (bytes.length < 8) throw malformed();
  const issuedAtMs = Number(readU64le(bytes, 0));
  if (!Number.isSafeInteger(issuedAtMs)) throw malformed();
  let at = 8;
  const part = (max: number): Uint8Array => {
    if (bytes.length - at < 4) throw malformed();
    const length = readU32le(bytes, at);
    at += 4;
    if (length > max || length > bytes.length - at) throw malformed();
    at += length;
    return bytes.slice(at - length, at);
  };
  const attestationKey = part(structureLimits.publicArea);
  const quote = part(structureLimits.quote);
  const signature = part(structureLimits.signature);
  const pcrs = part(structureLimits.pcrs * pcrBytes);
  const endorsementKey = part(structureLimits.publicArea);
  if (at !== bytes.length || pcrs.length % pcrBytes !== 0) throw malformed();
  const pcrValues = Array.from({ length: pcrs.length / pcrBytes }, (_, index) =>
    pcrs.subarray(index * pcrBytes, (index + 1) * pcrBytes),
  );
  return { issuedAtMs, attestationKey, quote, signature, pcrValues, endorsementKey };
}

/** What stands in the place of the nonce in the binding. */
export function timedNonce(nonce: Uint8Array | undefined, issuedAtMs: number): Uint8Array {
  return concat([nonce ?? empty, u64le(BigInt(issuedAtMs))]);
}

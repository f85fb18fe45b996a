/**
 * The bytes of a `tpm2` evidence item, version 1, and what its quote is made over. Written by collect/tpm2.ts, read by
 * kinds/tpm2.ts.
 *
 *   evidence   = p(statement) | p(attestation key) | p(quote) | p(signature) | p(PCR values) | p(EK)
 *   p(x)       = u32 LE length | x
 *   keys: TPMT_PUBLIC, EK empty if there is none;  PCR values: 32 bytes each, in the order of the quote's selection
 *   collateral = certificate of the EK, then those between it and a root, as DER; empty if there is none
 *   extra data of the quote = attest/binding.ts, which covers the statement too (attest/statement.ts)
 */
import { concat, readU32le, u32le } from "../../../base/bytes.ts";
import { MeshError } from "../../../base/errors.ts";
import { maxStatementBytes } from "../../statement.ts";
import { structureLimits } from "./structures.ts";

export interface TpmEvidence {
  /** As encodeStatement writes it. */
  readonly statement: Uint8Array;
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
  const { statement, attestationKey, quote, signature, pcrValues, endorsementKey } = evidence;
  const parts = [statement, attestationKey, quote, signature, concat(pcrValues), endorsementKey];
  return concat(parts.flatMap((part) => [u32le(part.length), part]));
}

/**
 * @returns parts that share no memory with `bytes`; the structures in them are not looked into
 * @throws  E_WIRE a part longer than its limit, cut short, or something behind the last one
 */
export function decodeTpmEvidence(bytes: Uint8Array): TpmEvidence {
  const malformed = (): MeshError => new MeshError("E_WIRE", "the TPM evidence is malformed");
  let at = 0;
  const part = (max: number): Uint8Array => {
    if (bytes.length - at < 4) throw malformed();
    const length = readU32le(bytes, at);
    at += 4;
    if (length > max || length > bytes.length - at) throw malformed();
    at += length;
    return bytes.slice(at - length, at);
  };
  const statement = part(maxStatementBytes);
  const attestationKey = part(structureLimits.publicArea);
  const quote = part(structureLimits.quote);
  const signature = part(structureLimits.signature);
  const pcrs = part(structureLimits.pcrs * pcrBytes);
  const endorsementKey = part(structureLimits.publicArea);
  if (at !== bytes.length || pcrs.length % pcrBytes !== 0) throw malformed();
  const pcrValues = Array.from({ length: pcrs.length / pcrBytes }, (_, index) =>
    pcrs.subarray(index * pcrBytes, (index + 1) * pcrBytes),
  );
  return { statement, attestationKey, quote, signature, pcrValues, endorsementKey };
}

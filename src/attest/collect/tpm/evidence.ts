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
import { concat, lengthPrefixed, lengthPrefixedReader } from "../../../base/bytes.ts";
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
  return lengthPrefixed(statement, attestationKey, quote, signature, concat(pcrValues), endorsementKey);
}

/**
 * @returns parts that share no memory with `bytes`; the structures in them are not looked into
 * @throws  E_WIRE a part longer than its limit, cut short, or something behind the last one
 */
export function decodeTpmEvidence(bytes: Uint8Array): TpmEvidence {
  const malformed = (): MeshError => new MeshError("E_WIRE", "the TPM evidence is malformed");
  const parts = lengthPrefixedReader(bytes, 0, malformed);
  const statement = parts.next(maxStatementBytes);
  const attestationKey = parts.next(structureLimits.publicArea);
  const quote = parts.next(structureLimits.quote);
  const signature = parts.next(structureLimits.signature);
  const pcrs = parts.next(structureLimits.pcrs * pcrBytes);
  const endorsementKey = parts.next(structureLimits.publicArea);
  parts.end();
  if (pcrs.length % pcrBytes !== 0) throw malformed();
  const pcrValues = Array.from({ length: pcrs.length / pcrBytes }, (_, index) =>
    pcrs.subarray(index * pcrBytes, (index + 1) * pcrBytes),
  );
  return { statement, attestationKey, quote, signature, pcrValues, endorsementKey };
}

/**
 * `software`: a P-256 key of a program, for development and tests. It goes through every step of the other kinds and
 * proves nothing: its tier is `none` whatever else holds.
 *
 *   evidence  = signed | signature[64]                                                                    version 1
 *   signed    = attested key[65], SEC1 uncompressed | u32 LE length | statement (attest/statement.ts) | binding[32]
 *   signature = ECDSA P-256 over SHA-256("sealmesh-software-evidence-v1\0" | signed), r | s
 *   binding   = attest/binding.ts, which covers the statement too
 */
import { concat, equal, lengthPrefixed, readU32le } from "../../base/bytes.ts";
import { verifyP256, p256Point } from "../../crypto/p256.ts";
import { unlessMeshError } from "../../base/errors.ts";
import { evidenceLabels } from "../../wire/labels.ts";
import { type BindingParts, evidenceBinding, expectedBinding } from "../binding.ts";
import {
  endedEarly,
  type EvidenceKind,
  freshByOwnTime,
  judgeBound,
  judgeMeasurement,
  statementClaims,
  type Verified,
  type VerifyInput,
} from "../evidence.ts";
import { boundNonce, decodeStatement, encodeStatement, maxStatementBytes, type Statement } from "../statement.ts";
import { fail, pass, unknown, verdictOf } from "../verdict.ts";

const keyBytes = 65;
const bindingBytes = 32;
const signatureBytes = 64;

export const software: EvidenceKind = {
  kind: "software",
  note: "For development only: it proves nothing.",
  verify(input: VerifyInput): Verified {
    const { version, evidence } = input.item;
    if (version !== 1) return endedEarly({ parse: unknown("unknown-kind") });
    const parts = readParts(evidence);
    if (!parts) return endedEarly({ parse: fail("malformed") });
    const parse = pass("well-formed");
    const { signed, attestedKey, statement, statementBytes } = parts;
    if (!isPoint(attestedKey)) return endedEarly({ parse, signature: fail("key-unusable") });
    const message = concat([evidenceLabels.software, signed]);
    const signature = evidence.subarray(signed.length);
    if (!verifyP256({ publicKey: attestedKey, message, signature, form: "p1363" })) {
      return endedEarly({ parse, signature: fail("signature-wrong") });
    }
    const bound = (nonce: Uint8Array | undefined): boolean | undefined => {
      const value = expectedBinding({ ...input.expected, nonce: boundNonce(nonce, statementBytes) }, attestedKey);
      return value && equal(signed.subarray(-bindingBytes), value);
    };
    return {
      claims: { attestedKey, ...statementClaims(statement) },
      verdict: verdictOf({
        parse,
        signature: pass("signature-holds"),
        ...judgeBound(bound, freshByOwnTime(statement.issuedAtMs, input), input),
        measurement: judgeMeasurement(statement.measurement, input),
        "key-residence": unknown("software-key"),
      }),
    };
  },
};

export interface SoftwareEvidenceParts extends BindingParts {
  /** SEC1, 65 bytes. */
  readonly attestedKey: Uint8Array;
  readonly issuedAtMs: number;
  readonly measurement?: string | undefined;
  readonly posture?: Uint8Array | undefined;
  /** ECDSA P-256 over SHA-256 of the message, 64 bytes r | s. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** @returns 177 bytes, and what measurement and posture have */
export function signSoftwareEvidence(parts: SoftwareEvidenceParts): Uint8Array {
  const { endpointId, inferenceKey, attestedKey, nonce, issuedAtMs, measurement, posture, sign } = parts;
  const statement = encodeStatement({ issuedAtMs, measurement, posture });
  const binding = evidenceBinding({ endpointId, inferenceKey, attestedKey, nonce: boundNonce(nonce, statement) });
  const signed = concat([attestedKey, lengthPrefixed(statement), binding]);
  return concat([signed, sign(concat([evidenceLabels.software, signed]))]);
}

interface Parts {
  readonly signed: Uint8Array;
  readonly attestedKey: Uint8Array;
  readonly statement: Statement;
  readonly statementBytes: Uint8Array;
}

/** @returns undefined for what is not laid out as this file says */
function readParts(evidence: Uint8Array): Parts | undefined {
  const at = keyBytes + 4;
  if (evidence.length < at) return undefined;
  const length = readU32le(evidence, keyBytes);
  const end = at + length + bindingBytes;
  if (length > maxStatementBytes || evidence.length !== end + signatureBytes) return undefined;
  const statementBytes = evidence.slice(at, at + length);
  const statement = unlessMeshError(() => decodeStatement(statementBytes));
  if (!statement) return undefined;
  return { signed: evidence.slice(0, end), attestedKey: evidence.slice(0, keyBytes), statement, statementBytes };
}

function isPoint(sec1: Uint8Array): boolean {
  return unlessMeshError(() => p256Point(sec1))?.length === keyBytes;
}

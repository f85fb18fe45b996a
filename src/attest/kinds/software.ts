/**
 * `software`: a P-256 key of a program, for development and tests. It goes through every step of the other kinds and
 * proves nothing: its tier is `none` whatever else holds.
 *
 *   evidence = statement | signature[64]                                                        169 bytes, version 1
 *   statement = attested key[65], SEC1 uncompressed | issued at u64 LE, unix ms | binding[32]
 *   signature = ECDSA P-256 over SHA-256("sealmesh-software-evidence-v1\0" | statement), r | s
 *   binding   = attest/binding.ts, over the nonce that was asked with, or over none
 */
import { concat, equal, readU64le, u64le } from "../../base/bytes.ts";
import { verifyP256, p256Point } from "../../crypto/p256.ts";
import { isMeshError } from "../../base/errors.ts";
import { evidenceLabels } from "../../wire/labels.ts";
import { type BindingParts, evidenceBinding, expectedBinding } from "../binding.ts";
import {
  endedEarly,
  type EvidenceKind,
  freshByOwnTime,
  judgeBound,
  type Verified,
  type VerifyInput,
} from "../evidence.ts";
import { fail, pass, unknown, verdictOf } from "../verdict.ts";

const keyBytes = 65;
const statementBytes = keyBytes + 8 + 32;
const signatureBytes = 64;

export const software: EvidenceKind = {
  kind: "software",
  note: "For development only: it proves nothing.",
  verify(input: VerifyInput): Verified {
    const { version, evidence } = input.item;
    if (version !== 1) return endedEarly({ parse: unknown("unknown-kind") });
    if (evidence.length !== statementBytes + signatureBytes) return endedEarly({ parse: fail("malformed") });
    const parse = pass("well-formed");
    const statement = evidence.slice(0, statementBytes);
    const attestedKey = statement.slice(0, keyBytes);
    if (!isPoint(attestedKey)) return endedEarly({ parse, signature: fail("key-unusable") });
    const message = concat([evidenceLabels.software, statement]);
    const signature = evidence.subarray(statementBytes);
    if (!verifyP256({ publicKey: attestedKey, message, signature, form: "p1363" })) {
      return endedEarly({ parse, signature: fail("signature-wrong") });
    }
    const issuedAtMs = Number(readU64le(statement, keyBytes));
    const bound = (nonce: Uint8Array | undefined): boolean | undefined => {
      const value = expectedBinding({ ...input.expected, nonce }, attestedKey);
      return value && equal(statement.subarray(keyBytes + 8), value);
    };
    return {
      claims: { attestedKey, issuedAtMs: { value: issuedAtMs, by: "self" } },
      verdict: verdictOf({
        parse,
        signature: pass("signature-holds"),
        ...judgeBound(bound, freshByOwnTime(issuedAtMs, input), input),
        "key-residence": unknown("software-key"),
      }),
    };
  },
};

export interface SoftwareEvidenceParts extends BindingParts {
  /** SEC1, 65 bytes. */
  readonly attestedKey: Uint8Array;
  readonly issuedAtMs: number;
  /** ECDSA P-256 over SHA-256 of the message, 64 bytes r | s. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** @returns 169 bytes */
export function signSoftwareEvidence({ issuedAtMs, sign, ...parts }: SoftwareEvidenceParts): Uint8Array {
  const statement = concat([parts.attestedKey, u64le(BigInt(issuedAtMs)), evidenceBinding(parts)]);
  return concat([statement, sign(concat([evidenceLabels.software, statement]))]);
}

function isPoint(sec1: Uint8Array): boolean {
  try {
    return p256Point(sec1).length === keyBytes;
  } catch (thrown) {
    if (isMeshError(thrown)) return false;
    throw thrown;
  }
}

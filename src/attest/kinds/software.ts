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
import { evidenceLabels } from "../../wire/evidence.ts";
import { type BindingParts, evidenceBinding, expectedBinding } from "../binding.ts";
import { type EvidenceKind, freshByOwnTime, type Verified, type VerifyInput } from "../evidence.ts";
import { fail, type FactorVerdict, pass, unknown, verdictOf } from "../verdict.ts";

const keyBytes = 65;
const statementBytes = keyBytes + 8 + 32;
const signatureBytes = 64;

export const software: EvidenceKind = {
  kind: "software",
  note: "For development only: it proves nothing.",
  verify(input: VerifyInput): Verified {
    const { version, evidence } = input.item;
    if (version !== 1) return nothing({ parse: unknown("unknown-kind") });
    if (evidence.length !== statementBytes + signatureBytes) return nothing({ parse: fail("malformed") });
    const parse = pass("well-formed");
    const statement = evidence.slice(0, statementBytes);
    const attestedKey = statement.slice(0, keyBytes);
    if (!isPoint(attestedKey)) return nothing({ parse, signature: fail("key-unusable") });
    const message = concat([evidenceLabels.software, statement]);
    const signature = evidence.subarray(statementBytes);
    if (!verifyP256({ publicKey: attestedKey, message, signature, form: "p1363" })) {
      return nothing({ parse, signature: fail("signature-wrong") });
    }
    const issuedAtMs = Number(readU64le(statement, keyBytes));
    return {
      claims: { attestedKey, issuedAtMs: { value: issuedAtMs, by: "self" } },
      verdict: verdictOf({
        parse,
        signature: pass("signature-holds"),
        ...bindingAndFresh(statement.subarray(keyBytes + 8), attestedKey, freshByOwnTime(issuedAtMs, input), input),
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

function nothing(given: Parameters<typeof verdictOf>[0]): Verified {
  return { claims: {}, verdict: verdictOf(given, "not-reached") };
}

function isPoint(sec1: Uint8Array): boolean {
  try {
    return p256Point(sec1).length === keyBytes;
  } catch (thrown) {
    if (isMeshError(thrown)) return false;
    throw thrown;
  }
}

/** One value holds node, keys and nonce, so what differs cannot be told apart. */
function bindingAndFresh(
  found: Uint8Array,
  attestedKey: Uint8Array,
  byTime: FactorVerdict,
  { expected }: VerifyInput,
): { readonly binding: FactorVerdict; readonly fresh: FactorVerdict } {
  const asked = expectedBinding(expected, attestedKey);
  const unasked = expectedBinding({ ...expected, nonce: undefined }, attestedKey);
  if (asked === undefined || unasked === undefined) return { binding: unknown("not-compared"), fresh: byTime };
  if (expected.nonce !== undefined && equal(found, asked)) {
    const fresh = byTime.reason === "own-time" ? pass("nonce-answered") : byTime;
    return { binding: pass("bound"), fresh };
  }
  return { binding: equal(found, unasked) ? pass("bound") : fail("binding-differs"), fresh: byTime };
}

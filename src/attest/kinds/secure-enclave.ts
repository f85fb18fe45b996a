/**
 * `secure-enclave`: the reference's blob, read and judged (protocol.md §8.2-8.4). What it proves: some P-256 key signed
 * that it belongs to this node and this inference key. What it does not: that an enclave holds the key (a program makes
 * such a blob as well, nothing in it comes from Apple), or that any word in it about the machine is true.
 *
 * The order is the reference's: signature, node, inference key, flags, time, build. Its results become factors here.
 */
import { fromBase64, toBase64 } from "../../base/bytes.ts";
import { unlessMeshError } from "../../base/errors.ts";
import { ecKey, verifyEcdsa } from "../../crypto/p256.ts";
import {
  decodeReferenceBlob,
  encodeReferenceBlob,
  type ReferenceAttestation,
  type ReferenceBlob,
  referenceBlobBytes,
  rfc3339Ms,
} from "../../wire/evidence.ts";
import type { Claims } from "../claims.ts";
import {
  endedEarly,
  type EvidenceKind,
  type Expected,
  freshByOwnTime,
  judgeMeasurement,
  type Verified,
  type VerifyInput,
} from "../evidence.ts";
import { fail, type FactorVerdict, pass, unknown, verdictOf } from "../verdict.ts";

export const secureEnclave: EvidenceKind = {
  kind: "secure-enclave",
  note: "Whether the key is inside a Secure Enclave cannot be checked by anyone but its owner. Not yet run on Apple hardware.",
  verify(input: VerifyInput): Verified {
    if (input.item.version !== 1) return endedEarly({ parse: unknown("unknown-kind") });
    const blob = unlessMeshError(() => decodeReferenceBlob(input.item.evidence));
    if (blob === undefined) return endedEarly({ parse: fail("malformed") });
    return judge(blob, input);
  },
};

/** Signs a blob, and writes it as the reference does. `sign`: DER ECDSA P-256 over SHA-256 of the bytes, hashed once. */
export async function signReferenceBlob(
  attestation: ReferenceAttestation,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  return encodeReferenceBlob({ attestation, signature: await sign(referenceBlobBytes(attestation)) });
}

function judge({ attestation, signature }: ReferenceBlob, input: VerifyInput): Verified {
  const parsed = pass("well-formed");
  const key = readKey(attestation.attestedKey);
  const signed =
    key === undefined
      ? fail("key-unusable")
      : verifyEcdsa({ key, message: referenceBlobBytes(attestation), signature, form: "der" })
        ? pass("signature-holds")
        : fail("signature-wrong");
  // what nobody signed is nobody's word: no claim, and no other factor, may rest on it
  if (key === undefined || signed.outcome !== "pass") {
    return endedEarly({ parse: parsed, signature: signed });
  }
  const issuedAtMs = rfc3339Ms(attestation.timestamp);
  return {
    claims: claimsOf(attestation, key.point, issuedAtMs),
    verdict: verdictOf({
      parse: parsed,
      signature: signed,
      binding: binding(attestation, input.expected),
      "device-state": deviceState(attestation),
      fresh: freshByOwnTime(issuedAtMs, input),
      measurement: judgeMeasurement(attestation.binaryHash || undefined, input),
      // a software key signs the very same bytes
      "key-residence": unknown("residence-own-word"),
    }),
  };
}

function readKey(base64: string): ReturnType<typeof ecKey> | undefined {
  return unlessMeshError(() => ecKey(fromBase64(base64)));
}

/** Texts are compared as texts, so that there is one way only to name a node or a key. */
function binding(attestation: ReferenceAttestation, { endpointId, inferenceKey }: Expected): FactorVerdict {
  if (endpointId !== undefined && attestation.endpointId !== endpointId) return fail("other-node");
  if (inferenceKey !== undefined && attestation.inferenceKey !== toBase64(inferenceKey)) {
    return fail("other-inference-key");
  }
  return endpointId === undefined || inferenceKey === undefined ? unknown("not-compared") : pass("bound");
}

/** Never more than the signer's words: the reference even writes `secure_boot_enabled` without looking. */
function deviceState({ sip, secureBoot, rdmaDisabled }: ReferenceAttestation): FactorVerdict {
  if (!sip) return fail("sip-off");
  if (!secureBoot) return fail("secure-boot-off");
  return rdmaDisabled ? pass("flags-own-word") : fail("rdma-on");
}

function claimsOf(attestation: ReferenceAttestation, attestedKey: Uint8Array, issuedAtMs: number | undefined): Claims {
  const { chipName, hardwareModel, memoryBytes, sip, secureBoot, rdmaDisabled, binaryHash } = attestation;
  const said = <T>(value: T): { readonly value: T; readonly by: "self" } => ({ value, by: "self" });
  return {
    attestedKey,
    ...(issuedAtMs === undefined ? {} : { issuedAtMs: said(issuedAtMs) }),
    chip: said(chipName),
    hardwareModel: said(hardwareModel),
    memoryBytes: said(memoryBytes),
    sip: said(sip),
    secureBoot: said(secureBoot),
    rdmaDisabled: said(rdmaDisabled),
    ...(binaryHash === "" ? {} : { measurement: said(binaryHash) }),
  };
}

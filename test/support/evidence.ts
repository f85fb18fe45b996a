/** Evidence for tests: the blob of the vectors, and others like it, signed by node:crypto instead of the product. */
import { createPrivateKey, ECDH, createECDH, type KeyObject, sign } from "node:crypto";
import { endpointId } from "../../src/base/brand.ts";
import { fromBase64, fromHex, toBase64, utf8 } from "../../src/base/bytes.ts";
import { type EvidenceItem, evidenceWindow, type VerifyInput } from "../../src/attest/evidence.ts";
import { type ReferenceAttestation, referenceBlobBytes } from "../../src/wire/evidence.ts";
import { type Factor, factors, type Outcome, type Verdict } from "../../src/attest/verdict.ts";
import vectors from "../vectors/mesh-llm.json" with { type: "json" };

const vector = vectors.attestation_signed;

export interface TestKey {
  readonly privateKey: KeyObject;
  /** 65 bytes. */
  readonly point: Uint8Array;
  /** 33 bytes. */
  readonly compressed: Uint8Array;
}

/** A P-256 key of a program. */
export function testKey(secretHex: string = vector.p256_secret_hex): TestKey {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(Buffer.from(secretHex, "hex"));
  const point = ecdh.getPublicKey();
  const compressed = ECDH.convertKey(point, "prime256v1", undefined, undefined, "compressed") as Buffer;
  const coordinate = (at: number): string => point.subarray(at, at + 32).toString("base64url");
  const d = Buffer.from(secretHex, "hex").toString("base64url");
  const jwk = { kty: "EC", crv: "P-256", d, x: coordinate(1), y: coordinate(33) };
  return {
    privateKey: createPrivateKey({ key: jwk, format: "jwk" }),
    point: Uint8Array.from(point),
    compressed: Uint8Array.from(compressed),
  };
}

export const signDer = (key: TestKey, message: Uint8Array): Uint8Array =>
  Uint8Array.from(sign("sha256", message, key.privateKey));

export const signP1363 = (key: TestKey, message: Uint8Array): Uint8Array =>
  Uint8Array.from(sign("sha256", message, { key: key.privateKey, dsaEncoding: "ieee-p1363" }));

export const host = endpointId(vectors.endpoint.endpoint_id_hex);
export const inferenceKey = fromBase64(vectors.sealed_request.host_public_b64, 32);
/** Time of the vector in unix ms, its digits below a millisecond cut off. */
export const issuedAtMs = Date.UTC(2026, 4, 5, 0, 0, 0, 123);

/** What the vector's blob says. */
export const said: ReferenceAttestation = {
  chipName: "Apple M4 Max",
  hardwareModel: "Mac16,1",
  memoryBytes: 68_719_476_736n,
  sip: true,
  secureBoot: true,
  rdmaDisabled: true,
  endpointId: host,
  inferenceKey: vectors.sealed_request.host_public_b64,
  attestedKey: toBase64(fromHex(vector.p256_public_sec1_hex)),
  binaryHash: "bb".repeat(32),
  timestamp: "2026-05-05T00:00:00.123456789+00:00",
};

/** The vector's blob, byte for byte. */
export const goodBlob: Uint8Array = utf8(vector.wrapper_json_utf8);

/** A blob as JSON text, by JSON.stringify and not by the product; `signature` over `attestation` unless given. */
export function blobJson(attestation: ReferenceAttestation, signature?: Uint8Array, key: TestKey = testKey()): string {
  const members = {
    chip_name: attestation.chipName,
    hardware_model: attestation.hardwareModel,
    unified_memory_bytes: "MEMORY",
    sip_enabled: attestation.sip,
    secure_boot_enabled: attestation.secureBoot,
    rdma_disabled: attestation.rdmaDisabled,
    node_endpoint_id: attestation.endpointId,
    inference_public_key: attestation.inferenceKey,
    se_public_key: attestation.attestedKey,
    binary_hash: attestation.binaryHash,
    timestamp: attestation.timestamp,
  };
  const signed = signature ?? signDer(key, referenceBlobBytes(attestation));
  const blob = { attestation: members, signature: Buffer.from(signed).toString("base64") };
  return JSON.stringify(blob).replace('"MEMORY"', String(attestation.memoryBytes));
}

/** A blob that says `changes` and is signed rightly. */
export function signedBlob(changes: Partial<ReferenceAttestation> = {}, key: TestKey = testKey()): Uint8Array {
  return utf8(blobJson({ ...said, attestedKey: toBase64(key.point), ...changes }, undefined, key));
}

export function blobItem(evidence: Uint8Array): EvidenceItem {
  return { kind: "secure-enclave", version: 1, evidence, collateral: [], issuedAtMs: 0 };
}

/** Input for the vector's node and key, a minute after the vector's time. */
export function inputFor(item: EvidenceItem, changes: Partial<VerifyInput> = {}): VerifyInput {
  return {
    item,
    expected: { endpointId: host, inferenceKey, nonce: undefined },
    roots: [],
    nowMs: issuedAtMs + 60_000,
    ...evidenceWindow,
    ...changes,
  };
}

/** The factors with an outcome. */
export function withOutcome(verdict: Verdict, outcome: Outcome): readonly Factor[] {
  return factors.filter((factor) => verdict[factor].outcome === outcome);
}

/** sealmesh.json, admission: our signatures are those of another library, byte for byte, and theirs hold here. */
import { expect, it } from "vitest";
import { authorityKey, endpointId } from "../../src/base/brand.ts";
import { fromHex, toHex } from "../../src/base/bytes.ts";
import {
  authorityFrom,
  bearerKeyOf,
  extendCredential,
  firstCredential,
  grantsOf,
  holdsBearer,
  meshIdOf,
  proveBearer,
  signGrant,
  verifyCredential,
  verifyGrant,
} from "../../src/crypto/admission.ts";
import { identityFrom } from "../../src/crypto/identity.ts";
import {
  admissionCodes,
  decodeAdmissionChallenge,
  decodeAdmissionProof,
  decodeAdmissionReply,
  decodeAdmissionRequest,
  encodeAdmissionChallenge,
  encodeAdmissionProof,
  encodeAdmissionReply,
  encodeAdmissionRequest,
  grantId,
  proofSigningBytes,
} from "../../src/wire/admission.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import vectors from "./sealmesh.json" with { type: "json" };

const found = vectors.rows.find(({ name }) => name === "admission");
const vector = new Map(Object.entries(found ?? {}));
const textOf = (member: string): string => String(vector.get(member));
const numberOf = (member: string): number => Number(vector.get(member));
const bytes = (member: string): Uint8Array => fromHex(textOf(member));
const payload = (member: string): Uint8Array => bytes(member).subarray(4);

const host = identityFrom(fromHex(vectors.keys.host_seed_hex));
const asker = endpointId(vectors.keys.asker_id_hex);
const authority = authorityKey(textOf("authority_hex"));
const context = {
  joiner: asker,
  issuer: host.id,
  joinerNonce: bytes("joiner_nonce_hex"),
  issuerNonce: bytes("issuer_nonce_hex"),
  grant: bytes("signed_grant_hex"),
};

it("the mesh id is made of the authority", () => {
  expect(authorityFrom(bytes("authority_seed_hex")).key).toBe(authority);
  expect(meshIdOf(authority)).toBe(textOf("mesh_id"));
});

it("grant, both ways", () => {
  const grant = {
    authority,
    id: grantId(textOf("grant_id_hex")),
    role: "client" as const,
    expiresMs: numberOf("grant_expires_ms"),
    uses: 5,
    delegable: false,
    bearer: bearerKeyOf(bytes("bearer_seed_hex")),
  };
  expect(toHex(signGrant(host, grant).bytes)).toBe(textOf("signed_grant_hex"));
  expect(verifyGrant(bytes("signed_grant_hex")).grant).toEqual({ ...grant, issuer: host.id });
});

it("credential, both ways", () => {
  const given = { issuedAtMs: numberOf("issued_at_ms"), notAfterMs: numberOf("credential_not_after_ms") };
  const founder = { ...given, subject: host.id, role: "host", delegable: true } as const;
  const first = firstCredential(authorityFrom(bytes("authority_seed_hex")), founder);
  expect(toHex(first.bytes)).toBe(textOf("first_credential_hex"));
  const joiner = {
    ...given,
    subject: asker,
    role: "client",
    delegable: false,
    issuedAtMs: given.issuedAtMs + 1_000,
  } as const;
  const id = grantId(textOf("grant_id_hex"));
  const second = extendCredential({ credential: first, identity: host, given: { ...joiner, grantId: id } });
  expect(toHex(second.bytes)).toBe(textOf("credential_hex"));
  const verified = verifyCredential(bytes("credential_hex"), { authority, subject: asker });
  expect(verified).toEqual(second);
  expect(grantsOf(verified.links)).toEqual([{ issuer: host.id, grant: id }]);
});

it("proof, both ways", () => {
  expect(toHex(proofSigningBytes(context))).toBe(textOf("proof_signing_hex"));
  expect(toHex(proveBearer(bytes("bearer_seed_hex"), context))).toBe(textOf("proof_hex"));
  expect(holdsBearer(bearerKeyOf(bytes("bearer_seed_hex")), context, bytes("proof_hex"))).toBe(true);
});

it("frames, both ways", () => {
  const framed = (message: Uint8Array): string => toHex(encodeFrame(message));
  const request = { grant: context.grant, nonce: context.joinerNonce };
  const challenge = { code: admissionCodes.ok, nonce: context.issuerNonce } as const;
  const reply = { code: admissionCodes.ok, credential: bytes("credential_hex") } as const;
  expect(framed(encodeAdmissionRequest(request))).toBe(textOf("admission_request_hex"));
  expect(framed(encodeAdmissionChallenge(challenge))).toBe(textOf("admission_challenge_hex"));
  expect(framed(encodeAdmissionProof(bytes("proof_hex")))).toBe(textOf("admission_proof_hex"));
  expect(framed(encodeAdmissionReply(reply))).toBe(textOf("admission_reply_hex"));
  expect(decodeAdmissionRequest(payload("admission_request_hex"))).toEqual(request);
  expect(decodeAdmissionChallenge(payload("admission_challenge_hex"))).toEqual(challenge);
  expect(decodeAdmissionProof(payload("admission_proof_hex"))).toEqual(bytes("proof_hex"));
  expect(decodeAdmissionReply(payload("admission_reply_hex"))).toEqual(reply);
});

it("a refusal has the same bytes in both places of the issuer", () => {
  const refusal = { code: admissionCodes.busy } as const;
  for (const encoded of [encodeAdmissionChallenge(refusal), encodeAdmissionReply(refusal)]) {
    expect(toHex(encodeFrame(encoded))).toBe(textOf("admission_busy_hex"));
  }
  expect(decodeAdmissionChallenge(payload("admission_busy_hex"))).toEqual(refusal);
  expect(decodeAdmissionReply(payload("admission_busy_hex"))).toEqual(refusal);
});

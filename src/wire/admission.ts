/**
 * How a node becomes a member of an invite-only mesh: grants, credentials and the four frames of stream 0x06 of
 * "sealmesh/1" as bytes. Bytes and fields only: signatures, times and chains are checked in crypto/admission.ts.
 *
 *   Credential  = protobuf {repeated SignedLink}, SignedLink = {1 signed, 2 signature[64]}     at most 4 KiB, 8 links
 *   SignedGrant = protobuf {1 signed, 2 signature[64]}                                         at most 512 bytes
 *   joiner -> AdmissionRequest · issuer -> AdmissionChallenge · joiner -> AdmissionProof · issuer -> AdmissionReply
 *
 * What is signed is kept as it came, never encoded again. Messages: proto/sealmesh.proto.
 */
import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AuthorityKey,
  authorityKeyFromBytes,
  type Brand,
  type EndpointId,
  endpointIdFromBytes,
} from "../base/brand.ts";
import { concat, empty, fromHex, toHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import {
  AdmissionChallengeSchema,
  AdmissionProofSchema,
  AdmissionReplySchema,
  AdmissionRequestSchema,
  CredentialSchema,
  GrantSchema,
  LinkSchema,
  SignedGrantSchema,
  SignedLinkSchema,
} from "./gen/sealmesh_pb.ts";
import { labels } from "./labels.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";

/** What a member may do: ask; ask, answer and carry; carry alone. */
export const memberRoles = ["client", "host", "relay"] as const;
export type MemberRole = (typeof memberRoles)[number];

/** 16 bytes as 32 lower-case hex digits. No secret: it names a grant, and opens nothing. */
export type GrantId = Brand<string, "GrantId">;

/** @throws E_WIRE unless `text` is 32 lower-case hex digits */
export function grantId(text: string): GrantId {
  if (!/^[0-9a-f]{32}$/.test(text)) throw new MeshError("E_WIRE", "the id of a grant is 32 lower-case hex digits");
  return text as GrantId;
}

/** @throws E_WIRE unless `bytes` are 16 */
export function grantIdFromBytes(bytes: Uint8Array): GrantId {
  if (bytes.length !== 16) throw new MeshError("E_WIRE", `the id of a grant has 16 bytes, not ${bytes.length}`);
  return toHex(bytes) as GrantId;
}

/** In the first link of a credential: the authority needs no grant. */
export const noGrant: GrantId = grantIdFromBytes(new Uint8Array(16));

/** One step of a credential: the issuer admits the subject. */
export interface Link {
  /** Which mesh; the same in all links. */
  readonly authority: AuthorityKey;
  readonly subject: EndpointId;
  /** The key that signs, 64 hex digits: the authority in the first link, the subject of the link before in the others. */
  readonly issuer: EndpointId | AuthorityKey;
  readonly role: MemberRole;
  /** Whether the subject may admit others. */
  readonly delegable: boolean;
  /** Unix ms. */
  readonly issuedAtMs: number;
  /** Unix ms. */
  readonly notAfterMs: number;
  readonly grantId: GrantId;
}

/** What an invite grants to whoever proves its bearer key. */
export interface Grant {
  readonly authority: AuthorityKey;
  /** Who made it, and alone admits by it. */
  readonly issuer: EndpointId;
  readonly id: GrantId;
  readonly role: MemberRole;
  /** Unix ms; from then on nobody is admitted by it. */
  readonly expiresMs: number;
  /** Nodes that may be admitted by it; 0: no limit. */
  readonly uses: number;
  readonly delegable: boolean;
  /** 32 bytes, Ed25519. */
  readonly bearer: Uint8Array;
}

/** A signed part of a credential, or a grant, as it came. */
export interface SignedPart {
  readonly signed: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** Few fields suffice; unknown ones of later versions are skipped. */
const partFields = 64;
const credentialFields = limits.credentialLinks * 4;

// ---- links and credentials

/** @returns the `signed` bytes of a SignedLink */
export function encodeLink(link: Link): Uint8Array {
  const message = create(LinkSchema, {
    authority: fromHex(link.authority, 32),
    subject: fromHex(link.subject, 32),
    issuer: fromHex(link.issuer, 32),
    role: roleNumbers[link.role],
    delegable: link.delegable,
    issuedAtMs: BigInt(link.issuedAtMs),
    notAfterMs: BigInt(link.notAfterMs),
    grantId: fromHex(link.grantId, 16),
  });
  return toBinary(LinkSchema, message);
}

/** @throws E_WIRE not such a message, a key or id of another length, no known role, a time beyond 2^53 ms */
export function decodeLink(signed: Uint8Array): Link {
  const message = decodeMessage(LinkSchema, signed, partFields);
  return {
    authority: authorityKeyFromBytes(message.authority),
    subject: endpointIdFromBytes(message.subject),
    issuer: endpointIdFromBytes(message.issuer),
    role: roleOf(message.role),
    delegable: message.delegable,
    issuedAtMs: milliseconds(message.issuedAtMs),
    notAfterMs: milliseconds(message.notAfterMs),
    grantId: grantIdFromBytes(message.grantId),
  };
}

/** What the issuer of a link signs: label || signed. */
export function linkSigningBytes(signed: Uint8Array): Uint8Array {
  return concat([labels.credential, signed]);
}

/** @param links first one first */
export function encodeCredential(links: readonly SignedPart[]): Uint8Array {
  const message = create(CredentialSchema, {
    links: links.map(({ signed, signature }) => create(SignedLinkSchema, { signed, signature })),
  });
  return toBinary(CredentialSchema, message);
}

/**
 * @returns parts that share no memory with `bytes`, one at least
 * @throws  E_WIRE over limits.credentialBytes, not such a message, no link or more than limits.credentialLinks, a
 *          signature that is not 64 bytes
 */
export function decodeCredential(bytes: Uint8Array): readonly SignedPart[] {
  if (bytes.length > limits.credentialBytes) {
    throw new MeshError("E_WIRE", `a credential has at most ${limits.credentialBytes} bytes`);
  }
  const { links } = decodeMessage(CredentialSchema, bytes, credentialFields);
  if (links.length === 0 || links.length > limits.credentialLinks) {
    throw new MeshError("E_WIRE", `a credential has 1 to ${limits.credentialLinks} links, not ${links.length}`);
  }
  return links.map(signedPart);
}

// ---- grants

/** @returns the `signed` bytes of a SignedGrant */
export function encodeGrant(grant: Grant): Uint8Array {
  const message = create(GrantSchema, {
    authority: fromHex(grant.authority, 32),
    issuer: fromHex(grant.issuer, 32),
    id: fromHex(grant.id, 16),
    role: roleNumbers[grant.role],
    expiresMs: BigInt(grant.expiresMs),
    uses: grant.uses,
    delegable: grant.delegable,
    bearer: grant.bearer,
  });
  return toBinary(GrantSchema, message);
}

/** @throws E_WIRE not such a message, a key or id of another length, no known role, a time beyond 2^53 ms */
export function decodeGrant(signed: Uint8Array): Grant {
  const message = decodeMessage(GrantSchema, signed, partFields);
  const { bearer } = message;
  if (bearer.length !== 32) throw new MeshError("E_WIRE", `a bearer key has 32 bytes, not ${bearer.length}`);
  return {
    authority: authorityKeyFromBytes(message.authority),
    issuer: endpointIdFromBytes(message.issuer),
    id: grantIdFromBytes(message.id),
    role: roleOf(message.role),
    expiresMs: milliseconds(message.expiresMs),
    uses: message.uses,
    delegable: message.delegable,
    bearer: bearer.slice(),
  };
}

/** What the issuer of a grant signs: label || signed. */
export function grantSigningBytes(signed: Uint8Array): Uint8Array {
  return concat([labels.grant, signed]);
}

export function encodeSignedGrant({ signed, signature }: SignedPart): Uint8Array {
  return toBinary(SignedGrantSchema, create(SignedGrantSchema, { signed, signature }));
}

/**
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE over limits.grantBytes, not such a message, a signature that is not 64 bytes
 */
export function decodeSignedGrant(bytes: Uint8Array): SignedPart {
  checkGrantSize(bytes);
  return signedPart(decodeMessage(SignedGrantSchema, bytes, partFields));
}

// ---- the stream

/** What the issuer of a grant says to who wants to join by it. */
export const admissionCodes = {
  ok: 0,
  unknownGrant: 1,
  expired: 2,
  usedUp: 3,
  revoked: 4,
  notProven: 5,
  mayNotInvite: 6,
  busy: 7,
  badRequest: 8,
} as const;
export type AdmissionCode = (typeof admissionCodes)[keyof typeof admissionCodes];
/** Every way in which an issuer says no. */
export type AdmissionRefusal = Exclude<AdmissionCode, typeof admissionCodes.ok>;

export interface AdmissionRequest {
  /** SignedGrant as it stands in the invite. */
  readonly grant: Uint8Array;
  /** 32 bytes of the joiner. */
  readonly nonce: Uint8Array;
}

/** `nonce`: 32 bytes of the issuer. */
export type AdmissionChallenge =
  | { readonly code: typeof admissionCodes.ok; readonly nonce: Uint8Array }
  | { readonly code: AdmissionRefusal };

/** `credential`: encoded, not yet looked into. */
export type AdmissionReply =
  | { readonly code: typeof admissionCodes.ok; readonly credential: Uint8Array }
  | { readonly code: AdmissionRefusal };

/** What a proof is about: one joiner, one issuer, one exchange, one grant. */
export interface AdmissionContext {
  readonly joiner: EndpointId;
  readonly issuer: EndpointId;
  /** 32 bytes, both. */
  readonly joinerNonce: Uint8Array;
  readonly issuerNonce: Uint8Array;
  /** SignedGrant as sent. */
  readonly grant: Uint8Array;
}

/** What the bearer key signs: label || joiner[32] || issuer[32] || joiner's nonce[32] || issuer's nonce[32] || SHA-256(grant). */
export function proofSigningBytes({ joiner, issuer, joinerNonce, issuerNonce, grant }: AdmissionContext): Uint8Array {
  const digest = Uint8Array.from(createHash("sha256").update(grant).digest());
  return concat([labels.admission, fromHex(joiner, 32), fromHex(issuer, 32), joinerNonce, issuerNonce, digest]);
}

export function encodeAdmissionRequest({ grant, nonce }: AdmissionRequest): Uint8Array {
  return toBinary(AdmissionRequestSchema, create(AdmissionRequestSchema, { grant, nonce }));
}

/** @throws E_WIRE not such a message, a grant over limits.grantBytes, a nonce that is not 32 bytes */
export function decodeAdmissionRequest(bytes: Uint8Array): AdmissionRequest {
  const { grant, nonce } = decodeMessage(AdmissionRequestSchema, bytes, partFields);
  checkGrantSize(grant);
  return { grant: grant.slice(), nonce: nonceOf(nonce) };
}

export function encodeAdmissionChallenge(challenge: AdmissionChallenge): Uint8Array {
  const nonce = challenge.code === admissionCodes.ok ? challenge.nonce : empty;
  return toBinary(AdmissionChallengeSchema, create(AdmissionChallengeSchema, { code: challenge.code, nonce }));
}

/** @throws E_WIRE not such a message, an unknown code, no nonce of 32 bytes beside code 0 */
export function decodeAdmissionChallenge(bytes: Uint8Array): AdmissionChallenge {
  const message = decodeMessage(AdmissionChallengeSchema, bytes, partFields);
  const code = codeOf(message.code);
  return code === admissionCodes.ok ? { code, nonce: nonceOf(message.nonce) } : { code };
}

/** @param signature 64 bytes, see {@link proofSigningBytes} */
export function encodeAdmissionProof(signature: Uint8Array): Uint8Array {
  return toBinary(AdmissionProofSchema, create(AdmissionProofSchema, { signature }));
}

/** @throws E_WIRE not such a message, a signature that is not 64 bytes */
export function decodeAdmissionProof(bytes: Uint8Array): Uint8Array {
  return signatureOf(decodeMessage(AdmissionProofSchema, bytes, partFields).signature);
}

export function encodeAdmissionReply(reply: AdmissionReply): Uint8Array {
  const credential = reply.code === admissionCodes.ok ? reply.credential : empty;
  return toBinary(AdmissionReplySchema, create(AdmissionReplySchema, { code: reply.code, credential }));
}

/** @throws E_WIRE not such a message, an unknown code, a credential over limits.credentialBytes */
export function decodeAdmissionReply(bytes: Uint8Array): AdmissionReply {
  const message = decodeMessage(AdmissionReplySchema, bytes, partFields);
  const code = codeOf(message.code);
  if (code !== admissionCodes.ok) return { code };
  const { credential } = message;
  if (credential.length > limits.credentialBytes) {
    throw new MeshError("E_WIRE", `a credential has at most ${limits.credentialBytes} bytes`);
  }
  return { code, credential: credential.slice() };
}

// ---- parts of all of them

const roleNumbers = { client: 1, host: 2, relay: 3 } as const satisfies Record<MemberRole, number>;

/** A role that is not known here may be wider than any that is: nobody gets it. */
function roleOf(number: number): MemberRole {
  const role = memberRoles.find((known) => roleNumbers[known] === number);
  if (role === undefined) throw new MeshError("E_WIRE", `a member's role is none of ${memberRoles.join(", ")}`);
  return role;
}

function codeOf(number: number): AdmissionCode {
  const code = Object.values(admissionCodes).find((known) => known === number);
  if (code === undefined) throw new MeshError("E_WIRE", `an admission has code ${number}, which has no meaning`);
  return code;
}

function signedPart({ signed, signature }: SignedPart): SignedPart {
  return { signed: signed.slice(), signature: signatureOf(signature) };
}

function signatureOf(signature: Uint8Array): Uint8Array {
  if (signature.length !== 64) throw new MeshError("E_WIRE", `a signature has 64 bytes, not ${signature.length}`);
  return signature.slice();
}

function nonceOf(nonce: Uint8Array): Uint8Array {
  if (nonce.length !== 32) throw new MeshError("E_WIRE", `a nonce has 32 bytes, not ${nonce.length}`);
  return nonce.slice();
}

function checkGrantSize(grant: Uint8Array): void {
  if (grant.length > limits.grantBytes) {
    throw new MeshError("E_WIRE", `a grant has at most ${limits.grantBytes} bytes`);
  }
}

function milliseconds(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new MeshError("E_WIRE", "a time in an admission is out of range");
  return Number(value);
}

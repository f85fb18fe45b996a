/**
 * The frames of streams 0x04 and 0x05 of "sealmesh/1" (wire.md §3, §9): asking a host to prove that it holds its keys,
 * and for its evidence, either of them through a relay too. Protobuf bytes alone, see proto/sealmesh.proto; what is
 * sealed in a challenge is for attest/challenge.ts, what evidence is worth for attest/.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { empty, fromHex, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { type EvidenceItem, isWithinEvidenceLimits } from "./evidence.ts";
import {
  ChallengeAnswerSchema,
  ChallengeReplySchema,
  ChallengeRequestSchema,
  EvidenceReplySchema,
  EvidenceRequestSchema,
} from "./gen/sealmesh_pb.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";

/** What a host says, or a relay in its place; every one is a hint, and none proves anything. */
export const attestCodes = {
  ok: 0,
  unknownTarget: 1,
  unreachable: 2,
  refused: 3,
  busy: 4,
  badRequest: 5,
  /** The host has no such key, or its hardware does not answer. */
  unable: 6,
} as const;
export type AttestCode = (typeof attestCodes)[keyof typeof attestCodes];

/** Where a request goes, and where it has been. */
export interface AttestWay {
  /** Undefined: the node that gets the frame. */
  readonly target: EndpointId | undefined;
  /** Relays passed so far. */
  readonly hops: number;
}

export interface ChallengeRequest extends AttestWay {
  /** Ephemeral key[32] | nonce[24] | tag[16] | ciphertext. */
  readonly sealed: Uint8Array;
}

export interface ChallengeReply {
  readonly code: AttestCode;
  /** nonce[24] | tag[16] | ciphertext; empty with every code but ok. */
  readonly sealed: Uint8Array;
}

/** One signature over a challenge's nonce. */
export interface ChallengeProof {
  /** Of the evidence that the key belongs to. */
  readonly kind: string;
  /** SEC1 P-256, 65 bytes; whether it is a point is not looked at here. */
  readonly attestedKey: Uint8Array;
  /** DER. */
  readonly signature: Uint8Array;
}

/** A question of a kind's `residence` (attest/evidence.ts). */
export interface ResidenceAsk {
  readonly kind: string;
  readonly question: Uint8Array;
}

export interface EvidenceRequest extends AttestWay {
  /** 32 bytes to make evidence with; undefined: what there is will do. */
  readonly nonce: Uint8Array | undefined;
  readonly question: ResidenceAsk | undefined;
}

export interface EvidenceReply {
  readonly code: AttestCode;
  readonly items: readonly EvidenceItem[];
  /** Undefined: nothing was asked, or it could not be answered. */
  readonly residenceAnswer: Uint8Array | undefined;
}

const nonceBytes = 32;
/** SEC1, uncompressed. */
const attestedKeyBytes = 65;
/** Few fields suffice; unknown ones of later versions are skipped. */
const smallMessageFields = 64;
/** Fields of an item with all its collateral, and some of later versions. */
const itemFields = limits.collateralPieces + 16;

export function encodeChallengeRequest({ sealed, target, hops }: ChallengeRequest): Uint8Array {
  return toBinary(
    ChallengeRequestSchema,
    create(ChallengeRequestSchema, { sealed, target: targetBytes(target), hops }),
  );
}

/** @returns parts that share no memory with `bytes` · @throws E_WIRE, also for more than limits.challengeSealedBytes */
export function decodeChallengeRequest(bytes: Uint8Array): ChallengeRequest {
  const { sealed, target, hops } = decodeMessage(ChallengeRequestSchema, bytes, smallMessageFields);
  if (sealed.length > limits.challengeSealedBytes) throw malformed("a challenge is too long");
  return { sealed: sealed.slice(), target: targetFrom(target), hops };
}

export function encodeChallengeReply({ code, sealed }: ChallengeReply): Uint8Array {
  return toBinary(ChallengeReplySchema, create(ChallengeReplySchema, { code, sealed }));
}

/**
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE, also for a code without a meaning, and for bytes with another code than ok or none with it
 */
export function decodeChallengeReply(bytes: Uint8Array): ChallengeReply {
  const reply = decodeMessage(ChallengeReplySchema, bytes, smallMessageFields);
  const code = codeFrom(reply.code);
  if (reply.sealed.length > limits.challengeSealedBytes) throw malformed("the answer to a challenge is too long");
  if ((code === attestCodes.ok) !== reply.sealed.length > 0) {
    throw malformed(`a reply with code ${code} and ${reply.sealed.length} bytes`);
  }
  return { code, sealed: reply.sealed.slice() };
}

/** @param proofs at most limits.proofsPerAnswer */
export function encodeChallengeAnswer(proofs: readonly ChallengeProof[]): Uint8Array {
  return toBinary(ChallengeAnswerSchema, create(ChallengeAnswerSchema, { proofs: [...proofs] }));
}

/**
 * @returns proofs that share no memory with `bytes`
 * @throws  E_WIRE, also for too many proofs, a key of another length, a kind or a signature that is too long
 */
export function decodeChallengeAnswer(bytes: Uint8Array): ChallengeProof[] {
  const { proofs } = decodeMessage(ChallengeAnswerSchema, bytes, limits.proofsPerAnswer * 8 + smallMessageFields);
  if (proofs.length > limits.proofsPerAnswer) throw malformed("a challenge was answered with too many proofs");
  return proofs.map(({ kind, attestedKey, signature }) => {
    checkKind(kind);
    if (attestedKey.length !== attestedKeyBytes) throw malformed(`an attested key of ${attestedKey.length} bytes`);
    if (signature.length > limits.proofSignatureBytes) throw malformed("a signature is too long");
    return { kind, attestedKey: attestedKey.slice(), signature: signature.slice() };
  });
}

export function encodeEvidenceRequest({ nonce, target, hops, question }: EvidenceRequest): Uint8Array {
  const message = create(EvidenceRequestSchema, {
    nonce: nonce ?? empty,
    target: targetBytes(target),
    hops,
    ...(question ? { question } : {}),
  });
  return toBinary(EvidenceRequestSchema, message);
}

/** @returns parts that share no memory with `bytes` · @throws E_WIRE, also for a nonce of another length than 0 or 32 */
export function decodeEvidenceRequest(bytes: Uint8Array): EvidenceRequest {
  const { nonce, target, hops, question } = decodeMessage(EvidenceRequestSchema, bytes, smallMessageFields);
  if (nonce.length !== 0 && nonce.length !== nonceBytes) throw malformed(`a nonce of ${nonce.length} bytes`);
  if (question) {
    checkKind(question.kind);
    if (question.question.length > limits.residenceBytes) throw malformed("a question is too long");
  }
  return {
    nonce: nonce.length === 0 ? undefined : nonce.slice(),
    target: targetFrom(target),
    hops,
    question: question && { kind: question.kind, question: question.question.slice() },
  };
}

/** @param reply at most limits.evidencePerReply items, all of which keep the bounds of an item */
export function encodeEvidenceReply({ code, items, residenceAnswer }: EvidenceReply): Uint8Array {
  const message = create(EvidenceReplySchema, {
    code,
    items: items.map((item) => ({
      ...item,
      collateral: [...item.collateral],
      issuedAtMs: BigInt(item.issuedAtMs),
    })),
    residenceAnswer: residenceAnswer ?? empty,
  });
  return toBinary(EvidenceReplySchema, message);
}

/**
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE, also for a code without a meaning, too many items, one with a part beyond its bound, and content with
 *          another code than ok
 */
export function decodeEvidenceReply(bytes: Uint8Array): EvidenceReply {
  const fields = limits.evidencePerReply * itemFields + smallMessageFields;
  const reply = decodeMessage(EvidenceReplySchema, bytes, fields);
  const code = codeFrom(reply.code);
  const { residenceAnswer } = reply;
  if (reply.items.length > limits.evidencePerReply) throw malformed("a reply has too many items of evidence");
  if (residenceAnswer.length > limits.residenceBytes) throw malformed("the answer to a question is too long");
  if (code !== attestCodes.ok && reply.items.length + residenceAnswer.length > 0) {
    throw malformed(`a reply with code ${code} and evidence`);
  }
  const items = reply.items.map(({ kind, version, evidence, collateral, issuedAtMs }) => {
    checkKind(kind);
    if (issuedAtMs > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed("a time is too large");
    const item = { kind, version, evidence, collateral, issuedAtMs: Number(issuedAtMs) };
    if (!isWithinEvidenceLimits(item)) throw malformed("an item of evidence is too large");
    return { ...item, evidence: evidence.slice(), collateral: collateral.map((piece) => piece.slice()) };
  });
  return { code, items, residenceAnswer: residenceAnswer.length === 0 ? undefined : residenceAnswer.slice() };
}

function targetBytes(target: EndpointId | undefined): Uint8Array {
  return target === undefined ? empty : fromHex(target, 32);
}

function targetFrom(bytes: Uint8Array): EndpointId | undefined {
  return bytes.length === 0 ? undefined : endpointIdFromBytes(bytes);
}

function codeFrom(found: number): AttestCode {
  const code = Object.values(attestCodes).find((known) => known === found);
  if (code === undefined) throw malformed(`code ${found} has no meaning`);
  return code;
}

function checkKind(kind: string): void {
  if (utf8(kind).length > limits.nameBytes) throw malformed("the kind of evidence is no name");
}

function malformed(what: string): MeshError {
  return new MeshError("E_WIRE", `a frame about evidence is malformed: ${what}`);
}

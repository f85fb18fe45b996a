/**
 * SignedRecord: what a node says of itself under its endpoint key, its inference key above all (wire.md §2). Bytes and
 * fields only; signatures and times are checked in crypto/.
 *
 *   SignedRecord = protobuf {1 signed, 2 signature[64]}       at most 16 KiB
 *   signature    = Ed25519(endpoint key, "sealmesh-record-v1\0" || signed)
 *   signed       = protobuf Record, see proto/sealmesh.proto
 *
 * The protobuf need not be canonical: keep and pass on `signed` as it came, never encode a decoded record again.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { concat, fromHex, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { type RecordModel as RecordModelMessage, RecordSchema, SignedRecordSchema } from "./gen/sealmesh_pb.ts";
import { isModelName, isName, type Role } from "./gossip.ts";
import { labels } from "./labels.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";

export interface RecordFields {
  readonly endpointId: EndpointId;
  /** u64; the highest valid one of a node wins. */
  readonly seq: bigint;
  /** Unix ms. */
  readonly issuedAtMs: number;
  /** Unix ms. */
  readonly notAfterMs: number;
  /** 32 bytes X25519; undefined = nothing can be sealed to this node. */
  readonly inferenceKey: Uint8Array | undefined;
  /** Unix ms; undefined = as long as the record. */
  readonly keyNotAfterMs: number | undefined;
  readonly capabilities: readonly string[];
  /** What it serves and how busy that is; absent = it says nothing of its models. */
  readonly models?: readonly RecordModel[];
  /** A SecurityPosture as it came, see posture.ts: not looked into here; absent = not told. */
  readonly posture?: Uint8Array;
  /** What it is in the mesh; absent = not told. */
  readonly role?: Role;
  /** Its program's, as in gossip. */
  readonly version?: string;
  /** For people. */
  readonly name?: string;
  /** 32 bytes: SHA-256 of the serialized address that belongs to this record. */
  readonly addressDigest?: Uint8Array;
  /** How it was admitted, see admission.ts: not looked into here; absent = it was not, or need not be. */
  readonly credential?: Uint8Array;
  /** Ids of its grants that it has taken back, 16 bytes each. */
  readonly revokedGrants?: readonly Uint8Array[];
}

export interface RecordModel {
  readonly name: string;
  /** Tokens of one request, prompt and answer together; undefined = not told. */
  readonly context: number | undefined;
  /** No place is free: a further exchange waits or is sent away. */
  readonly busy: boolean;
  /** Exchanges that wait for a place. */
  readonly queue: number;
  /** What it is known to do; empty = not told. Names that are not known here are left out. */
  readonly kinds: readonly ModelKind[];
}

export const modelKinds = ["chat", "vision", "audio", "embeddings"] as const;
/** What a model can be asked for; vision and audio mean chat with such parts. */
export type ModelKind = (typeof modelKinds)[number];

export interface SignedRecordParts {
  /** The bytes of a Record. */
  readonly signed: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** @returns the `signed` bytes */
export function encodeRecord(fields: RecordFields): Uint8Array {
  const { inferenceKey, keyNotAfterMs, posture } = fields;
  const message = create(RecordSchema, {
    endpointId: fromHex(fields.endpointId, 32),
    seq: fields.seq,
    issuedAtMs: BigInt(fields.issuedAtMs),
    notAfterMs: BigInt(fields.notAfterMs),
    ...(inferenceKey === undefined ? {} : { inferenceKey }),
    ...(keyNotAfterMs === undefined ? {} : { keyNotAfterMs: BigInt(keyNotAfterMs) }),
    capabilities: [...fields.capabilities],
    models: (fields.models ?? []).map(({ name, context, busy, queue, kinds }) => ({
      name,
      ...(context === undefined ? {} : { context }),
      busy: busy ? 1 : 0,
      queue,
      kinds: [...kinds],
    })),
    ...(posture === undefined ? {} : { posture }),
    role: fields.role === undefined ? 0 : roleNumbers[fields.role],
    ...(fields.version === undefined ? {} : { version: fields.version }),
    ...(fields.name === undefined ? {} : { name: fields.name }),
    ...(fields.addressDigest === undefined ? {} : { addressDigest: fields.addressDigest }),
    ...(fields.credential === undefined ? {} : { credential: fields.credential }),
    revokedGrants: [...(fields.revokedGrants ?? [])],
  });
  return toBinary(RecordSchema, message);
}

/**
 * @param signed at most limits.recordBytes; the result shares no memory with it
 * @throws       E_WIRE not such a message, a key that is not 32 bytes, a time beyond 2^53 ms, too many capabilities, models or
 *               revoked grants, a posture or a credential that is too long, an id or a digest of another length
 */
export function decodeRecord(signed: Uint8Array): RecordFields {
  checkSize(signed);
  const message = decodeMessage(RecordSchema, signed, limits.recordBytes);
  const { inferenceKey, keyNotAfterMs, capabilities } = message;
  if (inferenceKey !== undefined && inferenceKey.length !== 32) {
    throw new MeshError("E_WIRE", `an inference key has 32 bytes, not ${inferenceKey.length}`);
  }
  if (
    capabilities.length > limits.capabilitiesPerRecord ||
    capabilities.some((name) => utf8(name).length > limits.nameBytes)
  ) {
    throw new MeshError("E_WIRE", "a record has too many or too long capabilities");
  }
  const { models } = message;
  if (models.length > limits.modelsPerRecord || models.some(({ name }) => utf8(name).length > limits.nameBytes)) {
    throw new MeshError("E_WIRE", "a record has too many models or too long names");
  }
  const { posture } = message;
  if (posture !== undefined && posture.length > limits.postureBytes) {
    throw new MeshError("E_WIRE", `the posture in a record has more than ${limits.postureBytes} bytes`);
  }
  const { credential, revokedGrants, addressDigest, version, name } = message;
  if (credential !== undefined && credential.length > limits.credentialBytes) {
    throw new MeshError("E_WIRE", `the credential in a record has more than ${limits.credentialBytes} bytes`);
  }
  if (revokedGrants.length > limits.revokedGrantsPerRecord || revokedGrants.some((id) => id.length !== 16)) {
    throw new MeshError("E_WIRE", "a record has too many revoked grants, or one whose id has not 16 bytes");
  }
  if (addressDigest !== undefined && addressDigest.length !== 32) {
    throw new MeshError("E_WIRE", "the digest of an address has 32 bytes");
  }
  const names = new Set<string>();
  // as in gossip: unclean names are skipped, and one counts once
  const named = models.filter(({ name: model }) => isModelName(model) && !names.has(model) && names.add(model));
  const role = roles.find((known) => roleNumbers[known] === message.role);
  return {
    endpointId: endpointIdFromBytes(message.endpointId),
    seq: message.seq,
    issuedAtMs: milliseconds(message.issuedAtMs),
    notAfterMs: milliseconds(message.notAfterMs),
    inferenceKey: inferenceKey?.slice(),
    keyNotAfterMs: keyNotAfterMs === undefined ? undefined : milliseconds(keyNotAfterMs),
    capabilities,
    ...(named.length === 0 ? {} : { models: named.map(modelOf) }),
    ...(posture === undefined ? {} : { posture: posture.slice() }),
    ...(role === undefined ? {} : { role }),
    ...(version !== undefined && isName(version) ? { version } : {}),
    ...(name !== undefined && isName(name) ? { name } : {}),
    ...(addressDigest === undefined ? {} : { addressDigest: addressDigest.slice() }),
    ...(credential === undefined ? {} : { credential: credential.slice() }),
    ...(revokedGrants.length === 0 ? {} : { revokedGrants: revokedGrants.map((id) => id.slice()) }),
  };
}

/** As NodeRole of the reference (protocol.md §3.2). */
const roleNumbers = { worker: 1, host: 2, client: 3 } as const;
const roles = ["worker", "host", "client"] as const;

function modelOf({ name, context, busy, queue, kinds }: RecordModelMessage): RecordModel {
  return { name, context, busy: busy > 0, queue, kinds: modelKinds.filter((kind) => kinds.includes(kind)) };
}

/** @returns the SignedRecord as it goes into gossip and record replies */
export function encodeSignedRecord(parts: SignedRecordParts): Uint8Array {
  return toBinary(SignedRecordSchema, create(SignedRecordSchema, { signed: parts.signed, signature: parts.signature }));
}

/**
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE over limits.recordBytes, not such a message, a signature that is not 64 bytes
 */
export function decodeSignedRecord(bytes: Uint8Array): SignedRecordParts {
  checkSize(bytes);
  const { signed, signature } = decodeMessage(SignedRecordSchema, bytes, 64);
  if (signature.length !== 64) throw new MeshError("E_WIRE", `a signature has 64 bytes, not ${signature.length}`);
  return { signed: signed.slice(), signature: signature.slice() };
}

/** What the endpoint key signs: label || signed. */
export function recordSigningBytes(signed: Uint8Array): Uint8Array {
  return concat([labels.record, signed]);
}

function checkSize(bytes: Uint8Array): void {
  if (bytes.length > limits.recordBytes) {
    throw new MeshError("E_WIRE", `a record has more than ${limits.recordBytes} bytes`);
  }
}

function milliseconds(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new MeshError("E_WIRE", "a time in a record is out of range");
  return Number(value);
}

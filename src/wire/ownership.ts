/**
 * The reference's claim that a node belongs to an owner (protocol.md §10), field 28 of an announcement. Bytes and fields
 * only: whether a claim holds is for policy/owners.ts. Nothing here writes one for a node of ours.
 *
 *   SignedNodeOwnership = protobuf, see proto/node.proto            at most limits.ownershipBytes
 *   signed = "mesh-llm-node-ownership-v1:" | version u32 LE | str(cert id) | str(owner id) | owner key[32] | node id[32]
 *            | issued ms u64 LE | expires ms u64 LE | opt(label) | opt(hostname hint)
 *   str(x) = u64 LE length | UTF-8, other than in the reference's evidence, whose lengths are u32    opt = 0 | 1 str(x)
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { concat, fromHex, u32le, u64le, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { SignedNodeOwnershipSchema } from "./gen/node_pb.ts";
import { labels } from "./labels.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";

export interface OwnershipClaim {
  readonly version: number;
  readonly certId: string;
  /** As it says itself; the owner's id is what its key says. */
  readonly ownerId: string;
  /** 32 bytes, Ed25519. */
  readonly ownerKey: Uint8Array;
  readonly node: EndpointId;
  /** Unix ms, u64. */
  readonly issuedAtMs: bigint;
  /** Unix ms, u64. */
  readonly expiresAtMs: bigint;
  readonly nodeLabel: string | undefined;
  readonly hostnameHint: string | undefined;
}

export interface SignedOwnership {
  readonly claim: OwnershipClaim;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** Ten fields, and room for those of later versions. */
const ownershipFields = 32;

/** What the owner's key signs. */
export function ownershipBytes(claim: OwnershipClaim): Uint8Array {
  return concat([
    labels.nodeOwnership,
    u32le(claim.version),
    text(claim.certId),
    text(claim.ownerId),
    claim.ownerKey,
    fromHex(claim.node, 32),
    u64le(claim.issuedAtMs),
    u64le(claim.expiresAtMs),
    optional(claim.nodeLabel),
    optional(claim.hostnameHint),
  ]);
}

function text(value: string): Uint8Array {
  const bytes = utf8(value);
  return concat([u64le(BigInt(bytes.length)), bytes]);
}

function optional(value: string | undefined): Uint8Array {
  return value === undefined ? Uint8Array.of(0) : concat([Uint8Array.of(1), text(value)]);
}

/** @returns the protobuf of field 28 */
export function encodeOwnership({ claim, signature }: SignedOwnership): Uint8Array {
  const { version, certId, ownerId, ownerKey, node, issuedAtMs, expiresAtMs, nodeLabel, hostnameHint } = claim;
  const message = create(SignedNodeOwnershipSchema, {
    version,
    certId,
    ownerId,
    ownerSignPublicKey: ownerKey,
    nodeEndpointId: fromHex(node, 32),
    issuedAtUnixMs: issuedAtMs,
    expiresAtUnixMs: expiresAtMs,
    ...(nodeLabel === undefined ? {} : { nodeLabel }),
    ...(hostnameHint === undefined ? {} : { hostnameHint }),
    signature,
  });
  return toBinary(SignedNodeOwnershipSchema, message);
}

/**
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE over limits.ownershipBytes, not such a message, a key or an id that is not 32 bytes, a signature that is
 *          not 64
 */
export function decodeOwnership(bytes: Uint8Array): SignedOwnership {
  if (bytes.length > limits.ownershipBytes) {
    throw new MeshError("E_WIRE", `a claim of an owner has at most ${limits.ownershipBytes} bytes`);
  }
  const message = decodeMessage(SignedNodeOwnershipSchema, bytes, ownershipFields);
  const { ownerSignPublicKey: ownerKey, signature } = message;
  if (ownerKey.length !== 32) throw new MeshError("E_WIRE", `an owner's key has 32 bytes, not ${ownerKey.length}`);
  if (signature.length !== 64) throw new MeshError("E_WIRE", `a signature has 64 bytes, not ${signature.length}`);
  return {
    claim: {
      version: message.version,
      certId: message.certId,
      ownerId: message.ownerId,
      ownerKey: ownerKey.slice(),
      node: endpointIdFromBytes(message.nodeEndpointId),
      issuedAtMs: message.issuedAtUnixMs,
      expiresAtMs: message.expiresAtUnixMs,
      nodeLabel: message.nodeLabel,
      hostnameHint: message.hostnameHint,
    },
    signature: signature.slice(),
  };
}

/**
 * Whose machine a node is, by the reference's signed claim (protocol.md §10). Pure. A claim can be copied by anyone, but
 * names one endpoint id, and who answers under that id is proved by the connection and by the sealing. It says nothing of
 * the machine. Claims that were taken back are not known here: one holds until it expires.
 */
import { createHash } from "node:crypto";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { toHex } from "../base/bytes.ts";
import { unlessMeshError } from "../base/errors.ts";
import { verifySignature } from "../crypto/identity.ts";
import { decodeOwnership, ownershipBytes } from "../wire/ownership.ts";

export type Ownership =
  /** `owner`: 64 lower-case hex digits, SHA-256 of the owner's key. */
  | { readonly kind: "owned"; readonly owner: string }
  /** It shows no claim. */
  | { readonly kind: "none" }
  /** It shows one that does not hold; `why` in our own words. */
  | { readonly kind: "refused"; readonly why: string };

/** The one version there is. */
const claimVersion = 1;

/** @param bytes field 28 as sent; undefined or empty: none was */
export function ownerOf(bytes: Uint8Array | undefined, id: EndpointId, nowMs: number): Ownership {
  if (bytes === undefined || bytes.length === 0) return { kind: "none" };
  const signed = unlessMeshError(() => decodeOwnership(bytes));
  if (signed === undefined) return refused("it is malformed");
  const { claim, signature } = signed;
  if (claim.version !== claimVersion) return refused("it is of a version that is not known here");
  if (claim.node !== id) return refused("it is for another node");
  const owner = ownerIdOf(claim.ownerKey);
  if (claim.ownerId !== owner) return refused("its owner's id does not belong to its owner's key");
  // a key of low order would sign for anyone, but nobody lists an owner who has one
  if (!verifySignature(endpointIdFromBytes(claim.ownerKey), ownershipBytes(claim), signature)) {
    return refused("its signature does not hold");
  }
  if (BigInt(Math.floor(nowMs)) >= claim.expiresAtMs) return refused("it has expired");
  return { kind: "owned", owner };
}

/** @param ownerKey 32 bytes, Ed25519 */
export function ownerIdOf(ownerKey: Uint8Array): string {
  return toHex(createHash("sha256").update(ownerKey).digest());
}

function refused(why: string): Ownership {
  return { kind: "refused", why };
}

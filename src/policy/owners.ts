/**
 * Whose machine a node is, by the reference's signed claim (protocol.md §10), and whether that is enough for us. Pure. A claim
 * can be copied by anyone, but names one endpoint id, and who answers under that id is proved by the connection and by the
 * sealing. It says nothing of the machine. Called by node/ownership.ts, which keeps what is trusted and what was read.
 */
import { createHash } from "node:crypto";
import type { EndpointId } from "../base/brand.ts";
import { toHex } from "../base/bytes.ts";
import { unlessMeshError } from "../base/errors.ts";
import { verifyByKey } from "../crypto/identity.ts";
import { decodeOwnership, ownershipBytes, type OwnershipClaim } from "../wire/ownership.ts";

/** The reference's words, in the order in which it looks (protocol.md §10). */
export const ownerStatuses = [
  "unsigned",
  "unsupported_protocol",
  "mismatched_node_id",
  "invalid_signature",
  "expired",
  "revoked_owner",
  "revoked_cert",
  "revoked_node_id",
  "untrusted_owner",
  "verified",
] as const;
export type OwnerStatus = (typeof ownerStatuses)[number];

/**
 * off: owners do not matter · prefer-owned: those that were revoked are refused, hosts of known owners are asked first ·
 * require-owned: some owner's claim must hold · allowlist: the claim of a trusted one.
 */
export const trustPolicies = ["off", "prefer-owned", "require-owned", "allowlist"] as const;
export type TrustPolicy = (typeof trustPolicies)[number];

/** What an operator says about owners. Owner ids and certificate ids in the form that claims have them. */
export interface OwnerTrust {
  readonly policy: TrustPolicy;
  readonly trusted: ReadonlySet<string>;
  readonly revokedOwners: ReadonlySet<string>;
  readonly revokedCerts: ReadonlySet<string>;
  readonly revokedNodes: ReadonlySet<EndpointId>;
}

/** Of an operator who said nothing at all. */
export const noOwnerTrust: OwnerTrust = {
  policy: "off",
  trusted: new Set(),
  revokedOwners: new Set(),
  revokedCerts: new Set(),
  revokedNodes: new Set(),
};

/** What can be said of a claim without knowing the time or whom we trust: dear to find out, and true for ever. */
export type ReadClaim =
  /** There is none, or nothing that it says is its owner's. */
  | {
      readonly kind: "worthless";
      readonly status: "unsigned" | "unsupported_protocol" | "mismatched_node_id" | "invalid_signature";
    }
  /** `claim` is what the key of `owner` signed, for this node. */
  | { readonly kind: "signed"; readonly owner: string; readonly claim: OwnershipClaim };

export interface OwnerVerdict {
  readonly status: OwnerStatus;
  /** 64 lower-case hex digits, SHA-256 of the owner's key; undefined: nobody has signed that the node is theirs. */
  readonly owner: string | undefined;
  /** What the owner signed; texts in it are the owner's, whoever that is. */
  readonly claim: OwnershipClaim | undefined;
  /** Why the peer is refused, in our own words; undefined: it is not. */
  readonly refusal: string | undefined;
}

/** What a node knows of owners, for those who decide about peers: node/ownership.ts. */
export interface OwnerJudge {
  /** @param bytes field 28 of the peer as the mesh keeps it */
  judge(id: EndpointId, bytes: Uint8Array | undefined): OwnerVerdict;
  /** Whether hosts of that owner are asked before others. */
  prefers(verdict: OwnerVerdict): boolean;
}

/** The one version there is. */
export const claimVersion = 1;

/** @param bytes field 28 as sent; undefined or empty: none was */
export function readClaim(bytes: Uint8Array | undefined, id: EndpointId): ReadClaim {
  if (bytes === undefined || bytes.length === 0) return { kind: "worthless", status: "unsigned" };
  const signed = unlessMeshError(() => decodeOwnership(bytes));
  if (signed === undefined) return { kind: "worthless", status: "invalid_signature" };
  const { claim, signature } = signed;
  if (claim.version !== claimVersion) return { kind: "worthless", status: "unsupported_protocol" };
  if (claim.node !== id) return { kind: "worthless", status: "mismatched_node_id" };
  const owner = ownerIdOf(claim.ownerKey);
  const holds = claim.ownerId === owner && verifyByKey(claim.ownerKey, ownershipBytes(claim), signature);
  return holds ? { kind: "signed", owner, claim } : { kind: "worthless", status: "invalid_signature" };
}

/** What a claim amounts to here and now. */
export function judgeClaim(read: ReadClaim, id: EndpointId, trust: OwnerTrust, nowMs: number): OwnerVerdict {
  const { owner, claim } = read.kind === "signed" ? read : { owner: undefined, claim: undefined };
  const status = statusOf(read, id, trust, nowMs);
  return { status, owner, claim, refusal: refusalFor(status, read, id, trust) };
}

/** @param bytes field 28 as sent; undefined or empty: none was */
export function judgeOwner(
  bytes: Uint8Array | undefined,
  id: EndpointId,
  trust: OwnerTrust,
  nowMs: number,
): OwnerVerdict {
  return judgeClaim(readClaim(bytes, id), id, trust, nowMs);
}

/** @param ownerKey 32 bytes, Ed25519 */
export function ownerIdOf(ownerKey: Uint8Array): string {
  return toHex(createHash("sha256").update(ownerKey).digest());
}

function statusOf(read: ReadClaim, id: EndpointId, trust: OwnerTrust, nowMs: number): OwnerStatus {
  if (read.kind === "worthless") return read.status;
  const { owner, claim } = read;
  if (BigInt(Math.floor(nowMs)) >= claim.expiresAtMs) return "expired";
  if (trust.revokedOwners.has(owner)) return "revoked_owner";
  if (trust.revokedCerts.has(claim.certId)) return "revoked_cert";
  if (trust.revokedNodes.has(id)) return "revoked_node_id";
  if (trust.policy === "allowlist" && !trust.trusted.has(owner)) return "untrusted_owner";
  return "verified";
}

/**
 * What was revoked is refused under every policy but `off`, other than in the reference. It does not help a node that it
 * lets its claim end, or shows none any more although its own id was revoked.
 */
function refusalFor(status: OwnerStatus, read: ReadClaim, id: EndpointId, trust: OwnerTrust): string | undefined {
  if (trust.policy === "off") return undefined;
  if (trust.revokedNodes.has(id)) return "the node was revoked";
  if (read.kind === "signed" && trust.revokedOwners.has(read.owner)) return "its owner was revoked";
  if (read.kind === "signed" && trust.revokedCerts.has(read.claim.certId)) return "its owner's claim was revoked";
  if (trust.policy === "prefer-owned" || status === "verified") return undefined;
  return ownerStatusTexts[status];
}

/** What each status says of a node. */
export const ownerStatusTexts: Readonly<Record<OwnerStatus, string>> = {
  unsigned: "no owner has signed that the node is theirs",
  unsupported_protocol: "its owner's claim is of a version that is not known here",
  mismatched_node_id: "the claim that it shows is for another node",
  invalid_signature: "the claim that it shows was not signed by the owner that it names",
  expired: "its owner's claim has expired",
  revoked_owner: "its owner was revoked",
  revoked_cert: "its owner's claim was revoked",
  revoked_node_id: "the node was revoked",
  untrusted_owner: "its owner is not on the list of trusted ones",
  verified: "its owner has signed that the node is theirs",
};

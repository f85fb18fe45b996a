/** Owners and their claims for tests: keys from one byte, and claims that say what a test wants them to say. */
import { endpointId, type EndpointId } from "../../src/base/brand.ts";
import { fromHex } from "../../src/base/bytes.ts";
import { type Identity, identityFrom } from "../../src/crypto/identity.ts";
import { ownerIdOf, type OwnerTrust } from "../../src/policy/owners.ts";
import { encodeOwnership, ownershipBytes, type OwnershipClaim } from "../../src/wire/ownership.ts";

export interface TestOwner {
  readonly id: string;
  readonly key: Uint8Array;
  readonly identity: Identity;
}

export function ownerFrom(byte: number): TestOwner {
  const identity = identityFrom(new Uint8Array(32).fill(byte));
  const key = fromHex(identity.id, 32);
  return { id: ownerIdOf(key), key, identity };
}

export const nodeId = (byte: number): EndpointId => endpointId(byte.toString(16).padStart(2, "0").repeat(32));

/** Signed rightly, whatever it says; for an hour around `nowMs`, under a certificate id of 32 ones. */
export function claimOf(
  owner: TestOwner,
  node: EndpointId,
  nowMs: number,
  says: Partial<OwnershipClaim> = {},
): Uint8Array {
  const claim: OwnershipClaim = {
    version: 1,
    certId: "11".repeat(16),
    ownerId: owner.id,
    ownerKey: owner.key,
    node,
    issuedAtMs: BigInt(nowMs - 1_800_000),
    expiresAtMs: BigInt(nowMs + 1_800_000),
    nodeLabel: undefined,
    hostnameHint: undefined,
    ...says,
  };
  return encodeOwnership({ claim, signature: owner.identity.sign(ownershipBytes(claim)) });
}

export const trusting = (changes: Partial<OwnerTrust>): OwnerTrust => ({
  policy: "prefer-owned",
  trusted: new Set(),
  revokedOwners: new Set(),
  revokedCerts: new Set(),
  revokedNodes: new Set(),
  ...changes,
});

/** Owners and their claims for tests: keys from one byte, and claims that say what a test wants them to say. */
import { join } from "node:path";
import { endpointId, type EndpointId } from "../../src/base/brand.ts";
import { fromHex } from "../../src/base/bytes.ts";
import { type Identity, identityFrom } from "../../src/crypto/identity.ts";
import { newOwnerKey, writeOwnerKey } from "../../src/node/owner-key.ts";
import { openOwnerBook } from "../../src/node/ownership.ts";
import { type OwnerList, withListed } from "../../src/policy/owner-book.ts";
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

/** A key file without a passphrase, as `sealmesh owner init --no-passphrase` makes it. */
export function ownerKeyFile(directory: string): { readonly path: string; readonly ownerId: string } {
  const path = join(directory, "owner-key.json");
  const key = newOwnerKey(undefined);
  writeOwnerKey(path, key);
  return { path, ownerId: key.ownerId };
}

/** As `sealmesh owner trust` and `revoke` do beside a node that runs. */
export function listOwner(directory: string, list: OwnerList, id: string): void {
  openOwnerBook(directory).update((book) => withListed(book, list, id));
}

export const trusting = (changes: Partial<OwnerTrust>): OwnerTrust => ({
  policy: "prefer-owned",
  trusted: new Set(),
  revokedOwners: new Set(),
  revokedCerts: new Set(),
  revokedNodes: new Set(),
  ...changes,
});

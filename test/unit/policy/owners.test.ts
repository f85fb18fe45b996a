/** Owners: the reference's claim holds as it was made for this node and this time, and in no other way. */
import { describe, expect, it } from "vitest";
import { fromHex } from "../../../src/base/bytes.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { identityFrom } from "../../../src/crypto/identity.ts";
import { ownerIdOf, ownerOf } from "../../../src/policy/owners.ts";
import { encodeOwnership, ownershipBytes, type OwnershipClaim } from "../../../src/wire/ownership.ts";
import vectors from "../../vectors/mesh-llm.json" with { type: "json" };

const vector = vectors.ownership;
const node = endpointId(vector.node_endpoint_id_hex);
const other = endpointId("43".repeat(32));
const ownerKey = fromHex(vector.owner_sign_public_key_hex, 32);
const seed = fromHex(vector.ed25519_seed_hex, 32);
const inTime = vector.expires_at_unix_ms - 1;

const claim: OwnershipClaim = {
  version: 1,
  certId: vector.cert_id,
  ownerId: vector.owner_id_hex,
  ownerKey,
  node,
  issuedAtMs: BigInt(vector.issued_at_unix_ms),
  expiresAtMs: BigInt(vector.expires_at_unix_ms),
  nodeLabel: vector.node_label,
  hostnameHint: undefined,
};
const signed = encodeOwnership({ claim, signature: fromHex(vector.signature_hex) });

/** A claim that says something else and is signed rightly, or with a signature of its own. */
function made(changes: Partial<OwnershipClaim>, signature?: Uint8Array): Uint8Array {
  const changed = { ...claim, ...changes };
  return encodeOwnership({
    claim: changed,
    signature: signature ?? identityFrom(seed).sign(ownershipBytes(changed)),
  });
}

it("the reference's claim names its owner", () => {
  expect(ownerIdOf(ownerKey)).toBe(vector.owner_id_hex);
  expect(ownerOf(signed, node, inTime)).toEqual({ kind: "owned", owner: vector.owner_id_hex });
  expect(ownerOf(made({}), node, inTime)).toEqual({ kind: "owned", owner: vector.owner_id_hex });
});

it("no claim is none", () => {
  expect(ownerOf(undefined, node, inTime)).toEqual({ kind: "none" });
  expect(ownerOf(new Uint8Array(), node, inTime)).toEqual({ kind: "none" });
});

describe("a claim that does not hold", () => {
  const otherKey = fromHex(identityFrom(new Uint8Array(32).fill(5)).id);

  it.each<[string, Uint8Array]>([
    ["it is malformed", Uint8Array.of(1, 2, 3)],
    ["it is of a version that is not known here", made({ version: 2 })],
    ["it is for another node", made({ node: other })],
    ["its owner's id does not belong to its owner's key", made({ ownerId: "00".repeat(32) })],
    ["its owner's id does not belong to its owner's key", made({ ownerId: vector.owner_id_hex.toUpperCase() })],
    ["its signature does not hold", made({ ownerKey: otherKey, ownerId: ownerIdOf(otherKey) })],
    ["its signature does not hold", made({ nodeLabel: undefined }, fromHex(vector.signature_hex))],
    ["its signature does not hold", made({ hostnameHint: "" }, fromHex(vector.signature_hex))],
    ["its signature does not hold", made({ expiresAtMs: claim.expiresAtMs + 1n }, fromHex(vector.signature_hex))],
  ])("%s", (why, bytes) => {
    expect(ownerOf(bytes, node, inTime)).toEqual({ kind: "refused", why });
  });

  it("a claim of one node, copied by another", () => {
    expect(ownerOf(signed, other, inTime)).toEqual({ kind: "refused", why: "it is for another node" });
  });

  it("every byte of the signature counts", () => {
    const signature = fromHex(vector.signature_hex);
    for (let at = 0; at < signature.length; at += 1) {
      const flipped = signature.map((byte, index) => (index === at ? byte ^ 1 : byte));
      expect(ownerOf(made({}, flipped), node, inTime).kind).toBe("refused");
    }
  });

  it("a signature whose scalar was raised by the group's order", () => {
    // s + L signs the same where a verifier reduces it, and would make a second form of one claim
    const order = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
    const signature = fromHex(vector.signature_hex);
    const scalar = signature.subarray(32).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n) + order;
    const raised = Uint8Array.from({ length: 32 }, (_, at) => Number((scalar >> BigInt(8 * at)) & 0xffn));
    signature.set(raised, 32);
    expect(ownerOf(made({}, signature), node, inTime)).toMatchObject({ why: "its signature does not hold" });
  });

  it("ends at its own time", () => {
    expect(ownerOf(signed, node, vector.expires_at_unix_ms)).toEqual({ kind: "refused", why: "it has expired" });
    expect(ownerOf(signed, node, inTime + 0.5).kind).toBe("owned");
  });

  it("the largest times are times", () => {
    expect(ownerOf(made({ expiresAtMs: 2n ** 64n - 1n }), node, inTime).kind).toBe("owned");
  });
});

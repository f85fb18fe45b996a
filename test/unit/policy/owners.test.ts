/** Owners: a claim holds as it was made for this node and this time, in no other way, and each policy asks what it says. */
import { createPublicKey, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { fromHex } from "../../../src/base/bytes.ts";
import { identityFrom } from "../../../src/crypto/identity.ts";
import {
  judgeOwner,
  noOwnerTrust,
  ownerIdOf,
  ownerStatuses,
  type OwnerStatus,
  type OwnerTrust,
  type OwnerVerdict,
  trustPolicies,
} from "../../../src/policy/owners.ts";
import { encodeOwnership, ownershipBytes, type OwnershipClaim } from "../../../src/wire/ownership.ts";
import { claimOf, nodeId, ownerFrom, trusting } from "../../support/owners.ts";
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

const judge = (bytes: Uint8Array | undefined, trust: OwnerTrust = noOwnerTrust, nowMs = inTime): OwnerVerdict =>
  judgeOwner(bytes, node, trust, nowMs);
const statusOf = (bytes: Uint8Array | undefined, id = node, nowMs = inTime): OwnerStatus =>
  judgeOwner(bytes, id, noOwnerTrust, nowMs).status;

it("the reference's claim names its owner, and its seed signs the same again", () => {
  expect(ownerIdOf(ownerKey)).toBe(vector.owner_id_hex);
  expect(judge(signed)).toMatchObject({ status: "verified", owner: vector.owner_id_hex, refusal: undefined });
  expect(judge(signed).claim).toEqual(claim);
  expect(made({})).toEqual(signed);
});

it("no claim is none", () => {
  expect(judge(undefined)).toEqual({ status: "unsigned", owner: undefined, claim: undefined, refusal: undefined });
  expect(statusOf(new Uint8Array())).toBe("unsigned");
});

describe("a claim that does not hold", () => {
  const otherKey = fromHex(identityFrom(new Uint8Array(32).fill(5)).id);

  it.each<[string, OwnerStatus, Uint8Array]>([
    ["is no claim at all", "invalid_signature", Uint8Array.of(1, 2, 3)],
    ["is of another version", "unsupported_protocol", made({ version: 2 })],
    ["is for another node", "mismatched_node_id", made({ node: other })],
    ["names an owner that is not its key's", "invalid_signature", made({ ownerId: "00".repeat(32) })],
    ["names its owner in capitals", "invalid_signature", made({ ownerId: vector.owner_id_hex.toUpperCase() })],
    ["was signed by another key", "invalid_signature", made({ ownerKey: otherKey, ownerId: ownerIdOf(otherKey) })],
    ["has lost its label", "invalid_signature", made({ nodeLabel: undefined }, fromHex(vector.signature_hex))],
    ["has got a hint", "invalid_signature", made({ hostnameHint: "" }, fromHex(vector.signature_hex))],
    [
      "has a later end",
      "invalid_signature",
      made({ expiresAtMs: claim.expiresAtMs + 1n }, fromHex(vector.signature_hex)),
    ],
  ])("%s", (_what, status, bytes) => {
    expect(judge(bytes)).toEqual({ status, owner: undefined, claim: undefined, refusal: undefined });
  });

  it("every byte of the signature counts", () => {
    const signature = fromHex(vector.signature_hex);
    for (let at = 0; at < signature.length; at += 1) {
      const flipped = signature.map((byte, index) => (index === at ? byte ^ 1 : byte));
      expect(statusOf(made({}, flipped))).toBe("invalid_signature");
    }
  });

  it("a signature whose scalar was raised by the group's order", () => {
    // s + L signs the same where a verifier reduces it, and would make a second form of one claim
    const order = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
    const signature = fromHex(vector.signature_hex);
    const scalar = signature.subarray(32).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n) + order;
    const raised = Uint8Array.from({ length: 32 }, (_, at) => Number((scalar >> BigInt(8 * at)) & 0xffn));
    signature.set(raised, 32);
    expect(statusOf(made({}, signature))).toBe("invalid_signature");
  });

  it("a key of low order, whose signature ordinary verification takes for every message", () => {
    const neutral = fromHex(`01${"00".repeat(31)}`);
    const forged = Uint8Array.from([...neutral, ...new Uint8Array(32)]);
    const says = { ownerKey: neutral, ownerId: ownerIdOf(neutral) };
    const x = Buffer.from(neutral).toString("base64url");
    const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    expect(verify(null, ownershipBytes({ ...claim, ...says }), publicKey, forged)).toBe(true);
    expect(statusOf(made(says, forged))).toBe("invalid_signature");
  });

  it("ends at its own time", () => {
    expect(statusOf(signed, node, vector.expires_at_unix_ms)).toBe("expired");
    expect(statusOf(signed, node, inTime + 0.5)).toBe("verified");
  });

  it("the largest times are times", () => {
    expect(statusOf(made({ expiresAtMs: 2n ** 64n - 1n }))).toBe("verified");
  });
});

describe("what was revoked", () => {
  const owner = new Set([vector.owner_id_hex]);
  const cert = new Set([vector.cert_id]);
  const nodes = new Set([node]);

  it("is told in the reference's order", () => {
    expect(judge(signed, trusting({ revokedOwners: owner, revokedCerts: cert, revokedNodes: nodes })).status).toBe(
      "revoked_owner",
    );
    expect(judge(signed, trusting({ revokedCerts: cert, revokedNodes: nodes })).status).toBe("revoked_cert");
    expect(judge(signed, trusting({ revokedNodes: nodes })).status).toBe("revoked_node_id");
    expect(judge(signed, trusting({ revokedNodes: nodes }), vector.expires_at_unix_ms).status).toBe("expired");
  });

  const lists: readonly [string, Partial<OwnerTrust>][] = [
    ["owner", { revokedOwners: owner }],
    ["cert", { revokedCerts: cert }],
    ["node", { revokedNodes: nodes }],
  ];

  it.each(lists)("%s: is refused under every policy but off", (_what, revoked) => {
    const refused = trustPolicies.filter((policy) => {
      const trust = trusting({ ...revoked, policy, trusted: owner });
      return judge(signed, trust).refusal !== undefined;
    });
    expect(refused).toEqual(["prefer-owned", "require-owned", "allowlist"]);
  });

  it.each(lists)("%s: is refused when its claim has expired, too", (_what, revoked) => {
    expect(judge(signed, trusting(revoked), vector.expires_at_unix_ms).refusal).toMatch(/revoked$/);
  });

  it("a node is refused without any claim, and with a foreign one", () => {
    const trust = trusting({ revokedNodes: nodes });
    expect(judge(undefined, trust)).toMatchObject({ status: "unsigned", refusal: "the node was revoked" });
    expect(judge(made({ node: other }), trust)).toMatchObject({
      status: "mismatched_node_id",
      refusal: "the node was revoked",
    });
  });

  it("a claim that its owner has not signed revokes nobody", () => {
    const forged = made({}, new Uint8Array(64));
    expect(judge(forged, trusting({ revokedOwners: owner, revokedCerts: cert })).refusal).toBeUndefined();
  });
});

describe("policies", () => {
  const stranger = ownerFrom(9);
  const strangers = claimOf(stranger, node, inTime);
  const shows: Readonly<Record<string, Uint8Array | undefined>> = {
    none: undefined,
    expired: made({ expiresAtMs: claim.issuedAtMs + 1n }),
    forged: made({}, new Uint8Array(64)),
    trusted: signed,
    stranger: strangers,
  };

  it.each([
    ["off", ["none", "expired", "forged", "trusted", "stranger"]],
    ["prefer-owned", ["none", "expired", "forged", "trusted", "stranger"]],
    ["require-owned", ["trusted", "stranger"]],
    ["allowlist", ["trusted"]],
  ] as const)("%s", (policy, admitted) => {
    const trust = trusting({ policy, trusted: new Set([vector.owner_id_hex]) });
    const names = Object.keys(shows).filter((name) => judge(shows[name], trust).refusal === undefined);
    expect(names).toEqual(admitted);
  });

  it("an owner that is not on the list is untrusted by the allowlist alone", () => {
    const trusted = new Set([vector.owner_id_hex]);
    const statuses = trustPolicies.map((policy) => judge(strangers, trusting({ policy, trusted })).status);
    expect(statuses).toEqual(["verified", "verified", "verified", "untrusted_owner"]);
  });

  it("a trusted owner's claim for another node is worth nothing", () => {
    const trust = trusting({ policy: "allowlist", trusted: new Set([vector.owner_id_hex]) });
    expect(judgeOwner(signed, other, trust, inTime).refusal).toBe("the claim that it shows is for another node");
    expect(judgeOwner(claimOf(stranger, nodeId(1), inTime), node, trust, inTime).refusal).toBeDefined();
  });
});

it("the words are the reference's", () => {
  expect(new Set(ownerStatuses)).toEqual(
    new Set([
      "verified",
      "unsigned",
      "expired",
      "invalid_signature",
      "mismatched_node_id",
      "revoked_owner",
      "revoked_cert",
      "revoked_node_id",
      "unsupported_protocol",
      "untrusted_owner",
    ]),
  );
});

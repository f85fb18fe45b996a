/** Which claim counts for a node: what it shows itself, else the best that was heard; and that memory has an end. */
import { describe, expect, it } from "vitest";
import type { EndpointId } from "../../../src/base/brand.ts";
import { PeerClaims } from "../../../src/node/peer-claims.ts";
import { judgeClaim, type OwnerTrust } from "../../../src/policy/owners.ts";
import { claimOf, nodeId, ownerFrom, trusting } from "../../support/owners.ts";

const peer = nodeId(2);
const [ours, stranger] = [ownerFrom(8), ownerFrom(9)];
const hourMs = 3_600_000;
const start = 1_800_000_000_000;

function claims(
  trust: Partial<OwnerTrust> = {},
  nodes = 10,
): { claims: PeerClaims; reads: () => number; now: { ms: number } } {
  const now = { ms: start };
  const read = new Set<unknown>();
  const made = new PeerClaims({
    nodes,
    judge: (what, id) => {
      read.add(what);
      return judgeClaim(what, id, trusting(trust), now.ms);
    },
    prefers: ({ owner }) => owner === ours.id,
  });
  return { claims: made, reads: () => read.size, now };
}

describe("what counts", () => {
  const [own, foreign] = [claimOf(ours, peer, start), claimOf(stranger, peer, start)];

  it("is what the node shows itself, whatever others say", () => {
    const { claims: all } = claims();
    all.show(peer, own);
    expect(all.of(peer, foreign).owner).toBe(ours.id);
    expect(all.of(peer, undefined).owner).toBe(ours.id);
  });

  it("is what it shows itself also where that is revoked, and others say something better", () => {
    const { claims: all } = claims({ revokedOwners: new Set([stranger.id]) });
    all.show(peer, foreign);
    expect(all.of(peer, own).status).toBe("revoked_owner");
  });

  it("is what others say where it shows none, or one that has expired", () => {
    const { claims: all, now } = claims();
    all.show(peer, undefined);
    expect(all.of(peer, own).status).toBe("verified");
    all.show(peer, own);
    now.ms += hourMs;
    expect(all.of(nodeId(5), undefined).status).toBe("unsigned");
    expect(all.of(peer, claimOf(ours, peer, now.ms)).status).toBe("verified");
  });

  it("is that it shows none, where others say something worse", () => {
    const { claims: all } = claims({ revokedOwners: new Set([stranger.id]) });
    all.show(peer, undefined);
    expect(all.of(peer, foreign)).toMatchObject({ status: "unsigned", refusal: undefined });
    expect(all.of(peer, own).status).toBe("verified");
  });

  it("is the best of what others say", () => {
    const { claims: all } = claims({ revokedCerts: new Set(["22".repeat(16)]) });
    const revoked = claimOf(ours, peer, start, { certId: "22".repeat(16) });
    expect(all.of(peer, revoked).status).toBe("revoked_cert");
    expect(all.of(peer, foreign).owner).toBe(stranger.id);
    expect(all.of(peer, own).owner).toBe(ours.id);
    for (const worse of [foreign, revoked, Uint8Array.of(1), claimOf(ours, nodeId(3), start)]) {
      expect(all.of(peer, worse)).toMatchObject({ status: "verified", owner: ours.id });
    }
  });

  it("of equals, is the newest", () => {
    const { claims: all } = claims();
    const renewed = claimOf(ours, peer, start + 1, { certId: "22".repeat(16) });
    all.of(peer, own);
    expect(all.of(peer, renewed).claim?.certId).toBe("22".repeat(16));
  });

  it("is none where nobody says anything", () => {
    expect(claims().claims.of(peer, undefined).status).toBe("unsigned");
  });
});

it("the same bytes are read once", () => {
  const { claims: all, reads } = claims();
  for (let round = 0; round < 5; round += 1) {
    all.show(peer, claimOf(ours, peer, start));
    all.of(peer, claimOf(stranger, peer, start));
  }
  expect(reads()).toBe(1);
  const heard = claims();
  for (let round = 0; round < 5; round += 1) heard.claims.of(peer, claimOf(ours, peer, start));
  expect(heard.reads()).toBe(1);
});

it("what others say of a node is not taken for what it shows", () => {
  const { claims: all } = claims();
  all.of(peer, claimOf(ours, peer, start));
  expect(all.hasShown(peer)).toBe(false);
  all.show(peer, undefined);
  expect(all.hasShown(peer)).toBe(true);
});

it("nodes are forgotten, the oldest first, when there are too many", () => {
  const { claims: all } = claims({}, 2);
  const ids: readonly EndpointId[] = [nodeId(2), nodeId(3), nodeId(4)];
  for (const id of ids) all.show(id, claimOf(ours, id, start));
  expect(ids.map((id) => all.of(id, undefined).status)).toEqual(["unsigned", "verified", "verified"]);
});

/** Where the picture of the mesh puts whom: nobody on top of another, nobody outside, the same for the same mesh. */
import { describe, expect, it } from "vitest";
import { type Layout, layoutOf, type Point } from "../../../console/src/views/mesh-layout.ts";
import { consolePeer } from "../../support/console-peers.ts";
import type { PeerStatus } from "../../../src/node/status.ts";

/** So many of all three roles, some behind a relay, some refused. */
function meshOf(size: number): readonly PeerStatus[] {
  return Array.from({ length: size }, (_, index) => {
    const role = index % 10 === 0 ? "relay" : index % 3 === 0 ? "client" : "host";
    return consolePeer(index, { role, relayed: index % 4 === 2 ? 0 : undefined, refused: index % 7 === 3 });
  });
}

const widths = [328, 480, 639, 640, 930, 1_400];
const nodesOf = ({ self, peers, rest }: Layout): readonly Point[] => [self, ...peers, ...rest];

describe("the picture of a mesh", () => {
  it("has room for everybody it shows, from nobody to 200 peers, at any width", () => {
    for (let size = 0; size <= 200; size += size < 30 ? 1 : 17) {
      for (const width of widths) {
        const layout = layoutOf(meshOf(size), width);
        const nodes = nodesOf(layout);
        const apart = nodes.flatMap((a, index) => nodes.slice(index + 1).map((b) => Math.hypot(a.x - b.x, a.y - b.y)));
        expect(Math.min(...apart, 999), `${size} peers, ${width} px`).toBeGreaterThanOrEqual(40);
        const outside = nodes.filter(({ x, y }) => x < 24 || x > width - 24 || y < 24 || y > layout.height - 20);
        expect(outside, `${size} peers, ${width} px`).toEqual([]);
      }
    }
  });

  it("counts every peer once, shown or in the list", () => {
    for (const size of [1, 5, 24, 25, 100, 200]) {
      const { peers, rest } = layoutOf(meshOf(size), 930);
      expect(peers.length + rest.reduce((sum, one) => sum + one.peers, 0)).toBe(size);
      expect(peers.length).toBeLessThanOrEqual(24);
    }
  });

  it("does not depend on the order in which peers come", () => {
    const peers = meshOf(40);
    expect(layoutOf(peers.toReversed(), 930)).toEqual(layoutOf(peers, 930));
  });

  it("leads to a host behind a relay over that relay", () => {
    const peers = [consolePeer(0, { role: "relay" }), consolePeer(1, { relayed: 0 }), consolePeer(2, {})];
    const { self, peers: placed, edges } = layoutOf(peers, 930);
    const at = (index: number): Point | undefined => {
      const found = placed.find(({ peer }) => peer.endpoint_id === peers[index]?.endpoint_id);
      return found && { x: found.x, y: found.y };
    };
    const wayTo = (index: number): readonly Point[] | undefined =>
      edges.find(({ peer }) => peer.endpoint_id === peers[index]?.endpoint_id)?.points.map(({ x, y }) => ({ x, y }));
    expect(wayTo(1)).toEqual([self, at(0), at(1)]);
    expect(wayTo(2)).toEqual([self, at(2)]);
  });

  it("shows those that may be asked before those that are refused", () => {
    const refused = Array.from({ length: 20 }, (_, index) => consolePeer(index, { refused: true }));
    const { peers, rest } = layoutOf([...refused, consolePeer(99, {})], 930);
    expect(peers[0]?.peer.endpoint_id).toBe(consolePeer(99, {}).endpoint_id);
    expect(rest).toMatchObject([{ role: "host", peers: 10, refused: 10 }]);
  });
});

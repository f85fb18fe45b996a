/** Who counts as gone, who comes back, and what others' words about it are worth. */
import { describe, expect, it } from "vitest";
import { membershipLimits } from "../../../src/mesh/membership.ts";
import { addressOf, claimOf, dialsIn, gossipIn, idOf, Node, recordOf } from "../../support/membership.ts";

/** A node that is linked with "anna" and "ben", and has lost "carl", which both of these had only heard of. */
function withoutCarl(how: "left" | "lost"): Node {
  const node = new Node();
  for (const name of ["anna", "ben"]) node.hears(name);
  node.hears("carl", [], { seq: 5 });
  if (how === "left") node.take({ kind: "left", id: idOf("carl") });
  else {
    node.loses("carl");
    node.passes(30_000);
  }
  expect(node.knows("carl")).toBe(false);
  return node;
}

const carl = (seq: number, inContact: boolean): ReturnType<typeof claimOf> =>
  claimOf("carl", { record: recordOf("carl", seq), inContact });

describe("a peer that is gone", () => {
  it("is not brought back by gossip", () => {
    const node = withoutCarl("lost");
    node.hears("anna", [carl(5, false)]);
    expect(node.knows("carl")).toBe(false);
  });

  it("is not brought back by a newer record: that is worth one dial, whoever else brings it", () => {
    const node = withoutCarl("left");
    node.hears("anna", [carl(6, false)]);
    expect(node.knows("carl")).toBe(false);
    expect(dialsIn(node.passes(5_000)).filter((id) => id === idOf("carl"))).toHaveLength(1);
    node.hears("ben", [carl(6, false)]);
    expect(dialsIn(node.passes(5_000))).not.toContain(idOf("carl"));
  });

  it("is back when it speaks for itself", () => {
    const node = withoutCarl("left");
    node.hears("carl", [], { seq: 5 });
    expect(node.knows("carl")).toBe(true);
  });

  it("is back when a member that we are linked with is linked with it now", () => {
    const node = withoutCarl("lost");
    node.hears("anna", [carl(5, true)]);
    expect(node.knows("carl")).toBe(true);
  });

  it("that said goodbye is back on such a word with a newer record only: the member may not have noticed", () => {
    const node = withoutCarl("left");
    node.hears("anna", [carl(5, true)]);
    expect(node.knows("carl")).toBe(false);
    node.hears("anna", [carl(6, true)]);
    expect(node.knows("carl")).toBe(true);
  });

  it("is not back on the word of somebody that we have no link with", () => {
    const node = withoutCarl("lost");
    const claims = [carl(6, true), claimOf("dora", { record: recordOf("dora", 1) })];
    node.take({ kind: "gossip", from: idOf("dora"), claims, linked: false });
    expect(node.knows("carl")).toBe(false);
  });

  it("stays listed while a linked member says that it reaches it, and goes with that word", () => {
    const node = new Node();
    node.hears("anna");
    node.hears("carl");
    node.hears("anna", [carl(1, true)]);
    node.loses("carl");
    node.passes(30_000);
    expect(node.state.peers.get(idOf("carl"))).toMatchObject({ met: false });
    node.hears("anna", [carl(1, false)]);
    node.passes(membershipLimits.sweepMs + 1_000);
    expect(node.knows("carl")).toBe(false);
  });

  it("that nobody has signed for in a while is forgotten", () => {
    const node = new Node();
    node.hears("anna", [carl(1, false)]);
    node.passes(membershipLimits.silentAfterMs + membershipLimits.sweepMs + 1_000);
    expect(node.knows("carl")).toBe(false);
    expect(node.knows("anna")).toBe(true);
  });
});

describe("word that a peer is down", () => {
  const down = (node: Node, from: string, about: string): ReturnType<Node["take"]> =>
    node.take({ kind: "peer-down", from: idOf(from), about: idOf(about) });

  it("is nothing when we do not know the peer", () => {
    const node = new Node();
    node.hears("anna");
    const before = node.state;
    expect(down(node, "anna", "carl")).toEqual([]);
    expect(node.state.gone).toBe(before.gone);
    node.hears("anna", [carl(1, false)]);
    expect(node.knows("carl")).toBe(true);
  });

  it("makes us ask a peer that we are linked with, and removes nothing", () => {
    const node = new Node();
    for (const name of ["anna", "ben", "carl"]) node.hears(name);
    expect(gossipIn(down(node, "anna", "carl"))).toEqual([idOf("carl")]);
    expect(node.knows("carl")).toBe(true);
  });

  it("is not heard again for ten minutes from who was wrong, and still from others", () => {
    const node = new Node();
    for (const name of ["anna", "ben", "carl"]) node.hears(name);
    down(node, "anna", "carl");
    expect(down(node, "anna", "carl")).toEqual([]);
    expect(gossipIn(down(node, "ben", "carl"))).toEqual([idOf("carl")]);
    node.passes(membershipLimits.refutedMs + 1_000);
    expect(gossipIn(down(node, "anna", "carl"))).toEqual([idOf("carl")]);
  });

  it("is checked by one dial of ours when we have no link", () => {
    const node = new Node({ linksWanted: 0 });
    node.hears("anna", [carl(1, false)]);
    down(node, "anna", "carl");
    expect(node.knows("carl")).toBe(true);
    expect(dialsIn(node.passes(20_000))).toEqual([idOf("carl")]);
    expect(node.knows("carl")).toBe(true);
  });

  it("and a dial in vain leave a peer that we never met the time in which it would sign something new", () => {
    const until = membershipLimits.doubtedMs + membershipLimits.sweepMs + 5_000;
    expect(until).toBeLessThan(membershipLimits.silentAfterMs);
    for (const lives of [false, true]) {
      const node = new Node({ linksWanted: 0 });
      node.hears("anna", [carl(1, false)]);
      down(node, "anna", "carl");
      node.passes(20_000);
      if (lives) node.hears("anna", [carl(2, false)]);
      node.passes(until);
      expect(node.knows("carl")).toBe(lives);
    }
  });

  it("about ourselves, or from the peer itself, is nothing", () => {
    const node = new Node();
    node.hears("anna");
    expect(down(node, "anna", "self")).toEqual([]);
    expect(down(node, "anna", "anna")).toEqual([]);
    expect(node.knows("anna")).toBe(true);
  });

  it("is told on by a node that had a link and lost it, to a few", () => {
    const node = new Node();
    for (const name of ["anna", "ben", "carl"]) node.hears(name);
    node.loses("carl");
    const told = node.passes(30_000).flatMap((action) => (action.kind === "tell-down" ? action.to : []));
    expect(told.toSorted()).toEqual([idOf("anna"), idOf("ben")]);
  });
});

describe("an entry that a third party relays", () => {
  it("never sets, replaces or removes what a peer said of itself", () => {
    const node = new Node();
    node.hears("anna");
    node.hears("carl", [], { seq: 5 });
    const before = node.state.peers.get(idOf("carl"));
    const key = { kind: "key", key: new Uint8Array(32).fill(9) } as const;
    const lie = claimOf("carl", {
      role: "host",
      models: ["x"],
      hostname: "evil",
      key,
      address: addressOf("carl", "6:6"),
    });
    node.hears("anna", [lie]);
    node.hears("anna", [{ ...lie, role: "client", address: undefined }]);
    const { mentionedBy: _by, lastMentionedMs: _at, ...now } = node.state.peers.get(idOf("carl")) ?? {};
    expect(before).toMatchObject(now);
  });

  it("without a record makes a peer to dial, and no more", () => {
    const node = new Node();
    node.hears("anna", [claimOf("carl", { role: "host", models: ["m"], hostname: "big", inContact: true })]);
    const peer = node.state.peers.get(idOf("carl"));
    expect(peer).toMatchObject({ role: "worker", models: [], hostname: undefined, met: false });
    expect(dialsIn(node.passes(2_000))).toEqual([idOf("carl")]);
  });
});

describe("a full table", () => {
  const bounds = { peers: 20, linksWanted: 0 };
  const named = (prefix: string, count: number): readonly ReturnType<typeof claimOf>[] =>
    Array.from({ length: count }, (_, index) =>
      claimOf(`${prefix}${index}`, { record: recordOf(`${prefix}${index}`, 1) }),
    );

  it("has room for those that others name, at the cost of whoever named most", () => {
    const node = new Node(bounds);
    node.hears("mallory", named("m", 100));
    node.hears("anna", named("a", 5));
    expect(node.state.peers.size).toBe(20);
    for (let index = 0; index < 5; index += 1) expect(node.knows(`a${index}`)).toBe(true);
  });

  it("always has room for a peer that comes by itself", () => {
    const node = new Node(bounds);
    node.hears("mallory", named("m", 100));
    node.hears("anna");
    expect(node.knows("anna")).toBe(true);
    expect(node.state.peers.size).toBe(20);
  });
});

describe("a member that lies of many", () => {
  it("E4: leaves room to remember the lies of others", () => {
    const node = new Node();
    const names = Array.from({ length: 2 * membershipLimits.refutedEach }, (_, index) => `live${index}`);
    for (const name of [...names, "liar", "other"]) node.hears(name);
    for (const name of names) node.take({ kind: "peer-down", from: idOf("liar"), about: idOf(name) });
    const reports = (): readonly string[] => [...node.state.refuted.keys()];
    expect(reports().filter((report) => report.startsWith(idOf("liar")))).toHaveLength(membershipLimits.refutedEach);
    node.take({ kind: "peer-down", from: idOf("other"), about: idOf("live0") });
    expect(reports()).toContain(`${idOf("other")} ${idOf("live0")}`);
  });
});

describe("a table that is full", () => {
  it("Q4: takes a frame of thousands of names in a moment", () => {
    const node = new Node({ linksWanted: 0 });
    node.hears("anna");
    const named = (prefix: string): ReturnType<typeof claimOf>[] =>
      Array.from({ length: 4_000 }, (_, index) => claimOf(`${prefix}${index}`));
    node.hears("ben", named("b"));
    expect(node.state.peers.size).toBeGreaterThan(4_000);
    const started = performance.now();
    node.hears("anna", named("a"));
    expect(performance.now() - started).toBeLessThan(1_500);
    expect(node.state.peers.size).toBe(membershipLimits.peers);
    // each has its half
    const byAnna = [...node.state.peers.values()].filter(({ introducedBy }) => introducedBy === idOf("anna"));
    expect(byAnna.length).toBeGreaterThan(1_900);
    expect(byAnna.length).toBeLessThan(2_200);
  });
});

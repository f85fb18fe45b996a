/** What a gossip frame holds: what the other side is known to lack, a digest, and a bounded part at a time. */
import { describe, expect, it } from "vitest";
import type { EndpointId } from "../../../src/base/brand.ts";
import { digestKey, tellingFor } from "../../../src/mesh/telling.ts";
import type { KnownRecords } from "../../../src/wire/gossip.ts";
import { limits } from "../../../src/wire/limits.ts";
import { claimOf, gossipIn, idOf, Node, recordOf } from "../../support/membership.ts";

const linked = 1n << 63n;

/** What the node would write to that peer now, and has written when this returns. */
function tell(
  node: Node,
  name: string,
): { readonly ids: readonly EndpointId[]; readonly knows: KnownRecords | undefined } {
  const { entries, marks, knows } = tellingFor(node.state, idOf(name), node.nowMs);
  node.take({ kind: "told", to: idOf(name), marks });
  return { ids: entries.map(({ peer }) => peer.id), knows };
}

const digest = (...items: readonly (readonly [string, bigint])[]): KnownRecords =>
  new Map(items.map(([name, value]) => [digestKey(idOf(name)), value]));
const others = (count: number): readonly ReturnType<typeof claimOf>[] =>
  Array.from({ length: count }, (_, index) => claimOf(`n${index}`, { record: recordOf(`n${index}`, 1) }));

describe("records", () => {
  it("are told to whom is known to lack them, and once", () => {
    const node = new Node();
    node.hears("anna");
    node.hears("ben", [], { knows: digest(["ben", 0n]) });
    expect(tell(node, "ben").ids).toEqual([idOf("anna")]);
    expect(tell(node, "ben").ids).toEqual([]);
  });

  it("are not told to whom has them", () => {
    const node = new Node();
    node.hears("anna", [], { seq: 5 });
    node.hears("ben", [], { knows: digest(["ben", 0n], ["anna", 5n]) });
    expect(tell(node, "ben").ids).toEqual([]);
    node.hears("anna", [], { seq: 6 });
    node.hears("ben", [], { knows: digest() });
    expect(tell(node, "ben").ids).toEqual([idOf("anna")]);
  });

  it("that came since its last word are offered by a digest first", () => {
    const node = new Node();
    node.hears("ben", [], { knows: digest(["ben", 0n]) });
    tell(node, "ben");
    node.hears("anna", [], { seq: 5 });
    const { ids, knows } = tell(node, "ben");
    expect(ids).toEqual([]);
    expect(knows).toEqual(digest(["anna", 5n | linked]));
    node.hears("ben", [], { knows: digest() });
    expect(tell(node, "ben").ids).toEqual([idOf("anna")]);
  });

  it("are told right after a round of news to whom turns out to lack them", () => {
    const node = new Node();
    node.hears("ben", [], { knows: digest(["ben", 0n]) });
    tell(node, "ben");
    node.hears("anna");
    expect(gossipIn(node.passes(3_000))).toContain(idOf("ben"));
    node.hears("ben", [], { knows: digest() });
    expect(gossipIn(node.passes(1_000))).toEqual([idOf("ben")]);
    tell(node, "ben");
    expect(gossipIn(node.passes(1_000))).toEqual([]);
  });

  it("are told anew to a peer that was started anew", () => {
    const node = new Node();
    node.hears("anna");
    node.hears("ben", [], { knows: digest(["ben", 0n]) });
    tell(node, "ben");
    node.hears("ben", [], { knows: digest(["ben", 0n]) });
    const { ids, knows } = tell(node, "ben");
    expect(ids).toEqual([idOf("anna")]);
    expect(knows?.get(digestKey(idOf("self")))).toBe(1n);
  });

  it("come in parts, and all in the end, also to a peer that never says what it has", () => {
    const node = new Node();
    node.hears("anna", others(300));
    const heard = new Set<EndpointId>();
    for (let frame = 0; frame < 5; frame += 1) {
      node.hears("ben");
      const { ids } = tell(node, "ben");
      expect(ids.length).toBeLessThanOrEqual(limits.entriesTold);
      for (const id of ids) heard.add(id);
    }
    expect(heard.size).toBe(301);
  });

  it("that have ended, or that contradict one another, are not told", () => {
    const node = new Node();
    const other = { ...recordOf("carl", 1), signed: new Uint8Array(1) };
    node.hears("anna", [claimOf("carl", { record: recordOf("carl", 1) })]);
    node.hears("anna", [claimOf("carl", { record: other })]);
    node.hears("ben", [], { knows: digest(["ben", 0n]) });
    expect(tell(node, "ben").ids).toEqual([idOf("anna")]);
    node.nowMs += 3_700_000;
    expect(tellingFor(node.state, idOf("ben"), node.nowMs).entries).toEqual([]);
  });

  it("and all else is for members: who has not shown that it is one hears nothing of others", () => {
    const node = new Node();
    node.hears("anna");
    expect(tellingFor(node.state, idOf("stranger"), 1)).toMatchObject({ entries: [], knows: undefined });
  });
});

describe("who is linked with whom", () => {
  it("is said by a digest, and taken back by one", () => {
    const node = new Node();
    node.hears("anna", others(1));
    node.hears("anna", [], { knows: digest(["anna", 0n], ["n0", 1n | linked]) });
    expect(node.state.peers.get(idOf("n0"))?.mentionedBy).toEqual(new Set([idOf("anna")]));
    node.hears("anna", [], { knows: digest(["n0", 1n]) });
    expect(node.state.peers.get(idOf("n0"))?.mentionedBy).toEqual(new Set());
  });

  it("is taken back by a whole digest that does not say it any more", () => {
    const node = new Node();
    node.hears("anna", others(1));
    node.hears("anna", [], { knows: digest(["anna", 0n], ["n0", 1n | linked]) });
    node.hears("anna", [], { knows: digest(["anna", 0n]) });
    expect(node.state.peers.get(idOf("n0"))?.mentionedBy).toEqual(new Set());
  });

  it("costs no record: the link alone has changed", () => {
    const node = new Node();
    node.hears("anna", others(1));
    node.hears("ben", [], { knows: digest(["ben", 0n], ["anna", 1n], ["n0", 1n]) });
    tell(node, "ben");
    node.hears("n0");
    node.hears("ben", [], { knows: digest() });
    node.loses("n0");
    const { knows } = tell(node, "ben");
    expect(knows).toEqual(digest(["n0", 1n]));
  });
});

it("what is remembered of a link stays bounded, whatever its peer claims to have", () => {
  const node = new Node();
  for (let round = 0; round < 20; round += 1) {
    const items = Array.from({ length: 1_000 }, (_, index) => [`${round}x${index}`, 1n] as const);
    node.hears("mallory", [], { knows: digest(...items) });
  }
  const link = node.state.contacts.get(idOf("mallory"))?.link;
  expect(link?.has.size).toBeLessThanOrEqual(limits.digestItems);
  expect(node.state.peers.size).toBe(1);
});

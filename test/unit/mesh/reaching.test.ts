/** Whom a node dials and when: links that end, members to find again, sleep, clocks, and hints that could be a flood. */
import { describe, expect, it } from "vitest";
import type { EndpointId } from "../../../src/base/brand.ts";
import { membershipLimits } from "../../../src/mesh/membership.ts";
import { addressOf, claimOf, dialsIn, gossipIn, idOf, Node, recordOf } from "../../support/membership.ts";

const countOf = (ids: readonly EndpointId[], name: string): number => ids.filter((id) => id === idOf(name)).length;

describe("a link that has ended", () => {
  it("is dialed anew three times before the peer counts as lost", () => {
    const node = new Node();
    node.hears("anna");
    node.loses("anna");
    expect(node.knows("anna")).toBe(true);
    expect(countOf(dialsIn(node.passes(4_000)), "anna")).toBe(2);
    expect(node.knows("anna")).toBe(true);
    node.passes(10_000);
    expect(node.knows("anna")).toBe(false);
  });

  it("is looked for afterwards, ever more seldom, and for a day", () => {
    const node = new Node();
    node.hears("anna");
    node.loses("anna");
    node.passes(60_000);
    const early = countOf(dialsIn(node.passes(120_000)), "anna");
    node.passes(600_000);
    const late = countOf(dialsIn(node.passes(120_000)), "anna");
    expect(early).toBeGreaterThanOrEqual(10);
    expect(late).toBeGreaterThanOrEqual(1);
    expect(late).toBeLessThanOrEqual(3);
    node.passes(membershipLimits.rememberMs);
    expect(node.state.contacts.has(idOf("anna"))).toBe(false);
  });

  it("that the operator named is looked for without end", () => {
    const node = new Node();
    node.take({ kind: "seek", address: addressOf("anna") });
    node.passes(membershipLimits.rememberMs + 60_000);
    expect(countOf(dialsIn(node.passes(120_000)), "anna")).toBeGreaterThanOrEqual(1);
  });

  it("costs no more dials a second when there are many", () => {
    const dialsOf = (count: number): number => {
      const node = new Node({ linksWanted: 0 });
      const known = Array.from({ length: count }, (_, index) => ({
        address: addressOf(`n${index}`),
        record: undefined,
      }));
      node.take({ kind: "start", known, seed: 1, role: "worker" });
      node.passes(240_000);
      return dialsIn(node.passes(60_000)).length;
    };
    expect(dialsOf(250)).toBeLessThan(4 * 60);
  });
});

describe("what was away and is back", () => {
  function away(): Node {
    const node = new Node();
    for (const name of ["anna", "ben"]) {
      node.hears(name);
      node.loses(name);
    }
    node.passes(900_000);
    return node;
  }

  it("is looked at at once after the first link: the network is back", () => {
    const node = away();
    node.hears("anna");
    expect(dialsIn(node.passes(1_000))).toContain(idOf("ben"));
  });

  it("is looked at at once after sleep", () => {
    const node = away();
    node.take({ kind: "tick" }, 3_600_000);
    expect(dialsIn(node.passes(1_000)).toSorted()).toEqual([idOf("anna"), idOf("ben")]);
  });

  it("is dialed at once where its record says that it is now", () => {
    const node = new Node();
    node.hears("anna");
    node.hears("ben", [claimOf("anna", { record: recordOf("anna", 1), inContact: true })]);
    node.loses("anna");
    node.passes(900_000);
    const address = addressOf("anna", "203.0.113.9:9");
    node.hears("ben", [
      claimOf("anna", { record: recordOf("anna", 2), address, addressSigned: true, inContact: true }),
    ]);
    expect(node.take({ kind: "tick" }, 1)).toContainEqual({ kind: "dial", address });
  });
});

describe("time that did not pass for the mesh", () => {
  it("prunes nobody: after sleep all links are asked at once", () => {
    const node = new Node();
    node.hears("anna", [claimOf("carl", { record: recordOf("carl", 1) })]);
    const actions = node.take({ kind: "tick" }, 1_700_000);
    expect(gossipIn(actions)).toEqual([idOf("anna")]);
    expect(node.knows("anna") && node.knows("carl")).toBe(true);
  });

  it("is neither that of a clock set back nor of one set forward", () => {
    for (const jumpMs of [-86_400_000, -240_000, 240_000, 1_700_000]) {
      const node = new Node({ linksWanted: 0 });
      node.nowMs = 1_000_000_000;
      const record = { ...recordOf("carl", 1, node.nowMs) };
      node.hears("anna", [claimOf("carl", { record })]);
      node.take({ kind: "tick" }, jumpMs);
      node.passes(60_000);
      expect(node.knows("anna") && node.knows("carl")).toBe(true);
      expect(node.state.watch.upMs).toBeLessThan(1_000_000_000 + 90_000);
    }
  });
});

describe("a start from disk", () => {
  it("dials everybody who was known within a second, and keeps what they signed", () => {
    const node = new Node();
    const record = recordOf("anna", 1);
    const known = [
      { address: addressOf("anna"), record },
      { address: addressOf("ben"), record: undefined },
    ];
    node.take({ kind: "start", known, seed: 7, role: "worker" });
    expect(node.state.peers.get(idOf("anna"))).toMatchObject({ record, met: false });
    expect(dialsIn(node.passes(1_000)).toSorted()).toEqual([idOf("anna"), idOf("ben")]);
  });

  it("looks for clients too, but for a few seconds only: they come by themselves, unless our address is another one", () => {
    const node = new Node({ linksWanted: 0 });
    const record = { ...recordOf("cleo", 1), fields: { ...recordOf("cleo", 1).fields, role: "client" as const } };
    node.take({ kind: "start", known: [{ address: addressOf("cleo"), record }], seed: 7, role: "host" });
    expect(dialsIn(node.passes(1_000))).toEqual([idOf("cleo")]);
    for (let dials = 0; dials < 5; dials += 1) {
      node.take({ kind: "dialed", id: idOf("cleo"), reached: false });
      node.passes(20_000);
    }
    expect(node.knows("cleo")).toBe(false);
    expect(dialsIn(node.passes(60_000))).toEqual([]);
  });

  it("finds what was kept: those that the operator named, then those linked, and clients last", () => {
    const node = new Node();
    node.hears("anna");
    const client = { ...recordOf("cleo", 1), fields: { ...recordOf("cleo", 1).fields, role: "client" as const } };
    const claims = [claimOf("cleo", { role: "client", record: client })];
    node.take({ kind: "gossip", from: idOf("cleo"), claims, linked: true });
    node.take({ kind: "seek", address: addressOf("ben") });
    const kept = node.passes(5_000).findLast((action) => action.kind === "keep");
    expect(kept?.known.map(({ address }) => address.id)).toEqual([idOf("ben"), idOf("anna"), idOf("cleo")]);
  });
});

describe("peers that others name", () => {
  const named = (prefix: string, count: number, direct?: string): readonly ReturnType<typeof claimOf>[] =>
    Array.from({ length: count }, (_, index) => {
      const name = `${prefix}${index}`;
      return claimOf(name, {
        record: recordOf(name, 1),
        address: addressOf(name, direct ?? `10.0.${index >> 8}.${index & 255}:1`),
      });
    });

  it("are dialed while there are few links, as many from each that names them", () => {
    const node = new Node();
    node.hears("mallory", named("m", 2_000));
    node.hears("anna", named("a", 5));
    const dials = new Set(dialsIn(node.passes(2_000)));
    for (let index = 0; index < 5; index += 1) expect(dials.has(idOf(`a${index}`))).toBe(true);
    expect(dials.size).toBeLessThanOrEqual(membershipLimits.linksWanted);
  });

  it("are not dialed when there are links enough", () => {
    const node = new Node({ linksWanted: 2 });
    for (const name of ["anna", "ben"]) node.hears(name);
    node.hears("anna", named("a", 5));
    expect(dialsIn(node.passes(60_000))).toEqual([]);
  });

  it("get four dials at a time to one address: a hint is no flood for a third party", () => {
    const node = new Node();
    node.hears("mallory", named("m", 200, "198.51.100.7:53"));
    let most = 0;
    for (let second = 0; second < 120; second += 1) {
      node.take({ kind: "tick" }, 1_000);
      const dialing = [...node.state.contacts.values()].filter((contact) => contact.dialing);
      most = Math.max(most, dialing.length);
      if (second % 5 === 4) for (const { id } of dialing) node.take({ kind: "dialed", id, reached: false });
    }
    expect(most).toBe(membershipLimits.dialingPerAddress);
  });
});

describe("places for links", () => {
  it("are not kept by peers that cannot be reached: after two tries others have theirs", () => {
    const node = new Node({ linksWanted: 3 });
    const named = (prefix: string): ReturnType<typeof claimOf>[] =>
      Array.from({ length: 6 }, (_, index) =>
        claimOf(`${prefix}${index}`, { record: recordOf(`${prefix}${index}`, 1) }),
      );
    node.hears("anna", [...named("dead"), ...named("live")]);
    const dialed = new Set<string>();
    for (let rounds = 0; rounds < 60; rounds += 1) {
      for (const id of dialsIn(node.passes(10_000))) {
        dialed.add(id);
        node.take({ kind: "dialed", id, reached: false });
      }
    }
    expect(dialed.size).toBe(12);
  });

  it("are given to those that another one names meanwhile, a share to each teller until the next try", () => {
    const node = new Node({ linksWanted: 6 });
    const named = (prefix: string): ReturnType<typeof claimOf>[] =>
      Array.from({ length: 20 }, (_, index) =>
        claimOf(`${prefix}${index}`, { record: recordOf(`${prefix}${index}`, 1) }),
      );
    const inVain = (): readonly EndpointId[] => dialsIn(node.passes(5_000));
    node.hears("anna", named("dead"));
    expect(inVain()).toHaveLength(5);
    // more of the same, from the same: their places are taken until those have been tried again
    node.hears("anna", named("gone"));
    expect(inVain()).toEqual([]);
    node.hears("ben", named("live"));
    const live = new Set(named("live").map(({ id }) => id));
    const dialed = inVain();
    expect(dialed).toHaveLength(4);
    expect(dialed.every((id) => live.has(id))).toBe(true);
    // and the two of them do not make room for each other without end
    node.hears("anna", named("lost"));
    node.hears("ben", named("late"));
    expect(inVain()).toEqual([]);
  });

  it("are not taken by peers without an address", () => {
    const node = new Node({ linksWanted: 2 });
    const nowhere = Array.from({ length: 5 }, (_, index) => claimOf(`nowhere${index}`, { address: undefined }));
    node.hears("anna", [...nowhere, claimOf("ben", { record: recordOf("ben", 1) })]);
    expect(dialsIn(node.passes(5_000))).toEqual([idOf("ben")]);
    node.hears("anna", [claimOf("nowhere0")]);
    node.take({ kind: "dialed", id: idOf("ben"), reached: false });
    expect(dialsIn(node.passes(60_000))).toContain(idOf("nowhere0"));
  });
});

it("a dial that reaches a connection on which the peer says nothing of itself is not repeated at once", () => {
  const node = new Node({ linksWanted: 0 });
  node.take({ kind: "seek", address: addressOf("anna") });
  let dials = 0;
  for (let step = 0; step < 200; step += 1) {
    for (const id of dialsIn(node.passes(100))) {
      dials += 1;
      node.take({ kind: "dialed", id, reached: true });
    }
  }
  expect(dials).toBeGreaterThan(1);
  expect(dials).toBeLessThan(20);
});

it("an address that a peer has signed is not replaced by an older one of its own, whoever brings it", () => {
  const node = new Node({ linksWanted: 0 });
  const claim = (seq: number, direct: string): ReturnType<typeof claimOf> =>
    claimOf("carl", { record: recordOf("carl", seq), address: addressOf("carl", direct), addressSigned: true });
  node.hears("anna", [claim(2, "198.51.100.2:2")]);
  node.hears("ben", [{ ...claim(1, "198.51.100.1:1"), inContact: true }]);
  expect(node.state.peers.get(idOf("carl"))?.address?.direct).toEqual(["198.51.100.2:2"]);
});

/** A member that fills others' tables with names of its own, so that they know and reach nobody else. */
import { expect, it } from "vitest";
import { membershipLimits } from "../../src/mesh/membership.ts";
import type { Claim } from "../../src/mesh/membership.ts";
import { addressOf, claimOf, idOf, Node, recordOf } from "../support/membership.ts";

const invented = (count: number, from = 0): readonly Claim[] =>
  Array.from({ length: count }, (_, index) => {
    const name = `m${from + index}`;
    const direct = `10.${(from + index) >> 8}.${(from + index) & 255}.1:1`;
    return claimOf(name, { record: recordOf(name, 1), address: addressOf(name, direct), inContact: true });
  });
const truth = ["anna", "ben", "carl", "dora", "emil"];

it("a node that hears 2,000 invented names of one member and five true ones of another is soon linked with the true ones", () => {
  const node = new Node();
  node.hears("mallory", invented(2_000));
  node.hears(
    "friend",
    truth.map((name) =>
      claimOf(name, { record: recordOf(name, 1), address: addressOf(name, `192.0.2.${name.length}:1`) }),
    ),
  );
  const isTrue = new Set(truth.map(idOf));
  const reached = new Set<string>();
  node.passes(60_000, (id) => {
    if (isTrue.has(id)) reached.add(id);
    return isTrue.has(id);
  });
  expect(reached).toEqual(isTrue);
});

it("nor do its names push out those of others, or of peers that come by themselves, when the table is full", () => {
  const node = new Node({ linksWanted: 0 });
  node.hears(
    "friend",
    truth.map((name) => claimOf(name, { record: recordOf(name, 1) })),
  );
  for (let from = 0; from < 8_000; from += 2_000) node.hears("mallory", invented(2_000, from));
  node.hears("late");
  expect(node.state.peers.size).toBeLessThanOrEqual(membershipLimits.peers);
  expect([...truth, "friend", "late"].filter((name) => !node.knows(name))).toEqual([]);
});

it("nor does its word that all others are down remove one of them", () => {
  const node = new Node();
  for (const name of truth) node.hears(name);
  node.hears("mallory");
  for (const name of truth) node.take({ kind: "peer-down", from: idOf("mallory"), about: idOf(name) });
  node.passes(30_000);
  expect(truth.filter((name) => !node.knows(name))).toEqual([]);
});

/**
 * Random schedules on small meshes: nodes come, die, leave, return, sleep and have wrong clocks; the network loses,
 * repeats, delays and is cut. Then it is quiet, and all must be well. SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { membershipLimits } from "../../../src/mesh/membership.ts";
import { fc } from "../../support/fast-check.ts";
import { SimulatedMesh, type SimulatedNode } from "../../support/simulated-mesh.ts";
import { isOne } from "../../support/simulation.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 150);
/** After its end, how long a node may still be listed anew by those that had removed it, ms. */
const settledMs = 60_000;
/** Records hold among clocks that differ by less than five minutes; those of two nodes differ by twice this at most. */
const mostSkewMs = 145_000;
/** More than all tries, waits and rounds of news of a mesh of this size. */
const quietMs = 240_000;

const node = fc.nat(7);
const anyDeed = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("kill" as const), node }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("leave" as const), node }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("restart" as const), node }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      skewMs: fc.integer({ min: -mostSkewMs, max: mostSkewMs }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("cut" as const), parts: fc.nat(255) }) },
  { weight: 2, arbitrary: fc.constant({ kind: "heal" as const }) },
  // the clock is set, or the machine has slept: both look alike to the node
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("jump" as const), node, ms: fc.integer({ min: -240_000, max: 240_000 }) }),
  },
);
const anySchedule = fc.record({
  seed: fc.integer(),
  count: fc.integer({ min: 3, max: 6 }),
  loss: fc.constantFrom(0, 0, 0.05, 0.2),
  repeated: fc.constantFrom(0, 0.2),
  slow: fc.boolean(),
  deeds: fc.array(fc.tuple(fc.integer({ min: 0, max: 90_000 }), anyDeed), { maxLength: 8 }),
});
type Schedule = typeof anySchedule extends fc.Arbitrary<infer Value> ? Value : never;
type Deed = typeof anyDeed extends fc.Arbitrary<infer Value> ? Value : never;

function meshOf({ seed, count, loss, repeated, slow }: Schedule): SimulatedMesh {
  const mesh = new SimulatedMesh({ seed, loss, repeated, latencyMs: slow ? [5, 900] : [5, 60] });
  const first = mesh.add([]);
  for (let added = 1; added < count; added += 1) mesh.add([first]);
  return mesh;
}

function perform(mesh: SimulatedMesh, deed: Deed): void {
  const { nodes, alive } = mesh;
  const [seed] = nodes;
  const chosen = "node" in deed ? nodes[deed.node % nodes.length] : undefined;
  if (deed.kind === "add" && nodes.length < 8 && seed) mesh.add([seed], deed.skewMs);
  if (deed.kind === "cut") mesh.partition(({ index }) => (deed.parts >> index) & 1);
  if (deed.kind === "heal") mesh.heal();
  if (!chosen) return;
  // one is left to come back to
  if (deed.kind === "kill" && alive.length > 1) mesh.kill(chosen);
  if (deed.kind === "leave" && alive.length > 1) mesh.leave(chosen);
  if (deed.kind === "restart") mesh.restart(chosen, seed ? [seed] : []);
  if (deed.kind === "jump") {
    chosen.skewMs = Math.max(-mostSkewMs, Math.min(mostSkewMs, chosen.skewMs + deed.ms));
  }
}

/** Watches that nobody lists again whom it had removed after its end, when that was a while ago. */
function watchTheDead(mesh: SimulatedMesh): readonly string[] {
  const faults: string[] = [];
  const removed = new Map<SimulatedNode, Set<SimulatedNode>>();
  const listed = new Map<SimulatedNode, ReadonlySet<string>>();
  mesh.onStep = (who, before) => {
    // it has just started, and knows nothing of before
    if (before.watch.clockMs === undefined) {
      removed.delete(who);
      listed.delete(who);
    }
    if (who.state.peers === before.peers) return;
    const gone = removed.get(who) ?? new Set<SimulatedNode>();
    removed.set(who, gone);
    for (const dead of mesh.nodes) {
      const { deadSinceMs } = dead;
      if (deadSinceMs === undefined) gone.delete(dead);
      else if (!who.state.peers.has(dead.id)) {
        if (listed.get(who)?.has(dead.id)) gone.add(dead);
      } else if (gone.has(dead) && deadSinceMs + settledMs < mesh.nowMs) {
        faults.push(`${who.index} lists ${dead.index} again, dead for ${mesh.nowMs - deadSinceMs} ms`);
      }
    }
    listed.set(who, new Set(who.state.peers.keys()));
  };
  return faults;
}

function expectBounded({ nodes }: SimulatedMesh): void {
  const most = nodes.length;
  for (const { state } of nodes) {
    for (const table of [state.peers, state.contacts, state.gone]) expect(table.size).toBeLessThanOrEqual(most);
    expect(state.refuted.size).toBeLessThanOrEqual(most * most);
    expect(state.changes.size).toBeLessThanOrEqual(4 * most + membershipLimits.changesSpare + 600);
    for (const { link } of state.contacts.values()) expect(link?.has.size ?? 0).toBeLessThanOrEqual(2 * most + 64);
  }
}

/** What a node may send in so many ms: heartbeats and rounds of news that it starts, those it answers, and what follows. */
function mostSent(links: number, ms: number): number {
  const { heartbeatMs, heartbeatPeers, newsSpaceMs } = membershipLimits;
  const rounds = (ms / heartbeatMs + 1) * Math.min(links, heartbeatPeers) + (ms / newsSpaceMs + 1) * links;
  return 3 * 2 * rounds;
}

const linksOf = ({ state }: SimulatedNode): number =>
  [...state.contacts.values()].filter(({ link }) => link !== undefined).length;

function checkQuiet(mesh: SimulatedMesh): void {
  const [seed] = mesh.nodes;
  // where all look who may have met nobody yet
  if (seed) mesh.restart(seed);
  mesh.heal();
  mesh.calm();
  mesh.run(quietMs);
  expect(isOne(mesh), "all are linked with one another").toBe(true);
  expect(mesh.isComplete(), "nobody that lives is lost").toBe(true);
  expect(
    listing(mesh, ({ state }, { id }) => state.contacts.get(id)?.met ?? false),
    "the dead, by who knew them",
  ).toEqual([]);
  expectBounded(mesh);
  for (const each of mesh.nodes) each.sent = 0;
  mesh.run(300_000);
  // heartbeats that it starts and those that it answers, and a renewal of a record now and then
  for (const each of mesh.alive) expect(each.sent).toBeLessThanOrEqual(2 * 6 * (mesh.nodes.length - 1) + 40);
  // one may be renewed at this very moment
  const convergedMs = mesh.runUntil(() => mesh.isConverged(), 120_000);
  expect(convergedMs, "the newest record of all is known to all").toBeDefined();
  // who only heard of them goes by what they sign: nothing
  mesh.run(membershipLimits.silentAfterMs);
  expect(
    listing(mesh, () => true),
    "the dead",
  ).toEqual([]);
}

/** Who lists whom that is dead for so long that everybody must have noticed. */
function listing(
  mesh: SimulatedMesh,
  isMeant: (who: SimulatedNode, dead: SimulatedNode) => boolean,
): readonly string[] {
  const dead = mesh.nodes.filter(({ deadSinceMs }) => deadSinceMs !== undefined && mesh.nowMs - deadSinceMs >= quietMs);
  return mesh.alive.flatMap((who) =>
    dead
      .filter((each) => who.state.peers.has(each.id) && isMeant(who, each))
      .map(({ index }) => `${who.index} lists ${index}`),
  );
}

describe("whatever happens to a mesh, when it is over", () => {
  it(
    "records converge, the dead stay dead, the living are found, memory and messages are bounded",
    () => {
      fc.assert(
        fc.property(anySchedule, (schedule) => {
          const mesh = meshOf(schedule);
          const faults = watchTheDead(mesh);
          for (const [afterMs, deed] of schedule.deeds) {
            const before = new Map(mesh.nodes.map((each) => [each, each.sent]));
            mesh.run(afterMs);
            for (const each of mesh.nodes) {
              expect(each.sent - (before.get(each) ?? 0)).toBeLessThanOrEqual(mostSent(mesh.nodes.length - 1, afterMs));
            }
            perform(mesh, deed);
          }
          checkQuiet(mesh);
          expect(faults).toEqual([]);
        }),
        { numRuns, verbose: 0 },
      );
    },
    Math.max(120_000, numRuns * 400),
  );
});

it("eight nodes forget one that died within 90 s, and all are linked again within 30 s of a cut of 90 s", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const mesh = new SimulatedMesh({ seed });
    const first = mesh.add([]);
    const rest = Array.from({ length: 7 }, () => mesh.add([first]));
    mesh.run(60_000);
    expect(mesh.nodes.map(linksOf)).toEqual(Array.from({ length: 8 }, () => 7));
    const [victim] = rest;
    if (victim) mesh.kill(victim);
    mesh.run(90_000);
    expect(mesh.alive.filter(({ state }) => victim && state.peers.has(victim.id))).toEqual([]);
    mesh.partition(({ index }) => index % 2);
    mesh.run(90_000);
    mesh.heal();
    mesh.run(30_000);
    expect(mesh.alive.map(linksOf)).toEqual(Array.from({ length: 7 }, () => 6));
  }
});

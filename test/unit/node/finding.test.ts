/** The pure step of finding, without sockets: a small world of nodes and their listings on a clock of the test's own. */
import { describe, expect, it } from "vitest";
import type { EndpointId } from "../../../src/base/brand.ts";
import type { Listing } from "../../../src/discovery/discovery.ts";
import {
  type Finding,
  type FindingAction,
  type FindingEvent,
  type FindingSettings,
  findingStep,
  findingTiming,
  newFinding,
} from "../../../src/node/finding.ts";
import { fc } from "../../support/fast-check.ts";
import { idOf, listingOf } from "../../support/listings.ts";

const host: FindingSettings = {
  self: idOf("8"),
  meshId: "8".repeat(32),
  looks: true,
  name: undefined,
  creates: true,
  publishes: true,
  publishesAtOnce: false,
  demands: () => true,
  timing: findingTiming,
};
const client: FindingSettings = { ...host, creates: false, publishes: false };

/** One node's machine, stepped by hand. */
class Machine {
  state: Finding;
  members: ReadonlySet<EndpointId> = new Set();
  now = 1_000_000;

  constructor(settings: Partial<FindingSettings> = {}, base: FindingSettings = host) {
    this.state = newFinding({ ...base, ...settings });
  }

  step(
    event:
      | { kind: "start" | "tick" }
      | { kind: "found"; listings: readonly Listing[] }
      | { kind: "joined" | "failed"; id: EndpointId },
  ): readonly FindingAction[] {
    const whole = { ...event, mesh: { members: this.members }, jitter: 0.5 } as FindingEvent;
    const { state, actions } = findingStep(this.state, whole, this.now);
    this.state = state;
    return actions;
  }

  kinds(event: Parameters<Machine["step"]>[0]): readonly string[] {
    return this.step(event).map(({ kind }) => kind);
  }

  /** Ticks until an action comes. @returns how long it took, ms */
  wait(kind: FindingAction["kind"], ms = 1_000_000): number {
    const began = this.now;
    while (this.now - began < ms) {
      this.now += 500;
      if (this.kinds({ kind: "tick" }).includes(kind)) return this.now - began;
    }
    throw new Error(`no ${kind} within ${ms} ms`);
  }
}

const many = (count: number, changes: Partial<Listing> = {}): readonly Listing[] =>
  Array.from({ length: count }, (_, n) => {
    const id = (n + 16).toString(16).padStart(64, "a") as EndpointId;
    return listingOf(id, { publisher: `${n}`, ...changes });
  });

describe("a host", () => {
  it("looks first, and creates and lists a mesh when it finds none", () => {
    const machine = new Machine();
    expect(machine.kinds({ kind: "start" })).toEqual(["look"]);
    expect(machine.kinds({ kind: "found", listings: [] })).toEqual(["create", "list"]);
  });

  it("joins what it finds, and creates nothing", () => {
    const machine = new Machine();
    machine.step({ kind: "start" });
    expect(machine.step({ kind: "found", listings: [listingOf(idOf("9"))] })).toMatchObject([
      { kind: "dial", listing: { endpointId: idOf("9") } },
    ]);
    expect(machine.kinds({ kind: "joined", id: idOf("9") })).toEqual(["list"]);
  });

  it("tries one after the other, and creates when the last has failed", () => {
    const machine = new Machine();
    machine.step({ kind: "start" });
    machine.step({ kind: "found", listings: [listingOf(idOf("9")), listingOf(idOf("a"))] });
    expect(machine.kinds({ kind: "failed", id: idOf("9") })).toEqual(["dial"]);
    expect(machine.kinds({ kind: "failed", id: idOf("a") })).toEqual(["create", "list"]);
  });

  it("lists its mesh at once with --publish, and looks for nobody", () => {
    const machine = new Machine({ looks: false, publishesAtOnce: true });
    expect(machine.kinds({ kind: "start" })).toEqual(["create", "list"]);
    expect(() => machine.wait("look", 3_600_000)).toThrow();
  });

  it("looks for the other half of its mesh between 5 and 15 s after it has created one, and later less often", () => {
    const machine = new Machine();
    machine.step({ kind: "start" });
    machine.step({ kind: "found", listings: [] });
    const waits: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      waits.push(machine.wait("look"));
      machine.step({ kind: "found", listings: [] });
    }
    expect(waits[0]).toBeGreaterThanOrEqual(5_000);
    expect(waits[0]).toBeLessThanOrEqual(15_000);
    expect(waits.toSorted((a, b) => a - b)).toEqual(waits);
    expect(waits.at(-1)).toBeLessThanOrEqual(400_000);
  });

  it("skips its own listing, and those of members", () => {
    const machine = new Machine();
    machine.members = new Set([idOf("9")]);
    machine.step({ kind: "start" });
    expect(machine.kinds({ kind: "found", listings: [listingOf(host.self), listingOf(idOf("9"))] })).toEqual([]);
  });

  it("does not wait for a crowd of listings that lead nowhere", () => {
    const machine = new Machine();
    machine.step({ kind: "start" });
    machine.step({ kind: "found", listings: many(200) });
    let dials = 1;
    let actions: readonly string[] = [];
    while (!actions.includes("create")) {
      actions = machine.kinds({ kind: "failed", id: machine.state.dialing ?? idOf("0") });
      if (actions.includes("dial")) dials += 1;
      expect(dials).toBeLessThan(20);
    }
    expect(dials).toBe(findingTiming.dialsPerMinute);
  });

  it("stops being listed when three others of its mesh are, and steps in when they are gone", () => {
    const machine = new Machine({ self: idOf("f") });
    const others = ["1", "2", "3"].map(idOf);
    machine.members = new Set(others);
    machine.step({ kind: "start" });
    machine.wait("look");
    expect(machine.kinds({ kind: "found", listings: others.map((id) => listingOf(id)) })).toEqual(["unlist"]);
    machine.wait("look");
    expect(machine.kinds({ kind: "found", listings: [] })).toEqual(["list"]);
  });
});

describe("two meshes", () => {
  /** Whether a settled host with this id and mesh dials the other one at its first look. */
  function dials(settings: Partial<FindingSettings>, listing: Listing, members: readonly EndpointId[] = []): boolean {
    const machine = new Machine(settings);
    machine.step({ kind: "start" });
    machine.step({ kind: "found", listings: [] });
    machine.members = new Set(members);
    machine.wait("look");
    return machine.kinds({ kind: "found", listings: [listing] }).includes("dial");
  }
  const theirs = (digit: string, changes: Partial<Listing> = {}): Listing =>
    listingOf(idOf(digit), { meshId: digit.repeat(32), ...changes });

  it("of one size: the one with the smaller id is joined", () => {
    expect(dials({}, theirs("1"))).toBe(true);
    expect(dials({}, theirs("9"))).toBe(false);
  });

  it("of two sizes: the larger is joined", () => {
    expect(dials({}, theirs("9", { nodeCount: 2 }))).toBe(true);
    expect(dials({}, theirs("1"), [idOf("2")])).toBe(false);
  });

  it("of one name: the node with the larger id dials", () => {
    const named = { meshId: "8".repeat(32) };
    expect(dials({}, theirs("1", named))).toBe(true);
    expect(dials({}, theirs("9", named))).toBe(false);
  });

  it("one million nodes that somebody claims count as ten", () => {
    const ten = Array.from({ length: 10 }, (_, n) => idOf(String(n)));
    expect(dials({}, theirs("f", { nodeCount: 1_000_000 }), ten)).toBe(false);
  });

  it("equals: the other side dials as well when nobody has come", () => {
    const machine = new Machine();
    machine.step({ kind: "start" });
    machine.step({ kind: "found", listings: [] });
    let looks = 0;
    for (;;) {
      machine.wait("look");
      looks += 1;
      if (machine.kinds({ kind: "found", listings: [theirs("9")] }).includes("dial")) break;
      expect(looks).toBeLessThan(5);
    }
    expect(looks).toBeGreaterThan(1);
  });
});

describe("a client", () => {
  it("that finds nothing says so and looks again", () => {
    const machine = new Machine({}, client);
    machine.step({ kind: "start" });
    expect(machine.kinds({ kind: "found", listings: [] })).toEqual(["nothing-found"]);
    expect(machine.wait("look")).toBeLessThan(5_000);
  });

  it("looks no more once it is in a mesh, and again when it has been alone for 90 s", () => {
    const machine = new Machine({}, client);
    machine.step({ kind: "start" });
    machine.step({ kind: "found", listings: [listingOf(idOf("9"))] });
    machine.members = new Set([idOf("9")]);
    machine.step({ kind: "joined", id: idOf("9") });
    expect(() => machine.wait("look", 3_600_000)).toThrow();
    machine.members = new Set();
    const waited = machine.wait("look");
    expect(waited).toBeGreaterThanOrEqual(90_000);
    expect(waited).toBeLessThanOrEqual(91_000);
    expect(machine.state.phase).toBe("searching");
  });

  it("does not try again for five minutes what has failed", () => {
    const machine = new Machine({}, client);
    machine.step({ kind: "start" });
    machine.step({ kind: "found", listings: [listingOf(idOf("9"))] });
    const failedAt = machine.now;
    machine.step({ kind: "failed", id: idOf("9") });
    for (;;) {
      machine.wait("look");
      if (machine.kinds({ kind: "found", listings: [listingOf(idOf("9"))] }).includes("dial")) break;
    }
    expect(machine.now - failedAt).toBeGreaterThanOrEqual(findingTiming.failedRestMs);
  });

  it("tells once of a mesh that needs an invite, or demands more than it does itself", () => {
    const machine = new Machine({ demands: () => false }, client);
    machine.step({ kind: "start" });
    const listings = [
      listingOf(idOf("9"), { inviteOnly: true }),
      listingOf(idOf("a"), { minimum: { attested: "vendor", encryption: true } }),
    ];
    expect(machine.step({ kind: "found", listings })).toMatchObject([
      { kind: "not-joined", why: "needs-invite" },
      { kind: "not-joined", why: "demands-more" },
      { kind: "nothing-found" },
    ]);
    machine.wait("look");
    expect(machine.kinds({ kind: "found", listings })).toEqual(["nothing-found"]);
  });
});

describe("whatever happens", () => {
  const ids = ["1", "5", "8", "9", "c"].map(idOf);
  const listing = fc.record({
    endpointId: fc.constantFrom(...ids),
    publisher: fc.string({ maxLength: 2 }),
    meshName: fc.constantFrom(undefined, "mesh-llm", "other"),
    meshId: fc.constantFrom(undefined, "1".repeat(32), "8".repeat(32), "c".repeat(16)),
    nodeCount: fc.nat(),
    inviteOnly: fc.boolean(),
    expiresAtMs: fc.constantFrom(0, Number.MAX_SAFE_INTEGER),
  });
  const happening = fc.oneof(
    { weight: 5, arbitrary: fc.constant({ kind: "tick" } as const) },
    fc.record({ kind: fc.constant("found" as const), listings: fc.array(listing, { maxLength: 30 }) }),
    fc.record({ kind: fc.constantFrom("joined" as const, "failed" as const), id: fc.constantFrom(...ids) }),
  );
  const schedule = fc.array(
    fc.tuple(happening, fc.nat(60_000), fc.subarray(ids), fc.double({ min: 0, max: 1, noNaN: true })),
    { maxLength: 120 },
  );

  it("it dials one at a time, few in a minute, never itself, a member or what has just failed; its memory is bounded", () => {
    fc.assert(
      fc.property(schedule, fc.constantFrom(host, client), (events, settings) => {
        let now = 1_000_000;
        let state = findingStep(
          newFinding(settings),
          { kind: "start", mesh: { members: new Set() }, jitter: 0 },
          now,
        ).state;
        const dials: number[] = [];
        const failedAt = new Map<EndpointId, number>();
        for (const [event, ms, members, jitter] of events) {
          now += ms;
          // the finder reports on the dial under way, and on no other
          if ((event.kind === "joined" || event.kind === "failed") && event.id !== state.dialing) continue;
          if (event.kind === "found" && state.dialing !== undefined) continue;
          if (event.kind === "failed") failedAt.set(event.id, now);
          const listings = event.kind === "found" ? event.listings.map((one) => listingOf(one.endpointId, one)) : [];
          const others = new Set(members.filter((id) => id !== settings.self));
          const before = state.dialing;
          const whole = { ...event, listings, mesh: { members: others }, jitter } as FindingEvent;
          const { state: after, actions } = findingStep(state, whole, now);
          const dialed = actions.flatMap((action) => (action.kind === "dial" ? [action.listing] : []));
          expect(dialed.length).toBeLessThanOrEqual(event.kind === "tick" && before !== undefined ? 0 : 1);
          for (const { endpointId: id, inviteOnly } of dialed) {
            dials.push(now);
            expect(id).not.toBe(settings.self);
            expect(others.has(id)).toBe(false);
            expect(inviteOnly).toBe(false);
            expect(now - (failedAt.get(id) ?? 0)).toBeGreaterThanOrEqual(findingTiming.failedRestMs);
          }
          expect(dials.filter((at) => now - at < 60_000).length).toBeLessThanOrEqual(findingTiming.dialsPerMinute);
          expect(actions.length).toBeLessThanOrEqual(40);
          state = after;
          expect(state.candidates.length).toBeLessThanOrEqual(16);
          expect(state.failed.size).toBeLessThanOrEqual(256);
          // something is always under way or due, or nobody would ever look again
          const asks = actions.some(({ kind }) => kind === "look") || event.kind !== "found";
          const isBusy = state.dialing !== undefined || state.candidates.length > 0;
          // a client among others looks again when they have gone
          const isContent = others.size > 0 || state.hadMembers;
          expect(asks || isBusy || isContent || state.lookAtMs !== undefined).toBe(true);
        }
      }),
      { numRuns: Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 500) },
    );
  });
});

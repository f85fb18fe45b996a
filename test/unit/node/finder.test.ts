/** The finder over ways to find meshes that the test holds in its hands. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { EndpointId } from "../../../src/base/brand.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { LogEvent } from "../../../src/base/log.ts";
import type { Discovery, Listing, Offer } from "../../../src/discovery/discovery.ts";
import { Finder, type FinderParts } from "../../../src/node/finder.ts";
import { findingTiming } from "../../../src/node/finding.ts";
import { idOf, listingOf, offerOf } from "../../support/listings.ts";

const self = idOf("8");
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  vi.useRealTimers();
});

/** A way to find meshes that has these to tell, and remembers what it was told. */
class Board implements Discovery {
  readonly source = "lan";
  listings: readonly Listing[] = [];
  failure: MeshError | undefined;
  readonly announced: Offer[] = [];
  closed = false;

  async announce(offer: Offer): Promise<void> {
    if (this.failure) throw this.failure;
    this.announced.push(offer);
  }
  async withdraw(): Promise<void> {}
  async find(): Promise<readonly Listing[]> {
    if (this.failure) throw this.failure;
    return this.listings;
  }
  async close(): Promise<void> {
    this.closed = true;
  }
}

interface World {
  readonly finder: Finder;
  readonly boards: readonly Board[];
  readonly events: readonly LogEvent[];
  readonly members: Set<EndpointId>;
  readonly dialed: EndpointId[];
  offer: Offer;
}

/** @param refuse whose dial fails */
function world(boards: readonly Board[], refuse: readonly EndpointId[] = []): World {
  vi.useFakeTimers();
  const events: LogEvent[] = [];
  const members = new Set<EndpointId>();
  const dialed: EndpointId[] = [];
  const parts: FinderParts = {
    settings: {
      self,
      meshId: "8".repeat(32),
      looks: true,
      name: undefined,
      creates: true,
      publishes: true,
      publishesAtOnce: false,
      demands: () => true,
      timing: findingTiming,
    },
    discoveries: boards,
    clock: { now: () => Date.now() },
    log: { write: (_level, event) => events.push(event) },
    members: () => members,
    join: async ({ id }) => {
      dialed.push(id);
      if (refuse.includes(id)) throw new MeshError("E_UNREACHABLE", "nobody there");
      members.add(id);
    },
    offer: () => made.offer,
    onChange: () => undefined,
    timing: { findMs: 100, joinMs: 1_000, tickMs: 500, listingNewsMs: 10_000 },
  };
  const finder = new Finder(parts);
  closers.push(() => finder.close());
  const made: World = { finder, boards, events, members, dialed, offer: offerOf(self) };
  finder.start();
  return made;
}

const names = ({ events }: World): readonly string[] => events.map(({ event }) => event);

describe("a finder", () => {
  it("joins what one of its ways has found, though the other fails", async () => {
    const [good, bad] = [new Board(), new Board()];
    good.listings = [listingOf(idOf("1"))];
    bad.failure = new MeshError("E_UNREACHABLE", "no relay");
    const made = world([bad, good]);
    await made.finder.settled;
    expect(made.dialed).toEqual([idOf("1")]);
    expect(names(made)).toContain("mesh-found");
  });

  it("dials one after the other, and begins a mesh when nobody is there", async () => {
    const board = new Board();
    board.listings = [listingOf(idOf("1")), listingOf(idOf("2"))];
    const made = world([board], [idOf("1"), idOf("2")]);
    await made.finder.settled;
    expect(made.dialed).toEqual([idOf("1"), idOf("2")]);
    expect(names(made).slice(0, 3)).toEqual(["join-failed", "join-failed", "mesh-created"]);
  });

  it("is public while one of its ways has the listing, and says when none has", async () => {
    const [good, bad] = [new Board(), new Board()];
    bad.failure = new MeshError("E_UNREACHABLE", "no relay");
    const made = world([good]);
    await made.finder.settled;
    await vi.advanceTimersByTimeAsync(0);
    expect(made.finder.publication).toBe("public");
    const alone = world([bad]);
    await alone.finder.settled;
    await vi.advanceTimersByTimeAsync(0);
    expect(alone.finder.publication).toBe("publish_failed");
    expect(names(alone)).toContain("mesh-not-listed");
  });

  it("tells news of the listing, and not faster than it may", async () => {
    const board = new Board();
    const made = world([board]);
    await made.finder.settled;
    for (let nodes = 2; nodes < 42; nodes += 1) {
      made.offer = offerOf(self, { nodeCount: nodes });
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(board.announced.length).toBeGreaterThanOrEqual(2);
    expect(board.announced.length).toBeLessThanOrEqual(4);
    await vi.advanceTimersByTimeAsync(60_000);
    const told = board.announced.length;
    expect(board.announced.at(-1)?.nodeCount).toBe(41);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(board.announced.length).toBe(told);
  });

  it("ends its ways with itself, and dials nobody afterwards", async () => {
    const board = new Board();
    const made = world([board]);
    await made.finder.settled;
    await made.finder.close();
    board.listings = [listingOf(idOf("1"))];
    await vi.advanceTimersByTimeAsync(600_000);
    expect(board.closed).toBe(true);
    expect(made.dialed).toEqual([]);
  });
});

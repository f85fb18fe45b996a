/** Attack: thousands of well-signed listings under the name of a mesh, to make all who look dial, and to hide the real one. */
import { describe, expect, it } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { type Finding, type FindingEvent, findingStep, findingTiming, newFinding } from "../../src/node/finding.ts";
import { idOf, listingOf } from "../support/listings.ts";

const real = idOf("0");
const flood = Array.from({ length: 5_000 }, (_, n) => {
  const id = n.toString(16).padStart(64, "f") as EndpointId;
  return listingOf(id, { publisher: `key ${n}`, meshName: "team", nodeCount: 1_000_000, serving: ["a", "b", "c"] });
});

/** A node that looks for an hour, and whose every dial fails but one to the real host. */
function lookFor(creates: boolean): { readonly dials: readonly number[]; readonly created: boolean } {
  let state: Finding = newFinding({
    self: idOf("8"),
    meshId: "8".repeat(16),
    looks: true,
    name: "team",
    creates,
    publishes: creates,
    publishesAtOnce: false,
    demands: () => true,
    timing: findingTiming,
  });
  const members = new Set<EndpointId>();
  const dials: number[] = [];
  let created = false;
  const feed = (event: Pick<FindingEvent, "kind"> & object, now: number): void => {
    const whole = { ...event, mesh: { members }, jitter: 0.5 } as FindingEvent;
    const step = findingStep(state, whole, now);
    state = step.state;
    for (const action of step.actions) {
      if (action.kind === "create") created = true;
      if (action.kind === "look")
        feed({ kind: "found", listings: [...flood, listingOf(real, { meshName: "team" })] } as never, now);
      if (action.kind !== "dial") continue;
      dials.push(now);
      const { endpointId: id } = action.listing;
      feed({ kind: id === real ? "joined" : "failed", id } as never, now + 100);
    }
  };
  feed({ kind: "start" }, 0);
  for (let now = 500; now < 3_600_000; now += 500) feed({ kind: "tick" }, now);
  return { dials, created };
}

describe("a name that is flooded with listings", () => {
  it.each([true, false])("makes a node dial six times a minute at most (host: %s)", (creates) => {
    const { dials } = lookFor(creates);
    for (const at of dials) {
      expect(dials.filter((other) => other >= at && other < at + 60_000).length).toBeLessThanOrEqual(
        findingTiming.dialsPerMinute,
      );
    }
  });

  it("does not keep a host from having a mesh", () => {
    expect(lookFor(true).created).toBe(true);
  });
});

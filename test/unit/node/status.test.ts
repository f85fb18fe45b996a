import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import type { Peer } from "../../../src/mesh/membership.ts";
import { Exchanges } from "../../../src/node/exchanges.ts";
import { admissionStatus, exchangesStatus, peerStatus, type PeerFacts } from "../../../src/node/status.ts";
import { report } from "./reports.ts";

const id = endpointId("cc".repeat(32));
const peer: Peer = {
  id,
  role: "host",
  models: ["small", "large"],
  runtimes: [{ name: "small", contextLength: 4096, ready: true }],
  version: "0.65.1",
  hostname: "h",
  address: undefined,
  record: undefined,
  announced: { kind: "absent" },
  conflict: false,
  met: true,
  lastSeenMs: 1,
  lastMentionedMs: 0,
  mentionedBy: new Set(),
};
const facts: PeerFacts = {
  peer,
  key: { kind: "none" },
  connected: true,
  rttMs: 12,
  relays: 0,
  route: "auto",
  plainAllowed: true,
};

/** Of the record, what status looks at. */
function withRecord(models: readonly object[]): Peer {
  return { ...peer, record: { fields: { models } } as unknown as NonNullable<Peer["record"]> };
}

describe("a peer's models", () => {
  it("come with their context from gossip, and null for what nobody said", () => {
    expect(peerStatus(facts).model_states).toEqual([
      { id: "small", context_length: 4096, busy: null, queue: null },
      { id: "large", context_length: null, busy: null, queue: null },
    ]);
  });

  it("come with what its record says of them, which counts more", () => {
    const told = { name: "small", context: 8192, busy: true, queue: 3, kinds: [] };
    expect(peerStatus({ ...facts, peer: withRecord([told]) }).model_states[0]).toEqual({
      id: "small",
      context_length: 8192,
      busy: true,
      queue: 3,
    });
  });
});

describe("exchanges in the document", () => {
  it("are the last twenty, and sums over all", () => {
    const exchanges = new Exchanges();
    for (let index = 0; index < 30; index++) exchanges.add(report({ id: `r${index}` }));
    const { recent, totals } = exchangesStatus(exchanges);
    expect(recent.map((each) => each.id)).toEqual(Array.from({ length: 20 }, (_, index) => `r${29 - index}`));
    expect(totals.requests).toBe(30);
  });

  it("come with what runs, what waits and how much of each there may be", () => {
    expect(admissionStatus({ running: 1, queued: 2, maxRunning: 3, maxQueued: 4 })).toEqual({
      running: 1,
      queued: 2,
      max_running: 3,
      max_queued: 4,
    });
  });
});

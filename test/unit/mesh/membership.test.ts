import { describe, expect, it } from "vitest";
import { type EndpointId, endpointIdFromBytes } from "../../../src/base/brand.ts";
import { concat } from "../../../src/base/bytes.ts";
import { generateKeyPair } from "../../../src/crypto/box.ts";
import { identityFrom } from "../../../src/crypto/identity.ts";
import { signRecord, type VerifiedRecord, verifyRecord } from "../../../src/crypto/record.ts";
import {
  type Claim,
  emptyMembership,
  keyStanding,
  type Membership,
  type MembershipEvent,
  membershipLimits,
  step,
} from "../../../src/mesh/membership.ts";
import type { RecordModel } from "../../../src/wire/record.ts";
import { fc } from "../../support/fast-check.ts";

const identities = [1, 2, 3, 4].map((byte) => identityFrom(new Uint8Array(32).fill(byte)));
const [self, host, relay, liar] = identities.map(({ id }) => id) as [EndpointId, EndpointId, EndpointId, EndpointId];
const hostKey = generateKeyPair().publicKey;
const forgedKey = generateKeyPair().publicKey;

interface RecordOptions {
  key?: Uint8Array;
  issuedAtMs?: number;
  models?: readonly RecordModel[];
}

function recordOf(index: number, seq: number, options: RecordOptions = {}): VerifiedRecord {
  const identity = identities[index] ?? identities[0];
  if (!identity) throw new Error("no such identity");
  const issuedAtMs = options.issuedAtMs ?? 0;
  return signRecord(identity, {
    seq: BigInt(seq),
    issuedAtMs,
    notAfterMs: issuedAtMs + 3_600_000,
    inferenceKey: options.key ?? hostKey,
    keyNotAfterMs: undefined,
    capabilities: ["seal.v1"],
    ...(options.models ? { models: options.models } : {}),
  });
}

function claim(id: EndpointId, more: Partial<Claim> = {}): Claim {
  return {
    id,
    role: "host",
    models: ["m"],
    runtimes: [],
    version: undefined,
    hostname: undefined,
    address: { id, relays: [], direct: ["127.0.0.1:1"] },
    key: { kind: "absent" },
    record: undefined,
    blob: undefined,
    ownership: undefined,
    saidPosture: undefined,
    addressSigned: false,
    inContact: undefined,
    ...more,
  };
}

function after(state: Membership, ...events: readonly (readonly [MembershipEvent, number])[]): Membership {
  return events.reduce((before, [event, now]) => step(before, event, now).state, state);
}

const start = emptyMembership(self, new Map());
const gossip = (from: EndpointId, ...claims: readonly Claim[]): MembershipEvent => ({
  kind: "gossip",
  from,
  claims,
  linked: true,
});
const key = (bytes: Uint8Array): Claim["key"] => ({ kind: "key", key: bytes });

describe("what is believed about a key", () => {
  it("K1: hearsay neither sets nor replaces nor removes one", () => {
    const heard = after(start, [gossip(liar, claim(host, { key: key(forgedKey) })), 1]);
    expect(keyStanding(heard, host, 1).kind).toBe("unknown");
    const met = after(heard, [gossip(host, claim(host, { record: recordOf(1, 5) })), 2]);
    const lied = after(met, [gossip(liar, claim(host, { key: key(forgedKey) })), 3], [gossip(liar, claim(host)), 4]);
    expect(keyStanding(lied, host, 4)).toMatchObject({ kind: "record", key: hostKey });
  });

  it("K2: the highest number holds; an equal one with other content is an alarm until its owner decides", () => {
    const newer = recordOf(1, 6);
    const other = recordOf(1, 6, { key: forgedKey });
    const met = after(start, [gossip(host, claim(host, { record: newer })), 1]);
    const older = after(met, [gossip(relay, claim(host, { record: recordOf(1, 5, { key: forgedKey }) })), 2]);
    expect(keyStanding(older, host, 2)).toMatchObject({ kind: "record", key: hostKey });
    const conflict = step(met, gossip(relay, claim(host, { record: other })), 2);
    expect(conflict.actions).toContainEqual({ kind: "conflict", id: host });
    expect(keyStanding(conflict.state, host, 2).kind).toBe("withheld");
    const decided = after(conflict.state, [gossip(host, claim(host, { record: newer })), 3]);
    expect(keyStanding(decided, host, 3)).toMatchObject({ kind: "record", key: hostKey });
  });

  it("K2: what stands around a signed record is anybody's, and makes no other record of it", () => {
    const record = recordOf(1, 6);
    const met = after(start, [gossip(host, claim(host, { record })), 1]);
    const rewrapped = verifyRecord(concat([record.bytes, Uint8Array.of(0x18, 0x01)]), host, 2);
    const heard = step(met, gossip(relay, claim(host, { record: rewrapped })), 2);
    expect(heard.actions).toEqual([]);
    expect(keyStanding(heard.state, host, 2)).toMatchObject({ kind: "record", key: hostKey });
  });

  it("D2: once shown, never absent again: not by its own silence, not after a restart", () => {
    const shown = step(start, gossip(host, claim(host, { record: recordOf(1, 5) })), 1);
    expect(shown.actions).toContainEqual({ kind: "remember", id: host, shown: "record" });
    const restarted = emptyMembership(self, new Map([[host, "record"]]));
    const silent = after(restarted, [gossip(host, claim(host)), 1]);
    expect(keyStanding(silent, host, 1).kind).toBe("withheld");
    // a record-bearing host is not read leniently because it shows field 36 alone
    const lenient = after(restarted, [gossip(host, claim(host, { key: key(hostKey) })), 1]);
    expect(keyStanding(lenient, host, 1).kind).toBe("withheld");
    const reference = after(emptyMembership(self, new Map([[host, "key"]])), [gossip(host, claim(host)), 1]);
    expect(keyStanding(reference, host, 1).kind).toBe("withheld");
  });

  it("K4: a key that cannot be used means no route, not none", () => {
    const bad = after(start, [gossip(host, claim(host, { key: { kind: "bad" } })), 1]);
    expect(keyStanding(bad, host, 1).kind).toBe("withheld");
  });

  it("an expired record is no key", () => {
    const met = after(start, [gossip(host, claim(host, { record: recordOf(1, 5) })), 1]);
    expect(keyStanding(met, host, 3_600_001).kind).toBe("withheld");
  });

  it("a host that never showed one has none, once we met it", () => {
    expect(keyStanding(after(start, [gossip(host, claim(host)), 1]), host, 1).kind).toBe("none");
  });
});

describe("who is there", () => {
  it("a peer that we met describes itself; others only say that it is there", () => {
    const met = after(
      start,
      [gossip(host, claim(host)), 1],
      [gossip(liar, claim(host, { role: "client", models: ["x"] })), 2],
    );
    expect(met.peers.get(host)).toMatchObject({ role: "host", models: ["m"], lastMentionedMs: 2 });
  });

  it("news of a host's load is passed on with the next gossip, and starts none: it changes every other second", () => {
    const isNews = (seq: number, model: Partial<RecordModel>): boolean => {
      const models = [{ name: "m", context: 8_192, busy: false, queue: 0, kinds: [], ...model }];
      const record = recordOf(1, seq, { models });
      state = step({ ...state, news: undefined }, gossip(host, claim(host, { record })), seq).state;
      return state.news !== undefined;
    };
    let state = start;
    expect(isNews(1, {})).toBe(true);
    expect(isNews(2, { busy: true, queue: 4 })).toBe(false);
    expect(state.peers.get(host)?.record?.fields.seq).toBe(2n);
    expect(isNews(3, { context: 4_096 })).toBe(true);
    expect(isNews(4, { context: 4_096, kinds: ["chat"] })).toBe(true);
  });

  it("nobody is told of news twice, and peers without records that fall silent are forgotten", () => {
    const first = step(start, gossip(host, claim(host)), 1);
    expect(first.actions.map(({ kind }) => kind)).toEqual(["joined"]);
    expect(first.state.news).toMatchObject({ from: host });
    const again = step({ ...first.state, news: undefined }, gossip(host, claim(host)), 2);
    expect(again.state.news).toBe(undefined);
    expect(again.actions).toEqual([]);
    let state = after(again.state, [{ kind: "unlinked", id: host, why: "lost" }, 3]);
    let isForgotten = false;
    for (let now = 3; now < membershipLimits.forgetAfterMs + 60_000; now += 10_000) {
      const ticked = step(state, { kind: "tick" }, now);
      isForgotten ||= ticked.actions.some((action) => action.kind === "gone" && action.reason === "expired");
      state = ticked.state;
    }
    expect(isForgotten).toBe(true);
  });

  it("rounds of news have time between them, more where there are many links", () => {
    const rounds = (links: number): number => {
      let state = start;
      let count = 0;
      for (let at = 0; at < links; at += 1) {
        const id = endpointIdFromBytes(new Uint8Array(32).fill(at + 100));
        state = after(state, [gossip(id, claim(id)), 1]);
      }
      for (let now = 1; now < 60_000; now += 100) {
        state = after(state, [{ kind: "news", role: "worker", from: host }, now]);
        const before = state.newsToldMs;
        state = after(state, [{ kind: "tick" }, now]);
        if (state.newsToldMs !== before) count += 1;
      }
      return count;
    };
    expect(rounds(2)).toBeLessThanOrEqual(60_000 / membershipLimits.newsSpaceMs + 1);
    expect(rounds(150)).toBeLessThanOrEqual(60_000 / (150 * membershipLimits.newsEachMs) + 1);
  });
});

describe("whatever happens, in whatever order", () => {
  const ids = [host, relay, liar];
  const anyKey = fc.constantFrom<Claim["key"]>({ kind: "absent" }, { kind: "bad" }, key(hostKey), key(forgedKey));
  const anyClaim = fc
    .record({ about: fc.nat(2), key: anyKey, seq: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }) })
    .map(({ about, key: announced, seq }) =>
      claim(ids[about] ?? host, { key: announced, record: seq === undefined ? undefined : recordOf(about + 1, seq) }),
    );
  const anyEvent = fc.oneof(
    fc
      .record({ from: fc.constantFrom(...ids), claims: fc.array(anyClaim, { maxLength: 4 }) })
      .map(({ from, claims }) => gossip(from, ...claims)),
    fc.constantFrom(...ids).map((id): MembershipEvent => ({ kind: "left", id })),
    fc.constantFrom(...ids).map((id): MembershipEvent => ({ kind: "unlinked", id, why: "lost" })),
    fc.constantFrom(...ids).map((id): MembershipEvent => ({ kind: "dialed", id, reached: false })),
    fc
      .record({ from: fc.constantFrom(...ids), about: fc.constantFrom(...ids) })
      .map((report): MembershipEvent => ({ kind: "peer-down", ...report })),
    fc.constant<MembershipEvent>({ kind: "tick" }),
  );

  it("K1, D2: a key comes from its owner, and a shown one never becomes none", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyEvent, fc.nat(100_000)), { maxLength: 40 }), (steps) => {
        let state = start;
        let now = 0;
        for (const [event, pause] of steps) {
          now += pause;
          const before = state;
          state = step(state, event, now).state;
          for (const id of ids) {
            const standing = keyStanding(state, id, now);
            if (standing.kind === "record") expect(standing.key).toEqual(hostKey); // the only key that was ever signed
            if (state.shown.has(id)) expect(standing.kind).not.toBe("none");
            const own = event.kind === "gossip" && event.from === id;
            if (!own)
              expect(state.peers.get(id)?.announced ?? { kind: "absent" }).toEqual(
                state.peers.has(id) ? (before.peers.get(id)?.announced ?? { kind: "absent" }) : { kind: "absent" },
              );
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it("a step leaves the state that it was given as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyEvent, fc.nat(100_000)), { maxLength: 20 }), (steps) => {
        let state = start;
        let now = 0;
        for (const [event, pause] of steps) {
          now += pause;
          const [before, given] = [shapeOf(state), state];
          const next = step(given, event, now);
          expect(shapeOf(given)).toEqual(before);
          // the same step from the same state is the same
          expect(shapeOf(step(given, event, now).state)).toEqual(shapeOf(next.state));
          state = next.state;
        }
      }),
      { numRuns: 150 },
    );
  });
});

/** All of a state that can be seen, in no order. */
function shapeOf(state: Membership): unknown {
  const { peers, keys, shown, gone, contacts, refuted, changes, ...rest } = state;
  const tables = [peers, keys, shown, gone, contacts, refuted].map((table) => new Map<string, unknown>(table));
  return { rest, tables, changed: [changes.last, changes.size, new Set(changes.since(0))] };
}

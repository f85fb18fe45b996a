/** Which host is asked first, and which relay: one fact against another, by a table. */
import { describe, expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import {
  contextOf,
  HostLoad,
  isFar,
  orderHosts,
  relayCapability,
  relaysNaming,
  relaysTo,
  type Wanted,
} from "../../../src/mesh/choose.ts";
import type { Peer } from "../../../src/mesh/membership.ts";
import type { Mesh } from "../../../src/mesh/mesh.ts";
import { rolesBy } from "../../../src/mesh/roles.ts";
import type { MemberRole } from "../../../src/wire/admission.ts";
import type { RecordModel } from "../../../src/wire/record.ts";

const idOf = (name: string): EndpointId => endpointId(name.codePointAt(0)?.toString(16).padStart(64, "0") ?? "");
const nameOf = (id: string): string => String.fromCodePoint(Number.parseInt(id, 16));

/** What is known of one machine; a host of "m" unless it says otherwise. */
interface Facts {
  readonly role?: Peer["role"];
  readonly models?: readonly string[];
  /** In its record; null: it has none. */
  readonly told?: Partial<RecordModel> | null;
  /** In its gossip. */
  readonly gossiped?: number;
  readonly rtt?: number;
  readonly running?: number;
  readonly avoided?: boolean;
  readonly met?: boolean;
  readonly capabilities?: readonly string[];
  readonly mentionedBy?: readonly string[];
}

const nowMs = 1_000_000;

/** The parts of a mesh that choosing looks at; machines by name, in any order. */
function meshOf(machines: Readonly<Record<string, Facts>>): Mesh {
  const peers = Object.entries(machines).map(([name, facts]): Peer => {
    const {
      role = "host",
      models = ["m"],
      told = {},
      gossiped,
      met = true,
      capabilities = [],
      mentionedBy = [],
    } = facts;
    const model = { name: "m", context: 4_096, busy: false, queue: 0, kinds: [], ...told };
    return {
      id: idOf(name),
      role,
      models,
      runtimes: [{ name: "m", contextLength: gossiped, ready: true }],
      record: told === null ? undefined : { fields: { models: [model], capabilities } },
      met,
      mentionedBy: new Set(mentionedBy.map(idOf)),
    } as unknown as Peer;
  });
  const fake: Pick<Mesh, "peers" | "peer" | "rttMs" | "keyStanding"> = {
    peers,
    peer: (id) => peers.find((peer) => peer.id === id),
    rttMs: (id) => machines[nameOf(id)]?.rtt,
    keyStanding: () => ({ kind: "none" }),
  };
  return fake as Mesh;
}

/** The names of the hosts, best first. */
function ordered(machines: Readonly<Record<string, Facts>>, wanted: Partial<Wanted> = {}): string {
  const load = new HostLoad();
  for (const [name, { running = 0, avoided = false }] of Object.entries(machines)) {
    for (let count = 0; count < running; count += 1) load.add(idOf(name));
    if (avoided) load.avoid(idOf(name), nowMs + 1);
  }
  const all: Wanted = { model: "m", needTokens: 1_000, preferred: undefined, load, nowMs, ...wanted };
  return orderHosts(meshOf(machines), all)
    .map(({ id }) => nameOf(id))
    .join("");
}

describe("hosts", () => {
  it.each<[string, Readonly<Record<string, Facts>>, string]>([
    ["all alike: by id", { c: { rtt: 0 }, a: { rtt: 0 }, b: { rtt: 0 } }, "abc"],
    ["who does not serve the model is none", { a: { models: ["M"] }, b: { role: "worker" }, c: {} }, "c"],
    [
      "too small a context is last, behind one that is avoided",
      { a: { told: { context: 999 } }, b: { avoided: true } },
      "ba",
    ],
    ["exactly enough context is enough", { a: { told: { context: 1_000 } }, b: { told: { context: 1_001 } } }, "ab"],
    ["an avoided one is behind a busy one", { a: { avoided: true }, b: { told: { busy: true } } }, "ba"],
    [
      "a busy one is behind one of unknown context",
      { a: { told: { busy: true } }, b: { told: { context: undefined } } },
      "ba",
    ],
    [
      "an unknown context is behind a known one, however near",
      { a: { told: null, rtt: 0 }, b: { rtt: 999, running: 9 } },
      "ba",
    ],
    [
      "what gossip says of the context counts without a record",
      { a: { told: null, gossiped: 1_000 }, b: { told: null } },
      "ab",
    ],
    ["the record's word counts more than gossip's", { a: { told: { context: 1 }, gossiped: 9_999 }, b: {} }, "ba"],
    ["who runs fewer of our exchanges", { a: { rtt: 0, running: 2 }, b: { rtt: 0, running: 1 } }, "ba"],
    ["who has the shorter queue", { a: { rtt: 0, told: { queue: 2 } }, b: { rtt: 0, told: { queue: 1 } } }, "ba"],
    [
      "a queue and what runs count together",
      { a: { rtt: 0, running: 1, told: { queue: 2 } }, b: { rtt: 0, running: 2 } },
      "ba",
    ],
    ["who is nearer", { a: { rtt: 40 }, b: { rtt: 39 } }, "ba"],
    ["but not by less than a step", { a: { rtt: 39 }, b: { rtt: 20 } }, "ab"],
    ["who is not connected is far", { a: {}, b: { rtt: 999 } }, "ba"],
    ["one step of distance is one exchange", { a: { rtt: 0, running: 2 }, b: { rtt: 20 } }, "ba"],
  ])("%s", (_name, machines, order) => {
    expect(ordered(machines)).toBe(order);
  });

  it.each<[string, Readonly<Record<string, Facts>>, string]>([
    ["come before nearer and idle ones", { a: { rtt: 0 }, b: { rtt: 900, running: 3 } }, "ba"],
    ["come before others also when they are busy", { a: {}, b: { told: { busy: true } } }, "ba"],
    ["come behind others when they have just failed", { a: {}, b: { avoided: true } }, "ab"],
    ["come behind others when the request does not fit", { a: {}, b: { told: { context: 1 } } }, "ab"],
    ["are ordered among themselves like all", { a: {}, b: { rtt: 40 }, c: { rtt: 0 } }, "cba"],
  ])("of a preferred owner %s", (_name, machines, order) => {
    const isOwned = ({ id }: Peer): boolean => nameOf(id) !== "a";
    expect(ordered(machines, { isOwned })).toBe(order);
  });

  it("without an estimate nobody is too small", () => {
    expect(ordered({ a: { told: { context: 1 } }, b: {} }, { needTokens: undefined })).toBe("ab");
  });

  it.each([
    [0, "ba"],
    [1, "ba"],
    [2, "ab"],
  ])("the conversation's host may run %i exchanges more", (running, order) => {
    const machines = { a: { rtt: 0 }, b: { rtt: 0, running } };
    expect(ordered(machines, { preferred: idOf("b") })).toBe(order);
  });

  it.each<[string, Facts]>([
    ["avoided", { rtt: 0, avoided: true }],
    ["busy", { rtt: 0, told: { busy: true } }],
    ["too small", { rtt: 0, told: { context: 1 } }],
  ])("the conversation's host is not kept when it is %s", (_name, facts) => {
    expect(ordered({ a: facts, b: { rtt: 0 } }, { preferred: idOf("a") })).toBe("ba");
  });

  it("the context that is told goes with the choice", () => {
    const mesh = meshOf({ a: { told: { context: 7 } }, b: { told: null, gossiped: 8 }, c: { told: null } });
    expect(mesh.peers.map((peer) => contextOf(peer, "m"))).toEqual([7, 8, undefined]);
    expect(mesh.peers.map((peer) => contextOf(peer, "another"))).toEqual([undefined, undefined, undefined]);
  });
});

describe("what this node knows of a host", () => {
  it("an exchange is counted out once, and an avoided one is trusted again in time, or by its answer", () => {
    const load = new HostLoad();
    const [a, b] = [idOf("a"), idOf("b")];
    const ended = load.add(a);
    load.add(a);
    ended();
    ended();
    expect([load.of(a), load.of(b)]).toEqual([1, 0]);
    load.avoid(a, 10);
    expect([load.avoids(a, 9), load.avoids(a, 10), load.avoids(b, 9)]).toEqual([true, false, false]);
    load.trust(a);
    expect(load.avoids(a, 9)).toBe(false);
  });
});

describe("a host that could not be connected to", () => {
  it("is asked through relays first for a minute, unless there is a connection", () => {
    const load = new HostLoad();
    const host = idOf("h");
    let connected = false;
    const mesh = { isConnected: () => connected } as unknown as Mesh;
    const far = (afterMs: number): boolean => isFar(mesh, host, load, nowMs + afterMs);
    expect(far(0)).toBe(false);
    load.missed(host, nowMs);
    expect([far(0), far(59_999), far(60_000)]).toEqual([true, true, false]);
    connected = true;
    expect(far(0)).toBe(false);
  });
});

describe("the way through a relay", () => {
  it("has the time that it took last, for ten minutes", () => {
    const load = new HostLoad();
    const [relay, host] = [idOf("r"), idOf("h")];
    load.reached(relay, host, 80, nowMs);
    load.reached(relay, host, 30, nowMs + 1);
    expect(load.wayMs(relay, host, nowMs + 2)).toBe(30);
    expect(load.wayMs(host, relay, nowMs + 2)).toBeUndefined();
    expect(load.wayMs(relay, host, nowMs + 600_000)).toBe(30);
    expect(load.wayMs(relay, host, nowMs + 600_001)).toBeUndefined();
  });

  it("is forgotten when a thousand others were measured since", () => {
    const load = new HostLoad();
    const host = idOf("h");
    for (let count = 0; count < 1_025; count += 1)
      load.reached(idOf(String.fromCodePoint(100 + count)), host, count, nowMs);
    expect(load.wayMs(idOf(String.fromCodePoint(100)), host, nowMs)).toBeUndefined();
    expect(load.wayMs(idOf(String.fromCodePoint(101)), host, nowMs)).toBe(1);
  });
});

describe("relays", () => {
  const carries = { role: "client", capabilities: [relayCapability] } as const;
  it("are members that we met and that carry envelopes: those that named the host first, the nearest first", () => {
    const mesh = meshOf({
      h: { mentionedBy: ["c", "d", "f"], capabilities: [relayCapability] },
      a: { ...carries, rtt: 0 },
      b: { ...carries, rtt: 0, met: false },
      c: { ...carries, rtt: 40 },
      d: { ...carries, rtt: 10 },
      e: { role: "client", rtt: 0 },
      f: { role: "client", told: null, rtt: 0 },
      g: { ...carries, rtt: 0 },
    });
    expect(relaysNaming(mesh, idOf("h")).map(nameOf).join("")).toBe("dc");
    expect(relaysTo(mesh, idOf("h")).map(nameOf).join("")).toBe("dcag");
    expect(relaysTo(mesh, idOf("z")).map(nameOf).join("")).toBe("adgch");
  });

  /** Relays in their order; a, b and c have named the host, d has not. */
  function relaysOf(
    change: (load: HostLoad) => void,
    rtts: Partial<Record<"a" | "b" | "c" | "d", number>> = {},
  ): string {
    const load = new HostLoad();
    change(load);
    const machine = (name: "a" | "b" | "c" | "d"): Facts => ({ ...carries, rtt: rtts[name] ?? 0 });
    const machines = { a: machine("a"), b: machine("b"), c: machine("c"), d: machine("d") };
    const mesh = meshOf({ h: { mentionedBy: ["a", "b", "c"] }, ...machines });
    return relaysTo(mesh, idOf("h"), { load, nowMs }).map(nameOf).join("");
  }

  it.each<[string, (load: HostLoad) => void, Partial<Record<"a" | "b" | "c" | "d", number>>, string]>([
    ["all alike: by id, who has not named the host last", () => undefined, {}, "abcd"],
    ["who is nearer", () => undefined, { a: 40, b: 20 }, "cbad"],
    ["who carries fewer of our exchanges", (load) => void load.add(idOf("a")), {}, "bcad"],
    [
      "who has failed or was busy comes last, until its time is over",
      (load) => load.avoid(idOf("a"), nowMs + 1),
      {},
      "bcda",
    ],
    ["and not after it", (load) => load.avoid(idOf("a"), nowMs), {}, "abcd"],
    [
      "what the way took counts more than the distance",
      (load) => load.reached(idOf("c"), idOf("h"), 10, nowMs),
      { a: 20, b: 20, c: 90 },
      "cabd",
    ],
    [
      "a slow way is behind one that was not tried",
      (load) => load.reached(idOf("a"), idOf("h"), 200, nowMs),
      {},
      "bcad",
    ],
    ["a slow way to another host says nothing", (load) => load.reached(idOf("a"), idOf("z"), 200, nowMs), {}, "abcd"],
  ])("%s", (_name, change, rtts, order) => {
    expect(relaysOf(change, rtts)).toBe(order);
  });

  it("are admitted as such, or as hosts, which may do everything; who is no member is neither", () => {
    const mesh = meshOf({
      h: {},
      a: { ...carries, rtt: 0 },
      b: { ...carries, rtt: 0 },
      c: { ...carries, rtt: 0 },
      d: { ...carries },
    });
    const admitted = new Map<string, MemberRole>([
      ["a", "client"],
      ["b", "relay"],
      ["c", "host"],
    ]);
    const roles = rolesBy((id) => admitted.get(nameOf(id)));
    expect(relaysTo(mesh, idOf("h"), { roles }).map(nameOf).join("")).toBe("bc");
    const hosts = { a: {}, b: {}, c: {}, d: {} };
    expect(ordered(hosts)).toBe("abcd");
    expect(ordered(hosts, { roles })).toBe("c");
  });
});

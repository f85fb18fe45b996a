/** Who is asked, when and how often, and what follows from it. How it is judged: known-host.test.ts. */
import { describe, expect, it, onTestFinished } from "vitest";
import { tierOfHost } from "../../../src/attest/proof.ts";
import type { EndpointId } from "../../../src/base/brand.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { emptyPinBook, type PinBook, withConfirmed } from "../../../src/policy/pins.ts";
import { attestCodes } from "../../../src/wire/attestation.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import {
  busy,
  enclaveItem,
  FakeHost,
  FakePins,
  type FakeWorld,
  freshKey,
  madeChip,
  never,
  shows,
  softwareItem,
  TestClock,
  tpmItem,
  unable,
  type WorldOptions,
  worldOf,
} from "../../support/fake-hosts.ts";
import { eventually } from "../../support/mesh.ts";

const signal = new AbortController().signal;
const notEnough = (): boolean => false;

interface OneHost extends FakeWorld {
  readonly host: FakeHost;
  readonly clock: TestClock;
  readonly tier: string;
  readonly challenge: string | undefined;
  /** A request needs to know of it. */
  need(): Promise<void>;
}

/** Proofs of one honest host. */
function one(options: Partial<WorldOptions> & { host?: FakeHost } = {}): OneHost {
  const { clock = new TestClock(), host = new FakeHost(clock), ...rest } = options;
  const world = worldOf([host], { ...rest, clock });
  const { proofs } = world;
  return {
    ...world,
    host,
    clock,
    get tier() {
      return tierOfHost(proofs.of(host.id));
    },
    get challenge() {
      return proofs.of(host.id).pieces[0]?.challenge;
    },
    need: () => proofs.prepare([host.id], notEnough, signal),
  };
}

/** So short that a test can wait for several heartbeats, 18 to 22 ms each. */
const often = { challengeIntervalMs: 20 };

describe("what is known", () => {
  it("of a host that was asked: its evidence, and that its key answers", async () => {
    const world = one();
    await world.need();
    expect([world.tier, world.challenge, world.proofs.of(world.host.id).asked]).toEqual(["key", "answered", true]);
  });

  it("of a host that was not asked: its blob, and nobody is asked for that", () => {
    const world = one();
    world.host.blob = enclaveItem({ ...world.host.parts, atMs: world.clock.now() }).evidence;
    expect(world.proofs.of(world.host.id)).toMatchObject({ asked: false, pieces: [{ challenge: "unasked" }] });
    expect(world.dialed).toEqual([]);
  });

  it("is worked out once for many looks at one moment", async () => {
    const world = one();
    await world.need();
    const { proofs, host } = world;
    const first = proofs.of(host.id);
    world.clock.pass(999);
    expect(proofs.of(host.id)).toBe(first);
    world.clock.pass(1);
    expect(proofs.of(host.id)).not.toBe(first);
  });

  it("is never what was worked out for another inference key, not even within a moment", async () => {
    const world = one();
    await world.need();
    expect(world.tier).toBe("key");
    world.host.rotate();
    expect(world.tier).toBe("none");
  });

  it("follows the blob, the record and the pins at once", async () => {
    const pins = new FakePins();
    const { proofs, host, clock } = one({ pins });
    const seen = [proofs.of(host.id)];
    host.blob = enclaveItem({ ...host.parts, atMs: clock.now() }).evidence;
    seen.push(proofs.of(host.id));
    host.hasRecord = false;
    seen.push(proofs.of(host.id));
    pins.book = { ...pins.book };
    seen.push(proofs.of(host.id));
    expect(new Set(seen).size).toBe(4);
  });
});

describe("when a host is asked", () => {
  it("a host whose evidence has nothing but its own time is asked once for it, not with every request", async () => {
    const world = one();
    for (let n = 0; n < 20; n += 1) {
      await world.need();
      world.clock.pass();
    }
    expect(world.host.asked).toEqual({ evidence: 1, residence: 0, challenge: 1 });
  });

  it("one that shows too little is asked again after a second, and not before", async () => {
    const world = one();
    world.host.evidence = () => shows();
    await world.need();
    world.clock.pass(500);
    await world.need();
    expect(world.host.asked.evidence).toBe(1);
    world.clock.pass(600);
    await world.need();
    expect(world.host.asked.evidence).toBe(2);
  });

  it("a new inference key does not wait for that second", async () => {
    const world = one();
    await world.need();
    world.host.rotate();
    await world.need();
    expect(world.tier).toBe("key");
  });

  it("a clock that was set back by an hour does not stop the asking", async () => {
    const world = one();
    await world.need();
    world.clock.pass();
    world.clock.at -= 3_600_000;
    await world.need();
    expect(world.tier).toBe("key");
  });

  it("requests at the same time share one round", async () => {
    const world = one();
    await Promise.all([world.need(), world.need(), world.proofs.ask(world.host.id, signal)]);
    expect(world.host.asked).toEqual({ evidence: 1, residence: 0, challenge: 1 });
  });

  it("one without a record is never asked, it does not know our streams", async () => {
    const world = one();
    world.host.hasRecord = false;
    await world.need();
    await world.proofs.ask(world.host.id, signal);
    expect([world.dialed, world.proofs.of(world.host.id).why]).toEqual([[], undefined]);
  });

  it("one whose key has not answered is challenged with the next request, its evidence is not asked for again", async () => {
    const world = one();
    const { host, clock } = world;
    const honest = host.challenge;
    host.evidence = ({ nonce }) => shows(tpmItem({ ...host.parts, nonce, atMs: clock.now() }));
    host.challenge = () => unable;
    await world.need();
    host.challenge = honest;
    clock.pass();
    await world.need();
    expect([host.asked, world.tier]).toEqual([{ evidence: 1, residence: 0, challenge: 2 }, "key"]);
  });

  it("one that has been needed is challenged with every heartbeat, and not asked for evidence anew", async () => {
    const world = one(often);
    await world.need();
    world.proofs.start();
    await eventually("four heartbeats", () => world.host.asked.challenge >= 5);
    expect(world.host.asked.evidence).toBe(1);
  });

  it("one that nobody has needed for an hour is left alone, and so is one that is gone", async () => {
    const clock = new TestClock();
    const [old, gone, needed] = [new FakeHost(clock), new FakeHost(clock), new FakeHost(clock)];
    const world = worldOf([old, gone, needed], { clock, ...often });
    await world.proofs.prepare([old.id, gone.id], notEnough, signal);
    clock.pass(3_600_000);
    world.members.delete(gone.id);
    await world.proofs.prepare([needed.id], notEnough, signal);
    world.proofs.start();
    await eventually("heartbeats", () => needed.asked.challenge >= 4);
    expect([old.asked.challenge, gone.asked.challenge]).toEqual([1, 1]);
    expect(world.proofs.of(gone.id).pieces).toEqual([]);
  });
});

describe("what comes of asking", () => {
  it("an empty reply wipes nothing", async () => {
    const world = one();
    await world.need();
    world.host.evidence = () => shows();
    world.clock.pass();
    await world.proofs.ask(world.host.id, signal);
    expect([world.host.asked.evidence, world.tier]).toEqual([2, "key"]);
  });

  it("a host that could not be asked: why, in our own words", async () => {
    const world = one();
    world.host.evidence = () => unable;
    await world.need();
    expect(world.proofs.of(world.host.id)).toMatchObject({ asked: true, pieces: [] });
    expect(world.proofs.of(world.host.id).why).toContain("its hardware does not answer");
  });

  it("a host that is busy has missed no challenge", async () => {
    const world = one(often);
    await world.need();
    world.host.challenge = () => busy;
    world.proofs.start();
    await eventually("six challenges", () => world.host.asked.challenge >= 7);
    expect([world.challenge, world.tier]).toEqual(["answered", "key"]);
  });

  it("hardware that does not answer has missed one, and after three the key counts for nothing", async () => {
    const world = one(often);
    await world.need();
    world.host.challenge = () => unable;
    world.proofs.start();
    await eventually("three misses", () => world.challenge === "missed");
    expect([world.host.asked.challenge >= 4, world.tier]).toEqual([true, "none"]);
  });

  it("a wrong signature is enough", async () => {
    const world = one();
    await world.need();
    world.host.challenge = ({ sealed }) => world.host.answerWrongly(sealed);
    await world.proofs.ask(world.host.id, signal);
    expect([world.challenge, world.tier]).toEqual(["failed", "none"]);
  });

  it("a key that the host does not name in its answer has missed the challenge", async () => {
    const world = one();
    await world.need();
    world.host.challenge = ({ sealed }) => world.host.answer(sealed, freshKey());
    for (let n = 0; n < 3; n += 1) {
      // the same piece again, as if somebody on the way put it there
      await world.proofs.ask(world.host.id, signal);
    }
    expect([world.challenge, world.tier]).toEqual(["missed", "none"]);
  });

  it("evidence of which no key answers is asked for anew", async () => {
    const world = one();
    const { host, clock } = world;
    const honest = host.evidence;
    // good in itself: whoever asks for it anew does so because of the challenge
    host.evidence = ({ nonce }) => shows(tpmItem({ ...host.parts, key: freshKey(), nonce, atMs: clock.now() }));
    await world.need();
    expect([host.asked.evidence, world.tier]).toEqual([1, "none"]);
    host.evidence = honest;
    world.clock.pass();
    await world.need();
    expect([host.asked.evidence, world.tier]).toEqual([2, "key"]);
  });

  it("a challenge that the host could not open brings its record anew", async () => {
    const world = one();
    await world.need();
    world.host.challenge = () => ({ ...busy, code: attestCodes.badRequest });
    const before = world.dialed.length;
    await world.proofs.ask(world.host.id, signal);
    // evidence, challenge, record
    expect(world.dialed.slice(before)).toEqual([world.host.id, world.host.id, world.host.id]);
  });

  describe("where a key is kept", () => {
    const chip = madeChip();

    function withChip(residence: (question: Uint8Array) => FakeHost["evidence"]): OneHost {
      const clock = new TestClock();
      const host = new FakeHost(clock);
      host.evidence = (request) => {
        const { nonce, question } = request;
        if (question) return residence(question.question)(request);
        return shows(tpmItem({ ...host.parts, nonce, chip, atMs: clock.now() }));
      };
      return one({ host, clock, roots: [chip.root] });
    }

    it.each<[string, FakeHost["evidence"]]>([
      ["fails", () => unable],
      ["is answered wrongly", () => ({ ...shows(), residenceAnswer: new Uint8Array(32) })],
      ["is not answered", () => shows()],
      ["breaks off", () => Promise.reject(new MeshError("E_LOST", "it is gone"))],
    ])("the challenge is asked also when that question %s", async (_what, answer) => {
      const world = withChip(() => answer);
      await world.need();
      expect(world.host.asked).toEqual({ evidence: 1, residence: 1, challenge: 1 });
      const [piece] = world.proofs.of(world.host.id).pieces;
      expect([piece?.verdict["key-residence"].reason, world.tier]).toEqual(["not-activated", "key"]);
    });

    it("it is asked again with the next request, until it is shown", async () => {
      const world = withChip(() => () => unable);
      await world.need();
      world.clock.pass();
      await world.need();
      expect(world.host.asked).toEqual({ evidence: 1, residence: 2, challenge: 1 });
    });
  });
});

describe("many hosts for one request", () => {
  const good = (world: FakeWorld, host: FakeHost) => (): boolean => tierOfHost(world.proofs.of(host.id)) !== "none";
  const idsOf = (hosts: readonly FakeHost[]): EndpointId[] => hosts.map(({ id }) => id);

  /** Eight that show nothing before one that does. */
  function nine(evidence: FakeHost["evidence"]): {
    clock: TestClock;
    world: FakeWorld;
    hosts: readonly FakeHost[];
    ninth: FakeHost;
  } {
    const clock = new TestClock();
    const ninth = new FakeHost(clock);
    const eight = Array.from({ length: 8 }, () => Object.assign(new FakeHost(clock), { evidence }));
    const hosts = [...eight, ninth];
    return { clock, world: worldOf(hosts, { clock, askMs: 60 }), hosts, ninth };
  }

  it("eight that have nothing do not stand before a ninth", async () => {
    const { world, hosts, ninth } = nine(() => shows());
    await world.proofs.prepare(idsOf(hosts), good(world, ninth), signal);
    expect(good(world, ninth)()).toBe(true);
  });

  it("eight that had nothing are asked behind one of which nothing is known", async () => {
    const { clock, world, hosts, ninth } = nine(() => shows());
    await world.proofs.prepare(idsOf(hosts.slice(0, 8)), notEnough, signal);
    for (const host of hosts.slice(0, 8)) host.evidence = () => never;
    clock.pass();
    await world.proofs.prepare(idsOf(hosts), good(world, ninth), signal);
    expect(good(world, ninth)()).toBe(true);
  });

  it("eight that let everybody wait do not stand before a ninth for ever", async () => {
    const { clock, world, hosts, ninth } = nine(() => never);
    for (const host of hosts.slice(0, 8)) {
      // their gossip shows something to challenge, so that their rounds last longer than a request waits
      host.blob = enclaveItem({ ...host.parts, atMs: clock.now() }).evidence;
      host.challenge = () => never;
    }
    for (let n = 0; n < 3; n += 1) {
      await world.proofs.prepare(idsOf(hosts), good(world, ninth), signal);
      const asked = hosts.slice(0, 8).map(({ id }) => world.proofs.ask(id, signal));
      await Promise.all(asked);
      clock.pass();
    }
    expect(ninth.asked.evidence).toBeGreaterThan(0);
  });

  it("no more than eight are asked at a time", async () => {
    const clock = new TestClock();
    let [under, most] = [0, 0];
    const hosts = Array.from({ length: 30 }, () => new FakeHost(clock));
    for (const host of hosts) {
      host.evidence = async () => {
        under += 1;
        most = Math.max(most, under);
        await new Promise((resolve) => setTimeout(resolve, 2));
        under -= 1;
        return shows();
      };
    }
    await worldOf(hosts, { clock }).proofs.prepare(idsOf(hosts), notEnough, signal);
    expect([most, hosts.every(({ asked }) => asked.evidence === 1)]).toEqual([8, true]);
  });

  it("the request goes on as soon as enough is known, whoever still lets it wait", async () => {
    const clock = new TestClock();
    const [slow, quick] = [new FakeHost(clock), new FakeHost(clock)];
    slow.evidence = () => never;
    const world = worldOf([slow, quick], { clock, askMs: 10_000 });
    await world.proofs.prepare(idsOf([slow, quick]), good(world, quick), signal);
    expect(good(world, quick)()).toBe(true);
  });

  it("a request for which enough is known does not wait for what is asked anew", async () => {
    const world = one({ askMs: 10_000 });
    await world.need();
    world.host.challenge = () => never;
    world.clock.pass(300_000);
    await world.proofs.prepare([world.host.id], () => true, signal);
    await eventually("the challenge has gone out all the same", () => world.host.asked.challenge === 2);
  });

  it("a request waits once for all questions together", async () => {
    const world = one({ askMs: 100 });
    await world.need();
    world.host.evidence = () => never;
    world.host.challenge = () => never;
    world.clock.pass(400_000);
    const startedMs = performance.now();
    await world.need();
    const tookMs = performance.now() - startedMs;
    // the round itself goes on: first evidence, then the challenge, 100 ms each
    expect(tookMs).toBeGreaterThanOrEqual(95);
    expect(tookMs).toBeLessThan(180);
  });

  it("a client that goes away waits no longer", async () => {
    const world = one({ askMs: 10_000 });
    world.host.evidence = () => never;
    const client = new AbortController();
    const [prepared, asked] = [
      world.proofs.prepare([world.host.id], notEnough, client.signal),
      world.proofs.ask(world.host.id, client.signal),
    ];
    client.abort();
    await rejectsWith("E_ABORTED", prepared);
    await rejectsWith("E_ABORTED", asked);
  });
});

describe("through relays alone", () => {
  function relayed(relays: (clock: TestClock, host: FakeHost) => readonly FakeHost[]): OneHost {
    const clock = new TestClock();
    const host = new FakeHost(clock);
    return one({ clock, host, relays: relays(clock, host), route: "relay" });
  }
  const honest = (clock: TestClock, host: FakeHost): FakeHost => new FakeHost(clock).carriesFor(host);

  it("a host proves as much as on its own connection", async () => {
    const world = relayed((clock, host) => [honest(clock, host)]);
    await world.need();
    expect(world.tier).toBe("key");
    expect(world.dialed).not.toContain(world.host.id);
  });

  it("the host is never dialed, not even for its record when it cannot open a challenge", async () => {
    const world = relayed((clock, host) => {
      const relay = honest(clock, host);
      relay.challenge = () => ({ ...busy, code: attestCodes.badRequest });
      return [relay];
    });
    await world.need();
    expect(world.dialed).toHaveLength(3);
    expect(world.dialed).not.toContain(world.host.id);
  });

  it.each<[string, (liar: FakeHost) => void]>([
    ["answers challenges with nonsense", (liar) => (liar.challenge = () => ({ code: 0, sealed: new Uint8Array(80) }))],
    ["says that the host refuses them", (liar) => (liar.challenge = () => ({ ...busy, code: attestCodes.refused }))],
    ["says that there is no evidence", (liar) => (liar.evidence = () => shows())],
  ])("a relay that %s is passed by", async (_what, lie) => {
    const world = relayed((clock, host) => {
      const liar = honest(clock, host);
      lie(liar);
      return [liar, honest(clock, host)];
    });
    await world.need();
    expect([world.tier, world.challenge]).toEqual(["key", "answered"]);
  });
});

describe("pins", () => {
  it("a first contact is pinned once, and confirms nothing in this session", async () => {
    const pins = new FakePins();
    const world = one({ pins });
    await world.need();
    await world.proofs.ask(world.host.id, signal);
    expect(pins.book.pins).toMatchObject([{ endpointId: world.host.id, kind: "secure-enclave", confirmed: false }]);
    expect(world.proofs.of(world.host.id).pieces[0]?.pin.standing).toBe("first-contact");
    expect(world.events.filter(({ event }) => event === "host-pinned")).toHaveLength(1);
  });

  it("also when the clock is set back in between", async () => {
    const world = one();
    world.clock.at -= 5_000;
    await world.need();
    world.clock.at -= 5_000;
    expect(world.tier).toBe("key");
  });

  it("a later session knows the host again", async () => {
    const pins = new FakePins();
    const first = one({ pins });
    await first.need();
    const { host, clock } = first;
    const later = one({ pins, host, clock });
    await later.need();
    expect(later.tier).toBe("pinned");
  });

  it("a key that stands in for a pinned one of another kind does not become a pin itself", async () => {
    const pins = new FakePins();
    const world = one({ pins });
    const value = { kind: "tpm2", key: "ab".repeat(16), measurement: undefined };
    pins.book = withConfirmed(emptyPinBook, world.host.id, value, 1);
    await world.need();
    expect([pins.book.pins.map(({ kind }) => kind), world.tier]).toEqual([["tpm2"], "none"]);
  });

  it("a book that takes no more is told of no further one", async () => {
    const world = one({ pins: { book: emptyPinBook, update: () => undefined } });
    await world.need();
    expect([world.events, world.tier]).toEqual([[], "key"]);
  });

  it("what proves nothing is not pinned", async () => {
    const pins = new FakePins();
    const world = one({ pins });
    world.host.challenge = () => unable;
    await world.need();
    expect([world.proofs.of(world.host.id).pieces.length, pins.book.pins]).toEqual([1, []]);
  });

  it("one session makes so many at most: ids are free to make up, and each is a write to disk", async () => {
    const clock = new TestClock();
    const pins = new FakePins();
    const hosts = Array.from({ length: 5 }, () => new FakeHost(clock));
    const few = { maxFirstContacts: 3 };
    const world = worldOf(hosts, { clock, pins, ...few });
    const ids = hosts.map(({ id }) => id);
    await world.proofs.prepare(ids, notEnough, signal);
    expect(pins.book.pins).toHaveLength(3);
    // what is not pinned counts all the same
    expect(hosts.map(({ id }) => tierOfHost(world.proofs.of(id)))).toEqual(hosts.map(() => "key"));
  });

  it("a book that cannot be read ends neither the heartbeat nor the process", async () => {
    let isDamaged = false;
    const damaged = (): PinBook => {
      if (isDamaged) throw new MeshError("E_STATE", "pins.json is damaged");
      return emptyPinBook;
    };
    const pins = {
      get book() {
        return damaged();
      },
      update: () => undefined,
    };
    const world = one({ ...often, pins });
    await world.need();
    const unhandled = unhandledRejections();
    isDamaged = true;
    world.proofs.start();
    const told = (): number => world.events.filter(({ event }) => event === "state-not-kept").length;
    await eventually("three rounds have failed", () => told() >= 3);
    expect(() => world.proofs.of(world.host.id)).toThrow("pins.json is damaged");
    isDamaged = false;
    const before = world.host.asked.challenge;
    await eventually("a heartbeat", () => world.host.asked.challenge > before);
    expect([world.tier, unhandled]).toEqual(["key", []]);
  });
});

/** Rejections that nobody looks at while the test runs; Vitest's own handler would end it otherwise. */
function unhandledRejections(): readonly unknown[] {
  const unhandled: unknown[] = [];
  const others = process.listeners("unhandledRejection");
  const note = (thrown: unknown): void => void unhandled.push(thrown);
  process.removeAllListeners("unhandledRejection").on("unhandledRejection", note);
  onTestFinished(() => {
    process.off("unhandledRejection", note);
    for (const listener of others) process.on("unhandledRejection", listener);
  });
  return unhandled;
}

describe("what is told", () => {
  const trust = ({ events }: FakeWorld): readonly string[] =>
    events.flatMap((event) =>
      event.event === "host-distrusted" ? [event.reason] : event.event === "host-trusted" ? ["trusted"] : [],
    );

  it("that keys count for nothing, and that they count again: each once", async () => {
    const world = one(often);
    const { host } = world;
    const honest = host.challenge;
    await world.need();
    world.proofs.start();
    host.challenge = () => unable;
    await eventually("three misses", () => trust(world).length > 0);
    let asked = host.asked.challenge;
    await eventually("more misses", () => host.asked.challenge > asked + 3);
    expect(trust(world)).toEqual(["challenge-missed"]);
    host.challenge = honest;
    await eventually("an answer", () => trust(world).length > 1);
    asked = host.asked.challenge;
    await eventually("more answers", () => host.asked.challenge > asked + 3);
    expect(trust(world)).toEqual(["challenge-missed", "trusted"]);
  });

  it("that a signature was wrong", async () => {
    const world = one();
    world.host.challenge = ({ sealed }) => world.host.answerWrongly(sealed);
    await world.need();
    expect(trust(world)).toEqual(["challenge-failed"]);
  });

  it("that a host has another key than was pinned", async () => {
    const pins = new FakePins();
    const first = one({ pins });
    await first.need();
    const { host, clock } = first;
    const other = freshKey();
    host.evidence = () => shows(enclaveItem({ ...host.parts, key: other, atMs: clock.now() }));
    host.challenge = ({ sealed }) => host.answer(sealed, other);
    const world = one({ pins, host, clock });
    await world.need();
    expect([trust(world), world.tier]).toEqual([["pin-changed"], "none"]);
  });

  it("nothing of a host that behaves", async () => {
    const world = one();
    await world.need();
    expect(trust(world)).toEqual([]);
  });

  it("not that keys count again of which nothing has answered", async () => {
    const world = one(often);
    await world.need();
    world.host.challenge = () => unable;
    world.host.evidence = () => unable;
    world.proofs.start();
    await eventually("three misses", () => trust(world).length > 0);
    world.host.rotate();
    const asked = world.host.asked.challenge;
    await eventually("a miss with the new key", () => world.host.asked.challenge > asked + 1);
    expect([world.tier, trust(world)]).toEqual(["none", ["challenge-missed"]]);
  });
});

describe("the end", () => {
  it("closing ends what is under way, and nobody is asked after it", async () => {
    const world = one({ ...often, askMs: 60_000 });
    world.host.evidence = () => never;
    const [prepared, asked] = [world.need(), world.proofs.ask(world.host.id, signal)];
    world.proofs.start();
    await eventually("the question has gone out", () => world.host.asked.evidence === 1);
    await world.proofs.close();
    await Promise.all([prepared, asked]);
    const { length } = world.dialed;
    await world.need();
    expect([world.dialed.length, world.proofs.of(world.host.id).why]).toEqual([length, undefined]);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(world.host.asked).toEqual({ evidence: 1, residence: 0, challenge: 0 });
  });

  it("closing is no miss of anybody", async () => {
    const world = one({ askMs: 60_000 });
    await world.need();
    world.host.challenge = () => unable;
    // a third miss would be one too many
    for (let n = 0; n < 2; n += 1) await world.proofs.ask(world.host.id, signal);
    world.host.challenge = () => never;
    const asked = world.proofs.ask(world.host.id, signal);
    await eventually("the challenge has gone out", () => world.host.asked.challenge === 4);
    await world.proofs.close();
    await asked;
    expect([world.challenge, world.tier]).toEqual(["answered", "key"]);
  });

  it("what was forgotten is asked for anew", async () => {
    const world = one();
    await world.need();
    world.proofs.forget(world.host.id);
    expect(world.proofs.of(world.host.id)).toMatchObject({ asked: false, pieces: [] });
    await world.need();
    expect([world.host.asked.evidence, world.tier]).toEqual([2, "key"]);
  });

  it("a round that was under way brings nothing of it back", async () => {
    const world = one();
    const { host, clock, proofs } = world;
    let answer = (): void => undefined;
    host.evidence = () =>
      new Promise((resolve) => {
        answer = () => resolve(shows(softwareItem({ ...host.parts, atMs: clock.now() })));
      });
    const asked = proofs.ask(host.id, signal);
    await eventually("the question has gone out", () => host.asked.evidence === 1);
    proofs.forget(host.id);
    answer();
    await asked;
    expect(proofs.of(host.id)).toMatchObject({ asked: false, pieces: [] });
  });
});

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { controlFrame, dataFrame, frameTypes } from "../../../src/transport/mux-frames.ts";
import { type Carrier, MuxSession } from "../../../src/transport/mux-session.ts";
import { type MuxStream, streamWindow } from "../../../src/transport/mux-stream.ts";
import { carrierPair } from "../../support/carrier-pair.ts";
import { codeOf, expectCode, rejectsWith } from "../../support/expect-code.ts";
import { patternBytes, readToEnd } from "../../support/transport-pair.ts";

interface Side {
  readonly session: MuxSession;
  readonly opened: MuxStream[];
  lost: number;
  ended: number;
}

function side(dialed: boolean, home: Carrier["kind"] = "tls"): Side {
  const opened: MuxStream[] = [];
  const about = { lost: 0, ended: 0 };
  const session = new MuxSession({
    dialed,
    home,
    onStream: (_alpn, stream) => void opened.push(stream),
    onCarrierLost: () => (made.lost += 1),
    onEnd: () => (made.ended += 1),
  });
  const made: Side = Object.assign(about, { session, opened });
  return made;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function until(holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns += 1) {
    if (turns > 10_000) throw new Error("waited in vain");
    await turn();
  }
}

describe("a session whose carrier breaks", () => {
  let near: Side;
  let far: Side;

  beforeEach(() => {
    [near, far] = [side(true), side(false)];
  });

  afterEach(() => {
    near.session.end();
    far.session.end();
  });

  /** As after a hello and its reply: each knows what the other has. */
  function join(kind: Carrier["kind"] = "tls", cutAfter?: number, pieceBytes = 777): ReturnType<typeof carrierPair> {
    const wire = carrierPair(kind, pieceBytes, cutAfter);
    near.session.suspend();
    far.session.suspend();
    const [nearHas, farHas] = [near.session.received, far.session.received];
    far.session.attach(wire.far, nearHas);
    near.session.attach(wire.near, farHas);
    return wire;
  }

  test("a stream tells what is there without a wait: bytes, then its end, then the same again", async () => {
    join();
    const ours = near.session.open("sealmesh/1");
    expect(ours.now()).toBeUndefined();
    await until(() => far.opened.length === 1);
    const theirs = far.opened[0]!;
    await theirs.write(patternBytes(700));
    await theirs.finish();
    const got: Uint8Array[] = [];
    await until(() => {
      const piece = ours.now();
      if (piece instanceof Uint8Array) got.push(piece);
      return piece === "end";
    });
    expect(Buffer.compare(Buffer.concat(got), patternBytes(700))).toBe(0);
    expect(ours.now()).toBe("end");
    expect(await ours.read()).toBeUndefined();
    ours.abort();
    const other = near.session.open("sealmesh/1");
    other.abort();
    expectCode("E_ABORTED", () => other.now());
  });

  test("at any byte goes on with another one, and nothing is lost, repeated or out of order", async () => {
    const bytes = patternBytes(300_000);
    join("tls");
    const ours = near.session.open("sealmesh/1");
    await until(() => far.opened.length === 1);
    const theirs = far.opened[0]!;
    const reading = Promise.all([readToEnd(theirs), readToEnd(ours)]);
    const writing = Promise.all([
      ours.write(bytes).then(() => ours.finish()),
      theirs.write(bytes).then(() => theirs.finish()),
    ]);
    for (const cutAfter of [1, 7, 8, 9, 1_000, 65_536, 65_545, 100_001, 200_000]) {
      const wire = join(cutAfter % 2 === 0 ? "tls" : "quic", cutAfter);
      await until(
        () => wire.carried() >= cutAfter || (ours.aborted.aborted && theirs.aborted.aborted) || near.ended > 0,
      );
    }
    join("quic");
    await writing;
    for (const got of await reading) expect(Buffer.compare(got, bytes)).toBe(0);
    expect([ours.aborted.aborted, theirs.aborted.aborted]).toEqual([false, false]);
  });

  test("takes what is offered whole or not at all, as far as there is room", async () => {
    join("tls");
    const ours = near.session.open("sealmesh/1");
    await until(() => far.opened.length === 1);
    const theirs = far.opened[0]!;
    const piece = patternBytes(65_536);
    let taken = 0;
    expect(ours.offer(new Uint8Array(0))).toBe(true); // and sends no frame, which would end the session
    while (ours.offer(piece)) taken += piece.length;
    expect(taken).toBeLessThanOrEqual(streamWindow);
    expect(ours.offer(patternBytes(65_537))).toBe(false); // more than a frame holds
    const reading = readToEnd(theirs);
    await until(() => ours.offer(Uint8Array.of(1)));
    await ours.finish();
    const got = await reading;
    expect([got.length, got.at(-1)]).toEqual([taken + 1, 1]);
    expectCode("E_BUG", () => ours.offer(piece));
    theirs.abort();
    const other = near.session.open("sealmesh/1");
    other.abort();
    expectCode("E_ABORTED", () => other.offer(piece));
  });

  test("sends what comes up in one turn together, and in a long turn does not keep the first waiting", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const { far: farCarrier, near: nearCarrier } = carrierPair();
      const sent: number[] = [];
      const counted: Carrier = {
        ...nearCarrier,
        send: (frames) => {
          sent.push(frames.length);
          nearCarrier.send(frames);
        },
      };
      far.session.attach(farCarrier, 0);
      near.session.attach(counted, 0);
      await turn();
      sent.length = 0;
      const ours = near.session.open("sealmesh/1");
      expect([ours.offer(Uint8Array.of(1)), sent]).toEqual([true, []]);
      await turn();
      expect(sent).toEqual([2]); // the opening and the byte
      expect([ours.offer(Uint8Array.of(2)), sent]).toEqual([true, [2]]);
      vi.advanceTimersByTime(1);
      expect([ours.offer(Uint8Array.of(3)), sent]).toEqual([true, [2, 2]]);
      expect([ours.offer(Uint8Array.of(4)), sent]).toEqual([true, [2, 2]]);
      await ours.finish();
      await until(() => far.opened.length === 1);
      expect([...(await readToEnd(far.opened[0]!))]).toEqual([1, 2, 3, 4]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("takes no new streams on a stream of QUIC, and ends when the last one has", async () => {
    join("tls");
    const ours = near.session.open("mesh-llm/1");
    await until(() => far.opened.length === 1);
    join("quic");
    expect(near.session.isOpen).toBe(false);
    expect(
      codeOf(
        await Promise.resolve()
          .then(() => near.session.open("mesh-llm/1"))
          .catch((thrown: unknown) => thrown),
      ),
    ).toBe("E_LOST");
    await Promise.all([ours.finish(), far.opened[0]!.finish()]);
    expect([await ours.read(), await far.opened[0]!.read()]).toEqual([undefined, undefined]);
    await until(() => near.ended === 1 && far.ended === 1);
  });

  test("that began on QUIC takes new streams there, again after a break, and lives without any", async () => {
    [near, far] = [side(true, "quic"), side(false, "quic")];
    join("quic");
    for (let round = 1; round <= 2; round += 1) {
      const ours = near.session.open("mesh-llm/1");
      await until(() => far.opened.length === round);
      await Promise.all([ours.finish(), far.opened[round - 1]!.finish()]);
      expect([await ours.read(), await far.opened[round - 1]!.read()]).toEqual([undefined, undefined]);
      await until(() => far.session.isOpen);
      join("quic");
    }
    await turn();
    expect([near.session.isOpen, near.ended, far.ended]).toEqual([true, 0, 0]);
  });

  test("goes on for streams that are read while nine others lie unread", async () => {
    join("tls", undefined, 65_536);
    const unread = Array.from({ length: 9 }, () => near.session.open("sealmesh/1"));
    await Promise.all(unread.map((stream) => stream.write(new Uint8Array(streamWindow))));
    const ours = near.session.open("sealmesh/1");
    await until(() => far.opened.length === 10);
    const bytes = 20 * 1024 * 1024; // more than the session's window
    const writing = ours.write(new Uint8Array(bytes)).then(() => ours.finish());
    const got = await readToEnd(far.opened[9]!);
    await writing;
    expect(got.length).toBe(bytes);
  });

  test("is not open for a further stream while it has as many as it may", async () => {
    join("tls", undefined, 65_536);
    const all = Array.from({ length: 1_024 }, () => near.session.open("sealmesh/1"));
    expect(near.session.isOpen).toBe(false);
    all[0]?.abort();
    expect(near.session.isOpen).toBe(true);
  });

  test("that ends leaves what has come whole to be read, and nothing that has not", async () => {
    const bytes = patternBytes(10_000);
    join("tls");
    const [whole, half] = [near.session.open("sealmesh/1"), near.session.open("sealmesh/1")];
    await until(() => far.opened.length === 2);
    const [theirWhole, theirHalf] = far.opened;
    await Promise.all([whole.write(bytes), half.write(bytes)]);
    await Promise.all([whole.finish(), theirWhole!.finish(), theirHalf!.finish()]);
    expect(await whole.read()).toBeUndefined();
    near.session.end(); // it has all of `whole`, and is told nothing more of it
    await until(() => far.ended === 1);
    expect(Buffer.compare(await readToEnd(theirWhole!), bytes)).toBe(0);
    await rejectsWith("E_LOST", theirHalf!.read());
    await rejectsWith("E_LOST", half.read());
  });

  test("without a stream or a word that is missing ends at once, and asks for no other carrier", async () => {
    const wire = join("tls");
    await until(() => far.session.isOpen);
    expect(near.ended).toBe(0);
    near.session.end();
    await until(() => far.ended === 1);
    expect([near.lost, far.lost]).toEqual([0, 0]);
    wire.cut();
  });

  test("and gets none ends in time, and its streams with it", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const wire = join("tls");
      const ours = near.session.open("mesh-llm/1");
      await until(() => far.opened.length === 1);
      const reading = ours.read();
      const failed = reading.catch((thrown: unknown) => codeOf(thrown));
      wire.cut();
      await until(() => near.lost === 1);
      await vi.advanceTimersByTimeAsync(5_900);
      expect(near.ended).toBe(0);
      await vi.advanceTimersByTimeAsync(200);
      expect([near.ended, await failed, codeOf(ours.aborted.reason)]).toEqual([1, "E_LOST", "E_LOST"]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("without a word is noticed within four seconds while there are streams", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    try {
      const wire = join("tls");
      near.session.open("mesh-llm/1");
      await until(() => far.opened.length === 1);
      for (let second = 0; second < 10; second += 1) {
        vi.advanceTimersByTime(1_000);
        for (let turns = 0; turns < 5; turns += 1) await turn();
      }
      expect([near.lost, far.lost]).toEqual([0, 0]); // each says something every second
      wire.silence();
      for (let second = 0; second < 4; second += 1) vi.advanceTimersByTime(1_000);
      expect([near.lost, far.lost]).toEqual([1, 1]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("of a process that was held itself is not taken for a dead one", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    try {
      join("tls");
      near.session.open("mesh-llm/1");
      await until(() => far.opened.length === 1);
      vi.setSystemTime(Date.now() + 60_000);
      vi.advanceTimersByTime(60_000); // one timer each second, all late by what passed
      expect(near.ended).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a peer that does not keep to the rules", () => {
  /** What a session does with frames that nobody of ours would send. */
  async function after(...frames: readonly Uint8Array[]): Promise<Side> {
    const own = side(false);
    const wire = carrierPair("tls");
    own.session.attach(wire.far, 0);
    wire.near.start({ onBytes: () => undefined, onSent: () => undefined, onClosed: () => undefined });
    wire.near.send([controlFrame(frameTypes.ping), ...frames.map((frame) => Buffer.from(frame))]);
    for (let turns = 0; turns < 200; turns += 1) await turn();
    return own;
  }
  const open = (id: number, alpn = 0): Buffer => controlFrame(frameTypes.open, id, alpn);

  test.each<readonly [name: string, frames: readonly Uint8Array[]]>([
    ["a type that is not known", [Uint8Array.of(99, 0, 0, 0, 0, 0, 0, 0)]],
    ["a data frame without data", [Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0)]],
    ["a data frame that is too long", [Uint8Array.of(2, 1, 0, 1, 0, 0, 0, 0)]],
    ["a stream out of turn", [open(2)]],
    ["a stream with a number of ours", [open(1)]],
    ["a stream for a protocol that is not known", [open(0, 7)]],
    ["the same stream twice", [open(0), open(0)]],
    ["data behind a stream's end", [open(0), controlFrame(frameTypes.end, 0), dataFrame(0, Uint8Array.of(1))]],
    ["credit that nobody used", [open(0), controlFrame(frameTypes.credit, 0, 1)]],
    ["credit for all that nobody used", [controlFrame(frameTypes.sessionCredit, 0, 1)]],
    ["word of bytes that were never sent", [controlFrame(frameTypes.received, 0, 1_000_000)]],
    [
      "more of a stream than there is room for",
      [open(0), ...Array.from({ length: streamWindow / 65_536 + 1 }, () => dataFrame(0, patternBytes(65_536)))],
    ],
    ["more streams than may be open", Array.from({ length: 2_049 }, (_, index) => open(index * 2))],
  ])("%s ends the session", async (_name, frames) => {
    const own = await after(...frames);
    expect(own.ended).toBe(1);
    for (const stream of own.opened) expect(codeOf(stream.aborted.reason)).toBe("E_LOST");
  });

  test.each<readonly [name: string, frames: readonly Uint8Array[]]>([
    ["data for a stream that is over", [dataFrame(40, patternBytes(10))]],
    [
      "end, abort and credit of one",
      [controlFrame(frameTypes.end, 40), controlFrame(frameTypes.abort, 40, 1), controlFrame(frameTypes.credit, 40, 5)],
    ],
    ["a stream aborted at once", [open(0), controlFrame(frameTypes.abort, 0, 2)]],
    ["as many streams as there may be", Array.from({ length: 1_024 }, (_, index) => open(index * 2))],
  ])("%s does not", async (_name, frames) => {
    const own = await after(...frames);
    expect(own.ended).toBe(0);
    own.session.end();
  });

  test("what it never says it has is not kept without end", async () => {
    const own = side(true);
    const wire = carrierPair("tls");
    own.session.attach(wire.near, 0);
    const send = (): void => {
      for (let count = 0; count < 1_000; count += 1) own.session.open("mesh-llm/1").abort();
    };
    for (let rounds = 0; rounds < 100 && own.ended === 0; rounds += 1) {
      try {
        send();
      } catch {
        break; // it has ended
      }
      await turn();
    }
    expect(own.ended).toBe(1);
  });

  test("a stream that nobody reads holds the writer back at its window", async () => {
    const [near, far] = [side(true), side(false)];
    const wire = carrierPair("tls", 100_000);
    far.session.attach(wire.far, 0);
    near.session.attach(wire.near, 0);
    const ours = near.session.open("mesh-llm/1");
    let written = 0;
    const writing = (async () => {
      for (;;) {
        await ours.write(patternBytes(10_000));
        written += 10_000;
      }
    })();
    const failed = rejectsWith("E_LOST", writing);
    for (let turns = 0; turns < 1_000; turns += 1) await turn();
    expect(written).toBeLessThanOrEqual(streamWindow);
    expect(written).toBeGreaterThan(streamWindow - 20_000);
    near.session.end();
    await failed;
    far.session.end();
  });
});

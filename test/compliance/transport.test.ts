/**
 * What every transport promises, on real sockets for iroh and in memory for the network of the integration tests, also
 * when tapped. A new transport adds a line to `kinds`.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { concat } from "../../src/base/bytes.ts";
import { sleep, withDeadline } from "../../src/base/deadline.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { withDirectTls, withMux } from "../../src/transport/direct-tls.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import { memoryNetwork } from "../../src/transport/memory.ts";
import { tapTransport } from "../../src/transport/tap.ts";
import { closeCodes, type Connection, type Transport, type TransportKind } from "../../src/transport/transport.ts";
import { codeOf, rejectsWith } from "../support/expect-code.ts";
import {
  type ConnectedPair,
  connect,
  connectedPair,
  patternBytes,
  readToEnd,
  startOnLoopback,
  whenAborted,
} from "../support/transport-pair.ts";

const memory = memoryNetwork();

const tapped: TransportKind = {
  kind: "memory",
  start: async (options) => tapTransport(await memory.start(options), () => undefined),
};

const unoffered: TransportKind = {
  kind: "direct-tls",
  start: (options) => withDirectTls(irohTransport).start({ ...options, offersDirect: false }),
};

const kinds: readonly (readonly [name: string, kind: TransportKind])[] = [
  ["iroh", irohTransport],
  ["iroh, in sessions", withMux(irohTransport)],
  ["direct TLS", withDirectTls(irohTransport)],
  ["iroh, with a direct path that nobody offers", unoffered],
  ["memory", memory],
  ["memory, tapped", tapped],
];

/** An abort must have reached an idle peer by then. */
const abortMs = 300;

describe.each(kinds)("%s, connected", (_name, kind) => {
  let pair: ConnectedPair;

  beforeEach(async () => {
    pair = await connectedPair(kind);
  });

  afterEach(() => pair.close());

  test("both sides have proved who they are", () => {
    expect(pair.near.peer).toBe(pair.acceptor.id);
    expect(pair.far.peer).toBe(pair.dialer.id);
    expect([pair.near.dialed, pair.far.dialed]).toEqual([true, false]);
    expect([pair.near.alpn, pair.far.alpn]).toEqual(["sealmesh/1", "sealmesh/1"]);
    expect(pair.near.path()?.kind).not.toBe("iroh-relay");
    expect(pair.near.rttMs()).toBeLessThan(1_000);
  });

  test("bytes come back as they were sent", async () => {
    const { ours, theirs } = await pair.openBoth();
    await ours.write(patternBytes(1_000));
    await theirs.write((await theirs.read())!);
    expect(await ours.read()).toEqual(patternBytes(1_000));
  });

  test("an empty write is taken and sends nothing", async () => {
    const { ours, theirs } = await pair.openBoth();
    await ours.write(new Uint8Array(0));
    await ours.write(Uint8Array.of(1));
    expect(await theirs.read()).toEqual(Uint8Array.of(1));
  });

  test("what is offered comes between what was written before and after it", async () => {
    const { ours, theirs } = await pair.openBoth();
    const pieces = Array.from({ length: 40 }, (_, index) => patternBytes(10 + 100 * (index % 7), index));
    const reading = readToEnd(theirs);
    for (const [index, piece] of pieces.entries()) {
      if (index % 3 === 0 || !ours.offer?.(piece)) await ours.write(piece);
    }
    await ours.finish();
    expect(await reading).toEqual(concat(pieces));
  });

  test("a subarray sends its own bytes only", async () => {
    const { ours, theirs } = await pair.openBoth();
    await ours.write(patternBytes(100).subarray(10, 20));
    expect(await theirs.read()).toEqual(patternBytes(100).slice(10, 20));
  });

  test("either side may open streams", async () => {
    const stream = await pair.far.open();
    await stream.write(Uint8Array.of(3));
    const seen = await first(pair.near.streams());
    expect(await seen.read()).toEqual(Uint8Array.of(3));
  });

  test("200 streams at once stay apart", async () => {
    const echoing = echoAll(pair.far);
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const stream = await pair.near.open();
        await stream.write(patternBytes(500, index));
        await stream.finish();
        return readToEnd(stream);
      }),
    );
    answers.forEach((answer, index) => expect(answer).toEqual(patternBytes(500, index)));
    pair.near.close();
    await echoing;
  });

  test("our end leaves the peer's direction open", async () => {
    const { ours, theirs } = await pair.openBoth();
    await ours.finish();
    expect(await theirs.read()).toBeUndefined();
    expect(await theirs.read()).toBeUndefined();
    await theirs.write(Uint8Array.of(1, 2));
    expect(await ours.read()).toEqual(Uint8Array.of(1, 2));
  });

  test("the peer's end leaves our direction open", async () => {
    const { ours, theirs } = await pair.openBoth();
    await theirs.finish();
    expect(await ours.read()).toBeUndefined();
    await ours.write(Uint8Array.of(1, 2));
    expect(await theirs.read()).toEqual(Uint8Array.of(1, 2));
  });

  test("finishing twice is finishing once", async () => {
    const { ours, theirs } = await pair.openBoth();
    await ours.finish();
    await ours.finish();
    expect(await theirs.read()).toBeUndefined();
    await rejectsWith("E_BUG", ours.write(Uint8Array.of(1)));
  });

  test("a stream that ends without a byte is seen and empty", async () => {
    const stream = await pair.near.open();
    await stream.finish();
    expect(await (await first(pair.far.streams())).read()).toBeUndefined();
  });

  test.each([1, 5])("%i MiB pass intact while both sides read and write", async (mebibytes) => {
    const bytes = patternBytes(mebibytes * 1024 * 1024);
    const { ours, theirs } = await pair.openBoth();
    const [there, back] = await Promise.all([
      readToEnd(theirs),
      readToEnd(ours),
      send(ours, bytes),
      send(theirs, bytes),
    ]);
    expect(Buffer.compare(there, bytes)).toBe(0);
    expect(Buffer.compare(back, bytes)).toBe(0);
  });

  test("a writer waits for a peer that does not read, and goes on when it does", async () => {
    const { ours, theirs } = await pair.openBoth();
    const writer = endlessWriter(ours);
    const taken = await writer.stalledAt();
    expect(taken).toBeLessThan(8 * 1024 * 1024);
    for (let read = 0; read < taken;) read += (await theirs.read())!.length;
    await expect.poll(() => writer.taken(), { timeout: 3_000 }).toBeGreaterThan(taken);
    ours.abort();
    await rejectsWith("E_ABORTED", writer.done);
  });

  test("an unread stream does not hold up a later one", async () => {
    const { ours: unread } = await pair.openBoth();
    const writer = endlessWriter(unread);
    await writer.stalledAt();
    const { ours, theirs } = await pair.openBoth();
    await ours.write(Uint8Array.of(9));
    expect(await theirs.read()).toEqual(Uint8Array.of(9));
    unread.abort();
    await rejectsWith("E_ABORTED", writer.done);
  });

  describe("abort", () => {
    test("by a reader whose read is pending reaches an idle peer", async () => {
      const { ours, theirs } = await pair.openBoth();
      const reading = codeOfRejection(ours.read());
      ours.abort();
      expect(await whenAborted(theirs, abortMs)).toBeLessThan(abortMs);
      expect(await reading).toBe("E_ABORTED");
      await rejectsWith("E_ABORTED", theirs.write(Uint8Array.of(1)));
      await rejectsWith("E_ABORTED", theirs.read());
    });

    test("by a reader whose read is pending reaches a peer that reads too", async () => {
      const { ours, theirs } = await pair.openBoth();
      const reading = [codeOfRejection(ours.read()), codeOfRejection(theirs.read())];
      ours.abort(2);
      expect(await within(Promise.all(reading))).toEqual(["E_ABORTED", "E_ABORTED"]);
      expect(theirs.aborted.aborted).toBe(true);
    });

    test("by a side that does not read reaches a peer whose write is blocked", async () => {
      const { ours, theirs } = await pair.openBoth();
      const writer = endlessWriter(theirs);
      await writer.stalledAt();
      ours.abort();
      expect(await within(codeOfRejection(writer.done))).toBe("E_ABORTED");
      await whenAborted(theirs, abortMs);
    });

    test("by a side whose read is pending and whose write is blocked reaches an idle peer", async () => {
      const { ours, theirs } = await pair.openBoth();
      const reading = codeOfRejection(ours.read());
      const writer = endlessWriter(ours);
      await writer.stalledAt();
      ours.abort();
      await whenAborted(theirs, abortMs);
      expect(await reading).toBe("E_ABORTED");
      await rejectsWith("E_ABORTED", writer.done);
      await rejectsWith("E_ABORTED", theirs.read());
    });

    test("by a writer reaches a reader that waits", async () => {
      const { ours, theirs } = await pair.openBoth();
      const reading = codeOfRejection(theirs.read());
      ours.abort();
      expect(await within(reading)).toBe("E_ABORTED");
    });

    test("by the accepting side reaches the opener", async () => {
      const { ours, theirs } = await pair.openBoth();
      const reading = codeOfRejection(ours.read());
      theirs.abort(1);
      expect(await within(reading)).toBe("E_ABORTED");
      expect(ours.aborted.aborted).toBe(true);
    });

    test("fires here at once and fails what comes later", async () => {
      const { ours } = await pair.openBoth();
      ours.abort();
      expect(ours.aborted.aborted).toBe(true);
      expect(codeOf(ours.aborted.reason)).toBe("E_ABORTED");
      await rejectsWith("E_ABORTED", ours.read());
      await rejectsWith("E_ABORTED", ours.write(Uint8Array.of(1)));
      await rejectsWith("E_ABORTED", ours.finish());
    });

    test("after our end still ends the peer's direction", async () => {
      const { ours, theirs } = await pair.openBoth();
      await ours.finish();
      ours.abort();
      await whenAborted(theirs, abortMs);
      await rejectsWith("E_ABORTED", theirs.write(Uint8Array.of(1)));
    });

    test("twice, or from both sides, is one abort", async () => {
      const { ours, theirs } = await pair.openBoth();
      ours.abort(1);
      ours.abort(2);
      theirs.abort(3);
      await whenAborted(theirs, abortMs);
      ours.abort();
    });

    test("after both directions ended cleanly does nothing, and nothing has fired", async () => {
      const { ours, theirs } = await pair.openBoth();
      await ours.write(patternBytes(10_000));
      await ours.finish();
      expect(await readToEnd(theirs)).toEqual(patternBytes(10_000));
      await theirs.write(patternBytes(100_000));
      await theirs.finish();
      theirs.abort();
      expect(Buffer.compare(await readToEnd(ours), patternBytes(100_000))).toBe(0);
      ours.abort();
      pair.near.close();
      await pair.far.closed;
      expect([ours.aborted.aborted, theirs.aborted.aborted]).toEqual([false, false]);
    });

    test("of one stream leaves the others alone", async () => {
      const [one, other] = [await pair.openBoth(), await pair.openBoth()];
      one.ours.abort();
      await whenAborted(one.theirs, abortMs);
      await other.ours.write(Uint8Array.of(5));
      expect(await other.theirs.read()).toEqual(Uint8Array.of(5));
      expect([other.ours.aborted.aborted, other.theirs.aborted.aborted]).toEqual([false, false]);
    });

    test("before the peer has taken the stream is seen when it does", async () => {
      const stream = await pair.near.open();
      await stream.write(Uint8Array.of(1));
      stream.abort();
      const seen = await first(pair.far.streams());
      await whenAborted(seen, abortMs);
      await rejectsWith("E_ABORTED", seen.read());
    });
  });

  describe("close", () => {
    test("of a connection aborts every stream on both sides, and the peer reads the code", async () => {
      const [one, other] = [await pair.openBoth(), await pair.openBoth()];
      const reading = codeOfRejection(one.ours.read());
      const theirReading = codeOfRejection(other.theirs.read());
      pair.near.close(closeCodes.refused);
      expect(await within(pair.near.closed)).toEqual({ code: closeCodes.refused, by: "us" });
      expect(await within(pair.far.closed)).toEqual({ code: closeCodes.refused, by: "peer" });
      for (const stream of [one.ours, one.theirs, other.ours, other.theirs]) {
        expect(codeOf(stream.aborted.reason)).toBe("E_LOST");
        await rejectsWith("E_LOST", stream.read());
        await rejectsWith("E_LOST", stream.write(Uint8Array.of(1)));
      }
      expect([await reading, await theirReading]).toEqual(["E_LOST", "E_LOST"]);
      await rejectsWith("E_LOST", pair.near.open());
      await rejectsWith("E_LOST", pair.far.open());
    });

    test("of a connection fails a blocked write", async () => {
      const { ours } = await pair.openBoth();
      const writer = endlessWriter(ours);
      await writer.stalledAt();
      pair.far.close();
      expect(await within(codeOfRejection(writer.done))).toBe("E_LOST");
    });

    test("of a connection ends its streams()", async () => {
      const ended = Promise.all([collect(pair.near.streams()), collect(pair.far.streams())]);
      pair.near.close();
      expect(await within(ended)).toEqual([[], []]);
    });

    test("of a connection twice counts once", async () => {
      pair.near.close(closeCodes.protocol);
      pair.near.close(closeCodes.normal);
      pair.far.close(closeCodes.normal);
      expect(await pair.near.closed).toEqual({ code: closeCodes.protocol, by: "us" });
    });

    test("of the peer's transport closes its connections with the code for leaving", async () => {
      const { ours } = await pair.openBoth();
      await pair.acceptor.close();
      expect(await within(pair.near.closed)).toEqual({ code: closeCodes.leaving, by: "peer" });
      expect(ours.aborted.aborted).toBe(true);
    });

    test("of a transport ends incoming() and refuses to dial", async () => {
      const listening = await startOnLoopback(kind);
      const ended = collect(listening.incoming());
      await Promise.all([listening.close(), listening.close()]);
      expect(await within(ended)).toEqual([]);
      await rejectsWith("E_CLOSED", listening.dial(pair.dialer.address(), { alpn: "sealmesh/1", timeoutMs: 1_000 }));
    });
  });
});

describe.each(kinds)("%s, dialing", (_name, kind) => {
  const started: Transport[] = [];
  const start = async (...arguments_: Parameters<typeof startOnLoopback>): Promise<Transport> => {
    const transport = await startOnLoopback(...arguments_);
    started.push(transport);
    return transport;
  };

  afterEach(async () => {
    await Promise.all(started.splice(0).map((transport) => transport.close()));
  });

  const stranger = identityFrom(newIdentitySeed()).id;

  test("agrees on the protocol that was asked for", async () => {
    const [near, far] = await connect(await start(kind), await start(kind), "mesh-llm/1");
    expect([near.alpn, far.alpn]).toEqual(["mesh-llm/1", "mesh-llm/1"]);
  });

  test("is refused at once for a protocol that the peer does not speak", async () => {
    const [dialer, acceptor] = [await start(kind), await start(kind, { alpns: ["mesh-llm/1"] })];
    const dialing = dialer.dial(acceptor.address(), { alpn: "sealmesh/1", timeoutMs: 5_000 });
    expect(await within(codeOfRejection(dialing), 1_000)).toBe("E_UNREACHABLE");
  });

  test("nobody fails within its time", async () => {
    const dialer = await start(kind);
    const dialing = dialer.dial(
      { id: stranger, relays: [], direct: ["127.0.0.1:9"] },
      { alpn: "sealmesh/1", timeoutMs: 300 },
    );
    expect(await within(codeOfRejection(dialing), 500)).toBe("E_UNREACHABLE");
  });

  test("a right address of a wrong node fails within its time", async () => {
    const [dialer, acceptor] = [await start(kind), await start(kind)];
    const { direct } = acceptor.address();
    const dialing = dialer.dial({ id: stranger, relays: [], direct }, { alpn: "sealmesh/1", timeoutMs: 500 });
    expect(await within(codeOfRejection(dialing), 700)).toBe("E_UNREACHABLE");
  });

  test.each([
    ["no address", []],
    ["port 0 only", ["127.0.0.1:0"]],
  ])("%s fails at once", async (_case, direct) => {
    const dialer = await start(kind);
    const dialing = dialer.dial({ id: stranger, relays: [], direct }, { alpn: "sealmesh/1", timeoutMs: 5_000 });
    expect(await within(codeOfRejection(dialing), 100)).toBe("E_UNREACHABLE");
  });

  test("oneself fails at once", async () => {
    const dialer = await start(kind);
    const dialing = dialer.dial(dialer.address(), { alpn: "sealmesh/1", timeoutMs: 5_000 });
    expect(await within(codeOfRejection(dialing), 100)).toBe("E_UNREACHABLE");
  });

  test("an unusable address among usable ones does no harm", async () => {
    const [dialer, acceptor] = [await start(kind), await start(kind)];
    const { id, direct } = acceptor.address();
    const target = { id, relays: ["not a url"], direct: ["127.0.0.1:0", "not an address", ...direct] };
    const connection = await dialer.dial(target, { alpn: "sealmesh/1", timeoutMs: 5_000 });
    expect(connection.peer).toBe(acceptor.id);
  });

  test("with a signal that has fired is not begun", async () => {
    const [dialer, acceptor] = [await start(kind), await start(kind)];
    const options = { alpn: "sealmesh/1", timeoutMs: 5_000, signal: AbortSignal.abort() } as const;
    await rejectsWith("E_ABORTED", dialer.dial(acceptor.address(), options));
  });

  test("connections have serials of their own", async () => {
    const [dialer, acceptor] = [await start(kind), await start(kind)];
    const dial = (): Promise<Connection> => dialer.dial(acceptor.address(), { alpn: "sealmesh/1", timeoutMs: 5_000 });
    const [one, other] = [await dial(), await dial()];
    expect(one.serial).not.toBe(other.serial);
  });

  test("a port that is taken is E_PORT, an address that is none E_CONFIG", async () => {
    const socket = (await start(kind)).address().direct.find((address) => address.startsWith("127.0.0.1:"))!;
    await rejectsWith("E_PORT", start(kind, { bind: socket }));
    await rejectsWith("E_CONFIG", start(kind, { bind: "localhost:0" }));
    await rejectsWith("E_CONFIG", start(kind, { bind: "127.0.0.1:70000" }));
  });
});

async function first<T>(source: AsyncIterable<T>): Promise<T> {
  const { value } = await source[Symbol.asyncIterator]().next();
  return value as T;
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of source) values.push(value);
  return values;
}

async function send(stream: ByteStream, bytes: Uint8Array): Promise<void> {
  await stream.write(bytes);
  await stream.finish();
}

async function echoAll(connection: Connection): Promise<void> {
  for await (const stream of connection.streams()) {
    const echoing = readToEnd(stream).then((bytes) => send(stream, bytes));
    echoing.catch(() => undefined); // the connection may be closed as soon as the asker has its bytes
  }
}

/** Settles within the time of an abort, unless said otherwise. */
function within<T>(work: Promise<T>, ms: number = abortMs): Promise<T> {
  return withDeadline(work, { what: "the expected outcome", ms });
}

function codeOfRejection(work: Promise<unknown>): Promise<string> {
  return work.then(() => "resolved", codeOf);
}

interface EndlessWriter {
  /** Bytes whose write has resolved. */
  taken(): number;
  /** Resolves with taken() when it no longer grows. */
  stalledAt(): Promise<number>;
  /** Rejects when the stream ends. */
  readonly done: Promise<never>;
}

function endlessWriter(stream: ByteStream): EndlessWriter {
  const piece = new Uint8Array(64 * 1024);
  let taken = 0;
  const write = async (): Promise<never> => {
    for (;;) {
      await stream.write(piece);
      taken += piece.length;
    }
  };
  const done = write();
  done.catch(() => undefined);
  return {
    taken: () => taken,
    async stalledAt() {
      for (let before = -1; before < taken;) {
        before = taken;
        await sleep(60);
      }
      return taken;
    },
    done,
  };
}

/** Sessions on QUIC: one stream of the connection below carries those of many exchanges, and nobody above notices. */
import { expect, it, onTestFinished } from "vitest";
import { concat } from "../../src/base/bytes.ts";
import { sleep } from "../../src/base/deadline.ts";
import { MeshError } from "../../src/base/errors.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { decodeReply, encodeHello, encodeReply, helloBytes, replyBytes } from "../../src/transport/carriers.ts";
import { encodeOffer } from "../../src/transport/direct-offer.ts";
import { DirectPeer } from "../../src/transport/direct-peer.ts";
import { withMux } from "../../src/transport/direct-tls.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { controlFrame, FrameReader, frameTypes } from "../../src/transport/mux-frames.ts";
import type { TlsLink } from "../../src/transport/tls-link.ts";
import type { Connection, Transport, TransportKind } from "../../src/transport/transport.ts";
import { abortCodes } from "../../src/transport/transport.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import { sealStreams } from "../../src/wire/stream-types.ts";
import { echo } from "../support/direct-pair.ts";
import { inSession, patternBytes, readToEnd, startOnLoopback } from "../support/transport-pair.ts";

/** The same object, but for some of its members. */
function changed<T extends object>(target: T, changes: Partial<T>): T {
  return new Proxy(target, {
    get(_target, name) {
      if (name in changes) return Reflect.get(changes, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** iroh, but for some members of its transports. */
function changedIroh(changes: (transport: Transport) => Partial<Transport>): TransportKind {
  return {
    kind: "iroh",
    async start(options) {
      const transport = await irohTransport.start(options);
      return changed(transport, changes(transport));
    },
  };
}

async function* mapped<T>(all: AsyncIterable<T>, change: (one: T) => T): AsyncGenerator<T, void> {
  for await (const one of all) yield change(one);
}

/** iroh as the layer below, with all streams that are opened on it. */
function watched(): { readonly kind: TransportKind; readonly opened: ByteStream[] } {
  const opened: ByteStream[] = [];
  const watch = (connection: Connection): Connection =>
    changed(connection, {
      open: async () => {
        const stream = await connection.open();
        opened.push(stream);
        return stream;
      },
    });
  const kind = changedIroh((transport) => ({
    dial: async (target, dialing) => watch(await transport.dial(target, dialing)),
  }));
  return { kind, opened };
}

/** iroh, which cannot write on the first streams that it accepts. */
function muteAtFirst(streams: number): TransportKind {
  let left = streams;
  const mute = (stream: ByteStream): ByteStream => {
    left -= 1;
    const write = (): Promise<void> => Promise.reject(new MeshError("E_ABORTED", "the peer reads no further"));
    return left < 0 ? stream : changed(stream, { write });
  };
  const accepted = (connection: Connection): Connection =>
    changed(connection, { streams: () => mapped(connection.streams(), mute) });
  return changedIroh((transport) => ({ incoming: () => mapped(transport.incoming(), accepted) }));
}

/** Two transports; each call gives one more connection between them. */
async function dialing(
  near: TransportKind,
  far: TransportKind,
  farKey = newIdentitySeed(),
): Promise<() => Promise<readonly [Connection, Connection]>> {
  const [dialer, acceptor] = await Promise.all([startOnLoopback(near), startOnLoopback(far, { secretKey: farKey })]);
  onTestFinished(async () => void (await Promise.all([dialer.close(), acceptor.close()])));
  const incoming = acceptor.incoming()[Symbol.asyncIterator]();
  return async () => {
    const dialed = await dialer.dial(acceptor.address(), { alpn: "sealmesh/1", timeoutMs: 5_000 });
    return [dialed, (await incoming.next()).value as Connection];
  };
}

async function pairOf(near: TransportKind, far: TransportKind): Promise<readonly [Connection, Connection]> {
  return await (
    await dialing(near, far)
  )();
}

/** Two that have a session, and the streams that the dialer has opened below it. */
async function pairInSession(): Promise<{
  readonly near: Connection;
  readonly far: Connection;
  readonly opened: readonly ByteStream[];
}> {
  const { kind, opened } = watched();
  const [near, far] = await pairOf(withMux(kind), withMux(irohTransport));
  void echo(far);
  await inSession(near, far);
  return { near, far, opened };
}

/** Sends so many bytes on a new stream, and gets them back. */
async function exchange(connection: Connection, bytes: Uint8Array): Promise<Uint8Array> {
  const stream = await connection.open();
  const reading = readToEnd(stream);
  await stream.write(bytes);
  await stream.finish();
  return await reading;
}

it("a hundred exchanges at a time take one stream of QUIC", async () => {
  const { near, opened } = await pairInSession();
  const bytes = patternBytes(2_000);
  const all = await Promise.all(Array.from({ length: 100 }, () => exchange(near, bytes)));
  for (const got of all) expect(Buffer.compare(got, bytes)).toBe(0);
  expect(opened).toHaveLength(1);
  expect(near.path()?.kind).toBe("quic");
});

it("when that stream breaks, they go on with another one, and lose nothing", async () => {
  const { near, far, opened } = await pairInSession();
  const bytes = patternBytes(600_000);
  const going = Array.from({ length: 3 }, () => exchange(near, bytes));
  await expect.poll(() => opened.length).toBe(1);
  opened[0]?.abort();
  for (const got of await Promise.all(going)) expect(Buffer.compare(got, bytes)).toBe(0);
  expect(opened.length).toBeGreaterThanOrEqual(2);
  await inSession(near, far);
  const before = opened.length;
  expect(await exchange(near, bytes.subarray(0, 10))).toEqual(bytes.subarray(0, 10));
  expect(opened).toHaveLength(before);
});

it("of two connections one carries the session, and the other when that has gone", async () => {
  const below = watched();
  const dial = await dialing(withMux(below.kind), withMux(irohTransport));
  const [first, firstFar] = await dial();
  void echo(firstFar);
  await inSession(first, firstFar);
  const [second, secondFar] = await dial();
  void echo(secondFar);
  await inSession(second, secondFar);
  const bytes = patternBytes(1_000);
  expect(Buffer.compare(await exchange(second, bytes), bytes)).toBe(0);
  expect(below.opened).toHaveLength(1);
  first.close();
  await expect.poll(() => below.opened.length, { timeout: 4_000 }).toBe(2);
  await inSession(second, secondFar);
  expect(Buffer.compare(await exchange(second, bytes), bytes)).toBe(0);
  expect(below.opened).toHaveLength(2);
});

it("streams for a connection that is not there are few, and let go in time", async () => {
  const [near, far] = await pairOf(irohTransport, withMux(irohTransport));
  void echo(far);
  const stream = await near.open();
  const hello = encodeHello({ kind: "new", session: "1".repeat(32), received: 0, instance: "2".repeat(16) });
  await stream.write(Uint8Array.of(sealStreams.direct, ...hello));
  const reader = new StreamReader(stream);
  expect(decodeReply(await reader.exact(replyBytes))).toMatchObject({ received: 0 });
  // of mesh-llm/1, on which they have no connection
  const opens = Array.from({ length: 100 }, (_, index) => controlFrame(frameTypes.open, 2 * index, 0));
  await stream.write(concat([controlFrame(frameTypes.ping), ...opens]));
  const aborted: number[] = [];
  const frames = new FrameReader({
    onData: () => undefined,
    onControl: (type, id, code) => void (type === frameTypes.abort && aborted.push(id, code)),
  });
  const startedMs = performance.now();
  while (aborted.length < 2 * 36) frames.take((await reader.read()) ?? new Uint8Array());
  expect(performance.now() - startedMs).toBeLessThan(2_000);
  expect(aborted.slice(0, 2)).toEqual([128, abortCodes.refused]);
  while (aborted.length < 2 * 100) frames.take((await reader.read()) ?? new Uint8Array());
  expect(aborted.slice(-2)).toEqual([126, abortCodes.timeout]);
});

it("a session whose welcome cannot be said is none, and takes no place", async () => {
  const [near, far] = await pairOf(irohTransport, withMux(muteAtFirst(6)));
  void echo(far);
  const greet = async (session: string): Promise<Uint8Array> => {
    const stream = await near.open();
    const hello = encodeHello({ kind: "new", session, received: 0, instance: "2".repeat(16) });
    await stream.write(Uint8Array.of(sealStreams.direct, ...hello));
    return await new StreamReader(stream).exact(replyBytes);
  };
  for (let count = 0; count < 6; count += 1) await expect(greet(`${count}`.repeat(32))).rejects.toThrow(/aborted/);
  expect(decodeReply(await greet("7".repeat(32)))).toMatchObject({ received: 0 });
});

it("a peer that takes a session up again and drops it at once is asked four times a second", async () => {
  const below = watched();
  const [, far] = await pairOf(withMux(below.kind), irohTransport);
  let greeted = 0;
  void (async () => {
    for await (const stream of far.streams()) {
      greeted += 1;
      void (async () => {
        await new StreamReader(stream).exact(1 + helloBytes);
        await stream.write(encodeReply({ received: 0, instance: "3".repeat(16) }));
        await stream.finish(); // what it said comes, and then nothing more
      })().catch(() => undefined); // the connection ends with the test
    }
  })();
  await expect.poll(() => greeted).toBeGreaterThanOrEqual(2);
  const [before, startedMs] = [greeted, performance.now()];
  await sleep(1_500);
  const each = (performance.now() - startedMs) / 250;
  expect(greeted - before).toBeGreaterThanOrEqual(2); // it goes on trying
  expect(greeted - before).toBeLessThanOrEqual(Math.ceil(each) + 1);
});

it("when the session itself ends, another one begins", async () => {
  const { near, far, opened } = await pairInSession();
  await opened[0]?.write(new Uint8Array(64).fill(0xff)); // no frame: the other side ends it
  await expect.poll(() => opened.length, { timeout: 4_000 }).toBe(2);
  await inSession(near, far);
  const bytes = patternBytes(1_000);
  expect(Buffer.compare(await exchange(near, bytes), bytes)).toBe(0);
  expect(opened).toHaveLength(2);
});

it("what befalls a session on QUIC brings no try of the direct path forward", async () => {
  const below = watched();
  const secretKey = newIdentitySeed();
  const identity = identityFrom(secretKey);
  const dial = await dialing(below.kind, withMux(irohTransport), secretKey);
  const [near, far] = await dial();
  void echo(far);
  const dials: string[] = [];
  const link: TlsLink = {
    port: undefined,
    dial(host) {
      dials.push(host);
      return Promise.reject(new MeshError("E_WIRE", "somebody else is there")); // not again for an hour
    },
    close: () => undefined,
  };
  const peer = new DirectPeer({ id: identity.id, instance: "1".repeat(16), link, onGone: () => undefined });
  peer.wrap(near);
  peer.takeOffer(encodeOffer({ issuedAtMs: 1, port: 4_433, addresses: [] }, identity));
  await expect.poll(() => dials).toEqual(["127.0.0.1", "::1"]);
  for (const count of [1, 2, 3]) {
    await expect.poll(() => below.opened.length, { timeout: 4_000 }).toBe(count);
    await expect.poll(() => peer.session(near.peerInstance)?.isOpen).toBe(true);
    if (count < 3) await below.opened.at(-1)?.write(new Uint8Array(64).fill(0xff)); // no frame: the other side ends it
  }
  await sleep(1_200); // the wait after a session that worked, and some more
  expect(dials).toHaveLength(2);
});

it("a peer that knows no sessions gets a stream for each exchange, and is asked once", async () => {
  const below = watched();
  const [near, far] = await pairOf(withMux(below.kind), irohTransport);
  const types: number[] = [];
  void (async () => {
    for await (const stream of far.streams()) {
      void (async () => {
        const first = await stream.read();
        types.push(first?.[0] ?? -1);
        if (first?.[0] === sealStreams.direct) return stream.abort(abortCodes.refused);
        if (first) await stream.write(first);
        await stream.finish();
      })().catch(() => undefined); // the connection ends with the test
    }
  })();
  await expect.poll(() => types).toEqual([sealStreams.direct]);
  const sent = Uint8Array.of(sealStreams.relay, 1, 2, 3);
  for (let count = 0; count < 3; count += 1) expect(await exchange(near, sent)).toEqual(sent);
  expect(types).toEqual([sealStreams.direct, sealStreams.relay, sealStreams.relay, sealStreams.relay]);
  expect(below.opened).toHaveLength(4);
});

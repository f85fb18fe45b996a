/** Sessions on QUIC: one stream of the connection below carries those of many exchanges, and nobody above notices. */
import { expect, it, onTestFinished } from "vitest";
import { newIdentitySeed } from "../../src/crypto/identity.ts";
import { withMux } from "../../src/transport/direct-tls.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import type { Connection, Transport, TransportKind } from "../../src/transport/transport.ts";
import { abortCodes } from "../../src/transport/transport.ts";
import { sealStreams } from "../../src/wire/stream-types.ts";
import { echo } from "../support/direct-pair.ts";
import { inSession, patternBytes, readToEnd, startOnLoopback } from "../support/transport-pair.ts";

/** iroh as the layer below, with all streams that are opened on it. */
function watched(): { readonly kind: TransportKind; readonly opened: ByteStream[] } {
  const opened: ByteStream[] = [];
  const watch = (connection: Connection): Connection =>
    new Proxy(connection, {
      get(target, name) {
        if (name === "open") {
          return async () => {
            const stream = await target.open();
            opened.push(stream);
            return stream;
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const kind: TransportKind = {
    kind: "iroh",
    async start(options) {
      const transport = await irohTransport.start(options);
      return {
        kind: transport.kind,
        id: transport.id,
        instance: transport.instance ?? "",
        address: () => transport.address(),
        dial: async (target, dialing) => watch(await transport.dial(target, dialing)),
        incoming: () => transport.incoming(),
        close: () => transport.close(),
      };
    },
  };
  return { kind, opened };
}

async function pairOf(near: TransportKind, far: TransportKind): Promise<readonly [Connection, Connection]> {
  const [dialer, acceptor] = await Promise.all(
    [near, far].map((kind) => startOnLoopback(kind, { secretKey: newIdentitySeed() })),
  );
  if (!dialer || !acceptor) throw new Error("two were started");
  onTestFinished(async () => void (await Promise.all([dialer.close(), acceptor.close()])));
  return [await dialer.dial(acceptor.address(), { alpn: "sealmesh/1", timeoutMs: 5_000 }), await firstOf(acceptor)];
}

async function firstOf(acceptor: Transport): Promise<Connection> {
  const { value } = await acceptor.incoming()[Symbol.asyncIterator]().next();
  return value as Connection;
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
  const below = watched();
  const [near, far] = await pairOf(withMux(below.kind), withMux(irohTransport));
  void echo(far);
  await inSession(near, far);
  const bytes = patternBytes(2_000);
  const all = await Promise.all(Array.from({ length: 100 }, () => exchange(near, bytes)));
  for (const got of all) expect(Buffer.compare(got, bytes)).toBe(0);
  expect(below.opened).toHaveLength(1);
  expect(near.path()?.kind).toBe("quic");
});

it("when that stream breaks, they go on with another one, and lose nothing", async () => {
  const below = watched();
  const [near, far] = await pairOf(withMux(below.kind), withMux(irohTransport));
  void echo(far);
  await inSession(near, far);
  const bytes = patternBytes(600_000);
  const going = Array.from({ length: 3 }, () => exchange(near, bytes));
  await expect.poll(() => below.opened.length).toBe(1);
  below.opened[0]?.abort();
  for (const got of await Promise.all(going)) expect(Buffer.compare(got, bytes)).toBe(0);
  expect(below.opened.length).toBeGreaterThanOrEqual(2);
  await inSession(near, far);
  const before = below.opened.length;
  expect(await exchange(near, bytes.subarray(0, 10))).toEqual(bytes.subarray(0, 10));
  expect(below.opened).toHaveLength(before);
});

it("when the session itself ends, another one begins", async () => {
  const below = watched();
  const [near, far] = await pairOf(withMux(below.kind), withMux(irohTransport));
  void echo(far);
  await inSession(near, far);
  await below.opened[0]?.write(new Uint8Array(64).fill(0xff)); // no frame: the other side ends it
  await expect.poll(() => below.opened.length, { timeout: 4_000 }).toBe(2);
  await inSession(near, far);
  const bytes = patternBytes(1_000);
  expect(Buffer.compare(await exchange(near, bytes), bytes)).toBe(0);
  expect(below.opened).toHaveLength(2);
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

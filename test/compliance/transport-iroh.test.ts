/**
 * What only the iroh transport can show: sockets, handshakes that fail, and peers that are not ours and know no abort
 * notices. Those peers are the bare binding.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import * as iroh from "@number0/iroh";
import { afterEach, describe, expect, test } from "vitest";
import { withDeadline } from "../../src/base/deadline.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import {
  type AbortNotice,
  bidirectionalStreamId,
  decodeAbortNotice,
  encodeAbortNotice,
} from "../../src/transport/datagrams.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import type { Connection, Transport, TransportOptions } from "../../src/transport/transport.ts";
import { codeOf, rejectsWith } from "../support/expect-code.ts";
import { connect, patternBytes, readToEnd, startOnLoopback, whenAborted } from "../support/transport-pair.ts";

const alpn = "sealmesh/1";
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function start(options: Partial<TransportOptions> = {}): Promise<Transport> {
  const transport = await startOnLoopback(irohTransport, options);
  closers.push(() => transport.close());
  return transport;
}

describe("sockets", () => {
  test.skipIf(process.platform !== "linux").each(["127.0.0.1:0", "[::1]:0"])(
    "bound to %s, nothing is open to the world, and only that address is told",
    async (bind) => {
      const before = openToTheWorld();
      const { direct } = (await start({ bind })).address();
      // the library itself opens one for less than a second, to look at the network around it
      await expect.poll(openToTheWorld, { timeout: 5_000 }).toEqual(before);
      expect(direct.map((socket) => socket.replace(/\d+$/, "0"))).toEqual([bind]);
      await start({ bind: "0.0.0.0:0" });
      expect(openToTheWorld().length).toBeGreaterThan(before.length);
    },
  );

  test("what it is told to advertise is all that is told of its sockets", async () => {
    const advertise = ["192.0.2.7:4433", "[2001:db8::7]:4433"];
    const advertising = await start({ advertise });
    expect(advertising.address()).toEqual({ id: advertising.id, relays: [], direct: advertise });
  });

  test("a socket on every interface can be dialed at its address", async () => {
    const [dialer, acceptor] = [await start(), await start({ bind: "0.0.0.0:0" })];
    const [near] = await connect(dialer, acceptor);
    expect(near.peer).toBe(acceptor.id);
  });

  test("an address of another machine is E_CONFIG", async () => {
    await rejectsWith("E_CONFIG", start({ bind: "192.0.2.77:0" }));
  });

  test("an iroh relay that is no URL is E_CONFIG", async () => {
    await rejectsWith("E_CONFIG", start({ irohRelays: ["nope"] }));
  });
});

describe("dialing", () => {
  const nobody = { id: identityFrom(newIdentitySeed()).id, relays: [], direct: ["127.0.0.1:9"] };

  test("is given up when the signal fires, or the transport is closed", async () => {
    const dialer = await start();
    const controller = new AbortController();
    const one = dialer.dial(nobody, { alpn, timeoutMs: 10_000, signal: controller.signal }).catch(codeOf);
    const other = dialer.dial(nobody, { alpn, timeoutMs: 10_000 }).catch(codeOf);
    controller.abort();
    expect(await within(one)).toBe("E_ABORTED");
    const closed = dialer.close();
    expect(await within(other)).toBe("E_CLOSED");
    await within(closed, 2_000);
  });

  test("an id that is no key fails at once", async () => {
    const { id } = { id: "02".repeat(32) as typeof nobody.id };
    await rejectsWith("E_UNREACHABLE", (await start()).dial({ ...nobody, id }, { alpn, timeoutMs: 10_000 }));
  });

  test("says whom it tried where, in one line", async () => {
    const message = await (
      await start()
    )
      .dial(nobody, { alpn, timeoutMs: 50 })
      .catch((thrown: unknown) => (thrown as Error).message);
    expect(message).toBe(`reaching ${nobody.id.slice(0, 10)} at 127.0.0.1:9 took longer than 50 ms`);
  });
});

test("handshakes that fail or never end hold up nobody", async () => {
  const acceptor = await start({ alpns: ["sealmesh/1"] });
  const stranger = await bareEndpoint();
  const { id, direct } = acceptor.address();
  const target = iroh.EndpointId.fromBytes([...Buffer.from(id, "hex")]);
  const deaf = await oneWayPath(Number(direct.find((socket) => socket.startsWith("127."))?.split(":")[1]));
  for (let count = 0; count < 3; count += 1) {
    stranger.connect(new iroh.EndpointAddr(target, undefined, [deaf]), bytesOf(alpn)).catch(() => undefined);
  }
  const refused = stranger.connect(new iroh.EndpointAddr(target, undefined, [...direct]), bytesOf("unknown/1"));
  await expect(refused).rejects.toThrow();
  const [near] = await within(connect(await start(), acceptor), 1_000);
  expect(near.peer).toBe(id);
});

describe("streams have the numbers that the binding gives them", () => {
  const count = 60;
  const indexes = Array.from({ length: count }, (_, index) => index);
  /** From the binding's "client bidirectional stream 3". */
  const numberOf = async (send: iroh.SendStream): Promise<number> => Number(/stream (\d+)$/.exec(await send.id())?.[1]);

  test("when many are opened at once, and written in another order", async () => {
    const { near, native } = await connectionToStranger();
    const ours = await Promise.all(indexes.map(() => near.open()));
    for (const index of indexes.toReversed()) await ours[index]?.write(Uint8Array.of(index));
    const numbers = new Map<number, number>();
    for (const _ of indexes) {
      const { send, recv } = await native.acceptBi();
      const [index = -1] = await recv.read(10);
      numbers.set(index, await numberOf(send));
    }
    for (const index of [0, 7, 31, count - 1]) {
      ours[index]?.abort(3);
      const notice = await abortNotice(native);
      expect(notice).toEqual({ streamId: bidirectionalStreamId("dialer", numbers.get(index) ?? -1), code: 3 });
    }
  });

  test("when the peer opens many at once, and writes in another order", async () => {
    const { near, native } = await connectionToStranger();
    const theirs = await Promise.all(indexes.map(() => native.openBi()));
    for (const index of indexes.toReversed()) await theirs[index]?.send.writeAll([index]);
    const ours = new Map<number, ByteStream>();
    for await (const stream of near.streams()) {
      ours.set((await stream.read())?.[0] ?? -1, stream);
      if (ours.size === count) break;
    }
    const aborted = [0, 7, 31, count - 1];
    for (const index of aborted) {
      const number = await numberOf((theirs[index] as iroh.BiStream).send);
      native.sendDatagram(
        Array.from(encodeAbortNotice({ streamId: bidirectionalStreamId("acceptor", number), code: 1 })),
      );
    }
    for (const index of aborted) await whenAborted(ours.get(index) as ByteStream, 1_000);
    expect(indexes.filter((index) => ours.get(index)?.aborted.aborted)).toEqual(aborted);
  });
});

/** The next that the stranger gets. */
async function abortNotice(native: iroh.Connection): Promise<AbortNotice> {
  for (;;) {
    const notice = decodeAbortNotice(Uint8Array.from(await native.readDatagram()));
    if (notice) return notice;
  }
}

describe("a peer that is not ours", () => {
  test("may stop reading and still answer", async () => {
    const { ours, send, recv } = await streamToStranger();
    await recv.stop(0n);
    await expect.poll(() => ours.write(Uint8Array.of(1)).then(() => "taken", codeOf)).toBe("E_ABORTED");
    await send.writeAll([1, 2, 3]);
    await send.finish();
    expect(await readToEnd(ours)).toEqual(Uint8Array.of(1, 2, 3));
    expect(ours.aborted.aborted).toBe(false);
    // all has been read and nothing can be written: an abort still reaches whoever works for this stream
    ours.abort();
    expect(ours.aborted.aborted).toBe(true);
  });

  test("aborts by a reset", async () => {
    const { ours, send } = await streamToStranger();
    const reading = ours.read().catch(codeOf);
    await send.reset(5n);
    expect(await within(reading)).toBe("E_ABORTED");
    expect(ours.aborted.aborted).toBe(true);
  });

  test("learns of our abort from QUIC, also while our read is pending", async () => {
    const { ours, recv } = await streamToStranger();
    const reading = ours.read().catch(codeOf);
    ours.abort(3);
    await expect(recv.read(10)).rejects.toThrow("Reset(3)");
    expect(await reading).toBe("E_ABORTED");
  });

  test("closes with a reason of its own without changing the code that we read", async () => {
    const { near, native } = await connectionToStranger();
    native.close(5n, bytesOf("no (code 7)\nclosed by peer: 8"));
    expect(await within(near.closed)).toEqual({ code: 5, by: "peer" });
  });

  test("sends datagrams that are no notices, or for streams that do not exist, to no effect", async () => {
    const { ours, native, send } = await streamToStranger();
    for (const datagram of [[], [0x53], bytesOf("SM"), Array<number>(12).fill(0xff), Array<number>(1_000).fill(1)]) {
      native.sendDatagram(datagram);
    }
    for (const streamId of [2, 3, 4, 5 + 4 * 1024, Number.MAX_SAFE_INTEGER]) {
      native.sendDatagram(Array.from(encodeAbortNotice({ streamId, code: 0 })));
    }
    await send.writeAll([1]);
    expect(await ours.read()).toEqual(Uint8Array.of(1));
    expect(ours.aborted.aborted).toBe(false);
  });

  test("may send the notice before the stream", async () => {
    const { near, native } = await connectionToStranger();
    const { send } = await native.openBi();
    const streamId = bidirectionalStreamId("acceptor", 0);
    native.sendDatagram(Array.from(encodeAbortNotice({ streamId, code: 1 })));
    await send.writeAll([1]);
    const { value: stream } = await near.streams()[Symbol.asyncIterator]().next();
    await whenAborted(stream, 300);
    await rejectsWith("E_ABORTED", stream.write(patternBytes(1)));
  });
});

interface StrangerConnection {
  readonly near: Connection;
  readonly native: iroh.Connection;
}

async function connectionToStranger(): Promise<StrangerConnection> {
  const [dialer, endpoint] = [await start(), await bareEndpoint()];
  const accepted = endpoint
    .acceptNext()
    .then((incoming) => incoming!.accept())
    .then((accepting) => accepting.connect());
  const id = Buffer.from(endpoint.id().toBytes()).toString("hex") as Transport["id"];
  const direct = endpoint.addr().directAddresses();
  const near = await dialer.dial({ id, relays: [], direct }, { alpn, timeoutMs: 5_000 });
  return { near, native: await accepted };
}

async function streamToStranger() {
  const { near, native } = await connectionToStranger();
  const ours = await near.open();
  await ours.write(Uint8Array.of(7));
  const { send, recv } = await native.acceptBi();
  await recv.read(1);
  return { ours, native, send, recv };
}

async function bareEndpoint(): Promise<iroh.Endpoint> {
  const builder = iroh.Endpoint.builder();
  iroh.presetMinimal(builder);
  builder.alpns([bytesOf(alpn)]);
  builder.relayMode(iroh.RelayMode.disabled());
  builder.bindAddr("127.0.0.1:0");
  builder.bindAddr("[::1]:0");
  const endpoint = await builder.bind();
  closers.push(() => withDeadline(endpoint.close(), { what: "closing", ms: 200 }).catch(() => undefined));
  return endpoint;
}

/** The address of a path that carries packets to `port` and none back, so that handshakes begin and never end. */
async function oneWayPath(port: number): Promise<string> {
  const entrance: Socket = createSocket("udp4");
  entrance.bind(0, "127.0.0.1");
  await once(entrance, "listening");
  const exit = createSocket("udp4");
  entrance.on("message", (packet) => exit.send(packet, port, "127.0.0.1"));
  closers.push(async () => {
    entrance.close();
    exit.close();
  });
  return `127.0.0.1:${entrance.address().port}`;
}

function bytesOf(text: string): number[] {
  return [...Buffer.from(text)];
}

function within<T>(work: Promise<T>, ms: number = 300): Promise<T> {
  return withDeadline(work, { what: "the expected outcome", ms });
}

/** Inodes of this process's UDP sockets on 0.0.0.0 or [::]. */
function openToTheWorld(): string[] {
  const own = new Set(
    readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? [];
      } catch {
        return []; // closed meanwhile
      }
    }),
  );
  return ["udp", "udp6"].flatMap((table) =>
    readFileSync(`/proc/self/net/${table}`, "utf8")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local = "", , , , , , , , inode = ""]) => /^0+:/.test(local) && own.has(inode))
      .map((fields) => fields[9] ?? ""),
  );
}

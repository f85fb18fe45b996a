/**
 * Two transports with the direct path between them, whose TCP connection goes through a door that the test holds: it counts,
 * records, cuts, and lets nobody through when it is shut.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { sleep } from "../../src/base/deadline.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { encodeOffer } from "../../src/transport/direct-offer.ts";
import { withDirectTls } from "../../src/transport/direct-tls.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import type { Connection, Transport } from "../../src/transport/transport.ts";
import { connect as connectTransports, startOnLoopback } from "./transport-pair.ts";

export interface Door {
  readonly port: number;
  /** TCP connections that came so far. */
  readonly connections: number;
  /** What the dialing side of the first one has sent. */
  readonly recorded: Buffer;
  /** No further connection is let through; those that are go on. */
  shut(): void;
  /** Ends what goes through, at once. */
  cut(): void;
  /** Nothing passes any more, and nobody is told. */
  freeze(): void;
  close(): void;
}

/** @param cutAfter bytes from the dialing side after which it cuts by itself, each connection anew */
export async function openDoor(to: number, cutAfter = Number.POSITIVE_INFINITY): Promise<Door> {
  const sockets = new Set<Socket>();
  const recorded: Buffer[] = [];
  let connections = 0;
  let isShut = false;
  const server: Server = createServer((near) => {
    connections += 1;
    const isFirst = connections === 1;
    if (isShut) return near.destroy();
    const far = connect({ port: to, host: "127.0.0.1" });
    let passed = 0;
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on("data", (bytes: Buffer) => {
      if (isFirst) recorded.push(bytes);
      far.write(bytes.subarray(0, Math.max(0, cutAfter - passed)));
      passed += bytes.length;
      if (passed >= cutAfter) far.end(() => near.destroy());
    });
    far.on("data", (bytes: Buffer) => near.write(bytes));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = (): void => sockets.forEach((socket) => void socket.destroy());
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    get recorded() {
      return Buffer.concat(recorded);
    },
    shut: () => (isShut = true),
    cut,
    freeze: () => sockets.forEach((socket) => void socket.pause()),
    close() {
      server.close();
      cut();
    },
  };
}

export interface DirectPair {
  readonly dialer: Transport;
  readonly acceptor: Transport;
  readonly near: Connection;
  readonly far: Connection;
  /** TCP port at which the acceptor listens. */
  readonly port: number;
  /** The acceptor's offer, of any port. */
  offer(port: number): Uint8Array;
  close(): Promise<void>;
}

/** Connected by QUIC; the dialer knows of no direct path yet. */
export async function directPair(): Promise<DirectPair> {
  const kind = withDirectTls(irohTransport);
  const [secretKey, own] = [newIdentitySeed(), newIdentitySeed()];
  const [acceptor, dialer] = await Promise.all([
    startOnLoopback(kind, { secretKey }),
    startOnLoopback(kind, { secretKey: own, offersDirect: false }),
  ]);
  const offered = acceptor.offer?.();
  if (!offered) throw new Error("the acceptor offers no direct path");
  const [near, far] = await connectTransports(dialer, { ...hidingOffer(acceptor) }, "sealmesh/1");
  let issuedAtMs = Date.now();
  return {
    dialer,
    acceptor,
    near,
    far,
    port: Buffer.from(offered).readUInt16LE(73),
    offer: (port) => encodeOffer({ issuedAtMs: (issuedAtMs += 1), port, addresses: [] }, identityFrom(secretKey)),
    async close() {
      await Promise.all([dialer.close(), acceptor.close()]);
    },
  };
}

/** For a connection without the upgrade that connect() would bring about. */
function hidingOffer(transport: Transport): Transport {
  return {
    kind: transport.kind,
    id: transport.id,
    address: () => transport.address(),
    dial: (target, options) => transport.dial(target, options),
    incoming: () => transport.incoming(),
    close: () => transport.close(),
  };
}

/** @throws when it does not come about in time */
export async function untilPath(kind: "tls" | "quic", ...ends: readonly Connection[]): Promise<void> {
  const untilMs = performance.now() + 5_000;
  while (ends.some((end) => end.path()?.kind !== kind)) {
    if (performance.now() > untilMs) throw new Error(`not on ${kind} after 5 s`);
    await sleep(5);
  }
}

/** Gives back what comes, stream by stream, until the connection ends. */
export async function echo(connection: Connection): Promise<void> {
  for await (const stream of connection.streams()) {
    void (async () => {
      for (;;) {
        const bytes = await stream.read();
        if (bytes === undefined) return await stream.finish();
        await stream.write(bytes);
      }
    })().catch(() => undefined);
  }
}

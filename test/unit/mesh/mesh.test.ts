/** The mesh, mostly on an in-memory network: what it keeps, and whom it waits for. */
import { describe, expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../../src/base/log.ts";
import type { EndpointId } from "../../../src/base/brand.ts";
import { concat } from "../../../src/base/bytes.ts";
import { sleep } from "../../../src/base/deadline.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { Signal } from "../../../src/base/signal.ts";
import { generateKeyPair } from "../../../src/crypto/box.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../../src/crypto/identity.ts";
import { signRecord, type VerifiedRecord } from "../../../src/crypto/record.ts";
import type { Shown } from "../../../src/mesh/membership.ts";
import { Mesh, type MeshOptions } from "../../../src/mesh/mesh.ts";
import { withMux } from "../../../src/transport/direct-tls.ts";
import { irohTransport } from "../../../src/transport/iroh.ts";
import { memoryNetwork } from "../../../src/transport/memory.ts";
import { alpns, type Connection, type Transport, type TransportKind } from "../../../src/transport/transport.ts";
import { encodeFrame } from "../../../src/wire/frame.ts";
import { encodePeerLeaving, encodeRouteRequest } from "../../../src/wire/gossip.ts";
import { meshStreams } from "../../../src/wire/stream-types.ts";
import { expectCode, rejectsWith } from "../../support/expect-code.ts";
import { eventually } from "../../support/mesh.ts";
import { openWith, RawPeer } from "../../support/raw-peer.ts";
import { whenAborted } from "../../support/transport-pair.ts";

const key = generateKeyPair().publicKey;

function recordOf(identity: Identity): VerifiedRecord {
  const now = Date.now();
  const validity = { issuedAtMs: now, notAfterMs: now + 60_000, keyNotAfterMs: now + 60_000 };
  return signRecord(identity, { seq: 1n, ...validity, inferenceKey: key, capabilities: [] });
}

interface Started {
  readonly mesh: Mesh;
  readonly transport: Transport;
}

async function meshOn(network: TransportKind, more: Partial<MeshOptions> = {}): Promise<Started> {
  const identity = identityFrom(newIdentitySeed());
  const refuse = (): Promise<void> => Promise.reject(new Error("not in this test"));
  const transport = await network.start({ secretKey: identity.seed, alpns, bind: "127.0.0.1:0" });
  const mesh = new Mesh({
    transport,
    clock: { now: () => Date.now() },
    log: silentLog,
    describe: () => ({
      role: "worker",
      models: [],
      runtimes: [],
      httpPort: 1,
      hostname: undefined,
      version: "0.65.1",
      record: recordOf(identity),
    }),
    shown: new Map(),
    onShown: () => undefined,
    onChange: () => undefined,
    handlers: { http: refuse, relayed: refuse },
    meetMentioned: false,
    ...more,
  });
  onTestFinished(() => mesh.close());
  mesh.start();
  return { mesh, transport };
}

// each keeping is a write to disk: one for each of thousands of strangers would stop the node for seconds
it("keeps the keys that one frame shows in one go, and each once", async () => {
  const network = memoryNetwork();
  const kept: ReadonlyMap<EndpointId, Shown>[] = [];
  const { mesh, transport } = await meshOn(network, { onShown: (shown) => kept.push(shown) });
  const teller = await RawPeer.start(network);
  const strangers = Array.from({ length: 50 }, () => identityFrom(newIdentitySeed()));
  const entries = strangers.map((stranger) =>
    teller.own({ id: stranger.id, address: undefined, record: recordOf(stranger).bytes }),
  );
  teller.announcements = () => [...entries, teller.own()];
  await teller.meet(transport.address());
  await eventually("the strangers are known", () => mesh.peers.length === 51);
  expect(kept.map(({ size }) => size)).toEqual([51]);
  await teller.meet(transport.address());
  expect(kept).toHaveLength(1);
});

it("gives a stream to a host at once where a session leads there, and none to a caller who has gone", async () => {
  const network = withMux(irohTransport);
  let taken = 0;
  const handlers = { http: () => Promise.resolve(void (taken += 1)), relayed: () => Promise.resolve() };
  const near = await meshOn(network);
  const far = await meshOn(network, { handlers });
  await near.mesh.join(far.transport.address());
  const { signal } = new AbortController();
  const open = (by: Signal = signal): unknown => near.mesh.openTunnel(far.transport.id, { dialMs: 1_000, signal: by });
  let opened = 0;
  await eventually("it leads there", () => {
    opened += 1;
    return !(open() instanceof Promise);
  });
  await eventually("all have come", () => taken === opened);
  const gone = AbortSignal.abort(new MeshError("E_ABORTED", "the caller has gone"));
  expectCode("E_ABORTED", () => open(gone));
  await sleep(50);
  expect(taken).toBe(opened);
});

describe("a peer with two connections, whose newer one ends", () => {
  it("is connected by the older one still, and hears news on it", async () => {
    const network = memoryNetwork();
    const { mesh, transport } = await meshOn(network, { rules: { newsAfterMs: 5 } });
    const raw = await RawPeer.start(network);
    const older = await raw.meet(transport.address());
    const newer = await raw.meet(transport.address());
    newer.close();
    await newer.closed;
    const heard = raw.heard.length;
    mesh.announce();
    await eventually("it hears of it", () => raw.heard.length > heard);
    expect(mesh.isConnected(raw.id)).toBe(true);
    older.close();
    await eventually("the last has ended", () => !mesh.isConnected(raw.id));
  });

  it("is not connected any more when nobody answers on the older one", async () => {
    const network = memoryNetwork();
    const { mesh, transport } = await meshOn(network);
    const raw = await RawPeer.start(network);
    const target = transport.address();
    await raw.transport.dial(target, { alpn: "mesh-llm/1", timeoutMs: 2_000 }); // its streams are never served
    const newer = await raw.meet(target);
    newer.close();
    await eventually("it is known", () => !mesh.isConnected(raw.id));
  });

  it("has sixteen at most: the oldest is closed for a further one", async () => {
    const network = memoryNetwork();
    const { mesh, transport } = await meshOn(network);
    const raw = await RawPeer.start(network);
    const connections: Connection[] = [];
    for (let count = 0; count < 18; count += 1) connections.push(await raw.meet(transport.address()));
    await Promise.all(connections.slice(0, 2).map(({ closed }) => closed));
    const isOpen = await Promise.race([connections[2]?.closed.then(() => false), sleep(100).then(() => true)]);
    expect(isOpen).toBe(true);
    expect(mesh.isConnected(raw.id)).toBe(true);
  });

  it("loses both when it is let go", async () => {
    const network = memoryNetwork();
    const { transport } = await meshOn(network);
    const raw = await RawPeer.start(network);
    const both = [await raw.meet(transport.address()), await raw.meet(transport.address())];
    const goodbye = encodeFrame(encodePeerLeaving(raw.id));
    const stream = await openWith(both[1] as Connection, Uint8Array.of(meshStreams.peerLeaving), goodbye);
    await stream.finish();
    const ends = await Promise.all(both.map(({ closed }) => closed));
    expect(ends.map(({ by }) => by)).toEqual(["peer", "peer"]);
  });
});

describe("a peer that takes nothing", () => {
  const gossipMs = 60;
  const narrow = (): TransportKind => memoryNetwork({ windowBytes: 1 });
  const start = (network: TransportKind): Promise<Transport> =>
    network.start({ secretKey: newIdentitySeed(), alpns, bind: "127.0.0.1:0" });

  it("is given up: neither who meets it nor who asks it waits for ever", async () => {
    const network = narrow();
    const { mesh } = await meshOn(network, { timing: { gossipMs } });
    const stuck = await start(network);
    await rejectsWith("E_TIMEOUT", mesh.join(stuck.address()));
    const caller = new AbortController();
    const meeting = mesh.join(stuck.address(), caller.signal);
    caller.abort();
    await rejectsWith("E_ABORTED", meeting);
  });

  it("gets no reply that would be held for it", async () => {
    const network = narrow();
    const { transport } = await meshOn(network, { timing: { gossipMs } });
    const stuck = await start(network);
    const connection = await stuck.dial(transport.address(), { alpn: "mesh-llm/1", timeoutMs: 1_000 });
    const stream = await connection.open();
    await stream.write(concat([Uint8Array.of(meshStreams.routes), encodeFrame(encodeRouteRequest(undefined))]));
    await whenAborted(stream, 1_000);
  });
});

/**
 * A member floods others with gossip: frames at their bounds, thousands of made-up nodes with rightly signed records and long
 * chains of credentials, the same again and again. Memory and signature checks stay bounded, everybody keeps a fair share of
 * the table, and an exchange does not wait (protocol.md §11 Q4).
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { signRecord } from "../../src/crypto/record.ts";
import { type HearingOptions, hearingLimits } from "../../src/mesh/hearing.ts";
import { Mesh, type MeshOptions } from "../../src/mesh/mesh.ts";
import { memoryNetwork } from "../../src/transport/memory.ts";
import { alpns, type Transport, type TransportKind } from "../../src/transport/transport.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { type Announcement, encodeGossip } from "../../src/wire/gossip.ts";
import { limits } from "../../src/wire/limits.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { cameBack, closedMesh, credentialFrom, guestOf, inviteOf, isMember } from "../support/closed-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { call, openWith, RawPeer } from "../support/raw-peer.ts";

/** Signatures that were looked at, of whatever kind node:crypto checks. */
const counted = vi.hoisted(() => ({ checks: 0 }));
vi.mock("node:crypto", async (original) => {
  const real = await original<typeof import("node:crypto")>();
  const verify = (...given: Parameters<typeof real.verify>): unknown => {
    counted.checks += 1;
    return real.verify(...given);
  };
  return { ...real, verify };
});

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
    ...more,
  });
  onTestFinished(() => mesh.close());
  mesh.start();
  return { mesh, transport };
}

function recordOf(identity: Identity, credential?: Uint8Array): ReturnType<typeof signRecord> {
  const now = Date.now();
  return signRecord(identity, {
    seq: BigInt(now),
    issuedAtMs: now,
    notAfterMs: now + 3_600_000,
    inferenceKey: undefined,
    keyNotAfterMs: undefined,
    capabilities: [],
    role: "worker",
    ...(credential ? { credential } : {}),
  });
}

/** Entries of nodes that exist as keys alone, each with a record that holds. */
function strangers(teller: RawPeer, count: number): Announcement[] {
  return Array.from({ length: count }, () => {
    const identity = identityFrom(newIdentitySeed());
    return teller.own({ id: identity.id, address: undefined, record: recordOf(identity).bytes });
  });
}

/** One frame after the other, as often as it is answered. */
async function tell(raw: RawPeer, to: Transport, entries: readonly Announcement[]): Promise<void> {
  await raw.gossip(await raw.dial(to.address(), "mesh-llm/1"), [...entries, raw.own()]);
}

describe("Q4: frames", () => {
  it("Q4: with too many entries, or beyond 8 MiB, are refused, the second before they have come", async () => {
    const network = memoryNetwork();
    const { mesh, transport } = await meshOn(network);
    const raw = await RawPeer.start(network);
    const connection = await raw.meet(transport.address());
    const [one] = strangers(raw, 1);
    const many = Array.from({ length: limits.announcementsPerFrame }, () => ({
      ...raw.own(),
      ...one,
      record: undefined,
    }));
    const frame = encodeFrame(encodeGossip({ sender: raw.id, announcements: [...many, raw.own()] }));
    const refused = { bytes: 0, end: "aborted" };
    const stream = await openWith(connection, Uint8Array.of(meshStreams.gossip), frame);
    expect(await cameBack(stream)).toEqual(refused);
    const announced = Uint8Array.of(meshStreams.gossip, 1, 0, 128, 0); // u32 LE of 8 MiB and one byte
    expect(await cameBack(await openWith(connection, announced))).toEqual(refused);
    expect(mesh.peers).toHaveLength(1);
  });

  it("Q4: of one peer are received up to its share at a time, and those of others beside them", async () => {
    const network = memoryNetwork();
    const hearing: HearingOptions = { ...hearingLimits, members: { total: 4_000_000, perHolder: 2_000_000 } };
    const { transport } = await meshOn(network, { hearing });
    const [flooder, other] = [await RawPeer.start(network), await RawPeer.start(network)];
    const connection = await flooder.meet(transport.address());
    // frames that stop in the middle
    const start = Uint8Array.of(meshStreams.gossip, 0, 0, 64, 0);
    const half = new Uint8Array(600_000);
    const streams = await Promise.all(Array.from({ length: 3 }, () => openWith(connection, start, half)));
    const last = await openWith(connection, start, half).catch(() => undefined);
    if (last) expect((await cameBack(last)).end).toBe("aborted");
    await other.meet(transport.address());
    for (const stream of streams) stream.abort();
    await flooder.gossip(connection);
  });
});

describe("Q4: entries about others", () => {
  it("Q4: cost no signature check when they come again, byte for byte, from whomever", async () => {
    const network = memoryNetwork();
    const { mesh, transport } = await meshOn(network);
    const [raw, other] = [await RawPeer.start(network), await RawPeer.start(network)];
    const entries = strangers(raw, 200);
    await tell(raw, transport, entries);
    expect(mesh.peers).toHaveLength(201);
    counted.checks = 0;
    for (let round = 0; round < 5; round += 1) await tell(raw, transport, entries);
    await tell(other, transport, entries);
    // each frame has a new record of its own sender
    expect(counted.checks).toBeLessThan(20);
  });

  it("Q4: beyond the teller's share are not looked at; another teller's are", async () => {
    const network = memoryNetwork();
    const bounds = { burst: 30, perSecond: 0.001 };
    const hearing: HearingOptions = {
      ...hearingLimits,
      signatures: { perHolder: bounds, total: { burst: 1_000, perSecond: 1 }, holders: 10_000_000 },
    };
    const { mesh, transport } = await meshOn(network, { hearing });
    const [raw, other] = [await RawPeer.start(network), await RawPeer.start(network)];
    counted.checks = 0;
    for (let round = 0; round < 5; round += 1) await tell(raw, transport, strangers(raw, 100));
    expect(mesh.peers).toHaveLength(31);
    expect(counted.checks).toBeLessThan(50);
    await tell(other, transport, strangers(other, 20));
    expect(mesh.peers).toHaveLength(52);
  });

  it("Q4: fill the table up to its bound; who tells of few keeps its share, and who comes itself gets in", async () => {
    const network = memoryNetwork();
    const { mesh, transport } = await meshOn(network, { rules: { peers: 64 } });
    const [raw, other, late] = await Promise.all([0, 1, 2].map(() => RawPeer.start(network)));
    if (!raw || !other || !late) throw new Error("no peers");
    await tell(raw, transport, strangers(raw, 300));
    expect(mesh.peers).toHaveLength(64);
    const few = strangers(other, 10);
    await tell(other, transport, few);
    await tell(raw, transport, strangers(raw, 300));
    const ids = new Set(mesh.peers.map(({ id }) => id));
    expect(few.every(({ id }) => ids.has(id))).toBe(true);
    await late.meet(transport.address());
    expect(mesh.peer(late.id)?.met).toBe(true);
    expect(mesh.peers).toHaveLength(64);
  });
});

it("Q4: an eclipse by one sender fails: links are made to who others name, beside a thousand names of its own", async () => {
  const network = memoryNetwork();
  const { mesh, transport } = await meshOn(network, { rules: { linksWanted: 8, newsAfterMs: 5 } });
  const live = await Promise.all(Array.from({ length: 3 }, () => RawPeer.start(network)));
  const [eclipser, honest] = [await RawPeer.start(network), await RawPeer.start(network)];
  const nowhere = strangers(eclipser, 1_000).map((entry, at) => {
    const direct = [`127.0.0.1:${40_000 + at}`];
    return { ...entry, address: { id: entry.id, relays: [], direct } };
  });
  await tell(eclipser, transport, nowhere);
  await tell(
    honest,
    transport,
    live.map((peer) => peer.own()),
  );
  await eventually(
    "it has met those that the honest one named",
    () => live.every(({ id }) => mesh.isConnected(id)),
    10_000,
  );
});

it("Q4: thousands of made-up members, with the longest credentials, delay no exchange by a second", async () => {
  const mesh = closedMesh();
  const engine = await startEngineServer({ text: "fine" });
  onTestFinished(() => engine.close());
  const host = await mesh.start("serve", { engine: [engine.url] });
  const client = await mesh.start("client", { join: [host.invite()] });
  await eventually("they have met", () => isMember(host, client.endpointId) && client.models().length > 0);
  const flooder = await mesh.member(host);
  const connection = await flooder.meet(host);
  // a chain of guests as long as it may be, and then all made by the last but one of it
  const { token } = await inviteOf(host);
  let last = { identity: flooder.identity, credential: credentialFrom(flooder, token) };
  while (last.credential.links.length < limits.credentialLinks - 1) last = guestOf(last);
  const frames = Array.from({ length: 2 }, () => {
    const entries = Array.from({ length: 500 }, () => {
      const { identity, credential } = guestOf(last);
      return flooder.own({ id: identity.id, address: undefined, record: recordOf(identity, credential.bytes).bytes });
    });
    return encodeFrame(encodeGossip({ sender: flooder.id, announcements: [...entries, flooder.own()] }));
  });
  expect((await call(client)).content).toBe("fine");

  counted.checks = 0;
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const flooding = frames.map(async (frame) => {
    const stream = await openWith(connection, Uint8Array.of(meshStreams.gossip), frame);
    await stream.finish();
    await new StreamReader(stream).frame(limits.controlFrameBytes);
  });
  let slowestMs = 0;
  let isOver = false;
  const over = Promise.all(flooding).then(() => (isOver = true));
  let exchanges = 0;
  do {
    const startedMs = performance.now();
    expect((await call(client)).content).toBe("fine");
    slowestMs = Math.max(slowestMs, performance.now() - startedMs);
    exchanges += 1;
  } while (!isOver);
  await over;
  delay.disable();
  const told = `${counted.checks} signatures, ${exchanges} exchanges, slowest ${slowestMs.toFixed(0)} ms, longest hold-up ${(delay.max / 1e6).toFixed(0)} ms`;
  expect(host.status().peers.length, told).toBeGreaterThan(900);
  expect(slowestMs, told).toBeLessThan(1_000);
  expect(delay.max / 1e6, told).toBeLessThan(400);
  // a record and a last link for each, and again at most where the client hears of them too; not eight links for each
  expect(counted.checks, told).toBeLessThan(2 * 2 * 1_000 + 500);
  console.info(`flood of 1000 members: ${told}`);
});

/**
 * A node becomes a member by its own completed gossip exchange, and by nothing else: in the reference, being named by a third
 * node puts an id into the peer table, and whoever is in the table is served (protocol.md §2, §11 E2).
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { concat, utf8 } from "../../src/base/bytes.ts";
import { encodeRequest } from "../../src/tunnel/http.ts";
import type { Alpn, Connection } from "../../src/transport/transport.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { encodeGossip, encodePeerDown, encodePeerLeaving, encodeRouteRequest } from "../../src/wire/gossip.ts";
import { encodeRecordRequest, encodeRelayedOpen, encodeRelayOpen } from "../../src/wire/relay.ts";
import { meshStreams, sealStreams } from "../../src/wire/stream-types.ts";
import { cameBack, type ClosedMesh, closedMesh, isClosed, isMember } from "../support/closed-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { asked, openWith, type RawPeer, readAnswer, sealAsk, sendDirect } from "../support/raw-peer.ts";

let engine: ScriptedEngine;
beforeEach(async () => {
  engine = await startEngineServer({ text: "fine" });
});
afterEach(() => engine.close());

/** What follows the type byte, as right as it can be: for those that have no meaning here, something. */
function payload(alpn: Alpn, type: number, raw: RawPeer, host: TestNode): Uint8Array {
  const envelope = sealAsk(raw.identity, host.endpointId, host.keys.current.publicKey, {}, alpn === "sealmesh/1").bytes;
  if (alpn === "mesh-llm/1") {
    if (type === meshStreams.http) return envelope;
    if (type === meshStreams.peerDown) return encodeFrame(encodePeerDown(host.endpointId));
    if (type === meshStreams.peerLeaving) return encodeFrame(encodePeerLeaving(raw.id));
  } else {
    if (type === sealStreams.record) return encodeFrame(encodeRecordRequest(undefined));
    if (type === sealStreams.relay)
      return concat([encodeFrame(encodeRelayOpen({ target: host.endpointId, hops: 0 })), envelope]);
    if (type === sealStreams.relayed) return concat([encodeFrame(encodeRelayedOpen({ hops: 1 })), envelope]);
  }
  return encodeFrame(new Uint8Array(32));
}

const before: Readonly<Record<Alpn, readonly number[]>> = {
  // gossip and routes are looked at apart: in an open mesh both are served, in an invite-only one neither
  "mesh-llm/1": [0, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 255],
  "sealmesh/1": [0, 1, 2, 3, 4, 5, 7, 8, 255],
};

/** @returns streams that were not simply aborted */
async function served(raw: RawPeer, host: TestNode, types: typeof before = before): Promise<readonly string[]> {
  const found: string[] = [];
  for (const alpn of ["mesh-llm/1", "sealmesh/1"] as const) {
    const connection = await raw.dial(host, alpn);
    const all = types[alpn].map(async (type) => {
      const stream = await openWith(connection, Uint8Array.of(type), payload(alpn, type, raw, host));
      await stream.finish().catch(() => undefined);
      const { bytes, end } = await cameBack(stream);
      if (bytes > 0 || end !== "aborted") found.push(`${alpn} ${type}`);
    });
    await Promise.all(all);
  }
  return found;
}

/** Has a member tell the host about somebody, with all that can be told: a record of its own, a role, and a link. */
async function name(raw: RawPeer, by: RawPeer, host: TestNode): Promise<void> {
  const entry = { ...raw.own({ role: "host", models: ["scripted"] }), inContact: true };
  await by.gossip(await by.dial(host, "mesh-llm/1"), [entry, by.own()]);
}

const hostOf = (mesh: ClosedMesh, openMesh: boolean): Promise<TestNode> =>
  mesh.start("serve", { engine: [engine.url], openMesh });

describe("E2: who was named by a member", () => {
  it("E2: in an open mesh: is served nothing but gossip before its own exchange, on any stream of either ALPN", async () => {
    const mesh = closedMesh();
    const host = await hostOf(mesh, true);
    const [teller, named] = [await mesh.stranger(), await mesh.stranger()];
    await teller.meet(host);
    await name(named, teller, host);
    await eventually("it is in the table", () => host.status().peers.some((peer) => peer.endpoint_id === named.id));
    expect(await served(named, host)).toEqual([]);
    expect(host.models()).toEqual(["scripted"]);
    expect(asked(engine)).toEqual([]);
    // the same bytes after an exchange of its own
    const connection = await named.meet(host);
    const ask = sealAsk(named.identity, host.endpointId, host.keys.current.publicKey);
    expect((await readAnswer(await sendDirect(connection, ask.bytes), ask)).status).toBe(200);
    expect(asked(engine)).toHaveLength(1);
  });

  it("E2: in an invite-only mesh: without a credential it is served nothing at all, its gossip included", async () => {
    const mesh = closedMesh();
    const host = await hostOf(mesh, false);
    const [teller, named] = [await mesh.member(host), await mesh.stranger()];
    await teller.meet(host);
    await name(named, teller, host);
    expect(host.status().peers.map((peer) => peer.endpoint_id)).toEqual([teller.id]);
    expect(
      await served(named, host, { ...before, "mesh-llm/1": [...before["mesh-llm/1"], meshStreams.routes] }),
    ).toEqual([]);
    await expect(named.meet(host)).rejects.toThrow();
    expect(await served(named, host)).toEqual([]);
    expect(asked(engine)).toEqual([]);
  });

  it("E2: in an invite-only mesh: with a credential it is a member, and is served after its own exchange alone", async () => {
    const mesh = closedMesh();
    const host = await hostOf(mesh, false);
    const [teller, named] = [await mesh.member(host), await mesh.member(host)];
    await teller.meet(host);
    await name(named, teller, host);
    await eventually("it is in the table", () => host.status().peers.some((peer) => peer.endpoint_id === named.id));
    expect(await served(named, host)).toEqual([]);
    expect(asked(engine)).toEqual([]);
    const connection = await named.meet(host);
    const ask = sealAsk(named.identity, host.endpointId, host.keys.current.publicKey);
    expect((await readAnswer(await sendDirect(connection, ask.bytes), ask)).status).toBe(200);
  });
});

describe("E2: an exchange that is none", () => {
  const attempts: readonly [string, (raw: RawPeer, connection: Connection) => Promise<Uint8Array>][] = [
    [
      "half a frame",
      async (raw) => encodeFrame(encodeGossip({ sender: raw.id, announcements: [raw.own()] })).subarray(0, 40),
    ],
    ["a frame without its own entry", async (raw) => encodeFrame(encodeGossip({ sender: raw.id, announcements: [] }))],
    [
      "its entry under another id",
      async (raw) => {
        const own = { ...raw.own(), id: "ab".repeat(32) as typeof raw.id, address: undefined };
        return encodeFrame(encodeGossip({ sender: raw.id, announcements: [own] }));
      },
    ],
    [
      "a frame in another's name",
      async (raw) => {
        const frame = encodeGossip({ sender: raw.id, announcements: [raw.own()] });
        return encodeFrame(frame.map((byte, at) => (at === frame.length - 1 ? byte ^ 1 : byte)));
      },
    ],
    [
      "an own entry whose key field is too long",
      async (raw) => {
        const own = raw.own({ inferenceKey: "A".repeat(300) });
        return encodeFrame(encodeGossip({ sender: raw.id, announcements: [own] }));
      },
    ],
  ];

  it.each(attempts)("E2: %s admits nobody, not even where everybody may come", async (_what, bytesOf) => {
    const mesh = closedMesh();
    const host = await hostOf(mesh, true);
    const raw = await mesh.stranger();
    const connection = await raw.dial(host, "mesh-llm/1");
    const stream = await openWith(connection, Uint8Array.of(meshStreams.gossip), await bytesOf(raw, connection));
    await stream.finish();
    await cameBack(stream); // an answer, at most
    expect(await served(raw, host)).toEqual([]);
    expect(isMember(host, raw.id)).toBe(false);
    expect(asked(engine)).toEqual([]);
  });
});

it("E2: a credential of somebody else, or of another mesh, ends the connection with one line of the log for each attempt", async () => {
  const mesh = closedMesh();
  const host = await hostOf(mesh, false);
  const elsewhere = await mesh.start("client");
  const member = await mesh.member(host);
  const [thief, foreigner] = [await mesh.stranger(), await mesh.member(elsewhere)];
  thief.credential = member.credential;
  for (const raw of [thief, foreigner]) {
    const connection = await raw.dial(host, "mesh-llm/1");
    await expect(raw.gossip(connection)).rejects.toThrow();
    expect(await isClosed(connection)).toBe(true);
  }
  const lines = host.events.filter(({ event }) => event === "peer-refused");
  expect(lines).toMatchObject([
    { peer: thief.id, code: "E_REFUSED", what: "the credential is refused: it is another node's" },
    { peer: foreigner.id, code: "E_REFUSED", what: "the credential is refused: it is for another mesh" },
  ]);
});

it("E2: plain HTTP of a stranger is read by nobody", async () => {
  const mesh = closedMesh();
  const host = await hostOf(mesh, false);
  const raw = await mesh.stranger();
  const connection = await raw.dial(host, "mesh-llm/1");
  const plain = encodeRequest({ method: "GET", path: "/v1/models", headers: [], body: utf8("") });
  expect(await cameBack(await openWith(connection, Uint8Array.of(meshStreams.http), plain))).toEqual({
    bytes: 0,
    end: "aborted",
  });
  const routes = encodeFrame(encodeRouteRequest(undefined));
  expect(await cameBack(await openWith(connection, Uint8Array.of(meshStreams.routes), routes))).toEqual({
    bytes: 0,
    end: "aborted",
  });
});

/**
 * A member speaks for others: gives them a role and models, writes them off, says that they are down. In the reference any
 * entry replaces what is known of a node, a badly owned one removes it, and an unknown peer that is reported dead is
 * believed dead (protocol.md §3.4, §3.5, §11 E4).
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import {
  emptyMembership,
  type Membership,
  type MembershipAction,
  membershipLimits,
  type MembershipEvent,
  step,
} from "../../src/mesh/membership.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { type Announcement, encodePeerDown, encodePeerLeaving } from "../../src/wire/gossip.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { cameBack, closedMesh, type ClosedMesh } from "../support/closed-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { answerSealed, asked, call, chatResponse, openAsk, openWith, type RawPeer } from "../support/raw-peer.ts";

let engine: ScriptedEngine;
beforeEach(async () => {
  engine = await startEngineServer({ text: "fine" });
});
afterEach(() => engine.close());

interface Scene {
  readonly mesh: ClosedMesh;
  readonly host: TestNode;
  readonly client: TestNode;
  readonly liar: RawPeer;
  /** The liar tells the client so, beside the truth about itself. */
  readonly tell: (...entries: readonly Announcement[]) => Promise<void>;
  readonly known: () => object | undefined;
}

async function scene(openMesh: boolean): Promise<Scene> {
  const mesh = closedMesh();
  const host = await mesh.start("serve", { engine: [engine.url], openMesh });
  const client = await mesh.start("client", { join: [host.invite()], openMesh: false });
  const liar = openMesh ? await mesh.stranger() : await mesh.member(host);
  await liar.meet(host);
  const connection = await liar.meet(client);
  await eventually("the client knows the host", () => client.models().includes("scripted"));
  return {
    mesh,
    host,
    client,
    liar,
    tell: async (...entries) => void (await liar.gossip(connection, [...entries, liar.own()])),
    known: () => client.status().peers.find((peer) => peer.endpoint_id === host.endpointId),
  };
}

const somebody = (): EndpointId => identityFrom(newIdentitySeed()).id;

describe.each([true, false])("E4: where the mesh is open: %s, an entry about a host that we talk to", (isOpen) => {
  it("E4: changes neither its role nor its models, address or version, and does not remove it", async () => {
    const { host, client, liar, tell, known } = await scene(isOpen);
    const before = known();
    expect(before).toMatchObject({ role: "Host", models: ["scripted"], connected: true });
    const truth = liar.entryOf(host.endpointId);
    const elsewhere = { id: host.endpointId, relays: [], direct: ["127.0.0.1:9"] };
    for (const change of [
      { role: "client" as const, models: [], runtimes: [] },
      { models: ["bait"], runtimes: [{ name: "bait", contextLength: 1, ready: true }] },
      { address: elsewhere, version: "9.9.9", hostname: "evil" },
      { inContact: false },
    ]) {
      await tell({ ...truth, ...change });
      await tell({ ...truth, ...change, record: undefined, inferenceKey: undefined });
    }
    expect(known()).toEqual({ ...before, rtt_ms: expect.anything() });
    expect(client.models()).toEqual(["scripted"]);
    expect((await call(client)).content).toBe("fine");
  });

  it("E4: gives a node that nobody has met no role and no models, and itself none of another's", async () => {
    const { client, host, liar, tell } = await scene(isOpen);
    const made = liar.own({ id: somebody(), role: "host", models: ["bait"], record: undefined, address: undefined });
    await tell(made, { ...made, id: host.endpointId, models: ["scripted", "bait"] });
    expect(client.models()).toEqual(["scripted"]);
    const peer = client.status().peers.find(({ endpoint_id: id }) => id === made.id);
    expect(peer?.models ?? []).toEqual([]);
    expect(peer?.role).not.toBe("Host");
  });
});

describe("E4: a report that a peer is down", () => {
  async function report(by: RawPeer, to: TestNode, about: EndpointId): Promise<void> {
    const connection = await by.dial(to, "mesh-llm/1");
    const stream = await openWith(connection, Uint8Array.of(meshStreams.peerDown), encodeFrame(encodePeerDown(about)));
    await stream.finish();
    await cameBack(stream);
  }

  it("E4: about an unknown one says nothing: it is met when it comes", async () => {
    const { client, liar, mesh, host } = await scene(false);
    const late = await mesh.member(host);
    for (let round = 0; round < 20; round += 1) await report(liar, client, late.id);
    for (let round = 0; round < 20; round += 1) await report(liar, client, somebody());
    expect(client.status().peers).toHaveLength(2);
    await late.meet(client);
    expect(client.status().peers.find((peer) => peer.endpoint_id === late.id)?.connected).toBe(true);
  });

  it("E4: about a live one is looked into once, and then not for this reporter; the peer stays", async () => {
    const { client, liar, mesh, host } = await scene(false);
    const live = await mesh.member(host, {}, { role: "host", models: ["raw"] });
    live.handlers.http = async (stream, reader) =>
      answerSealed(stream, await openAsk(reader, live.key), chatResponse("alive"));
    await live.meet(client);
    await eventually("its gossip is answered", () => client.models().includes("raw"));
    const gossips = (): number => live.opened.filter((stream) => stream === "mesh-llm/1 1").length;
    const before = gossips();
    for (let round = 0; round < 30; round += 1) await report(liar, client, live.id);
    expect((await call(client, { model: "raw", messages: [{ role: "user", content: "hi" }] })).content).toBe("alive");
    // one for the reports; news of who has come may add a few
    expect(gossips() - before).toBeLessThanOrEqual(4);
    for (let round = 0; round < 5; round += 1) await report(liar, client, host.endpointId);
    expect((await call(client)).content).toBe("fine");
    expect(client.events.filter(({ event }) => event === "peer-left")).toEqual([]);
    expect(asked(engine)).toHaveLength(1);
  });

  it("E4: a goodbye in another's name is refused", async () => {
    const { client, liar, host, known } = await scene(false);
    const connection = await liar.dial(client, "mesh-llm/1");
    const stream = await openWith(
      connection,
      Uint8Array.of(meshStreams.peerLeaving),
      encodeFrame(encodePeerLeaving(host.endpointId)),
    );
    await stream.finish();
    expect(await cameBack(stream)).toEqual({ bytes: 0, end: "aborted" });
    expect(known()).toMatchObject({ connected: true });
  });
});

describe("E4: by the clock", () => {
  const [self, reporter, other, live] = [somebody(), somebody(), somebody(), somebody()];
  const gossipOf = (id: EndpointId): MembershipEvent => ({
    kind: "gossip",
    from: id,
    linked: true,
    claims: [
      {
        id,
        role: "worker",
        models: [],
        runtimes: [],
        version: undefined,
        hostname: undefined,
        address: { id, relays: [], direct: ["127.0.0.1:1"] },
        addressSigned: false,
        key: { kind: "absent" },
        record: undefined,
        blob: undefined,
        ownership: undefined,
        saidPosture: undefined,
        inContact: undefined,
      },
    ],
  });

  class Run {
    state: Membership = emptyMembership(self, new Map());
    nowMs = 1_800_000_000_000;

    do(event: MembershipEvent): readonly MembershipAction[] {
      const { state, actions } = step(this.state, event, this.nowMs);
      this.state = state;
      return actions;
    }

    /** Everybody is heard again and again meanwhile. */
    pass(ms: number): void {
      for (const until = this.nowMs + ms; this.nowMs < until;) {
        this.nowMs += 10_000;
        for (const id of [reporter, other, live]) this.do(gossipOf(id));
        this.do({ kind: "tick" });
      }
    }

    /** Whether the report had us look. */
    looks(from: EndpointId): boolean {
      const actions = this.do({ kind: "peer-down", from, about: live });
      return actions.some((action) => action.kind === "gossip" && action.to === live);
    }
  }

  it("E4: a reporter that was wrong is not believed again about that peer for 600 s, and others are", () => {
    const run = new Run();
    for (const id of [reporter, other, live]) run.do(gossipOf(id));
    expect(run.looks(reporter)).toBe(true);
    expect(run.looks(reporter)).toBe(false);
    expect(run.looks(other)).toBe(true);
    run.pass(590_000);
    expect(run.looks(reporter)).toBe(false);
    run.pass(20_000);
    expect(run.looks(reporter)).toBe(true);
    expect(run.state.peers.has(live)).toBe(true);
  });

  it("E4: ten thousand reports about as many peers change no table and cause nothing", () => {
    const run = new Run();
    for (const id of [reporter, live]) run.do(gossipOf(id));
    const { peers, gone, contacts } = run.state;
    const actions = Array.from({ length: 10_000 }, () =>
      run.do({ kind: "peer-down", from: reporter, about: somebodyFast() }),
    );
    expect(actions.flat()).toEqual([]);
    expect([run.state.peers, run.state.gone, run.state.contacts].map(({ size }) => size)).toEqual([
      peers.size,
      gone.size,
      contacts.size,
    ]);
    expect(run.state.refuted.size).toBeLessThanOrEqual(membershipLimits.refutedHeld);
    expect(run.do({ kind: "peer-down", from: reporter, about: self })).toEqual([]);
  });
});

let made = 0;
/** An id that is no key. */
function somebodyFast(): EndpointId {
  made += 1;
  return made.toString(16).padStart(64, "f") as EndpointId;
}

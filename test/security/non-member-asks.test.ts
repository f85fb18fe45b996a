/**
 * Somebody outside an invite-only mesh knows address, id and inference key of a host, and asks it: on its own connection, as a
 * relay would, and through a real relay of the mesh, with no credential, a made-up one, or a member's.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { concat, utf8 } from "../../src/base/bytes.ts";
import { encodeRequest } from "../../src/tunnel/http.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { encodeRelayedOpen } from "../../src/wire/relay.ts";
import { meshStreams, sealStreams } from "../../src/wire/stream-types.ts";
import {
  admit,
  cameBack,
  type ClosedMesh,
  closedMesh,
  credentialFrom,
  guestOf,
  inviteOf,
  revoke,
} from "../support/closed-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  asked,
  openRelay,
  openWith,
  type RawPeer,
  readAnswer,
  refusals,
  sealAsk,
  sendRelayed,
} from "../support/raw-peer.ts";

let engine: ScriptedEngine;
beforeEach(async () => {
  engine = await startEngineServer({ text: "fine" });
});
afterEach(async () => {
  expect(asked(engine)).toEqual([]);
  await engine.close();
});

describe("on a connection of its own", () => {
  it("is refused sealed, plain and as a relay, whatever credential it shows, and whether or not it has tried to gossip", async () => {
    const circle = closedMesh();
    const host = await circle.start("serve", { engine: [engine.url] });
    const member = await circle.member(host);
    await member.meet(host);
    const stranger = await circle.stranger();
    const to = host.keys.current.publicKey;
    const envelope = (credential: Uint8Array | undefined, relayed: boolean): Uint8Array =>
      sealAsk(stranger.identity, host.endpointId, to, { head: { credential } }, relayed).bytes;
    const plain = encodeRequest({
      method: "POST",
      path: "/v1/chat/completions",
      headers: [],
      body: utf8('{"model":"scripted","messages":[]}'),
    });
    for (const gossips of [false, true]) {
      for (const credential of [undefined, new Uint8Array(300).fill(7), member.credential]) {
        stranger.credential = credential;
        if (gossips) await expect(stranger.meet(host)).rejects.toThrow();
        const direct = await stranger.dial(host, "mesh-llm/1");
        for (const bytes of [envelope(credential, false), plain]) {
          const stream = await openWith(direct, Uint8Array.of(meshStreams.http), bytes);
          expect(await cameBack(stream)).toEqual({ bytes: 0, end: "aborted" });
        }
        const open = concat([Uint8Array.of(sealStreams.relayed), encodeFrame(encodeRelayedOpen({ hops: 1 }))]);
        const stream = await openWith(await stranger.dial(host, "sealmesh/1"), open, envelope(credential, true));
        expect(await cameBack(stream)).toEqual({ bytes: 0, end: "aborted" });
      }
    }
  });
});

describe("through a relay", () => {
  async function relayed(): Promise<{
    host: TestNode;
    relay: TestNode;
    stranger: RawPeer;
    member: RawPeer;
    circle: ClosedMesh;
    token: string;
  }> {
    const circle = closedMesh();
    const host = await circle.start("serve", { engine: [engine.url] });
    const relay = await circle.start("relay", { join: [host.invite()] });
    await eventually("the relay has met the host", () => relay.status().peers.some((peer) => peer.connected));
    const { token } = await inviteOf(host);
    return { host, relay, circle, token, member: await circle.member(host), stranger: await circle.stranger() };
  }

  it("of the mesh, gets no stream: the relay carries for members", async () => {
    const { host, relay, stranger, member } = await relayed();
    stranger.credential = member.credential;
    await expect(stranger.meet(relay)).rejects.toThrow();
    await expect(openRelay(await stranger.dial(relay, "sealmesh/1"), host.endpointId)).rejects.toThrow();
    expect(relay.status().relayed).toMatchObject({ streams: 0, bytes: 0 });
  });

  it("that helps it is refused by the host under the seal: no credential, a made-up one, a member's, one made by the relay, a revoked one", async () => {
    const { host, stranger, member, circle } = await relayed();
    const helper = await circle.member(host, { role: "relay" });
    await helper.meet(host);
    await member.meet(host);
    const invite = await inviteOf(host);
    const own = credentialFrom(helper, invite.token);
    // the helper may invite, but to no more than it may itself
    const guest = guestOf({ identity: helper.identity, credential: own }, "relay");
    expect(() => guestOf({ identity: helper.identity, credential: own }, "client")).toThrow();
    const broken = member.credential?.map((byte, at) => (at === 200 ? byte ^ 1 : byte));
    const to = host.keys.current.publicKey;
    const connection = await helper.dial(host, "sealmesh/1");
    const cases = [
      [stranger.identity, undefined, "no member"],
      [stranger.identity, new Uint8Array(300).fill(7), "credential is refused"],
      [stranger.identity, member.credential, "another node's"],
      [stranger.identity, guest.credential.bytes, "another node's"],
      [guest.identity, guest.credential.bytes, "admitted as a relay"],
      [guest.identity, undefined, "no member"],
      [member.identity, broken, "credential is refused"],
    ] as const;
    for (const [asker, credential, why] of cases) {
      const sealed = sealAsk(asker, host.endpointId, to, { head: { credential } }, true);
      expect(await readAnswer(await sendRelayed(connection, sealed.bytes), sealed)).toMatchObject({
        status: 503,
        text: expect.stringContaining(why),
      });
    }
    // in the member's name, but not signed by it
    const forged = sealAsk(
      stranger.identity,
      host.endpointId,
      to,
      { head: { from: member.id, credential: member.credential } },
      true,
    );
    expect(await cameBackFrom(await sendRelayed(connection, forged.bytes))).toBe("nothing");

    const late = await circle.stranger();
    const taken = await inviteOf(host);
    await admit(late, taken.token);
    await revoke(host, taken.id);
    const sealed = sealAsk(late.identity, host.endpointId, to, { head: { credential: late.credential } }, true);
    const answer = await readAnswer(await sendRelayed(connection, sealed.bytes), sealed);
    expect([answer.status, answer.text]).toEqual([503, expect.stringContaining("taken back")]);
    expect(refusals(host)).toHaveLength(cases.length + 2);
  });
});

async function cameBackFrom(reader: {
  readonly byte: () => Promise<number | undefined>;
}): Promise<"nothing" | "something"> {
  const byte = await reader.byte().catch(() => undefined);
  return byte === undefined ? "nothing" : "something";
}

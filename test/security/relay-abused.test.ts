/** A relay of ours is used for what it is not for: plain bytes, chains of relays, strangers, more than its share. */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../src/base/bytes.ts";
import { defaults } from "../../src/node/defaults.ts";
import { endpointId } from "../../src/base/brand.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { decodeRelayReply, relayCodes } from "../../src/wire/relay.ts";
import { sealStreams } from "../../src/wire/stream-types.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import {
  asked,
  attackedMesh,
  openRelay,
  openWith,
  readAnswer,
  refusals,
  sealAsk,
  secret,
  sendRelayed,
} from "../support/raw-peer.ts";

/** A real relay between a raw asker and a raw target, both met. */
async function scene() {
  const mesh = attackedMesh();
  const relay = await mesh.start("client");
  const asker = await mesh.raw();
  const target = await mesh.raw();
  await asker.meet(relay);
  await target.meet(relay);
  await eventually("the relay knows both", () => relay.status().peers.length === 2);
  return { mesh, relay, asker, target, connection: await asker.dial(relay, "sealmesh/1") };
}

describe("a relay", () => {
  it("K5: carries an envelope for members that it met, and reads nothing of it", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const relay = await mesh.start("client", { join: [host.invite()] });
    const asker = await mesh.raw();
    await asker.meet(relay);
    const { code, stream, reader } = await openRelay(await asker.dial(relay, "sealmesh/1"), host.endpointId);
    expect(code).toBe(relayCodes.ok);
    const ask = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, {}, true);
    await stream.write(ask.bytes);
    await stream.finish();
    expect((await readAnswer(reader, ask)).status).toBe(200);
    await eventually("it is counted", () => relay.status().relayed.streams === 1);
    await engine.close();
  });

  it("D6: passes nothing but envelopes, in neither direction", async () => {
    const { relay, target, connection } = await scene();
    const plain = utf8(`POST / HTTP/1.1\r\n\r\n${secret}`);
    const first = await openRelay(connection, target.id);
    await first.stream.write(plain).catch(() => undefined); // may be cut off before it is all taken
    await expect(first.reader.read()).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(target.couldRead(secret)).toBe(false);

    target.handlers.relayed = async (stream) => {
      await stream.write(plain);
      await stream.finish();
    };
    const second = await openRelay(connection, target.id);
    await second.stream.write(Uint8Array.of(0xe1, 1, 2, 3)).catch(() => undefined);
    await expect(second.reader.read()).rejects.toMatchObject({ code: "E_ABORTED" });
    await eventually("its places are free again", () => relay.status().relayed.running === 0);
    expect(relay.status().relayed.streams).toBe(0);
  });

  it("D6: a host refuses plain bytes that a relay brings", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const relay = await mesh.raw();
    await relay.meet(host);
    const request = utf8("GET /v1/models HTTP/1.1\r\n\r\n");
    const reader = await sendRelayed(await relay.dial(host, "sealmesh/1"), request);
    await expect(reader.read()).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(refusals(host)).toEqual(["E_WIRE"]);
    expect(asked(engine)).toHaveLength(0);
    await engine.close();
  });

  it("D5: refuses a third hop, an unknown target, itself, who asks, and what it does not understand, each with its code", async () => {
    const { relay, asker, target, connection, mesh } = await scene();
    for (const hops of [2, 3, 255, 2 ** 32 - 1]) {
      expect((await openRelay(connection, target.id, hops)).code).toBe(relayCodes.refused);
    }
    expect((await openRelay(connection, asker.id)).code).toBe(relayCodes.refused);
    expect((await openRelay(connection, endpointId("ab".repeat(32)))).code).toBe(relayCodes.unknownTarget);
    expect((await openRelay(connection, relay.endpointId)).code).toBe(relayCodes.unknownTarget);
    for (const payload of [new Uint8Array(0), utf8("nonsense"), Uint8Array.of(8, 9)]) {
      const stream = await openWith(connection, Uint8Array.of(sealStreams.relay), encodeFrame(payload));
      const reply = await new StreamReader(stream).frame(100);
      expect(decodeRelayReply(reply)).toBe(relayCodes.badRequest);
    }
    // a target that others have only named, and one that has gone
    const named = await mesh.raw();
    target.announcements = () => [named.own({ address: undefined }), target.own()];
    await target.meet(relay);
    await eventually("it is named", () => relay.status().peers.some(({ endpoint_id }) => endpoint_id === named.id));
    // it is not dialed for anybody; who has named it is asked, but not for who came through a relay already
    expect((await openRelay(connection, named.id, 1)).code).toBe(relayCodes.unknownTarget);
    expect(target.opened).not.toContain("sealmesh/1 2");
    expect((await openRelay(connection, named.id)).code).toBe(relayCodes.unreachable);
    await expect.poll(() => target.opened).toContain("sealmesh/1 2");
    expect(target.opened).not.toContain("sealmesh/1 3");
    await expect.poll(() => relay.status().relayed.running).toBe(0);
  });

  it("E1: serves nobody who has not gossiped with it", async () => {
    const { mesh, relay, target } = await scene();
    const stranger = await mesh.raw();
    const connection = await stranger.dial(relay, "sealmesh/1");
    await expect(openRelay(connection, target.id)).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(target.opened).not.toContain("sealmesh/1 3");
  });

  it("E1: with --no-relay-traffic it carries nothing and does not offer to", async () => {
    const mesh = attackedMesh();
    const relay = await mesh.start("client", { relayTraffic: false });
    const asker = await mesh.raw();
    const target = await mesh.raw();
    await asker.meet(relay);
    await target.meet(relay);
    await expect(openRelay(await asker.dial(relay, "sealmesh/1"), target.id)).rejects.toMatchObject({
      code: "E_ABORTED",
    });
  });

  it("E1: one asker takes its share of the places and no more, and gets them back", async () => {
    const { relay, asker, target, connection, mesh } = await scene();
    target.handlers.relayed = () => new Promise(() => undefined);
    const held = [];
    for (let count = 0; count < defaults.relayStreamsTotal / 2; count += 1) {
      const opened = await openRelay(connection, target.id);
      expect(opened.code).toBe(relayCodes.ok);
      held.push(opened.stream);
    }
    expect((await openRelay(connection, target.id)).code).toBe(relayCodes.busy);
    // another one is not affected
    const other = await mesh.raw();
    await other.meet(relay);
    await eventually("the relay knows the other", () =>
      relay.status().peers.some(({ endpoint_id }) => endpoint_id === other.id),
    );
    expect((await openRelay(await other.dial(relay, "sealmesh/1"), target.id)).code).toBe(relayCodes.ok);
    for (const stream of held) stream.abort();
    await eventually("the places are free", () => relay.status().relayed.running <= 1);
    expect((await openRelay(connection, target.id)).code).toBe(relayCodes.ok);
    expect(asker.couldRead(secret)).toBe(false);
  });

  it("I4: when one side goes the other learns it at once", async () => {
    const { target, connection } = await scene();
    const gone: string[] = [];
    target.handlers.relayed = async (stream) => {
      stream.aborted.addEventListener("abort", () => gone.push("asker"));
      await new Promise(() => undefined);
    };
    const left = await openRelay(connection, target.id);
    await left.stream.write(Uint8Array.of(0xe1));
    await eventually("the target has it", () => target.opened.includes("sealmesh/1 3"));
    left.stream.abort();
    await eventually("the target knows", () => gone.length === 1, 1_000);

    target.handlers.relayed = async (stream) => stream.abort();
    const cut = await openRelay(connection, target.id);
    await expect(cut.reader.read()).rejects.toMatchObject({ code: "E_ABORTED" });
  });
});

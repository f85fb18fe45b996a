/** A client that cannot reach the host at all: what it knows of it comes through a relay, signed, and in time. */
import { describe, expect, it } from "vitest";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { keyFingerprint } from "../../src/node/status.ts";
import { limits } from "../../src/wire/limits.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { demandsKey, enclaveHost, shownOf } from "../support/attested-mesh.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  type AttackedMesh,
  attackedMesh,
  call,
  chatResponse,
  openAsk,
  type RawPeer,
  relayHandler,
} from "../support/raw-peer.ts";

/** A host by hand, of one model, that answers what relays bring with its key of the time. */
async function handHost(mesh: AttackedMesh): Promise<RawPeer> {
  const host = await mesh.raw({ role: "host", models: ["scripted"] });
  host.handlers.relayed = async (stream, reader) => {
    await reader.frame(limits.relayFrameBytes);
    await answerSealed(stream, await openAsk(reader, host.key), chatResponse("fine"));
  };
  return host;
}

/** A relay between the two, which cannot reach each other. */
async function behind(mesh: AttackedMesh, host: RawPeer): Promise<{ relay: TestNode; client: TestNode }> {
  const client = await mesh.start("client");
  mesh.network.block(client.endpointId, host.id);
  const relay = await mesh.start("relay", { join: [host.invite, client.invite()] });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { relay, client };
}

function shownKey(client: TestNode, host: RawPeer): string | null | undefined {
  return client.status().peers.find(({ endpoint_id }) => endpoint_id === host.id)?.inference_key;
}

describe("a client behind a relay", () => {
  it("chats with a host that it cannot reach, and holds it to its policy", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const client = await mesh.start("client", demandsKey);
    const { host } = await enclaveHost(mesh, engine.url);
    mesh.network.block(client.endpointId, host.endpointId);
    await mesh.start("relay", { join: [host.invite(), client.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const answer = await call(client);
    expect([answer.status, answer.content, answer.headers.get("x-sealmesh-route")]).toEqual([200, "fine", "relay"]);
    expect(shownOf(client, host)).toMatchObject({ tier: "key", challenge: "answered" });
    await engine.close();
  });

  it("tries the host's own connection once, and then asks through the relay at once", async () => {
    const mesh = attackedMesh();
    const host = await handHost(mesh);
    const { client } = await behind(mesh, host);
    const failedWays = async (): Promise<unknown> => {
      expect((await call(client)).content).toBe("fine");
      return client.status().exchanges.recent[0]?.attempts.map(({ failed_ways: ways }) => ways.map((way) => way.relay));
    };
    expect(await failedWays()).toEqual([[null]]);
    expect(await failedWays()).toEqual([[]]);
    mesh.network.unblock(client.endpointId, host.id);
    await host.meet(client);
    host.handlers.http = async (stream, reader) =>
      answerSealed(stream, await openAsk(reader, host.key), chatResponse("direct"));
    expect((await call(client)).content).toBe("direct");
  });

  it("hears of a new key as soon as the relay does, while the old one holds", async () => {
    const mesh = attackedMesh();
    const host = await handHost(mesh);
    const { relay, client } = await behind(mesh, host);
    expect((await call(client)).content).toBe("fine");
    host.key = generateKeyPair();
    await host.meet(relay);
    const fresh = keyFingerprint(host.key.publicKey);
    await eventually("the client has the new key", () => shownKey(client, host) === fresh);
    expect((await call(client)).content).toBe("fine");
  });

  it.each(["auto", "relay"])("asks the relay for a record when the one it has is over: --route %s", async (route) => {
    const mesh = attackedMesh();
    const host = await handHost(mesh);
    const endMs = Date.now() + 1_000;
    host.announcements = () => [host.own({ record: host.record({ notAfterMs: endMs, keyNotAfterMs: endMs }).bytes })];
    // a relay whose gossip stands still
    const relay = await mesh.raw();
    await relay.meet(host);
    const old = relay.entryOf(host.id);
    relay.announcements = () => [old, relay.own()];
    relay.handlers.relay = relayHandler(() => relay.dial(host, "sealmesh/1"));
    const client = await mesh.start("client", { route });
    mesh.network.block(client.endpointId, host.id);
    await relay.meet(client);
    await eventually("the client has the record", () => shownKey(client, host) === keyFingerprint(host.key.publicKey));
    host.announcements = () => [host.own()];
    await relay.meet(host);
    await eventually("the record is over", () => shownKey(client, host) === null);
    expect((await call(client)).content).toBe("fine");
  });
});

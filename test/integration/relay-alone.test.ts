/** `sealmesh relay`: a member that carries and does nothing else, and shows what it has carried. */
import { describe, expect, it } from "vitest";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { attackedMesh, call, openRelay, sealAsk, sendDirect, sendRelayed } from "../support/raw-peer.ts";
import { relayCodes } from "../../src/wire/relay.ts";

describe("a relay", () => {
  it("has no API port and no model, and is no host of anything", async () => {
    const mesh = attackedMesh();
    const relay = await mesh.start("relay");
    const client = await mesh.start("client", { join: [relay.invite()] });
    expect(relay.apiUrl).toBeUndefined();
    expect(relay.status()).toMatchObject({
      mode: "relay",
      api_port: null,
      is_host: false,
      is_client: false,
      engines: [],
      relays_for_others: true,
    });
    const [shown] = client.status().peers;
    expect(shown).toMatchObject({ endpoint_id: relay.endpointId, role: "Worker", hosted_models: [] });
    expect(client.models()).toEqual([]);
  });

  it("answers no request, sealed to it or not, on its own connection or brought by another", async () => {
    const mesh = attackedMesh();
    const relay = await mesh.start("relay");
    const asker = await mesh.raw();
    await asker.meet(relay);
    const ask = (relayed: boolean): Uint8Array =>
      sealAsk(asker.identity, relay.endpointId, relay.keys.current.publicKey, {}, relayed).bytes;
    const connection = await asker.dial(relay, "mesh-llm/1");
    await expect((await sendDirect(connection, ask(false))).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    const brought = await sendRelayed(await asker.dial(relay, "sealmesh/1"), ask(true));
    await expect(brought.read()).rejects.toMatchObject({ code: "E_ABORTED" });
  });

  it("shows what it carried, for whom, and what it turned away: numbers and short ids, nothing else", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const client = await mesh.start("client", { route: "auto" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    mesh.network.block(client.endpointId, host.endpointId);
    const relay = await mesh.start("relay", { join: [host.invite(), client.invite()], relayStreams: "2" });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    for (let count = 0; count < 3; count += 1) expect((await call(client)).content).toBe("fine");
    const stranger = await mesh.raw();
    await stranger.meet(relay);
    expect((await openRelay(await stranger.dial(relay, "sealmesh/1"), stranger.id)).code).toBe(relayCodes.refused);
    await eventually("all is counted", () => {
      const { streams, running, refused } = relay.status().relayed;
      return streams === 3 && running === 0 && refused === 1;
    });
    const { relayed } = relay.status();
    expect(relayed).toMatchObject({
      streams: 3,
      onward: 0,
      broken: 0,
      refused: 1,
      running: 0,
      max_streams: 2,
      max_bytes_per_second: 16_000_000,
    });
    const short = [client.endpointId, host.endpointId, stranger.id].map((id) => id.slice(0, 10));
    expect(relayed.peers.map(({ id }) => id).toSorted()).toEqual(short.toSorted());
    const [from, to] = short.map((id) => relayed.peers.find((peer) => peer.id === id));
    expect(from).toMatchObject({ streams_from: 3, streams_to: 0, refused: 0 });
    expect(to).toMatchObject({ streams_from: 0, streams_to: 3, refused: 0 });
    expect([from?.bytes_from, from?.bytes_to]).toEqual([to?.bytes_to, to?.bytes_from]);
    expect(relayed.bytes).toBe((from?.bytes_from ?? 0) + (from?.bytes_to ?? 0));
    for (const peer of relayed.peers) {
      for (const [name, value] of Object.entries(peer)) expect(name === "id" || typeof value === "number").toBe(true);
    }
    await engine.close();
  });
});

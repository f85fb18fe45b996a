/** A third node says that a host has another inference key: its own. */
import type { EndpointId } from "../../src/base/brand.ts";
import { describe, expect, it } from "vitest";
import { toBase64 } from "../../src/base/bytes.ts";
import { signRecord } from "../../src/crypto/record.ts";
import { bytesSource } from "../../src/tunnel/http.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import type { Announcement } from "../../src/wire/gossip.ts";
import { encodeRecord, encodeSignedRecord, recordSigningBytes } from "../../src/wire/record.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { rejectsWith } from "../support/expect-code.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  asked,
  attackedMesh,
  call,
  chatResponse,
  clientOf,
  openAsk,
  type RawPeer,
  relayedMesh,
  secret,
} from "../support/raw-peer.ts";

/** The attacker says `entries` and itself under a new name, so that a test sees when they were taken in. */
async function tell(
  attacker: RawPeer,
  client: TestNode,
  entries: readonly Announcement[],
  name: string,
): Promise<void> {
  attacker.announcements = () => [...entries, attacker.own({ hostname: name })];
  await attacker.meet(client);
  await eventually("the lie has arrived", () =>
    client.status().peers.some((peer) => peer.endpoint_id === attacker.id && peer.hostname === name),
  );
}

function knows(client: TestNode, id: EndpointId): boolean {
  return client.status().peers.some((peer) => peer.endpoint_id === id);
}

/** Entries about `entry` that put the attacker's key in place of the owner's. */
function lies(attacker: RawPeer, entry: Announcement): readonly Announcement[] {
  const inferenceKey = toBase64(attacker.key.publicKey);
  const fields = { ...attacker.record().fields, endpointId: entry.id, seq: 2n ** 60n };
  const signed = encodeRecord(fields);
  const forged = encodeSignedRecord({ signed, signature: attacker.identity.sign(recordSigningBytes(signed)) });
  const { endpointId: _id, ...rest } = fields;
  return [
    { ...entry, inferenceKey, record: undefined },
    { ...entry, inferenceKey, record: forged },
    { ...entry, inferenceKey, record: signRecord(attacker.identity, rest).bytes },
    { ...entry, inferenceKey, record: new Uint8Array(100) },
  ];
}

describe("K1: a third node substitutes the key of a host", () => {
  it("K1: a client that met the host goes on sealing to the host's own key", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const attacker = await mesh.raw();
    await attacker.meet(host);
    const before = client.status().peers.find((peer) => peer.endpoint_id === host.endpointId);
    for (const [at, lie] of lies(attacker, attacker.entryOf(host.endpointId)).entries()) {
      await tell(attacker, client, [lie], `lie-${at}`);
      const after = client.status().peers.find((peer) => peer.endpoint_id === host.endpointId);
      expect(after?.inference_key).toBe(before?.inference_key);
      const answer = await call(client);
      expect([answer.content, answer.headers.get("x-sealmesh-sealed")]).toEqual(["fine", "true"]);
    }
    const refused = client.events.flatMap((event) => (event.event === "peer-refused" ? [event.code] : []));
    expect(refused.filter((code) => code === "E_WIRE").length).toBeGreaterThanOrEqual(3);
    expect(attacker.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("K1: the attacker's own record names the host: what it signs holds for nobody but itself", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const attacker = await mesh.raw();
    await attacker.meet(host);
    const [, forged] = lies(attacker, attacker.entryOf(host.endpointId));
    attacker.announcements = () => [attacker.own({ record: forged?.record, hostname: "forged" })];
    await attacker.meet(client);
    await eventually("the lie has arrived", () => client.status().peers.some(({ hostname }) => hostname === "forged"));
    expect((await call(client)).content).toBe("fine");
    expect(asked(engine)).toHaveLength(1);
    expect(client.events.some((event) => event.event === "peer-refused" && event.peer === attacker.id)).toBe(true);
    await engine.close();
  });

  it("K1: the key of a reference host, which no record protects, comes from its own connection alone", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind: "reference", role: "host", models: ["scripted"] });
    host.handlers.http = async (stream, reader) =>
      await answerSealed(stream, await openAsk(reader, host.key), chatResponse("fine"));
    const client = await clientOf(mesh, [host]);
    const attacker = await mesh.raw();
    const lie = host.own({ inferenceKey: toBase64(attacker.key.publicKey) });
    for (const [at, entry] of [lie, { ...lie, inferenceKey: undefined }, { ...lie, inferenceKey: "bad" }].entries()) {
      await tell(attacker, client, [entry], `lie-${at}`);
      const answer = await call(client);
      expect([answer.content, answer.headers.get("x-sealmesh-sealed")]).toEqual(["fine", "true"]);
    }
    expect(attacker.couldRead(secret) || host.couldRead(secret)).toBe(false);
  });

  it("K1: a client that knows the host only from the attacker asks the host itself for the key", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const attacker = await mesh.raw();
    await attacker.meet(host);
    const [lie] = lies(attacker, attacker.entryOf(host.endpointId));
    attacker.announcements = (to) => (to === host.endpointId ? [attacker.own()] : [lie!, attacker.own()]);
    const client = await mesh.start("client", { join: [attacker.invite] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const answer = await call(client);
    expect([answer.content, answer.headers.get("x-sealmesh-route")]).toEqual(["fine", "direct"]);
    expect(attacker.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("K1: through the attacker as the only relay the client refuses, and sends nothing", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const attacker = await mesh.raw();
    await attacker.meet(host);
    for (const lie of lies(attacker, attacker.entryOf(host.endpointId))) {
      attacker.announcements = () => [lie, attacker.own()];
      const client = await mesh.start("client", { join: [attacker.invite], route: "relay" });
      await eventually("the lie has arrived", () => knows(client, host.endpointId));
      const answer = await call(client);
      // nothing that the host has signed: neither its key nor that it serves the model
      expect([answer.status, answer.code]).toEqual([404, "model_not_found"]);
    }
    expect(attacker.opened.filter((stream) => !stream.endsWith("mesh-llm/1 1"))).toEqual([]);
    expect(attacker.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("K1: the attacker puts itself at the host's address: the identity is proven by the connection, not by the entry", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const attacker = await mesh.raw();
    await attacker.meet(host);
    const entry = attacker.entryOf(host.endpointId);
    const address = { ...attacker.transport.address(), id: host.endpointId };
    attacker.announcements = () => [{ ...entry, address, record: undefined }, attacker.own()];
    const client = await mesh.start("client", { join: [attacker.invite] });
    await eventually("the lie has arrived", () => knows(client, host.endpointId));
    expect((await call(client)).code).toBe("model_not_found");
    expect(attacker.opened).not.toContain("mesh-llm/1 4");
    expect(attacker.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("K1: a relay cannot open what passes it with the key that it advertises itself", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, relay, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    const envelopes: Uint8Array[] = [];
    relayOptions.onEnvelope = (bytes) => envelopes.push(bytes);
    expect((await call(client)).content).toBe("fine");
    expect(envelopes).toHaveLength(1);
    for (const bytes of envelopes)
      await rejectsWith("E_OPEN", openAsk(new StreamReader(bytesSource(bytes)), relay.key));
    await engine.close();
  });
});

/**
 * A member does what it was not admitted for: a client poses as a host or as a relay, a relay asks. Roles are in the credential,
 * which others have signed; what a member says of itself in gossip and records is its own word.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closedMesh, type ClosedMesh } from "../support/closed-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  asked,
  call,
  chatResponse,
  openAsk,
  prompt,
  type RawPeer,
  readAnswer,
  refusals,
  sealAsk,
  secret,
  sendDirect,
  sendRelayed,
} from "../support/raw-peer.ts";

let engine: ScriptedEngine;
beforeEach(async () => {
  engine = await startEngineServer({ text: "fine" });
});
afterEach(() => engine.close());

const hostOf = (mesh: ClosedMesh): Promise<TestNode> => mesh.start("serve", { engine: [engine.url] });

/** Admitted in a role, and says in record and gossip that it is a host of these models and carries. */
async function poser(
  mesh: ClosedMesh,
  host: TestNode,
  role: "client" | "relay",
  models: readonly string[],
): Promise<RawPeer> {
  const raw = await mesh.member(host, { role }, { role: "host", models });
  raw.handlers.http = async (stream, reader) =>
    answerSealed(stream, await openAsk(reader, raw.key), chatResponse("mine"));
  await raw.meet(host);
  return raw;
}

describe.each(["client", "relay"] as const)("a member with role %s that poses as host", (role) => {
  it("is never asked, not for a model of its own and not for one of a real host, nor chosen for auto", async () => {
    const mesh = closedMesh();
    const host = await hostOf(mesh);
    const raw = await poser(mesh, host, role, ["a-bait", "scripted"]);
    const client = await mesh.start("client", { join: [host.invite()] });
    await raw.meet(client);
    await eventually(
      "the client has met both",
      () => client.status().peers.filter((peer) => peer.connected).length === 2,
    );

    expect(client.models()).toEqual(["scripted"]);
    for (let round = 0; round < 3; round += 1) expect((await call(client)).content).toBe("fine");
    expect((await call(client, prompt({ model: "auto" }))).headers.get("x-sealmesh-host")).toBe(host.endpointId);
    expect(await call(client, prompt({ model: "a-bait" }))).toMatchObject({ status: 404, code: "model_not_found" });
    await host.stop(0);
    expect((await call(client)).status).not.toBe(200);
    expect(raw.opened.filter((stream) => stream === "mesh-llm/1 4")).toEqual([]);
    expect(raw.couldRead(secret)).toBe(false);
  });
});

describe("a member with role client that poses as relay", () => {
  it("brings no envelope to a host, though the asker in it is a member", async () => {
    const mesh = closedMesh();
    const host = await hostOf(mesh);
    const asker = await mesh.member(host);
    const poses = await mesh.member(host, { role: "client" });
    const relay = await mesh.member(host, { role: "relay" });
    for (const raw of [asker, poses, relay]) await raw.meet(host);
    const envelope = () =>
      sealAsk(
        asker.identity,
        host.endpointId,
        host.keys.current.publicKey,
        { head: { credential: asker.credential } },
        true,
      );
    const bad = envelope();
    await expect(readAnswer(await sendRelayed(await poses.dial(host, "sealmesh/1"), bad.bytes), bad)).rejects.toThrow();
    expect(asked(engine)).toEqual([]);
    const good = envelope();
    expect((await readAnswer(await sendRelayed(await relay.dial(host, "sealmesh/1"), good.bytes), good)).status).toBe(
      200,
    );
    expect(asked(engine)).toHaveLength(1);
  });
});

describe("a member with role relay that asks", () => {
  it("is told no under the seal, directly and through another relay, and no engine hears of it", async () => {
    const mesh = closedMesh();
    const host = await hostOf(mesh);
    const [relay, other] = [await mesh.member(host, { role: "relay" }), await mesh.member(host, { role: "relay" })];
    const connection = await relay.meet(host);
    await other.meet(host);
    const direct = sealAsk(relay.identity, host.endpointId, host.keys.current.publicKey);
    expect(await readAnswer(await sendDirect(connection, direct.bytes), direct)).toMatchObject({
      status: 503,
      text: expect.stringContaining("admitted as a relay"),
    });
    const carried = sealAsk(
      relay.identity,
      host.endpointId,
      host.keys.current.publicKey,
      { head: { credential: relay.credential } },
      true,
    );
    const answer = await sendRelayed(await other.dial(host, "sealmesh/1"), carried.bytes);
    expect((await readAnswer(answer, carried)).status).toBe(503);
    // leaving its credential out changes nothing: the host knows it
    const silent = sealAsk(relay.identity, host.endpointId, host.keys.current.publicKey, {}, true);
    expect(
      (await readAnswer(await sendRelayed(await other.dial(host, "sealmesh/1"), silent.bytes), silent)).status,
    ).toBe(503);
    expect(asked(engine)).toEqual([]);
    expect(refusals(host)).toEqual(["E_REFUSED", "E_REFUSED", "E_REFUSED"]);
  });
});

/**
 * A client that reaches one relay, which reaches another, which reaches the host: no other way is open. What passes is
 * sealed, and what the client demands of hosts is demanded all the same.
 */
import { describe, expect, it } from "vitest";
import type { Flags } from "../../src/node/config.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { demandsKey, Enclave, enclaveHost, shownOf } from "../support/attested-mesh.ts";
import { eventually, temporaryDirectory, type TestNode } from "../support/mesh.ts";
import { asked, type AttackedMesh, attackedMesh, call } from "../support/raw-peer.ts";

interface Chain {
  readonly mesh: AttackedMesh;
  readonly client: TestNode;
  readonly near: TestNode;
  readonly far: TestNode;
  readonly host: TestNode;
  readonly enclave: Enclave;
}

/** client - near - far - host, and nothing else. */
async function chain(engineUrl: string, flags: Flags = {}): Promise<Chain> {
  const mesh = attackedMesh();
  const { network } = mesh;
  const client = await mesh.start("client", flags);
  const { host, enclave } = await enclaveHost(mesh, engineUrl);
  network.block(client.endpointId, host.endpointId);
  const near = await mesh.start("relay", { join: [client.invite()] });
  network.block(near.endpointId, host.endpointId);
  // the client never meets the far relay: what the host signs comes to it through both
  const dataDir = temporaryDirectory();
  const first = await mesh.start("relay", { dataDir }); // so that it has an id
  await first.stop(0);
  network.block(client.endpointId, first.endpointId);
  const far = await mesh.start("relay", { dataDir, join: [host.invite(), near.invite()] });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  expect([isConnected(client, far), isConnected(client, host), isConnected(near, host)]).toEqual([false, false, false]);
  return { mesh, client, near, far, host, enclave };
}

function isConnected(node: TestNode, other: TestNode): boolean {
  return node.status().peers.some(({ endpoint_id, connected }) => endpoint_id === other.endpointId && connected);
}

describe("through two relays", () => {
  it("a chat is answered, sealed, and each relay counts it", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, near, far, host } = await chain(engine.url);
    const answer = await call(client);
    expect([answer.status, answer.content]).toEqual([200, "fine"]);
    expect(answer.headers.get("x-sealmesh-route")).toBe("relay");
    expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
    expect(isConnected(client, host)).toBe(false);
    await eventually("it is counted", () => [near, far].every((relay) => relay.status().relayed.streams === 1));
    expect(near.status().relayed).toMatchObject({ onward: 1, refused: 0, running: 0 });
    expect(far.status().relayed).toMatchObject({ onward: 0, refused: 0, running: 0 });
    expect(near.status().relayed.bytes).toBe(far.status().relayed.bytes);
    const [from, to] = [client, host].map(({ endpointId }) => endpointId.slice(0, 10));
    const told = near.status().relayed.peers;
    const envelope = told.find(({ id }) => id === from)?.bytes_from ?? 0;
    expect(envelope).toBeGreaterThan(0);
    expect(told).toContainEqual(expect.objectContaining({ id: from, streams_from: 1, streams_to: 0 }));
    expect(told).toContainEqual(expect.objectContaining({ id: to, streams_to: 1, bytes_to: envelope }));
    await engine.close();
  });

  it("a host must prove what is demanded, and one that does is asked", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, host, enclave } = await chain(engine.url, demandsKey);
    const answer = await call(client);
    expect([answer.status, answer.content]).toEqual([200, "fine"]);
    expect(shownOf(client, host)).toMatchObject({ tier: "key", challenge: "answered", allowed: true });
    expect(enclave.asked).toBeGreaterThan(0);
    await engine.close();
  });

  it("a host that proves nothing gets no prompt", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, enclave, host } = await chain(engine.url, demandsKey);
    enclave.beforeSigning = () => {
      throw new Error("the chip is broken");
    };
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([503, "refused"]);
    expect(shownOf(client, host).allowed).toBe(false);
    expect(asked(engine)).toHaveLength(0);
    await engine.close();
  });
});

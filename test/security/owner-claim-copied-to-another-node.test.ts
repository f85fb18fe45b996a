/** A claim is public: whoever hears it can show it. It names one node, and is worth nothing for any other. */
import { describe, expect, it } from "vitest";
import { fromHex } from "../../src/base/bytes.ts";
import { noOwnerTrust, judgeOwner } from "../../src/policy/owners.ts";
import { decodeOwnership, encodeOwnership, ownershipBytes } from "../../src/wire/ownership.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, temporaryDirectory } from "../support/mesh.ts";
import { ownerFrom, ownerKeyFile } from "../support/owners.ts";
import { asked, attackedMesh, call, secret } from "../support/raw-peer.ts";

async function meshWithThief() {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const { path, ownerId } = ownerKeyFile(temporaryDirectory());
  const host = await mesh.start("serve", { engine: [engine.url], ownerKey: path });
  const thief = await mesh.raw({ role: "host", models: ["scripted"] });
  await thief.meet(host);
  const stolen = thief.entryOf(host.endpointId).ownership;
  if (!stolen) throw new Error("the host shows no claim");
  return { mesh, engine, host, thief, stolen, ownerId };
}

it("the claim of an owned host is in its own gossip, for everybody to copy", async () => {
  const { host, stolen, ownerId, engine } = await meshWithThief();
  const verdict = judgeOwner(stolen, host.endpointId, noOwnerTrust, Date.now());
  expect([verdict.status, verdict.owner]).toEqual(["verified", ownerId]);
  await engine.close();
});

describe.each(["require-owned", "allowlist"])("under %s a thief gets no prompt", (trustPolicy) => {
  it.each<[string, string, (stolen: Uint8Array, thief: string) => Uint8Array]>([
    ["with the claim as it was", "mismatched_node_id", (stolen) => stolen],
    [
      "with its own id in the claim",
      "invalid_signature",
      (stolen, thief) => {
        const { claim, signature } = decodeOwnership(stolen);
        return encodeOwnership({ claim: { ...claim, node: thief as typeof claim.node }, signature });
      },
    ],
    [
      "signed anew by a key of its own, in the owner's name",
      "invalid_signature",
      (stolen, thief) => {
        const forger = ownerFrom(66).identity;
        const claim = { ...decodeOwnership(stolen).claim, node: thief as typeof forger.id };
        return encodeOwnership({ claim, signature: forger.sign(ownershipBytes(claim)) });
      },
    ],
    [
      "signed anew under the owner's id, with the forger's key in the claim",
      "invalid_signature",
      (stolen, thief) => {
        const forger = ownerFrom(66).identity;
        const node = thief as typeof forger.id;
        const claim = { ...decodeOwnership(stolen).claim, node, ownerKey: fromHex(forger.id, 32) };
        return encodeOwnership({ claim, signature: forger.sign(ownershipBytes(claim)) });
      },
    ],
  ])("%s (%s)", async (_what, status, forge) => {
    const { mesh, engine, host, thief, stolen, ownerId } = await meshWithThief();
    const shown = forge(stolen, thief.id);
    expect(judgeOwner(shown, thief.id, noOwnerTrust, Date.now()).status).toBe(status);
    thief.announcements = () => [thief.own({ ownership: shown })];
    const join = [thief.invite, host.invite()];
    const client = await mesh.start("client", { join, trustPolicy, trustOwner: [ownerId] });
    await eventually("the client knows the host", () => {
      return client.status().peers.some(({ endpoint_id: id, models }) => id === host.endpointId && models.length > 0);
    });

    for (let round = 0; round < 3; round += 1) expect((await call(client)).content).toBe("fine");
    expect(asked(engine)).toHaveLength(3);
    await host.stop(0);
    // it is no member for this client, which does not know its model
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([404, "model_not_found"]);
    expect(client.status().peers.map(({ endpoint_id: id }) => id)).not.toContain(thief.id);
    const refused = client.events.filter((event) => event.event === "peer-refused" && event.peer === thief.id);
    expect(refused.length).toBeGreaterThan(0);
    expect(thief.couldRead(secret)).toBe(false);
    expect(thief.opened.filter((stream) => stream === "mesh-llm/1 4")).toEqual([]);
    await engine.close();
  });
});

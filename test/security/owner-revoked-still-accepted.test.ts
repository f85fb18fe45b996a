/**
 * An owner's key was stolen, a claim given away or a machine sold, and its operator has said so: `sealmesh owner revoke`. In the
 * reference such a node stays a member under two policies of four, and a node by its id as soon as it shows no claim.
 */
import { describe, expect, it } from "vitest";
import { openGate } from "../../src/mesh/gate.ts";
import { Ownership } from "../../src/node/ownership.ts";
import type { OwnerList } from "../../src/policy/owner-book.ts";
import { type OwnerStatus, ownerStatusTexts, type TrustPolicy, trustPolicies } from "../../src/policy/owners.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, temporaryDirectory, type TestNode } from "../support/mesh.ts";
import { claimOf, listOwner, nodeId, ownerFrom, ownerKeyFile } from "../support/owners.ts";
import { asked, attackedMesh, call } from "../support/raw-peer.ts";

type Owned = Awaited<ReturnType<typeof ownedMesh>>;

/** A host that signs for itself, and a client that trusts its owner. */
async function ownedMesh(trustPolicy: TrustPolicy) {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const { path, ownerId } = ownerKeyFile(temporaryDirectory());
  const host = await mesh.start("serve", { engine: [engine.url], ownerKey: path });
  const dataDir = temporaryDirectory();
  const flags = { join: [host.invite()], dataDir, trustPolicy, trustOwner: [ownerId] };
  const client = await mesh.start("client", flags);
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { mesh, engine, host, client, dataDir, ownerId, flags };
}

const ownerOfHost = (client: TestNode, host: TestNode) =>
  client.status().peers.find(({ endpoint_id: id }) => id === host.endpointId)?.owner;

/** Why it was put out, in the log. */
const refusalsOf = (client: TestNode, host: TestNode) =>
  client.events.flatMap((event) => {
    return event.event === "peer-refused" && event.peer === host.endpointId ? [event.what] : [];
  });

const revocations: readonly [OwnerList, OwnerStatus, (mesh: Owned) => string][] = [
  ["revokedOwners", "revoked_owner", ({ ownerId }) => ownerId],
  ["revokedCerts", "revoked_cert", ({ client, host }) => ownerOfHost(client, host)?.cert_id ?? ""],
  ["revokedNodes", "revoked_node_id", ({ host }) => host.endpointId],
];

describe.each(trustPolicies.filter((policy) => policy !== "off"))("under %s", (policy) => {
  it.each(revocations)("a host on the list %s gets no prompt any more, from a client that runs", async (...row) => {
    const [list, status, idOf] = row;
    const mesh = await ownedMesh(policy);
    const { client, host, engine, dataDir } = mesh;
    expect((await call(client)).content).toBe("fine");
    expect(ownerOfHost(client, host)).toMatchObject({ status: "verified", owner_id: mesh.ownerId });

    listOwner(dataDir, list, idOf(mesh));
    await eventually("the client has read its list", () => ownerOfHost(client, host) === undefined, 10_000);
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([404, "model_not_found"]);
    expect(asked(engine)).toHaveLength(1);
    expect(refusalsOf(client, host)).toContain(`${ownerStatusTexts[status]} (--trust-policy ${policy})`);
    await engine.close();
  });
});

it("a client that starts again still refuses it", async () => {
  const { mesh, client, host, engine, dataDir, ownerId, flags } = await ownedMesh("prefer-owned");
  listOwner(dataDir, "revokedOwners", ownerId);
  await client.stop(0);
  const again = await mesh.start("client", flags);
  await eventually("the client has met the host", () => refusalsOf(again, host).length > 0);
  expect(refusalsOf(again, host)[0]).toBe("its owner was revoked (--trust-policy prefer-owned)");
  expect(ownerOfHost(again, host)).toBeUndefined();
  expect((await call(again)).code).toBe("model_not_found");
  expect(asked(engine)).toHaveLength(0);
  await engine.close();
});

it("a host that a relay alone has named gets no prompt either: its claim came with its entry", async () => {
  const { mesh, client, host, engine, dataDir, ownerId, flags } = await ownedMesh("prefer-owned");
  await client.stop(0);
  mesh.network.block(client.endpointId, host.endpointId);
  const relay = await mesh.start("relay", { join: [host.invite()] });
  const behind = await mesh.start("client", { ...flags, join: [relay.invite()] });
  await eventually("the client knows the model", () => behind.models().includes("scripted"));
  expect((await call(behind)).content).toBe("fine");
  listOwner(dataDir, "revokedOwners", ownerId);
  await eventually("the client has read its list", () => ownerOfHost(behind, host)?.status === "revoked_owner", 10_000);
  const answer = await call(behind);
  expect([answer.status, answer.code]).toEqual([503, "refused"]);
  expect(answer.message).toContain("owner-distrusted");
  expect(asked(engine)).toHaveLength(1);
  await engine.close();
});

it("under off owners do not matter, and the status says what was revoked all the same", async () => {
  const { client, host, engine, dataDir, ownerId } = await ownedMesh("off");
  listOwner(dataDir, "revokedOwners", ownerId);
  await eventually("the client has read its list", () => ownerOfHost(client, host)?.status === "revoked_owner");
  expect((await call(client)).content).toBe("fine");
  await engine.close();
});

describe("as a member, on its own connection", () => {
  const owner = ownerFrom(8);
  const peer = nodeId(2);
  const nowMs = 1_800_000_000_000;

  function admits(list: OwnerList, id: string, claim: Uint8Array | undefined): string {
    const directory = temporaryDirectory();
    listOwner(directory, list, id);
    const settings = {
      keyFile: undefined,
      passphraseFile: undefined,
      trusted: [],
      policy: "prefer-owned" as const,
      prefersStrangers: false,
    };
    const log = { write: () => undefined };
    const clock = { now: () => nowMs };
    const ownership = new Ownership({ id: nodeId(1), settings, directory, clock, log, label: undefined });
    return ownership.gate(openGate).judge({ id: peer, from: "itself", record: undefined, ownership: claim }).kind;
  }

  it.each<[string, OwnerList, string, Uint8Array | undefined]>([
    ["of a revoked owner", "revokedOwners", owner.id, claimOf(owner, peer, nowMs)],
    [
      "of a revoked owner, with a claim that has expired",
      "revokedOwners",
      owner.id,
      claimOf(owner, peer, nowMs - 3_600_000),
    ],
    ["with a revoked claim", "revokedCerts", "11".repeat(16), claimOf(owner, peer, nowMs)],
    ["that was revoked", "revokedNodes", peer, claimOf(owner, peer, nowMs)],
    ["that was revoked, with a claim of somebody else's", "revokedNodes", peer, claimOf(ownerFrom(9), peer, nowMs)],
    ["that was revoked, and shows nothing", "revokedNodes", peer, undefined],
    ["that was revoked, and shows what is no claim", "revokedNodes", peer, Uint8Array.of(1)],
  ])("a node %s is refused", (_what, list, id, claim) => {
    expect(admits(list, id, claim)).toBe("refused");
  });
});

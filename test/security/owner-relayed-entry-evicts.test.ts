/**
 * A member passes on entries about somebody else's host, with its claim of an owner left out, broken, old or replaced: in the
 * reference that removes the host from every table whose policy asks for owners (protocol.md §3.4, §11 E4). Any owner can
 * sign that any node is theirs, so a replaced one is even signed rightly.
 */
import { describe, expect, it } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { signClaim } from "../../src/node/owner-claim.ts";
import { openOwnerKey, readOwnerKey } from "../../src/node/owner-key.ts";
import { encodeOwnership } from "../../src/wire/ownership.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, temporaryDirectory } from "../support/mesh.ts";
import { claimOf, listOwner, nodeId, ownerFrom, ownerKeyFile } from "../support/owners.ts";
import { asked, attackedMesh, call, prompt } from "../support/raw-peer.ts";

const thousandDaysMs = 86_400_000_000;

/** What the attacker says of the host's owner. */
type Said = (host: EndpointId, old: Uint8Array) => Uint8Array | undefined;

const lies: readonly [string, Said][] = [
  ["left out", () => undefined],
  ["broken", () => Uint8Array.of(1, 2, 3)],
  ["for another node", () => claimOf(ownerFrom(66), nodeId(5), Date.now())],
  ["expired", (host) => claimOf(ownerFrom(66), host, Date.now() - thousandDaysMs)],
  ["signed by somebody else", (host) => claimOf(ownerFrom(66), host, Date.now())],
  ["signed by somebody who was revoked", (host) => claimOf(ownerFrom(67), host, Date.now())],
  ["an older one of its own that was revoked", (_host, old) => old],
];

/** `isOwned`: whether the hosts show a claim themselves. */
const scenes = [
  { trustPolicy: "prefer-owned", isOwned: true },
  { trustPolicy: "prefer-owned", isOwned: false },
  { trustPolicy: "require-owned", isOwned: true },
  { trustPolicy: "allowlist", isOwned: true },
] as const;

describe.each(scenes)("with $trustPolicy, of hosts that show a claim themselves: $isOwned,", (scene) => {
  it.each(lies)("a claim that is %s costs the host nothing", async (_what, said) => {
    const { client, engines, itsOwn, peer, hosts } = await attacked(scene, [said]);
    const [host] = hosts;
    if (scene.isOwned) expect(peer(host?.endpointId)?.owner).toMatchObject(itsOwn);
    expect(peer(host?.endpointId)?.connected).toBe(true);
    expect((await call(client, prompt({ model: "m0" }))).content).toBe("fine");
    expect(engines.flatMap(asked)).toHaveLength(1);
    await Promise.all(engines.map((engine) => engine.close()));
  });

  it("nor does any of them when all members are judged again", async () => {
    const all = lies.map(([, said]) => said);
    const { client, attacker, engines, itsOwn, dataDir, peer, hosts } = await attacked(scene, all);
    // by this the attacker itself is put out
    listOwner(dataDir, "revokedNodes", attacker.id);
    await eventually("all were judged again", () => peer(attacker.id) === undefined, 10_000);
    const putOut = client.events.flatMap((event) => (event.event === "peer-refused" ? [event.peer] : []));
    expect([...new Set(putOut)]).toEqual([attacker.id]);
    for (const [index, host] of hosts.entries()) {
      if (scene.isOwned) expect(peer(host.endpointId)?.owner, lies[index]?.[0]).toMatchObject(itsOwn);
      expect(peer(host.endpointId)?.connected, lies[index]?.[0]).toBe(true);
      expect((await call(client, prompt({ model: `m${index}` }))).content, lies[index]?.[0]).toBe("fine");
    }
    await Promise.all(engines.map((engine) => engine.close()));
  });
});

it("none of it is passed on: others hear what the hosts show themselves", async () => {
  const all = lies.map(([, said]) => said);
  const { client, attacker, listener, engines, hosts } = await attacked(scenes[0], all);
  await listener.meet(client);
  for (const [index, { endpointId: id }] of hosts.entries()) {
    const told = listener.heard.flatMap(({ announcements }) => announcements).filter((entry) => entry.id === id);
    expect(told.at(-1)?.ownership, lies[index]?.[0]).toEqual(attacker.entryOf(id).ownership);
    expect(told.at(-1)?.ownership?.length).toBeGreaterThan(0);
  }
  await Promise.all(engines.map((engine) => engine.close()));
});

/** One host for each lie, with models m0, m1 and so on; all are known to the client when the attacker tells of them. */
async function attacked({ trustPolicy, isOwned }: (typeof scenes)[number], said: readonly Said[]) {
  const mesh = attackedMesh();
  const engines = await Promise.all(said.map((_, at) => startEngineServer({ text: "fine", models: [`m${at}`] })));
  const { path, ownerId } = ownerKeyFile(temporaryDirectory());
  const owner = isOwned ? { ownerKey: path } : {};
  const hosts = await Promise.all(engines.map(({ url }) => mesh.start("serve", { engine: [url], ...owner })));
  const attacker = await mesh.raw();
  // a member under any policy
  const ownership = claimOf(ownerFrom(68), attacker.id, Date.now());
  attacker.announcements = () => [attacker.own({ ownership })];
  for (const host of hosts) await attacker.meet(host);
  const dataDir = temporaryDirectory();
  const before = hosts.map(({ endpointId }) => revokedClaim(path, endpointId));
  for (const { certId } of before) listOwner(dataDir, "revokedCerts", certId);
  listOwner(dataDir, "revokedOwners", ownerFrom(67).id);
  const join = hosts.map((host) => host.invite());
  const trustOwner = [ownerId, ownerFrom(68).id];
  const client = await mesh.start("client", { join, dataDir, trustPolicy, trustOwner });
  const peer = (id?: string) => client.status().peers.find(({ endpoint_id }) => endpoint_id === id);
  await eventually("the client has met the hosts", () => {
    return hosts.every(({ endpointId: id }) => peer(id)?.connected && peer(id)?.models.length === 1);
  });
  const itsOwn = isOwned ? { status: "verified", owner_id: ownerId } : { status: "unsigned" };
  for (const { endpointId: id } of hosts) expect(peer(id)?.owner).toMatchObject(itsOwn);

  const entries = hosts.map(({ endpointId: id }, at) => {
    return { ...attacker.entryOf(id), ownership: said[at]?.(id, before[at]?.bytes ?? new Uint8Array()) };
  });
  const connection = await attacker.dial(client, "mesh-llm/1");
  for (let round = 0; round < 3; round += 1)
    await attacker.gossip(connection, [...entries, attacker.own({ ownership })]);
  expect(peer(attacker.id)?.connected).toBe(true);
  const listener = await mesh.raw();
  return { client, attacker, listener, engines, hosts, itsOwn, dataDir, peer };
}

/** A claim that the host's own owner signed once and took back. */
function revokedClaim(keyFile: string, node: EndpointId): { readonly bytes: Uint8Array; readonly certId: string } {
  const file = readOwnerKey(keyFile);
  if (!file) throw new Error("no key");
  const key = openOwnerKey(file, () => "");
  const signed = signClaim(key, { node, nowMs: Date.now(), lifeMs: thousandDaysMs, label: undefined });
  return { bytes: encodeOwnership(signed), certId: signed.claim.certId };
}

/**
 * A member passes on entries about somebody else's host, with its claim of an owner left out, broken, old or replaced: in the
 * reference that removes the host from every table whose policy asks for owners (protocol.md §3.4, §11 E4). Any owner can
 * sign that any node is theirs, so a replaced one is even signed rightly.
 */
import { expect, it } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { signClaim } from "../../src/node/owner-claim.ts";
import { openOwnerKey, readOwnerKey } from "../../src/node/owner-key.ts";
import { encodeOwnership } from "../../src/wire/ownership.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, temporaryDirectory } from "../support/mesh.ts";
import { claimOf, listOwner, nodeId, ownerFrom, ownerKeyFile } from "../support/owners.ts";
import { asked, attackedMesh, call } from "../support/raw-peer.ts";

const thousandDaysMs = 86_400_000_000;

/** What the attacker says of the host's owner. */
type Said = (host: EndpointId, old: Uint8Array) => Uint8Array | undefined;

it.each<[string, Said]>([
  ["left out", () => undefined],
  ["broken", () => Uint8Array.of(1, 2, 3)],
  ["for another node", () => claimOf(ownerFrom(66), nodeId(5), Date.now())],
  ["expired", (host) => claimOf(ownerFrom(66), host, Date.now() - thousandDaysMs)],
  ["signed by somebody else", (host) => claimOf(ownerFrom(66), host, Date.now())],
  ["signed by somebody who was revoked", (host) => claimOf(ownerFrom(67), host, Date.now())],
  ["an older one of its own that was revoked", (_host, old) => old],
])("a claim that is %s costs the host nothing", async (_what, said) => {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const { path, ownerId } = ownerKeyFile(temporaryDirectory());
  const host = await mesh.start("serve", { engine: [engine.url], ownerKey: path });
  const attacker = await mesh.raw();
  await attacker.meet(host);
  const dataDir = temporaryDirectory();
  const { bytes: old, certId } = revokedClaim(path, host.endpointId);
  listOwner(dataDir, "revokedCerts", certId);
  listOwner(dataDir, "revokedOwners", ownerFrom(67).id);
  const join = [host.invite(), attacker.invite];
  const client = await mesh.start("client", { join, dataDir, trustPolicy: "prefer-owned", trustOwner: [ownerId] });
  const peer = () => client.status().peers.find(({ endpoint_id: id }) => id === host.endpointId);
  await eventually("the client has met the host", () => peer()?.connected === true && client.models().length > 0);
  expect(peer()?.owner).toMatchObject({ status: "verified", owner_id: ownerId });

  const about = { ...attacker.entryOf(host.endpointId), ownership: said(host.endpointId, old) };
  const connection = await attacker.dial(client, "mesh-llm/1");
  for (let round = 0; round < 3; round += 1) await attacker.gossip(connection, [about, attacker.own()]);

  expect(peer()?.owner).toMatchObject({ status: "verified", owner_id: ownerId });
  expect(peer()?.connected).toBe(true);
  expect((await call(client)).content).toBe("fine");
  expect(asked(engine)).toHaveLength(1);
  await engine.close();
});

/** A claim that the host's own owner signed once and took back. */
function revokedClaim(keyFile: string, node: EndpointId): { readonly bytes: Uint8Array; readonly certId: string } {
  const file = readOwnerKey(keyFile);
  if (!file) throw new Error("no key");
  const key = openOwnerKey(file, () => "");
  const signed = signClaim(key, { node, nowMs: Date.now(), lifeMs: thousandDaysMs, label: undefined });
  return { bytes: encodeOwnership(signed), certId: signed.claim.certId };
}

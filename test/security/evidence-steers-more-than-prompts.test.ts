/**
 * Evidence says where a prompt may go, and nothing else. A host that proves something is no better member for it: it is
 * not asked first, not believed about others, and the size that it claims to have draws nothing to it.
 */
import { describe, expect, it } from "vitest";
import { noProof } from "../../src/attest/proof.ts";
import { type EndpointId, endpointId } from "../../src/base/brand.ts";
import { toBase64 } from "../../src/base/bytes.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { HostLoad, orderHosts } from "../../src/mesh/choose.ts";
import type { Peer } from "../../src/mesh/membership.ts";
import type { Mesh } from "../../src/mesh/mesh.ts";
import { decide, type HostFacts } from "../../src/policy/decide.ts";
import { openPolicy } from "../../src/policy/policy.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import {
  attestByHand,
  blobOf,
  demandingClient,
  demandsKey,
  enclaveHost,
  freshKey,
  shownOf,
} from "../support/attested-mesh.ts";
import { provenHost } from "../support/attestation.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { attackedMesh, call } from "../support/raw-peer.ts";

const low = endpointId("11".repeat(32));
const high = endpointId("ee".repeat(32));
const key = new Uint8Array(32).fill(9);
const nowMs = 1_000_000;

/** Two hosts that differ in what they show. */
function meshWith(blobs: ReadonlyMap<EndpointId, Uint8Array>): Mesh {
  const peers = [low, high].map((id): Peer => {
    const entry = { id, role: "host", models: ["m"], runtimes: [], record: undefined, met: true, blob: blobs.get(id) };
    return entry as unknown as Peer; // what choosing looks at, and the blob
  });
  const standing = { kind: "record", key, notAfterMs: nowMs };
  return { peers, keyStanding: () => standing, rttMs: () => 1 } as unknown as Mesh;
}

describe("A11: evidence", () => {
  it("A11: changes nothing in the order in which hosts are asked", async () => {
    const wanted = { model: "m", needTokens: undefined, preferred: undefined, load: new HostLoad(), nowMs };
    const order = (blobs: ReadonlyMap<EndpointId, Uint8Array>): readonly EndpointId[] =>
      orderHosts(meshWith(blobs), wanted).map(({ id }) => id);
    const boast = { memoryBytes: 2n ** 60n, chipName: "Apple M9 Ultra" };
    for (const id of [low, high]) {
      const { evidence } = await blobOf(freshKey(), { endpointId: id, inferenceKey: key, issuedAtMs: nowMs }, boast);
      expect(order(new Map([[id, evidence]]))).toEqual(order(new Map()));
    }
  });

  it("A11: decides about each host by itself, and puts none of those it lets through before another", () => {
    const facts = (id: EndpointId, proof: HostFacts["proof"]): HostFacts => {
      return {
        id,
        key: { kind: "record", key, notAfterMs: nowMs },
        proof,
        owner: undefined,
        posture: { kind: "none" },
      };
    };
    const proven = provenHost();
    for (const [first, second] of [
      [noProof, proven],
      [proven, noProof],
    ] as const) {
      const decisions = decide([facts(low, first), facts(high, second)], openPolicy, nowMs);
      const hosts = decisions.map((decision) => (decision.kind === "allow" ? decision.route.host : undefined));
      expect(hosts).toEqual([low, high]);
    }
  });

  it("A11: of a host makes nothing true that it tells of another: not its key, not its models, not its end", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host } = await enclaveHost(mesh, engine.url);
    const proven = await mesh.raw({ role: "host", models: ["other"] });
    attestByHand(proven, freshKey());
    const client = await demandingClient(mesh, [host, proven]);
    expect((await call(client)).status).toBe(200);
    await fetch(`${client.apiUrl}/v1/mesh/attestation/other`);
    expect(shownOf(client, proven)).toMatchObject({ tier: "key", allowed: true });
    const of = (id: EndpointId): unknown => {
      const peer = client.status().peers.find(({ endpoint_id }) => endpoint_id === id);
      return [peer?.inference_key, peer?.models, peer?.role, peer?.attestation.fingerprint];
    };
    const before = of(host.endpointId);
    expect(before).not.toContain(undefined);
    await proven.meet(host);
    const entry = proven.entryOf(host.endpointId);
    const toClient = await proven.meet(client);
    const stolen = generateKeyPair().publicKey;
    const request = { endpointId: host.endpointId, inferenceKey: stolen, issuedAtMs: Date.now() };
    const { evidence } = await blobOf(freshKey(), request);
    const lie = { ...entry, models: ["other"], inferenceKey: toBase64(stolen), record: undefined, evidence };
    await proven.gossip(toClient, [lie, proven.own({ hostname: "told" })]);
    const down = await toClient.open();
    await down.write(
      Uint8Array.of(meshStreams.peerDown, ...encodeFrame(Buffer.from(`0a20${host.endpointId}1001`, "hex"))),
    );
    await down.finish().catch(() => undefined);
    await eventually("the lie has been heard", () => client.status().peers.some(({ hostname }) => hostname === "told"));
    expect(of(host.endpointId)).toEqual(before);
    expect((await call(client)).content).toBe("fine");
    await engine.close();
  });

  it("A11: admits nobody to anything but prompts: a host that is refused stays a member, and is heard and listed", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await demandingClient(mesh, [host], demandsKey);
    expect((await call(client)).status).toBe(503);
    expect(client.status().peers).toMatchObject([{ endpoint_id: host.endpointId, connected: true }]);
    expect(client.models()).toEqual(["scripted"]);
    await engine.close();
  });
});

/**
 * A host comes back with another attested key: another machine under its name, or the same one set up anew. Nobody but
 * the operator can tell which, so it is refused until the operator has said so, and nobody else can.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { endpointId } from "../../src/base/brand.ts";
import { toBase64 } from "../../src/base/bytes.ts";
import { openChallenge } from "../../src/attest/challenge.ts";
import { attestCodes } from "../../src/wire/attestation.ts";
import { referenceChallengeBytes } from "../../src/wire/challenge.ts";
import { trust } from "../../src/cli/commands/trust.ts";
import { fingerprintOf } from "../../src/attest/proof.ts";
import { decodePinBook, type PinBook } from "../../src/policy/pins.ts";
import {
  attestByHand,
  blobOf,
  callUntil,
  demandingClient,
  quoteBy,
  demandsKey,
  documentOf,
  Enclave,
  enclaveHost,
  type EnclaveHost,
  freshKey,
  shownOf,
  shows,
} from "../support/attested-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { signDer, type TestKey } from "../support/evidence.ts";
import { softwareKey } from "../support/tpm-forger.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { type AttackedMesh, asked, attackedMesh, call, type Called } from "../support/raw-peer.ts";

const pinFile = (client: TestNode): string => join(client.dataDir, "pins.json");
const pinsOf = (client: TestNode): PinBook["pins"] => decodePinBook(readFileSync(pinFile(client), "utf8")).pins;

interface Scene {
  readonly mesh: AttackedMesh;
  readonly engine: ScriptedEngine;
  readonly first: EnclaveHost;
  readonly client: TestNode;
}

/** Until the new evidence has come: a host is not asked twice within a second. */
const refusedFor = (client: TestNode, part: string): Promise<Called> =>
  callUntil(
    client,
    `refused with ${part}`,
    ({ status, message }) => status === 503 && message?.includes(part) === true,
  );

/** A client that has got an answer from a host with an enclave, and so has pinned it. */
async function pinnedHost(): Promise<Scene> {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const first = await enclaveHost(mesh, engine.url);
  const client = await demandingClient(mesh, [first.host]);
  expect((await call(client)).headers.get("x-sealmesh-attested")).toBe("key");
  return { mesh, engine, first, client };
}

/** The host again, with another machine's key. */
async function comesBack({ mesh, engine, first, client }: Scene, enclave = new Enclave()): Promise<EnclaveHost> {
  await first.host.stop(0);
  const { dataDir, endpointId: id } = first.host;
  const second = await enclaveHost(mesh, engine.url, { dataDir, join: [client.invite()] }, enclave);
  expect(second.host.endpointId).toBe(id);
  return second;
}

async function restarted({ mesh, client }: Scene, host: TestNode, flags = demandsKey): Promise<TestNode> {
  await client.stop(0);
  return await demandingClient(mesh, [host], { dataDir: client.dataDir, ...flags });
}

describe("K3: the attested key of a host", () => {
  it("K3: is pinned by the first contact, which is not `pinned` before the next start", async () => {
    const scene = await pinnedHost();
    const { first, client, engine } = scene;
    const { fingerprint } = first.enclave;
    expect(pinsOf(client)).toMatchObject([
      { endpointId: first.host.endpointId, kind: "secure-enclave", key: fingerprint, confirmed: false },
    ]);
    expect(shownOf(client, first.host)).toMatchObject({ tier: "key", pin: "first-contact" });
    const next = await restarted(scene, first.host, { requireAttestedHosts: "pinned" });
    const answer = await call(next);
    expect([answer.status, answer.headers.get("x-sealmesh-attested")]).toEqual([200, "pinned"]);
    expect(answer.headers.get("x-sealmesh-attested-key")).toBe(fingerprint);
    await engine.close();
  });

  it("K3: at the first contact does not satisfy the demand `pinned`", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host], { requireAttestedHosts: "pinned" });
    const refused = await call(client);
    expect([refused.status, refused.code]).toEqual([503, "refused"]);
    expect(refused.message).toContain("--require-attested-hosts=pinned: tier-not-reached");
    expect(asked(engine)).toEqual([]);
    await engine.close();
  });

  it("K3: is pinned by an answered challenge only, not by a blob that was heard", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host], {});
    await eventually("the blob has come", () => shownOf(client, host).fingerprint === enclave.fingerprint);
    expect((await call(client)).headers.get("x-sealmesh-attested")).toBe("none");
    expect(existsSync(pinFile(client))).toBe(false);
    await engine.close();
  });

  it("K3: when it changed, is refused, also after a restart: both fingerprints, and the command that accepts it", async () => {
    const scene = await pinnedHost();
    const { first, client, engine } = scene;
    const { host, enclave } = await comesBack(scene);
    const before = asked(engine).length;
    const told = [
      "pin-changed",
      first.enclave.fingerprint,
      enclave.fingerprint,
      `sealmesh trust pin ${host.endpointId} --kind secure-enclave --key ${enclave.fingerprint}`,
    ];
    const refused = await refusedFor(client, "pin-changed");
    expect(refused.code).toBe("refused");
    for (const part of told) expect(refused.message).toContain(part);
    const again = await restarted(scene, host);
    const still = await call(again);
    expect(still.status).toBe(503);
    for (const part of told) expect(still.message).toContain(part);
    expect(shownOf(again, host)).toMatchObject({ tier: "none", pin: "disagrees", allowed: false });
    expect(asked(engine)).toHaveLength(before);
    await engine.close();
  });

  it("K3: when it changed, is refused where nothing is demanded, too, once it has answered for itself", async () => {
    const scene = await pinnedHost();
    const { host, enclave } = await comesBack(scene);
    const client = await restarted(scene, host, {});
    // nobody asks for evidence here by itself
    await documentOf(client);
    expect(shownOf(client, host)).toMatchObject({ fingerprint: enclave.fingerprint, pin: "disagrees", allowed: false });
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("pin-changed")]);
    await scene.engine.close();
  });

  it("K3: when it changed, counts again as soon as the operator runs that command beside the running node", async () => {
    const scene = await pinnedHost();
    const { client, engine } = scene;
    const { host, enclave } = await comesBack(scene);
    const refused = await refusedFor(client, "pin-changed");
    const command = /`sealmesh trust pin (\S+) --kind (\S+) --key ([0-9a-f]{32}) --data-dir '([^']+)'`/.exec(
      refused.message ?? "",
    );
    const [, id = "", kind, key, dataDir] = command ?? [];
    expect(dataDir).toBe(client.dataDir);
    const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const pin = trust.commands.find(({ name }) => name === "pin");
    expect(await pin?.run({ id: endpointId(id), kind, key, dataDir, json: true })).toBe(0);
    written.mockRestore();
    const answer = await callUntil(client, "the pin is taken up", ({ status }) => status === 200);
    expect(answer.headers.get("x-sealmesh-attested-key")).toBe(enclave.fingerprint);
    expect(shownOf(client, host)).toMatchObject({ tier: "pinned", pin: "agrees" });
    await engine.close();
  });
});

describe("K3: a pin", () => {
  it("K3: is reset by no gossip: not by its own host's, and not by what others say of it", async () => {
    const scene = await pinnedHost();
    const { mesh, engine, client, first } = scene;
    const before = readFileSync(pinFile(client));
    const { host } = await comesBack(scene);
    await refusedFor(client, "pin-changed");
    const gossip = await mesh.raw();
    await gossip.meet(host);
    const toClient = await gossip.meet(client);
    const entry = gossip.entryOf(host.endpointId);
    for (const change of [
      {},
      { evidence: undefined },
      { record: undefined },
      { inferenceKey: undefined, record: undefined },
    ]) {
      await gossip.gossip(toClient, [{ ...entry, ...change }, gossip.own()]);
    }
    // it leaves the mesh, and is back with a third key
    const again = await comesBack({ ...scene, first: { host, enclave: first.enclave } });
    const refused = await refusedFor(client, again.enclave.fingerprint);
    expect(refused.message).toContain(first.enclave.fingerprint);
    expect(readFileSync(pinFile(client))).toEqual(before);
    await engine.close();
  });

  it("K3: is not satisfied by a copy of pinned evidence beside a key of the node's own", async () => {
    const mesh = attackedMesh();
    const thief = await mesh.raw({ role: "host", models: ["scripted"] });
    const [pinned, own] = [freshKey(), freshKey()];
    attestByHand(thief, pinned);
    const client = await demandingClient(mesh, [thief]);
    const toHandler = thief.opened.length;
    await call(client);
    expect(thief.opened.length).toBeGreaterThan(toHandler);
    expect(pinsOf(client)).toMatchObject([{ key: fingerprintOf(pinned.point) }]);
    await client.stop(0);
    // the pinned key is lost to it; its blob is still there, and in time
    const request = { endpointId: thief.id, inferenceKey: thief.key.publicKey, issuedAtMs: Date.now() };
    const items = [await blobOf(pinned, request), await blobOf(own, request)];
    attestByHand(thief, own, { evidence: () => shows(...items) });
    const prompts = thief.opened.filter((stream) => stream === "mesh-llm/1 4").length;
    const later = await demandingClient(mesh, [thief], { dataDir: client.dataDir, ...demandsKey });
    expect((await call(later)).message).toContain("pin-changed");
    expect(thief.opened.filter((stream) => stream === "mesh-llm/1 4")).toHaveLength(prompts);
  });

  it("K3: that changed for one kind is told, although evidence of another kind is as it was", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const tpm = softwareKey();
    const tpmPoint = Uint8Array.from([4, ...tpm.x, ...tpm.y]);
    const showing = (enclave: TestKey): void => {
      attestByHand(host, enclave, {
        evidence: async ({ nonce }) => {
          const request = { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() };
          return shows(quoteBy(tpm, request, nonce), await blobOf(enclave, request));
        },
        challenge: ({ sealed }) => {
          const opening = { ...host.key, createdMs: 0, notAfterMs: Number.MAX_SAFE_INTEGER };
          const opened = openChallenge(sealed, [opening], host.id);
          const proofs = [
            { kind: "tpm2", privateKey: tpm.privateKey, point: tpmPoint },
            { kind: "secure-enclave", privateKey: enclave.privateKey, point: enclave.point },
          ].map(({ kind, privateKey, point }) => {
            const key = { privateKey, point, compressed: point };
            return {
              kind,
              attestedKey: point,
              signature: signDer(key, referenceChallengeBytes(toBase64(point), opened.nonce)),
            };
          });
          return { code: attestCodes.ok, sealed: opened.seal(proofs) };
        },
      });
    };
    showing(freshKey());
    const client = await demandingClient(mesh, [host]);
    await call(client);
    expect(shownOf(client, host)).toMatchObject({ allowed: true, pin: "first-contact" });
    expect(pinsOf(client).map(({ kind }) => kind)).toEqual(["secure-enclave", "tpm2"]);
    await client.stop(0);
    showing(freshKey());
    const later = await demandingClient(mesh, [host], { dataDir: client.dataDir, ...demandsKey });
    const refused = await call(later);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("pin-changed")]);
  });
});

/**
 * Copies, on the way that prompts take: a node that demands evidence, and hosts by hand that show what was once good, for
 * another node, another inference key, another question or an earlier life of the same node.
 */
import { describe, expect, it } from "vitest";
import { generateKeyPair } from "../../src/crypto/box.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { signSoftwareEvidence } from "../../src/attest/kinds/software.ts";
import {
  attestByHand,
  blobOf,
  callUntil,
  configFile,
  demandingClient,
  demandsKey,
  enclaveHost,
  Enclave,
  evidenceBy,
  freshKey,
  gotPrompt,
  hostIn,
  quoteBy,
  shownOf,
  shows,
} from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { signP1363, type TestKey } from "../support/evidence.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  attackedMesh,
  type AttackedMesh,
  call,
  chatResponse,
  openAsk,
  type RawPeer,
  secret,
} from "../support/raw-peer.ts";
import { softwareKey } from "../support/tpm-forger.ts";

/** A host by hand that answers prompts, whatever it shows. */
async function answeringHost(mesh: AttackedMesh): Promise<RawPeer> {
  const peer = await mesh.raw({ role: "host", models: ["scripted"] });
  peer.handlers.http = async (stream, reader) =>
    answerSealed(stream, await openAsk(reader, peer.key), chatResponse("hi"));
  return peer;
}

const binding = (client: TestNode, peer: RawPeer): string | undefined =>
  shownOf(client, peer).evidence[0]?.factors.binding;

async function refusedWith(client: TestNode, peer: RawPeer, reason: string): Promise<void> {
  const refused = await call(client);
  expect([refused.status, refused.code]).toEqual([503, "refused"]);
  expect(refused.message).toContain(reason);
  expect(binding(client, peer)).toBe("fail");
  expect([gotPrompt(peer), peer.couldRead(secret)]).toEqual([false, false]);
}

describe("A2: evidence of something else", () => {
  it("A2: a blob of another node is refused, whether it is told to everybody or shown on being asked", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host } = await enclaveHost(mesh, engine.url);
    const thief = await answeringHost(mesh);
    await thief.meet(host);
    const toHost = await thief.dial(host, "sealmesh/1");
    thief.announcements = () => [thief.own({ evidence: thief.entryOf(host.endpointId).evidence })];
    attestByHand(thief, freshKey(), { evidence: ({ nonce }) => evidenceBy(toHost, { nonce }) });
    const client = await demandingClient(mesh, [thief]);
    await eventually("field 38 has been judged", () => binding(client, thief) === "fail");
    await refusedWith(client, thief, "other-node");
    await engine.close();
  });

  it("A2: a blob with another inference key is refused", async () => {
    const mesh = attackedMesh();
    const [thief, key] = [await answeringHost(mesh), freshKey()];
    const request = { endpointId: thief.id, inferenceKey: generateKeyPair().publicKey, issuedAtMs: Date.now() };
    attestByHand(thief, key, { evidence: async () => shows(await blobOf(key, request)) });
    await refusedWith(await demandingClient(mesh, [thief]), thief, "other-inference-key");
  });

  it("A2: a blob that was good is refused when it is replayed after its inference key was rotated", async () => {
    const mesh = attackedMesh();
    const [host, key] = [await answeringHost(mesh), freshKey()];
    const good = await blobOf(key, { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() });
    attestByHand(host, key, { evidence: () => shows(good) });
    const client = await demandingClient(mesh, [host]);
    expect((await call(client)).content).toBe("hi");
    host.key = generateKeyPair();
    await host.meet(client);
    const refused = await callUntil(client, "the rotation is known", ({ status }) => status === 503);
    expect(refused.message).toContain("other-inference-key");
    expect(shownOf(client, host)).toMatchObject({ tier: "none", allowed: false });
  });

  it("A2: a verdict counts for no other inference key, not even for a moment", async () => {
    const mesh = attackedMesh();
    const [host, key] = [await answeringHost(mesh), freshKey()];
    const good = await blobOf(key, { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() });
    attestByHand(host, key, { evidence: () => shows(good) });
    const client = await demandingClient(mesh, [host]);
    const toClient = await host.meet(client);
    expect((await call(client)).content).toBe("hi");
    const prompts = host.opened.filter((stream) => stream === "mesh-llm/1 4").length;
    host.key = generateKeyPair();
    await host.gossip(toClient);
    const next = await call(client);
    expect([next.status, next.headers.get("x-sealmesh-attested")]).toEqual([503, null]);
    expect(host.opened.filter((stream) => stream === "mesh-llm/1 4")).toHaveLength(prompts);
  });
});

describe("A2: evidence older than the process", () => {
  it("A2: of an earlier run of the same node and machine is refused: its inference key went with that run", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const spy = await mesh.raw();
    await spy.meet(host);
    const kept = await evidenceBy(await spy.dial(host, "sealmesh/1"));
    await host.stop(0);
    // the next run shows what the first one made, with the machine's own key to answer challenges
    const replaying = { wanted: () => true, kind: "secure-enclave", create: () => collectorOf(enclave, kept.items) };
    const next = await mesh.start(
      "serve",
      { engine: [engine.url], dataDir: host.dataDir },
      { collectors: [replaying] },
    );
    const client = await demandingClient(mesh, [next]);
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("other-inference-key")]);
    expect(enclave.asked).toBeGreaterThan(0);
    expect(engine.requests.filter(({ inference }) => inference)).toEqual([]);
    await engine.close();
  });

  it("A2: is not kept by a node: after a restart it shows what it can make, or nothing", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const spy = await mesh.raw();
    await spy.meet(host);
    expect((await evidenceBy(await spy.dial(host, "sealmesh/1"))).items).toHaveLength(1);
    await host.stop(0);
    enclave.beforeMaking = () => {
      throw new Error("no chip any more");
    };
    const next = await mesh.start("serve", { engine: [engine.url], dataDir: host.dataDir }, { collectors: [enclave] });
    await spy.meet(next);
    expect((await evidenceBy(await spy.dial(next, "sealmesh/1"))).items).toEqual([]);
    expect(spy.entryOf(next.endpointId).evidence).toBeUndefined();
    await engine.close();
  });
});

describe("A2: evidence for another question", () => {
  it("A2: a quote that was made for another nonce is refused", async () => {
    const mesh = attackedMesh();
    const host = await answeringHost(mesh);
    const key = softwareKey();
    const nonces: Uint8Array[] = [];
    let replay = false;
    attestByHand(host, held(key), {
      evidence: ({ nonce = new Uint8Array(32) }) => {
        nonces.push(nonce);
        return shows(quoteBy(key, requestOf(host), replay ? new Uint8Array(32).fill(1) : nonce));
      },
    });
    const client = await demandingClient(mesh, [host]);
    // with the nonce it was asked with, a program's quote is worth `key`
    expect((await call(client)).headers.get("x-sealmesh-attested")).toBe("key");
    await client.stop(0);
    replay = true;
    const other = await demandingClient(mesh, [host]);
    const refused = await call(other);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("binding-differs")]);
    expect(new Set(nonces.map((nonce) => Buffer.from(nonce).toString("hex"))).size).toBe(2);
  });

  it("A2: a quote from before what the same key has shown is a copy, whatever nonce it holds", async () => {
    const mesh = attackedMesh();
    const host = await answeringHost(mesh);
    const key = softwareKey();
    let resets = 6;
    attestByHand(host, held(key), {
      evidence: ({ nonce = new Uint8Array(32) }) => shows(quoteBy(key, requestOf(host), nonce, resets)),
    });
    const client = await demandingClient(mesh, [host], {
      ...demandsKey,
      config: configFile("[policy]\nevidence_max_age = 2\n[challenge]\ninterval = 1\n"),
    });
    expect((await call(client)).status).toBe(200);
    resets = 5;
    // the piece of before counts to the end of its time, the copy never
    await callUntil(client, "the piece of before has ended", ({ status }) => status === 503);
    const refused = await callUntil(client, "it is asked again", ({ status, message }) => {
      expect(status).toBe(503);
      return message?.includes("counter-went-back") ?? false;
    });
    expect(refused.code).toBe("refused");
  });

  it("A2: evidence of the development kind opens no door, with nonce, challenge and all", async () => {
    const mesh = attackedMesh();
    const [host, key] = [await answeringHost(mesh), freshKey()];
    const parts = { endpointId: host.id, inferenceKey: host.key.publicKey, attestedKey: key.point };
    attestByHand(host, key, {
      evidence: ({ nonce }) => {
        const issuedAtMs = Date.now();
        const evidence = signSoftwareEvidence({
          ...parts,
          nonce,
          issuedAtMs,
          sign: (message) => signP1363(key, message),
        });
        return shows({ kind: "software", version: 1, evidence, collateral: [], issuedAtMs });
      },
    });
    const client = await demandingClient(mesh, [host]);
    const refused = await call(client);
    expect([refused.status, gotPrompt(host)]).toEqual([503, false]);
    const [piece] = (await hostIn(client, host)).evidence;
    expect([piece?.challenge, piece?.factors.find(({ factor }) => factor === "fresh")?.outcome]).toEqual([
      "answered",
      "pass",
    ]);
    expect(shownOf(client, host).tier).toBe("none");
  });
});

/** Shows `items` whatever is asked for, and signs as the machine does. */
function collectorOf(enclave: Enclave, items: readonly EvidenceItem[]): ReturnType<Enclave["create"]> {
  const [item] = items;
  if (!item) throw new Error("nothing was kept");
  return { ...enclave.create(), collect: () => Promise.resolve(item) };
}

/** To answer challenges with it too. */
function held({ privateKey, x, y }: ReturnType<typeof softwareKey>): TestKey {
  const point = Uint8Array.from([4, ...x, ...y]);
  return { privateKey, point, compressed: point };
}

function requestOf({ id, key }: RawPeer): Parameters<typeof quoteBy>[1] {
  return { endpointId: id, inferenceKey: key.publicKey, issuedAtMs: Date.now() };
}

/**
 * A host runs a build that nobody knows, or that was taken back; somebody forges, replays or withholds the lists that say
 * so. What these lists cannot do is tested too: the build is the host's own word, and proves nothing.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Flags } from "../../src/node/config.ts";
import { buildListText } from "../../src/node/build-lists.ts";
import type { PeerStatus, Status } from "../../src/node/status.ts";
import type { BuildList } from "../../src/wire/builds.ts";
import { encodePosture } from "../../src/wire/posture.ts";
import {
  dayMs,
  digestA,
  digestB,
  listed,
  listKey,
  listOf,
  postureTelling,
  signedList,
} from "../support/build-lists.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode, temporaryDirectory, type TestParts } from "../support/mesh.ts";
import { asked, type AttackedMesh, attackedMesh, call, type Called, type RawPeer } from "../support/raw-peer.ts";

const key = listKey();
const stranger = listKey();
const engines: ScriptedEngine[] = [];

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
});

const numbered = (seq: number, change: Partial<BuildList> = {}): BuildList =>
  listOf([listed(digestA)], { seq: BigInt(seq), ...change });
const revoking = (seq: number): BuildList => listOf([listed(digestA, { revoked: true })], { seq: BigInt(seq) });
const running = (build: string): TestParts => ({ measurement: Promise.resolve({ build, runtime: digestB }) });

function listFile(bytes: Uint8Array): string {
  const file = join(temporaryDirectory(), "builds.txt");
  writeFileSync(file, buildListText(bytes));
  return file;
}

interface World {
  readonly mesh: AttackedMesh;
  readonly engine: ScriptedEngine;
  readonly host: TestNode;
  readonly client: TestNode;
}

/** A host that runs `build`, and a client that goes by `list`. */
async function world(build: string | undefined, list: Uint8Array, flags: Flags = {}): Promise<World> {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  engines.push(engine);
  const host = await mesh.start("serve", { engine: [engine.url] }, build === undefined ? {} : running(build));
  const client = await mesh.start("client", {
    join: [host.invite()],
    allowBuilds: [listFile(list)],
    buildKeys: [key.id],
    ...flags,
  });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { mesh, engine, host, client };
}

/** Says a list in its gossip to `target`, as any peer can. */
async function tell(mesh: AttackedMesh, target: TestNode, ...lists: readonly Uint8Array[]): Promise<RawPeer> {
  const teller = await mesh.raw();
  teller.announcements = () => [teller.own({ buildLists: lists })];
  await teller.meet(target);
  return teller;
}

const builds = (node: TestNode): NonNullable<Status["builds"]> => {
  const { builds: told } = node.status();
  if (!told) throw new Error("nobody's lists count here");
  return told;
};
const peer = (client: TestNode, host: TestNode): PeerStatus => {
  const found = client.status().peers.find(({ endpoint_id: id }) => id === host.endpointId);
  if (!found) throw new Error("not a peer");
  return found;
};

function refusedFor(answer: Called, rule: string): void {
  expect([answer.status, answer.code]).toEqual([503, "refused"]);
  expect(answer.message).toContain(`--allow-builds: ${rule}: `);
}

describe("A5: a host says which build it runs", () => {
  it("A5: one on the list is asked, and nothing more is thought of it", async () => {
    const { client, host } = await world(digestA, signedList(key, numbered(1)));
    expect(await call(client)).toMatchObject({ status: 200, content: "fine" });
    const { build, attestation } = peer(client, host);
    expect(build).toMatchObject({ digest: digestA, by: "self", verdict: "accepted", version: "1.2.3" });
    expect(build?.text).toMatch(/^The host says, signed, /);
    expect(attestation.tier).toBe("none");
  });

  it("A5: a listed build satisfies no demand for proof", async () => {
    const { client } = await world(digestA, signedList(key, numbered(1)), { requireAttestedHosts: "measured" });
    const answer = await call(client);
    expect(answer.message).toContain("--require-attested-hosts=measured: ");
  });

  it("A5: one that is not on it is refused, with its digest, and sees no prompt", async () => {
    const { client, engine, host } = await world(digestB, signedList(key, numbered(1)));
    const answer = await call(client);
    refusedFor(answer, "build-unknown");
    expect(answer.message).toContain(digestB);
    expect(asked(engine)).toHaveLength(0);
    expect(peer(client, host).build).toMatchObject({ digest: digestB, verdict: "unknown-build" });
  });

  it("A5: one that says nothing is refused", async () => {
    const { client, engine } = await world(undefined, signedList(key, numbered(1)));
    refusedFor(await call(client), "build-not-told");
    expect(asked(engine)).toHaveLength(0);
  });

  it("A5: what gossip says of it, in its own entry or another's, counts for nothing", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const good = encodePosture(postureTelling(digestA));
    host.announcements = () => [host.own({ posture: [good] })];
    const flags = { allowBuilds: [listFile(signedList(key, numbered(1)))], buildKeys: [key.id] };
    const client = await mesh.start("client", { join: [host.invite], ...flags });
    const attacker = await mesh.raw();
    attacker.announcements = () => [{ ...host.own(), posture: [good] }, attacker.own()];
    await attacker.meet(client);
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    refusedFor(await call(client), "build-not-told");
    expect(host.opened).not.toContain("mesh-llm/1 4");
  });

  it("A5: what its record says counts, as the host's own word and no more", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const posture = (build: string): Uint8Array => encodePosture(postureTelling(build));
    host.announcements = () => [host.own({ record: host.record({ posture: posture(digestB) }).bytes })];
    const flags = { allowBuilds: [listFile(signedList(key, numbered(1)))], buildKeys: [key.id] };
    const client = await mesh.start("client", { join: [host.invite], ...flags });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    refusedFor(await call(client), "build-unknown");
    // nobody can prove it a liar
    host.announcements = () => [host.own({ record: host.record({ posture: posture(digestA) }).bytes })];
    await host.meet(client);
    await eventually("its new word is known", () => client.status().peers[0]?.build?.verdict === "accepted");
  });
});

describe("A5: lists are forged, replayed or withheld", () => {
  it("A5: a list that revokes reaches a running client by gossip, and the next exchange is refused", async () => {
    const { mesh, client, engine, host } = await world(digestA, signedList(key, numbered(1)));
    expect((await call(client)).status).toBe(200);
    await tell(mesh, client, signedList(key, revoking(2)));
    const answer = await call(client);
    refusedFor(answer, "build-revoked");
    expect(answer.message).toContain(digestA);
    expect(asked(engine)).toHaveLength(1);
    expect(peer(client, host).build?.verdict).toBe("revoked");
    expect(builds(client).lists).toMatchObject([{ seq: "2", origin: "gossip", revoked: 1 }]);
  });

  it("A5: a member that trusts the key passes it on byte for byte; one that does not keeps nothing", async () => {
    const mesh = attackedMesh();
    const knows = await mesh.start("serve", { buildKeys: [key.id] });
    const doesNot = await mesh.start("serve");
    const revoked = signedList(key, revoking(2));
    for (const member of [knows, doesNot]) await tell(mesh, member, revoked);
    const listener = await mesh.raw();
    await listener.meet(knows);
    await listener.meet(doesNot);
    const heardFrom = ({ endpointId: id }: TestNode): readonly Uint8Array[] =>
      listener.heard.flatMap(({ sender, announcements }) =>
        sender === id ? announcements.flatMap(({ buildLists = [] }) => buildLists) : [],
      );
    expect(heardFrom(knows)).toEqual([revoked]);
    expect(heardFrom(doesNot)).toEqual([]);
    // once is enough on one connection
    await tell(mesh, knows);
    await eventually(
      "it has gossiped again",
      () => listener.heard.filter(({ sender }) => sender === knows.endpointId).length > 1,
    );
    expect(heardFrom(knows)).toEqual([revoked]);
    expect([builds(knows).demanded, doesNot.status().builds]).toEqual([false, null]);
  });

  it("A5: it travels through members to clients that no teller has met", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    engines.push(engine);
    const host = await mesh.start("serve", { engine: [engine.url], buildKeys: [key.id] }, running(digestA));
    const flags = { allowBuilds: [listFile(signedList(key, numbered(1)))], buildKeys: [key.id] };
    const client = await mesh.start("client", { join: [host.invite()], ...flags });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    await tell(mesh, host, signedList(key, revoking(2)));
    await eventually("it has arrived", () => builds(client).lists[0]?.seq === "2");
    refusedFor(await call(client), "build-revoked");
  });

  it("A5: unknown signer, wrong signature, older list: none is taken, each for its own reason", async () => {
    const { mesh, client } = await world(digestB, signedList(key, numbered(5)));
    const accepting = listOf([listed(digestB)], { seq: 9n });
    const forged = signedList(key, accepting);
    forged[40] = (forged[40] ?? 0) ^ 1;
    const tellers = {
      "unknown-signer": await tell(mesh, client, signedList(stranger, accepting)),
      "signature-wrong": await tell(mesh, client, forged),
      "rolled-back": await tell(mesh, client, signedList(key, { ...accepting, seq: 4n })),
      conflict: await tell(mesh, client, signedList(key, { ...accepting, seq: 5n })),
      malformed: await tell(mesh, client, Uint8Array.of(1)),
    };
    const told = builds(client).refused;
    expect(told.map(({ reason }) => reason)).toEqual(Object.keys(tellers));
    expect(told.map(({ from }) => from)).toEqual(Object.values(tellers).map(({ id }) => id));
    expect(new Set(told.map(({ text }) => text)).size).toBe(5);
    refusedFor(await call(client), "build-unknown");
  });

  it("A5: after a revocation neither an older list nor a restart with it brings the build back", async () => {
    const dataDir = temporaryDirectory();
    const old = signedList(key, numbered(1));
    const { mesh, client, host } = await world(digestA, old, { dataDir });
    await tell(mesh, client, signedList(key, revoking(2)));
    await tell(mesh, client, old);
    refusedFor(await call(client), "build-revoked");
    await client.stop(0);
    const flags = { allowBuilds: [listFile(old)], buildKeys: [key.id], dataDir };
    const again = await mesh.start("client", { join: [host.invite()], ...flags });
    await eventually("the client knows the model", () => again.models().includes("scripted"));
    refusedFor(await call(again), "build-revoked");
    expect(builds(again).sources[0]?.why).toMatch(/^It is older than the list/);
  });

  it("A5: a list that has expired accepts nothing more, which is another reason than an unknown build", async () => {
    const now = Date.now();
    const expired = numbered(1, { notBeforeMs: now - 2 * dayMs, expiresMs: now - dayMs });
    const { client } = await world(digestA, signedList(key, expired));
    const answer = await call(client);
    refusedFor(answer, "builds-expired");
    expect(answer.message).toContain("The list of accepted builds has expired at ");
  });

  it("A5: where every list is withheld, nobody is asked", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    engines.push(engine);
    const host = await mesh.start("serve", { engine: [engine.url] }, running(digestA));
    const gone = { allowBuilds: ["http://127.0.0.1:9/builds.txt"], buildKeys: [key.id] };
    const client = await mesh.start("client", { join: [host.invite()], ...gone });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    refusedFor(await call(client), "builds-missing");
    expect(builds(client).sources[0]?.why).toContain("does not answer");
    expect(asked(engine)).toHaveLength(0);
  });
});

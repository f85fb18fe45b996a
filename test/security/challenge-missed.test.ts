/**
 * A host that was good stops holding its keys: its hardware hangs, or something else sits at its place. The blob is still
 * in time; only questions that its keys must answer now can tell.
 */
import { describe, expect, it } from "vitest";
import { openChallenge } from "../../src/attest/challenge.ts";
import { toHex } from "../../src/base/bytes.ts";
import { MeshError } from "../../src/base/errors.ts";
import type { LogEvent } from "../../src/base/log.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import {
  answers,
  attestByHand,
  callUntil,
  configFile,
  demandingClient,
  demandsKey,
  enclaveHost,
  type EnclaveHost,
  everySecond,
  freshKey,
  shownOf,
} from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { asked, attackedMesh, call } from "../support/raw-peer.ts";

interface Scene extends EnclaveHost {
  readonly client: TestNode;
  /** Requests that came to the host's engine. */
  readonly prompts: () => number;
}

async function challenged(): Promise<Scene> {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const { host, enclave } = await enclaveHost(mesh, engine.url);
  const client = await demandingClient(mesh, [host], { ...demandsKey, config: configFile(everySecond) });
  expect((await call(client)).status).toBe(200);
  return { host, enclave, client, prompts: () => asked(engine).length };
}

const told = ({ client }: Scene, event: LogEvent["event"]): readonly LogEvent[] =>
  client.events.filter((each) => each.event === event);

const hangs = (): never => {
  throw new MeshError("E_LOST", "the chip does not answer");
};

describe("A2: challenges", () => {
  it("A2: two that are missed in a row change nothing; after the third the key counts for nothing until it answers again", async () => {
    const scene = await challenged();
    const { client, enclave, host } = scene;
    const before = enclave.asked;
    enclave.beforeSigning = hangs;
    await eventually("two were missed", () => enclave.asked === before + 2);
    expect((await call(client)).status).toBe(200);
    await eventually("the third was missed", () => told(scene, "host-distrusted").length === 1);
    expect(enclave.asked).toBe(before + 3);
    const prompts = scene.prompts();
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-missed")]);
    expect(shownOf(client, host)).toMatchObject({ tier: "none", challenge: "missed", allowed: false });
    expect(told(scene, "host-distrusted")).toMatchObject([{ peer: host.endpointId, reason: "challenge-missed" }]);
    expect(scene.prompts()).toBe(prompts);

    enclave.beforeSigning = () => undefined;
    const answer = await callUntil(client, "its key answers again", ({ status }) => status === 200);
    expect(answer.headers.get("x-sealmesh-attested")).toBe("key");
    expect(told(scene, "host-trusted")).toHaveLength(1);
  });

  it("A2: one signature by another key is enough, and one by the right key mends it", async () => {
    const scene = await challenged();
    const { client, enclave, host } = scene;
    enclave.signer = freshKey();
    await eventually("it was answered wrongly", () => told(scene, "host-distrusted").length === 1);
    const prompts = scene.prompts();
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-failed")]);
    expect(shownOf(client, host)).toMatchObject({ tier: "none", challenge: "failed", allowed: false });
    expect(scene.prompts()).toBe(prompts);
    enclave.signer = undefined;
    await callUntil(client, "it is answered rightly again", ({ status }) => status === 200);
  });

  it("A2: are asked on the first use and with every heartbeat, each sealed to the inference key, with a nonce of its own", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const key = freshKey();
    const sealed: Uint8Array[] = [];
    attestByHand(host, key, {
      challenge: (request) => {
        sealed.push(request.sealed);
        return answers(request.sealed, host.id, host.key, key);
      },
    });
    const client = await demandingClient(mesh, [host], { ...demandsKey, config: configFile(everySecond) });
    expect(sealed).toEqual([]);
    void call(client).catch(() => undefined);
    await eventually("three were asked", () => sealed.length >= 3);
    const opening = { ...host.key, createdMs: 0, notAfterMs: Number.MAX_SAFE_INTEGER };
    const opened = sealed.map((bytes) => openChallenge(bytes, [opening], host.id));
    expect(new Set(opened.map(({ nonce }) => toHex(nonce))).size).toBe(sealed.length);
    expect(new Set(opened.map(({ verifier }) => verifier))).toEqual(new Set([client.endpointId]));
    const other = { ...generateKeyPair(), createdMs: 0, notAfterMs: Number.MAX_SAFE_INTEGER };
    for (const bytes of sealed) expect(() => openChallenge(bytes, [other], host.id)).toThrow("no challenge");
  });

  it("A2: are asked by nobody whose policy does not need them", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host], { config: configFile(everySecond) });
    expect((await call(client)).headers.get("x-sealmesh-attested")).toBe("none");
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(enclave.asked).toBe(0);
    await engine.close();
  });
});

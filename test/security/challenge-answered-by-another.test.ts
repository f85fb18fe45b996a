/**
 * Brokers: nodes that have good evidence only because another machine has. They copy it, pass the questions on to that
 * machine, or hold one of the two keys and not the other. A challenge is sealed to the inference key, names the host that
 * it is for, and must come back signed by the attested key: each of the three is needed.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ChallengeAsk, openChallenge } from "../../src/attest/challenge.ts";
import { empty, fromHex } from "../../src/base/bytes.ts";
import { generateKeyPair, type KeyPair } from "../../src/crypto/box.ts";
import { AskerSeal } from "../../src/crypto/seal.ts";
import type { Connection } from "../../src/transport/transport.ts";
import {
  attestCodes,
  type ChallengeProof,
  type ChallengeReply,
  decodeChallengeAnswer,
} from "../../src/wire/attestation.ts";
import {
  answers,
  attestByHand,
  blobOf,
  callUntil,
  challengeBy,
  configFile,
  demandingClient,
  demandsKey,
  enclaveHost,
  type EnclaveHost,
  everySecond,
  evidenceBy,
  freshKey,
  gotPrompt,
  shownOf,
  shows,
} from "../support/attested-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { type AttackedMesh, attackedMesh, call, type RawPeer, secret } from "../support/raw-peer.ts";

interface Scene extends EnclaveHost {
  readonly mesh: AttackedMesh;
  readonly engine: ScriptedEngine;
  /** Says that it serves the model, and knows the honest host. */
  readonly broker: RawPeer;
  readonly toHost: Connection;
}

async function brokered(): Promise<Scene> {
  const mesh = attackedMesh();
  const engine = await startEngineServer();
  const honest = await enclaveHost(mesh, engine.url);
  const broker = await mesh.raw({ role: "host", models: ["scripted"] });
  await broker.meet(honest.host);
  return { mesh, engine, ...honest, broker, toHost: await broker.dial(honest.host, "sealmesh/1") };
}

/** A pair of which only the public half is known. */
const without = (publicKey: Uint8Array): KeyPair => ({ publicKey, secretKey: generateKeyPair().secretKey });

/** What the honest host signs for whoever asks it. */
async function signedFor({ broker, toHost, host }: Scene): Promise<readonly ChallengeProof[]> {
  const inferenceKey = host.keys.current.publicKey;
  const seal = new AskerSeal(inferenceKey);
  const ask = new ChallengeAsk({ verifier: broker.id, host: host.endpointId, inferenceKey }, { seal });
  const { sealed } = await challengeBy(toHost, { sealed: ask.sealed, target: undefined, hops: 0 });
  return decodeChallengeAnswer(seal.openResponse("indexed").open(sealed));
}

function answerWith(sealed: Uint8Array, broker: RawPeer, proofs: readonly ChallengeProof[]): ChallengeReply {
  const opening = { ...broker.key, createdMs: 0, notAfterMs: Number.MAX_SAFE_INTEGER };
  return { code: attestCodes.ok, sealed: openChallenge(sealed, [opening], broker.id).seal(proofs) };
}

const nothing: ChallengeReply = { code: attestCodes.unable, sealed: empty };

describe("A2: a challenge relayed to an honest machine", () => {
  it("A2: as it came is not opened there: it is sealed to the broker's key", async () => {
    const scene = await brokered();
    const { mesh, broker, toHost, enclave, engine } = scene;
    const codes: number[] = [];
    attestByHand(broker, freshKey(), {
      evidence: ({ nonce }) => evidenceBy(toHost, { nonce }),
      challenge: async (request) => {
        const reply = await challengeBy(toHost, request);
        codes.push(reply.code);
        return reply;
      },
    });
    const client = await demandingClient(mesh, [broker]);
    const refused = await call(client);
    expect([refused.status, refused.code]).toEqual([503, "refused"]);
    expect(refused.message).toContain("other-node");
    expect(codes).toEqual([attestCodes.badRequest]);
    expect([enclave.asked, gotPrompt(broker)]).toEqual([0, false]);
    await engine.close();
  });

  it("A2: sealed anew for it brings a signature over another nonce: that is a wrong one, and an alarm", async () => {
    const scene = await brokered();
    const { mesh, broker, toHost, enclave, engine } = scene;
    attestByHand(broker, freshKey(), {
      evidence: ({ nonce }) => evidenceBy(toHost, { nonce }),
      challenge: async ({ sealed }) => answerWith(sealed, broker, await signedFor(scene)),
    });
    const client = await demandingClient(mesh, [broker]);
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-failed")]);
    expect(shownOf(client, broker)).toMatchObject({ tier: "none", challenge: "failed" });
    expect(client.events).toContainEqual({ event: "host-distrusted", peer: broker.id, reason: "challenge-failed" });
    expect(enclave.asked).toBe(1);
    expect(gotPrompt(broker)).toBe(false);
    await engine.close();
  });

  it("A2: is refused there when it names the broker, even where the broker passes the host's inference key off as its own", async () => {
    const scene = await brokered();
    const { mesh, broker, toHost, host, enclave, engine } = scene;
    broker.key = without(host.keys.current.publicKey);
    const codes: number[] = [];
    // evidence of its own, with nothing wrong in it
    attestByHand(broker, freshKey(), {
      challenge: async (request) => {
        const [direct, carried] = [
          await challengeBy(toHost, request),
          await challengeBy(toHost, { ...request, hops: 1 }),
        ];
        codes.push(direct.code, carried.code);
        return direct;
      },
    });
    const client = await demandingClient(mesh, [broker], { ...demandsKey, config: configFile(everySecond) });
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-unanswered")]);
    await callUntil(client, "three were missed", ({ message }) => message?.includes("challenge-missed") ?? false);
    expect(new Set(codes)).toEqual(new Set([attestCodes.badRequest]));
    expect([enclave.asked, gotPrompt(broker)]).toEqual([0, false]);
    await engine.close();
  });
});

describe("A2: one key of the two", () => {
  it("A2: the attested key without the inference key: the answer does not open", async () => {
    const scene = await brokered();
    const { mesh, broker, host, engine } = scene;
    const own = freshKey();
    broker.key = without(host.keys.current.publicKey);
    const held = generateKeyPair();
    attestByHand(broker, own, {
      challenge: ({ sealed }) => {
        expect(() => answers(sealed, broker.id, broker.key, own)).toThrow("no challenge for this node");
        // a good answer in everything but the key that it is sealed with
        const ask = new ChallengeAsk({ verifier: broker.id, host: broker.id, inferenceKey: held.publicKey });
        return answers(ask.sealed, broker.id, held, own);
      },
    });
    const client = await demandingClient(mesh, [broker]);
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-unanswered")]);
    expect(shownOf(client, broker)).toMatchObject({ tier: "none", challenge: "unasked" });
    expect(gotPrompt(broker)).toBe(false);
    await engine.close();
  });

  it("A2: the inference key without the attested key: signatures of another key count for nothing", async () => {
    const scene = await brokered();
    const { mesh, broker, engine } = scene;
    const [first, second] = [freshKey(), freshKey()];
    // two machines, one of which answers for both
    const blob = (): ReturnType<typeof blobOf> =>
      blobOf(first, { endpointId: broker.id, inferenceKey: broker.key.publicKey, issuedAtMs: Date.now() });
    attestByHand(broker, second, { evidence: async () => shows(await blob()) });
    const client = await demandingClient(mesh, [broker]);
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-unanswered")]);
    expect(gotPrompt(broker)).toBe(false);
    await engine.close();
  });

  it("A2: neither, with a stolen identity and a copy of the blob: no prompt, and nothing is pinned", async () => {
    const { mesh, broker, host, engine } = await brokered();
    const { evidence = empty, record } = broker.entryOf(host.endpointId);
    const seed = fromHex(readFileSync(join(host.dataDir, "key"), "utf8").trim(), 32);
    const publicKey = host.keys.current.publicKey;
    await host.stop(0);
    const thief = await mesh.raw({ role: "host", models: ["scripted"], seed });
    expect(thief.id).toBe(host.endpointId);
    thief.key = without(publicKey);
    thief.announcements = () => [thief.own({ evidence, record })];
    const copy = { kind: "secure-enclave", version: 1, evidence, collateral: [], issuedAtMs: 0 };
    attestByHand(thief, freshKey(), { evidence: () => shows(copy), challenge: () => nothing });
    const client = await demandingClient(mesh, [thief]);
    await eventually("its copy has come", () => shownOf(client, thief).fingerprint !== null);
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-unanswered")]);
    const { evidence: shown, pin } = shownOf(client, thief);
    // nothing is wrong with it
    expect(Object.values(shown[0]?.factors ?? { parse: "fail" })).not.toContain("fail");
    expect(pin).toBe("none");
    expect([gotPrompt(thief), thief.couldRead(secret)]).toEqual([false, false]);
    await engine.close();
  });
});

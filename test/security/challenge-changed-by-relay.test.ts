/**
 * A relay carries the questions about a host's evidence. It may drop them, answer them itself, keep an old answer or put
 * its own evidence in: that can cost a host its prompts, and never wins one for somebody else.
 */
import { describe, expect, it } from "vitest";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { attestCodes, type ChallengeReply } from "../../src/wire/attestation.ts";
import { limits } from "../../src/wire/limits.ts";
import {
  answers,
  attestedRelayedMesh,
  blobOf,
  type CarriedByHand,
  freshKey,
  refusesChallenge,
  shownOf,
  shows,
} from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { asked, attackedMesh, call, secret } from "../support/raw-peer.ts";

const drops = (): Promise<never> => Promise.reject(new Error("the relay drops it"));
const noise = (bytes: number): ChallengeReply => ({ code: attestCodes.ok, sealed: new Uint8Array(bytes).fill(7) });

describe("A2: challenges through a relay", () => {
  it("A2: are answered by the host, and the relay can read neither question nor answer", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const seen: Uint8Array[] = [];
    const ways: CarriedByHand = {};
    const scene = await attestedRelayedMesh(attackedMesh(), engine.url, ways);
    ways.challenge = async (request) => {
      const reply = await scene.passOn.challenge(request);
      seen.push(request.sealed, reply.sealed);
      return reply;
    };
    const answer = await call(scene.client);
    expect([answer.status, answer.content]).toEqual([200, "fine"]);
    expect(answer.headers.get("x-sealmesh-attested-key")).toBe(scene.enclave.fingerprint);
    expect(seen).toHaveLength(2);
    expect(scene.enclave.asked).toBe(1);
    const key = Buffer.from(scene.enclave.key.point);
    for (const bytes of seen) expect(Buffer.from(bytes).includes(key.subarray(1, 33))).toBe(false);
    expect(scene.relay.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it.each<[string, CarriedByHand["challenge"], number]>([
    ["drops them", drops, 0],
    ["says that the host refuses", () => Promise.resolve(refusesChallenge), 0],
    ["answers with noise", () => Promise.resolve(noise(limits.boxOverheadBytes + 200)), 0],
    ["answers with nothing in it", () => Promise.resolve(noise(1)), 0],
  ])("A2: no prompt leaves through a relay that %s", async (_name, challenge, signatures) => {
    const engine = await startEngineServer();
    const { client, enclave, envelopes, host } = await attestedRelayedMesh(attackedMesh(), engine.url, { challenge });
    const refused = await call(client);
    expect([refused.status, refused.code]).toEqual([503, "refused"]);
    expect(refused.message).toContain("challenge-unanswered");
    expect(shownOf(client, host)).toMatchObject({ tier: "none", challenge: "unasked" });
    expect([envelopes, asked(engine), enclave.asked]).toEqual([[], [], signatures]);
    await engine.close();
  });

  it("A2: an answer of the relay's own does not open: it has neither key, and an inference key of its own is another", async () => {
    const engine = await startEngineServer();
    const [inference, key] = [generateKeyPair(), freshKey()];
    const ways: CarriedByHand = {};
    const scene = await attestedRelayedMesh(attackedMesh(), engine.url, ways);
    const tried: string[] = [];
    ways.challenge = ({ sealed }) => {
      try {
        return Promise.resolve(answers(sealed, scene.host.endpointId, inference, key));
      } catch (thrown) {
        tried.push((thrown as { code: string }).code);
        return Promise.resolve(noise(300));
      }
    };
    expect((await call(scene.client)).message).toContain("challenge-unanswered");
    expect(tried).toEqual(["E_OPEN"]);
    expect(scene.envelopes).toEqual([]);
    await engine.close();
  });

  it("A2: an answer to an earlier challenge is none to the next: each has its own key and nonce", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const ways: CarriedByHand = {};
    const scene = await attestedRelayedMesh(attackedMesh(), engine.url, ways);
    const kept: ChallengeReply[] = [];
    const questions: Uint8Array[] = [];
    ways.challenge = async (request) => {
      questions.push(request.sealed);
      const reply = kept[0] ?? (await scene.passOn.challenge(request));
      kept.push(reply);
      return reply;
    };
    expect((await call(scene.client)).status).toBe(200);
    const beats = questions.length;
    await scene.client.stop(0);
    const later = await scene.join({ dataDir: scene.client.dataDir });
    const refused = await call(later);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-unanswered")]);
    expect(questions.length).toBeGreaterThan(beats);
    expect(new Set(questions.map((bytes) => Buffer.from(bytes).toString("hex"))).size).toBe(questions.length);
    expect(scene.enclave.asked).toBe(1);
    await engine.close();
  });

  it("A2: evidence that the relay puts in the place of the host's is another node's, and is refused", async () => {
    const engine = await startEngineServer();
    const ways: CarriedByHand = {};
    const scene = await attestedRelayedMesh(attackedMesh(), engine.url, ways);
    const request = { endpointId: scene.relay.id, inferenceKey: scene.relay.key.publicKey, issuedAtMs: Date.now() };
    ways.evidence = async () => shows(await blobOf(freshKey(), request));
    const refused = await call(scene.client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("other-node")]);
    expect(scene.envelopes).toEqual([]);
    await engine.close();
  });

  it("A2: a blob that the relay forges for the host is refused by the challenge: the host does not hold its key", async () => {
    const engine = await startEngineServer();
    const ways: CarriedByHand = {};
    const scene = await attestedRelayedMesh(attackedMesh(), engine.url, ways);
    const { endpointId, keys } = scene.host;
    const request = { endpointId, inferenceKey: keys.current.publicKey, issuedAtMs: Date.now() };
    ways.evidence = async () => shows(await blobOf(freshKey(), request));
    const refused = await call(scene.client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-unanswered")]);
    expect(scene.enclave.asked).toBe(1);
    expect(scene.envelopes).toEqual([]);
    await engine.close();
  });

  it.each<[string, CarriedByHand]>([
    ["drops them", { challenge: drops, evidence: drops }],
    ["answers them itself", { challenge: () => Promise.resolve(noise(300)) }],
  ])("A2: a relay that %s is passed by where another one leads to the host", async (_name, ways) => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const scene = await attestedRelayedMesh(mesh, engine.url, ways);
    const honest = await mesh.start("client", { join: [scene.host.invite()] });
    const client = await scene.join({ join: [scene.relay.invite, honest.invite()] });
    await eventually("both relays name the host", () => {
      return client
        .status()
        .peers.some(({ endpoint_id, attestation }) => endpoint_id === honest.endpointId && attestation !== null);
    });
    // whichever is asked first: by one request, not by a later attempt
    const answer = await call(client);
    expect([answer.status, answer.headers.get("x-sealmesh-attested")]).toEqual([200, "key"]);
    await engine.close();
  });
});

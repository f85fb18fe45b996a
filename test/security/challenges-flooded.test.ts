/**
 * A peer asks for evidence and signatures without end. Hardware does a few a second: the flood must not eat them up, and
 * must cost nobody else an answer.
 */
import { describe, expect, it } from "vitest";
import { ChallengeAsk } from "../../src/attest/challenge.ts";
import { defaults } from "../../src/node/defaults.ts";
import type { Connection } from "../../src/transport/transport.ts";
import { type AttestCode, attestCodes } from "../../src/wire/attestation.ts";
import { challengeBy, demandingClient, enclaveHost, type EnclaveHost, evidenceBy } from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { attackedMesh, call, type RawPeer } from "../support/raw-peer.ts";

/** The most that one peer gets at once, with a second or two of the test's own time. */
const share = defaults.attestAnswering.rate.perHolder.burst + 3;

/** @param relayed `to` leads to a relay, not to the host */
async function challengeFrom(
  peer: RawPeer,
  { host }: EnclaveHost,
  to: Connection,
  relayed = false,
): Promise<AttestCode> {
  const parts = { verifier: peer.id, host: host.endpointId, inferenceKey: host.keys.current.publicKey };
  const { sealed } = new ChallengeAsk(parts);
  return (await challengeBy(to, { sealed, target: relayed ? host.endpointId : undefined, hops: 0 })).code;
}

describe("A2: a flood of questions", () => {
  it.each(["challenges", "questions for evidence"])(
    "A2: of %s is told busy, costs the hardware a few signatures, and others no answer",
    async (what) => {
      const mesh = attackedMesh();
      const engine = await startEngineServer({ text: "fine" });
      const scene = await enclaveHost(mesh, engine.url);
      const { host, enclave } = scene;
      const [flooder, other] = [await mesh.raw(), await mesh.raw()];
      for (const peer of [flooder, other]) await peer.meet(host);
      const flood = await flooder.dial(host, "sealmesh/1");
      const calm = await other.dial(host, "sealmesh/1");
      const before = enclave.asked + enclave.made;
      const ask = async (): Promise<AttestCode> =>
        what === "challenges"
          ? await challengeFrom(flooder, scene, flood)
          : (await evidenceBy(flood, { nonce: new Uint8Array(32) })).code;
      const codes: AttestCode[] = [];
      for (let round = 0; round < 12; round += 1) {
        codes.push(...(await Promise.all(Array.from({ length: 10 }, ask))));
        // in the midst of it, and at the end
        if (round % 5 === 1) expect(await challengeFrom(other, scene, calm)).toBe(attestCodes.ok);
      }
      expect(new Set(codes)).toEqual(new Set([attestCodes.ok, attestCodes.busy]));
      const answered = codes.filter((code) => code === attestCodes.ok).length;
      expect(answered).toBeLessThanOrEqual(share);
      expect(enclave.asked + enclave.made - before).toBeLessThanOrEqual(answered + 3);
      const client = await demandingClient(mesh, [host]);
      expect((await call(client)).headers.get("x-sealmesh-attested")).toBe("key");
      // it gets no more by a further connection
      const again = await flooder.dial(host, "sealmesh/1");
      const more = await Promise.all(Array.from({ length: 10 }, () => challengeFrom(flooder, scene, again)));
      expect(more).toContain(attestCodes.busy);
      await engine.close();
    },
  );

  it("A2: through a relay costs the other members behind that relay no answer", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const scene = await enclaveHost(mesh, engine.url);
    const relay = await mesh.start("client", { join: [scene.host.invite()] });
    await eventually("the relay knows the host", () => relay.models().includes("scripted"));
    const [flooder, other] = [await mesh.raw(), await mesh.raw()];
    for (const peer of [flooder, other]) await peer.meet(relay);
    const flood = await flooder.dial(relay, "sealmesh/1");
    const calm = await other.dial(relay, "sealmesh/1");
    const codes: AttestCode[] = [];
    for (let round = 0; round < 12; round += 1) {
      const asking = Array.from({ length: 10 }, () => challengeFrom(flooder, scene, flood, true));
      codes.push(...(await Promise.all(asking)));
      if (round % 5 === 1) expect(await challengeFrom(other, scene, calm, true)).toBe(attestCodes.ok);
    }
    expect(codes).toContain(attestCodes.busy);
    expect(await challengeFrom(other, scene, calm, true)).toBe(attestCodes.ok);
    await engine.close();
  });
});

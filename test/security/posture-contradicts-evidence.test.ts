/**
 * A host's record says one thing of its doors and its evidence another. Both are signed, so one of them is not true: no
 * prompt goes there. What nobody has proven to come from the host does not get in between.
 */
import { describe, expect, it } from "vitest";
import type { Flags } from "../../src/node/config.ts";
import { signSoftwareEvidence } from "../../src/attest/kinds/software.ts";
import { encodePosture } from "../../src/wire/posture.ts";
import { attestByHand, callUntil, freshKey, hostIn, refusesChallenge, shows } from "../support/attested-mesh.ts";
import { signP1363 } from "../support/evidence.ts";
import { type AttackedMesh, attackedMesh, call, clientOf, type RawPeer } from "../support/raw-peer.ts";
import { closedPosture, postureWith, type SaidByHand, tells } from "../support/postures.ts";

const hardened: Flags = { requireHardened: true };
const open = postureWith({ debugger: "open" });

async function hostOf(mesh: AttackedMesh, said: SaidByHand): Promise<RawPeer> {
  const host = await mesh.raw({ role: "host", models: ["scripted"] });
  tells(host, said);
  return host;
}

describe("A7: a posture in the record, another in evidence", () => {
  it.each([
    ["good in the record, bad in evidence", closedPosture(), open],
    ["bad in the record, good in evidence", open, closedPosture()],
    ["both good, of different builds", closedPosture(), closedPosture({ build: "ab".repeat(32) })],
  ])("%s: the first prompt is refused already", async (_what, record, posture) => {
    const mesh = attackedMesh();
    const host = await hostOf(mesh, { record, evidence: { posture, key: freshKey() } });
    const client = await clientOf(mesh, [host], hardened);
    const answer = await call(client);
    expect([answer.status, answer.message]).toEqual([
      503,
      expect.stringContaining("--require-hardened: posture-disagrees: "),
    ]);
    expect(host.opened).not.toContain("mesh-llm/1 4");
    expect(host.couldRead("otter")).toBe(false);
  });

  it("the same in both is taken, and evidence alone too", async () => {
    for (const record of [closedPosture(), undefined]) {
      const mesh = attackedMesh();
      const host = await hostOf(mesh, { record, evidence: { posture: closedPosture(), key: freshKey() } });
      const client = await clientOf(mesh, [host], hardened);
      expect((await call(client)).content).toBe("fine");
      expect((await hostIn(client, host)).posture).toMatchObject({ standing: "signed", said: { says_hardened: true } });
      expect((await hostIn(client, host)).tier).toBe("none");
    }
  });

  it("a host that changed its mind in both is asked for its evidence again, and then taken", async () => {
    const mesh = attackedMesh();
    const key = freshKey();
    const host = await hostOf(mesh, { record: closedPosture(), evidence: { posture: open, key } });
    const client = await clientOf(mesh, [host], hardened);
    expect((await call(client)).message).toContain("posture-disagrees");
    tells(host, { record: closedPosture(), evidence: { posture: closedPosture(), key } });
    await host.meet(client);
    const answer = await callUntil(client, "it is asked again", ({ status }) => status === 200);
    expect(answer.content).toBe("fine");
  });

  it("evidence by a key that answers no challenge does not count: a relay could put it there", async () => {
    const mesh = attackedMesh();
    const key = freshKey();
    const host = await hostOf(mesh, { record: closedPosture(), evidence: { posture: open, key } });
    const { evidence } = host.handlers;
    attestByHand(host, key, { challenge: () => refusesChallenge });
    if (evidence) host.handlers.evidence = evidence;
    const client = await clientOf(mesh, [host], hardened);
    expect((await call(client)).content).toBe("fine");
  });

  it("evidence of another host's posture is bound to that host", async () => {
    const mesh = attackedMesh();
    const key = freshKey();
    const other = await mesh.raw();
    const host = await hostOf(mesh, { record: open, evidence: { posture: closedPosture(), key } });
    attestByHand(host, key, {
      evidence: ({ nonce }) => {
        const issuedAtMs = Date.now();
        const evidence = signSoftwareEvidence({
          endpointId: other.id,
          inferenceKey: other.key.publicKey,
          attestedKey: key.point,
          nonce,
          issuedAtMs,
          posture: encodePosture(closedPosture()),
          sign: (message) => signP1363(key, message),
        });
        return shows({ kind: "software", version: 1, evidence, collateral: [], issuedAtMs });
      },
    });
    host.announcements = () => [host.own({ record: host.record().bytes })];
    const client = await clientOf(mesh, [host], hardened);
    expect((await call(client)).message).toContain("posture-missing");
  });

  it("a host that cannot be asked for evidence has its record", async () => {
    const mesh = attackedMesh();
    const host = await hostOf(mesh, { record: closedPosture() });
    const client = await clientOf(mesh, [host], hardened);
    expect((await call(client)).content).toBe("fine");
    expect(host.opened).toContain("sealmesh/1 5");
  });
});

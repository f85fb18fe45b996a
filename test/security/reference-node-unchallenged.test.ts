/**
 * A node of the reference has a blob and can answer no challenge: its evidence may be anybody's copy. It is refused with
 * that reason; who accepts it all the same is told so with every answer; and nobody else may pass for such a node.
 */
import { rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Flags } from "../../src/node/config.ts";
import {
  attestByHand,
  blobOf,
  demandingClient,
  demandsKey,
  freshKey,
  gotPrompt,
  hostIn,
  refusesChallenge,
  shownOf,
} from "../support/attested-mesh.ts";
import { rejectsWith } from "../support/expect-code.ts";
import {
  answerHeader,
  attackedMesh,
  type AttackedMesh,
  call,
  chatResponse,
  openAsk,
  type RawPeer,
} from "../support/raw-peer.ts";
import { concat } from "../../src/base/bytes.ts";
import { endMarker } from "../../src/wire/envelope.ts";

/** Field 36, and field 38 made `ageMs` ago; answers prompts. */
async function referenceHost(mesh: AttackedMesh, ageMs = 0): Promise<RawPeer> {
  const peer = await mesh.raw({ kind: "reference", role: "host", models: ["scripted"] });
  const request = { endpointId: peer.id, inferenceKey: peer.key.publicKey, issuedAtMs: Date.now() - ageMs };
  const { evidence } = await blobOf(freshKey(), request);
  peer.announcements = () => [peer.own({ evidence })];
  peer.handlers.http = async (stream, reader) => {
    const exchange = await openAsk(reader, peer.key);
    await stream.write(concat([answerHeader(exchange), exchange.seal.sealChunk(chatResponse("hi"), true), endMarker]));
    await stream.finish();
  };
  return peer;
}

const accepting: Flags = { ...demandsKey, acceptUnchallenged: true };

describe("A2: a reference node", () => {
  it("A2: is refused with no-challenge under --require-attested-hosts, and is of no tier", async () => {
    const mesh = attackedMesh();
    const host = await referenceHost(mesh);
    const client = await demandingClient(mesh, [host]);
    const refused = await call(client);
    expect([refused.status, refused.code]).toEqual([503, "refused"]);
    expect(refused.message).toContain("--require-attested-hosts=key: no-challenge");
    expect(shownOf(client, host)).toMatchObject({ tier: "none", challenge: "impossible", allowed: false });
    expect(gotPrompt(host)).toBe(false);
    // nobody asks it what its protocol has no stream for
    expect(host.opened.filter((stream) => stream.startsWith("sealmesh/1"))).toEqual([]);
  });

  it("A2: is admitted by --accept-unchallenged, and shown as that and as no tier: headers, status, document", async () => {
    const mesh = attackedMesh();
    const host = await referenceHost(mesh);
    const client = await demandingClient(mesh, [host], accepting);
    const answer = await call(client);
    expect([answer.status, answer.content]).toEqual([200, "hi"]);
    const header = (name: string): string | null => answer.headers.get(`x-sealmesh-${name}`);
    expect([header("attested"), header("evidence")]).toEqual(["none", "secure-enclave; unchallenged"]);
    expect(shownOf(client, host)).toMatchObject({ tier: "none", challenge: "impossible", allowed: true });
    expect(await hostIn(client, host)).toMatchObject({
      tier: "none",
      allowed: true,
      evidence: [{ challenge: "impossible" }],
    });
  });

  it.each<[string, number, Flags, string]>([
    ["whose blob is too old", 700_000, accepting, "stale"],
    ["whose blob is from the future", -60_000, accepting, "clock-ahead"],
  ])("A2: is refused with that flag too, %s", async (_name, ageMs, flags, told) => {
    const mesh = attackedMesh();
    const host = await referenceHost(mesh, ageMs);
    const client = await demandingClient(mesh, [host], flags);
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining(told)]);
    expect(gotPrompt(host)).toBe(false);
  });

  it.each(["pinned", "vendor", "measured"])(
    "A2: reaches nothing where `%s` is demanded: the flag beside it ends the start",
    async (tier) => {
      const mesh = attackedMesh();
      const host = await referenceHost(mesh);
      const client = await demandingClient(mesh, [host], { requireAttestedHosts: tier });
      const refused = await call(client);
      expect([refused.status, gotPrompt(host)]).toEqual([503, false]);
      await rejectsWith("E_USAGE", mesh.start("client", { ...accepting, requireAttestedHosts: tier }));
    },
  );

  it("A2: cannot be played by a node of ours that does not answer: the flag is for those that have no such stream", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    attestByHand(host, freshKey(), { challenge: () => refusesChallenge });
    const client = await demandingClient(mesh, [host], accepting);
    const refused = await call(client);
    expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("challenge-unanswered")]);
    // nor by one that leaves its record out from now on
    const blob = await blobOf(freshKey(), {
      endpointId: host.id,
      inferenceKey: host.key.publicKey,
      issuedAtMs: Date.now(),
    });
    host.announcements = () => [host.own({ record: undefined, evidence: blob.evidence })];
    await host.meet(client);
    await client.stop(0);
    rmSync(`${client.dataDir}/known-members.json`); // what it signed before has ended by now
    const again = await demandingClient(mesh, [host], { ...accepting, dataDir: client.dataDir });
    const still = await call(again);
    expect([still.status, still.message]).toEqual([503, expect.stringContaining("key-withheld")]);
    expect(gotPrompt(host)).toBe(false);
  });
});

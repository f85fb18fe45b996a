/**
 * Relayers of the reference read a blob and write it anew. Where that changes what was signed, a good host fails; where
 * it does not, somebody else's text is kept as if it were the host's. Ours keep the bytes that came.
 */
import { describe, expect, it } from "vitest";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { type Announcement, decodeGossip, encodeGossip } from "../../src/wire/gossip.ts";
import { decodeEvidenceItem, encodeEvidenceItem } from "../../src/wire/evidence.ts";
import {
  attestByHand,
  blobOf,
  demandingClient,
  demandsKey,
  enclaveHost,
  freshKey,
  hostIn,
  shows,
} from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { attackedMesh } from "../support/raw-peer.ts";
import { blobItem, goodBlob, host, inputFor, signedBlob } from "../support/evidence.ts";

const good = fromUtf8(goodBlob);
/** As somebody might write it who reads it into numbers and dates. */
const spaced = utf8(JSON.stringify(JSON.parse(good), undefined, 2));
const withMore = utf8(good.replace(/}$/, ',"note":"not signed"}'));

const announcement: Announcement = {
  id: host,
  role: "host",
  httpPort: 9337,
  version: "0.65.0",
  hostname: undefined,
  models: [],
  runtimes: [],
  address: { id: host, relays: [], direct: [] },
  meshId: undefined,
  inferenceKey: undefined,
  ownership: undefined,
  posture: [],
  evidence: undefined,
  record: undefined,
};

describe("A10: evidence that others have in their hands", () => {
  it.each([
    ["as the reference writes it", goodBlob],
    ["with white space", spaced],
    ["with a member of somebody else", withMore],
    ["that is no JSON at all", utf8("\u0000 not JSON")],
  ])("goes through gossip and through a file byte for byte: %s", (_name, evidence) => {
    const frame = encodeGossip({ sender: host, announcements: [{ ...announcement, evidence }] });
    expect(decodeGossip(frame, host).announcements[0]?.evidence).toEqual(evidence);
    expect(decodeEvidenceItem(encodeEvidenceItem(blobItem(evidence)))).toEqual(blobItem(evidence));
  });

  it("what was only laid out anew is still what was signed, and what was added is no claim", () => {
    const untouched = verifyEvidence(inputFor(blobItem(goodBlob)));
    for (const evidence of [spaced, withMore]) expect(verifyEvidence(inputFor(blobItem(evidence)))).toEqual(untouched);
  });

  it.each([
    ["a time in another form", good, "2026-05-05T00:00:00.123456789+00:00", "2026-05-05T00:00:00.123456789Z"],
    ["a time without its last digits", good, ".123456789", ".123"],
    [
      "an id in capitals",
      good,
      /"node_endpoint_id":"[^"]*"/,
      (id: string) => id.replace(/:.*/, (hex) => hex.toUpperCase()),
    ],
    [
      "memory that went through a double",
      fromUtf8(signedBlob({ memoryBytes: 9_007_199_254_740_993n })),
      "9007199254740993",
      String(JSON.parse("9007199254740993")),
    ],
  ] as const)("%s is refused by its signature", (_name, before, found, put) => {
    expect(verifyEvidence(inputFor(blobItem(utf8(before)))).verdict.signature.outcome).toBe("pass");
    const after = typeof put === "string" ? before.replace(found, put) : before.replace(found, put);
    expect(after).not.toBe(before);
    expect(verifyEvidence(inputFor(blobItem(utf8(after)))).verdict.signature.reason).toBe("signature-wrong");
  });
});

describe("A10: evidence that a node of ours passes on, or shows to a third party", () => {
  it("A10: is the host's, byte for byte, however it was laid out: through a relay, and in the client's document", async () => {
    const mesh = attackedMesh();
    const raw = await mesh.raw({ role: "host", models: ["scripted"] });
    const key = freshKey();
    const sent: EvidenceItem[] = [];
    attestByHand(raw, key, {
      evidence: async () => {
        const request = { endpointId: raw.id, inferenceKey: raw.key.publicKey, issuedAtMs: Date.now() };
        const item = await blobOf(key, request);
        const laidOut = JSON.stringify(JSON.parse(fromUtf8(item.evidence)), undefined, 3).replace(
          /}$/,
          ',"note":"\u00e9"}',
        );
        sent.push({ ...item, evidence: utf8(laidOut), collateral: [Uint8Array.of(0, 255, 10)] });
        return shows(...sent.slice(-1));
      },
    });
    const relay = await mesh.start("client");
    await raw.meet(relay);
    const client = await demandingClient(mesh, [relay], { ...demandsKey, route: "relay" });
    const { tier, evidence } = await hostIn(client, raw);
    expect(tier).toBe("key");
    expect(client.status().peers.find(({ endpoint_id: id }) => id === raw.id)?.connected).toBe(false);
    const shown = decodeEvidenceItem(utf8(JSON.stringify(evidence[0]?.item)));
    expect(shown).toEqual(sent.at(-1));
  });

  it("A10: is not made up by gossip: what others tell of a host holds no evidence of it", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host } = await enclaveHost(mesh, engine.url);
    const relay = await mesh.start("client", { join: [host.invite()] });
    await eventually("they have met", () => relay.status().peers.length > 0);
    const listener = await mesh.raw();
    await listener.meet(relay);
    const told = listener.heard.flatMap(({ announcements }) => announcements).find(({ id }) => id === host.endpointId);
    expect(told?.record).toBeDefined();
    expect(told?.evidence).toBeUndefined();
    await engine.close();
  });
});

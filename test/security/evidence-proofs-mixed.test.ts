/**
 * A peer's word, a maker's word and what was checked here must stay apart: in claims, in reasons, and in what is shown.
 */
import { describe, expect, it } from "vitest";
import { signSoftwareEvidence } from "../../src/attest/kinds/software.ts";
import type { Verified } from "../../src/attest/evidence.ts";
import { reasons } from "../../src/attest/reasons.ts";
import { factors } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { fromBase64, fromUtf8, toBase64, utf8 } from "../../src/base/bytes.ts";
import {
  attestByHand,
  blobOf,
  demandingClient,
  documentOf,
  enclaveHost,
  hostIn,
  shows,
} from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { attackedMesh } from "../support/raw-peer.ts";
import {
  blobItem,
  goodBlob,
  host,
  inferenceKey,
  inputFor,
  issuedAtMs,
  signedBlob,
  signP1363,
  testKey,
} from "../support/evidence.ts";

const key = testKey();
const nonce = new Uint8Array(32).fill(5);
const parts = { endpointId: host, inferenceKey, attestedKey: key.point, issuedAtMs };
const software = signSoftwareEvidence({ ...parts, nonce, sign: (message) => signP1363(key, message) });

function claimants({ claims }: Verified): ReadonlySet<string> {
  const { attestedKey: _shown, ...said } = claims;
  return new Set(Object.values(said).map(({ by }) => by));
}

describe("A12: kinds of proof", () => {
  it("what a signer says is its own word, also when it says that a maker does", () => {
    const boast = { chipName: "Apple (verified by vendor)", hardwareModel: '","by":"vendor' };
    const withMember = fromUtf8(goodBlob).replace('"chip_name"', '"by":"vendor","tier":"measured","chip_name"');
    for (const evidence of [goodBlob, signedBlob(boast), utf8(withMember)]) {
      const verified = verifyEvidence(inputFor(blobItem(evidence)));
      expect(verified.verdict.signature.outcome).toBe("pass");
      expect(claimants(verified)).toEqual(new Set(["self"]));
    }
  });

  it("nothing is claimed by evidence whose signature does not hold", () => {
    const forged = utf8(fromUtf8(goodBlob).replace("Mac16,1", "Mac16,2"));
    expect(verifyEvidence(inputFor(blobItem(forged))).claims).toEqual({});
  });

  it("the time beside an item is nobody's claim: only the signed one counts", () => {
    const verified = verifyEvidence(inputFor({ ...blobItem(goodBlob), issuedAtMs: 4_102_444_800_000 }));
    expect(verified.claims.issuedAtMs).toEqual({ value: issuedAtMs, by: "self" });
    expect(verified.verdict.fresh.reason).toBe("own-time");
  });

  it("a nonce counts when it was ours, and is told from a time of the signer's own", () => {
    const item = { ...blobItem(software), kind: "software" };
    const expected = { endpointId: host, inferenceKey, nonce };
    expect(verifyEvidence(inputFor(item, { expected })).verdict.fresh.reason).toBe("nonce-answered");
    const notOurs = { ...expected, nonce: new Uint8Array(32).fill(6) };
    expect(verifyEvidence(inputFor(item, { expected: notOurs })).verdict.binding.outcome).toBe("fail");
    const blob = verifyEvidence(inputFor(blobItem(goodBlob), { expected }));
    expect(blob.verdict.fresh.reason).toBe("own-time");
  });

  it("a verdict holds outcomes and codes of ours and nothing that a peer wrote", () => {
    const text = "PEER-TEXT";
    const { verdict } = verifyEvidence(
      inputFor(blobItem(signedBlob({ chipName: text, binaryHash: text, timestamp: text }))),
    );
    expect(JSON.stringify(verdict)).not.toContain(text);
    for (const factor of factors) expect(Object.keys(reasons)).toContain(verdict[factor].reason);
  });
});

describe("A12: the document of a node, GET /v1/mesh/attestation", () => {
  it("A12: says whose word each claim is, and calls nothing of a peer's the vendor's", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    enclave.says = { chipName: "Apple (by: vendor)" };
    const client = await demandingClient(mesh, [host]);
    const [piece] = (await hostIn(client, host)).evidence;
    const by = (claim: string): string | undefined => piece?.claims.find((row) => row.claim === claim)?.by;
    expect([by("attested key"), by("chip"), by("sip"), by("issued at")]).toEqual(["signature", "self", "self", "self"]);
    expect(piece?.claims.map((row) => row.by)).not.toContain("vendor");
    // and what was asked of it apart from what it signed by itself
    expect(piece?.challenge).toBe("answered");
    expect(piece?.factors.find(({ factor }) => factor === "fresh")).toMatchObject({
      outcome: "unknown",
      reason: "own-time",
    });
    await engine.close();
  });

  it("A12: holds the nonce that the client made for this question: 32 bytes, another each time, as the host got it", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const got: string[] = [];
    attestByHand(host, key, {
      evidence: async ({ nonce: asked = new Uint8Array(0) }) => {
        got.push(toBase64(asked));
        const request = { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() };
        return shows(await blobOf(key, request));
      },
    });
    const shown: (string | null | undefined)[] = [];
    for (let client = 0; client < 2; client += 1) {
      const asking = await demandingClient(mesh, [host], {});
      shown.push((await hostIn(asking, host)).evidence[0]?.nonce);
    }
    expect(shown).toEqual(got);
    expect(new Set(shown).size).toBe(2);
    for (const text of shown) expect(fromBase64(text ?? "", 32)).toHaveLength(32);
  });

  it("A12: says of evidence that came unasked that it did", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const request = { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() };
    const { evidence } = await blobOf(key, request);
    host.announcements = () => [host.own({ evidence })];
    const client = await demandingClient(mesh, [host], {});
    const report = await hostIn(client, host);
    expect(report.evidence).toMatchObject([{ nonce: null, challenge: "unasked" }]);
    expect([report.tier, report.why === null]).toEqual(["none", false]);
  });

  it("A12: of this machine's own evidence gives no verdict: nobody vouches for itself", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host } = await enclaveHost(mesh, engine.url);
    const [own] = (await documentOf(host)).hosts;
    expect(own).toMatchObject({ this_node: true, tier: null });
    expect(Object.keys(own?.evidence[0] ?? {}).toSorted()).toEqual(["item", "nonce"]);
    await engine.close();
  });
});

/**
 * A program makes a P-256 key and signs a blob that says it is a Mac with a Secure Enclave. Nothing in a blob tells it
 * from a real one; so the tier of both is the one that a program can reach.
 */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { secureEnclave } from "../../src/attest/kinds/secure-enclave.ts";
import { factors, lacksFor, type Standing, tierOf, tiers } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { tierTexts } from "../../src/policy/explain.ts";
import { demandingClient, enclaveHost, hostIn } from "../support/attested-mesh.ts";
import { caExtensions, madeCertificate, madeKey } from "../support/certificates.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { asked, attackedMesh, call } from "../support/raw-peer.ts";
import { blobItem, goodBlob, inputFor, signedBlob, testKey, withOutcome } from "../support/evidence.ts";

const program = testKey(randomBytes(32).toString("hex"));
const forged = signedBlob({ chipName: "Apple M4 Ultra", hardwareModel: "Mac16,9" }, program);
const standings: readonly Standing[] = [true, false].flatMap((challenged) =>
  (["none", "first-contact", "agrees", "disagrees"] as const).map((pin) => ({ challenged, pin })),
);

describe("A1: a software key that poses as an enclave", () => {
  it("cannot be told from the real thing, and so has the same verdict", () => {
    const { verdict } = verifyEvidence(inputFor(blobItem(forged)));
    expect(verdict).toEqual(verifyEvidence(inputFor(blobItem(goodBlob))).verdict);
    expect(withOutcome(verdict, "fail")).toEqual([]);
    expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "residence-own-word" });
    expect(verdict.chain.outcome).toBe("unknown");
  });

  it("reaches none unchallenged, key challenged, pinned with a pin, and never more", () => {
    const { verdict } = verifyEvidence(inputFor(blobItem(forged)));
    const reached = standings.map((standing) => tierOf("secure-enclave", verdict, standing));
    expect(reached).toEqual(["key", "key", "pinned", "none", "none", "none", "none", "none"]);
    for (const standing of standings) {
      expect(lacksFor("vendor", "secure-enclave", verdict, standing)).toEqual(
        expect.arrayContaining(["chain", "key-residence", "kind"]),
      );
    }
  });

  it("a maker's genuine chain copied beside it, with its root trusted, lifts nothing", () => {
    const [maker, chip] = [madeKey("P-256"), madeKey("P-256")];
    const signed = { issuer: "Maker", signer: maker.privateKey };
    const root = madeCertificate({ ...signed, subject: "Maker", spki: maker.spki, extensions: caExtensions() });
    const leaf = madeCertificate({ ...signed, subject: "Chip", spki: chip.spki });
    const { verdict } = verifyEvidence(inputFor({ ...blobItem(forged), collateral: [leaf, root] }, { roots: [root] }));
    expect(verdict).toEqual(verifyEvidence(inputFor(blobItem(forged))).verdict);
  });

  it("even a verdict with every factor passing does not lift the kind above pinned", () => {
    const pass = verifyEvidence(inputFor(blobItem(forged))).verdict.parse;
    const all = Object.fromEntries(factors.map((factor) => [factor, pass])) as ReturnType<
      typeof verifyEvidence
    >["verdict"];
    for (const standing of standings) {
      expect(tiers.indexOf(tierOf("secure-enclave", all, standing))).toBeLessThanOrEqual(tiers.indexOf("pinned"));
    }
  });

  it("and whoever sees the tier or the kind is told so", () => {
    expect(tierTexts.key.doesNotProve).toContain("a program can sign the same");
    expect(tierTexts.pinned.doesNotProve).toContain("that hardware holds it");
    expect(secureEnclave.note).toContain("cannot be checked");
  });
});

describe("A1: a node with such a key, asked for an answer", () => {
  it("A1: is taken for what it shows, tier `key`, and named as that to the caller", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host]);
    const answer = await call(client);
    const header = (name: string): string | null => answer.headers.get(`x-sealmesh-${name}`);
    expect([answer.status, header("attested"), header("evidence")]).toEqual([200, "key", "secure-enclave"]);
    expect(header("attested-key")).toBe(enclave.fingerprint);
    const { evidence } = await hostIn(client, host);
    const residence = evidence[0]?.factors.find(({ factor }) => factor === "key-residence");
    expect(residence).toMatchObject({ outcome: "unknown", reason: "residence-own-word" });
    await engine.close();
  });

  it.each(["vendor", "measured"] as const)(
    "A1: is refused where `%s` is demanded, with what no program can show",
    async (tier) => {
      const mesh = attackedMesh();
      const engine = await startEngineServer();
      const { host } = await enclaveHost(mesh, engine.url);
      const client = await demandingClient(mesh, [host], { requireAttestedHosts: tier });
      const refused = await call(client);
      expect([refused.status, refused.code]).toEqual([503, "refused"]);
      for (const lack of ["chain (not-shown)", "key-residence (residence-own-word)", "kind: "]) {
        expect(refused.message).toContain(lack);
      }
      expect(asked(engine)).toEqual([]);
      await engine.close();
    },
  );
});

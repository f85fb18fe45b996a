/** A TPM of a maker that the operator does not trust: anyone can make an emulator, and call its maker what he likes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Collector } from "../../src/attest/collect/collector.ts";
import type { EvidenceItem, KeySeen } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { parseCertificate } from "../../src/crypto/x509.ts";
import type { Flags } from "../../src/node/config.ts";
import { configFile, demandingClient } from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { temporaryDirectory } from "../support/mesh.ts";
import { asked, attackedMesh, call } from "../support/raw-peer.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { inputFor } from "../support/tpm-forger.ts";
import { askResidence, collectFrom, collectorFor } from "../support/tpm-host.ts";

const standing = { challenged: true, pin: "agrees" } as const;

describe.skipIf(swtpmMissing !== undefined)("two makers", () => {
  let trusted: TpmMaker;
  let unknown: TpmMaker;
  let tpm: Swtpm;
  let item: EvidenceItem;
  let seen: KeySeen;

  beforeAll(async () => {
    [trusted, unknown] = await Promise.all([startTpmMaker(), startTpmMaker()]);
    tpm = await unknown.makeTpm();
    const collector: Collector = collectorFor(tpm, unknown);
    item = await collectFrom(collector);
    seen = await askResidence(collector, item);
  }, 60_000);

  afterAll(() => Promise.all([trusted?.close(), unknown?.close()]));

  test("the evidence is vouched for where its maker is trusted", () => {
    const { verdict } = tpm2.verify(inputFor(item, { roots: [unknown.root], seen }));
    expect(tierOf("tpm2", verdict, standing)).toBe("vendor");
  });

  test("another maker of the same name does not vouch for it", () => {
    const name = (der: Uint8Array): string => Buffer.from(parseCertificate(der).subject).toString("hex");
    expect(name(trusted.root)).toBe(name(unknown.root));
    const { verdict, claims } = tpm2.verify(inputFor(item, { roots: [trusted.root], seen }));
    expect(verdict.chain).toEqual({ outcome: "fail", reason: "chain-wrong" });
    expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "residence-own-word" });
    expect(claims.tpmManufacturer).toBeUndefined();
    expect(tierOf("tpm2", verdict, standing)).toBe("none");
  });

  test("a root that comes with the evidence counts for nothing", () => {
    const withRoot = { ...item, collateral: [...item.collateral, unknown.root] };
    const { verdict } = tpm2.verify(inputFor(withRoot, { roots: [trusted.intermediate], seen }));
    expect(verdict.chain.outcome).not.toBe("pass");
    expect(tpm2.verify(inputFor(withRoot, { seen })).verdict.chain).toEqual({ outcome: "unknown", reason: "no-roots" });
  });

  test("a certificate that is none for endorsement keys does not vouch, whoever signed it", () => {
    const authority = { ...item, collateral: [unknown.intermediate] };
    const { verdict } = tpm2.verify(inputFor(authority, { roots: [unknown.root], seen }));
    expect(verdict.chain).toEqual({ outcome: "fail", reason: "chain-wrong" });
  });

  test("before the maker's certificates begin, the chain says to compare the clocks", () => {
    const nowMs = item.issuedAtMs - 86_400_000;
    const { verdict } = tpm2.verify(inputFor(item, { roots: [unknown.root], seen, nowMs }));
    expect(verdict.chain).toEqual({ outcome: "unknown", reason: "chain-not-yet-valid" });
  });

  test("a node with such a TPM gets prompts from who trusts its maker, and from nobody who demands `vendor` otherwise", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const file = (name: string, der: Uint8Array): string => {
      const path = join(temporaryDirectory(), name);
      writeFileSync(path, der, { mode: 0o600 });
      return path;
    };
    const intermediate = file("maker.der", unknown.intermediate);
    const config = configFile(`[attest]\ntpm_certificates = ["${intermediate}"]\n`);
    const host = await mesh.start("serve", { engine: [engine.url], tpm: tpm.place, config });
    const demand = (root?: Uint8Array): Flags => {
      return { requireAttestedHosts: "vendor", ...(root ? { trustRoots: [file("root.der", root)] } : {}) };
    };
    const answer = await call(await demandingClient(mesh, [host], demand(unknown.root)));
    expect([answer.status, answer.headers.get("x-sealmesh-attested")]).toEqual([200, "vendor"]);
    for (const [root, reason] of [
      [trusted.root, "chain-wrong"],
      [undefined, "no-roots"],
    ] as const) {
      const refused = await call(await demandingClient(mesh, [host], demand(root)));
      expect([refused.status, refused.message]).toEqual([503, expect.stringContaining(`chain (${reason})`)]);
    }
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  }, 30_000);
});

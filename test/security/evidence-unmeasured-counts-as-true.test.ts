/**
 * A signer that did not measure something leaves it out, or writes what looks good (the reference writes that secure boot
 * is on without looking). What is absent must never count as good, and what is written never as measured.
 */
import { describe, expect, it } from "vitest";
import { factors, fail, type FactorVerdict, stale, tierOf, unknown, verdictOf } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import type { CollectorKind } from "../../src/attest/collect/collector.ts";
import { secureEnclaveCollector } from "../../src/attest/collect/secure-enclave.ts";
import { demandingClient } from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { asked, attackedMesh, call } from "../support/raw-peer.ts";
import { macOutputs, recorded } from "../support/security-framework/mac.ts";
import { standInLibraries, standInMissing } from "../support/security-framework/stand-in.ts";
import { blobItem, goodBlob, inputFor, signedBlob, withOutcome } from "../support/evidence.ts";

const text = fromUtf8(goodBlob);
const flags = ["sip_enabled", "secure_boot_enabled", "rdma_disabled"] as const;
const verdictFor = (evidence: Uint8Array): ReturnType<typeof verifyEvidence>["verdict"] =>
  verifyEvidence(inputFor(blobItem(evidence))).verdict;

describe("A4: what was not measured", () => {
  it.each(flags)("%s left out, null, a text or a number is no blob, and no flag", (flag) => {
    const good = `"${flag}":true,`;
    expect(text).toContain(good);
    for (const value of ["", `"${flag}":null,`, `"${flag}":"enabled",`, `"${flag}":1,`, `"${flag}":[true],`]) {
      const verdict = verdictFor(utf8(text.replace(good, value)));
      expect([verdict.parse.outcome, verdict["device-state"].outcome]).toEqual(["fail", "unknown"]);
    }
  });

  it.each(["sip", "secureBoot", "rdmaDisabled"] as const)("%s off fails, with the other two on", (flag) => {
    expect(verdictFor(signedBlob({ [flag]: false }))["device-state"].outcome).toBe("fail");
  });

  it("flags that are on are the signer's words: no claim in a blob is a maker's", () => {
    const { claims, verdict } = verifyEvidence(inputFor(blobItem(goodBlob)));
    expect(verdict["device-state"].reason).toBe("flags-own-word");
    for (const claim of [claims.sip, claims.secureBoot, claims.rdmaDisabled]) {
      expect(claim).toEqual({ value: true, by: "self" });
    }
  });

  it("an empty build is no measurement, and worth no more than a wrong one where a list is demanded", () => {
    const item = blobItem(signedBlob({ binaryHash: "" }));
    const { claims, verdict } = verifyEvidence(inputFor(item));
    expect([claims.measurement, verdict.measurement.outcome]).toEqual([undefined, "unknown"]);
    const withList = verifyEvidence(inputFor(item, { measurements: new Set(["", "aa".repeat(32)]) }));
    expect(withList.verdict.measurement).toEqual({ outcome: "fail", reason: "measurement-missing" });
  });

  it("what a blob cannot show is unknown, each by name", () => {
    expect(withOutcome(verdictFor(goodBlob), "unknown")).toEqual([
      "chain",
      "revocation",
      "fresh",
      "key-residence",
      "debug",
      "tcb",
      "measurement",
      "gpu-link",
    ]);
  });

  it.each<[string, FactorVerdict]>([
    ["unknown", unknown("not-shown")],
    ["stale", stale("too-old")],
    ["fail", fail("malformed")],
  ])("a verdict in which everything is %s reaches no tier, with any standing", (_name, all) => {
    const verdict = verdictOf(Object.fromEntries(factors.map((factor) => [factor, all])));
    for (const kind of ["secure-enclave", "tpm2", "software"]) {
      expect(tierOf(kind, verdict, { challenged: true, pin: "agrees" })).toBe("none");
    }
  });
});

describe.skipIf(standInMissing !== undefined)("A4: a Mac that could not measure", () => {
  const tools = {
    sip: "/usr/bin/csrutil status",
    "secure-boot": "/usr/sbin/system_profiler -json SPiBridgeDataType",
    rdma: "/usr/bin/rdma_ctl status",
  };

  it.each(Object.entries(tools))(
    "A4: %s says so in its blob, and gets no prompt where evidence is demanded",
    async (flag, tool) => {
      const { [tool]: _missing, ...outputs } = macOutputs;
      expect(Object.keys(outputs)).toHaveLength(Object.keys(macOutputs).length - 1);
      const collector: CollectorKind = {
        kind: "secure-enclave",
        wanted: () => true,
        create: (settings) =>
          secureEnclaveCollector.create({
            ...settings,
            appleLibraries: standInLibraries,
            runCommand: recorded(outputs).run,
          }),
      };
      const mesh = attackedMesh();
      const engine = await startEngineServer();
      const host = await mesh.start("serve", { engine: [engine.url] }, { collectors: [collector] });
      const refused = await call(await demandingClient(mesh, [host]));
      expect([refused.status, refused.message]).toEqual([503, expect.stringContaining(`device-state (${flag}-o`)]);
      expect(asked(engine)).toEqual([]);
      await engine.close();
    },
  );
});

/** Evidence of a program's own key: made only where it was asked for, checked as any other, worth nothing. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Collector, EvidenceRequest } from "../../../src/attest/collect/collector.ts";
import { collectorKinds } from "../../../src/attest/collect/registry.ts";
import { softwareCollector } from "../../../src/attest/collect/software.ts";
import { software } from "../../../src/attest/kinds/software.ts";
import { tierOf } from "../../../src/attest/verdict.ts";
import { verifyP256 } from "../../../src/crypto/p256.ts";
import { host, inferenceKey, inputFor, issuedAtMs, withOutcome } from "../../support/evidence.ts";

const make = (): Collector => softwareCollector.create({ software: true });
const request: EvidenceRequest = { endpointId: host, inferenceKey, nonce: undefined, issuedAtMs };

describe("software", () => {
  it("makes evidence that holds, and reaches no tier whatever else does", async () => {
    const { claims, verdict } = software.verify(inputFor(await make().collect(request)));
    expect(withOutcome(verdict, "pass")).toEqual(["parse", "signature", "binding"]);
    expect(claims.issuedAtMs?.value).toBe(issuedAtMs);
    expect(tierOf("software", verdict, { challenged: true, pin: "agrees" })).toBe("none");
  });

  it("binds the nonce that it was asked with", async () => {
    const nonce = Uint8Array.from(randomBytes(32));
    const item = await make().collect({ ...request, nonce });
    const verdictFor = (asked: Uint8Array | undefined): string =>
      software.verify(inputFor(item, { expected: { endpointId: host, inferenceKey, nonce: asked } })).verdict.binding
        .outcome;
    expect([verdictFor(nonce), verdictFor(undefined), verdictFor(new Uint8Array(32))]).toEqual([
      "pass",
      "fail",
      "fail",
    ]);
  });

  it("has one key as long as it lives, says so, and answers challenges with it", async () => {
    const collector = make();
    const keyOf = async (from: Collector): Promise<Uint8Array> =>
      software.verify(inputFor(await from.collect(request))).claims.attestedKey ?? new Uint8Array(0);
    const publicKey = await keyOf(collector);
    expect(await keyOf(collector)).toEqual(publicKey);
    expect(await keyOf(make())).not.toEqual(publicKey);
    expect(collector.keyLife).toBe("process");
    const message = Uint8Array.of(1, 2, 3);
    const signature = await collector.sign(message);
    expect(verifyP256({ publicKey, message, signature, form: "der" })).toBe(true);
  });
});

describe("the kinds that are made", () => {
  const wanted = (settings: Parameters<typeof softwareCollector.wanted>[0]): readonly string[] =>
    collectorKinds.filter((kind) => kind.wanted(settings)).map(({ kind }) => kind);

  it.skipIf(process.platform === "darwin")("are none where nothing was asked for", () => {
    expect(wanted({})).toEqual([]);
    expect(wanted({ software: false })).toEqual([]);
  });

  it("are those that were asked for", () => {
    const appleLibraries = { coreFoundation: "/a", security: "/b" };
    expect(wanted({ tpm: "/dev/tpmrm0" })).toContain("tpm2");
    expect(wanted({ software: true })).toContain("software");
    expect(wanted({ appleLibraries })).toEqual(["secure-enclave"]);
    expect(wanted({ tpm: "/dev/tpmrm0", appleLibraries, software: true })).toEqual([
      "tpm2",
      "secure-enclave",
      "software",
    ]);
  });
});

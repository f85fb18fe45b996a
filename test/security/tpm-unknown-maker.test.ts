/** A TPM of a maker that the operator does not trust: anyone can make an emulator, and call its maker what he likes. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Collector } from "../../src/attest/collect/collector.ts";
import type { EvidenceItem, KeySeen } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { parseCertificate } from "../../src/crypto/x509.ts";
import { startTpmMaker, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { inputFor } from "../support/tpm-forger.ts";
import { askResidence, collectFrom, collectorFor } from "../support/tpm-host.ts";

const standing = { challenged: true, pin: "agrees" } as const;

describe.skipIf(swtpmMissing !== undefined)("two makers", () => {
  let trusted: TpmMaker;
  let unknown: TpmMaker;
  let item: EvidenceItem;
  let seen: KeySeen;

  beforeAll(async () => {
    [trusted, unknown] = await Promise.all([startTpmMaker(), startTpmMaker()]);
    const collector: Collector = collectorFor(await unknown.makeTpm(), unknown);
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
});

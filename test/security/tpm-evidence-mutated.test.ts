/** Bytes of real evidence and its certificates, changed one at a time: none is accepted as vouched for any more. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EvidenceItem, KeySeen } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { startTpmMaker, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { inputFor } from "../support/tpm-forger.ts";
import { askResidence, collectFrom, collectorFor } from "../support/tpm-host.ts";

const standing = { challenged: true, pin: "agrees" } as const;

describe.skipIf(swtpmMissing !== undefined)("one byte changed", () => {
  let maker: TpmMaker;
  let item: EvidenceItem;
  let seen: KeySeen;

  beforeAll(async () => {
    maker = await startTpmMaker();
    const collector = collectorFor(await maker.makeTpm(), maker);
    item = await collectFrom(collector);
    seen = await askResidence(collector, item);
  }, 60_000);

  afterAll(() => maker?.close());

  const tier = (of: EvidenceItem): string =>
    tierOf("tpm2", tpm2.verify(inputFor(of, { roots: [maker.root], seen, nowMs: item.issuedAtMs })).verdict, standing);

  function changed(bytes: Uint8Array, at: number): Uint8Array {
    const copy = bytes.slice();
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  }

  test("in the evidence, wherever it stands", () => {
    expect(tier(item)).toBe("vendor");
    const accepted = [...item.evidence.keys()].filter(
      (at) => tier({ ...item, evidence: changed(item.evidence, at) }) === "vendor",
    );
    expect(accepted).toEqual([]);
  });

  test("in a certificate", () => {
    for (const [index, certificate] of item.collateral.entries()) {
      // every seventh: all of them take ten seconds
      const accepted = [...certificate.keys()].filter((at) => {
        if (at % 7 !== 0) return false;
        const collateral = item.collateral.with(index, changed(certificate, at));
        return tier({ ...item, collateral }) === "vendor";
      });
      expect(accepted).toEqual([]);
    }
  });
});

/** Two honest TPMs of one maker, and a host that puts together what belongs to different ones. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Collector } from "../../src/attest/collect/collector.ts";
import { decodeTpmEvidence, encodeTpmEvidence } from "../../src/attest/collect/tpm/evidence.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { rejectsWith } from "../support/expect-code.ts";
import { startTpmMaker, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { forge, inputFor, softwareKey } from "../support/tpm-forger.ts";
import { askResidence, collectFrom, collectorFor } from "../support/tpm-host.ts";

const standing = { challenged: true, pin: "agrees" } as const;

describe.skipIf(swtpmMissing !== undefined)("two TPMs", () => {
  let maker: TpmMaker;
  let one: Collector;
  let other: Collector;

  beforeAll(async () => {
    maker = await startTpmMaker();
    one = collectorFor(await maker.makeTpm(), maker);
    other = collectorFor(await maker.makeTpm(), maker);
  }, 60_000);

  afterAll(() => maker?.close());

  /** Quote of one, endorsement key and certificate of another. */
  function spliced(quoting: EvidenceItem, endorsing: EvidenceItem): EvidenceItem {
    const { endorsementKey } = decodeTpmEvidence(endorsing.evidence);
    const evidence = encodeTpmEvidence({ ...decodeTpmEvidence(quoting.evidence), endorsementKey });
    return { ...quoting, evidence, collateral: endorsing.collateral };
  }

  test("the key of one under the certificate of the other is found out by neither's answer", async () => {
    const item = spliced(await collectFrom(one), await collectFrom(other));
    const { verdict } = tpm2.verify(inputFor(item, { roots: [maker.root] }));
    expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "not-activated" });
    await rejectsWith("E_OPEN", askResidence(one, item));
    await rejectsWith("E_OPEN", askResidence(other, item));
  });

  test("a software key under the certificate of a TPM is found out by the TPM", async () => {
    const item = spliced(forge({ key: softwareKey() }), await collectFrom(other));
    const time = { nowMs: Date.now(), maxAgeMs: Infinity };
    const { verdict } = tpm2.verify(inputFor(item, { roots: [maker.root], ...time }));
    expect(tierOf("tpm2", verdict, standing)).toBe("pinned");
    expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "not-activated" });
    await rejectsWith("E_OPEN", askResidence(other, item));
  });

  test("what each has proven for itself proves nothing for the mixture", async () => {
    const [mine, theirs] = [await collectFrom(one), await collectFrom(other)];
    for (const seen of [await askResidence(one, mine), await askResidence(other, theirs)]) {
      const { verdict } = tpm2.verify(inputFor(spliced(mine, theirs), { roots: [maker.root], seen }));
      expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "not-activated" });
      expect(tierOf("tpm2", verdict, standing)).toBe("pinned");
    }
  });

  test("the certificate of one beside the endorsement key of the other is for another chip", async () => {
    const mine = await collectFrom(one);
    const item = { ...mine, collateral: (await collectFrom(other)).collateral };
    const seen = await askResidence(one, mine);
    const { verdict } = tpm2.verify(inputFor(item, { roots: [maker.root], seen }));
    expect(verdict.chain.outcome).toBe("pass");
    expect(verdict["key-residence"]).toEqual({ outcome: "fail", reason: "other-chip" });
    expect(tierOf("tpm2", verdict, standing)).toBe("none");
  });

  test("so it is with no endorsement key at all", async () => {
    const mine = await collectFrom(one);
    const evidence = encodeTpmEvidence({ ...decodeTpmEvidence(mine.evidence), endorsementKey: new Uint8Array(0) });
    const seen = await askResidence(one, mine);
    const { verdict } = tpm2.verify(inputFor({ ...mine, evidence }, { roots: [maker.root], seen }));
    expect(verdict["key-residence"]).toEqual({ outcome: "fail", reason: "other-chip" });
  });

  test("a question that is cut or changed is no question", async () => {
    const question = tpm2.residence?.(await collectFrom(one), new Uint8Array(32))?.question ?? new Uint8Array(0);
    await rejectsWith("E_WIRE", one.answerResidence?.(question.slice(0, -1)) ?? Promise.resolve());
    const changed = question.slice();
    changed[40] = (changed[40] ?? 0) ^ 1;
    await rejectsWith("E_OPEN", one.answerResidence?.(changed) ?? Promise.resolve());
  });
});

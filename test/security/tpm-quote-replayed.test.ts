/** A quote that was once right is shown for something else: another node, another key, another question, or later. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Collector } from "../../src/attest/collect/collector.ts";
import type { VerifyInput } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { tierOf, type Verdict } from "../../src/attest/verdict.ts";
import { endpointId } from "../../src/base/brand.ts";
import { startTpmMaker, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { host, inferenceKey, inputFor } from "../support/tpm-forger.ts";
import { askResidence, collectFrom, collectorFor } from "../support/tpm-host.ts";

const standing = { challenged: true, pin: "agrees" } as const;

describe.skipIf(swtpmMissing !== undefined)("a quote of a real TPM", () => {
  let maker: TpmMaker;
  let collector: Collector;
  const nonce = new Uint8Array(randomBytes(32));
  const expected = { endpointId: host, inferenceKey, nonce };

  beforeAll(async () => {
    maker = await startTpmMaker();
    collector = collectorFor(await maker.makeTpm(), maker);
  }, 60_000);

  afterAll(() => maker?.close());

  async function judge(change: (input: VerifyInput) => Partial<VerifyInput>): Promise<Verdict> {
    const item = await collectFrom(collector, nonce);
    const input = inputFor(item, { roots: [maker.root], expected, seen: await askResidence(collector, item) });
    expect(tierOf("tpm2", tpm2.verify(input).verdict, standing)).toBe("vendor");
    return tpm2.verify({ ...input, ...change(input) }).verdict;
  }

  test.each([
    ["for another nonce", { ...expected, nonce: new Uint8Array(32) }],
    ["for another node", { ...expected, endpointId: endpointId("cd".repeat(32)) }],
    ["for another inference key", { ...expected, inferenceKey: new Uint8Array(32) }],
    ["as if nobody had asked", { ...expected, nonce: undefined }],
  ])("%s fails in its binding", async (_what, other) => {
    const verdict = await judge(() => ({ expected: other }));
    expect(verdict.binding).toEqual({ outcome: "fail", reason: "binding-differs" });
    expect(tierOf("tpm2", verdict, standing)).toBe("none");
  });

  test("after its time is stale, although it answers the nonce", async () => {
    const verdict = await judge(({ nowMs }) => ({ nowMs: nowMs + 660_001 }));
    expect(verdict.fresh).toEqual({ outcome: "stale", reason: "too-old" });
    expect(tierOf("tpm2", verdict, standing)).toBe("none");
  });

  test("from before what was already seen of the same key counts no more", async () => {
    const older = await collectFrom(collector);
    const newer = await collectFrom(collector);
    const { counters } = tpm2.verify(inputFor(newer));
    const verdict = tpm2.verify(inputFor(older, counters ? { seen: { counters } } : {})).verdict;
    expect(verdict.fresh).toEqual({ outcome: "stale", reason: "older-than-seen" });
  });
});

/** Evidence is judged by the builds that are accepted as of now, and a listed one lifts no tier. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type HostProof, tierOfHost } from "../../../src/attest/proof.ts";
import { type HostNow, KnownHost } from "../../../src/mesh/known-host.ts";
import { emptyPinBook } from "../../../src/policy/pins.ts";
import { digestA, digestB } from "../../support/build-lists.ts";
import { enclaveItem, freshId, freshKey, madeChip, tpmItem } from "../../support/fake-hosts.ts";

const nowMs = Date.UTC(2026, 5, 1);
const nobody = { ofThisSession: new Set<string>(), acceptedKeys: new Set<string>() };
const chip = madeChip();
const settings = { roots: [chip.root], maxAgeMs: 660_000, aheadMs: 30_000, challengeValidMs: 240_000 };

/** What is thought of a host whose evidence names `build` while these builds are accepted; its key has answered. */
function judged(build: string | undefined, accepted: readonly string[] | undefined, tpm = false): HostProof {
  const [id, key, nonce] = [freshId(), freshKey(), new Uint8Array(randomBytes(32))];
  const inferenceKey = new Uint8Array(randomBytes(32));
  const parts = { key, id, inferenceKey, atMs: nowMs, ...(build === undefined ? {} : { build }) };
  const measurements = accepted && new Set(accepted);
  const host: HostNow = { id, inferenceKey, hasRecord: true, blob: undefined, nowMs, measurements };
  const known = new KnownHost(settings);
  known.showed([tpm ? tpmItem({ ...parts, nonce, chip }) : enclaveItem(parts)], nonce, host);
  known.challenged(key.point, inferenceKey, "answered", nowMs);
  return known.judge(host, emptyPinBook, nobody);
}
const factor = ({ pieces: [piece] }: HostProof): string => {
  const { outcome, reason } = piece?.verdict.measurement ?? {};
  return `${outcome} ${reason}`;
};

describe.each([false, true])("evidence, from a TPM: %s", (tpm) => {
  it("without a list its build is unknown", () => {
    expect(factor(judged(digestA, undefined, tpm))).toBe("unknown no-list");
  });

  it("with one it is on it, by its own word, or it is not, or it names none", () => {
    expect(factor(judged(digestA, [digestA, digestB], tpm))).toBe("pass measurement-listed-own-word");
    expect(factor(judged(digestA, [digestB], tpm))).toBe("fail not-listed");
    expect(factor(judged(undefined, [digestB], tpm))).toBe("fail measurement-missing");
    expect(factor(judged(digestA, [], tpm))).toBe("fail not-listed");
  });

  it("a listed build lifts no tier, and one that is not listed leaves none", () => {
    expect(tierOfHost(judged(digestA, [digestA], tpm))).toBe(tierOfHost(judged(digestA, undefined, tpm)));
    expect(tierOfHost(judged(digestA, [digestA], tpm))).toBe("key");
    expect(tierOfHost(judged(digestA, [digestB], tpm))).toBe("none");
  });
});

/**
 * The product could say more than it knows: "verified hardware", a model or an engine that nobody measured. What it says
 * is taken from tables; this holds those tables, and the page for users, to what evidence can show.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evidenceKinds } from "../../src/attest/registry.ts";
import { reasons } from "../../src/attest/reasons.ts";
import { factors, tiers } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { defaults } from "../../src/node/defaults.ts";
import { factorTexts, tierTexts } from "../../src/policy/explain.ts";
import { blobItem, goodBlob, inputFor } from "../support/evidence.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/attestation.md"), "utf8");
const oneLine = page.replace(/\s+/g, " ");
const sentences = [
  ...Object.values(reasons),
  ...tiers.flatMap((tier) => Object.values(tierTexts[tier])),
  ...Object.values(factorTexts),
  ...evidenceKinds.flatMap(({ note }) => note ?? []),
];

describe("A6: claims reach no further than what was measured", () => {
  it("a blob leads to no claim about model, engine, logs or prompts", () => {
    const { claims } = verifyEvidence(inputFor(blobItem(goodBlob)));
    expect(Object.keys(claims).toSorted()).toEqual(
      [
        "attestedKey",
        "chip",
        "hardwareModel",
        "issuedAtMs",
        "measurement",
        "memoryBytes",
        "rdmaDisabled",
        "secureBoot",
        "sip",
      ].toSorted(),
    );
  });

  it("no sentence of ours promises: safe, secure host, verified hardware, guaranteed, trustworthy", () => {
    for (const sentence of sentences) {
      expect(sentence).not.toMatch(
        /\b(?:safe|secure(?! boot| enclave)|verified|guarantee[sd]?|trustworthy|proven|private)\b/i,
      );
    }
  });

  it("every sentence about a peer's word says whose word it is", () => {
    for (const [code, sentence] of Object.entries(reasons)) {
      const isWord = code.endsWith("own-word") || /^(?:sip|secure-boot|rdma)-/.test(code);
      if (isWord) expect(sentence, code).toMatch(/[Tt]he signer/);
    }
  });

  it("each tier says what it does not prove, and docs/attestation.md says both in the same words", () => {
    for (const tier of tiers) {
      const { proves, doesNotProve } = tierTexts[tier];
      expect(doesNotProve.length).toBeGreaterThan(20);
      expect(oneLine, tier).toContain(proves);
      expect(oneLine, tier).toContain(doesNotProve);
    }
  });

  it("docs/attestation.md asks each factor's question, and names each kind with its note", () => {
    for (const factor of factors) expect(oneLine).toContain(`| \`${factor}\` | ${factorTexts[factor]} |`);
    for (const { kind, note } of evidenceKinds) {
      expect(oneLine).toContain(`\`${kind}\``);
      if (note !== undefined) expect(oneLine, kind).toContain(note);
    }
  });

  it("docs/attestation.md names the times that a node starts with", () => {
    const times: readonly (readonly [setting: string, ms: number])[] = [
      ["[policy] evidence_max_age", defaults.evidenceMaxAgeMs],
      ["[policy] evidence_ahead", defaults.evidenceAheadMs],
      ["[challenge] interval", defaults.challengeIntervalMs],
      ["[attest] refresh", defaults.evidenceRefreshMs],
    ];
    for (const [setting, ms] of times) expect(oneLine).toContain(`| \`${setting}\` | ${ms / 1_000} s |`);
  });
});

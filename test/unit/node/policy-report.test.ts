import { describe, expect, it } from "vitest";
import { policyReport, type PolicyFacts, type PolicyReport } from "../../../src/node/policy-report.ts";
import { decide, type HostFacts } from "../../../src/policy/decide.ts";
import { openPolicy, type Policy } from "../../../src/policy/policy.ts";
import { stale, unknown } from "../../../src/attest/verdict.ts";
import { changedPin, demanding, host, id, noKey, now, otherId, showing, tpm } from "../policy/made-hosts.ts";
import { expectCode } from "../../support/expect-code.ts";
import { whatIfOf } from "../../../src/node/http/policy.ts";
import { untold } from "../../support/postures.ts";

const known = (facts: HostFacts, models: readonly string[], name?: string): PolicyFacts => ({
  facts,
  models,
  name,
  posture: untold,
  build: null,
});
const reportOf = (hosts: readonly PolicyFacts[], policy: Policy = openPolicy): PolicyReport =>
  policyReport({ policy, whatIf: false, hosts, nowMs: now });

describe("the report on policy", () => {
  it("says of each host how a prompt would go to it, with what it has proven", () => {
    const { hosts, demanded, policy } = reportOf([known(host({ proof: showing(tpm()) }), ["m"], "rack 4")]);
    expect(hosts).toEqual([
      {
        endpoint_id: id,
        name: "rack 4",
        models: ["m"],
        decision: "allow",
        route: "sealed",
        tier: "vendor",
        reasons: [],
        sentence: expect.stringContaining("Prompts are sealed to it."),
      },
    ]);
    expect(demanded).toEqual([]);
    expect(policy.require_attested_hosts).toBeNull();
  });

  it("says of one in the clear, model by model, what follows from the others that serve it", () => {
    const plain = known(host({ id: otherId, key: noKey }), ["both", "alone", "also alone"]);
    const hosts = [plain, known(host(), ["both"])];
    const rows = reportOf(hosts).hosts;
    expect(rows.map(({ endpoint_id, models, decision, route }) => [endpoint_id, models, decision, route])).toEqual([
      [otherId, ["both"], "refuse", null],
      [otherId, ["alone", "also alone"], "allow", "plain"],
      [id, ["both"], "allow", "sealed"],
    ]);
    expect(rows[0]?.reasons).toEqual([
      { rule: "plain-not-allowed", code: "plain-not-allowed", sentence: expect.stringContaining("another host") },
    ]);
    // as a request for each model would have it
    for (const model of ["both", "alone"]) {
      const serving = hosts.filter(({ models }) => models.includes(model));
      const decisions = decide(
        serving.map(({ facts }) => facts),
        openPolicy,
        now,
      );
      for (const [index, { facts }] of serving.entries()) {
        const row = rows.find(({ endpoint_id, models }) => endpoint_id === facts.id && models.includes(model));
        expect(row?.decision).toBe(decisions[index]?.kind);
      }
    }
  });

  it("keeps each reason of a refusal apart", () => {
    const piece = tpm({ verdict: { chain: unknown("no-chain"), "key-residence": unknown("not-activated") } });
    const [row] = reportOf([known(host({ proof: showing(piece) }), ["m"])], demanding({ attested: "vendor" })).hosts;
    expect(row).toMatchObject({ decision: "refuse", route: null, tier: "key" });
    expect(row?.reasons.map(({ rule, code }) => `${rule} ${code}`)).toEqual([
      "tier-not-reached no-chain",
      "tier-not-reached not-activated",
    ]);
    expect(row?.sentence).toContain("tier-not-reached");
  });

  it.each([
    ["nothing was asked for", host(), ["not-asked"]],
    ["its evidence is old", host({ proof: showing(tpm({ verdict: { fresh: stale("too-old") } })) }), ["too-old"]],
    ["its key has changed", host({ proof: showing(tpm({ pin: changedPin })) }), ["pin-changed"]],
    ["it answers no challenge", host({ proof: showing(tpm({ challenge: "missed" })) }), ["challenge-missed"]],
  ])("%s", (_what, facts, codes) => {
    const [row] = reportOf([known(facts, ["m"])], demanding({ attested: "key" })).hosts;
    expect(row?.reasons.map(({ code }) => code)).toEqual(codes);
    for (const { sentence } of row?.reasons ?? []) expect(sentence).toMatch(/\.$/);
  });

  it("has a host that serves nothing now", () => {
    const [row] = reportOf([known(host(), [])]).hosts;
    expect(row).toMatchObject({ models: [], decision: "allow" });
    expect(row?.sentence).toContain("It serves no model now.");
  });

  it("tells what is demanded in words", () => {
    const policy = demanding({ attested: "pinned", plain: false, hardened: true, hosts: new Set([id]) });
    expect(reportOf([], policy).demanded).toEqual([
      "evidence of tier `pinned` or higher",
      "sealed prompts only",
      "the host's own signed word that it is hardened",
      "the one listed host",
    ]);
  });

  it("looks at hosts of many models without a decision for each of them", () => {
    const models = Array.from({ length: 256 }, (_, index) => `m${index}`);
    const many = Array.from({ length: 500 }, () => known(host(), models));
    const begunMs = performance.now();
    expect(reportOf(many).hosts).toHaveLength(500);
    expect(performance.now() - begunMs).toBeLessThan(1_000);
  });
});

describe("what can be tried", () => {
  it("is nothing, or some demands", () => {
    expect(whatIfOf({})).toBeUndefined();
    expect(whatIfOf({ require_attested_hosts: "none", require_hardened: "1" })).toEqual({
      attested: "none",
      encryption: undefined,
      hardened: true,
    });
    expect(whatIfOf({ require_encryption: "0" })).toMatchObject({ attested: undefined, encryption: false });
  });

  it.each([
    { require_attested_host: "key" },
    { require_attested_hosts: "" },
    { require_attested_hosts: "best" },
    { require_encryption: "yes" },
    { require_hardened: "2" },
    { token: "x" },
  ])("is not %j", (query) => expectCode("E_INPUT", () => whatIfOf(query as Record<string, string>)));
});

/** docs/policy.md is what the tables say, and every sentence of a refusal stands here as people see it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command as Commander } from "commander";
import { describe, expect, it } from "vitest";
import { policyPage } from "../../../scripts/policy-page.mjs";
import { fail, stale, unknown } from "../../../src/attest/verdict.ts";
import { serve } from "../../../src/cli/commands/serve.ts";
import { settingsFrom } from "../../../src/node/config-file.ts";
import { acceptedDigests, type AcceptedBuilds, judgeBuild } from "../../../src/policy/builds.ts";
import { decide, type HostFacts } from "../../../src/policy/decide.ts";
import { openPolicy, type Policy } from "../../../src/policy/policy.ts";
import { type Refusal, refusalRules, type RuleName } from "../../../src/policy/refusals.ts";
import type { BuildList } from "../../../src/wire/builds.ts";
import { digestA, digestB, listed, listOf, postureTelling } from "../../support/build-lists.ts";
import { postureWith } from "../../support/postures.ts";
import {
  changedPin,
  demanding,
  enclave,
  host,
  noKey,
  now,
  otherId,
  owner,
  showing,
  software,
  tpm,
} from "./made-hosts.ts";

const root = join(import.meta.dirname, "../../..");
const page = readFileSync(join(root, "docs/policy.md"), "utf8");
const vendor = demanding({ attested: "vendor" });
const key = demanding({ attested: "key" });
const hardened = demanding({ hardened: true });

/** Lists as if somebody had signed them. */
const byLists = (...lists: readonly BuildList[]): AcceptedBuilds => {
  const held = lists.map((list) => ({ signer: "its key", list, bytes: new Uint8Array(), signed: new Uint8Array() }));
  return {
    judge: (build, nowMs) => judgeBuild(held, build, nowMs),
    digests: (nowMs) => acceptedDigests(held, nowMs),
  };
};
const accepting = byLists(listOf([listed(digestA)], { notBeforeMs: 0, expiresMs: now + 1 }));

/** A host that says, signed, which build it runs. */
const runs = (build: string, proof?: HostFacts["proof"]): HostFacts =>
  host({ posture: { kind: "signed", posture: postureTelling(build) }, ...(proof ? { proof } : {}) });

interface Made {
  readonly facts: HostFacts;
  readonly policy: Policy;
}

/** For each rule a host that it refuses. */
const made: Readonly<Record<RuleName, Made>> = {
  "host-not-listed": { facts: host(), policy: demanding({ hosts: new Set([otherId]) }) },
  "owner-distrusted": { facts: host({ distrusted: "its owner was revoked" }), policy: openPolicy },
  "owner-not-accepted": { facts: host({ owner: "1f".repeat(32) }), policy: demanding({ owners: new Set([owner]) }) },
  "key-withheld": {
    facts: host({ key: { kind: "withheld", why: "it shows an inference key that cannot be used" } }),
    policy: openPolicy,
  },
  "no-key": { facts: host({ key: { kind: "unknown" } }), policy: openPolicy },
  "plain-not-allowed": { facts: host({ key: noKey }), policy: demanding({ plain: false }) },
  "encryption-required": { facts: host({ key: noKey }), policy: key },
  "builds-missing": { facts: runs(digestA), policy: demanding({ builds: byLists() }) },
  "build-not-told": { facts: host(), policy: demanding({ builds: accepting }) },
  "build-disagrees": {
    facts: runs(digestA, showing(enclave({ claims: { measurement: { value: digestB, by: "self" } } }))),
    policy: demanding({ builds: accepting }),
  },
  "build-revoked": {
    facts: runs(digestA),
    policy: demanding({ builds: byLists(listOf([listed(digestA, { revoked: true })])) }),
  },
  "builds-expired": {
    facts: runs(digestA),
    policy: demanding({ builds: byLists(listOf([listed(digestA)], { notBeforeMs: 0, expiresMs: now })) }),
  },
  "build-unknown": { facts: runs(digestB), policy: demanding({ builds: accepting }) },
  "pin-changed": { facts: host({ proof: showing(tpm({ pin: changedPin })) }), policy: vendor },
  "not-asked": { facts: host(), policy: vendor },
  "no-evidence": {
    facts: host({ proof: { pieces: [], why: "its connection was lost", asked: true } }),
    policy: vendor,
  },
  "challenge-failed": { facts: host({ proof: showing(enclave({ challenge: "failed" })) }), policy: key },
  "challenge-missed": { facts: host({ proof: showing(tpm({ challenge: "missed" })) }), policy: vendor },
  stale: { facts: host({ proof: showing(tpm({ verdict: { fresh: stale("too-old") } })) }), policy: vendor },
  "no-challenge": { facts: host({ proof: showing(enclave({ challenge: "impossible" })) }), policy: key },
  "challenge-unanswered": { facts: host({ proof: showing(enclave({ challenge: "unasked" })) }), policy: key },
  "tier-not-reached": {
    facts: host({ proof: showing(tpm({ verdict: { chain: unknown("no-chain") } })) }),
    policy: vendor,
  },
  "posture-missing": { facts: host({ proof: showing() }), policy: hardened },
  "posture-unsigned": { facts: host({ proof: showing(), posture: { kind: "unsigned" } }), policy: hardened },
  "posture-disagrees": { facts: host({ proof: showing(), posture: { kind: "disagrees" } }), policy: hardened },
  "not-hardened": {
    facts: host({
      proof: showing(),
      posture: { kind: "signed", posture: postureWith({ debugger: "open" }, { engine: "external" }) },
    }),
    policy: hardened,
  },
};

function refused({ facts, policy }: Made): Refusal {
  const [decision] = decide([facts], policy, now);
  if (decision?.kind !== "refuse") throw new Error("allowed");
  return decision.refusal;
}

const text = (facts: Partial<HostFacts>, policy: Policy): string => refused({ facts: host(facts), policy }).text;

describe("docs/policy.md", () => {
  it("is what `npm run generate` makes", async () => {
    expect(page).toBe(await policyPage(root));
  });

  it.each(Object.entries(refusalRules))("has the row of %s", (name, { asks, sentence, doNext }) => {
    const line = page.split("\n").find((row) => row.startsWith(`| \`${name}\` |`));
    for (const part of [asks, sentence, doNext]) expect(line).toContain(part);
  });

  it("has every rule once, in the order in which they are tried", () => {
    const names = [...page.matchAll(/^\| `([a-z][a-z-]+)` \| /gm)].map(([, name]) => name);
    expect(names).toEqual(Object.keys(refusalRules));
  });
});

describe("the settings on the page", () => {
  const rows = page.split("\n").flatMap((line) => {
    const [, flag, file] = /^\| (?:`(--[^`]+)`)? ?\| `(\[[^`]+)` \|/.exec(line) ?? [];
    return file === undefined ? [] : [{ flag, file }];
  });

  it("are known in a configuration file", () => {
    for (const { file } of rows) {
      const [, section = "", names = ""] = /^\[(\w+)\] (.+)$/.exec(file) ?? [];
      for (const name of names.split(", ")) {
        // a value that no setting takes: a known one says what it would take
        expect(() => settingsFrom(`[${section}]\n${name} = { }\n`, "file")).toThrow(`[${section}] ${name} takes `);
      }
    }
  });

  it("are flags of the command line as they stand there", () => {
    const command = new Commander();
    serve.addFlags?.(command);
    const known = command.options.map(({ flags }) => flags);
    for (const { flag } of rows) if (flag !== undefined) expect(known).toContain(flag);
  });
});

describe("sentences", () => {
  it("each rule has a made-up host, and refuses it", () => {
    for (const [name, one] of Object.entries(made)) expect(refused(one).rule).toBe(name);
    expect(Object.keys(made)).toEqual(Object.keys(refusalRules));
  });

  it("nothing is left to fill in", () => {
    for (const one of Object.values(made)) expect(refused(one).text).not.toMatch(/[{}]|undefined/);
  });

  it("one for each rule", () => {
    expect(Object.values(made).map((one) => refused(one).text)).toMatchInlineSnapshot(`
      [
        "--allow-hosts: host-not-listed: It is not on the list of hosts that may be asked.",
        "--trust-policy: owner-distrusted: It is refused: its owner was revoked.",
        "[policy] owners: owner-not-accepted: Its owner is 1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f, and only those on your list are accepted.",
        "key-withheld: There is no key to seal to: it shows an inference key that cannot be used.",
        "no-key: Nothing is known about its inference key at first hand.",
        "--require-encryption: plain-not-allowed: It has no inference key, and policy demands one.",
        "--require-attested-hosts=key: encryption-required: It has no inference key, so nothing can be sealed to it, and no evidence can be tied to it.",
        "--allow-builds: builds-missing: There is no list of accepted builds to go by.",
        "--allow-builds: build-not-told: It says nothing, signed, of the build that it runs.",
        "--allow-builds: build-disagrees: Its record names the build a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1, and its evidence another one: b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2.",
        "--allow-builds: build-revoked: The host says, signed, that it runs the build a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 (1.2.3), which was revoked.",
        "--allow-builds: builds-expired: The host says, signed, that it runs the build a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1. The list of accepted builds has expired at 1970-01-01T00:16:40.000Z.",
        "--allow-builds: build-unknown: The host says, signed, that it runs the build b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2, which is on no list of accepted ones.",
        "--require-attested-hosts=vendor: pin-changed: It shows tpm2 key dc7156746a46cbe6edfaceb4ccfb9b27, but tpm2 key 64f023a6cb9d7668a02588ce41fec64b is pinned for it. If you know why it changed, accept it with \`sealmesh trust pin abababababababababababababababababababababababababababababababab --kind tpm2 --key dc7156746a46cbe6edfaceb4ccfb9b27\`.",
        "--require-attested-hosts=vendor: not-asked: It has not been asked for evidence yet.",
        "--require-attested-hosts=vendor: no-evidence: It has shown no evidence. Asking it for evidence failed: its connection was lost.",
        "--require-attested-hosts=key: challenge-failed: A challenge came back with a wrong signature; its key counts for nothing until it answers one rightly.",
        "--require-attested-hosts=vendor: challenge-missed: Its key has left three challenges in a row without an answer, and counts for nothing until it answers one.",
        "--require-attested-hosts=vendor: stale: Its own time is older than allowed.",
        "--require-attested-hosts=key: no-challenge: It can answer no challenge, so its evidence may be a copy of another's.",
        "--require-attested-hosts=key: challenge-unanswered: Its key has answered no challenge yet.",
        "--require-attested-hosts=vendor: tier-not-reached: Its tpm2 evidence reaches \`key\`. It lacks: chain (no-chain): No certificate came with it.",
        "--require-hardened: posture-missing: It says nothing, signed, of how it is closed to others; what an older record of it said counts no more.",
        "--require-hardened: posture-unsigned: It tells a posture in gossip alone, where nobody signs it: that counts as unknown.",
        "--require-hardened: posture-disagrees: Its record and its evidence are both signed, and tell different postures.",
        "--require-hardened: not-hardened: The host says, signed, that it is not hardened: debugger (open). Its engine is another program, which sees the prompts and of which nothing is said.",
      ]
    `);
  });

  it("those that come with more", () => {
    expect([
      text({}, demanding({ owners: new Set([owner]) })),
      text(
        { proof: { pieces: [tpm({ verdict: { fresh: stale("too-old") } })], why: "it is busy.", asked: true } },
        vendor,
      ),
      text({ proof: showing(tpm({ challenge: "missed", verdict: { fresh: stale("too-old") } })) }, vendor),
      text({ proof: showing(enclave({ challenge: "impossible" })) }, vendor),
      text({ proof: showing(enclave({ verdict: { signature: fail("signature-wrong") } })) }, key),
      text({ proof: showing(enclave({ pin: { standing: "first-contact" } })) }, demanding({ attested: "pinned" })),
      text({ proof: showing(software({ challenge: "unasked" })) }, key),
      text({ proof: showing(tpm({ pin: changedPin })) }, openPolicy),
      text({ proof: showing() }, vendor),
    ]).toMatchInlineSnapshot(`
      [
        "[policy] owners: owner-not-accepted: Its owner is not shown, and only those on your list are accepted.",
        "--require-attested-hosts=vendor: stale: Its own time is older than allowed. Asking it for evidence failed: it is busy.",
        "--require-attested-hosts=vendor: challenge-missed: Its key has left three challenges in a row without an answer, and counts for nothing until it answers one. It also lacks: fresh (too-old): Its own time is older than allowed.",
        "--require-attested-hosts=vendor: no-challenge: It can answer no challenge, so its evidence may be a copy of another's. It also lacks: chain (not-shown): This kind of evidence does not show it. key-residence (residence-own-word): Only the signer says where its key is kept; a program could hold it. kind: Evidence of this kind never reaches that tier.",
        "--require-attested-hosts=key: tier-not-reached: Its secure-enclave evidence reaches \`none\`. It lacks: signature (signature-wrong): The signature does not hold.",
        "--require-attested-hosts=pinned: tier-not-reached: Its secure-enclave evidence reaches \`key\`. It lacks: pin: You have not confirmed its key, and no earlier session of this node has met it.",
        "--require-attested-hosts=key: tier-not-reached: Its software evidence reaches \`none\`. It lacks: challenge: Its key has answered no challenge yet. kind: Evidence of this kind never reaches that tier.",
        "pin-changed: It shows tpm2 key dc7156746a46cbe6edfaceb4ccfb9b27, but tpm2 key 64f023a6cb9d7668a02588ce41fec64b is pinned for it. If you know why it changed, accept it with \`sealmesh trust pin abababababababababababababababababababababababababababababababab --kind tpm2 --key dc7156746a46cbe6edfaceb4ccfb9b27\`.",
        "--require-attested-hosts=vendor: no-evidence: It has shown no evidence.",
      ]
    `);
  });

  it("the command that accepts a changed key has what this node adds to it, inside its quotes", () => {
    const changed = showing(tpm({ pin: changedPin }));
    for (const attested of [undefined, "vendor"] as const) {
      const policy = demanding({ attested, acceptArguments: " --data-dir '/srv/a b'" });
      expect(text({ proof: changed }, policy)).toMatch(/--key [0-9a-f]{32} --data-dir '\/srv\/a b'`\.$/);
    }
  });
});

/**
 * A posture is a host's own word. Whatever it says, no tier rises by it, and no word that users read calls it more than
 * what the host says, signed.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command as Commander } from "commander";
import { describe, expect, it } from "vitest";
import { tiers } from "../../src/attest/verdict.ts";
import { serve } from "../../src/cli/commands/serve.ts";
import { policyText } from "../../src/cli/policy-text.ts";
import type { ExplainReport } from "../../src/node/attestation-report.ts";
import { policyStatus } from "../../src/node/attestation-report.ts";
import { openPolicy } from "../../src/policy/policy.ts";
import { postureRules, refusalRules } from "../../src/policy/refusals.ts";
import { freshKey, hostIn } from "../support/attested-mesh.ts";
import { attackedMesh, call, clientOf } from "../support/raw-peer.ts";
import { closedPosture, postureWith, tells } from "../support/postures.ts";

/** Words that claim more than that somebody has said so. */
const claimsMore = /\bverified|\bproven\b|\battested|\btrusted|\bguarantee|\bis secure/i;

describe("H4: a posture that says the best of its host", () => {
  it("H4: lifts no tier, and the caller's headers say `none`", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    tells(host, { record: closedPosture(), evidence: { posture: closedPosture(), key: freshKey() } });
    const client = await clientOf(mesh, [host], { requireHardened: true });
    const answer = await call(client);
    expect([answer.status, answer.headers.get("x-sealmesh-attested")]).toEqual([200, "none"]);
    const { tier, posture } = await hostIn(client, host);
    expect(tier).toBe("none");
    expect(posture.text).toMatch(/^The host says, signed, that it is hardened\./);
    for (const requireAttestedHosts of tiers.slice(1)) {
      const demanding = await clientOf(mesh, [host], { requireHardened: true, requireAttestedHosts });
      expect((await call(demanding)).message).toContain(`--require-attested-hosts=${requireAttestedHosts}: `);
    }
  });

  it("H4: an explanation says whose word it is, and how far it reaches", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    tells(host, { record: postureWith({ inspector: "open" }, { engine: "external" }) });
    const client = await mesh.start("client", { join: [host.invite], headless: false, console: "0" });
    const answer = await fetch(`${client.consoleUrl}/api/explain/scripted`);
    const [explained] = ((await answer.json()) as ExplainReport).hosts;
    expect(explained?.text).toContain(
      "The host says, signed, that it is not hardened: inspector (open). Its engine is another program, which sees the prompts and of which nothing is said.",
    );
    expect(explained?.tier).toBe("none");
  });

  it("H4: flag, policy line and rules call it the host's word", () => {
    const command = new Commander();
    serve.addFlags?.(command);
    const flag = command.options.find(({ long }) => long === "--require-hardened");
    expect(flag?.description).toMatch(/say, signed.*their own word, which proves nothing/);
    expect(policyText(policyStatus({ ...openPolicy, hardened: true }))).toContain("the host's own signed word");
    for (const name of postureRules) {
      const { asks, sentence, doNext } = refusalRules[name];
      expect([asks, sentence, doNext].join(" ")).not.toMatch(claimsMore);
    }
    expect(refusalRules["not-hardened"].sentence).toMatch(/^The host says, signed, /);
  });

  it("H4: the page about it says that it is the host's own word", () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/hardening.md"), "utf8");
    expect(page).toContain("**It is the host's own word.**");
    expect(page).toContain("No posture lifts a tier of evidence");
  });
});

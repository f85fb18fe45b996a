/** What of a posture is signed, which doors it must have closed, and in which words that is said. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fail, stale, unknown } from "../../../src/attest/verdict.ts";
import type { PieceProof } from "../../../src/attest/proof.ts";
import { decide, dependsOnEvidence, type HostFacts } from "../../../src/policy/decide.ts";
import { doorTexts, explainPosture } from "../../../src/policy/explain.ts";
import { hardenedLacks, neededDoors, type PostureFacts, postureFacts } from "../../../src/policy/hardened.ts";
import { openPolicy, stricter } from "../../../src/policy/policy.ts";
import {
  type Door,
  doors,
  encodePosture,
  everyDoor,
  type Posture,
  posturePlatforms,
} from "../../../src/wire/posture.ts";
import { closedPosture, postureWith } from "../../support/postures.ts";
import { announced, attestedKey, demanding, enclave, host, noKey, now, showing, software, tpm } from "./made-hosts.ts";

const bytes = encodePosture(closedPosture());
const otherBytes = encodePosture(postureWith({ inspector: "open" }));
const hardened = demanding({ hardened: true });
const asked = showing();

/** A piece that tells a posture, challenged unless changed. */
const telling = (posture: Uint8Array, make = tpm, changes: Parameters<typeof tpm>[0] = {}): PieceProof =>
  make({ claims: { attestedKey: attestedKey(1), posture: { value: posture, by: "self" } }, ...changes });

const facts = (posture: PostureFacts, more: Partial<HostFacts> = {}): HostFacts =>
  host({ proof: asked, posture, ...more });
const signed = (posture: Posture): PostureFacts => ({ kind: "signed", posture });

function outcome(given: HostFacts, policy = hardened): string {
  const [decision] = decide([given], policy, now);
  if (!decision) throw new Error("nothing was decided");
  return decision.kind === "allow" ? decision.route.kind : decision.refusal.rule;
}

function textOf(posture: Posture): string {
  const [decision] = decide([facts(signed(posture))], hardened, now);
  return decision?.kind === "refuse" ? decision.refusal.text : "allowed";
}

describe("hardened, per platform", () => {
  it.each(posturePlatforms)("%s: each needed door must be closed, and no other one", (platform) => {
    const needed = neededDoors[platform] ?? [];
    for (const door of doors) {
      for (const state of ["open", "unknown"] as const) {
        const lacks = hardenedLacks(postureWith({ [door]: state }, { platform }));
        if (neededDoors[platform]) expect(lacks).toEqual(needed.includes(door) ? [door] : []);
        else expect(lacks).toEqual(["platform"]);
      }
    }
  });

  it("H3: a Linux host can be, with what a Linux process and its system can close", () => {
    expect(hardenedLacks(closedPosture())).toEqual([]);
    // what only a Mac has is unknown here, and so is what a system without Yama, lockdown or secure boot has not
    const ofMacs: Partial<Posture["doors"]> = { sip: "unknown", rdma: "unknown", "hardened-runtime": "unknown" };
    const machine: Partial<Posture["doors"]> = {
      "ptrace-scope": "unknown",
      lockdown: "open",
      "secure-boot": "unknown",
    };
    expect(hardenedLacks(postureWith({ ...ofMacs, ...machine, swap: "open", "core-pattern": "open" }))).toEqual([]);
  });

  it("nothing makes up for hardening that was switched off, or for a platform that nobody has defined", () => {
    expect(hardenedLacks(closedPosture({ hardening: false }))).toEqual(["hardening"]);
    for (const platform of ["win32", "other"] as const) {
      expect(hardenedLacks(closedPosture({ platform }))).toEqual(["platform"]);
    }
  });

  it("the reference's four flags are not enough, on any platform", () => {
    for (const platform of posturePlatforms) {
      const closed: Partial<Record<Door, "closed">> = { sip: "closed", rdma: "closed" };
      const theirs = { ...everyDoor("unknown"), ...closed, debugger: "closed", "core-dumps": "closed" } as const;
      expect(hardenedLacks(closedPosture({ platform, doors: theirs }))).not.toEqual([]);
    }
  });
});

describe("what of it is signed", () => {
  it("a record's posture is, and one in gossip alone is not", () => {
    expect(postureFacts({ inRecord: bytes, inGossip: true, proof: asked })).toEqual(signed(closedPosture()));
    expect(postureFacts({ inRecord: undefined, inGossip: true, proof: asked })).toEqual({ kind: "unsigned" });
    expect(postureFacts({ inRecord: undefined, inGossip: false, proof: asked })).toEqual({ kind: "none" });
  });

  it("one that cannot be read is none, whoever signed it", () => {
    expect(postureFacts({ inRecord: Uint8Array.of(1), inGossip: true, proof: asked })).toEqual({ kind: "none" });
  });

  it.each([
    ["tpm2", tpm],
    ["software", software],
  ])("%s evidence that has answered a challenge says it alone, and A7: contradicts a record", (_kind, make) => {
    const same = showing(telling(bytes, make));
    expect(postureFacts({ inRecord: undefined, inGossip: false, proof: same })).toEqual(signed(closedPosture()));
    expect(postureFacts({ inRecord: bytes, inGossip: false, proof: same })).toEqual(signed(closedPosture()));
    const other = showing(telling(otherBytes, make));
    expect(postureFacts({ inRecord: bytes, inGossip: false, proof: other })).toEqual({ kind: "disagrees" });
    const both = showing(telling(bytes, make), telling(otherBytes, make));
    expect(postureFacts({ inRecord: undefined, inGossip: false, proof: both })).toEqual({ kind: "disagrees" });
  });

  it.each<[string, PieceProof]>([
    ["has answered no challenge", telling(otherBytes, tpm, { challenge: "unasked" })],
    ["has missed challenges", telling(otherBytes, tpm, { challenge: "missed" })],
    ["has answered one wrongly", telling(otherBytes, tpm, { challenge: "failed" })],
    ["is not bound to the host", telling(otherBytes, tpm, { verdict: { binding: fail("binding-differs") } })],
    ["is not known to be bound", telling(otherBytes, tpm, { verdict: { binding: unknown("not-compared") } })],
    ["nobody has signed", telling(otherBytes, tpm, { verdict: { signature: fail("signature-wrong") } })],
    ["is too old", telling(otherBytes, tpm, { verdict: { fresh: stale("too-old") } })],
    ["tells none", enclave()],
  ])("evidence that %s says nothing, and takes nothing away", (_what, piece) => {
    expect(postureFacts({ inRecord: bytes, inGossip: false, proof: showing(piece) })).toEqual(signed(closedPosture()));
    expect(postureFacts({ inRecord: undefined, inGossip: false, proof: showing(piece) })).toEqual({ kind: "none" });
  });
});

describe("--require-hardened", () => {
  it("lets a host through that says, signed, that it is", () => {
    for (const engine of ["none", "embedded", "external"] as const) {
      expect(outcome(facts(signed(closedPosture({ engine }))))).toBe("sealed");
    }
  });

  it.each<[string, PostureFacts, string]>([
    ["says nothing", { kind: "none" }, "posture-missing"],
    ["says it in gossip alone", { kind: "unsigned" }, "posture-unsigned"],
    ["contradicts itself", { kind: "disagrees" }, "posture-disagrees"],
    ["has a door open", signed(postureWith({ debugger: "open" })), "not-hardened"],
    ["does not know of a door", signed(postureWith({ inspector: "unknown" })), "not-hardened"],
    ["has it switched off", signed(closedPosture({ hardening: false })), "not-hardened"],
  ])("refuses one that %s, and nobody else is asked for it", (_what, posture, rule) => {
    expect(outcome(facts(posture))).toBe(rule);
    expect(outcome(facts(posture), openPolicy)).toBe("sealed");
  });

  it("asks for evidence first: it could contradict the record", () => {
    const unasked = facts(signed(closedPosture()), { proof: { pieces: [], why: undefined, asked: false } });
    expect(outcome(unasked)).toBe("not-asked");
    const unable = facts(signed(closedPosture()), { proof: { pieces: [], why: "it is silent", asked: false } });
    expect(outcome(unable)).toBe("sealed");
    const [decision] = decide([unasked], hardened, now);
    expect(dependsOnEvidence(decision)).toBe(true);
  });

  it("what its newest word refuses, no evidence lets through: nobody is asked for it", () => {
    const [open] = decide([facts(signed(postureWith({ debugger: "open" })))], hardened, now);
    expect(dependsOnEvidence(open)).toBe(false);
  });

  it("a host without a record is never let through: neither a reference node nor one in the clear", () => {
    for (const key of [announced, noKey]) {
      for (const posture of [{ kind: "none" }, { kind: "unsigned" }] as const) {
        expect(outcome(facts(posture, { key }))).toMatch(/^posture-/);
      }
    }
  });

  it("evidence of any tier does not make up for it, nor it for evidence", () => {
    const both = demanding({ hardened: true, attested: "vendor" });
    expect(outcome(facts({ kind: "none" }, { proof: showing(tpm()) }), both)).toBe("posture-missing");
    expect(outcome(facts(signed(closedPosture()), { proof: asked }), both)).toBe("no-evidence");
    expect(outcome(facts(signed(closedPosture()), { proof: showing(tpm()) }), both)).toBe("sealed");
  });

  it("is the stricter of one's own and the invite's", () => {
    const minimum = { attested: undefined, encryption: false } as const;
    expect(stricter(openPolicy, minimum).hardened).toBe(false);
    expect(stricter(openPolicy, { ...minimum, hardened: true }).hardened).toBe(true);
    expect(stricter(hardened, minimum).hardened).toBe(true);
  });
});

describe("words", () => {
  it("a refusal names each door with its state, and how far the word reaches", () => {
    expect(textOf(postureWith({ debugger: "open", inspector: "unknown" }, { engine: "external" }))).toBe(
      "--require-hardened: not-hardened: The host says, signed, that it is not hardened: debugger (open), " +
        "inspector (unknown). Its engine is another program, which sees the prompts and of which nothing is said.",
    );
    expect(textOf(closedPosture({ hardening: false, engine: "embedded" }))).toContain(
      "hardening (switched off, wholly or in part). This is said of the node and of its engine.",
    );
    expect(textOf(closedPosture({ platform: "win32" }))).toContain("nothing is defined for its platform (win32)");
  });

  it("H4: every sentence about a posture says whose word it is, and none that it is verified", () => {
    const said = [
      closedPosture(),
      closedPosture({ engine: "embedded" }),
      closedPosture({ engine: "external" }),
      postureWith({ debugger: "open" }),
    ].map((posture) => explainPosture(signed(posture)));
    for (const text of said) expect(text).toMatch(/^The host says, signed, that it is /);
    expect(said[2]).toMatch(/nothing is said\.$/);
    const others = [explainPosture({ kind: "unsigned" }), explainPosture({ kind: "disagrees" })];
    for (const text of [...said, ...others, ...Object.values(doorTexts)]) {
      expect(text).not.toMatch(/verif|prove|attest|secure\b|trusted/i);
    }
    expect(explainPosture({ kind: "none" })).toBeUndefined();
  });
});

describe("docs/hardening.md", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/hardening.md"), "utf8");
  const mark = (platform: "linux" | "darwin", door: Door): string =>
    neededDoors[platform]?.includes(door) ? "must be closed" : "told";

  it("has each door with its words, and on which platform it must be closed", () => {
    for (const door of doors) {
      const row = `| \`${door}\` | ${doorTexts[door]} | ${mark("linux", door)} | ${mark("darwin", door)} |`;
      expect(page.split("\n")).toContain(row);
    }
  });
});

import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { decide, type HostFacts, type KeyStanding } from "../../../src/policy/decide.ts";

const now = 1_000;
const key = new Uint8Array(32).fill(9);
const host = (digit: string, standing: KeyStanding): HostFacts => ({ id: endpointId(digit.repeat(64)), key: standing });
const sealed = host("a", { kind: "record", key, notAfterMs: now });
const plain = host("b", { kind: "none" });

const kinds = (hosts: readonly HostFacts[], allowPlain = true): string[] =>
  decide(hosts, { plain: allowPlain }, now).map((decision) =>
    decision.kind === "allow" ? decision.route.kind : decision.rule,
  );

describe("decide", () => {
  it("seals to a host with a record and reads its chunks strictly", () => {
    const [decision] = decide([sealed], { plain: true }, now);
    expect(decision).toMatchObject({
      kind: "allow",
      route: { kind: "sealed", hostKey: key, order: "indexed", relayable: true },
    });
  });

  it("seals to a reference host, leniently, and not through others", () => {
    const [decision] = decide([host("c", { kind: "announced", key })], { plain: true }, now);
    expect(decision).toMatchObject({ kind: "allow", route: { kind: "sealed", order: "unordered", relayable: false } });
  });

  it("goes in the clear only to a host that showed no key itself, if policy allows, and if nobody opens envelopes", () => {
    expect(kinds([plain])).toEqual(["plain"]);
    expect(kinds([plain], false)).toEqual(["plain-not-allowed"]);
    expect(kinds([plain, sealed])).toEqual(["plain-not-allowed", "sealed"]);
  });

  it.each<[string, KeyStanding]>([
    ["withheld", { kind: "withheld", why: "it showed one before" }],
    ["an expired key", { kind: "record", key, notAfterMs: now - 1 }],
    ["nothing known at first hand", { kind: "unknown" }],
  ])("never goes in the clear with %s", (_what, standing) => {
    for (const allowPlain of [true, false]) expect(kinds([host("d", standing)], allowPlain)).not.toContain("plain");
  });
});

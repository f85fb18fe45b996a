import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { fromBase64Url, fromUtf8, toBase64, toBase64Url, utf8 } from "../../../src/base/bytes.ts";
import { isMeshError } from "../../../src/base/errors.ts";
import { tiers } from "../../../src/attest/verdict.ts";
import {
  decodeInvite,
  demandableTiers,
  encodeInvite,
  type MinimumPolicy,
  strictest,
} from "../../../src/wire/invite.ts";
import { limits } from "../../../src/wire/limits.ts";
import { fc } from "../../support/fast-check.ts";

const id = endpointId("677edd9c7a6fbaa5d609dc7005ce8011d54e0314acf89ca172057bc140ede62a");
const address = { id, relays: ["https://host./"], direct: ["192.0.2.1:4433"] };
const token = encodeInvite(address);

function complaint(text: string): string {
  try {
    decodeInvite(text);
  } catch (thrown) {
    if (isMeshError(thrown) && thrown.code === "E_INVITE") return thrown.message;
    throw thrown;
  }
  return "no complaint";
}

it("goes both ways, white space around it ignored", () => {
  expect(decodeInvite(token)).toEqual({ address, minimum: undefined });
  expect(decodeInvite(`\n  ${token} \r\n`)).toEqual({ address, minimum: undefined });
});

const encoded = (value: unknown): string => toBase64Url(utf8(JSON.stringify(value)));

describe("a minimum policy", () => {
  it.each([
    { attested: "vendor", encryption: true },
    { attested: "key", encryption: false },
    { attested: undefined, encryption: true },
    { attested: "pinned", encryption: true, hardened: true },
    { attested: undefined, encryption: false, hardened: true },
  ] as const satisfies readonly MinimumPolicy[])("%j goes both ways", (policy) => {
    expect(decodeInvite(encodeInvite(address, { policy }))).toEqual({ address, minimum: policy });
  });

  it("stands in a member of ours, beside what reference nodes read", () => {
    const json: unknown = JSON.parse(
      fromUtf8(fromBase64Url(encodeInvite(address, { policy: { attested: "vendor", encryption: true } }))),
    );
    expect(json).toEqual({
      id,
      addrs: [{ Relay: "https://host./" }, { Ip: "192.0.2.1:4433" }],
      sealmesh: { policy: { attested: "vendor", encryption: true } },
    });
  });

  it("that asks for nothing is left out of the token", () => {
    expect(encodeInvite(address, { policy: { attested: undefined, encryption: false } })).toBe(token);
    expect(encodeInvite(address, { policy: undefined })).toBe(token);
  });

  it("is not there in tokens that say nothing of it, whatever else they carry", () => {
    const base = { id, addrs: [] };
    for (const json of [
      { ...base, other: 1 },
      { ...base, sealmesh: {} },
      { ...base, sealmesh: { later: "x" } },
    ]) {
      expect(decodeInvite(encoded(json)).minimum).toBeUndefined();
    }
  });

  it("is read when other members stand beside it", () => {
    const json = { id, addrs: [], later: [], sealmesh: { later: "x", policy: { attested: "pinned" } } };
    expect(decodeInvite(encoded(json)).minimum).toEqual({ attested: "pinned", encryption: false });
  });

  it.each([
    5,
    null,
    "vendor",
    [],
    { policy: null },
    { policy: [] },
    { policy: "vendor" },
    { policy: { attested: "none" } },
    { policy: { attested: "perfect" } },
    { policy: { attested: "toString" } },
    { policy: { attested: null } },
    { policy: { attested: ["key"] } },
    { policy: { encryption: "yes" } },
    { policy: { encryption: null } },
    { policy: { attested: "key", hardened: "yes" } },
    { policy: { attested: "key", polished: true } },
  ])("that cannot be understood refuses the invite: sealmesh = %j", (sealmesh) => {
    expect(complaint(encoded({ id, addrs: [], sealmesh }))).toContain("what its mesh demands of hosts");
  });

  it("of any other form is refused, never passed over", () => {
    const policy = fc.oneof(
      fc.jsonValue(),
      fc.record({ attested: fc.jsonValue(), encryption: fc.jsonValue() }, { requiredKeys: [] }),
      fc.record({ attested: fc.constantFrom(...demandableTiers), encryption: fc.boolean(), more: fc.jsonValue() }),
    );
    fc.assert(
      fc.property(policy, (value) => {
        const text = encoded({ id, addrs: [], sealmesh: { policy: value } });
        const said = complaint(text);
        if (said !== "no complaint") expect(said).toContain("demands of hosts");
        else expect({ encryption: false, ...(value as object) }).toEqual(decodeInvite(text).minimum);
      }),
    );
  });

  it("knows the tiers of evidence in their order", () => {
    expect(["none", ...demandableTiers]).toEqual(tiers);
  });
});

describe("the strictest of several", () => {
  const tier = (attested: MinimumPolicy["attested"]): MinimumPolicy => ({ attested, encryption: false });

  it("is the highest tier, and encryption when any asks for it", () => {
    const encryption: MinimumPolicy = { attested: undefined, encryption: true };
    expect(strictest([tier("key"), undefined, tier("vendor"), encryption, tier("pinned")])).toEqual({
      attested: "vendor",
      encryption: true,
    });
  });

  it("asks for hosts that say that they are hardened when any does", () => {
    const hardened: MinimumPolicy = { attested: undefined, encryption: false, hardened: true };
    expect(strictest([tier("key"), hardened])).toEqual({ attested: "key", encryption: false, hardened: true });
  });

  it("asks for nothing when none does", () => {
    const nothing = { attested: undefined, encryption: false };
    expect(strictest([])).toEqual(nothing);
    expect(strictest([undefined, nothing])).toEqual(nothing);
  });
});

describe("every kind of garbage has its sentence", () => {
  const json = (value: unknown): string => toBase64Url(utf8(JSON.stringify(value)));
  /** Cut so that base64url still decodes. */
  const cut = token.slice(0, Math.floor(token.length / 8) * 4);

  it.each([
    ["", "empty"],
    ["   \n", "empty"],
    [id, "endpoint id"],
    [id.toUpperCase(), "endpoint id"],
    [JSON.stringify({ id, addrs: [] }), "content of an invite"],
    ["https://example.org/join", "URL"],
    [`${token.slice(0, 20)}\n${token.slice(20)}`, "line break"],
    [`${token} ${token}`, "space"],
    [toBase64(utf8(`${JSON.stringify({ id, addrs: [] })} `.padEnd(100))), "padding"],
    [`${token.slice(0, -1)}/`, "alphabet"],
    [`"${token}"`, "quote"],
    [`${token}.`, "quote or a dot"],
    ["\u{1f600}".repeat(8), "characters"],
    ["A".repeat(limits.tokenBytes + 1), "at most"],
    [token.slice(0, Math.floor(token.length / 4) * 4 - 3), "cut off"],
    [cut, "cut off"],
    ["eyJ_", "cut off"],
    ["hello-world_x", "cut off"],
    ["AAAA", "not an invite"],
    ["gICA", "not an invite"],
    [json([]), "no usable address: an endpoint address is not a JSON object"],
    [json({ addrs: [] }), "no id"],
    [json({ id: "aa", addrs: [] }), "64 lower-case hex"],
    [json({ id }), "no list addrs"],
    [json({ id, addrs: [{ Ip: "nowhere" }] }), "not a v4"],
  ])("%j", (text, expected) => {
    expect(complaint(text)).toContain(expected);
  });
});

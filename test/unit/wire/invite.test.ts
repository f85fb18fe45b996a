import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { fromBase64Url, fromUtf8, toBase64, toBase64Url, utf8 } from "../../../src/base/bytes.ts";
import { isMeshError } from "../../../src/base/errors.ts";
import { decodeInvite, encodeInvite } from "../../../src/wire/invite.ts";
import { limits } from "../../../src/wire/limits.ts";

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
  expect(decodeInvite(token)).toEqual(address);
  expect(decodeInvite(`\n  ${token} \r\n`)).toEqual(address);
});

it("may carry a member of ours, which does not disturb", () => {
  const extended = encodeInvite(address, { sealmesh: { grant: "x" } });
  expect(JSON.parse(fromUtf8(fromBase64Url(extended)))).toMatchObject({ id, sealmesh: { grant: "x" } });
  expect(decodeInvite(extended)).toEqual(address);
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

import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { decodeAddress, dialable, encodeAddress } from "../../../src/wire/address.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode } from "../../support/expect-code.ts";

const id = endpointId("677edd9c7a6fbaa5d609dc7005ce8011d54e0314acf89ca172057bc140ede62a");
const decode = (value: unknown): ReturnType<typeof decodeAddress> => decodeAddress(utf8(JSON.stringify(value)));
const withEntries = (...addrs: readonly unknown[]): ReturnType<typeof decodeAddress> => decode({ id, addrs });

describe("encodeAddress", () => {
  it("is compact: iroh relays, then v4, then v6, none twice", () => {
    const address = {
      id,
      relays: ["https://host./", "https://host./"],
      direct: ["[2001:db8::1]:5678", "192.168.0.2:52398", "192.168.0.2:52398"],
    };
    expect(fromUtf8(encodeAddress(address))).toBe(
      `{"id":"${id}","addrs":[{"Relay":"https://host./"},{"Ip":"192.168.0.2:52398"},{"Ip":"[2001:db8::1]:5678"}]}`,
    );
  });
});

describe("decodeAddress", () => {
  it("skips kinds of address that it does not know, and what is none", () => {
    const entries = [{ Custom: { id: 1, data: "AA" } }, { Tor: "x" }, 7, null, [], "x", { Ip: "192.0.2.1:1" }];
    expect(withEntries(...entries)).toEqual({ id, relays: [], direct: ["192.0.2.1:1"] });
  });

  it("takes the id in base32, as iroh prints it elsewhere", () => {
    expect(decode({ id: "a".repeat(52), addrs: [] }).id).toBe("00".repeat(32));
    const digits = "abcdefghijklmnopqrstuvwxyz234567";
    let text = "";
    let value = BigInt(`0x${id}`) << 4n;
    for (let at = 0; at < 52; at += 1, value >>= 5n) text = digits.charAt(Number(value & 31n)) + text;
    expect(decode({ id: text, addrs: [] }).id).toBe(id);
    expect(decode({ id: text.toUpperCase(), addrs: [] }).id).toBe(id);
    expectCode("E_WIRE", () => decode({ id: `${"a".repeat(51)}b`, addrs: [] }));
    expectCode("E_WIRE", () => decode({ id: `${"a".repeat(51)}1`, addrs: [] }));
  });

  it("keeps port 0, which dialable leaves out", () => {
    const address = withEntries({ Ip: "192.0.2.1:0" }, { Ip: "[2001:db8::1]:0" }, { Ip: "192.0.2.1:10" });
    expect(address.direct.length).toBe(3);
    expect(dialable(address).direct).toEqual(["192.0.2.1:10"]);
  });

  it.each(["0.0.0.0:1", "255.255.255.255:65535", "[::]:1", "[::ffff:192.0.2.1]:80", "[fe80::1%2]:80"])(
    "takes %s",
    (text) => expect(withEntries({ Ip: text }).direct).toEqual([text]),
  );

  it.each([
    "192.0.2.1",
    "192.0.2.1:65536",
    "192.0.2.1:-1",
    "192.0.2.1:08",
    "192.0.2.256:1",
    "192.0.02.1:1",
    "192.0.2:1",
    "host:1",
    "2001:db8::1:5678",
    "[2001:db8::1]",
    "[2001:db8:::1]:1",
    "[g::1]:1",
    "[::1%lo]:1",
    "",
  ])("refuses the address %j", (text) => expectCode("E_WIRE", () => withEntries({ Ip: text })));

  it.each(["", "host", "ftp://host/", "https://", "javascript:x", "https://a b/", `https://h/${"x".repeat(300)}`])(
    "refuses the relay URL %j",
    (text) => expectCode("E_WIRE", () => withEntries({ Relay: text })),
  );

  it.each([
    ["no JSON", "{"],
    ["a list", "[]"],
    ["no id", '{"addrs":[]}'],
    ["an id of another length", '{"id":"aa","addrs":[]}'],
    ["an id in capitals", `{"id":"${id.toUpperCase()}","addrs":[]}`],
    ["no list", `{"id":"${id}"}`],
    ["a number for an address", `{"id":"${id}","addrs":[{"Ip":7}]}`],
  ])("refuses %s", (_name, text) => expectCode("E_WIRE", () => decodeAddress(utf8(text))));

  it("is bounded", () => {
    const many = Array.from({ length: 100 }, (_, at) => ({ Ip: `192.0.2.${at}:1` }));
    expect(withEntries(...many).direct.length).toBe(limits.addressesPerEndpoint);
    expectCode("E_WIRE", () => decodeAddress(utf8(" ".repeat(limits.addressBytes + 1))));
  });
});

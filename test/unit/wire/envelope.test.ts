import { describe, expect, it } from "vitest";
import { equal, fromUtf8, toBase64, utf8 } from "../../../src/base/bytes.ts";
import { decodeRequestEnvelope, encodeRequestEnvelope, readResponseHeader } from "../../../src/wire/envelope.ts";
import { StreamReader } from "../../../src/wire/frame.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode, rejectsWith } from "../../support/expect-code.ts";
import { pieces } from "./pieces.ts";

const envelope = { ephemeralKey: new Uint8Array(32).fill(5), ciphertext: new Uint8Array(40).fill(0xff) };
const key = toBase64(envelope.ephemeralKey);
const box = toBase64(envelope.ciphertext);
const members = { model: "", ephemeral_public_key: key, ciphertext: box };
const decode = (text: string): ReturnType<typeof decodeRequestEnvelope> => decodeRequestEnvelope(utf8(text));

describe("request envelope", () => {
  it.each([40, 41, 42, 49_151, 49_152, 49_153, 98_304, 300_000])("goes both ways with %i bytes", (length) => {
    const ciphertext = Uint8Array.from({ length }, (_, at) => (at * 7) & 0xff);
    const json = encodeRequestEnvelope({ ...envelope, ciphertext });
    expect(fromUtf8(json)).toBe(JSON.stringify({ ...members, ciphertext: toBase64(ciphertext) }));
    const decoded = decodeRequestEnvelope(json);
    expect(equal(decoded.ciphertext, ciphertext)).toBe(true);
    expect(decoded.ephemeralKey).toEqual(envelope.ephemeralKey);
  });

  it("a model name is escaped as JSON", () => {
    expect(JSON.parse(fromUtf8(encodeRequestEnvelope(envelope, 'a"b\u20ac')))).toEqual({
      ...members,
      model: 'a"b\u20ac',
    });
  });

  it.each([
    ["another order", JSON.stringify({ ciphertext: box, model: "m", ephemeral_public_key: key })],
    ["white space", ` ${JSON.stringify(members, null, 2)}\r\n\t`],
    ["unknown members", JSON.stringify({ encrypted: true, a: [1, { b: [null, "]}"] }], ...members, z: -1.5e3 })],
    ["unknown members twice", `{"a":1,"a":2,${JSON.stringify(members).slice(1)}`],
    ["an escaped slash", JSON.stringify(members).replaceAll("/", "\\/")],
    ["an escaped name", JSON.stringify(members).replace("model", "\\u006dodel")],
    ["quotes in the model", JSON.stringify({ ...members, model: '"\\",{}' })],
  ])("takes %s", (_name, text) => expect(decode(text)).toEqual(envelope));

  it.each([
    ["nothing", ""],
    ["no object", "[]"],
    ["no end", JSON.stringify(members).slice(0, -1)],
    ["more behind it", `${JSON.stringify(members)}{}`],
    ["a comma too many", `${JSON.stringify(members).slice(0, -1)},}`],
    ["no comma", JSON.stringify(members).replace(",", " ")],
    ["no colon", JSON.stringify(members).replace(":", " ")],
    ["no model", JSON.stringify({ ephemeral_public_key: key, ciphertext: box })],
    ["no key", JSON.stringify({ model: "", ciphertext: box })],
    ["no ciphertext", JSON.stringify({ model: "", ephemeral_public_key: key })],
    ["a model that is no string", JSON.stringify({ ...members, model: null })],
    ["a key that is no string", JSON.stringify({ ...members, ephemeral_public_key: [key] })],
    ["model twice", `{"model":"a",${JSON.stringify(members).slice(1)}`],
    ["ciphertext twice", `{"ciphertext":"${box}",${JSON.stringify(members).slice(1)}`],
    ["ciphertext twice, once escaped", `{"cip\\u0068ertext":"${box}",${JSON.stringify(members).slice(1)}`],
    ["a key of 31 bytes", JSON.stringify({ ...members, ephemeral_public_key: toBase64(new Uint8Array(31)) })],
    ["a key without padding", JSON.stringify({ ...members, ephemeral_public_key: key.slice(0, -1) })],
    ["ciphertext without padding", JSON.stringify({ ...members, ciphertext: box.replaceAll("=", "") })],
    ["ciphertext in base64url", JSON.stringify({ ...members, ciphertext: box.replaceAll("/", "_") })],
    ["ciphertext with a line break", JSON.stringify({ ...members, ciphertext: `${box.slice(0, 4)}\n${box.slice(4)}` })],
    ["ciphertext with bits left over", JSON.stringify({ ...members, ciphertext: `${box.slice(0, -3)}x==` })],
    ["padding inside", JSON.stringify({ ...members, ciphertext: `AA==${box}` })],
    ["39 bytes of ciphertext", JSON.stringify({ ...members, ciphertext: toBase64(new Uint8Array(39)) })],
    ["no ciphertext at all", JSON.stringify({ ...members, ciphertext: "" })],
    ["an unknown member that is no JSON", `{"a":tru,${JSON.stringify(members).slice(1)}`],
    ["brackets that do not match", `{"a":[},${JSON.stringify(members).slice(1)}`],
    ["too much beside the ciphertext", JSON.stringify({ ...members, a: "x".repeat(limits.envelopeExtraBytes) })],
    ["deep nesting", `{"a":${"[".repeat(65)}${"]".repeat(65)},${JSON.stringify(members).slice(1)}`],
    ["a bare name", "{model:1}"],
  ])("refuses %s", (_name, text) => expectCode("E_WIRE", () => decode(text)));

  it("padding may not stand where a slice ends", () => {
    const text = `${toBase64(new Uint8Array(49_150))}${box}`;
    expectCode("E_WIRE", () => decode(JSON.stringify({ ...members, ciphertext: text })));
  });

  it.each([
    ["brackets", "[".repeat(4_000_000)],
    ["quotes", `{"${'\\"'.repeat(4_000_000)}`],
    ["names", `{${'"a":1,'.repeat(1_000_000)}`],
    ["strings", `{"a":[${'"",'.repeat(2_000_000)}`],
    ["spaces", " ".repeat(8_000_000)],
    ["backslashes", `{"ciphertext":"${"\\\\".repeat(4_000_000)}"}`],
  ])("megabytes of %s are refused in linear time", (_name, text) => {
    const bytes = utf8(text);
    const started = performance.now();
    expectCode("E_WIRE", () => decodeRequestEnvelope(bytes));
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it("32 MiB go both ways without delay", () => {
    const ciphertext = new Uint8Array(32 << 20).fill(0xa5);
    const started = performance.now();
    const decoded = decodeRequestEnvelope(encodeRequestEnvelope({ ...envelope, ciphertext }));
    expect(decoded.ciphertext.length).toBe(ciphertext.length);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

describe("response header", () => {
  it("a host that does not answer sealed is named so", async () => {
    const reader = new StreamReader(pieces(utf8("HTTP/1.1 400 Bad Request\r\n")));
    await expect(readResponseHeader(reader)).rejects.toMatchObject({
      code: "E_WIRE",
      message: expect.stringContaining("did not answer sealed") as unknown,
    });
  });

  it.each([0, 1, 32])("a stream that ends after %i bytes is cut", async (length) => {
    const bytes = new Uint8Array(length).fill(0xe1);
    await rejectsWith("E_TRUNCATED", readResponseHeader(new StreamReader(pieces(bytes))));
  });
});

/** The demo's search: it must find what is there in any of the forms it names, or "not found" would mean nothing. */
import { describe, expect, it } from "vitest";
import { toHex, utf8 } from "../../../src/base/bytes.ts";
import { hexDump, longWords, runsOf, search } from "../../../src/cli/demo/search.ts";

const secret = "Where is the Schlüssel?";
const noise = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (at * 197 + seed * 31 + (at >> 3) * 7) & 0xff);

function forms(before: number): Record<string, Uint8Array> {
  const text = utf8(secret);
  const neighbours = Buffer.concat([noise(before, 1), text, noise(5, 2)]);
  return {
    "UTF-8": text,
    "UTF-16 (little-endian)": Buffer.from(secret, "utf16le"),
    "UTF-16 (big-endian)": Buffer.from(secret, "utf16le").swap16(),
    hex: utf8(toHex(text)),
    "hex (upper case)": utf8(toHex(text).toUpperCase()),
    base64: utf8(neighbours.toString("base64")),
  };
}

describe("search", () => {
  it.each([0, 1, 2, 3, 4, 5])("finds each form behind %i other bytes", (before) => {
    for (const [encoding, bytes] of Object.entries(forms(before))) {
      const haystack = Buffer.concat([noise(40 + before, 3), bytes, noise(9, 4)]);
      expect(search(haystack, [secret])).toContainEqual(expect.objectContaining({ text: secret, encoding }));
    }
  });

  it("finds base64url where it differs", () => {
    const text = "???>>>~~~";
    for (const before of ["", "a", "ab"]) {
      const haystack = Buffer.from(Buffer.from(`${before}${text}zz`).toString("base64url"));
      expect(search(haystack, [text])).toContainEqual(expect.objectContaining({ encoding: "base64url" }));
    }
  });

  it("finds nothing in other bytes, and finds nothing for no texts", () => {
    expect(search(noise(50_000, 9), [secret, ...longWords(secret), ...runsOf(secret)])).toEqual([]);
    expect(search(utf8(secret), [])).toEqual([]);
  });
});

describe("the texts that are searched for", () => {
  it("are words too long to come up by chance", () => {
    expect(longWords("Who can read my prompt? 12345, Schlüssel-Bund")).toEqual(["prompt", "12345", "Schlüssel"]);
    expect(longWords("a b c")).toEqual([]);
  });

  it("are all runs of twelve characters", () => {
    expect(runsOf("abcdefghijklmn")).toEqual(["abcdefghijkl", "bcdefghijklm", "cdefghijklmn"]);
    expect(runsOf("short")).toEqual(["short"]);
    expect(runsOf("")).toEqual([]);
  });
});

describe("hexDump", () => {
  it("shows offset, bytes and characters, also of a short last line", () => {
    expect(hexDump(utf8("\u0000{abc}"), 4)).toEqual([`0000  00 7b 61 62 63 7d        ${" ".repeat(23)}  .{abc}`]);
    expect(hexDump(new Uint8Array(40), 2)).toHaveLength(2);
    expect(hexDump(new Uint8Array(0), 2)).toEqual([]);
  });
});

/**
 * Looks for text in bytes, in each form in which a careless node might carry it: UTF-8, UTF-16 of both orders, hex of
 * both cases, and base64 and base64url of UTF-8 at each of the three alignments. Finding nothing does not prove that
 * bytes are sealed; it proves that they are none of these.
 */
import { latin1, toHex, utf8, view } from "../../base/bytes.ts";

export interface Find {
  readonly text: string;
  readonly encoding: string;
  readonly offset: number;
}

/** Forms that a text may have; shown to the user. */
export const searchedForms = "UTF-8, UTF-16, hex and base64";

interface Form {
  readonly encoding: string;
  readonly bytes: Uint8Array;
}

/** Every place where one of the texts starts, the first per text and form. Letters are compared as they stand. */
export function search(haystack: Uint8Array, texts: Iterable<string>): Find[] {
  const within = view(haystack);
  const finds: Find[] = [];
  for (const text of texts) {
    for (const { encoding, bytes } of formsOf(text)) {
      const offset = within.indexOf(bytes);
      if (offset !== -1) finds.push({ text, encoding, offset });
    }
  }
  return finds;
}

function formsOf(text: string): Form[] {
  const plain = utf8(text);
  const little = utf16(text);
  const hex = toHex(plain);
  return [
    { encoding: "UTF-8", bytes: plain },
    { encoding: "UTF-16 (little-endian)", bytes: little },
    { encoding: "UTF-16 (big-endian)", bytes: swappedPairs(little) },
    { encoding: "hex", bytes: utf8(hex) },
    { encoding: "hex (upper case)", bytes: utf8(hex.toUpperCase()) },
    ...[0, 1, 2].flatMap((before) => base64Forms(plain, before)),
  ];
}

function utf16(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 2);
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    bytes[2 * at] = unit & 0xff;
    bytes[2 * at + 1] = unit >> 8;
  }
  return bytes;
}

function swappedPairs(bytes: Uint8Array): Uint8Array {
  return bytes.map((_, at) => bytes[at ^ 1] ?? 0);
}

/**
 * The characters of base64 that the text alone decides when `before` bytes stand in front of it in its group of three:
 * the first and the last may be shared with neighbours and are left out.
 */
function base64Forms(plain: Uint8Array, before: number): Form[] {
  const padded = new Uint8Array(before + plain.length);
  padded.set(plain, before);
  const first = Math.ceil((before * 8) / 6);
  const end = Math.floor((padded.length * 8) / 6);
  const standard = view(padded).toString("base64").slice(first, end);
  const url = view(padded).toString("base64url").slice(first, end);
  const forms = [{ encoding: "base64", bytes: utf8(standard) }];
  if (url !== standard) forms.push({ encoding: "base64url", bytes: utf8(url) });
  return forms;
}

/** Words of a text that are long enough not to come up in random bytes by chance. */
export function longWords(text: string, leastLetters = 5): string[] {
  return text.match(new RegExp(`[\\p{L}\\p{N}]{${leastLetters},}`, "gu")) ?? [];
}

/** Every run of `length` characters of a text; the whole text if it is shorter. */
export function runsOf(text: string, length = 12): string[] {
  if (text.length <= length) return text === "" ? [] : [text];
  return Array.from({ length: text.length - length + 1 }, (_, start) => text.slice(start, start + length));
}

/** Lines of 16 bytes: offset, hex, and the characters that can be shown. */
export function hexDump(bytes: Uint8Array, lines: number): string[] {
  return Array.from({ length: Math.min(lines, Math.ceil(bytes.length / 16)) }, (_, line) => {
    const row = bytes.subarray(line * 16, line * 16 + 16);
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, "0"));
    const left = hex.slice(0, 8).join(" ").padEnd(23);
    const right = hex.slice(8).join(" ").padEnd(23);
    return `${(line * 16).toString(16).padStart(4, "0")}  ${left}  ${right}  ${latin1(row).replace(/[^\x20-\x7e]/g, ".")}`;
  });
}

/**
 * Looks for words in what a tap (--debug-tap) has recorded: in every encoding that somebody might have put them in, in each
 * stream and across streams. A search that finds nothing shows something only beside one that does: see plantedMisses().
 */
import { readFileSync } from "node:fs";
import { concat, fromHex, utf8, view } from "../../src/base/bytes.ts";

export interface TappedStream {
  readonly alpn: string;
  readonly openedBy: string;
  readonly direction: string;
  /** All of this direction, contiguous. */
  readonly bytes: Uint8Array;
}

interface TapLine {
  readonly connection: number;
  readonly alpn: string;
  readonly stream: number;
  readonly opened_by: string;
  readonly direction: string;
  readonly hex: string;
}

export function readTap(path: string): readonly TappedStream[] {
  const pieces = new Map<string, { line: TapLine; bytes: Uint8Array[] }>();
  for (const text of readFileSync(path, "utf8").trimEnd().split("\n")) {
    const line = JSON.parse(text) as TapLine;
    const key = `${line.connection} ${line.stream} ${line.direction}`;
    const entry = pieces.get(key) ?? { line, bytes: [] };
    entry.bytes.push(fromHex(line.hex));
    pieces.set(key, entry);
  }
  return [...pieces.values()].map(({ line: { alpn, opened_by: openedBy, direction }, bytes }) => {
    return { alpn, openedBy, direction, bytes: concat(bytes) };
  });
}

/** Every word that stands in a stream or across streams, for a person to read. */
export function findWords(streams: readonly TappedStream[], words: readonly string[]): readonly string[] {
  const all = [...streams.map(({ bytes }) => bytes), concat(streams.map(({ bytes }) => bytes))];
  return all.flatMap((bytes) => words.flatMap((word) => findWord(bytes, word)));
}

/** Puts every encoding of every word into the midst of the bytes, by itself. @returns what the search does not find there */
export function plantedMisses(carried: Uint8Array, words: readonly string[]): readonly string[] {
  const missed: string[] = [];
  for (const word of words) {
    for (const charset of charsets) {
      for (const offset of [0, 1, 2, 3]) {
        const text = Buffer.concat([Buffer.alloc(offset, 0x20), encodeText(word, charset), Buffer.from("??")]);
        for (const form of ["hex", "HEX", "base64", "base64url"] as const) {
          const planted = form === "HEX" ? text.toString("hex").toUpperCase() : text.toString(form);
          const at = Math.floor(carried.length / 2) + offset;
          const mixed = concat([carried.subarray(0, at), utf8(planted), carried.subarray(at)]);
          if (findWord(mixed, word).length === 0) missed.push(`${word} as ${charset} in ${form} at ${offset}`);
        }
      }
    }
  }
  return missed;
}

const charsets = ["utf8", "utf16le", "utf16be"] as const;
type Charset = (typeof charsets)[number];

/** Every form in which `word` stands somewhere in `bytes`, for a person to read. */
export function findWord(bytes: Uint8Array, word: string): string[] {
  const found: string[] = [];
  for (const charset of charsets) {
    for (const [form, needle] of formsOf(encodeText(word, charset))) {
      if (view(bytes).includes(needle)) found.push(`${word} as ${charset}${form}`);
    }
  }
  return found;
}

function encodeText(text: string, charset: Charset): Buffer {
  if (charset !== "utf16be") return Buffer.from(text, charset);
  return Buffer.from(text, "utf16le").swap16();
}

function formsOf(text: Buffer): [form: string, needle: Buffer][] {
  const hex = text.toString("hex");
  const forms: [string, Buffer][] = [
    ["", text],
    [" in hex", Buffer.from(hex)],
    [" in HEX", Buffer.from(hex.toUpperCase())],
  ];
  for (const offset of [0, 1, 2]) {
    // characters that hold nothing but bits of the word, whatever stands around it
    const padded = Buffer.concat([Buffer.alloc(offset), text]);
    const from = Math.ceil((offset * 8) / 6);
    const to = Math.floor((padded.length * 8) / 6);
    for (const encoding of ["base64", "base64url"] as const) {
      forms.push([` in ${encoding} at ${offset}`, Buffer.from(padded.toString(encoding).slice(from, to))]);
    }
  }
  return forms;
}

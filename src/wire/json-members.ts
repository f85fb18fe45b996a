/**
 * Splits a JSON object into its members without parsing their values: JSON.parse would hide that a name comes twice
 * (two readers may then believe two different values), and would copy a value of 100 MB. One pass, bounded nesting.
 *
 * Only the structure is checked. A value is cut out as it stands; whether it is valid JSON is for its consumer.
 */
import { fromUtf8, view } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";

export interface JsonMember {
  readonly name: string;
  /** The value's own bytes, a string with its quotes; a view into the input. */
  readonly value: Uint8Array;
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;

/** Bytes of a name with its quotes: a longer one is no name that anyone asks for. */
const nameBytes = 256;

/**
 * Members in their order, duplicates included.
 *
 * @param depth most brackets inside one another in a value
 * @throws      E_WIRE not one JSON object and white space, or nested too deep
 */
export function* jsonMembers(bytes: Uint8Array, depth: number): Generator<JsonMember> {
  let at = expect(bytes, skipSpace(bytes, 0), 0x7b);
  at = skipSpace(bytes, at);
  for (let isFirst = true; bytes[at] !== 0x7d; isFirst = false) {
    if (!isFirst) at = skipSpace(bytes, expect(bytes, at, comma));
    const nameEnd = stringEnd(bytes, at);
    const name = parseName(bytes.subarray(at, nameEnd));
    at = skipSpace(bytes, expect(bytes, skipSpace(bytes, nameEnd), colon));
    const end = valueEnd(bytes, at, depth);
    yield { name, value: bytes.subarray(at, end) };
    at = skipSpace(bytes, end);
  }
  if (skipSpace(bytes, at + 1) !== bytes.length) throw invalid("something follows the object");
}

function invalid(what: string): MeshError {
  return new MeshError("E_WIRE", `not a JSON object: ${what}`);
}

function expect(bytes: Uint8Array, at: number, byte: number): number {
  if (bytes[at] !== byte) throw invalid(`no ${String.fromCharCode(byte)} where one is due`);
  return at + 1;
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at += 1;
  return at;
}

function parseName(quoted: Uint8Array): string {
  if (quoted.length > nameBytes) throw invalid("a name is too long");
  try {
    const name: unknown = JSON.parse(fromUtf8(quoted));
    return String(name);
  } catch (cause) {
    throw new MeshError("E_WIRE", "not a JSON object: a name is no string", { cause });
  }
}

/** Index behind the closing quote of the string that starts at `from`. */
function stringEnd(bytes: Uint8Array, from: number): number {
  expect(bytes, from, quote);
  const buffer = view(bytes); // its search is many times faster in long strings
  const close = buffer.indexOf(quote, from + 1);
  if (close < 0) throw invalid("a string does not end");
  const escape = buffer.subarray(from, close).indexOf(backslash);
  if (escape < 0) return close + 1;
  // rare: step over the escapes one by one, from the first of them
  for (let at = from + escape; at < bytes.length; at += 1) {
    if (bytes[at] === backslash) at += 1;
    else if (bytes[at] === quote) return at + 1;
  }
  throw invalid("a string does not end");
}

/** Index behind the value that starts at `from`. */
function valueEnd(bytes: Uint8Array, from: number, depth: number): number {
  let open = 0;
  let at = from;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === quote) {
      at = stringEnd(bytes, at);
    } else if (byte === 0x7b || byte === 0x5b) {
      open += 1;
      if (open > depth) throw invalid(`more than ${depth} brackets inside one another`);
      at += 1;
    } else if (byte === 0x7d || byte === 0x5d) {
      if (open === 0) break;
      open -= 1;
      at += 1;
    } else if (open === 0 && (byte === comma || skipSpace(bytes, at) > at)) {
      break;
    } else {
      at += 1;
      continue;
    }
    if (open === 0) break;
  }
  if (at === from) throw invalid("a value is missing");
  return at;
}

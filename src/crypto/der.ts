/**
 * DER, read strictly: one encoding for each value, or it is refused. Knows no certificate, only elements and their types.
 *
 *   element = identifier octet | length (shortest form, definite) | contents
 *
 * Tag numbers above 30 (further identifier octets) are refused: nothing that is read here has them. Not checked: the
 * order inside a SET OF, and that a DEFAULT value is left out.
 *
 * @see X.690 §8, §10, §11
 */
import { concat, toHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";

/** Identifier octets of the types that are read here. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element with everything inside it; all parts share the memory of the input. */
export interface Der {
  /** Identifier octet: class, constructed bit, number. */
  readonly tag: number;
  /** The whole element. */
  readonly bytes: Uint8Array;
  readonly contents: Uint8Array;
  /** What a constructed element is made of; empty for a primitive one. */
  readonly children: readonly Der[];
}

export interface DerOptions {
  /** Longest input. @default 65_536 */
  readonly maxBytes?: number;
  /** Elements inside one another: a certificate has 7. @default 16 */
  readonly maxDepth?: number;
}

/**
 * Reads exactly one element, and all that is inside it.
 *
 * @param bytes borrowed: the result refers to it
 * @throws E_WIRE longer or deeper than allowed, bytes before the end that belong to nothing, any encoding but DER
 */
export function readDer(bytes: Uint8Array, { maxBytes = 65_536, maxDepth = 16 }: DerOptions = {}): Der {
  if (bytes.length > maxBytes) throw bad("longer than allowed");
  const [element, ...others] = readElements(bytes, maxDepth);
  if (!element || others.length > 0) throw bad("not exactly one element");
  return element;
}

function readElements(bytes: Uint8Array, depth: number): Der[] {
  if (depth === 0 && bytes.length > 0) throw bad("nested too deep");
  const elements: Der[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at] ?? 0;
    checkTag(tag);
    const { start, end } = readLength(bytes, at + 1);
    const contents = bytes.subarray(start, end);
    const children = isConstructed(tag) ? readElements(contents, depth - 1) : [];
    elements.push({ tag, bytes: bytes.subarray(at, end), contents, children });
    at = end;
  }
  return elements;
}

const isConstructed = (tag: number): boolean => (tag & 0x20) !== 0;

function checkTag(tag: number): void {
  const number = tag & 0x1f;
  if (number === 0x1f) throw bad("a tag of several octets");
  if (tag >= 0x40) return; // a context, application or private tag may be of either form
  if (number === 0) throw bad("an end-of-contents mark");
  // SEQUENCE and SET have members, nothing else has: strings in pieces are BER
  if (isConstructed(tag) !== (number === 0x10 || number === 0x11)) throw bad("the wrong form for its type");
}

function readLength(bytes: Uint8Array, at: number): { readonly start: number; readonly end: number } {
  const first = bytes[at] ?? 0x80; // nothing left: refused like an indefinite length
  let start = at + 1;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 3) throw bad("a length that is missing, indefinite or too large");
    length = 0;
    for (const octet of bytes.subarray(start, start + octets)) length = length * 256 + octet;
    start += octets;
    // digits that are cut off make it too small, too
    if (length < (octets === 1 ? 0x80 : 256 ** (octets - 1))) throw bad("a length not in its shortest form");
  }
  const end = start + length;
  if (end > bytes.length) throw bad("cut short");
  return { start, end };
}

/** @throws E_WIRE when `node` is missing or has another tag */
export function expectTag(node: Der | undefined, tag: number): Der {
  if (node?.tag !== tag) throw bad(`expected tag ${tag.toString(16)}`);
  return node;
}

/** The members of a SEQUENCE. @throws E_WIRE another type */
export function sequence(node: Der | undefined): readonly Der[] {
  return expectTag(node, tags.sequence).children;
}

/** The members of a SET. @throws E_WIRE another type */
export function set(node: Der | undefined): readonly Der[] {
  return expectTag(node, tags.set).children;
}

/** Whether `node` has the context tag [number], constructed. */
export function isContext(node: Der | undefined, number: number): node is Der {
  return node?.tag === (0xa0 | number);
}

/** The one element inside an explicit [number]. @throws E_WIRE anything else */
export function explicit(node: Der | undefined, number: number): Der {
  const [inner, ...others] = expectTag(node, 0xa0 | number).children;
  if (!inner || others.length > 0) throw bad("not exactly one element in an explicit tag");
  return inner;
}

/** An INTEGER as it is: two's complement, big-endian, shortest form. @throws E_WIRE another type or form */
export function integerBytes(node: Der | undefined): Uint8Array {
  const { contents } = expectTag(node, tags.integer);
  const [first, second = 0] = contents;
  if (first === undefined) throw bad("an empty INTEGER");
  const isPadded = contents.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  if (isPadded) throw bad("an INTEGER not in its shortest form");
  return contents;
}

/** An INTEGER that is not negative. @throws E_WIRE another type or form, negative */
export function unsigned(node: Der | undefined): bigint {
  const bytes = integerBytes(node);
  if ((bytes[0] ?? 0) >= 0x80) throw bad("a negative INTEGER");
  return BigInt(`0x${toHex(bytes)}`);
}

/** A small count: 0 to 255. @throws E_WIRE anything else */
export function smallInteger(node: Der | undefined): number {
  const value = unsigned(node);
  if (value > 255n) throw bad("an INTEGER out of range");
  return Number(value);
}

/** @throws E_WIRE another type, or any octet but 00 and ff */
export function boolean(node: Der | undefined): boolean {
  const { contents } = expectTag(node, tags.boolean);
  if (contents.length !== 1 || (contents[0] !== 0 && contents[0] !== 0xff)) throw bad("a BOOLEAN but 00 or ff");
  return contents[0] === 0xff;
}

/** @throws E_WIRE another type */
export function octetString(node: Der | undefined): Uint8Array {
  return expectTag(node, tags.octetString).contents;
}

export interface Bits {
  /** The bits, first one highest; unused ones are zero. */
  readonly bytes: Uint8Array;
  /** Unused bits of the last byte, 0 to 7. */
  readonly unused: number;
}

/** @throws E_WIRE another type, unused bits that are set or more than there are */
export function bitString(node: Der | undefined): Bits {
  const { contents } = expectTag(node, tags.bitString);
  const unused = contents[0] ?? 8;
  const bytes = contents.subarray(1);
  if (unused > 7 || (unused > 0 && bytes.length === 0)) throw bad("a BIT STRING with a wrong count");
  if (((bytes.at(-1) ?? 0) & ((1 << unused) - 1)) !== 0) throw bad("a BIT STRING with unused bits set");
  return { bytes, unused };
}

/** A BIT STRING of whole bytes: keys and signatures. @throws E_WIRE anything else */
export function bitStringBytes(node: Der | undefined): Uint8Array {
  const { bytes, unused } = bitString(node);
  if (unused !== 0) throw bad("a BIT STRING of no whole bytes");
  return bytes;
}

/** An OBJECT IDENTIFIER as dotted decimal. @throws E_WIRE another type or form, over 64 bytes */
export function oid(node: Der | undefined): string {
  const { contents } = expectTag(node, tags.oid);
  if (contents.length === 0 || contents.length > 64) throw bad("an OBJECT IDENTIFIER of no usable length");
  const arcs: bigint[] = [];
  let arc = 0n;
  let isInside = false;
  for (const octet of contents) {
    if (!isInside && octet === 0x80) throw bad("an OBJECT IDENTIFIER not in its shortest form");
    arc = arc * 128n + BigInt(octet & 0x7f);
    isInside = octet >= 0x80;
    if (isInside) continue;
    arcs.push(arc);
    arc = 0n;
  }
  if (isInside) throw bad("an OBJECT IDENTIFIER cut short");
  const [head = 0n, ...rest] = arcs; // the first two arcs share a number: 40 x + y, x at most 2
  const top = head < 80n ? head / 40n : 2n;
  return [top, head - top * 40n, ...rest].join(".");
}

/**
 * UTCTime or GeneralizedTime in the one form that certificates may have: seconds given, in UTC, no fractions.
 *
 * @returns Unix ms
 * @throws  E_WIRE another type or form, no date of the calendar
 * @see     RFC 5280 §4.1.2.5: two digits are 1950 to 2049
 */
export function time(node: Der | undefined): number {
  const text = String.fromCharCode(...(node?.contents.subarray(0, 16) ?? []));
  const isShort = node?.tag === tags.utcTime;
  if (!isShort) expectTag(node, tags.generalizedTime);
  const [, year = "", month = "", day = "", hour = "", minute = "", second = ""] =
    (isShort ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(text) ?? [];
  const century = isShort ? (Number(year) < 50 ? "20" : "19") : "";
  const iso = `${century}${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(iso);
  // the parser takes 31 April as 1 May and 24:00 as the next day
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) throw bad("no date");
  return ms;
}

/**
 * An ECDSA signature as two numbers of fixed length.
 *
 * @param der  SEQUENCE { INTEGER r, INTEGER s }
 * @param size bytes of the curve's order: 32 for P-256
 * @returns    r[size] | s[size] (IEEE P1363)
 * @throws     E_WIRE not exactly that, negative, or longer than `size`
 */
export function ecdsaFromDer(der: Uint8Array, size: number): Uint8Array {
  const [r, s, ...others] = sequence(readDer(der, { maxBytes: 2 * size + 16 }));
  if (others.length > 0) throw bad("more than two numbers");
  return concat([fixed(r, size), fixed(s, size)]);
}

function fixed(node: Der | undefined, size: number): Uint8Array {
  const bytes = integerBytes(node);
  if ((bytes[0] ?? 0) >= 0x80) throw bad("a negative INTEGER");
  const digits = bytes[0] === 0 ? bytes.subarray(1) : bytes;
  if (digits.length > size) throw bad("a number longer than the curve's order");
  const out = new Uint8Array(size);
  out.set(digits, size - digits.length);
  return out;
}

/**
 * The reverse of {@link ecdsaFromDer}.
 *
 * @param signature r | s of equal length, below 60 bytes each: P-256 and P-384
 * @throws E_WIRE no two numbers of equal length, or longer ones
 */
export function ecdsaToDer(signature: Uint8Array): Uint8Array {
  const size = signature.length / 2;
  if (!Number.isInteger(size) || size < 1 || size > 59) throw bad("not two numbers of equal length");
  const numbers = concat([integer(signature.subarray(0, size)), integer(signature.subarray(size))]);
  return concat([Uint8Array.of(tags.sequence, numbers.length), numbers]);
}

/** @param digits big-endian, not negative, below 127 bytes */
function integer(digits: Uint8Array): Uint8Array {
  const leading = digits.findIndex((digit) => digit !== 0);
  const shortest = leading < 0 ? Uint8Array.of(0) : digits.subarray(leading);
  const sign = (shortest[0] ?? 0) >= 0x80 ? [0] : [];
  return concat([Uint8Array.of(tags.integer, sign.length + shortest.length, ...sign), shortest]);
}

function bad(what: string): MeshError {
  return new MeshError("E_WIRE", `the DER is not valid: ${what}`);
}

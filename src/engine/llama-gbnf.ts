/**
 * Grammars in the language of llama.cpp (GBNF), as text: the rules of one grammar, and the JSON values that every schema
 * ends in. Pure. Each rule says at its next character how to go on, or nearly so: llama.cpp carries every reading of the
 * text along at once, and two readings that can nest would double with each bracket.
 *
 * @see https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
 */

/** The rules of one grammar, at most one for each body. */
export interface RuleBook {
  /** Name of the rule with this body. */
  add(body: string): string;
  /** A name whose body follows by {@link set}: for what contains itself. */
  open(): string;
  set(name: string, body: string): void;
  /** Characters so far. */
  readonly length: number;
  /** The grammar whose texts are those of the rule `start`. */
  text(start: string): string;
}

export function ruleBook(): RuleBook {
  const bodies = new Map<string, string>();
  const names = new Map<string, string>();
  let length = 0;
  let opened = 0;
  const set = (name: string, body: string): void => {
    bodies.set(name, body);
    length += name.length + body.length;
  };
  const open = (): string => `r${opened++}`;
  return {
    add(body) {
      const known = names.get(body);
      if (known !== undefined) return known;
      const name = open();
      names.set(body, name);
      set(name, body);
      return name;
    },
    open,
    set,
    get length() {
      return length;
    },
    text: (start) => [`root ::= ${start}`, ...[...bodies].map(([name, body]) => `${name} ::= ${body}`)].join("\n"),
  };
}

/** At most one space: more would let a weak model write nothing else. */
const gap = '" "?';
const character = String.raw`[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])`;
const quote = String.raw`"\""`;
// 15 digits are exact in every reader
const whole = '("0" | [1-9] [0-9]{0,14})';
const fraction = '("." [0-9]{1,15})?';
const noFraction = '("." "0"{1,15})?';
const exponent = "([eE] [-+]? [0-9] [0-9]?)?";
/** Depth of lists and objects whose content is left open; without an end some models open brackets only. */
const openDepth = 12;
/** Whole numbers in a range that are written out one by one. */
const countable = 1000;
/** Whole numbers beyond have more than 15 digits; other numbers stay below 1e115. */
const widestWhole = 999_999_999_999_999;
const widest = 1e115;

/** A text that stands for itself. @param text without line breaks */
export function literal(text: string): string {
  return `"${text.replaceAll("\\", String.raw`\\`).replaceAll('"', String.raw`\"`)}"`;
}

/**
 * One of the texts. Common beginnings are written once, so that few readings are open at a time.
 *
 * @param texts at least one
 */
export function oneOf(texts: readonly string[]): string {
  const sorted = [...new Set(texts)].toSorted();
  return branches(
    sorted.map((text) => Array.from(text)),
    0,
  );
}

/** @param texts all different, as characters, alike before `from` */
function branches(texts: readonly (readonly string[])[], from: number): string {
  const groups = new Map<string, (readonly string[])[]>();
  for (const text of texts) {
    const first = text[from] ?? "";
    const group = groups.get(first);
    if (group === undefined) groups.set(first, [text]);
    else group.push(text);
  }
  const parts = [...groups.values()].map((group) => {
    const [one = [], ...others] = group;
    if (others.length === 0) return literal(one.slice(from).join(""));
    let end = from + 1;
    while (one[end] !== undefined && others.every((other) => other[end] === one[end])) end += 1;
    return `${literal(one.slice(from, end).join(""))} ${branches(group, end)}`;
  });
  return parts.length === 1 ? (parts[0] ?? "") : `(${parts.join(" | ")})`;
}

/** How often something stands in a row. */
export interface Times {
  readonly least: number;
  /** Undefined: no end. */
  readonly most: number | undefined;
}

const anyTimes: Times = { least: 0, most: undefined };

/** @param one a single symbol */
function repeated(one: string, { least, most }: Times): string {
  if (most === 0) return "";
  return `${one}{${least},${most ?? ""}}`;
}

/** A string of so many characters. */
export function stringRule(book: RuleBook, times: Times = anyTimes): string {
  return book.add(`${quote} ${repeated(book.add(character), times)} ${quote}`);
}

const digits = (count: number): string => Array(count).fill("[0-9]").join(" ");
const hex = (count: number): string => Array(count).fill("[0-9a-f]").join(" ");
const monthAndDay = [
  '("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])',
  '("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30")',
  '"02-" ("0" [1-9] | [12] [0-9])',
].join(" | ");
const date = `${digits(4)} "-" (${monthAndDay})`;
const clock = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]';
const time = `${clock} ":" [0-5] [0-9] ("." [0-9]{1,3})? ("Z" | [-+] ${clock})`;
const formats: ReadonlyMap<string, string> = new Map([
  ["date", date],
  ["time", time],
  ["date-time", `${date} "T" ${time}`],
  ["uuid", `${hex(8)} "-" ${hex(4)} "-" ${hex(4)} "-" ${hex(4)} "-" ${hex(12)}`],
]);

/** A string in one of the formats that a grammar can hold; undefined for all others. */
export function formatRule(book: RuleBook, format: string): string | undefined {
  const body = formats.get(format);
  return body === undefined ? undefined : book.add(`${quote} ${body} ${quote}`);
}

/** Bounds of a number; undefined: none. */
export interface Range {
  readonly least: number | undefined;
  readonly most: number | undefined;
  readonly leastExcluded: boolean;
  readonly mostExcluded: boolean;
}

/** A whole number, or one with or without a fraction. */
export function numberRule(book: RuleBook, kind: "integer" | "number"): string {
  return book.add(kind === "integer" ? `"-"? ${whole}` : `"-"? ${whole} ${fraction} ${exponent}`);
}

/** A number within bounds; undefined when a grammar cannot hold them. */
export function rangeRule(book: RuleBook, kind: "integer" | "number", range: Range): string | undefined {
  const body = kind === "integer" ? integerRange(range) : numberRange(range);
  return body === undefined ? undefined : book.add(body);
}

function integerRange({ least, most, leastExcluded, mostExcluded }: Range): string | undefined {
  const from = least === undefined ? -Infinity : leastExcluded ? Math.floor(least) + 1 : Math.ceil(least);
  const to = most === undefined ? Infinity : mostExcluded ? Math.ceil(most) - 1 : Math.floor(most);
  if (to >= from && to - from < countable) return oneOf(wholes(from, to));
  if (to < widestWhole) return undefined;
  if (from <= -widestWhole) return `"-"? ${whole}`;
  if (from === 0) return whole;
  return from === 1 ? "[1-9] [0-9]{0,14}" : undefined;
}

function numberRange({ least, most, leastExcluded, mostExcluded }: Range): string | undefined {
  if (most === undefined || most >= widest) {
    if (least !== 0) return undefined;
    if (!leastExcluded) return `${whole} ${fraction} ${exponent}`;
    return `"0." "0"{0,14} [1-9] [0-9]{0,14} | [1-9] [0-9]{0,14} ${fraction}`;
  }
  if (least === undefined || leastExcluded || mostExcluded) return undefined;
  if (!Number.isInteger(least) || !Number.isInteger(most) || most < least || most - least > countable) return undefined;
  const parts: string[] = [];
  if (least < 0) parts.push(`"-" (${magnitude(Math.max(0, -most), -least)})`);
  if (most >= 0) parts.push(magnitude(Math.max(0, least), most));
  return parts.join(" | ");
}

/** A number without a sign from `from` to `to`, whole numbers themselves. */
function magnitude(from: number, to: number): string {
  const last = `${literal(String(to))} ${noFraction}`;
  return from === to ? last : `${oneOf(wholes(from, to - 1))} ${fraction} | ${last}`;
}

function wholes(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => String(from + index));
}

export const booleanLiterals: readonly string[] = ["true", "false"];
export const nullLiteral = "null";

/** A list: first those that are named, then `rest` so many times. */
export function listRule(book: RuleBook, firsts: readonly string[], rest: string, times: Times): string {
  const next = `"," ${gap} ${rest}`;
  if (firsts.length > 0) {
    const named = firsts.join(` "," ${gap} `);
    return book.add(`"[" ${named} ${times.most === 0 ? "" : repeated(book.add(next), times)} "]"`);
  }
  if (times.most === 0) return book.add('"[" "]"');
  const { least, most } = times;
  const others = { least: Math.max(0, least - 1), most: most === undefined ? undefined : most - 1 };
  const filled = `${rest} ${repeated(book.add(next), others)}`;
  return book.add(least === 0 ? `"[" (${filled})? "]"` : `"[" ${filled} "]"`);
}

/** A member of an object with a fixed name. */
export interface Member {
  readonly name: string;
  readonly value: string;
  readonly required: boolean;
}

/** An object with these members in this order. */
export function objectRule(book: RuleBook, members: readonly Member[]): string {
  // from the last to the first: what may follow when a member stands before, and when none does
  let later = '"}"';
  let first = '"}"';
  for (const { name, value, required } of members.toReversed()) {
    const here = `${literal(JSON.stringify(name))} ":" ${gap} ${value} ${later}`;
    const laterHere = `"," ${gap} ${here}`;
    first = book.add(required ? here : `${here} | ${first}`);
    later = book.add(required ? laterHere : `${laterHere} | ${later}`);
  }
  return book.add(`"{" ${first}`);
}

/** An object with members of any name. */
export function mapRule(book: RuleBook, value: string): string {
  const member = book.add(`${stringRule(book)} ":" ${gap} ${value}`);
  return book.add(`"{" (${member} ("," ${gap} ${member})*)? "}"`);
}

/** Any JSON, any object or any list. */
export function anyRule(book: RuleBook, kind: "value" | "object" | "list"): string {
  const leaves = [stringRule(book), numberRule(book, "number"), ...booleanLiterals.map(literal), literal(nullLiteral)];
  let value = book.add(leaves.join(" | "));
  let object = mapRule(book, value);
  let list = listRule(book, [], value, anyTimes);
  for (let depth = 1; depth < openDepth; depth += 1) {
    value = book.add([...leaves, object, list].join(" | "));
    object = mapRule(book, value);
    list = listRule(book, [], value, anyTimes);
  }
  return kind === "value" ? book.add([...leaves, object, list].join(" | ")) : kind === "object" ? object : list;
}

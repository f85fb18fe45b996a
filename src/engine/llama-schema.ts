/**
 * A JSON schema as a grammar for llama.cpp, so that a model can write nothing that does not fit. What the grammar allows
 * is a part of what the schema allows: members come in the schema's order, and members that it does not name are left
 * out. Pure. Schemas come from callers and run in a process that others share, so everything is bounded: the text, and
 * the readings that are open at the same time while a model writes.
 *
 * @see engines.md §1.4 · https://json-schema.org/draft/2020-12
 */
import { utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import {
  anyRule,
  booleanLiterals,
  formatRule,
  listRule,
  literal,
  mapRule,
  type Member,
  nullLiteral,
  numberRule,
  objectRule,
  oneOf,
  rangeRule,
  type RuleBook,
  ruleBook,
  stringRule,
  type Times,
} from "./llama-gbnf.ts";
import {
  areApart,
  type First,
  firstOf,
  isSchema,
  type Kind,
  kinds,
  kindsOf,
  literalsOf,
  requiredOf,
  resolve,
  type Schema,
  startsOf,
} from "./llama-schema-look.ts";

const limits = {
  /** JSON of the schema. */
  bytes: 64 * 1024,
  /** Schemas inside one another, references followed. */
  depth: 48,
  /** Schemas visited; one that is referred to by several names counts for each. */
  schemas: 4_000,
  /** minLength, maxLength, minItems, maxItems: llama.cpp writes a rule for each, and refuses 2,000. */
  times: 1_000,
  /** Sum of those; 20,000 rules cost the child about a megabyte, which is given back late. */
  allTimes: 8_000,
  /** Members that may be left out, in one object: as many readings are open at once. */
  optional: 60,
  /** Readings of one text. With as many, and 150,000 words to look at, a token takes a tenth of a second. */
  readings: 64,
  /** Characters of the grammar. */
  grammar: 512 * 1024,
} as const;

const param = "response_format.json_schema.schema";

interface Built {
  /** Name of the rule. */
  readonly rule: string;
  /** Readings that one text may have open at the same time. */
  readonly readings: number;
  /** Refers to a schema that contains it. */
  readonly recursive: boolean;
}

/** What holds for the whole walk. */
interface Walk {
  readonly root: unknown;
  readonly book: RuleBook;
  /** Whether what a grammar cannot hold is refused, or left to the model. */
  readonly strict: boolean;
  /** By what `$ref` says. */
  readonly references: Map<string, { readonly rule: string; built: Built | undefined }>;
  schemas: number;
  times: number;
}

/** Where a schema stands. */
interface Place {
  /** For people: "$defs/step/properties/next". */
  readonly path: string;
  readonly depth: number;
  /** References followed since the last bracket. */
  readonly since: readonly string[];
}

/** The grammar of any JSON object. */
export function anyObjectGrammar(): string {
  const book = ruleBook();
  return book.text(anyRule(book, "object"));
}

/**
 * The grammar of what fits a schema.
 *
 * @param strict refuses bounds and patterns that the grammar cannot hold; otherwise they are up to the model
 * @throws       E_UNSUPPORTED with the reason and `param`
 */
export function schemaGrammar(schema: unknown, strict: boolean): string {
  if (utf8(JSON.stringify(schema)).length > limits.bytes) {
    throw new MeshError("E_UNSUPPORTED", `The JSON schema has more than ${limits.bytes} bytes.`, { param });
  }
  const walk: Walk = { root: schema, book: ruleBook(), strict, references: new Map(), schemas: 0, times: 0 };
  const { rule } = build(walk, schema, { path: "", depth: 0, since: [] });
  return walk.book.text(rule);
}

function unsupported({ path }: Place, what: string): MeshError {
  const where = path === "" ? "its root" : `'${path.slice(0, 200)}'`;
  return new MeshError("E_UNSUPPORTED", `This model cannot hold to the JSON schema: at ${where}, ${what}.`, { param });
}

/** @param bracket whether a bracket stands between this place and that one */
function inside({ path, depth, since }: Place, name: string, bracket: boolean): Place {
  return { path: path === "" ? name : `${path}/${name}`, depth: depth + 1, since: bracket ? [] : since };
}

function build(walk: Walk, schema: unknown, place: Place): Built {
  walk.schemas += 1;
  if (walk.schemas > limits.schemas) throw unsupported(place, `it grows beyond ${limits.schemas} schemas`);
  if (place.depth > limits.depth) throw unsupported(place, `it is more than ${limits.depth} schemas deep`);
  if (walk.book.length > limits.grammar) throw unsupported(place, "it grows too large");
  if (schema === true) return leaf(anyRule(walk.book, "value"));
  if (!isSchema(schema)) throw unsupported(place, "there is no schema that anything fits");
  refuseUnheld(walk, schema, place);
  const selector = selectorOf(schema, place);
  switch (selector) {
    case "$ref":
      return buildReference(walk, schema["$ref"], place);
    case "const":
    case "enum":
      return buildLiterals(walk, schema, place);
    case "anyOf":
    case "oneOf":
    case "allOf": {
      const list = schema[selector];
      if (!Array.isArray(list) || list.length === 0) throw unsupported(place, `'${selector}' is no list of schemas`);
      if (selector === "allOf" && list.length > 1) throw unsupported(place, "it joins schemas by 'allOf'");
      return buildChoice(walk, list, inside(place, selector, false));
    }
    case undefined:
      return buildKinds(walk, schema, place);
  }
}

function leaf(rule: string): Built {
  return { rule, readings: 1, recursive: false };
}

// ---- what cannot be held

/** Change what fits in ways that no grammar of this kind follows. */
const foreign = [
  "not",
  "if",
  "then",
  "else",
  "dependentRequired",
  "dependentSchemas",
  "dependencies",
  "patternProperties",
  "$dynamicRef",
  "$recursiveRef",
];
/** Narrow a value in ways that a model may or may not follow. */
const narrowing = ["pattern", "multipleOf", "contains", "minProperties", "maxProperties", "propertyNames"];

function refuseUnheld(walk: Walk, schema: Schema, place: Place): void {
  const found = foreign.find((name) => schema[name] !== undefined);
  if (found !== undefined) throw unsupported(place, `it uses '${found}'`);
  const narrow = narrowing.find((name) => schema[name] !== undefined);
  if (narrow !== undefined) refuseIfStrict(walk, place, narrow);
  if (schema["uniqueItems"] === true) refuseIfStrict(walk, place, "uniqueItems");
}

function refuseIfStrict(walk: Walk, place: Place, name: string): void {
  if (walk.strict) throw unsupported(place, `'${name}' cannot be held; leave it out, or send strict: false`);
}

const selectors = ["$ref", "const", "enum", "anyOf", "oneOf", "allOf"] as const;
const structural = ["properties", "required", "additionalProperties", "items", "prefixItems"];

/** The keyword that says what fits; undefined when the types do. */
function selectorOf(schema: Schema, place: Place): (typeof selectors)[number] | undefined {
  const [selector, second] = selectors.filter((name) => schema[name] !== undefined);
  const beside = second ?? structural.find((name) => schema[name] !== undefined);
  if (selector === undefined || beside === undefined) return selector;
  throw unsupported(place, `'${beside}' stands beside '${selector}'`);
}

// ---- references

function buildReference(walk: Walk, reference: unknown, place: Place): Built {
  if (typeof reference !== "string") throw unsupported(place, "'$ref' is no string");
  if (place.since.includes(reference)) throw unsupported(place, "it refers to nothing but itself");
  const known = walk.references.get(reference);
  if (known !== undefined) return known.built ?? { rule: known.rule, readings: 1, recursive: true };
  const entry = { rule: walk.book.open(), built: undefined as Built | undefined };
  walk.references.set(reference, entry);
  const target = resolve(walk.root, reference);
  if (target === undefined) throw unsupported(place, `'${reference.slice(0, 100)}' refers to no part of the schema`);
  const { depth, since } = place;
  const path = reference.replace(/^#\/?/, "");
  const built = build(walk, target, { path, depth: depth + 1, since: [...since, reference] });
  walk.book.set(entry.rule, built.rule);
  entry.built = { ...built, rule: entry.rule };
  return entry.built;
}

// ---- literals and choices

function buildLiterals(walk: Walk, schema: Schema, place: Place): Built {
  const literals = literalsOf(schema) ?? [];
  if (literals.length === 0) throw unsupported(place, "no value of 'enum' or 'const' fits");
  return leaf(walk.book.add(oneOf(literals)));
}

/**
 * One of several schemas. Those that begin alike stay open together until the text decides; when that may be later than
 * the first member, they must not contain another such choice of any number.
 */
function buildChoice(walk: Walk, list: readonly unknown[], place: Place): Built {
  const literals = list.flatMap((schema) => literalsOf(schema) ?? []);
  const named = literals.length === 0 ? [] : [leaf(walk.book.add(oneOf(literals)))];
  const groups = new Map<string, { built: Built; first: First | undefined }[]>();
  const all: Built[] = [...named];
  list.forEach((schema, index) => {
    if (literalsOf(schema) !== undefined) return;
    const built = build(walk, schema, inside(place, String(index), false));
    if (all.some(({ rule }) => rule === built.rule)) return;
    all.push(built);
    if (all.length > limits.readings) throw unsupported(place, "it is one of too many schemas");
    const first = firstOf(walk.root, schema);
    for (const start of startsOf(walk.root, schema)) {
      const group = groups.get(start);
      if (group === undefined) groups.set(start, [{ built, first }]);
      else group.push({ built, first });
    }
  });
  if (all.length === 0) throw unsupported(place, "no value fits");
  let readings = all.length;
  for (const group of groups.values()) {
    const sum = group.reduce((total, { built }) => total + built.readings, 0);
    const apart = group.every(({ first }, at) => group.slice(at + 1).every((other) => areApart(first, other.first)));
    readings = Math.max(readings, apart ? Math.max(...group.map(({ built }) => built.readings)) : sum);
    if (!apart && group.some(({ built }) => built.recursive)) {
      throw unsupported(place, "schemas that contain themselves must differ in the value of their first member");
    }
  }
  if (readings > limits.readings) throw unsupported(place, "too many schemas begin alike");
  const recursive = all.some((one) => one.recursive);
  return { rule: walk.book.add(all.map(({ rule }) => rule).join(" | ")), readings, recursive };
}

// ---- types

function buildKinds(walk: Walk, schema: Schema, place: Place): Built {
  const named = kindsOf(schema);
  if (named.length === 0) throw unsupported(place, "'type' names no type of JSON");
  if (named === kinds) return leaf(anyRule(walk.book, "value"));
  const built = named.map((kind) => buildKind(walk, schema, kind, place));
  const [only] = built;
  if (only !== undefined && built.length === 1) return only;
  return {
    rule: walk.book.add(built.map(({ rule }) => rule).join(" | ")),
    readings: Math.max(...built.map(({ readings }) => readings)),
    recursive: built.some(({ recursive }) => recursive),
  };
}

function buildKind(walk: Walk, schema: Schema, kind: Kind, place: Place): Built {
  const { book } = walk;
  switch (kind) {
    case "object":
      return buildObject(walk, schema, place);
    case "array":
      return buildList(walk, schema, place);
    case "string": {
      const format = schema["format"];
      const rule = typeof format === "string" ? formatRule(book, format) : undefined;
      return leaf(rule ?? stringRule(book, timesOf(walk, schema, ["minLength", "maxLength"], place)));
    }
    case "integer":
    case "number":
      return leaf(buildNumber(walk, schema, kind, place));
    case "boolean":
      return leaf(book.add(oneOf(booleanLiterals)));
    case "null":
      return leaf(book.add(literal(nullLiteral)));
  }
}

function buildNumber(walk: Walk, schema: Schema, kind: "integer" | "number", place: Place): string {
  const least = bound(schema["minimum"], schema["exclusiveMinimum"], (a, b) => a >= b);
  const most = bound(schema["maximum"], schema["exclusiveMaximum"], (a, b) => a <= b);
  if (least.value !== undefined || most.value !== undefined) {
    const range = {
      least: least.value,
      most: most.value,
      leastExcluded: least.excluded,
      mostExcluded: most.excluded,
    };
    const rule = rangeRule(walk.book, kind, range);
    if (rule !== undefined) return rule;
    refuseIfStrict(walk, place, least.value === undefined ? "maximum" : "minimum");
  }
  return numberRule(walk.book, kind);
}

interface Bound {
  readonly value: number | undefined;
  readonly excluded: boolean;
}

/** @param excluding a number, or (draft 4) whether `including` is excluded */
function bound(including: unknown, excluding: unknown, isTighter: (a: number, b: number) => boolean): Bound {
  const value = typeof including === "number" ? including : undefined;
  if (typeof excluding !== "number") return { value, excluded: excluding === true };
  return value === undefined || isTighter(excluding, value)
    ? { value: excluding, excluded: true }
    : { value, excluded: false };
}

function timesOf(walk: Walk, schema: Schema, [low, high]: readonly [string, string], place: Place): Times {
  const count = (name: string): number | undefined => {
    const value = schema[name];
    if (value === undefined) return undefined;
    if (typeof value !== "number" || value < 0) throw unsupported(place, `'${name}' is not a count`);
    if (value <= limits.times) return Math.floor(value);
    refuseIfStrict(walk, place, `${name} beyond ${limits.times}`);
    return undefined;
  };
  const least = count(low) ?? 0;
  const most = count(high);
  if (most !== undefined && most < least) throw unsupported(place, `'${high}' is less than '${low}'`);
  walk.times += most ?? least;
  if (walk.times > limits.allTimes) throw unsupported(place, `it counts to more than ${limits.allTimes} in all`);
  return { least, most };
}

function buildList(walk: Walk, schema: Schema, place: Place): Built {
  const items = schema["items"];
  const older = Array.isArray(items);
  const listed: readonly unknown[] = older ? items : Array.isArray(schema["prefixItems"]) ? schema["prefixItems"] : [];
  const rest = older ? schema["additionalItems"] : items;
  const { least, most } = timesOf(walk, schema, ["minItems", "maxItems"], place);
  const firsts = listed
    .slice(0, most)
    .map((one, index) => build(walk, one, inside(place, `prefixItems/${index}`, true)));
  const open = Math.max(0, least - firsts.length);
  const closed = rest === false || (rest === undefined && firsts.length > 0);
  const times = { least: open, most: closed ? open : most === undefined ? undefined : most - firsts.length };
  if (rest === false && open > 0) throw unsupported(place, "'minItems' asks for more items than there may be");
  const other = times.most === 0 ? undefined : build(walk, rest ?? true, inside(place, "items", true));
  const parts = other === undefined ? firsts : [...firsts, other];
  const names = firsts.map(({ rule }) => rule);
  return around(listRule(walk.book, names, other?.rule ?? "", times), parts);
}

function buildObject(walk: Walk, schema: Schema, place: Place): Built {
  const { properties, additionalProperties: others } = schema;
  const required = new Set(requiredOf(schema));
  const named = new Map<string, unknown>(isSchema(properties) ? Object.entries(properties) : []);
  for (const name of required) if (!named.has(name)) named.set(name, others ?? true);
  if (named.size === 0 && others !== false) {
    if (others === undefined || others === true) return leaf(anyRule(walk.book, "object"));
    const value = build(walk, others, inside(place, "additionalProperties", true));
    return around(mapRule(walk.book, value.rule), [value]);
  }
  const members: Member[] = [];
  const values: Built[] = [];
  for (const [name, one] of named) {
    if (one === false && !required.has(name)) continue;
    const value = build(walk, one, inside(place, `properties/${name}`, true));
    values.push(value);
    members.push({ name, value: value.rule, required: required.has(name) });
  }
  const optional = members.filter((member) => !member.required).length;
  if (optional > limits.optional) throw unsupported(place, `more than ${limits.optional} properties may be left out`);
  return around(objectRule(walk.book, members), [...values, { rule: "", readings: optional + 1, recursive: false }]);
}

/** @param parts of which at most one is open at a time */
function around(rule: string, parts: readonly Built[]): Built {
  return {
    rule,
    readings: Math.max(1, ...parts.map(({ readings }) => readings)),
    recursive: parts.some(({ recursive }) => recursive),
  };
}

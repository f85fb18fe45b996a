/**
 * A look at one JSON schema without a walk through it: which kinds of value fit, with what their text begins, and what a
 * reference means. For the walk of llama-schema.ts. Pure.
 */

export type Schema = Readonly<Record<string, unknown>>;
/** A type of JSON schema. */
export type Kind = "object" | "array" | "string" | "integer" | "number" | "boolean" | "null";
export const kinds: readonly Kind[] = ["object", "array", "string", "integer", "number", "boolean", "null"];

export function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** References that are followed from one to the next. */
const chain = 48;
/** Choices directly inside one another that are looked into. */
const nestedChoices = 3;

/** @param reference "#" or "#/$defs/step"; all others are not followed */
export function resolve(root: unknown, reference: string): unknown {
  if (reference === "#") return root;
  if (!reference.startsWith("#/")) return undefined;
  let value: unknown = root;
  for (const part of reference.slice(2).split("/")) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = Reflect.get(value, name);
  }
  return value;
}

/** Names of members that must be there. */
export function requiredOf(schema: Schema | undefined): readonly string[] {
  const required = schema?.["required"];
  return Array.isArray(required) ? required.filter((name) => typeof name === "string") : [];
}

/** Keywords that speak of one kind of value. */
const spoken: readonly (readonly [Kind, readonly string[]])[] = [
  ["object", ["properties", "required", "additionalProperties"]],
  ["array", ["items", "prefixItems", "minItems", "maxItems"]],
  ["string", ["minLength", "maxLength", "pattern", "format"]],
  ["number", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]],
];

/** The types that a schema names, or else that its keywords speak of; all when it says nothing. */
export function kindsOf(schema: Schema): readonly Kind[] {
  const type = schema["type"];
  if (type === undefined) {
    const found = spoken.filter(([, keywords]) => keywords.some((keyword) => schema[keyword] !== undefined));
    return found.length === 0 ? kinds : found.map(([kind]) => kind);
  }
  const names: readonly unknown[] = Array.isArray(type) ? type : [type];
  return kinds.filter((kind) => names.includes(kind) && (kind !== "integer" || !names.includes("number")));
}

/** The values of `const` and `enum` that are of the schema's types, as JSON; undefined when it names none. */
export function literalsOf(schema: unknown): readonly string[] | undefined {
  if (!isSchema(schema)) return undefined;
  const one = schema["const"];
  const several = schema["enum"];
  if (one === undefined && !Array.isArray(several)) return undefined;
  const values: readonly unknown[] = one === undefined && Array.isArray(several) ? several : [one];
  const types = schema["type"] === undefined ? kinds : kindsOf(schema);
  return values.filter((value) => isOfKinds(value, types)).map((value) => JSON.stringify(value));
}

function isOfKinds(value: unknown, types: readonly Kind[]): boolean {
  if (value === null) return types.includes("null");
  if (Array.isArray(value)) return types.includes("array");
  if (typeof value !== "number") return types.some((kind) => kind === typeof value);
  return types.includes("number") || (types.includes("integer") && Number.isInteger(value));
}

/** The first member of an object, when it cannot be left out. */
export interface First {
  readonly name: string;
  readonly literals: readonly string[] | undefined;
}

export function firstOf(root: unknown, schema: unknown): First | undefined {
  const target = followed(root, schema);
  const [entry] = Object.entries(isSchema(target?.["properties"]) ? target["properties"] : {});
  if (entry === undefined || !requiredOf(target).includes(entry[0])) return undefined;
  return { name: entry[0], literals: literalsOf(entry[1]) };
}

export function areApart(a: First | undefined, b: First | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  if (a.name !== b.name) return true;
  return a.literals !== undefined && b.literals !== undefined && !a.literals.some((one) => b.literals?.includes(one));
}

/** Kinds of value with which a schema's text may begin; numbers of both kinds begin alike. */
export function startsOf(root: unknown, schema: unknown, depth = 0): ReadonlySet<string> {
  const target = followed(root, schema);
  const inner = [target?.["anyOf"], target?.["oneOf"], target?.["allOf"]].find(Array.isArray);
  if (inner !== undefined && depth < nestedChoices) {
    return new Set(inner.flatMap((one: unknown) => [...startsOf(root, one, depth + 1)]));
  }
  const all = target === undefined || inner !== undefined ? kinds : kindsOf(target);
  return new Set(all.map((kind) => (kind === "integer" ? "number" : kind)));
}

/** The schema that a chain of references ends in; undefined when it is no object or has no end. */
function followed(root: unknown, schema: unknown): Schema | undefined {
  let target = schema;
  for (let step = 0; step < chain; step += 1) {
    if (!isSchema(target)) return undefined;
    if (typeof target["$ref"] !== "string") return target;
    target = resolve(root, target["$ref"]);
  }
  return undefined;
}

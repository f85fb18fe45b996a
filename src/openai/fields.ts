/** Reading the fields of a request: the value, undefined when absent or null, or an error that names the path. */
import { MeshError } from "../base/errors.ts";
import { isRecord, type Json } from "../base/json.ts";

/** E_INPUT: the field has the wrong type or value. */
export function bad(param: string, expected: string): MeshError {
  return new MeshError("E_INPUT", `'${param}' ${expected}.`, { param });
}

/** E_UNSUPPORTED: the field is well formed, and asks for what a chat request cannot say. */
export function unsupported(param: string, why: string): MeshError {
  return new MeshError("E_UNSUPPORTED", `'${param}' ${why}.`, { param });
}

/** A word of the caller for a message, cut to a bounded length. */
export function quoted(word: string): string {
  return `'${word.length <= 40 ? word : `${word.slice(0, 39)}…`}'`;
}

/** @throws E_INPUT for other types */
export function optionalString(json: Json, field: string, param: string = field): string | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw bad(param, "must be a string");
  return value;
}

/** @throws E_INPUT absent, or of another type */
export function requiredString(json: Json, field: string, param: string): string {
  const value = optionalString(json, field, param);
  if (value === undefined) throw bad(param, "must be a string");
  return value;
}

/** @throws E_INPUT for other types */
export function optionalNumber(json: Json, field: string): number | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number") throw bad(field, "must be a number");
  return value;
}

/** @throws E_INPUT unless a whole number from `least` */
export function optionalCount(json: Json, field: string, least: number): number | undefined {
  const value = optionalNumber(json, field);
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= least)) {
    throw bad(field, `must be a whole number from ${least}`);
  }
  return value;
}

/** @throws E_INPUT for other types */
export function optionalBoolean(json: Json, field: string, param: string = field): boolean | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "boolean") throw bad(param, "must be true or false");
  return value;
}

/** @throws E_INPUT for other types */
export function optionalRecord(json: Json, field: string, param: string = field): Json | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) throw bad(param, "must be an object");
  return value;
}

/** @throws E_INPUT for other types */
export function optionalList(json: Json, field: string, param: string = field): readonly unknown[] | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw bad(param, "must be a list");
  return value;
}

/** `{ [field]: value }`, or nothing: for optional fields of an object. */
export function given(field: string, value: unknown): Json {
  return value === undefined ? {} : { [field]: value };
}

/** All other fields, nulls left out: they stand for absent. */
export function without(json: Json, fields: ReadonlySet<string>): Json {
  return Object.fromEntries(Object.entries(json).filter(([field, value]) => !fields.has(field) && value !== null));
}

/** A field that asks for what only another service has, and that an answer without would be another answer. */
export interface Feature {
  readonly field: string;
  /** Goes on from the field's name. */
  readonly why: string;
  /** Whether a value asks for nothing. */
  readonly idle: (value: unknown) => boolean;
}

/** @throws E_UNSUPPORTED one of them is asked for */
export function refuseFeatures(json: Json, features: readonly Feature[]): void {
  for (const { field, idle, why } of features) {
    const value = json[field];
    if (value !== undefined && value !== null && !idle(value)) throw unsupported(field, why);
  }
}

export function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

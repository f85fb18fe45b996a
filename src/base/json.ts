/** A parsed JSON value whose shape nobody has checked. */

/** A JSON object; what its members are is for the reader to find out. */
export type Json = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

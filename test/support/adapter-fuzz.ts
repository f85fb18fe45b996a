/** What the fuzz tests of the adapters between chat and other APIs share. */
import { expect } from "vitest";
import { isMeshError } from "../../src/base/errors.ts";
import { fc } from "./fast-check.ts";

/** Longest that one case may take. */
export const caseMs = 1_000;

/** Runs it; anything but a value or a MeshError is a failure. */
export function meshErrorOr<T>(work: () => T): T | undefined {
  const started = performance.now();
  try {
    return work();
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return undefined;
  } finally {
    expect(performance.now() - started).toBeLessThan(caseMs);
  }
}

/** Objects with fields that the adapter knows, and values of any kind in them: mostly wrong, sometimes right. */
export function known(fields: readonly string[], words: readonly string[]): fc.Arbitrary<unknown> {
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.constantFrom(...words),
      fc.constantFrom(null, true, false, 0, 1, -1, 1.5),
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...fields), tie("value"), { maxKeys: 6 }),
    ),
  }));
  return value;
}

/** What streams are made of: words, pieces of calls, ends of lines, and where the bytes are cut. */
export const text: fc.Arbitrary<string> = fc.string({ unit: "grapheme", maxLength: 8 });
export const callPiece: fc.Arbitrary<object> = fc.record({
  index: fc.nat(3),
  function: fc.record({ name: fc.constantFrom("f", "g"), arguments: text }, { requiredKeys: ["name"] }),
});
export const line: fc.Arbitrary<string> = fc.constantFrom("\n", "\r\n");
export const cuts: fc.Arbitrary<number[]> = fc.array(fc.nat(), { maxLength: 40 });

/** The bytes in pieces that end at the given places, the same place twice included. */
export function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

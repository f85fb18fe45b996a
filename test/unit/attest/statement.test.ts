/** What evidence says of its node: one way to write it, and nothing that could be read as something else. */
import { describe, expect, it } from "vitest";
import {
  boundNonce,
  decodeStatement,
  encodeStatement,
  maxStatementBytes,
  type Statement,
} from "../../../src/attest/statement.ts";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { isMeshError } from "../../../src/base/errors.ts";
import { expectCode } from "../../support/expect-code.ts";
import { fc } from "../../support/fast-check.ts";

const statement: Statement = { issuedAtMs: 1_700_000_000_000, measurement: "ab01", posture: Uint8Array.of(8, 1) };

it("is laid out as its file says", () => {
  expect(toHex(encodeStatement(statement))).toBe(`0068e5cf8b010000${"04000000"}61623031${"02000000"}0801`);
  expect(toHex(boundNonce(Uint8Array.of(7), encodeStatement(statement)))).toMatch(/^0100000007/);
  expect(toHex(boundNonce(undefined, Uint8Array.of(9)))).toBe("0000000009");
});

it("gives back what was written, and nothing for what was not told", () => {
  expect(decodeStatement(encodeStatement(statement))).toEqual(statement);
  const bare = { issuedAtMs: 5, measurement: undefined, posture: undefined };
  expect(decodeStatement(encodeStatement(bare))).toEqual(bare);
});

describe("is refused", () => {
  const good = encodeStatement(statement);
  it.each([
    ["cut short", good.subarray(0, -1)],
    ["with something behind it", Uint8Array.of(...good, 0)],
    ["with a time that no number holds", Uint8Array.of(...new Uint8Array(8).fill(255), ...new Uint8Array(8))],
    ["with a build that is no hex", encodeStatement({ ...statement, measurement: "AB01" })],
    ["with half a byte of a build", encodeStatement({ ...statement, measurement: "ab0" })],
    ["with too long a build", encodeStatement({ ...statement, measurement: "ab".repeat(65) })],
    ["with too long a posture", encodeStatement({ ...statement, posture: new Uint8Array(4_097) })],
    ["with a length beyond its end", fromHex(`${"00".repeat(8)}ffffffff`)],
  ])("%s", (_name, bytes) => expectCode("E_WIRE", () => decodeStatement(bytes)));
});

it("whatever the bytes: a statement that is written as it was read, or E_WIRE", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        expect(toHex(encodeStatement(decodeStatement(bytes)))).toBe(toHex(bytes));
      } catch (thrown) {
        if (!isMeshError(thrown) || thrown.code !== "E_WIRE") throw thrown;
      }
    }),
    { numRuns: Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 500) },
  );
  expect(maxStatementBytes).toBe(8 + 4 + 128 + 4 + 4_096);
});

/** Assertions on error codes: messages are for people and may change, codes are the contract. */
import { expect } from "vitest";
import { type ErrorCode, isMeshError } from "../../src/base/errors.ts";

export function expectCode(code: ErrorCode, run: () => unknown): void {
  let thrown: unknown;
  try {
    run();
  } catch (error) {
    thrown = error;
  }
  expect(codeOf(thrown)).toBe(code);
}

export async function rejectsWith(code: ErrorCode, work: Promise<unknown>): Promise<void> {
  expect(await work.then(() => "resolved", codeOf)).toBe(code);
}

export function codeOf(thrown: unknown): string {
  return isMeshError(thrown) ? thrown.code : `not a MeshError: ${String(thrown)}`;
}

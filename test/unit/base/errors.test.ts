import { expect, it } from "vitest";
import { errorTable, isMeshError, MeshError, toMeshError } from "../../../src/base/errors.ts";

const rows = Object.entries(errorTable);

it("a hint is a sentence that tells a person to do something, and no two codes share one", () => {
  const hints = rows.map(([, { hint }]) => hint);
  expect(new Set(hints).size).toBe(hints.length);
  for (const hint of hints) {
    expect(hint).toMatch(/^[A-Z].{15,118}\.$/);
    // the imperative comes first: what happened is the message's to say
    expect(hint).not.toMatch(/^(?:The|This|A|An|It|There|Chunks|Something) /);
  }
});

it("hints of codes with several causes fit each of them", () => {
  // a path that takes GET only, and a damaged file
  expect(errorTable.E_METHOD.hint).toContain("Allow header");
  for (const part of ["whole", "yours alone", "0700"]) expect(errorTable.E_STATE.hint).toContain(part);
});

it("only a failure that cannot have been worked on is called not processed, and is the caller's or the node's own", () => {
  const maybe = rows.flatMap(([code, { processed }]) => (processed === "maybe" ? [code] : []));
  const onTheWay = ["E_RELAY", "E_TIMEOUT", "E_LOST", "E_ABORTED", "E_WIRE", "E_OPEN", "E_ORDER", "E_TRUNCATED"];
  expect(new Set(maybe)).toEqual(new Set([...onTheWay, "E_ENGINE", "E_ENGINE_LOST", "E_BUG"]));
});

it("statuses are of errors, exit codes of sysexits, and the clock's code is the wire's own", () => {
  for (const [, { status, exit }] of rows) {
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(exit).toBeGreaterThanOrEqual(64);
    expect(exit).toBeLessThanOrEqual(78);
  }
  expect(errorTable.E_CLOCK).toMatchObject({ status: 425, code: "E_CLOCK" });
  expect(errorTable.E_UNAUTHORIZED).toMatchObject({ status: 401, type: "authentication_error", exit: 77 });
});

it("what was thrown keeps its cause, and a MeshError stays itself", () => {
  const cause = new TypeError("x");
  const wrapped = toMeshError(cause);
  expect(wrapped).toMatchObject({ code: "E_BUG", message: "x", cause });
  expect(toMeshError(wrapped)).toBe(wrapped);
  expect(isMeshError(new MeshError("E_INPUT", "no"))).toBe(true);
  expect(isMeshError(cause)).toBe(false);
});

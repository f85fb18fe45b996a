/** Bytes that are taken as they are there: waits only where nothing is, ends and failures that stay. */
import { describe, expect, it } from "vitest";
import { Body } from "../../../src/base/body.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { type Flow, flowing, next, type Now } from "../../../src/base/flow.ts";
import { expectCode } from "../../support/expect-code.ts";

/** Gives these; at each undefined it has to be waited for. */
function scripted(script: readonly (string | undefined)[]): { readonly flow: Flow; readonly waits: () => number } {
  const left = [...script];
  let waits = 0;
  const now = (): Now => {
    const piece = left[0];
    if (left.length === 0) return "end";
    if (piece === undefined) return undefined;
    left.shift();
    return utf8(piece);
  };
  const more = (): Promise<void> => {
    waits += 1;
    left.shift();
    return Promise.resolve();
  };
  return { flow: { now, more }, waits: () => waits };
}

describe("a flow", () => {
  it("is waited for only where nothing is there", async () => {
    const { flow, waits } = scripted(["a", "b", undefined, "c", undefined]);
    const given: (Uint8Array | undefined)[] = [];
    for (let count = 0; count < 5; count += 1) given.push(await next(flow));
    expect(given).toEqual([utf8("a"), utf8("b"), utf8("c"), undefined, undefined]);
    expect(waits()).toBe(2);
  });

  it("of a function ends for ever, and calls it no more", async () => {
    let calls = 0;
    const flow = flowing(() => Promise.resolve((calls += 1) === 1 ? utf8("a") : undefined));
    expect(flow.now()).toBeUndefined();
    await flow.more();
    expect([flow.now(), flow.now()]).toEqual([utf8("a"), undefined]);
    await flow.more();
    expect([flow.now(), flow.now(), calls]).toEqual(["end", "end", 2]);
  });

  it("tells a failure by now(), each time; a wait never fails", async () => {
    const flow = flowing(() => Promise.reject(new MeshError("E_LOST", "gone")));
    await flow.more();
    expectCode("E_LOST", () => flow.now());
    expectCode("E_LOST", () => flow.now());
    expectCode("E_LOST", () => next(flow));
  });

  it("through a body keeps its waits, and tells of its end or its failure once", async () => {
    const ends: string[] = [];
    const { flow, waits } = scripted(["a", undefined, "b"]);
    const body = new Body(flow).onEnd((whole) => void ends.push(whole ? "whole" : "not whole"));
    expect([body.now(), body.now()]).toEqual([utf8("a"), undefined]);
    await body.more();
    expect([body.now(), body.now(), body.now(), waits()]).toEqual([utf8("b"), "end", "end", 1]);
    const failing = new Body(flowing(() => Promise.reject(new MeshError("E_LOST", "gone"))));
    failing.onEnd((_whole, broken) => void ends.push(broken ? "broken" : "not broken"));
    await failing.more();
    expectCode("E_LOST", () => failing.now());
    expect(ends).toEqual(["whole", "broken"]);
  });
});

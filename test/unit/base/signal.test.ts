import { describe, expect, it } from "vitest";
import { MeshError } from "../../../src/base/errors.ts";
import { Aborter, platformSignal } from "../../../src/base/signal.ts";

const reason = new MeshError("E_ABORTED", "the caller has gone");

/** Who was told, in order. */
function listeners(): { readonly told: string[]; readonly of: (name: string) => () => void } {
  const told: string[] = [];
  return { told, of: (name) => () => void told.push(name) };
}

describe("the signal of one exchange", () => {
  it("tells those who listen once, in their order, and the reason before that", () => {
    const signal = new Aborter();
    const { told, of } = listeners();
    signal.addEventListener("abort", () => expect([signal.aborted, signal.reason]).toEqual([true, reason]));
    signal.addEventListener("abort", of("first"));
    signal.addEventListener("abort", of("second"));
    expect([signal.aborted, signal.reason]).toEqual([false, undefined]);
    signal.throwIfAborted();
    signal.abort(reason);
    signal.abort(new MeshError("E_LOST", "too late"));
    expect(told).toEqual(["first", "second"]);
    expect(signal.reason).toBe(reason);
    expect(() => signal.throwIfAborted()).toThrow(reason);
  });

  it("counts a listener once, and forgets who has left, also while others are told", () => {
    const signal = new Aborter();
    const { told, of } = listeners();
    const [gone, late, twice] = [of("gone"), of("late"), of("twice")];
    signal.addEventListener("abort", gone);
    signal.addEventListener("abort", twice);
    signal.addEventListener("abort", twice);
    signal.addEventListener("abort", () => signal.removeEventListener("abort", late));
    signal.addEventListener("abort", late);
    signal.removeEventListener("abort", gone);
    signal.removeEventListener("abort", of("nobody"));
    signal.abort(reason);
    signal.addEventListener("abort", of("after it"));
    expect(told).toEqual(["twice"]);
  });

  it("tells the others when one of them throws, and the process of that", async () => {
    const signal = new Aborter();
    const { told, of } = listeners();
    const before = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    const uncaught = new Promise((resolve) => process.once("uncaughtException", resolve));
    try {
      signal.addEventListener("abort", () => {
        throw reason;
      });
      signal.addEventListener("abort", of("second"));
      signal.abort(reason);
      expect(told).toEqual(["second"]);
      expect(await uncaught).toBe(reason);
    } finally {
      for (const listener of before) process.on("uncaughtException", listener);
    }
  });

  it("is the platform's where that is asked for: before it fires, and after", () => {
    const { signal: own } = new AbortController();
    expect(platformSignal(own)).toBe(own);
    const signal = new Aborter();
    const before = platformSignal(signal);
    expect(before).toBeInstanceOf(AbortSignal);
    expect(before.aborted).toBe(false);
    signal.abort(reason);
    const after = platformSignal(signal);
    expect([before.aborted, before.reason, after.aborted, after.reason]).toEqual([true, reason, true, reason]);
  });
});

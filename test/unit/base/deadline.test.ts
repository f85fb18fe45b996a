import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { unlessAborted, unlessLate, withDeadline } from "../../../src/base/deadline.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { rejectsWith } from "../../support/expect-code.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const never = (): Promise<number> => new Promise(() => undefined);

describe("the race of work, time and signal", () => {
  it("gives what the work gives, and leaves neither timer nor listener", async () => {
    const { signal } = new AbortController();
    expect(await withDeadline(Promise.resolve(1), { what: "it", ms: 10, signal })).toBe(1);
    expect(await unlessLate(Promise.resolve(2), 10, signal)).toEqual({ value: 2 });
    expect(await unlessAborted(Promise.resolve(3), signal)).toBe(3);
    await rejectsWith(
      "E_LOST",
      withDeadline(Promise.reject(new MeshError("E_LOST", "x")), { what: "it", ms: 10, signal }),
    );
    expect(vi.getTimerCount()).toBe(0);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("ends by time: as an error with its code, or as a value", async () => {
    const late = rejectsWith("E_UNREACHABLE", withDeadline(never(), { what: "it", ms: 10, code: "E_UNREACHABLE" }));
    const { signal } = new AbortController();
    const value = unlessLate(never(), 10, signal);
    await vi.advanceTimersByTimeAsync(10);
    await late;
    expect(await value).toBe("late");
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("ends by the signal, with its own reason, also when it had fired before", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const waits = [
      withDeadline(never(), { what: "it", ms: 10, signal }),
      unlessLate(never(), 10, signal),
      unlessAborted(never(), signal),
    ];
    const ended = waits.map((wait) => rejectsWith("E_LOST", wait));
    controller.abort(new MeshError("E_LOST", "gone"));
    await Promise.all(ended);
    await rejectsWith("E_LOST", unlessAborted(never(), signal));
    await rejectsWith("E_ABORTED", unlessAborted(never(), AbortSignal.abort()));
    expect(vi.getTimerCount()).toBe(0);
  });
});

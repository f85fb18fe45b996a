/** Bytes wait for their turn, and none is lost. Time passes when a test says so. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Throttle } from "../../../src/base/throttle.ts";
import { rejectsWith } from "../../support/expect-code.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function throttle(holders = 10): Throttle {
  return new Throttle({
    perHolder: { burst: 1_000, perSecond: 100 },
    total: { burst: 3_000, perSecond: 300 },
    holders,
  });
}

/** What has passed so far, in order. */
function passing(subject: Throttle): { passed: string[]; pass: (holder: string, bytes: number) => void } {
  const passed: string[] = [];
  const pass = (holder: string, bytes: number): void => {
    void subject.pass(holder, bytes, new AbortController().signal).then(() => passed.push(holder));
  };
  return { passed, pass };
}

describe("a throttle", () => {
  it("lets a burst through at once, and what comes after it at the holder's rate", async () => {
    const { passed, pass } = passing(throttle());
    pass("a", 1_000);
    pass("a", 100);
    pass("a", 100);
    await vi.advanceTimersByTimeAsync(0);
    expect(passed).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(999);
    expect(passed).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(passed).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(passed).toHaveLength(3);
  });

  it("lets more than a burst pass in one piece, after the time that it takes", async () => {
    const { passed, pass } = passing(throttle());
    pass("a", 1_500);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(passed).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(passed).toEqual(["a"]);
  });

  it("gives each holder its own, whatever others take", async () => {
    const { passed, pass } = passing(throttle());
    for (let count = 0; count < 50; count += 1) pass("a", 1_000);
    pass("b", 1_000);
    await vi.advanceTimersByTimeAsync(0);
    expect(passed.toSorted()).toEqual(["a", "b"]);
  });

  it("slows everybody down when all together are too fast", async () => {
    const { passed, pass } = passing(throttle());
    for (const holder of ["a", "b", "c", "d"]) pass(holder, 1_000);
    await vi.advanceTimersByTimeAsync(0);
    expect(passed).toEqual(["a", "b", "c"]);
    await vi.advanceTimersByTimeAsync(3_334);
    expect(passed).toEqual(["a", "b", "c", "d"]);
  });

  it("fills no further than the burst, however long nothing comes", async () => {
    const { passed, pass } = passing(throttle());
    pass("a", 1_000);
    await vi.advanceTimersByTimeAsync(3_600_000);
    pass("a", 1_000);
    pass("a", 1);
    await vi.advanceTimersByTimeAsync(0);
    expect(passed).toHaveLength(2);
  });

  it("forgets who was idle for longest, and nobody else", async () => {
    const { passed, pass } = passing(throttle(2));
    for (const holder of ["a", "b"]) pass(holder, 1_000);
    await vi.advanceTimersByTimeAsync(0);
    pass("b", 1);
    pass("c", 1);
    pass("a", 900);
    await vi.advanceTimersByTimeAsync(0);
    expect(passed).toEqual(["a", "b", "c", "a"]);
  });

  it("a wait ends when nobody wants it any more", async () => {
    const gone = new AbortController();
    const waiting = throttle().pass("a", 5_000, gone.signal);
    gone.abort();
    await rejectsWith("E_ABORTED", waiting);
    expect(vi.getTimerCount()).toBe(0);
  });
});

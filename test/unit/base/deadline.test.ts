import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Patience, Silence, unlessAborted, unlessLate, withDeadline } from "../../../src/base/deadline.ts";
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

describe("waits that follow one another", () => {
  const after = (ms: number): Promise<number> => new Promise((resolve) => setTimeout(() => resolve(ms), ms));

  it("have one timer and one listener, of which nothing stays", async () => {
    const { signal } = new AbortController();
    const patience = new Patience(10, signal);
    for (let piece = 0; piece < 5; piece += 1) {
      const wait = patience.wait(after(6));
      expect(vi.getTimerCount()).toBe(2); // ours, and that of the work
      expect(getEventListeners(signal, "abort")).toHaveLength(1);
      await vi.advanceTimersByTimeAsync(6);
      expect(await wait).toBe(6); // each has its own time: the first timer was over long ago
    }
    patience.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("are late to the ms, the first as the later ones, and may go on", async () => {
    const patience = new Patience(10);
    await vi.advanceTimersByTimeAsync(7);
    expect(await patience.wait(Promise.resolve("at once"))).toBe("at once");
    await vi.advanceTimersByTimeAsync(7);
    const work = after(15);
    const turns: (number | "late")[] = [];
    const first = patience.wait(work).then((turn) => turns.push(turn));
    await vi.advanceTimersByTimeAsync(9);
    expect(turns).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await first;
    const second = patience.wait(work).then((turn) => turns.push(turn));
    await vi.advanceTimersByTimeAsync(5);
    await second;
    expect(turns).toEqual(["late", 15]);
    patience.close();
  });

  it("may each have a time of its own, shorter or longer than the one before", async () => {
    const patience = new Patience(20);
    const turns: string[] = [];
    const waitFor = async (ms?: number): Promise<void> => {
      const startedMs = performance.now();
      turns.push(`${await patience.wait(never(), ms)} after ${performance.now() - startedMs}`);
    };
    const waits = (async () => {
      await waitFor();
      await waitFor(5);
      await waitFor(30);
      expect(await Promise.all([patience.wait(after(2)), vi.advanceTimersByTimeAsync(2)])).toEqual([2, vi]);
      await waitFor(3); // the timer of the last one would be later
    })();
    await vi.advanceTimersByTimeAsync(60);
    await waits;
    expect(turns).toEqual(["late after 20", "late after 5", "late after 30", "late after 3"]);
    patience.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("end by the signal, the one under way and all that follow, and as the work fails", async () => {
    const controller = new AbortController();
    const patience = new Patience(10, controller.signal);
    await rejectsWith("E_ENGINE", patience.wait(Promise.reject(new MeshError("E_ENGINE", "x"))));
    const ended = rejectsWith("E_LOST", patience.wait(never()));
    controller.abort(new MeshError("E_LOST", "gone"));
    await ended;
    await rejectsWith("E_LOST", patience.wait(Promise.reject(new MeshError("E_ENGINE", "too late to be told"))));
    patience.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a silence", () => {
  it("is told once, to the ms, and only while somebody waits", async () => {
    const told: number[] = [];
    const startMs = performance.now();
    const silence = new Silence(10, () => told.push(performance.now() - startMs));
    silence.begin();
    await vi.advanceTimersByTimeAsync(9);
    silence.end();
    await vi.advanceTimersByTimeAsync(50);
    silence.begin(); // at 59
    await vi.advanceTimersByTimeAsync(7);
    silence.end();
    silence.begin(); // at 66
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(9);
    expect(told).toEqual([]);
    await vi.advanceTimersByTimeAsync(40);
    expect(told).toEqual([76]);
  });

  it("is nothing any more when it was closed", async () => {
    const silence = new Silence(10, () => expect.unreachable("nobody waits"));
    silence.begin();
    silence.close();
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(20);
  });
});

/** The bench's arithmetic, and what it reads of Linux: a wrong percentile or a wrong field would pass for a measurement. */
import { describe, expect, it } from "vitest";
import { cpuNs, residentBytes, residentBytesOf, runNsOf, ticksNsOf } from "../../../bench/proc.mjs";
import { median, percentile, spread, summary } from "../../../bench/stats.mjs";

describe("numbers from numbers", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);

  it("a percentile is the value of the nearest rank", () => {
    expect([0, 0.01, 0.5, 0.99, 1].map((share) => percentile(hundred, share))).toEqual([1, 1, 50, 99, 100]);
    expect(percentile([7], 0.99)).toBe(7);
    expect(() => percentile([], 0.5)).toThrow("no values");
  });

  it("a median is the middle one or the mean of two, in any order, and leaves its values as they are", () => {
    const values = [9, 1, 5];
    expect(median(values)).toBe(5);
    expect(values).toEqual([9, 1, 5]);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow("no values");
  });

  it("rounds are told by min, median and max, their spread as a share of the median", () => {
    expect(summary([30, 10, 20])).toEqual({ min: 10, median: 20, max: 30 });
    expect(spread([8, 10, 11])).toBeCloseTo(0.2);
    expect(spread([5, 5])).toBe(0);
  });
});

describe("what /proc says", () => {
  it("schedstat begins with ns on a CPU", () => {
    expect(runNsOf("379982850 220936 10\n")).toBe(379_982_850);
  });

  it("stat has user and system time behind a name that may hold anything, in ticks", () => {
    const stat = "4711 (a) b (x) S 1 4711 4711 0 -1 4194560 900 0 0 0 123 45 0 0 20 0 7 0 100 5000 600";
    expect(ticksNsOf(stat)).toBe((123 + 45) * 10_000_000);
  });

  it("status has resident memory, and none of a process that has ended", () => {
    expect(residentBytesOf("Name:\tnode\nVmHWM:\t  900 kB\nVmRSS:\t   46080 kB\nRssAnon:\t 1 kB\n")).toBe(
      46_080 * 1_024,
    );
    expect(residentBytesOf("Name:\tnode\nState:\tZ (zombie)\n")).toBeUndefined();
  });

  it.skipIf(process.platform !== "linux")("of this process: as much as it says itself", () => {
    const before = cpuNs([process.pid]) ?? Number.NaN;
    const own = process.cpuUsage();
    for (const until = performance.now() + 100; performance.now() < until;);
    const { user, system } = process.cpuUsage(own);
    const taken = ((cpuNs([process.pid]) ?? Number.NaN) - before) / 1_000;
    expect(taken).toBeGreaterThan((user + system) * 0.5);
    expect(taken).toBeLessThan((user + system) * 2 + 20_000);
    expect(residentBytes(process.pid)).toBeGreaterThan(10_000_000);
  });

  it("of no process: nothing, and no error", () => {
    expect(cpuNs([2 ** 30])).toBeUndefined();
    expect(residentBytes(2 ** 30)).toBeUndefined();
  });
});

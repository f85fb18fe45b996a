/** How often something may be done: bursts, refilling, one total for all, and a bounded memory. */
import { describe, expect, it } from "vitest";
import { Rate, type RateOptions } from "../../../src/base/rate.ts";

const plenty = { burst: 1_000, perSecond: 1_000 };
const rateOf = (options: Partial<RateOptions>): Rate =>
  new Rate({ perHolder: plenty, total: plenty, holders: 100, ...options });

/** How many of `count` attempts at one time succeed. */
function taken(rate: Rate, holder: string, count: number, nowMs: number): number {
  return Array.from({ length: count }, () => rate.take(holder, nowMs)).filter(Boolean).length;
}

describe("one holder", () => {
  it("may do so many at once, and then as many as time gives back", () => {
    const rate = rateOf({ perHolder: { burst: 3, perSecond: 2 } });
    expect(taken(rate, "a", 10, 0)).toBe(3);
    expect(taken(rate, "a", 10, 499)).toBe(0);
    expect(taken(rate, "a", 10, 500)).toBe(1);
    expect(taken(rate, "a", 10, 60_000)).toBe(3);
  });

  it("costs no other holder anything, refused attempts included", () => {
    const rate = rateOf({ perHolder: { burst: 2, perSecond: 1 }, total: { burst: 4, perSecond: 1 } });
    expect(taken(rate, "a", 50, 0)).toBe(2);
    expect(taken(rate, "b", 50, 0)).toBe(2);
  });

  it("gains nothing by a clock that goes back", () => {
    const rate = rateOf({ perHolder: { burst: 1, perSecond: 1 } });
    expect(taken(rate, "a", 1, 10_000)).toBe(1);
    expect(taken(rate, "a", 1, 9_000)).toBe(0);
  });
});

it("all holders together get no more than the total, however many they are", () => {
  const rate = rateOf({ perHolder: { burst: 5, perSecond: 1 }, total: { burst: 10, perSecond: 2 } });
  const attempt = (nowMs: number): number =>
    Array.from({ length: 50 }, (_, index) => taken(rate, `holder ${index}`, 1, nowMs)).reduce((sum, one) => sum + one);
  expect(attempt(0)).toBe(10);
  expect(attempt(1_000)).toBe(2);
});

it("remembers so many holders, and forgets whoever was idle for longest", () => {
  const rate = rateOf({ perHolder: { burst: 1, perSecond: 0.001 }, holders: 2 });
  expect(rate.take("a", 0)).toBe(true);
  expect(rate.take("b", 1)).toBe(true);
  expect(rate.take("c", 2)).toBe(true);
  expect(rate.holders).toBe(2);
  expect(rate.take("b", 3)).toBe(false);
  expect(rate.take("a", 4)).toBe(true);
});

it("remembers nobody who was refused by the total", () => {
  const rate = rateOf({ total: { burst: 1, perSecond: 0.001 } });
  expect(rate.take("a", 0)).toBe(true);
  expect(rate.take("b", 0)).toBe(false);
  expect(rate.holders).toBe(1);
});

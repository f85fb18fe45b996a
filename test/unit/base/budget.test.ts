/** Bytes in all and per holder, given back however the exchange ends. */
import { describe, expect, it } from "vitest";
import { Budget } from "../../../src/base/budget.ts";
import { expectCode } from "../../support/expect-code.ts";

describe("a budget of bytes", () => {
  it("Q1: is refused beyond its total and beyond a holder's share, before anything is added", () => {
    const budget = new Budget({ total: 100, perHolder: 60 });
    const [first, second] = [budget.open("a"), budget.open("b")];
    first.take(60);
    expectCode("E_BUSY", () => first.take(1));
    expectCode("E_BUSY", () => budget.open("a").take(1)); // the same holder, another exchange
    second.take(40);
    expectCode("E_BUSY", () => second.take(1));
    expect(budget.taken).toBe(100);
  });

  it("gets everything back, once", () => {
    const budget = new Budget({ total: 100, perHolder: 100 });
    const account = budget.open("a");
    account.take(70);
    account.close();
    account.close();
    account.take(70); // late bytes of an exchange that has ended count for nobody
    expect(budget.taken).toBe(0);
    budget.open("a").take(100);
    expect(budget.taken).toBe(100);
  });
});

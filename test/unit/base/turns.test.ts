/** Turns: one call at a time, shared out among those who ask. */
import { describe, expect, it } from "vitest";
import { Turns } from "../../../src/base/turns.ts";
import { codeOf, rejectsWith } from "../../support/expect-code.ts";

const idle = new AbortController().signal;

interface Scene {
  readonly order: string[];
  readonly ask: (holder: string, change?: { ms?: number; signal?: AbortSignal; patient?: boolean }) => Promise<string>;
  /** Ends the call that is under way. */
  readonly end: (failure?: Error) => Promise<void>;
  readonly turns: Turns;
}

function scene(hangMs = 10_000): Scene {
  const turns = new Turns(hangMs);
  const order: string[] = [];
  let ending: ((failure?: Error) => void) | undefined;
  return {
    turns,
    order,
    ask: (holder, change = {}) =>
      turns.run(
        async () => {
          order.push(holder);
          await new Promise<void>((resolve, reject) => {
            ending = (failure) => (failure ? reject(failure) : resolve());
          });
          return holder;
        },
        { what: "asking", holder, ms: 5_000, signal: idle, ...change },
      ),
    end: async (failure) => {
      ending?.(failure);
      for (let round = 0; round < 8; round += 1) await Promise.resolve();
    },
  };
}

it("serves one call at a time, in the order in which they came", async () => {
  const { ask, order, end } = scene();
  const answers = [ask("a"), ask("b"), ask("c")];
  expect(order).toEqual(["a"]);
  await end();
  expect(order).toEqual(["a", "b"]);
  await end();
  await end();
  expect(await Promise.all(answers)).toEqual(["a", "b", "c"]);
});

it("lets who was served longest ago come next: many questions of one hold up nobody else", async () => {
  const { ask, order, end } = scene();
  const waiting = [ask("greedy"), ask("greedy"), ask("greedy"), ask("greedy"), ask("modest"), ask("other")];
  for (let round = 0; round < 6; round += 1) await end();
  await Promise.all(waiting);
  expect(order).toEqual(["greedy", "modest", "other", "greedy", "greedy", "greedy"]);
});

it("goes on after a call that failed", async () => {
  const { ask, end } = scene();
  const first = ask("a").catch((thrown: unknown) => String(thrown));
  const second = ask("b");
  await end(new Error("broken"));
  await end();
  expect([await first, await second]).toEqual(["Error: broken", "b"]);
});

describe("who does not wait any more", () => {
  it("is not served, and its call never begins", async () => {
    const { ask, order, end } = scene();
    const gone = new AbortController();
    const first = ask("a");
    const left = ask("b", { signal: gone.signal }).catch(codeOf);
    const late = ask("c", { ms: 1 }).catch(codeOf);
    gone.abort();
    expect([await left, await late]).toEqual(["E_ABORTED", "E_TIMEOUT"]);
    await end();
    expect([await first, order]).toEqual(["a", ["a"]]);
    await rejectsWith("E_ABORTED", ask("d", { signal: gone.signal }));
  });
});

describe("a call that hangs", () => {
  it("lets nobody in behind it but the patient, and everybody again once it has ended", async () => {
    const { turns, ask, end } = scene(0);
    const first = ask("a");
    expect(turns.hangs).toBe(true);
    await rejectsWith("E_BUSY", ask("b"));
    const patient = ask("c", { patient: true });
    await end();
    await end();
    expect([await first, await patient, turns.hangs]).toEqual(["a", "c", false]);
  });
});

import { describe, expect, test } from "vitest";
import { itemsUpTo, ResponseStore } from "../../../../src/openai/responses/store.ts";
import { fc } from "../../../support/fast-check.ts";

const item = (text: string) => ({ role: "user", content: text });
const texts = (store: ResponseStore, id: string) => {
  const turn = store.get(id);
  return turn && itemsUpTo(turn).map((one) => one["content"]);
};

function timed(limits: { entries?: number; bytes?: number; ageMs?: number } = {}) {
  const clock = { at: 1_000, now: () => clock.at };
  return { clock, store: new ResponseStore({ entries: 100, bytes: 1e6, ageMs: 1_000, ...limits }, clock) };
}

describe("ResponseStore", () => {
  test("a conversation of n turns costs n", () => {
    const { store } = timed({ entries: 1_000 });
    const cost = (turns: number): number => {
      let before = undefined;
      for (let turn = 0; turn < turns; turn += 1) {
        const id = `${turns}-${turn}`;
        store.put(id, before, [item("x".repeat(100))]);
        before = store.get(id);
      }
      return store.size.bytes;
    };
    const ten = cost(10);
    expect(cost(90) - ten).toBe(9 * ten);
    expect(texts(store, "90-89")).toHaveLength(90);
  });

  test("what is too old is gone, and memory with it", () => {
    const { store, clock } = timed();
    store.put("a", undefined, [item("a")]);
    clock.at += 500;
    store.put("b", store.get("a"), [item("b")]);
    clock.at += 500;
    expect(store.get("a")).toBeUndefined();
    // a later turn still needs it
    expect(texts(store, "b")).toEqual(["a", "b"]);
    expect(store.size.turns).toBe(2);
    clock.at += 500;
    store.dropExpired();
    expect(store.size).toEqual({ turns: 0, bytes: 0 });
  });

  test("one that is full drops the oldest", () => {
    const { store } = timed({ entries: 2 });
    for (const id of ["a", "b", "c"]) store.put(id, undefined, [item(id)]);
    expect(["a", "b", "c"].map((id) => texts(store, id))).toEqual([undefined, ["b"], ["c"]]);
  });

  test("bytes are bounded; what does not fit at all is not held and pushes nothing out", () => {
    const { store } = timed({ bytes: 10_000 });
    store.put("a", undefined, [item("a".repeat(1_500))]);
    store.put("b", undefined, [item("b".repeat(1_500))]);
    expect(texts(store, "a")).toBeDefined();
    store.put("large", undefined, [item("x".repeat(6_000))]);
    expect([texts(store, "large"), texts(store, "a") !== undefined]).toEqual([undefined, true]);
    store.put("c", undefined, [item("c".repeat(1_500))]);
    expect([texts(store, "a"), texts(store, "c") !== undefined]).toEqual([undefined, true]);
    expect(store.size.bytes).toBeLessThanOrEqual(10_000);
  });

  test("a conversation of more turns than there is room for is not held, and pushes nothing out", () => {
    const { store } = timed({ entries: 2 });
    for (const [id, before] of [["a"], ["b", "a"], ["c", "b"]] as const) {
      store.put(id, before === undefined ? undefined : store.get(before), [item(id)]);
    }
    expect(["a", "b", "c"].map((id) => texts(store, id))).toEqual([["a"], ["a", "b"], undefined]);
  });

  test("an id stands for one turn", () => {
    const { store, clock } = timed();
    store.put("a", undefined, [item("first")]);
    store.put("a", undefined, [item("second")]);
    expect(texts(store, "a")).toEqual(["first"]);
    clock.at += 2_000;
    store.dropExpired();
    expect(store.size).toEqual({ turns: 0, bytes: 0 });
  });

  test("a turn that was dropped between question and answer is counted again", () => {
    const { store, clock } = timed();
    store.put("a", undefined, [item("a")]);
    const before = store.get("a");
    const { bytes } = store.size;
    clock.at += 2_000;
    expect(store.get("a")).toBeUndefined();
    store.put("b", before, [item("b")]);
    expect(store.size).toEqual({ turns: 2, bytes: 2 * bytes });
    expect(texts(store, "b")).toEqual(["a", "b"]);
  });

  test("reasoning takes no room", () => {
    const { store } = timed();
    store.put("a", undefined, [item("a"), { type: "reasoning", id: "rs_1", summary: [{ text: "x".repeat(1_000) }] }]);
    expect(store.size.bytes).toBeLessThan(1_000);
    expect([texts(store, "a"), store.item("rs_1")]).toEqual([["a"], undefined]);
  });

  test("items are found by id as long as their turn is", () => {
    const { store, clock } = timed();
    const said = { ...item("a"), id: "msg_1" };
    store.put("a", undefined, [said]);
    expect(store.item("msg_1")).toBe(said);
    expect(store.item("msg_2")).toBeUndefined();
    clock.at += 600;
    // sent again, as a reference that was resolved
    store.put("b", undefined, [said]);
    clock.at += 600;
    expect([store.get("a"), store.item("msg_1")]).toEqual([undefined, said]);
    clock.at += 600;
    expect(store.item("msg_1")).toBeUndefined();
  });

  test("never holds more than its limits, and counts to nothing", () => {
    const step = fc.record({ before: fc.nat(30), size: fc.nat(2_000), wait: fc.nat(120) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { store, clock } = timed({ entries: 8, bytes: 12_000 });
        const seen: (ReturnType<ResponseStore["get"]> | undefined)[] = [];
        steps.forEach(({ before, size, wait }, index) => {
          clock.at += wait;
          store.put(`r${index}`, seen[before], [item("x".repeat(size))]);
          seen.push(store.get(`r${index}`));
          expect(store.size.turns).toBeLessThanOrEqual(8);
          expect(store.size.bytes).toBeLessThanOrEqual(12_000);
        });
        clock.at += 1_000;
        store.dropExpired();
        expect(store.size).toEqual({ turns: 0, bytes: 0 });
      }),
    );
  });
});

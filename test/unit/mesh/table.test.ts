/** Maps that never change, and are not copied for it: each state goes on to show what it showed. */
import { expect, it } from "vitest";
import { endpointIdFromBytes } from "../../../src/base/brand.ts";
import { Changes } from "../../../src/mesh/changes.ts";
import { Table } from "../../../src/mesh/table.ts";
import { fc } from "../../support/fast-check.ts";

const byNumber = (a: number, b: number): number => a - b;

it("is a map to whoever reads it, in every version of it, read in any order", () => {
  const anyChange = fc.tuple(fc.nat(9), fc.option(fc.nat(99), { nil: undefined }));
  const anyStep = fc.record({ from: fc.nat(), changes: fc.array(anyChange, { maxLength: 6 }), read: fc.nat() });
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 20 }), (steps) => {
      const versions: ReadonlyMap<number, number>[] = [new Map([[1, 1]])];
      const models: ReadonlyMap<number, number>[] = [new Map([[1, 1]])];
      /** In which each version showed its keys at first. */
      const orders: number[][] = [[1]];
      for (const { from, changes, read } of steps) {
        const at = from % versions.length;
        const table = new Table(versions[at] ?? new Map<number, number>());
        const model = new Map(models[at]);
        for (const [key, value] of changes) {
          if (value === undefined) expect(table.delete(key)).toBe(model.delete(key));
          else {
            table.set(key, value);
            model.set(key, value);
          }
          expect([table.size, table.get(key), table.has(key)]).toEqual([model.size, model.get(key), model.has(key)]);
        }
        expect(new Map(table.entries())).toEqual(model);
        expect(table.values().toSorted(byNumber)).toEqual([...model.values()].toSorted(byNumber));
        const done = table.done();
        versions.push(done);
        models.push(model);
        orders.push([...done.keys()]);
        const old = read % versions.length;
        expect(new Map(versions[old])).toEqual(models[old]);
      }
      for (const [at, version] of versions.entries()) {
        expect(new Map(version)).toEqual(models[at]);
        expect(version.size).toBe(models[at]?.size);
        expect([...version.keys()]).toEqual(orders[at]);
      }
    }),
    { numRuns: 300 },
  );
});

it("is the very map of before when a step changed nothing", () => {
  const before = new Map([["a", 1]]);
  const table = new Table(before);
  table.set("a", 1);
  table.delete("b");
  expect(table.done()).toBe(before);
});

it("changes since a number are each named once, and lists that share a beginning do not show in one another", () => {
  const [a, b, c] = [1, 2, 3].map((byte) => endpointIdFromBytes(new Uint8Array(32).fill(byte)));
  if (!a || !b || !c) throw new Error("three ids");
  const first = Changes.none.with(a, "entry").with(b, "link");
  const one = first.with(a, "entry");
  const other = first.with(c, "entry");
  expect([...one.since(0)].toSorted()).toEqual([a, b]);
  expect([...one.since(2)]).toEqual([a]);
  expect([...other.since(2)]).toEqual([c]);
  expect([...other.since(0, "link")]).toEqual([b]);
  const compact = one.of((id) => id !== b);
  expect([compact.size, compact.last, [...compact.since(0)]]).toEqual([1, one.last, [a]]);
});

import { describe, expect, it } from "vitest";
import type { ShortTag } from "../../../src/crypto/short-hash.ts";
import { TagTable } from "../../../src/tunnel/seen-table.ts";

const tag = (low: number, high: number): ShortTag => ({ low, high });
/** Tags that are spread over all bits, as those of a hash are. */
const spread = (at: number): ShortTag => tag(Math.imul(at, 0x9e3779b1) >>> 0, Math.imul(at, 0x85ebca6b) >>> 0);

describe("a table of tags", () => {
  it("tells tags of the same place apart, at the end of the array too", () => {
    const table = new TagTable();
    const some = [tag(0, 0), tag(63, 1), tag(63, 3), tag(127, 1), tag(0xffffffff, 0xffffffff)];
    for (const [at, one] of some.entries()) {
      expect(some.map((other) => table.has(other))).toEqual(some.map((_, other) => other < at));
      table.add(one);
    }
    expect(table.has(tag(63, 5))).toBe(false);
    expect(table.has(tag(64, 1))).toBe(false);
  });

  it("keeps all while it grows, finds nothing else, and is full at three quarters of 2 MiB", () => {
    const table = new TagTable();
    expect(table.bytes).toBe(512);
    let size = 0;
    for (; !table.full; size += 1) table.add(spread(size));
    expect([size, table.bytes]).toEqual([196_608, 2_097_152]);
    let known = 0;
    for (let at = 0; at < 2 * size; at += 1) known += table.has(spread(at)) ? 1 : 0;
    expect(known).toBe(size);
    expect(table.has(spread(size - 1))).toBe(true);
  });
});

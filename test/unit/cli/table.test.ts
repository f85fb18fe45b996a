/** Tables in terminals of all widths and scripts, and texts that are broken between words. */
import { describe, expect, it } from "vitest";
import { cutTo, hanging, tableOf, textWidth, widthOf, wrapped } from "../../../src/cli/table.ts";
import { fc } from "../../support/fast-check.ts";

const plain = (_style: string, text: string): string => text;
const columns = [{ head: "id" }, { head: "name", least: 6 }, { head: "note", drop: 1 }, { head: "trip", right: 7 }];
const rows = [
  ["677edd9c7a", "a machine with a long name", "something", "12 ms"],
  ["12bfaf5525", "b", "-", "1200 ms"],
];

describe("a table", () => {
  it("is as wide as what it says where nobody looks, and has no blanks at line ends", () => {
    expect(tableOf(columns, rows, { paint: plain })).toBe(
      [
        "  id          name                        note          trip",
        "  677edd9c7a  a machine with a long name  something    12 ms",
        "  12bfaf5525  b                           -          1200 ms",
      ].join("\n"),
    );
  });

  it("cuts what may be cut when the terminal is narrow, and only then leaves a column out", () => {
    expect(tableOf(columns, rows, { paint: plain, width: 50 }).split("\n")[1]).toBe(
      "  677edd9c7a  a machine with…   something    12 ms",
    );
    expect(tableOf(columns, rows, { paint: plain, width: 30 })).toBe(
      ["  id          name        trip", "  677edd9c7a  a mach…    12 ms", "  12bfaf5525  b        1200 ms"].join("\n"),
    );
  });

  it("colours a cell and leaves its width alone", () => {
    const paint = (style: string, text: string): string => `<${style}>${text}</>`;
    const text = tableOf([{ head: "a" }, { head: "b" }], [[{ text: "x", style: "green" }, "y"]], { paint });
    expect(text).toBe("  <dim>a  b</>\n  <green>x</>  y");
  });

  it("keeps within every terminal that has room for what may not be cut", () => {
    const cell = fc.string({ unit: "grapheme", maxLength: 40 }).map((text) => text.replaceAll(/\p{C}|\s/gu, ""));
    const anyRows = fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(anyRows, fc.integer({ min: 16, max: 120 }), (some, width) => {
        const both = [
          { head: "name", least: 4 },
          { head: "model", least: 5 },
        ];
        const lines = tableOf(both, some, { paint: plain, width }).split("\n");
        expect(lines).toHaveLength(some.length + 1);
        for (const line of lines) expect(textWidth(line)).toBeLessThanOrEqual(width);
      }),
    );
  });
});

describe("places of a text", () => {
  it.each([
    ["host", 4],
    ["主机", 4],
    ["e\u0301", 1],
    ["🖥", 2],
    ["\u001b[2mdim\u001b[22m", 3],
  ])("%j takes %i", (text, places) => expect(textWidth(text)).toBe(places));

  it("cuts between characters, wide ones too", () => {
    expect(cutTo("主机主机", 6)).toBe("主机…");
    expect(cutTo("short", 5)).toBe("short");
  });

  it("are infinite where no terminal is", () => {
    expect(widthOf({ isTTY: false, columns: 80 })).toBe(Number.POSITIVE_INFINITY);
    expect(widthOf({ isTTY: true, columns: 80 })).toBe(80);
  });
});

describe("a broken text", () => {
  it("breaks between words, as far in as it begins, and never in a word", () => {
    expect(wrapped("  one two three fourteen-letters", 12)).toEqual(["  one two", "  three", "  fourteen-letters"]);
    expect(wrapped("fits", 4)).toEqual(["fits"]);
  });

  it("hangs below its lead", () => {
    const text = "it holds, and more than that is not known";
    expect(hanging("  factor  ", 10, text, 42)).toEqual([
      "  factor  it holds, and more than that is",
      "          not known",
    ]);
  });
});

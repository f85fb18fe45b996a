import { expect, test } from "vitest";
import { textCutter } from "../../../src/engine/text-cutter.ts";
import { fc } from "../../support/fast-check.ts";

/** What leaves when the text comes in these pieces. */
function cut(pieces: readonly string[], stops: readonly string[]): { text: string; stopped: boolean } {
  const cutter = textCutter(stops);
  let text = "";
  for (const piece of pieces) {
    const next = cutter.push(piece);
    text += next.text;
    if (next.stopped) return { text, stopped: true };
  }
  return { text: text + cutter.flush(), stopped: false };
}

test("cuts at the earliest stop string, however the text is split", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 12 });
  const stop = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 8 }), fc.array(stop, { maxLength: 4 }), (pieces, stops) => {
      const all = pieces.join("");
      const { text, stopped } = cut(pieces, stops);
      const places = stops.map((one) => all.indexOf(one)).filter((at) => at !== -1);
      expect(stopped).toBe(places.length > 0);
      if (!stopped) {
        expect(text).toBe(all);
        return;
      }
      // two stop strings may end in different pieces: the one that is complete first wins
      const ends = stops.filter((one) => all.includes(one)).map((one) => all.indexOf(one) + one.length);
      expect(all.startsWith(text)).toBe(true);
      expect(text.length).toBeLessThan(Math.max(...ends));
      for (const one of stops) expect(text.includes(one)).toBe(false);
    }),
  );
});

test("holds back only what may become a stop string", () => {
  const cutter = textCutter(["</end>"]);
  expect(cutter.push("ab<")).toEqual({ text: "ab", stopped: false });
  expect(cutter.push("/x")).toEqual({ text: "</x", stopped: false });
  expect(cutter.push("</en")).toEqual({ text: "", stopped: false });
  expect(cutter.push("d>tail")).toEqual({ text: "", stopped: true });
  expect(textCutter([]).push("all at once")).toEqual({ text: "all at once", stopped: false });
});

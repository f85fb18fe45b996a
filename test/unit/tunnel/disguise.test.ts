/** Sizes and times made coarser, content left alone. */
import { describe, expect, it } from "vitest";
import { concat, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { coalesced, paddedJson } from "../../../src/tunnel/disguise.ts";
import type { ByteSource } from "../../../src/tunnel/http.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { fc } from "../../support/fast-check.ts";

const much = 2 ** 30;

describe("padding", () => {
  it("E6: gives few lengths, adds at most an eighth, and leaves the JSON what it is", () => {
    expect(paddedJson(utf8("{}"), much)).toHaveLength(1_024);
    expect(paddedJson(new Uint8Array(1_000), much)).toHaveLength(1_024);
    fc.assert(
      fc.property(fc.integer({ min: 1_024, max: 3_000_000 }), (length) => {
        const padded = paddedJson(new Uint8Array(length), much).length;
        expect(padded).toBeGreaterThanOrEqual(length);
        expect(padded).toBeLessThanOrEqual(length * 1.125);
      }),
    );
    const lengths = new Set(Array.from({ length: 600 }, (_, at) => paddedJson(new Uint8Array(at * 100), much).length));
    expect(lengths.size).toBeLessThan(100);
    const body = utf8(JSON.stringify({ text: "ü".repeat(2_000) }));
    expect(JSON.parse(fromUtf8(paddedJson(body, much)))).toEqual(JSON.parse(fromUtf8(body)));
  });

  it("never makes a body too large", () => {
    expect(paddedJson(new Uint8Array(100_000), 100_001)).toHaveLength(100_001);
    expect(paddedJson(new Uint8Array(100_000), 100_000)).toHaveLength(100_000);
  });
});

describe("coalescing", () => {
  /** Gives each piece after its time, then ends or fails. */
  const timed = (pieces: readonly (readonly [ms: number, text: string])[], failure?: MeshError): ByteSource => {
    let at = 0;
    return {
      read: async () => {
        const piece = pieces[at++];
        if (!piece) {
          if (failure) throw failure;
          return undefined;
        }
        await new Promise((resolve) => setTimeout(resolve, piece[0]));
        return utf8(piece[1]);
      },
    };
  };
  const collect = async (source: ByteSource): Promise<string[]> => {
    const texts: string[] = [];
    for (let piece = await source.read(); piece; piece = await source.read()) texts.push(fromUtf8(piece));
    return texts;
  };

  it("E6: sends together what comes together, everything and in order", async () => {
    const pieces = [
      [0, "a"],
      [1, "b"],
      [1, "c"],
      [150, "d"],
      [1, "e"],
    ] as const;
    expect(await collect(coalesced(timed(pieces), 60))).toEqual(["abc", "de"]);
  });

  it("delivers what came before a break, and then the break", async () => {
    const source = coalesced(timed([[0, "a"]], new MeshError("E_ENGINE", "broken")), 20);
    expect(fromUtf8((await source.read()) ?? concat([]))).toBe("a");
    await rejectsWith("E_ENGINE", source.read());
  });
});

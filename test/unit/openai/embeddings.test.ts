import { describe, expect, it } from "vitest";
import { embeddingsAsAsked } from "../../../src/openai/embeddings.ts";
import { fc } from "../../support/fast-check.ts";

const usage = { prompt_tokens: 8, total_tokens: 8 };
const list = (...vectors: readonly unknown[]): Readonly<Record<string, unknown>> => ({
  object: "list",
  model: "m",
  data: vectors.map((embedding, index) => ({ object: "embedding", index, embedding })),
  usage,
});

describe("embeddings as asked", () => {
  it("are little-endian float32, four bytes a number", () => {
    // 1 = 3f800000, -2 = c0000000, 0.1 rounds to 3dcccccd
    const text = Buffer.from("0000803f000000c0cdcccc3d", "hex").toString("base64");
    expect(embeddingsAsAsked(list([1, -2, 0.1]), "base64")).toEqual(list(text));
    expect(embeddingsAsAsked(list(text), "float")).toEqual(list([1, -2, Math.fround(0.1)]));
  });

  it("are read by the way the official client reads them", () => {
    const numbers = [0.25, -0, 3.5e-45, 16_777_216];
    const converted = embeddingsAsAsked(list(numbers), "base64") as { data: { embedding: string }[] };
    const bytes = Buffer.from(converted.data[0]?.embedding ?? "", "base64");
    const copy = new Uint8Array(bytes);
    expect([...new Float32Array(copy.buffer)]).toEqual(numbers.map(Math.fround));
  });

  it("keep every float32 exactly, there and back, in lists of any length", () => {
    const vector = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 20 });
    fc.assert(
      fc.property(fc.array(vector, { maxLength: 4 }), (vectors) => {
        const there = embeddingsAsAsked(list(...vectors), "base64");
        expect(embeddingsAsAsked(there, "float")).toEqual(list(...vectors));
        expect(embeddingsAsAsked(there, "base64")).toEqual(there);
      }),
    );
  });

  it.each([
    ["what is so already", list([1, 2]), "float"],
    ["text so already", list("AACAPw=="), "base64"],
    ["numbers that are none", list([1, "2"]), "base64"],
    ["no base64", list("not base64!"), "float"],
    ["half a number", list("AACA"), "float"],
    ["an infinity, which JSON has not", list("AACAfw=="), "float"],
    ["no vector", list(null, { a: 1 }), "base64"],
    ["data that is no list", { data: "x" }, "float"],
    ["items that are no objects", { data: [1, null, "x"] }, "base64"],
    ["an error", { error: { message: "no" } }, "base64"],
  ] as const)("leave alone: %s", (_what, json, asked) => {
    expect(embeddingsAsAsked(json, asked)).toEqual(json);
  });
});

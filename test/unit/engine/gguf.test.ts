import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { isMeshError } from "../../../src/base/errors.ts";
import { decodeGgufHead, type GgufHead, readGgufHead } from "../../../src/engine/gguf.ts";
import { randomModel, type RandomModelOptions } from "../../support/engine-gguf.ts";
import { fc } from "../../support/fast-check.ts";

const decode = (bytes: Uint8Array, fileBytes = bytes.length): GgufHead => decodeGgufHead(bytes, fileBytes);
const messageOf = (run: () => unknown): string => {
  try {
    run();
    return "fine";
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return `${thrown.code}: ${thrown.message}`;
  }
};

describe("decodeGgufHead", () => {
  test.each(["bytes", "sentencepiece"] as const)("reads a model with a vocabulary of %s", (vocabulary) => {
    expect(decode(randomModel({ vocabulary, contextLength: 777 }))).toEqual({
      architecture: "llama",
      name: "random",
      trainContextSize: 777,
      hasChatTemplate: true,
      complete: true,
    });
  });

  test.each<[RegExp, RandomModelOptions]>([
    [/lacks the key llama\.feed_forward_length/, { without: ["llama.feed_forward_length"] }],
    [/lacks the key llama\.attention\.head_count/, { without: ["llama.attention.head_count"] }],
    [/has 0 as llama\.attention\.head_count/, { keys: { "llama.attention.head_count": { type: "u32", value: 0 } } }],
    [/does not name its architecture/, { without: ["general.architecture"] }],
    [/no tokenizer/, { keys: { "tokenizer.ggml.model": { type: "string", value: "none" } } }],
    [/lacks the byte token <0xFF>/, { vocabulary: "sentencepiece", renameToken: ["<0xFF>", "x"] }],
    [/alignment 0/, { keys: { "general.alignment": { type: "u32", value: 0 } } }],
  ])("says what aborts llama.cpp: %s", (sentence, options) => {
    expect(messageOf(() => decode(randomModel(options)))).toMatch(sentence);
  });

  test("says what is not a model at all", () => {
    const model = randomModel();
    const version = Buffer.from(model);
    version.writeUInt32LE(9, 4);
    const bigEndian = Buffer.from(model);
    bigEndian.writeUInt32BE(3, 4);
    expect(messageOf(() => decode(Buffer.alloc(0)))).toMatch(/E_CONFIG: the file is empty/);
    expect(messageOf(() => decode(Buffer.from("<html>no</html>")))).toMatch(/not a GGUF file/);
    expect(messageOf(() => decode(version))).toMatch(/version 9/);
    expect(messageOf(() => decode(bigEndian))).toMatch(/big-endian/);
  });

  test("every cut of a file is told as such", () => {
    const model = randomModel();
    for (let length = 4; length < model.length - 40; length += 997) {
      expect(messageOf(() => decode(model.subarray(0, length)))).toMatch(/cut short/);
    }
  });

  test("a head longer than what was looked at is not refused", () => {
    const model = randomModel();
    expect(decode(model.subarray(0, 900), model.length)).toMatchObject({ complete: false, architecture: "llama" });
  });

  test("hostile counts cost neither time nor memory", () => {
    const model = randomModel();
    for (const at of [8, 16]) {
      const huge = Buffer.from(model);
      huge.writeBigUInt64LE(2n ** 63n, at);
      expect(messageOf(() => decode(huge))).toMatch(/claims/);
    }
  });

  test("any bytes are a head or an E_CONFIG, quickly", () => {
    const model = randomModel({ width: 4, layers: 1 });
    const head = model.subarray(0, 6000);
    const change = fc.tuple(fc.nat(head.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        const bytes = Buffer.from(head);
        for (const [at, value] of changes) bytes[at] = value;
        const began = performance.now();
        expect(messageOf(() => decode(bytes, model.length))).toMatch(/^fine|^E_CONFIG/);
        expect(performance.now() - began).toBeLessThan(500);
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
        const bytes = Buffer.concat([Buffer.from("GGUF\u0003\0\0\0"), tail]);
        expect(messageOf(() => decode(bytes))).toMatch(/^fine|^E_CONFIG/);
      }),
    );
  });
});

describe("readGgufHead", () => {
  const folder = mkdtempSync(join(tmpdir(), "sealmesh-gguf-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("reads a file, and says what is wrong with a path", async () => {
    const path = join(folder, "model.gguf");
    writeFileSync(path, randomModel());
    expect((await readGgufHead(path)).complete).toBe(true);
    await expect(readGgufHead(join(folder, "none.gguf"))).rejects.toMatchObject({
      code: "E_CONFIG",
      message: "there is no such file",
    });
    await expect(readGgufHead(folder)).rejects.toMatchObject({
      code: "E_CONFIG",
      message: expect.stringMatching(/directory/) as unknown,
    });
  });
});

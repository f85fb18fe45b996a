import { describe, expect, test } from "vitest";
import { isMeshError, type MeshError } from "../../../src/base/errors.ts";
import { completionId } from "../../../src/openai/chat.ts";
import { completionChunks, readTextCompletion, textCompletion } from "../../../src/openai/completion.ts";
import { fc } from "../../support/fast-check.ts";

const read = (more: object) => readTextCompletion({ model: "m", prompt: "once", ...more });
const failure = (more: object): unknown => {
  try {
    return read(more);
  } catch (thrown) {
    const { code, param } = thrown as MeshError;
    return { code, param };
  }
};

describe("readTextCompletion", () => {
  test("fills in what OpenAI fills in, 16 tokens among it", () => {
    expect(read({})).toEqual({
      model: "m",
      stream: false,
      includeUsage: false,
      prompt: "once",
      maxTokens: 16,
      stop: [],
      sampling: {
        temperature: 1,
        topP: 1,
        topK: undefined,
        minP: undefined,
        seed: undefined,
        frequencyPenalty: 0,
        presencePenalty: 0,
      },
    });
  });

  test("takes what callers set", () => {
    const asked = { stream: true, stream_options: { include_usage: true }, stop: ["a", "b"], temperature: 0, seed: 7 };
    expect(read({ ...asked, prompt: ["one text"], max_tokens: 500 })).toMatchObject({
      stream: true,
      includeUsage: true,
      prompt: "one text",
      maxTokens: 500,
      stop: ["a", "b"],
      sampling: { temperature: 0, seed: 7 },
    });
  });

  test("passes fields that ask for nothing, and fields that it does not know", () => {
    const idle = { suffix: "", echo: false, best_of: 1, n: 1, logprobs: null, logit_bias: {}, max_tokens: null };
    expect(read({ ...idle, user: "u", brand_new_field: { deep: 1 } }).maxTokens).toBe(16);
  });

  test.each([
    ["prompt", { prompt: [1, 2, 3] }],
    ["prompt", { prompt: [[1, 2], [3]] }],
    ["prompt", { prompt: ["a", "b"] }],
    ["suffix", { suffix: "the end" }],
    ["echo", { echo: true }],
    ["best_of", { best_of: 2 }],
    ["n", { n: 2 }],
    ["logprobs", { logprobs: 0 }],
    ["logit_bias", { logit_bias: { 5: 1 } }],
    ["response_format", { response_format: { type: "json_object" } }],
  ])("does not support such a %s", (param, more) => {
    expect(failure(more)).toEqual({ code: "E_UNSUPPORTED", param });
  });

  test.each([
    ["model", { model: "" }],
    ["prompt", { prompt: undefined }],
    ["prompt", { prompt: null }],
    ["prompt", { prompt: "" }],
    ["prompt", { prompt: [] }],
    ["prompt", { prompt: [""] }],
    ["prompt", { prompt: { text: "x" } }],
    ["best_of", { best_of: 0 }],
    ["n", { n: 1.5 }],
    ["max_tokens", { max_tokens: 0 }],
    ["temperature", { temperature: 3 }],
    ["stop", { stop: [1] }],
    ["stream", { stream: 1 }],
    ["stream_options.include_usage", { stream_options: { include_usage: "yes" } }],
  ])("refuses a wrong %s", (param, more) => {
    expect(failure(more)).toEqual({ code: "E_INPUT", param });
  });

  test("any JSON is a request or a MeshError", () => {
    const field = fc.constantFrom("model", "prompt", "stop", "best_of", "stream", "n", "suffix", "max_tokens");
    fc.assert(
      fc.property(fc.dictionary(field, fc.jsonValue()), (json) => {
        try {
          readTextCompletion(json);
        } catch (thrown) {
          expect(isMeshError(thrown)).toBe(true);
        }
      }),
    );
  });
});

describe("answers", () => {
  const head = { id: completionId("cmpl"), created: 5, model: "m" };
  const usage = { promptTokens: 3, completionTokens: 2, cachedTokens: 1 };
  const common = { id: head.id, object: "text_completion", created: 5, model: "m" };

  test("a whole one has what clients read", () => {
    expect(head.id).toMatch(/^cmpl-.{8,}/);
    expect(textCompletion(head, "text", "length", usage)).toEqual({
      ...common,
      choices: [{ index: 0, text: "text", logprobs: null, finish_reason: "length" }],
      usage: {
        prompt_tokens: 3,
        completion_tokens: 2,
        total_tokens: 5,
        prompt_tokens_details: { cached_tokens: 1 },
      },
    });
  });

  test("chunks are of the same kind, and mention usage only when it follows", () => {
    const quiet = completionChunks(head, false);
    expect(quiet.content("a")).toEqual({
      ...common,
      choices: [{ index: 0, text: "a", logprobs: null, finish_reason: null }],
    });
    expect(quiet.finish("stop")).toEqual({
      ...common,
      choices: [{ index: 0, text: "", logprobs: null, finish_reason: "stop" }],
    });
    const told = completionChunks(head, true);
    expect(told.content("a")).toMatchObject({ usage: null });
    expect(told.usage(usage)).toMatchObject({ ...common, choices: [], usage: { total_tokens: 5 } });
  });
});

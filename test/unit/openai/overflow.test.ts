import { describe, expect, test } from "vitest";
import { readUpstreamError } from "../../../src/openai/errors.ts";
import { answerRoom, isOverflow, overflowError, overflowFacts } from "../../../src/openai/overflow.ts";

const upstream = (error: unknown, status = 400) => readUpstreamError(status, Buffer.from(JSON.stringify({ error })));

describe("overflow", () => {
  // one sentence of each engine (engines.md §5.2), with the numbers that can be read from it
  test.each([
    [
      "llama-server",
      {
        type: "exceed_context_size_error",
        message: "request (3012 tokens) exceeds the available context size (512 tokens), try increasing it",
        n_prompt_tokens: 3012,
        n_ctx: 512,
      },
      { limitTokens: 512, promptTokens: 3012 },
    ],
    [
      "llama-server without fields",
      "request (3012 tokens) exceeds the available context size (512 tokens)",
      { limitTokens: 512, promptTokens: 3012 },
    ],
    [
      "vLLM",
      {
        message:
          "This model's maximum context length is 512 tokens. However, you requested 700 tokens (600 in the messages, 100 in the completion).",
      },
      { limitTokens: 512, promptTokens: 600 },
    ],
    [
      "OpenAI",
      {
        code: "context_length_exceeded",
        message: "This model's maximum context length is 8 tokens. However, your messages resulted in 9 tokens.",
      },
      { limitTokens: 8, promptTokens: 9 },
    ],
    ["SGLang", "The input (900 tokens) is longer than the model's context length (512).", { promptTokens: 900 }],
    ["LM Studio", "The number of tokens to keep from the initial prompt is greater than the context length", {}],
    ["Ollama", "the prompt is longer than the context length currently available", {}],
    [
      "embeddings",
      "input (700 tokens) is too large to process. increase the physical batch size",
      { promptTokens: 700 },
    ],
  ])("recognises %s", (_engine, error, facts) => {
    expect(isOverflow(upstream(error))).toBe(true);
    expect(overflowFacts(upstream(error))).toMatchObject(facts);
  });

  test("is not seen in other errors, or in success", () => {
    expect(isOverflow(upstream("Invalid temperature"))).toBe(false);
    expect(isOverflow(upstream("maximum context length", 200))).toBe(false);
  });

  test("speaks OpenAI's sentence, with the numbers that are known", () => {
    expect(overflowError({ limitTokens: 8, promptTokens: 9 })).toMatchObject({
      code: "E_OVERFLOW",
      param: "messages",
      message:
        "This model's maximum context length is 8 tokens. However, your messages resulted in 9 tokens. Please reduce the length of the messages.",
    });
    const bare = overflowError({ limitTokens: undefined, promptTokens: undefined, param: "input" });
    expect(bare).toMatchObject({
      param: "input",
      message: expect.stringMatching(/^This model's maximum context length/),
    });
  });

  test("finds room when only max_tokens was too large", () => {
    const message = (prompt: number): string =>
      `'max_tokens' is too large: 500. This model's maximum context length is 512 tokens and your request has ${prompt} input tokens (500 > 512 - ${prompt}).`;
    expect(answerRoom(upstream(message(100)))).toBe(412);
    expect(answerRoom(upstream(message(600)))).toBeUndefined();
    expect(answerRoom(upstream("tokens to keep from the initial prompt"))).toBeUndefined();
  });
});

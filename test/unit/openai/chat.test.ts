import { describe, expect, test } from "vitest";
import { isMeshError, type MeshError } from "../../../src/base/errors.ts";
import { chatChunks, chatCompletion, checkChat, completionId, readTextChat } from "../../../src/openai/chat.ts";
import { fc } from "../../support/fast-check.ts";

const user = [{ role: "user", content: "hi" }];
const read = (more: object) => readTextChat({ model: "m", messages: user, ...more });
const failure = (more: object): unknown => {
  try {
    return read(more);
  } catch (thrown) {
    const { code, param } = thrown as MeshError;
    return { code, param };
  }
};

describe("readTextChat", () => {
  test("fills in what OpenAI fills in", () => {
    expect(read({})).toEqual({
      model: "m",
      stream: false,
      includeUsage: false,
      messages: user,
      format: undefined,
      maxTokens: undefined,
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

  test("takes developer as system, parts as text, and the newer limit before the older", () => {
    const { messages, maxTokens, stop, sampling } = read({
      messages: [
        { role: "developer", content: "be kind" },
        {
          role: "user",
          content: [
            { type: "text", text: "a" },
            { type: "text", text: "b" },
          ],
        },
        { role: "assistant", content: [{ type: "refusal", refusal: "no" }] },
      ],
      max_tokens: 5,
      max_completion_tokens: 3,
      stop: "end",
      seed: -1,
      temperature: null,
    });
    expect(messages).toEqual([
      { role: "system", content: "be kind" },
      { role: "user", content: "a\nb" },
      { role: "assistant", content: "no" },
    ]);
    expect({ maxTokens, stop, seed: sampling.seed }).toEqual({ maxTokens: 3, stop: ["end"], seed: 2 ** 32 - 1 });
  });

  test("passes fields that ask for nothing, and fields that it does not know", () => {
    const idle = { tools: [], tool_choice: "none", response_format: { type: "text" }, logprobs: false, n: 1 };
    expect(
      read({ ...idle, logit_bias: {}, modalities: ["text"], store: true, brand_new_field: { deep: 1 } }).model,
    ).toBe("m");
  });

  test("reads what JSON the answer must be", () => {
    const format = (value: object) => read({ response_format: value }).format;
    expect(format({ type: "json_object" })).toEqual({ kind: "object" });
    const schema = { type: "object" };
    expect(format({ type: "json_schema", json_schema: { name: "x", schema } })).toEqual({
      kind: "schema",
      schema,
      strict: false,
    });
    expect(format({ type: "json_schema", json_schema: { name: "x", schema, strict: true } })).toMatchObject({
      strict: true,
    });
  });

  test.each([
    ["tools", { tools: [{}] }],
    ["tool_choice", { tool_choice: "required" }],
    ["functions", { functions: [{}] }],
    ["response_format", { response_format: { type: "grammar" } }],
    ["logprobs", { logprobs: true }],
    ["logit_bias", { logit_bias: { 5: 1 } }],
    ["modalities", { modalities: ["text", "audio"] }],
    ["n", { n: 2 }],
    ["messages[0].content[0].type", { messages: [{ role: "user", content: [{ type: "image_url" }] }] }],
    ["messages[0].tool_calls", { messages: [{ role: "assistant", content: null, tool_calls: [{}] }] }],
    ["messages[1].role", { messages: [...user, { role: "tool", content: "x" }] }],
  ])("does not support %s", (param, more) => {
    expect(failure(more)).toEqual({ code: "E_UNSUPPORTED", param });
  });

  test.each([
    ["model", { model: 7 }],
    ["messages", { messages: undefined }],
    ["messages", { messages: [] }],
    ["messages", { messages: Array.from({ length: 10_001 }, () => user[0]) }],
    ["messages[0]", { messages: ["hi"] }],
    ["messages[0].role", { messages: [{ content: "hi" }] }],
    ["messages[0].role", { messages: [{ role: "wizard", content: "hi" }] }],
    ["messages[0].content", { messages: [{ role: "user" }] }],
    ["messages[0].content[0]", { messages: [{ role: "user", content: ["hi"] }] }],
    ["messages[0].content[0].text", { messages: [{ role: "user", content: [{ type: "text" }] }] }],
    ["temperature", { temperature: 2.1 }],
    ["temperature", { temperature: "1" }],
    ["top_p", { top_p: -0.1 }],
    ["top_k", { top_k: 1.5 }],
    ["min_p", { min_p: 2 }],
    ["seed", { seed: 1.5 }],
    ["frequency_penalty", { frequency_penalty: 3 }],
    ["presence_penalty", { presence_penalty: -3 }],
    ["max_tokens", { max_tokens: 0 }],
    ["max_completion_tokens", { max_completion_tokens: "many" }],
    ["stop", { stop: ["a", "b", "c", "d", "e"] }],
    ["stop", { stop: [""] }],
    ["stop", { stop: "x".repeat(1001) }],
    ["stream", { stream: 1 }],
    ["stream_options", { stream_options: true }],
    ["n", { n: 0 }],
    ["response_format", { response_format: "json" }],
    ["response_format.json_schema", { response_format: { type: "json_schema" } }],
    ["response_format.json_schema.schema", { response_format: { type: "json_schema", json_schema: { name: "x" } } }],
    [
      "response_format.json_schema.strict",
      { response_format: { type: "json_schema", json_schema: { schema: {}, strict: 1 } } },
    ],
  ])("refuses a wrong %s", (param, more) => {
    expect(failure(more)).toEqual({ code: "E_INPUT", param });
  });

  test("any JSON is a request or a MeshError", () => {
    const field = fc.constantFrom("model", "messages", "stop", "seed", "stream", "n", "tools", "temperature");
    fc.assert(
      fc.property(fc.dictionary(field, fc.jsonValue()), (json) => {
        try {
          readTextChat(json);
        } catch (thrown) {
          expect(isMeshError(thrown)).toBe(true);
        }
      }),
    );
  });
});

test("checkChat leaves to other engines what they may know", () => {
  const envelope = checkChat({
    model: "m",
    messages: [{ role: "tool" }],
    n: 3,
    temperature: 9,
    tools: [{}],
    stream: true,
  });
  expect(envelope).toEqual({ model: "m", stream: true, includeUsage: false });
});

describe("answers", () => {
  const head = { id: completionId(), created: 5, model: "m" };
  const usage = { promptTokens: 3, completionTokens: 2, cachedTokens: 1 };

  test("ids are their own", () => {
    expect(new Set(Array.from({ length: 100 }, () => completionId())).size).toBe(100);
  });

  test("a completion has what clients read", () => {
    expect(chatCompletion(head, "text", "stop", usage)).toMatchObject({
      object: "chat.completion",
      choices: [{ index: 0, message: { role: "assistant", content: "text" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: 1 } },
    });
  });

  test("chunks mention usage only when it follows", () => {
    expect("usage" in chatChunks(head, false).content("a")).toBe(false);
    const chunks = chatChunks(head, true);
    expect(chunks.content("a")).toMatchObject({ usage: null, choices: [{ delta: { content: "a" } }] });
    expect(chunks.usage(usage)).toMatchObject({ choices: [], usage: { total_tokens: 5 } });
  });
});

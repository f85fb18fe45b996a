import { describe, expect, test } from "vitest";
import { responsesAnswer } from "../../../../src/openai/responses/answer.ts";
import { codeOf } from "../../../support/expect-code.ts";
import { chatUsage, type Json } from "./chat-stream.ts";
import { newStore, plan } from "./plan.ts";

const completion = (message: Json, finish = "stop", more: Json = {}): Json => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 5,
  model: "engine's",
  choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finish, ...more }],
  usage: chatUsage,
});
const answer = (message: Json, finish?: string, more?: Json): Json =>
  responsesAnswer(plan(), completion(message, finish, more), "m", undefined);

describe("responsesAnswer", () => {
  test("has every field of the client's type", () => {
    const before = Math.floor(Date.now() / 1000);
    const response = responsesAnswer(
      plan({
        instructions: "be brief",
        temperature: 0.5,
        top_p: 0.9,
        max_output_tokens: 9,
        metadata: { a: "b" },
        user: "u",
        reasoning: { effort: "low" },
        text: { verbosity: "low" },
        max_tool_calls: 2,
        service_tier: "auto",
        safety_identifier: "s",
        prompt_cache_key: "k",
      }),
      completion({ content: "hello" }),
      "m",
      undefined,
    );
    const { id, created_at: created, completed_at: completed, output, ...rest } = response;
    expect(id).toMatch(/^resp_[0-9a-f]{48}$/);
    expect(created).toBeGreaterThanOrEqual(before);
    expect(completed).toBe(created);
    expect(output).toEqual([
      {
        id: expect.stringMatching(/^msg_[0-9a-f]{48}$/),
        type: "message",
        status: "completed",
        role: "assistant",
        content: [{ type: "output_text", text: "hello", annotations: [], logprobs: [] }],
      },
    ]);
    expect(rest).toEqual({
      object: "response",
      status: "completed",
      error: null,
      incomplete_details: null,
      model: "m",
      instructions: "be brief",
      previous_response_id: null,
      store: false,
      background: false,
      max_output_tokens: 9,
      max_tool_calls: 2,
      metadata: { a: "b" },
      reasoning: { effort: "low", summary: null },
      temperature: 0.5,
      text: { format: { type: "text" }, verbosity: "low" },
      top_logprobs: 0,
      top_p: 0.9,
      truncation: "disabled",
      user: "u",
      service_tier: "auto",
      safety_identifier: "s",
      prompt_cache_key: "k",
      tools: [],
      tool_choice: "auto",
      parallel_tool_calls: true,
      usage: {
        input_tokens: 11,
        input_tokens_details: { cached_tokens: 4, cache_write_tokens: 0 },
        output_tokens: 7,
        output_tokens_details: { reasoning_tokens: 2 },
        total_tokens: 18,
      },
    });
  });

  test.each<[string, Json, readonly Json[]]>([
    ["text in parts", { content: [{ type: "text", text: "a" }, { text: "b" }, 5] }, [{ content: [{ text: "ab" }] }]],
    ["nothing", { content: null }, [{ type: "message", content: [{ text: "" }] }]],
    ["a refusal", { content: null, refusal: "no" }, [{ content: [{ type: "refusal", refusal: "no" }] }]],
    [
      "reasoning",
      { reasoning_content: "hm", content: "so" },
      [{ type: "reasoning", id: expect.stringMatching(/^rs_/), summary: [{ text: "hm" }] }, { type: "message" }],
    ],
    ["reasoning under both names", { reasoning_content: "", reasoning: "hm" }, [{ summary: [{ text: "hm" }] }]],
    [
      "calls that share an index, and one without an id",
      {
        content: "see",
        tool_calls: [
          { id: "a", index: 0, type: "function", function: { name: "f", arguments: "{}" } },
          { id: "b", index: 0, type: "function", function: { name: "g", arguments: { x: 1 } } },
          { index: 0, type: "function", function: { name: "h", arguments: "" } },
        ],
      },
      [
        { type: "message", status: "completed" },
        { type: "function_call", id: expect.stringMatching(/^fc_/), call_id: "a", name: "f", arguments: "{}" },
        { call_id: "b", name: "g", arguments: '{"x":1}' },
        { call_id: expect.stringMatching(/^call_/), name: "h", arguments: "" },
      ],
    ],
  ])("%s", (_name, message, items) => {
    const { output } = answer(message);
    expect(output).toHaveLength(items.length);
    expect(output).toMatchObject(items);
  });

  test("a choice needs no index", () => {
    const chat = { choices: [{ message: { content: "a" } }] };
    expect(responsesAnswer(plan(), chat, "m", undefined)).toMatchObject({ output: [{ content: [{ text: "a" }] }] });
  });

  test.each([
    ["length", "max_output_tokens"],
    ["content_filter", "content_filter"],
  ])("%s is incomplete", (finish, reason) => {
    const response = answer({ content: "half" }, finish);
    expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason }, completed_at: null });
    expect(response["output"]).toMatchObject([{ status: "incomplete" }]);
  });

  test("logprobs when asked for, any number of them", () => {
    const entry = { token: "a", logprob: -0.5, bytes: [97], top_logprobs: [] };
    const many = { logprobs: { content: Array.from({ length: 200_000 }, () => entry) } };
    const asked = plan({ include: ["message.output_text.logprobs"] });
    const of = (response: Json) => (response["output"] as { content: { logprobs: unknown[] }[] }[])[0]?.content[0];
    const some = responsesAnswer(asked, completion({ content: "a" }, "stop", many), "m", undefined);
    expect(of(some)?.logprobs).toHaveLength(200_000);
    expect(of(some)?.logprobs[0]).toEqual(entry);
    expect(of(answer({ content: "a" }, "stop", many))?.logprobs).toEqual([]);
  });

  test.each<[string, unknown]>([
    ["half", { prompt_tokens: 3, completion_tokens: "many", prompt_tokens_details: null }],
    ["wrong", { prompt_tokens: 3, completion_tokens: -1, completion_tokens_details: { reasoning_tokens: 1.5 } }],
  ])("usage that is %s has zeros", (_name, usage) => {
    const response = responsesAnswer(plan(), { ...completion({ content: "a" }), usage }, "m", undefined);
    expect(response["usage"]).toEqual({
      input_tokens: 3,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 3,
    });
    const none = responsesAnswer(plan(), { ...completion({ content: "a" }), usage: null }, "m", undefined);
    expect("usage" in none).toBe(false);
  });

  test.each<[string, Json]>([
    ["no choices", {}],
    ["no message", { choices: [{ index: 0 }] }],
    ["another choice only", { choices: [{ index: 1, message: {} }] }],
    ["a reason that means failure", completion({ content: "a" }, "error")],
    ["a call without a name", completion({ tool_calls: [{ id: "a", function: {} }] })],
    ["calls that are none", completion({ tool_calls: 5 })],
  ])("%s is E_ENGINE", (_name, chat) => {
    let thrown: unknown;
    try {
      responsesAnswer(plan(), chat, "m", undefined);
    } catch (error) {
      thrown = error;
    }
    expect(codeOf(thrown)).toBe("E_ENGINE");
  });

  test("is kept with its input, calls included, unless it should not be", () => {
    const store = newStore();
    const asked = plan({}, store);
    const call = { id: "call_1", type: "function", function: { name: "f", arguments: "{}" } };
    const { id } = responsesAnswer(asked, completion({ tool_calls: [call] }), "m", store);
    const output = { type: "function_call_output", call_id: "call_1", output: "5" };
    expect(plan({ input: [output], previous_response_id: id }, store).chat["messages"]).toEqual([
      { role: "user", content: "hi" },
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: "call_1", content: "5" },
    ]);
    responsesAnswer(plan({ store: false }, store), completion({ content: "a" }), "m", store);
    expect(store.size.turns).toBe(1);
  });

  test("knows the older form of a function call", () => {
    const { output } = answer({ content: null, function_call: { name: "f", arguments: '{"a":1}' } }, "function_call");
    expect(output).toMatchObject([{ type: "function_call", name: "f", arguments: '{"a":1}', status: "completed" }]);
  });
});

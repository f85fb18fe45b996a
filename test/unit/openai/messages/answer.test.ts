import { describe, expect, test } from "vitest";
import type { Json } from "../../../../src/base/json.ts";
import { messagesAnswer } from "../../../../src/openai/messages/answer.ts";
import { codeOf } from "../../../support/expect-code.ts";
import { chatUsage } from "../responses/chat-stream.ts";
import { plan } from "./plan.ts";

const completion = (message: Json, finish = "stop", usage: unknown = chatUsage): Json => ({
  id: "chatcmpl-1",
  model: "engine's",
  choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finish }],
  usage,
});
const sees = plan({ thinking: { type: "enabled", budget_tokens: 1_024 } });
const contentOf = (message: Json, asked = plan()): unknown =>
  messagesAnswer(asked, completion(message), "m")["content"];

describe("messagesAnswer", () => {
  test("has every field that programs read", () => {
    expect(messagesAnswer(plan(), completion({ content: "hello" }), "m")).toEqual({
      id: expect.stringMatching(/^msg_[0-9a-f]{48}$/),
      type: "message",
      role: "assistant",
      model: "m",
      content: [{ type: "text", text: "hello", citations: null }],
      stop_reason: "end_turn",
      stop_sequence: null,
      stop_details: null,
      usage: {
        input_tokens: 7,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 4,
        output_tokens: 7,
        output_tokens_details: { thinking_tokens: 2 },
      },
    });
  });

  test("thoughts come first, for those who asked", () => {
    const message = { reasoning_content: "hm", content: "so" };
    expect(contentOf(message)).toMatchObject([{ type: "text", text: "so" }]);
    expect(contentOf(message, sees)).toMatchObject([
      { type: "thinking", thinking: "hm", signature: "" },
      { type: "text", text: "so" },
    ]);
  });

  test("calls have their input as an object, and an id in any case", () => {
    const tool_calls = [
      { id: "a", index: 0, function: { name: "f", arguments: '{"x":1}' } },
      { id: "b", index: 0, function: { name: "g", arguments: { y: 2 } } },
      { index: 0, function: { name: "h", arguments: "" } },
    ];
    expect(contentOf({ content: null, tool_calls })).toEqual([
      { type: "tool_use", id: "a", name: "f", input: { x: 1 } },
      { type: "tool_use", id: "b", name: "g", input: { y: 2 } },
      { type: "tool_use", id: expect.stringMatching(/^toolu_[0-9a-f]{48}$/), name: "h", input: {} },
    ]);
  });

  test("nothing is one empty text, so that the first block is there", () => {
    expect(contentOf({ content: null })).toEqual([{ type: "text", text: "", citations: null }]);
  });

  test.each<[unknown, Json]>([
    [null, { input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 0 }],
    [
      { prompt_tokens: 3, completion_tokens: "many" },
      { input_tokens: 3, output_tokens: 0 },
    ],
    [
      { prompt_tokens: 3, prompt_tokens_details: { cached_tokens: 5 } },
      { input_tokens: 0, cache_read_input_tokens: 3 },
    ],
  ])("usage %j", (usage, expected) => {
    expect(messagesAnswer(plan(), completion({ content: "a" }, "stop", usage), "m")["usage"]).toMatchObject(expected);
  });

  test.each<[string, Json]>([
    ["no choices", {}],
    ["no message", { choices: [{ index: 0 }] }],
    ["a reason that means failure", completion({ content: "a" }, "error")],
    ["a call without a name", completion({ tool_calls: [{ id: "a", function: {} }] })],
    ["an input that is no object", completion({ tool_calls: [{ id: "a", function: { name: "f", arguments: "5" } }] })],
  ])("%s is E_ENGINE", (_name, chat) => {
    let thrown: unknown;
    try {
      messagesAnswer(plan(), chat, "m");
    } catch (error) {
      thrown = error;
    }
    expect(codeOf(thrown)).toBe("E_ENGINE");
  });
});

import { describe, expect, test } from "vitest";
import { plan, refusal } from "./plan.ts";

const messages = (input: unknown, more: object = {}): unknown => plan({ input, ...more }).chat["messages"];
const user = (content: unknown) => ({ type: "message", role: "user", content });
const assistant = (text: string) => ({ role: "assistant", content: [{ type: "output_text", text, annotations: [] }] });
const call = (id: string, name = "f", text = '{"a":1}') => ({
  type: "function_call",
  id: `fc_${id}`,
  call_id: id,
  name,
  arguments: text,
});
const chatCall = (id: string, name = "f", text = '{"a":1}') => ({
  id,
  type: "function",
  function: { name, arguments: text },
});
const output = (id: string, value: unknown) => ({ type: "function_call_output", call_id: id, output: value });

describe("messages", () => {
  test.each([
    ["a string", "hi", [{ role: "user", content: "hi" }]],
    ["without a type", [{ role: "user", content: "hi" }], [{ role: "user", content: "hi" }]],
    ["one text", [user([{ type: "input_text", text: "hi" }])], [{ role: "user", content: "hi" }]],
    ["no part", [user([])], [{ role: "user", content: "" }]],
    [
      "several parts",
      [
        user([
          { type: "input_text", text: "see" },
          { type: "input_image", image_url: "data:a", detail: "low" },
          { type: "input_image", image_url: "https://b", file_id: null },
          { type: "input_image", image_url: "c", detail: "original" },
          { type: "input_audio", input_audio: { data: "AA", format: "wav" } },
          { type: "input_file", file_data: "data:d", filename: "d.pdf" },
          { type: "input_file", file_data: "data:e", file_id: null },
        ]),
      ],
      [
        {
          role: "user",
          content: [
            { type: "text", text: "see" },
            { type: "image_url", image_url: { url: "data:a", detail: "low" } },
            { type: "image_url", image_url: { url: "https://b" } },
            { type: "image_url", image_url: { url: "c", detail: "high" } },
            { type: "input_audio", input_audio: { data: "AA", format: "wav" } },
            { type: "file", file: { filename: "d.pdf", file_data: "data:d" } },
            { type: "file", file: { file_data: "data:e" } },
          ],
        },
      ],
    ],
    [
      "one image",
      [user([{ type: "input_image", image_url: "data:a" }])],
      [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:a" } }] }],
    ],
    [
      "developer and system at the beginning are one, later ones are not",
      [
        { role: "developer", content: "a" },
        {
          role: "system",
          content: [
            { type: "input_text", text: "b" },
            { type: "input_text", text: "c" },
          ],
        },
        user("hi"),
        { role: "developer", content: "d" },
        { role: "system", content: "e" },
      ],
      [
        { role: "system", content: "a\n\nb\nc" },
        { role: "user", content: "hi" },
        { role: "system", content: "d" },
        { role: "system", content: "e" },
      ],
    ],
    [
      "what the assistant refused",
      [{ role: "assistant", content: [{ type: "refusal", refusal: "no" }] }],
      [{ role: "assistant", content: "no" }],
    ],
  ])("%s", (_name, input, expected) => {
    expect(messages(input)).toEqual(expected);
  });

  test("instructions are first, and alone when there is no other system message", () => {
    expect(messages("hi", { instructions: "be brief" })).toEqual([
      { role: "system", content: "be brief" },
      { role: "user", content: "hi" },
    ]);
    expect(messages([{ role: "developer", content: "x" }], { instructions: "be brief" })).toEqual([
      { role: "system", content: "be brief\n\nx" },
    ]);
    expect(messages("hi", { instructions: "" })).toEqual([{ role: "user", content: "hi" }]);
  });
});

describe("calls", () => {
  test("calls and the text beside them are one message, whatever the order", () => {
    const one = [
      { role: "assistant", content: "let me see", tool_calls: [chatCall("1"), chatCall("2", "g", "{}")] },
      { role: "tool", tool_call_id: "1", content: "one" },
      { role: "tool", tool_call_id: "2", content: "two" },
    ];
    const results = [output("1", "one"), output("2", [{ type: "input_text", text: "two" }])];
    expect(messages([assistant("let me see"), call("1"), call("2", "g", ""), ...results])).toEqual(one);
    const reasoning = { type: "reasoning", id: "rs_1", summary: [] };
    const reference = { type: "item_reference", id: "rs_2" };
    expect(
      messages([reasoning, call("1"), assistant("let me see"), reference, call("2", "g", "{}"), ...results]),
    ).toEqual(one);
  });

  test("calls without text have no content; results end the turn", () => {
    expect(messages([call("1"), output("1", "a"), call("2"), output("2", "b"), assistant("done")])).toEqual([
      { role: "assistant", content: null, tool_calls: [chatCall("1")] },
      { role: "tool", tool_call_id: "1", content: "a" },
      { role: "assistant", content: null, tool_calls: [chatCall("2")] },
      { role: "tool", tool_call_id: "2", content: "b" },
      { role: "assistant", content: "done" },
    ]);
  });

  test("texts of one turn are lines of one message", () => {
    expect(messages([user("a"), assistant("b"), assistant("c"), user("d")])).toEqual([
      { role: "user", content: "a" },
      { role: "assistant", content: "b\nc" },
      { role: "user", content: "d" },
    ]);
    expect(messages([assistant(""), assistant("a")])).toEqual([{ role: "assistant", content: "a" }]);
    expect(messages([assistant("")])).toEqual([{ role: "assistant", content: "" }]);
  });

  test("an image as a result stays one", () => {
    expect(messages([call("1"), output("1", [{ type: "input_image", image_url: "data:a" }])])).toMatchObject([
      {},
      { role: "tool", content: [{ type: "image_url", image_url: { url: "data:a" } }] },
    ]);
  });
});

describe("refuses", () => {
  const part = (value: unknown) => [user("first"), user([value])];
  test.each([
    ["E_INPUT input[0]", ["hi"]],
    ["E_INPUT input[1]", [user("a"), null]],
    ["E_INPUT input[0].type", [{ type: 5 }]],
    ["E_UNSUPPORTED input[0].type", [{ type: "web_search_call", id: "ws_1" }]],
    ["E_UNSUPPORTED input[0].type", [{ type: "compaction" }]],
    ["E_INPUT input[0].role", [{ content: "hi" }]],
    ["E_INPUT input[0].role", [{ role: "wizard", content: "hi" }]],
    ["E_INPUT input[0].content", [{ role: "user" }]],
    ["E_INPUT input[0].content", [{ role: "assistant", content: 5 }]],
    ["E_INPUT input[0].content", [user(Array.from({ length: 10_001 }, () => ({ type: "input_text", text: "" })))]],
    ["E_INPUT input[1].content[0]", part("text")],
    ["E_INPUT input[1].content[0].type", part({ type: 5 })],
    ["E_INPUT input[1].content[0].text", part({ type: "input_text" })],
    ["E_UNSUPPORTED input[1].content[0].type", part({ type: "computer_screenshot" })],
    ["E_INPUT input[1].content[0].image_url", part({ type: "input_image" })],
    ["E_INPUT input[1].content[0].image_url", part({ type: "input_image", image_url: { url: "a" } })],
    ["E_INPUT input[1].content[0].detail", part({ type: "input_image", image_url: "a", detail: 1 })],
    ["E_UNSUPPORTED input[1].content[0].file_id", part({ type: "input_image", file_id: "file-1" })],
    ["E_INPUT input[1].content[0].input_audio", part({ type: "input_audio" })],
    ["E_INPUT input[1].content[0].input_audio.data", part({ type: "input_audio", input_audio: {} })],
    ["E_INPUT input[1].content[0].input_audio.format", part({ type: "input_audio", input_audio: { data: "" } })],
    ["E_UNSUPPORTED input[1].content[0].file_id", part({ type: "input_file", file_id: "file-1" })],
    ["E_UNSUPPORTED input[1].content[0].file_url", part({ type: "input_file", file_url: "https://a" })],
    ["E_INPUT input[1].content[0].file_data", part({ type: "input_file", filename: "a" })],
    ["E_UNSUPPORTED input[0].content[0].type", [{ role: "system", content: [{ type: "input_image" }] }]],
    ["E_INPUT input[0].content[0].refusal", [{ role: "assistant", content: [{ type: "refusal" }] }]],
    ["E_INPUT input[0].call_id", [{ type: "function_call", name: "f", arguments: "{}" }]],
    ["E_INPUT input[0].name", [{ type: "function_call", call_id: "1", arguments: "{}" }]],
    ["E_INPUT input[0].arguments", [{ type: "function_call", call_id: "1", name: "f", arguments: {} }]],
    ["E_INPUT input[0].call_id", [{ type: "function_call_output", output: "a" }]],
    ["E_INPUT input[0].output", [{ type: "function_call_output", call_id: "1" }]],
    ["E_INPUT input[0].output[0].text", [output("1", [{ type: "input_text", text: 5 }])]],
    ["E_INPUT input", [{ type: "reasoning", id: "rs_1" }]],
  ])("%s", (code, input) => {
    expect(refusal({ input })).toBe(code);
  });
});

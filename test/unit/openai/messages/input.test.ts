import { describe, expect, test } from "vitest";
import type { Json } from "../../../../src/base/json.ts";
import { chatOf, refusal, refusedBlock } from "./plan.ts";

const text = (words: string): Json => ({ type: "text", text: words, cache_control: { type: "ephemeral" } });
const user = (...content: readonly Json[]): Json => ({ role: "user", content });
const assistant = (...content: readonly Json[]): Json => ({ role: "assistant", content });
const use = (id: string, name: string, input: unknown): Json => ({ type: "tool_use", id, name, input });
const result = (id: string, content?: unknown, more: Json = {}): Json => ({
  type: "tool_result",
  tool_use_id: id,
  ...(content === undefined ? {} : { content }),
  ...more,
});
const call = (id: string, name: string, json: string): Json => ({
  id,
  type: "function",
  function: { name, arguments: json },
});
const png = { type: "base64", media_type: "image/png", data: "AAAA" };
const image = { type: "image", source: png };
const chatImage = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };

describe("system prompts", () => {
  const hi = { role: "user", content: "hi" };
  test.each<[string, unknown, readonly Json[]]>([
    ["a string", "Be brief.", [{ role: "system", content: "Be brief." }]],
    ["blocks", [text("Be brief."), text("Be kind.")], [{ role: "system", content: "Be brief.\n\nBe kind." }]],
    ["nothing", "", []],
    ["no blocks", [], []],
    [
      "blocks for the biller",
      [text("x-anthropic-billing-header: cc_version=2.1.37.0d9; cch=fa690;"), text("Be brief.")],
      [{ role: "system", content: "Be brief." }],
    ],
    [
      "a line for the biller",
      "x-anthropic-billing-header: cch=fa690;\nBe brief.",
      [{ role: "system", content: "Be brief." }],
    ],
  ])("%s", (_name, system, messages) => {
    expect(chatOf([hi], { system })).toEqual([...messages, hi]);
  });

  test("among the messages: one with the first at the beginning, in its place later", () => {
    const said = { role: "system", content: "Be kind." };
    expect(chatOf([said, hi, { role: "system", content: [text("Be quick.")] }], { system: "Be brief." })).toEqual([
      { role: "system", content: "Be brief.\n\nBe kind." },
      hi,
      { role: "system", content: "Be quick." },
    ]);
  });
});

describe("turns", () => {
  test("strings stay strings, and blocks of text are one", () => {
    const turns = [
      { role: "user", content: "one" },
      assistant(text("two"), text("three")),
      user(text("four"), text(""), text("five")),
    ];
    expect(chatOf(turns)).toEqual([
      { role: "user", content: "one" },
      { role: "assistant", content: "two\n\nthree" },
      { role: "user", content: "four\n\nfive" },
    ]);
  });

  test("turns of one role are one", () => {
    const turns = [
      { role: "user", content: "a" },
      user(text("b"), image),
      assistant(text("c")),
      assistant(use("1", "f", {})),
    ];
    expect(chatOf(turns)).toEqual([
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }, chatImage] },
      { role: "assistant", content: "c", tool_calls: [call("1", "f", "{}")] },
    ]);
  });

  test("calls and their results, failed ones too, then what the user says", () => {
    const turns = [
      { role: "user", content: "go" },
      assistant(
        { type: "thinking", thinking: "hm", signature: "s" },
        { type: "redacted_thinking", data: "d" },
        text("Let me see."),
        use("1", "read", { path: "a" }),
        use("2", "list", undefined),
      ),
      user(text("and be quick"), result("1", "the file"), result("2", [text("no"), text("way")], { is_error: true })),
      assistant(use("3", "list", {})),
      user(result("3"), text("go on")),
    ];
    expect(chatOf(turns)).toEqual([
      { role: "user", content: "go" },
      {
        role: "assistant",
        content: "Let me see.",
        tool_calls: [call("1", "read", '{"path":"a"}'), call("2", "list", "{}")],
      },
      { role: "tool", tool_call_id: "1", content: "the file" },
      { role: "tool", tool_call_id: "2", content: "Error: no\n\nway" },
      { role: "user", content: "and be quick" },
      { role: "assistant", content: null, tool_calls: [call("3", "list", "{}")] },
      { role: "tool", tool_call_id: "3", content: "" },
      { role: "user", content: "go on" },
    ]);
  });

  test("an image that a tool gave is the user's, after the results", () => {
    const turns = [assistant(use("1", "look", {}), use("2", "f", {})), user(result("1", [image]), result("2", "b"))];
    expect(chatOf([user(text("go")), ...turns])).toEqual([
      { role: "user", content: "go" },
      { role: "assistant", content: null, tool_calls: [call("1", "look", "{}"), call("2", "f", "{}")] },
      { role: "tool", tool_call_id: "1", content: "The result is in the next message." },
      { role: "tool", tool_call_id: "2", content: "b" },
      { role: "user", content: [{ type: "text", text: "Result of 1:" }, chatImage] },
    ]);
  });

  test("a turn of thoughts alone is none", () => {
    const turns = [user(text("a")), assistant({ type: "thinking", thinking: "hm", signature: "" }), user(text("b"))];
    expect(chatOf(turns)).toEqual([{ role: "user", content: "a\n\nb" }]);
  });
});

describe("other blocks", () => {
  test.each<[string, Json, unknown]>([
    [
      "an image by address",
      { type: "image", source: { type: "url", url: "https://x/y.png" } },
      [{ type: "image_url", image_url: { url: "https://x/y.png" } }],
    ],
    [
      "a text file",
      { type: "document", title: "T", context: "C", source: { type: "text", media_type: "text/plain", data: "words" } },
      "T\n\nC\n\nwords",
    ],
    [
      "a file of blocks",
      { type: "document", source: { type: "content", content: [text("words"), image] } },
      [{ type: "text", text: "words" }, chatImage],
    ],
    [
      "a PDF",
      { type: "document", title: "a.pdf", source: { type: "base64", media_type: "application/pdf", data: "AAAA" } },
      [
        { type: "text", text: "a.pdf" },
        { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AAAA" } },
      ],
    ],
    [
      "a search result",
      { type: "search_result", title: "T", source: "https://x", content: [text("found")] },
      "T\nhttps://x\n\nfound",
    ],
    ["a tool that was found", { type: "tool_reference", tool_name: "read" }, "read"],
  ])("%s", (_name, block, content) => {
    expect(chatOf([user(block)])).toEqual([{ role: "user", content }]);
  });

  const at = "messages[0].content[0]";
  test.each<[unknown, string]>([
    ["text", `E_INPUT ${at}`],
    [{}, `E_INPUT ${at}.type`],
    [{ type: "text" }, `E_INPUT ${at}.text`],
    [{ type: "image" }, `E_INPUT ${at}.source`],
    [{ type: "image", source: {} }, `E_INPUT ${at}.source.type`],
    [{ type: "image", source: { type: "file", file_id: "f" } }, `E_UNSUPPORTED ${at}.source.type`],
    [{ type: "image", source: { type: "base64", data: "A" } }, `E_INPUT ${at}.source.media_type`],
    [{ type: "document", source: { type: "url", url: "https://x" } }, `E_UNSUPPORTED ${at}.source.type`],
    [
      { type: "document", source: { type: "content", content: [{ type: "document" }] } },
      `E_UNSUPPORTED ${at}.source.content[0].type`,
    ],
    [{ type: "tool_result", content: "x" }, `E_INPUT ${at}.tool_use_id`],
    [{ type: "tool_result", tool_use_id: "1", content: 5 }, `E_INPUT ${at}.content`],
    [{ type: "tool_result", tool_use_id: "1", is_error: "no" }, `E_INPUT ${at}.is_error`],
    [{ type: "server_tool_use", id: "1", name: "web_search", input: {} }, `E_UNSUPPORTED ${at}.type`],
    [{ type: "container_upload", file_id: "f" }, `E_UNSUPPORTED ${at}.type`],
    [{ type: "tool_use", id: "1", name: "f", input: {} }, `E_UNSUPPORTED ${at}.type`],
  ])("%j is %s", (block, expected) => {
    expect(refusedBlock(block)).toBe(expected);
  });

  test.each<[unknown, string]>([
    [undefined, "E_INPUT messages"],
    ["hi", "E_INPUT messages"],
    [[], "E_INPUT messages"],
    [[{ role: "system", content: "alone" }], "E_INPUT messages"],
    [["hi"], "E_INPUT messages[0]"],
    [[{ content: "hi" }], "E_INPUT messages[0].role"],
    [[{ role: "tool", content: "hi" }], "E_INPUT messages[0].role"],
    [[{ role: "user" }], "E_INPUT messages[0].content"],
    [[{ role: "assistant", content: [use("1", "f", "no object")] }], "E_INPUT messages[0].content[0].input"],
    [[{ role: "assistant", content: [use("1", 5 as unknown as string, {})] }], "E_INPUT messages[0].content[0].name"],
    [[{ role: "assistant", content: [image] }], "E_UNSUPPORTED messages[0].content[0].type"],
  ])("messages that are %j are %s", (messages, expected) => {
    expect(refusal({ messages })).toBe(expected);
  });

  test("more turns or blocks than a conversation has are E_INPUT", () => {
    const many = (length: number, one: Json): readonly Json[] => Array.from({ length }, () => one);
    expect(refusal({ messages: many(10_001, { role: "user", content: "a" }) })).toBe("E_INPUT messages");
    expect(refusal({ messages: [user(...many(10_001, text("a")))] })).toBe("E_INPUT messages[0].content");
  });

  test("a system prompt with an image is E_UNSUPPORTED", () => {
    expect(refusal({ system: [image] })).toBe("E_UNSUPPORTED system[0].type");
  });
});

import { describe, expect, test } from "vitest";
import type { Json } from "../../../../src/base/json.ts";
import { plan, refusal } from "./plan.ts";

const tool = { name: "read", description: "Reads a file", input_schema: { type: "object", properties: { path: {} } } };
const chatTool = {
  type: "function",
  function: { name: "read", description: tool.description, parameters: tool.input_schema },
};

describe("planMessages", () => {
  test("a small request becomes a small request", () => {
    expect(plan()).toEqual({
      chat: { model: "m", max_tokens: 100, messages: [{ role: "user", content: "hi" }] },
      stream: false,
      thinking: false,
      stopSequences: [],
    });
  });

  test("settings have their names in chat, and a stream asks for its usage", () => {
    const { chat, stream, stopSequences } = plan({
      stream: true,
      stop_sequences: ["END", "STOP"],
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
    });
    expect(chat).toEqual({
      model: "m",
      max_tokens: 100,
      messages: [{ role: "user", content: "hi" }],
      stream: true,
      stream_options: { include_usage: true },
      stop: ["END", "STOP"],
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
    });
    expect(stream).toBe(true);
    expect(stopSequences).toEqual(["END", "STOP"]);
  });

  test("what is the caller's own affair goes nowhere, what is unknown goes on", () => {
    const own = {
      metadata: { user_id: "somebody" },
      user_profile_id: "somebody",
      workspace_id: "w",
      cache_control: { type: "ephemeral" },
      diagnostics: { previous_message_id: "msg_1" },
      context_management: { edits: [{ type: "clear_tool_uses_20250919" }] },
      service_tier: "auto",
      speed: "fast",
      betas: ["b"],
      container: null,
      mcp_servers: [],
    };
    expect(plan(own).chat).toEqual(plan().chat);
    expect(plan({ seed: 5, min_p: 0.1, absent: null }).chat).toEqual({ ...plan().chat, seed: 5, min_p: 0.1 });
  });

  test.each<[string, Json, boolean]>([
    ["nothing said", {}, false],
    ["null", { thinking: null }, false],
    ["disabled", { thinking: { type: "disabled" } }, false],
    ["enabled", { thinking: { type: "enabled", budget_tokens: 2_000 } }, true],
    ["adaptive", { thinking: { type: "adaptive", display: "summarized" } }, true],
    ["adaptive, omitted", { thinking: { type: "adaptive", display: "omitted" } }, false],
  ])("thoughts are for those who ask: %s", (_name, more, sees) => {
    expect(plan(more)).toMatchObject({ thinking: sees });
    expect(plan(more).chat).toEqual(plan().chat);
  });

  test.each<[string, Json, Json]>([
    ["low effort", { output_config: { effort: "low" } }, { reasoning_effort: "low" }],
    ["more than chat knows", { output_config: { effort: "max" } }, { reasoning_effort: "high" }],
    [
      "a schema",
      { output_config: { format: { type: "json_schema", schema: { type: "object" } } } },
      {
        response_format: {
          type: "json_schema",
          json_schema: { name: "answer", schema: { type: "object" }, strict: true },
        },
      },
    ],
    [
      "a schema in its older place",
      { output_format: { type: "json_schema", schema: {} } },
      { response_format: { type: "json_schema", json_schema: { name: "answer", schema: {}, strict: true } } },
    ],
  ])("the form of the answer: %s", (_name, more, chat) => {
    expect(plan(more).chat).toEqual({ ...plan().chat, ...chat });
  });

  test.each<[string, Json, Json]>([
    ["tools", { tools: [tool, { ...tool, type: "custom", name: "b" }] }, {}],
    ["any", { tools: [tool], tool_choice: { type: "any" } }, { tool_choice: "required" }],
    ["none", { tools: [tool], tool_choice: { type: "none" } }, { tool_choice: "none" }],
    [
      "one at a time",
      { tools: [tool], tool_choice: { type: "auto", disable_parallel_tool_use: true } },
      { tool_choice: "auto", parallel_tool_calls: false },
    ],
    [
      "a certain one",
      { tools: [tool], tool_choice: { type: "tool", name: "read", disable_parallel_tool_use: false } },
      { tool_choice: { type: "function", function: { name: "read" } } },
    ],
  ])("tools: %s", (_name, more, expected) => {
    const { tools, ...chat } = plan(more).chat;
    expect(tools).toMatchObject([chatTool, ...(_name === "tools" ? [{ function: { name: "b" } }] : [])]);
    expect(chat).toEqual({ ...plan().chat, ...expected });
  });

  test("a choice without tools is dropped, and what a tool has beyond chat too", () => {
    expect(plan({ tool_choice: { type: "auto" }, tools: [] }).chat).toEqual(plan().chat);
    const more = { cache_control: { type: "ephemeral" }, defer_loading: true, input_examples: [{}], strict: true };
    expect(plan({ tools: [{ ...tool, ...more }] }).chat["tools"]).toEqual([
      { ...chatTool, function: { ...chatTool.function, strict: true } },
    ]);
  });

  test.each<[Json, string]>([
    [{ model: "" }, "E_INPUT model"],
    [{ model: 5 }, "E_INPUT model"],
    [{ max_tokens: undefined }, "E_INPUT max_tokens"],
    [{ max_tokens: 0 }, "E_INPUT max_tokens"],
    [{ max_tokens: "many" }, "E_INPUT max_tokens"],
    [{ stream: "yes" }, "E_INPUT stream"],
    [{ temperature: "warm" }, "E_INPUT temperature"],
    [{ stop_sequences: "END" }, "E_INPUT stop_sequences"],
    [{ stop_sequences: ["a", ""] }, "E_INPUT stop_sequences[1]"],
    [{ thinking: true }, "E_INPUT thinking"],
    [{ thinking: {} }, "E_INPUT thinking.type"],
    [{ container: "c" }, "E_UNSUPPORTED container"],
    [{ mcp_servers: [{ url: "https://x" }] }, "E_UNSUPPORTED mcp_servers"],
    [{ inference_geo: "eu" }, "E_UNSUPPORTED inference_geo"],
    [{ thread: {} }, "E_UNSUPPORTED thread"],
    [{ output_config: { format: { type: "text" } } }, "E_UNSUPPORTED output_config.format.type"],
    [{ output_format: { type: "json_schema" } }, "E_INPUT output_format.schema"],
    [{ tools: {} }, "E_INPUT tools"],
    [{ tools: [5] }, "E_INPUT tools[0]"],
    [{ tools: [{ name: "a" }] }, "E_INPUT tools[0].input_schema"],
    [{ tools: [{ input_schema: {} }] }, "E_INPUT tools[0].name"],
    [{ tools: [tool, { type: "web_search_20250305", name: "web_search" }] }, "E_UNSUPPORTED tools[1].type"],
    [{ tools: [{ type: "bash_20250124", name: "bash" }] }, "E_UNSUPPORTED tools[0].type"],
    [{ tool_choice: "auto" }, "E_INPUT tool_choice"],
    [{ tool_choice: { type: "some" } }, "E_INPUT tool_choice.type"],
    [{ tool_choice: { type: "any" } }, "E_INPUT tool_choice"],
    [{ tools: [tool], tool_choice: { type: "tool", name: "write" } }, "E_INPUT tool_choice.name"],
  ])("%j is %s", (more, expected) => {
    expect(refusal(more)).toBe(expected);
  });

  test("a tool of Anthropic's own is named", () => {
    const asking = (): unknown => plan({ tools: [{ type: "computer_20250124", name: "computer" }] });
    expect(asking).toThrow(/'tools\[0\]\.type' is 'computer_20250124', a tool that runs at Anthropic.*input_schema/);
  });
});

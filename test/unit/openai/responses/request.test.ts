import { describe, expect, test } from "vitest";
import { ResponseStore } from "../../../../src/openai/responses/store.ts";
import { newStore, plan, refusal } from "./plan.ts";

const tool = (name: string, more: object = {}) => ({ type: "function", name, parameters: { type: "object" }, ...more });
const chatTool = (name: string) => ({ type: "function", function: { name, parameters: { type: "object" } } });

describe("fields", () => {
  test("a small request is a small chat request", () => {
    expect(plan().chat).toEqual({ model: "m", messages: [{ role: "user", content: "hi" }] });
    expect(plan({ stream: true, stream_options: { include_obfuscation: true } })).toMatchObject({
      stream: true,
      chat: { stream: true, stream_options: { include_usage: true } },
    });
  });

  test.each([
    ["max_output_tokens", { max_output_tokens: 7 }, { max_tokens: 7 }],
    ["temperature", { temperature: 0.5, top_p: 0.9 }, { temperature: 0.5, top_p: 0.9 }],
    ["reasoning", { reasoning: { effort: "low", summary: "auto" } }, { reasoning_effort: "low" }],
    ["verbosity", { text: { verbosity: "low" } }, { verbosity: "low" }],
    ["plain text", { text: { format: { type: "text" } } }, {}],
    ["a JSON object", { text: { format: { type: "json_object" } } }, { response_format: { type: "json_object" } }],
    [
      "a schema",
      { text: { format: { type: "json_schema", name: "n", description: "d", schema: { a: 1 }, strict: true } } },
      {
        response_format: {
          type: "json_schema",
          json_schema: { name: "n", description: "d", schema: { a: 1 }, strict: true },
        },
      },
    ],
    [
      "names of the asker",
      { metadata: { a: "b" }, user: "u", service_tier: "auto", safety_identifier: "s", prompt_cache_key: "k" },
      { metadata: { a: "b" }, user: "u", service_tier: "auto", safety_identifier: "s", prompt_cache_key: "k" },
    ],
    ["logprobs", { include: ["message.output_text.logprobs"] }, { logprobs: true }],
    ["top_logprobs", { top_logprobs: 3 }, { logprobs: true, top_logprobs: 3 }],
    ["fields nobody knows", { brand_new: { deep: [1] }, top_k: 4 }, { brand_new: { deep: [1] }, top_k: 4 }],
    [
      "what asks for nothing",
      {
        truncation: "disabled",
        background: false,
        store: false,
        include: ["reasoning.encrypted_content"],
        max_tool_calls: 3,
        context_management: [],
        conversation: null,
        prompt: null,
        temperature: null,
        stream_options: { include_obfuscation: false },
        top_logprobs: 0,
        tools: [],
        tool_choice: "auto",
        parallel_tool_calls: true,
        text: null,
        reasoning: null,
        instructions: null,
        stream: false,
      },
      {},
    ],
    ["messages beside the input", { messages: [{ role: "user", content: "other" }] }, {}],
  ])("%s", (_name, more, chat) => {
    expect(plan(more).chat).toEqual({ model: "m", messages: [{ role: "user", content: "hi" }], ...chat });
  });

  test.each([
    ["E_INPUT model", { model: 5 }],
    ["E_INPUT model", { model: "" }],
    ["E_INPUT stream", { stream: "yes" }],
    ["E_INPUT store", { store: 1 }],
    ["E_INPUT instructions", { instructions: [] }],
    ["E_INPUT input", { input: undefined }],
    ["E_INPUT input", { input: 5 }],
    ["E_INPUT input", { input: [] }],
    ["E_INPUT input", { input: Array.from({ length: 10_001 }, () => ({ role: "user", content: "a" })) }],
    ["E_INPUT max_output_tokens", { max_output_tokens: 0 }],
    ["E_INPUT max_output_tokens", { max_output_tokens: 1.5 }],
    ["E_INPUT max_tool_calls", { max_tool_calls: "3" }],
    ["E_INPUT temperature", { temperature: "hot" }],
    ["E_INPUT top_p", { top_p: true }],
    ["E_INPUT top_logprobs", { top_logprobs: -1 }],
    ["E_INPUT metadata", { metadata: [] }],
    ["E_INPUT metadata", { metadata: { a: 1 } }],
    ["E_INPUT user", { user: {} }],
    ["E_INPUT reasoning", { reasoning: "low" }],
    ["E_INPUT reasoning.effort", { reasoning: { effort: 1 } }],
    ["E_INPUT text", { text: "json" }],
    ["E_INPUT text.verbosity", { text: { verbosity: 1 } }],
    ["E_INPUT text.format", { text: { format: "json" } }],
    ["E_INPUT text.format.type", { text: { format: {} } }],
    ["E_INPUT text.format.schema", { text: { format: { type: "json_schema", name: "n" } } }],
    ["E_INPUT text.format.name", { text: { format: { type: "json_schema", schema: {} } } }],
    ["E_UNSUPPORTED text.format.type", { text: { format: { type: "grammar" } } }],
    ["E_INPUT include", { include: "all" }],
    ["E_INPUT include[0]", { include: [1] }],
    ["E_UNSUPPORTED include[1]", { include: ["reasoning.encrypted_content", "all.secrets"] }],
    ["E_INPUT truncation", { truncation: 1 }],
    ["E_UNSUPPORTED truncation", { truncation: "auto" }],
    ["E_INPUT background", { background: "yes" }],
    ["E_UNSUPPORTED background", { background: true }],
    ["E_UNSUPPORTED conversation", { conversation: "conv_1" }],
    ["E_UNSUPPORTED prompt", { prompt: { id: "p" } }],
    ["E_UNSUPPORTED context_management", { context_management: [{ type: "compaction" }] }],
    ["E_UNSUPPORTED moderation", { moderation: {} }],
    ["E_INPUT stream_options", { stream_options: [] }],
  ])("refuses with %s", (code, more) => {
    expect(refusal(more)).toBe(code);
  });
});

describe("tools", () => {
  test("functions are translated, and repeated with all fields that the client type has", () => {
    const { chat, echo } = plan({
      tools: [tool("f", { strict: true, description: "d" }), { type: "function", name: "g", strict: null }],
      tool_choice: { type: "function", name: "g" },
      parallel_tool_calls: false,
    });
    expect(chat).toMatchObject({
      tools: [
        { type: "function", function: { name: "f", description: "d", parameters: { type: "object" }, strict: true } },
        { type: "function", function: { name: "g" } },
      ],
      tool_choice: { type: "function", function: { name: "g" } },
      parallel_tool_calls: false,
    });
    expect(echo).toMatchObject({
      tools: [
        { type: "function", name: "f", description: "d", parameters: { type: "object" }, strict: true },
        { type: "function", name: "g", parameters: null, strict: null },
      ],
      tool_choice: { type: "function", name: "g" },
      parallel_tool_calls: false,
    });
  });

  test("allowed tools leave the others out", () => {
    const { chat, echo } = plan({
      tools: [tool("f"), tool("g"), tool("h")],
      tool_choice: {
        type: "allowed_tools",
        mode: "required",
        tools: [
          { type: "function", name: "h" },
          { type: "function", name: "f" },
        ],
      },
    });
    expect(chat).toMatchObject({ tools: [chatTool("f"), chatTool("h")], tool_choice: "required" });
    expect(echo["tools"]).toHaveLength(3);
  });

  test.each(["none", "auto", "required"])("the choice %s passes", (choice) => {
    expect(plan({ tools: [tool("f")], tool_choice: choice }).chat["tool_choice"]).toBe(choice);
  });

  test.each([
    ["E_INPUT tools", { tools: {} }],
    ["E_INPUT tools", { tools: Array.from({ length: 10_001 }, () => tool("f")) }],
    ["E_INPUT tools[0]", { tools: ["f"] }],
    ["E_INPUT tools[0].type", { tools: [{ name: "f" }] }],
    ["E_INPUT tools[1].name", { tools: [tool("f"), { type: "function" }] }],
    ["E_INPUT tools[0].parameters", { tools: [tool("f", { parameters: [] })] }],
    ["E_INPUT tools[0].strict", { tools: [tool("f", { strict: "very" })] }],
    ["E_INPUT tools[0].description", { tools: [tool("f", { description: 5 })] }],
    ["E_UNSUPPORTED tools[1].type", { tools: [tool("f"), { type: "web_search" }] }],
    ["E_UNSUPPORTED tools[0].type", { tools: [{ type: "file_search" }] }],
    ["E_UNSUPPORTED tools[0].type", { tools: [{ type: "mcp" }] }],
    ["E_UNSUPPORTED tools[0].type", { tools: [{ type: "custom", name: "f" }] }],
    ["E_INPUT tool_choice", { tool_choice: 5 }],
    ["E_INPUT tool_choice", { tool_choice: "any" }],
    ["E_INPUT tool_choice", { tool_choice: "required" }],
    ["E_INPUT tool_choice.name", { tools: [tool("f")], tool_choice: { type: "function", name: "g" } }],
    ["E_UNSUPPORTED tool_choice.type", { tools: [tool("f")], tool_choice: { type: "web_search_preview" } }],
    ["E_INPUT tool_choice.mode", { tool_choice: { type: "allowed_tools", mode: "none", tools: [] } }],
    ["E_INPUT tool_choice.tools", { tool_choice: { type: "allowed_tools", mode: "auto", tools: [] } }],
    [
      "E_UNSUPPORTED tool_choice.tools[0].type",
      { tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "mcp" }] } },
    ],
    [
      "E_INPUT tool_choice.tools[1].name",
      {
        tools: [tool("f")],
        tool_choice: { type: "allowed_tools", mode: "auto", tools: [tool("f"), tool("g")] },
      },
    ],
    ["E_INPUT parallel_tool_calls", { parallel_tool_calls: 1 }],
  ])("refuses with %s", (code, more) => {
    expect(refusal(more)).toBe(code);
  });
});

describe("previous_response_id", () => {
  const said = { type: "message", id: "msg_1", role: "assistant", content: [{ type: "output_text", text: "hello" }] };

  test("earlier items come before the new ones, earlier instructions do not", () => {
    const store = newStore();
    const first = plan({ instructions: "be brief" }, store);
    store.put("resp_1", first.before, [...first.items, said]);
    const second = plan({ input: "and?", previous_response_id: "resp_1" }, store);
    store.put("resp_2", second.before, [...second.items, { ...said, id: "msg_2" }]);
    const third = plan({ input: undefined, instructions: "be kind", previous_response_id: "resp_2" }, store);
    expect(second.items).toHaveLength(1);
    expect(second.echo["previous_response_id"]).toBe("resp_1");
    expect(third.chat).toEqual({
      model: "m",
      messages: [
        { role: "system", content: "be kind" },
        { role: "user", content: "hi" },
        { role: "assistant", content: "hello" },
        { role: "user", content: "and?" },
        { role: "assistant", content: "hello" },
      ],
    });
  });

  test("is refused where it is not known, or nothing is kept", () => {
    expect(refusal({ previous_response_id: "resp_0" }, newStore())).toBe("E_INPUT previous_response_id");
    expect(refusal({ previous_response_id: "resp_0" })).toBe("E_INPUT previous_response_id");
    expect(refusal({ previous_response_id: 7 }, newStore())).toBe("E_INPUT previous_response_id");
    expect(() => plan({ previous_response_id: "resp_0" })).toThrow(/'resp_0'.*Send the whole conversation as 'input'/);
  });

  test("a conversation of too many items is refused", () => {
    const store = new ResponseStore({ entries: 10, bytes: 1e9, ageMs: 1e6 });
    const many = Array.from({ length: 6_000 }, () => ({ role: "user", content: "a" }));
    store.put("resp_1", undefined, many);
    expect(refusal({ input: many, previous_response_id: "resp_1" }, store)).toBe("E_INPUT input");
  });

  test("store: false is known to the answer", () => {
    expect(plan({ store: false }, newStore()).keep).toBe(false);
    expect(plan({}, newStore())).toMatchObject({ keep: true, echo: { store: true } });
    expect(plan({}).echo["store"]).toBe(false);
  });

  test("a reference to a kept item is that item; once, and never to anything else", () => {
    const store = newStore();
    store.put("resp_1", undefined, [said]);
    const references = [
      { role: "user", content: "a" },
      { type: "item_reference", id: "msg_1" },
      { type: "item_reference", id: "rs_unknown" },
      { role: "user", content: "b" },
    ];
    const texts = (more: object) => plan({ input: references, ...more }, store).chat["messages"];
    const user = (content: string) => ({ role: "user", content });
    const assistant = { role: "assistant", content: "hello" };
    expect(texts({})).toEqual([user("a"), assistant, user("b")]);
    expect(texts({ previous_response_id: "resp_1" })).toEqual([assistant, user("a"), user("b")]);
    expect(plan({ input: references }).chat["messages"]).toEqual([user("a"), user("b")]);
    expect(plan({ input: references }, store).items).toEqual([references[0], said, references[3]]);
    expect(refusal({ input: [{ type: "item_reference" }] }, store)).toBe("E_INPUT input[0].id");
  });
});

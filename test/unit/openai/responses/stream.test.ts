import { describe, expect, test } from "vitest";
import { MeshError } from "../../../../src/base/errors.ts";
import { sseText } from "../../../../src/openai/sse.ts";
import { call, chat, chatUsage, chunk, done, type Json, piece, run } from "./chat-stream.ts";
import { newStore, plan } from "./plan.ts";

const begin = ["response.created", "response.in_progress"];
const open = ["response.output_item.added", "response.content_part.added"];
const close = ["response.output_text.done", "response.content_part.done", "response.output_item.done"];
const delta = "response.output_text.delta";
const argument = "response.function_call_arguments.delta";
const callDone = ["response.function_call_arguments.done", "response.output_item.done"];
const failed = ["response.failed", "error"];

function idIn(event: Json | undefined, field: "item" | "response"): unknown {
  const value = event?.[field];
  return typeof value === "object" && value !== null && "id" in value ? value.id : "no id";
}

/** Output of the final response without ids. */
function output(response: Json): unknown {
  return (response["output"] as readonly Json[]).map((item) => ({ ...item, id: String(item["id"]).split("_")[0] }));
}

const message = (text: string, status = "completed") => ({
  id: "msg",
  type: "message",
  status,
  role: "assistant",
  content: [{ type: "output_text", text, annotations: [], logprobs: [] }],
});
const functionCall = (name: string, text: string, status = "completed") => ({
  id: "fc",
  type: "function_call",
  status,
  call_id: `call_${name}`,
  name,
  arguments: text,
});
const reasoning = (text: string) => ({
  id: "rs",
  type: "reasoning",
  summary: [{ type: "summary_text", text }],
  content: [],
  status: "completed",
});

describe("the sequence of events", () => {
  test("text", async () => {
    const { events, types, perPiece, response } = await run(chat([{ content: "Hel" }, { content: "lo" }]));
    expect(types).toEqual([...begin, ...open, delta, delta, ...close, "response.completed"]);
    // what a piece says goes out with it; the end comes with the clean end of the bytes
    expect(perPiece).toEqual([2, 3, 1, 4]);
    const id = idIn(events[2], "item");
    expect(events[2]).toMatchObject({
      output_index: 0,
      item: { type: "message", status: "in_progress", role: "assistant", content: [] },
    });
    const place = { item_id: id, output_index: 0, content_index: 0 };
    const empty = { type: "output_text", text: "", annotations: [], logprobs: [] };
    expect(events[3]).toMatchObject({ ...place, part: empty });
    expect(events[4]).toMatchObject({ ...place, delta: "Hel", logprobs: [] });
    expect(events[6]).toMatchObject({ ...place, text: "Hello", logprobs: [] });
    expect(events[7]).toMatchObject({ ...place, part: { ...empty, text: "Hello" } });
    expect(events[8]).toMatchObject({ output_index: 0, item: { ...message("Hello"), id } });
    expect(output(response)).toEqual([message("Hello")]);
    expect(response).toMatchObject({ status: "completed", model: "m", error: null, incomplete_details: null });
    expect(response["usage"]).toEqual({
      input_tokens: 11,
      input_tokens_details: { cached_tokens: 4, cache_write_tokens: 0 },
      output_tokens: 7,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 18,
    });
    expect(idIn(events[0], "response")).toBe(response["id"]);
    expect(events[0]?.["response"]).toMatchObject({ status: "in_progress", output: [], completed_at: null });
  });

  test.each(["reasoning_content", "reasoning"])("reasoning from %s, as a summary, before the text", async (field) => {
    const { events, types, response } = await run(
      chat([{ [field]: "think" }, { [field]: "ing", content: "" }, { content: "so" }]),
    );
    const part = "response.reasoning_summary_part";
    const text = "response.reasoning_summary_text";
    expect(types).toEqual([
      ...begin,
      "response.output_item.added",
      `${part}.added`,
      `${text}.delta`,
      `${text}.delta`,
      `${text}.done`,
      `${part}.done`,
      "response.output_item.done",
      ...open,
      delta,
      ...close,
      "response.completed",
    ]);
    const place = { output_index: 0, summary_index: 0, item_id: idIn(events[2], "item") };
    expect(events[2]).toMatchObject({ item: { type: "reasoning", summary: [], content: [], status: "in_progress" } });
    expect(events[3]).toMatchObject({ ...place, part: { type: "summary_text", text: "" } });
    expect(events[5]).toMatchObject({ ...place, delta: "ing" });
    expect(events[6]).toMatchObject({ ...place, text: "thinking" });
    expect(events[7]).toMatchObject({ ...place, part: { type: "summary_text", text: "thinking" } });
    expect(events[9]).toMatchObject({ output_index: 1 });
    expect(output(response)).toEqual([reasoning("thinking"), message("so")]);
  });

  test("text, then a call", async () => {
    const { events, types, response } = await run(
      chat([{ content: "see" }, call(0, "f"), piece(0, '{"a"'), piece(0, ":1}")], "tool_calls"),
    );
    expect(types).toEqual([
      ...begin,
      ...open,
      delta,
      ...close,
      "response.output_item.added",
      argument,
      argument,
      ...callDone,
      "response.completed",
    ]);
    const place = { output_index: 1, item_id: idIn(events[8], "item") };
    expect(events[8]).toMatchObject({ item: { call_id: "call_f", name: "f", arguments: "", status: "in_progress" } });
    expect(events[9]).toMatchObject({ ...place, delta: '{"a"' });
    expect(events[11]).toMatchObject({ ...place, name: "f", arguments: '{"a":1}' });
    expect(output(response)).toEqual([message("see"), functionCall("f", '{"a":1}')]);
  });

  test("parallel calls keep their late pieces, and close in order", async () => {
    const { events, types, response } = await run(
      chat(
        [
          { tool_calls: [...(call(0, "f")["tool_calls"] as []), ...(call(1, "g")["tool_calls"] as [])] },
          piece(1, "[1"),
          piece(0, "[0"),
          piece(1, "]"),
          call(2, "h"),
          piece(0, "]"),
          piece(2, "[2]"),
        ],
        "tool_calls",
      ),
    );
    expect(types).toEqual([
      ...begin,
      "response.output_item.added",
      "response.output_item.added",
      argument,
      argument,
      argument,
      "response.output_item.added",
      argument,
      argument,
      ...callDone,
      ...callDone,
      ...callDone,
      "response.completed",
    ]);
    const closing = events.filter(({ type }) => type === "response.output_item.done");
    expect(closing.map((event) => event["output_index"])).toEqual([0, 1, 2]);
    expect(output(response)).toEqual([functionCall("f", "[0]"), functionCall("g", "[1]"), functionCall("h", "[2]")]);
  });

  test.each<[string, readonly Json[], readonly unknown[]]>([
    [
      "all under index 0",
      [
        { tool_calls: [{ index: 0, id: "call_f", function: { name: "f", arguments: "{}" } }] },
        { tool_calls: [{ index: 0, id: "call_g", function: { name: "g", arguments: "[]" } }] },
      ],
      [functionCall("f", "{}"), functionCall("g", "[]")],
    ],
    [
      "with the id and name repeated",
      [
        { tool_calls: [{ index: 0, id: "call_f", function: { name: "f", arguments: "[" } }] },
        { tool_calls: [{ index: 0, id: "call_f", function: { name: "f", arguments: "]" } }] },
      ],
      [functionCall("f", "[]")],
    ],
    [
      "with a new id in each piece",
      [call(0, "f"), { tool_calls: [{ index: 0, id: "call_x", function: { arguments: "[]" } }] }],
      [functionCall("f", "[]")],
    ],
    [
      "with the name after the first arguments",
      [
        { tool_calls: [{ index: 0, id: "call_f", function: { arguments: "[" } }] },
        { tool_calls: [{ index: 0, function: { name: "f", arguments: "]" } }] },
      ],
      [functionCall("f", "[]")],
    ],
    [
      "without an index, arguments as an object",
      [{ tool_calls: [{ id: "call_f", function: { name: "f", arguments: { a: 1 } } }] }],
      [functionCall("f", '{"a":1}')],
    ],
  ])("calls %s", async (_name, deltas, items) => {
    const { response, events } = await run(chat(deltas, "tool_calls"));
    expect(output(response)).toEqual(items);
    const sent = events.filter(({ type }) => type === argument).map((event) => String(event["delta"]));
    expect(sent.join("")).toBe((response["output"] as readonly Json[]).map((item) => item["arguments"]).join(""));
  });

  test("a call without an id gets one", async () => {
    const { response } = await run(chat([{ tool_calls: [{ index: 0, function: { name: "f" } }] }]));
    expect(response["output"]).toMatchObject([
      { call_id: expect.stringMatching(/^call_[0-9a-f]{48}$/), arguments: "" },
    ]);
  });

  test("text after calls is an item of its own; calls stay open, and all close in order", async () => {
    const { response, events } = await run(
      chat([call(0, "f"), { content: "and" }, piece(0, "{"), call(1, "g"), { content: "so" }, piece(0, "}")]),
    );
    expect(output(response)).toEqual([functionCall("f", "{}"), message("and"), functionCall("g", ""), message("so")]);
    const closing = events.filter(({ type }) => type === "response.output_item.done");
    // the first message ended where the second call began
    expect(closing.map((event) => event["output_index"])).toEqual([1, 0, 2, 3]);
  });

  test("a refusal is a part of its own", async () => {
    const { events, types, response } = await run(
      chat([{ content: "Well." }, { refusal: "I " }, { refusal: "will not" }]),
    );
    expect(events.map((event) => event["content_index"]).filter((index) => index !== undefined)).toEqual([
      0, 0, 0, 0, 1, 1, 1, 1, 1,
    ]);
    expect(types).toEqual([
      ...begin,
      ...open,
      delta,
      "response.output_text.done",
      "response.content_part.done",
      "response.content_part.added",
      "response.refusal.delta",
      "response.refusal.delta",
      "response.refusal.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(response["output"]).toMatchObject([
      { content: [{ text: "Well." }, { type: "refusal", refusal: "I will not" }] },
    ]);
  });

  test("an answer of nothing is an empty message", async () => {
    const { types, response } = await run(chat([{ content: "" }]));
    expect(types).toEqual([...begin, ...open, ...close, "response.completed"]);
    expect(output(response)).toEqual([message("")]);
  });

  test.each([
    ["length", "max_output_tokens"],
    ["content_filter", "content_filter"],
  ])("%s is incomplete, and so is the last item", async (finish, reason) => {
    const { types, response } = await run(chat([call(0, "f"), call(1, "g"), piece(1, "[")], finish));
    expect(types.at(-1)).toBe("response.incomplete");
    expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason }, completed_at: null });
    expect(output(response)).toEqual([functionCall("f", ""), functionCall("g", "[", "incomplete")]);
    const text = await run(chat([{ reasoning: "a" }, { content: "b" }], finish));
    expect(output(text.response)).toEqual([reasoning("a"), message("b", "incomplete")]);
  });

  test("logprobs are there when asked for", async () => {
    const entry = { token: "a", logprob: -0.5, bytes: [97], top_logprobs: [{ token: "b", logprob: -1, bytes: null }] };
    const pieces = [chunk({ content: "a" }, "stop", { logprobs: { content: [entry] } })];
    const asked = await run(pieces, { plan: plan({ stream: true, top_logprobs: 1 }) });
    const seen = { ...entry, top_logprobs: [{ token: "b", logprob: -1, bytes: [] }] };
    expect(asked.events.find(({ type }) => type === delta)).toMatchObject({ logprobs: [seen] });
    expect(asked.response["output"]).toMatchObject([{ content: [{ logprobs: [seen] }] }]);
    const other = await run(pieces);
    expect(other.response["output"]).toMatchObject([{ content: [{ logprobs: [] }] }]);
  });

  test("other choices, comments and what follows [DONE] are not of this answer", async () => {
    const second = sseText({ choices: [{ index: 1, delta: { content: "no" }, finish_reason: "stop" }] });
    const { response, failure } = await run([": hello\n\n", second, ...chat([{ content: "yes" }]), "data: junk\n\n"]);
    expect([output(response), failure]).toEqual([[message("yes")], undefined]);
  });

  test("usage may be beside the reason to end, or absent", async () => {
    const beside = sseText({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }], usage: chatUsage });
    expect((await run([beside])).response["usage"]).toMatchObject({ total_tokens: 18 });
    expect("usage" in (await run([chunk({}, "stop"), done])).response).toBe(false);
  });

  test("a last event without its blank line counts", async () => {
    const { response } = await run([chunk({ content: "a" }), chunk({}, "stop").trimEnd()]);
    expect(output(response)).toEqual([message("a")]);
  });
});

describe("failure", () => {
  const partial = chunk({ content: "half" });
  const cases: readonly [string, string, readonly string[], Error?][] = [
    ["the bytes are cut", "connection_lost", [partial], new MeshError("E_LOST", "gone")],
    ["cut after [DONE]", "truncated", chat([{ content: "half" }]), new MeshError("E_TRUNCATED", "cut")],
    ["an end without a reason", "truncated", [partial]],
    ["[DONE] without a reason", "truncated", [partial, done]],
    ["half an event", "engine_error", [partial, 'data: {"choices": [{']],
    ["an error event of a host", "host_unreachable", [partial, sse({ message: "x", code: "host_unreachable" })]],
    ["an error event of an engine", "engine_error", [partial, sse({ message: "boom", code: 500 }), done]],
    ["an error that is text", "engine_error", [partial, sse("boom")]],
    ["an error by name", "engine_error", [partial, 'event: error\ndata: {"message": "boom"}\n\n']],
    ["a flat error", "engine_error", [partial, sseText({ object: "error", message: "boom" })]],
    ["an overflow", "context_length_exceeded", [partial, sse({ message: "the input length exceeds 5" })]],
    ["no JSON", "engine_error", [partial, "data: <html>\n\n"]],
    ["JSON of another kind", "engine_error", [partial, "data: [1]\n\n"]],
    ["a reason that means failure", "engine_error", chat([{ content: "half" }], "error")],
    ["one more of these", "engine_error", chat([{ content: "half" }], "abort")],
    ["calls that are none", "engine_error", [partial, chunk({ tool_calls: "f" })]],
    ["a call that is none", "engine_error", [partial, chunk({ tool_calls: ["f"] })]],
    ["an error of no kind of ours", "internal_error", [partial], new TypeError("secret path")],
  ];

  function sse(error: unknown): string {
    return sseText({ error });
  }

  test.each(cases)("%s", async (_name, code, pieces, failure) => {
    const store = newStore();
    // together and apart: the same events
    for (const sent of [pieces, [pieces.join("")]]) {
      const result = await run(sent, { store, ...(failure ? { failure } : {}) });
      expect(result.types).toEqual([...begin, ...open, delta, ...failed]);
      expect(result.failure?.row.code).toBe(code);
      const { message: words } = result.events.at(-1) ?? {};
      const param = code === "context_length_exceeded" ? "input" : null;
      const type = result.failure?.row.type;
      expect(result.events.at(-1)).toMatchObject({ code, param, error: { code, param, type, message: words } });
      expect(String(words)).not.toContain("secret");
      expect(result.response).toMatchObject({ status: "failed", output: [], error: { message: words } });
      expect(store.size.turns).toBe(0);
    }
  });

  test("an error among the first bytes, and none at all", async () => {
    for (const pieces of [[], [""], [sse("boom")]]) {
      expect((await run(pieces)).types).toEqual([...begin, ...failed]);
    }
  });

  test("a call without a name", async () => {
    const { types, failure } = await run(chat([{ tool_calls: [{ index: 0, id: "a", function: { arguments: "1" } }] }]));
    expect([types, failure?.code]).toEqual([[...begin, ...failed], "E_ENGINE"]);
  });

  test("code of a failed response is one of OpenAI's list", async () => {
    const codeFor = async (failure: MeshError) => (await run([partial], { failure })).response["error"];
    expect(await codeFor(new MeshError("E_BUSY", "x"))).toMatchObject({ code: "rate_limit_exceeded" });
    expect(await codeFor(new MeshError("E_OVERFLOW", "x"))).toMatchObject({ code: "invalid_prompt" });
    expect(await codeFor(new MeshError("E_LOST", "x"))).toMatchObject({ code: "server_error" });
  });

  test("an answer that never ends is cut, in characters and in items", async () => {
    const long = chunk({ content: "x".repeat(1024 * 1024) });
    expect((await run(Array.from({ length: 17 }, () => long))).failure?.code).toBe("E_ENGINE");
    const enough = await run([long, long, chunk({}, "stop")]);
    expect([enough.failure, enough.types.at(-1)]).toEqual([undefined, "response.completed"]);
    const items = (count: number) => Array.from({ length: count / 2 }, () => chunk({ reasoning: "a", content: "b" }));
    expect((await run([...items(1_000), chunk({}, "stop")])).failure).toBeUndefined();
    expect((await run([...items(1_002), chunk({}, "stop")])).failure?.code).toBe("E_ENGINE");
    const nameless = Array.from({ length: 1_001 }, (_, index) => ({ index, function: {} }));
    const { failure } = await run([chunk({ tool_calls: nameless })]);
    expect([failure?.code, failure?.message]).toEqual(["E_ENGINE", expect.stringContaining("1000 items")]);
  });
});

import { describe, expect, test } from "vitest";
import { MeshError } from "../../../../src/base/errors.ts";
import type { Json } from "../../../../src/base/json.ts";
import { messagesAnswer } from "../../../../src/openai/messages/answer.ts";
import { sseText } from "../../../../src/openai/sse.ts";
import { call, chat, chunk, done, piece, usageChunk } from "../responses/chat-stream.ts";
import { type Outcome, run } from "./message-stream.ts";
import { plan } from "./plan.ts";

const block = (...deltas: readonly string[]): readonly string[] => [
  "content_block_start",
  ...deltas.map(() => "content_block_delta"),
  "content_block_stop",
];
const last = ["message_delta", "message_stop"];

/** The error event's fields. */
function errorOf({ events }: Outcome): Json {
  return events.at(-1)?.["error"] as Json;
}

describe("messagesStream", () => {
  test("tells a text in the order and with the fields of the client's types", async () => {
    const { events, failure } = await run(chat([{ content: "Hel" }, { content: "lo" }]));
    expect(failure).toBeUndefined();
    expect(events).toEqual([
      {
        type: "message_start",
        message: {
          id: expect.stringMatching(/^msg_[0-9a-f]{48}$/),
          type: "message",
          role: "assistant",
          model: "m",
          content: [],
          stop_reason: null,
          stop_sequence: null,
          stop_details: null,
          usage: {
            input_tokens: 0,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
            output_tokens: 0,
          },
        },
      },
      { type: "ping" },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "", citations: null } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hel" } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "lo" } },
      { type: "content_block_stop", index: 0 },
      {
        type: "message_delta",
        delta: { stop_reason: "end_turn", stop_sequence: null, stop_details: null },
        usage: {
          input_tokens: 7,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 4,
          output_tokens: 7,
          output_tokens_details: { thinking_tokens: 2 },
        },
      },
      { type: "message_stop" },
    ]);
  });

  test("thoughts, text and a call are blocks of their own", async () => {
    const outcome = await run(
      chat(
        [{ reasoning_content: "hm" }, { content: "See:" }, call(0, "read", "c1"), piece(0, '{"a"'), piece(0, ":1}")],
        "tool_calls",
      ),
    );
    expect(outcome.types).toEqual(["message_start", ...block("hm"), ...block("See:"), ...block("1", "2"), ...last]);
    expect(outcome.content).toEqual([
      { type: "thinking", thinking: "hm", signature: "" },
      { type: "text", text: "See:", citations: null },
      { type: "tool_use", id: "c1", name: "read", input: '{"a":1}' },
    ]);
    expect(outcome.end?.["delta"]).toMatchObject({ stop_reason: "tool_use" });
  });

  test("thoughts that nobody asked for are signs of life", async () => {
    const hidden = plan({ stream: true });
    const { content, pings, end } = await run(chat([{ reasoning: "h" }, { reasoning: "m" }, { content: "so" }]), {
      plan: hidden,
    });
    expect(content).toEqual([{ type: "text", text: "so", citations: null }]);
    expect(pings).toBe(3);
    expect(end?.["usage"]).toMatchObject({ output_tokens: 7 });
  });

  test("pieces of parallel calls may come in any order, each block comes whole", async () => {
    const deltas = [
      call(0, "f", "a"),
      call(1, "g", "b"),
      piece(1, '{"y":'),
      piece(0, '{"x":'),
      piece(1, "2}"),
      piece(0, "1}"),
    ];
    const { content, pings, types } = await run(chat(deltas, "tool_calls"));
    expect(content).toEqual([
      { type: "tool_use", id: "a", name: "f", input: '{"x":1}' },
      { type: "tool_use", id: "b", name: "g", input: '{"y":2}' },
    ]);
    expect(types).toEqual(["message_start", ...block("1", "2"), ...block("1"), ...last]);
    // one at the beginning, one for each piece that had to wait
    expect(pings).toBe(3);
  });

  test("text after a call comes after it, and a name may come late", async () => {
    const late = { tool_calls: [{ index: 0, id: "a", function: { arguments: '{"x"' } }] };
    const named = { tool_calls: [{ index: 0, function: { name: "f", arguments: ":1}" } }] };
    const { content } = await run(chat([late, named, { content: "done" }], "stop"));
    expect(content).toEqual([
      { type: "tool_use", id: "a", name: "f", input: '{"x":1}' },
      { type: "text", text: "done", citations: null },
    ]);
  });

  test("an id that comes late is of the same call, and the next id is another one's", async () => {
    const without = { tool_calls: [{ index: 0, function: { name: "f", arguments: '{"x"' } }] };
    const late = { tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: ":1}" } }] };
    const { content } = await run(chat([without, late, call(0, "g", "b"), piece(0, "{}")], "tool_calls"));
    expect(content).toEqual([
      { type: "tool_use", id: expect.stringMatching(/^toolu_/), name: "f", input: '{"x":1}' },
      { type: "tool_use", id: "b", name: "g", input: "{}" },
    ]);
  });

  test("an answer of nothing is one empty text", async () => {
    const { content, end } = await run(chat([]));
    expect(content).toEqual([{ type: "text", text: "", citations: null }]);
    expect(end?.["delta"]).toMatchObject({ stop_reason: "end_turn" });
  });

  test("without usage the numbers are zeros", async () => {
    const { end } = await run([chunk({ content: "a" }), chunk({}, "stop"), done]);
    expect(end?.["usage"]).toMatchObject({ input_tokens: 0, output_tokens: 0 });
  });
});

describe("ends", () => {
  const stops = plan({ stop_sequences: ["END"], thinking: { type: "adaptive" } });
  const calls = { tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "{}" } }] };
  test.each<[string, Json, string, Json, Json]>([
    ["a stop", { content: "a" }, "stop", {}, { stop_reason: "end_turn", stop_sequence: null }],
    ["the limit", { content: "a" }, "length", {}, { stop_reason: "max_tokens" }],
    ["a call", calls, "tool_calls", {}, { stop_reason: "tool_use" }],
    ["a call that the engine ends with stop", calls, "stop", {}, { stop_reason: "tool_use" }],
    ["a filter", { content: "a" }, "content_filter", {}, { stop_reason: "refusal", stop_details: { type: "refusal" } }],
    ["a refusal", { refusal: "no" }, "stop", {}, { stop_reason: "refusal" }],
    [
      "a stop sequence, as vLLM tells it",
      { content: "a" },
      "stop",
      { stop_reason: "END" },
      { stop_reason: "stop_sequence", stop_sequence: "END" },
    ],
    [
      "a stop sequence, as SGLang tells it",
      { content: "a" },
      "stop",
      { stop_reason: null, matched_stop: "END" },
      { stop_reason: "stop_sequence", stop_sequence: "END" },
    ],
    ["a token that ended it", { content: "a" }, "stop", { matched_stop: 5 }, { stop_reason: "end_turn" }],
    ["a word that nobody asked for", { content: "a" }, "stop", { stop_reason: "x" }, { stop_reason: "end_turn" }],
  ])("%s, in both forms", async (_name, delta, finish, more, expected) => {
    const { end, content } = await run([chunk(delta), chunk({}, finish, more), usageChunk, done], { plan: stops });
    expect(end?.["delta"]).toMatchObject(expected);
    const whole = messagesAnswer(stops, { choices: [{ message: delta, finish_reason: finish, ...more }] }, "m");
    expect(whole).toMatchObject(expected);
    expect((whole["content"] as readonly Json[]).map(({ type }) => type)).toEqual(content.map(({ type }) => type));
  });

  test("a call that the limit has cut is told as far as it came, and is none in a whole answer", async () => {
    const cut = [call(0, "f", "a"), piece(0, '{"x":1'), call(1, "g", "b"), piece(1, "{"), { content: "left" }];
    const { content, end, failure } = await run(chat(cut, "length"));
    expect(failure).toBeUndefined();
    expect(content).toEqual([
      { type: "tool_use", id: "a", name: "f", input: '{"x":1' },
      { type: "text", text: "left", citations: null },
    ]);
    expect(end?.["delta"]).toMatchObject({ stop_reason: "max_tokens" });
    const message = { content: "I", tool_calls: [{ id: "a", function: { name: "f", arguments: '{"x":1' } }] };
    expect(messagesAnswer(plan(), { choices: [{ message, finish_reason: "length" }] }, "m")).toMatchObject({
      content: [{ type: "text", text: "I" }],
      stop_reason: "max_tokens",
    });
  });
});

describe("failures", () => {
  test.each<[string, readonly string[], string]>([
    ["no reason to end", [chunk({ content: "a" }), done], "E_TRUNCATED"],
    ["nothing at all", [], "E_TRUNCATED"],
    ["an event that is no JSON", [chunk({ content: "a" }), "data: {\n\n"], "E_ENGINE"],
    ["an engine that gives up", [chunk({ content: "a" }), chunk({}, "abort")], "E_ENGINE"],
    ["an error event", [chunk({ content: "a" }), sseText({ error: { message: "broken" } })], "E_ENGINE"],
    ["a named error event", ['event: error\ndata: {"message":"broken"}\n\n'], "E_ENGINE"],
    ["a code of ours", [sseText({ error: { message: "gone", code: "engine_lost" } })], "E_ENGINE_LOST"],
    ["an overflow", [sseText({ error: { message: "maximum context length is 10 tokens" } })], "E_OVERFLOW"],
    ["calls that are none", [chunk({ tool_calls: 5 })], "E_ENGINE"],
    ["a call without a name", chat([piece(0, "{}")], "tool_calls"), "E_ENGINE"],
    ["an input that is no object", chat([call(0, "f"), piece(0, "[1]")], "tool_calls"), "E_ENGINE"],
    ["an input that is no JSON", chat([call(0, "f"), piece(0, '{"x":')], "tool_calls"), "E_ENGINE"],
  ])("%s: one error event, no end", async (_name, pieces, code) => {
    const outcome = await run(pieces);
    expect(outcome.failure?.code).toBe(code);
    expect(outcome.types.filter((type) => type === "error" || type === "message_stop")).toEqual(["error"]);
    expect(outcome.types.at(-1)).toBe("error");
    expect(outcome.events.at(-1)).toMatchObject({ type: "error", request_id: "req_1" });
    expect(errorOf(outcome)).toMatchObject({ type: expect.any(String), message: expect.any(String) });
  });

  test("of the source are told with our code", async () => {
    const failure = new MeshError("E_LOST", "the connection to the host ended");
    const outcome = await run([chunk({ content: "a" })], { failure });
    expect(outcome.failure).toBe(failure);
    expect(errorOf(outcome)).toMatchObject({ type: "api_error", details: { error_code: "connection_lost" } });
    expect(outcome.content).toEqual([{ type: "text", text: "a", citations: null }]);
  });

  test("an answer that never ends is cut, in characters and in blocks", async () => {
    const large = chunk({ content: "x".repeat(2_000_000) });
    expect((await run(Array.from({ length: 9 }, () => large))).failure?.code).toBe("E_ENGINE");
    const many = Array.from({ length: 1_001 }, (_, index) => chunk(call(index, "f")));
    expect((await run(many)).failure?.code).toBe("E_ENGINE");
    const hidden = chunk({ reasoning: "x".repeat(2_000_000) });
    const plain = { plan: plan({ stream: true }) };
    expect(
      (
        await run(
          Array.from({ length: 9 }, () => hidden),
          plain,
        )
      ).failure?.code,
    ).toBe("E_ENGINE");
  });
});

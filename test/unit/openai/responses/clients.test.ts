/**
 * The events as real clients read them: openai, AI SDK and LangChain, unchanged, over a fetch that puts the adapter in
 * front of a scripted chat engine. Their requests go through planResponses, so both ways are theirs.
 */
import { createOpenAI } from "@ai-sdk/openai";
import { HumanMessage, type AIMessageChunk } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import { stepCountIs, streamText, tool } from "ai";
import OpenAI, { APIError } from "openai";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { MeshError } from "../../../../src/base/errors.ts";
import { responsesAnswer } from "../../../../src/openai/responses/answer.ts";
import { planResponses } from "../../../../src/openai/responses/request.ts";
import { responsesStream } from "../../../../src/openai/responses/stream.ts";
import { call, chat, chatUsage, chunk, type Json, piece, source } from "./chat-stream.ts";
import { newStore } from "./plan.ts";

/** What the engine answers to one request: pieces of a stream, perhaps cut, or a message. */
type Script =
  | { readonly pieces: readonly string[]; readonly failure?: Error }
  | { readonly message: Json; readonly finish?: string };

/** A node that gives one scripted answer after the other, and the chat requests that its engine saw. */
function node(...scripts: readonly Script[]) {
  const store = newStore();
  const asked: Json[] = [];
  const fetch = async (_url: unknown, init?: { body?: unknown }): Promise<Response> => {
    const plan = planResponses(JSON.parse(String(init?.body)) as Json, store);
    const script = scripts[asked.length];
    asked.push(plan.chat);
    if (!script) throw new Error("nobody expected this request");
    if ("message" in script) {
      const { message, finish = "stop" } = script;
      const whole = { choices: [{ index: 0, message, finish_reason: finish }], usage: chatUsage };
      return Response.json(responsesAnswer(plan, whole, plan.model, store));
    }
    const bytes = responsesStream(plan, source(script.pieces, script.failure), plan.model, "req_1", store);
    // nothing read ahead: an error must not overtake the pieces before it, as on a socket
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { done, value } = await bytes.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
  return { fetch, asked, store };
}

const cut: Script = {
  pieces: [chunk({ content: "half" })],
  failure: new MeshError("E_LOST", "The connection to the host ended."),
};
const settings = { baseURL: "http://node.invalid/v1", apiKey: "none" } as const;
const weather = chat(
  [
    { content: "see" },
    call(0, "weather", "call_1"),
    call(1, "time", "call_2"),
    piece(0, '{"city":'),
    piece(1, "{}"),
  ].concat(piece(0, '"Oslo"}')),
  "tool_calls",
);
const functions = [
  { type: "function", name: "weather", parameters: { type: "object", properties: {} }, strict: false },
  { type: "function", name: "time", parameters: { type: "object", properties: {} }, strict: false },
] as const;

describe("openai", () => {
  const client = (fetch: ReturnType<typeof node>["fetch"]) => new OpenAI({ ...settings, fetch, maxRetries: 0 });
  const ask = { model: "m", input: "hi" } as const;

  test("text: deltas, done text and final response agree", async () => {
    const { fetch } = node({ pieces: chat([{ content: "Hel" }, { content: "lo 😀" }]) });
    const stream = client(fetch).responses.stream(ask);
    const deltas: string[] = [];
    stream.on("response.output_text.delta", ({ delta }) => deltas.push(delta));
    const final = await stream.finalResponse();
    expect(deltas).toEqual(["Hel", "lo 😀"]);
    expect(final).toMatchObject({ output_text: "Hello 😀", status: "completed", model: "m" });
    expect(final.usage?.output_tokens_details.reasoning_tokens).toBe(2);
  });

  test("a whole answer, then one more by its id", async () => {
    const { fetch, asked } = node({ message: { content: "hello" } }, { message: { content: "again" } });
    const first = await client(fetch).responses.create({ ...ask, instructions: "be brief" });
    expect(first.output_text).toBe("hello");
    const second = await client(fetch).responses.create({ ...ask, previous_response_id: first.id });
    expect(second).toMatchObject({ output_text: "again", previous_response_id: first.id });
    expect(asked[1]?.["messages"]).toEqual([
      { role: "user", content: "hi" },
      { role: "assistant", content: "hello" },
      { role: "user", content: "hi" },
    ]);
  });

  test("parallel calls, and their results sent back", async () => {
    const { fetch, asked } = node({ pieces: weather }, { pieces: chat([{ content: "cold" }]) });
    const stream = client(fetch).responses.stream({ ...ask, tools: [...functions] });
    const seen: string[] = [];
    stream.on("response.function_call_arguments.delta", ({ snapshot }) => seen.push(snapshot));
    const { output } = await stream.finalResponse();
    expect(seen).toEqual(['{"city":', "{}", '{"city":"Oslo"}']);
    expect(output).toMatchObject([
      { type: "message", content: [{ text: "see" }] },
      { type: "function_call", call_id: "call_1", name: "weather", arguments: '{"city":"Oslo"}', status: "completed" },
      { type: "function_call", call_id: "call_2", name: "time", arguments: "{}" },
    ]);
    const results = ["call_1", "call_2"].map(
      (id) => ({ type: "function_call_output", call_id: id, output: "1" }) as const,
    );
    const sent = output.map((item) => {
      const { parsed_arguments: _parsed, ...rest } = item as typeof item & { parsed_arguments?: unknown };
      return rest as OpenAI.Responses.ResponseInputItem;
    });
    const input = [{ role: "user", content: "hi" } as const, ...sent, ...results];
    const second = await client(fetch)
      .responses.stream({ ...ask, input })
      .finalResponse();
    expect(second.output_text).toBe("cold");
    const called = (id: string, name: string, text: string) => ({
      id,
      type: "function",
      function: { name, arguments: text },
    });
    expect(asked[1]?.["messages"]).toEqual([
      { role: "user", content: "hi" },
      {
        role: "assistant",
        content: "see",
        tool_calls: [called("call_1", "weather", '{"city":"Oslo"}'), called("call_2", "time", "{}")],
      },
      { role: "tool", tool_call_id: "call_1", content: "1" },
      { role: "tool", tool_call_id: "call_2", content: "1" },
    ]);
  });

  test("JSON by a schema is parsed", async () => {
    const { fetch, asked } = node({ message: { content: '{"a":5}' } });
    const schema = { type: "object", properties: { a: { type: "number" } } };
    const format = { type: "json_schema", name: "n", schema, strict: true } as const;
    const { output_text: text } = await client(fetch).responses.create({ ...ask, text: { format } });
    expect(JSON.parse(text)).toEqual({ a: 5 });
    expect(asked[0]?.["response_format"]).toEqual({
      type: "json_schema",
      json_schema: { name: "n", schema, strict: true },
    });
  });

  test("refusal, reasoning, and an answer that was too long", async () => {
    const { fetch } = node(
      { pieces: chat([{ refusal: "I " }, { refusal: "will not" }]) },
      { pieces: chat([{ reasoning: "hm" }, { content: "so" }]) },
      { pieces: chat([{ content: "half" }], "length") },
    );
    const final = async () => client(fetch).responses.stream(ask).finalResponse();
    expect((await final()).output).toMatchObject([{ content: [{ type: "refusal", refusal: "I will not" }] }]);
    expect((await final()).output).toMatchObject([
      { type: "reasoning", summary: [{ text: "hm" }] },
      { content: [{ text: "so" }] },
    ]);
    expect(await final()).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output_text: "half",
    });
  });

  test("a cut is an APIError with its code, after the text", async () => {
    const { fetch } = node(cut, cut);
    const stream = client(fetch).responses.stream(ask);
    const deltas: string[] = [];
    stream.on("response.output_text.delta", ({ delta }) => deltas.push(delta));
    const failure: unknown = await stream.finalResponse().catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(APIError);
    expect(failure).toMatchObject({ code: "connection_lost", type: "server_error" });
    expect(deltas).toEqual(["half"]);
    const types: string[] = [];
    const plain = await client(fetch).responses.create({ ...ask, stream: true });
    const reading = (async () => {
      for await (const { type } of plain) types.push(type);
    })();
    await expect(reading).rejects.toMatchObject({ code: "connection_lost" });
    expect(types.at(-1)).toBe("response.failed");
  });
});

describe("AI SDK", () => {
  const model = (fetch: ReturnType<typeof node>["fetch"]) =>
    createOpenAI({ ...settings, fetch: fetch as typeof globalThis.fetch }).responses("m");
  const ask = { prompt: "hi", maxRetries: 0, onError: () => {} } as const;

  test("text and usage", async () => {
    const { fetch, asked } = node({ pieces: chat([{ content: "Hel" }, { content: "lo" }]) });
    const result = streamText({ ...ask, model: model(fetch), system: "be brief", maxOutputTokens: 9 });
    expect(await result.text).toBe("Hello");
    expect(await result.finishReason).toBe("stop");
    expect(await result.usage).toMatchObject({ inputTokens: 11, outputTokens: 7, cachedInputTokens: 4 });
    expect(asked[0]).toEqual({
      model: "m",
      messages: [
        { role: "system", content: "be brief" },
        { role: "user", content: "hi" },
      ],
      max_tokens: 9,
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  test("a loop of tools: what was said between is there again, though the SDK sends only references to it", async () => {
    const said = chat([
      { reasoning: "hm" },
      { content: "see" },
      call(0, "weather", "call_1"),
      piece(0, '{"city":"Oslo"}'),
    ]);
    const { fetch, asked } = node({ pieces: said }, { pieces: chat([{ content: "cold" }]) });
    const result = streamText({
      ...ask,
      model: model(fetch),
      tools: {
        weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `snow in ${city}` }),
      },
      stopWhen: stepCountIs(3),
    });
    const parts: string[] = [];
    for await (const part of result.fullStream) {
      if (part.type === "reasoning-delta" || part.type === "text-delta") parts.push(`${part.type} ${part.text}`);
      if (part.type === "tool-call") parts.push(`${part.toolName} ${JSON.stringify(part.input)}`);
    }
    expect(parts).toEqual(["reasoning-delta hm", "text-delta see", 'weather {"city":"Oslo"}', "text-delta cold"]);
    expect((await result.steps).map(({ finishReason }) => finishReason)).toEqual(["tool-calls", "stop"]);
    expect(asked[1]?.["messages"]).toEqual([
      { role: "user", content: "hi" },
      {
        role: "assistant",
        content: "see",
        tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } }],
      },
      { role: "tool", tool_call_id: "call_1", content: "snow in Oslo" },
    ]);
  });

  test.each<[string, readonly string[], string]>([
    ["a refusal", chat([{ refusal: "no" }]), "content-filter"],
    ["a stop at the limit", chat([{ content: "half" }], "length"), "length"],
    ["a filter", chat([{ content: "half" }], "content_filter"), "content-filter"],
  ])("%s", async (_name, pieces, reason) => {
    const result = streamText({ ...ask, model: model(node({ pieces }).fetch) });
    await result.consumeStream();
    expect(await result.finishReason).toBe(reason);
  });

  test("a cut is an error part with our words, then the unclean end", async () => {
    const result = streamText({ ...ask, model: model(node(cut).fetch) });
    const types: string[] = [];
    const errors: unknown[] = [];
    const reading = (async () => {
      for await (const part of result.fullStream) {
        types.push(part.type);
        if (part.type === "error") errors.push(part.error);
      }
    })();
    await expect(reading).rejects.toThrow("Failed to process successful response");
    expect(types).toContain("text-delta");
    expect(types).not.toContain("finish");
    expect(errors[0]).toMatchObject({ message: expect.stringContaining("The connection to the host ended.") });
  });
});

describe("LangChain", () => {
  const model = (fetch: ReturnType<typeof node>["fetch"], more: object = {}) =>
    new ChatOpenAI({
      model: "m",
      apiKey: "none",
      useResponsesApi: true,
      maxRetries: 0,
      configuration: { baseURL: settings.baseURL, fetch: fetch as typeof globalThis.fetch },
      ...more,
    });

  async function streamed(pieces: readonly string[], options: object = {}): Promise<AIMessageChunk> {
    let all: AIMessageChunk | undefined;
    for await (const one of await model(node({ pieces }).fetch).stream("hi", options)) all = all?.concat(one) ?? one;
    if (!all) throw new Error("nothing came");
    return all;
  }

  test("text, usage, reasoning", async () => {
    const message = await streamed(chat([{ reasoning: "hm" }, { content: "Hel" }, { content: "lo" }]));
    expect(message.text).toBe("Hello");
    expect(message.usage_metadata).toMatchObject({ input_tokens: 11, output_tokens: 7, total_tokens: 18 });
    expect(message.additional_kwargs["reasoning"]).toMatchObject({ summary: [{ text: "hm" }] });
    const { fetch } = node({ message: { reasoning: "hm", content: "hello" } });
    expect((await model(fetch).invoke("hi")).text).toBe("hello");
  });

  test("parallel calls, and their results sent back", async () => {
    const { fetch, asked } = node({ pieces: weather }, { message: { content: "cold" } });
    const bound = model(fetch).bindTools(
      functions.map(({ name, parameters }) => ({ type: "function", function: { name, parameters } })),
    );
    let first: AIMessageChunk | undefined;
    for await (const one of await bound.stream("hi")) first = first?.concat(one) ?? one;
    expect(first?.tool_calls).toMatchObject([
      { name: "weather", args: { city: "Oslo" }, id: "call_1" },
      { name: "time", args: {}, id: "call_2" },
    ]);
    if (!first) throw new Error("nothing came");
    const results = ["call_1", "call_2"].map((id) => ({ role: "tool", content: "1", tool_call_id: id }));
    expect((await bound.invoke([new HumanMessage("hi"), first, ...results])).text).toBe("cold");
    const sent = asked[1]?.["messages"] as readonly Json[];
    expect(sent.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "tool"]);
    expect(sent[1]).toMatchObject({ content: "see", tool_calls: [{ id: "call_1" }, { id: "call_2" }] });
  });

  test("a refusal, and a stop at the limit", async () => {
    expect((await streamed(chat([{ refusal: "no" }]))).additional_kwargs["refusal"]).toBe("no");
    const half = await streamed(chat([{ content: "half" }], "length"));
    expect(half.response_metadata).toMatchObject({ incomplete_details: { reason: "max_output_tokens" } });
  });

  test("a cut is an error", async () => {
    const { fetch } = node(cut);
    const texts: string[] = [];
    const reading = (async () => {
      for await (const { text } of await model(fetch).stream("hi")) texts.push(text);
    })();
    await expect(reading).rejects.toMatchObject({ code: "connection_lost" });
    expect(texts.join("")).toBe("half");
  });
});

/**
 * The official `@anthropic-ai/sdk` client, unchanged, against real processes: a host with the embedded engine, a host in
 * front of an OpenAI-compatible program that knows nothing of Messages, and a client node that seals to them.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { knowsModels, reportOf, until } from "../support/e2e.ts";
import { type EngineProcess, startEngineProcess } from "../support/engine-server.ts";
import { demoModel, type NodeProcess, startProcess, tempDir } from "../support/processes.ts";

interface DemoQuestions {
  readonly questions: readonly { readonly question: string; readonly answer: string }[];
}

const [known] = (JSON.parse(readFileSync(demoModel.replace(/gguf$/, "json"), "utf8")) as DemoQuestions).questions;
if (!known) throw new Error("the demo model has no questions");

const words = "word0 word1 word2 word3 word4";
const key = "sm-0123456789abcdef";
const greeting = { model: "scripted", max_tokens: 100, messages: [{ role: "user", content: "Good morning" }] } as const;
const greet = (): Anthropic.MessageCreateParamsNonStreaming => structuredClone(greeting) as never;

let engine: EngineProcess;
let proxyHost: NodeProcess;
let client: NodeProcess;
/** Asks for keys, and for evidence that nobody here shows. */
let strict: NodeProcess;
let anthropic: Anthropic;

beforeAll(async () => {
  engine = await startEngineProcess({ cachedTokens: 1 });
  const embeddedHost = await startProcess(["serve", "--model", demoModel]);
  const joining = ["--join", embeddedHost.ready.invite];
  const keys = join(tempDir(), "keys.txt");
  writeFileSync(keys, `${key}\n`);
  [proxyHost, client, strict] = await Promise.all([
    startProcess(["serve", "--engine", engine.url, ...joining]),
    startProcess(["client", ...joining]),
    startProcess(["client", ...joining, "--api-key-file", keys, "--require-attested-hosts", "key"]),
  ]);
  anthropic = clientFor(client);
  await knowsModels(client, "demo", "scripted");
  await knowsModels(strict, "scripted");
});

/** As a user would make it; it repeats nothing, so that a test sees what happens. */
function clientFor(node: NodeProcess, options: object = { apiKey: "unused" }): Anthropic {
  return new Anthropic({ baseURL: node.ready.api_url, maxRetries: 0, ...options });
}

describe("a message", () => {
  it("comes whole, sealed, with usage and a request id that the report has too", async () => {
    const { data, response, request_id } = await anthropic.messages
      .create({ ...greet(), system: "Be brief.", metadata: { user_id: "cormorant-7731" } })
      .withResponse();
    expect(data).toMatchObject({ type: "message", role: "assistant", model: "scripted", stop_reason: "end_turn" });
    expect(data.content).toEqual([{ type: "text", text: words, citations: null }]);
    // four words of prompt, one of them from the cache, which is no input here
    expect(data.usage).toMatchObject({ input_tokens: 3, cache_read_input_tokens: 1, output_tokens: 5 });
    expect(data).toHaveProperty("_request_id", request_id);
    expect(response.headers.get("x-sealmesh-sealed")).toBe("true");
    expect(response.headers.get("x-sealmesh-host")).toBe(proxyHost.ready.endpoint_id);
    const report = await reportOf(client, response);
    expect(report).toMatchObject({ id: request_id, path: "/v1/messages", prompt_tokens: 4, completion_tokens: 5 });
    const asked = (await engine.seen()).requests.findLast(({ inference }) => inference);
    expect(asked?.path).toBe("/v1/chat/completions");
    expect(JSON.stringify(asked)).not.toMatch(/cormorant|anthropic|api-key/i);
  });

  it("streams through the helper: every event in order, the same message at its end", async () => {
    const stream = anthropic.messages.stream(greet());
    const types: string[] = [];
    stream.on("streamEvent", ({ type }) => types.push(type));
    let text = "";
    stream.on("text", (piece) => (text += piece));
    const message = await stream.finalMessage();
    expect(text).toBe(words);
    expect(await stream.finalText()).toBe(words);
    expect(types).toEqual([
      "message_start",
      "content_block_start",
      ...Array<string>(5).fill("content_block_delta"),
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    expect(message.usage).toMatchObject({ input_tokens: 1, cache_read_input_tokens: 1, output_tokens: 5 });
    const whole = await anthropic.messages.create(greet());
    expect({ ...message, id: "" }).toMatchObject({ ...whole, id: "" });
  });

  it("of the embedded engine, both ways", async () => {
    const asked = {
      model: "demo",
      max_tokens: 200,
      temperature: 0,
      messages: [{ role: "user", content: known.question }],
    };
    const params = asked as Anthropic.MessageCreateParamsNonStreaming;
    const whole = await anthropic.messages.create(params);
    expect(whole.content).toMatchObject([{ type: "text", text: known.answer }]);
    expect(whole.usage.output_tokens).toBeGreaterThan(5);
    expect(await anthropic.messages.stream(params).finalText()).toBe(known.answer);
    const cut = await anthropic.messages.create({ ...params, max_tokens: 3 });
    expect(cut).toMatchObject({ stop_reason: "max_tokens", usage: { output_tokens: 3 } });
  });

  it("with an image, and with thoughts for those who ask for them", async () => {
    const source = { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" } as const;
    const content: Anthropic.ContentBlockParam[] = [
      { type: "text", text: "What is this?" },
      { type: "image", source },
    ];
    const seen = await anthropic.messages.create({ ...greet(), messages: [{ role: "user", content }] });
    expect(seen.content).toMatchObject([{ text: expect.stringMatching(/^image of 34 characters/) }]);
    const thinking = { ...greet(), output_config: { effort: "low" } } as const;
    const shown = anthropic.messages.stream({ ...thinking, thinking: { type: "adaptive" } });
    expect((await shown.finalMessage()).content).toEqual([
      { type: "thinking", thinking: "I think with low effort.", signature: "" },
      { type: "text", text: words, citations: null },
    ]);
    const hidden = await anthropic.messages.stream(thinking).finalMessage();
    expect(hidden.content).toMatchObject([{ type: "text", text: words }]);
    expect(hidden.usage.output_tokens_details).toEqual({ thinking_tokens: 5 });
  });

  it("whose caller goes away frees the engine within a second", async () => {
    await engine.change({ tokens: 10_000, tokenMs: 20 });
    const stream = anthropic.messages.stream(greet());
    const ended = stream.finalMessage().catch((error: unknown) => error);
    let pieces = 0;
    stream.on("text", () => (pieces += 1));
    await until("some of it has come", () => pieces >= 3);
    stream.abort();
    await until("the engine is free", async () => (await engine.seen()).running === 0, 1_000);
    expect(await ended).toBeInstanceOf(Anthropic.APIUserAbortError);
    await engine.change({ tokens: 5, tokenMs: 0, prefillMs: 60_000 });
    const abort = new AbortController();
    const whole = anthropic.messages.create(greet(), { signal: abort.signal }).catch((error: unknown) => error);
    await until("the engine works", async () => (await engine.seen()).running === 1);
    abort.abort();
    await until("the engine is free", async () => (await engine.seen()).running === 0, 1_000);
    expect(await whole).toBeInstanceOf(Anthropic.APIUserAbortError);
    await engine.change({ prefillMs: 0 });
  });
});

describe("tools", () => {
  const weather = betaZodTool({
    name: "weather",
    description: "The weather of a town",
    inputSchema: z.object({ town: z.string(), days: z.number().int() }),
    run: ({ town, days }) => `${days} days of rain in ${town}`,
  });
  const clock = betaZodTool({
    name: "clock",
    description: "The time",
    inputSchema: z.object({}),
    run: () => Promise.reject(new Error("the clock stands still")),
  });

  it.each([false, true])(
    "are called and answered in two turns by the client's own loop (stream: %s)",
    async (stream) => {
      const body = { ...greeting, messages: [...greeting.messages], tools: [weather, clock], stream };
      const runner = anthropic.beta.messages.toolRunner(body as never);
      const final = await runner.runUntilDone();
      // the engine says which call gave what: ids, inputs, results and the failure have all arrived
      expect(final.content).toMatchObject([
        {
          type: "text",
          text: expect.stringMatching(
            /^weather \{"town":"town → ✓","days":7\} gave 7 days of rain in town → ✓\nclock \{\} gave Error: .*the clock stands still$/,
          ),
        },
      ]);
      expect(final.stop_reason).toBe("end_turn");
      const kinds = runner.params.messages.flatMap(({ content }) =>
        typeof content === "string" ? ["text"] : [content].flat().map((block) => block?.type),
      );
      expect(kinds).toEqual(["text", "tool_use", "tool_use", "tool_result", "tool_result", "text"]);
    },
  );

  it("one can be demanded, all forbidden, and a tool of Anthropic's own is refused by name", async () => {
    const tools: Anthropic.ToolUnion[] = ["a", "b"].map((name) => {
      return { name, input_schema: { type: "object", properties: { x: { type: "string" } } } };
    });
    const named = await anthropic.messages.create({ ...greet(), tools, tool_choice: { type: "tool", name: "b" } });
    expect(named.stop_reason).toBe("tool_use");
    expect(named.content).toMatchObject([{ type: "tool_use", name: "b", input: { x: "x → ✓" } }]);
    const single = { type: "any", disable_parallel_tool_use: true } as const;
    const one = await anthropic.messages.stream({ ...greet(), tools, tool_choice: single }).finalMessage();
    expect(one.content).toMatchObject([{ type: "tool_use", name: "a", input: { x: "x → ✓" } }]);
    const none = await anthropic.messages.create({ ...greet(), tools, tool_choice: { type: "none" } });
    expect(none.content).toMatchObject([{ type: "text", text: words }]);
    const search = { type: "web_search_20250305", name: "web_search" } as const;
    const refused = await failureOf(anthropic.messages.create({ ...greet(), tools: [search] }));
    expect(refused).toBeInstanceOf(Anthropic.BadRequestError);
    expect(refused.message).toMatch(/web_search_20250305.*runs at Anthropic/);
  });

  it("the embedded engine has none, and says so", async () => {
    const tools: Anthropic.ToolUnion[] = [{ name: "a", input_schema: { type: "object" } }];
    const refused = await failureOf(anthropic.messages.create({ ...greet(), model: "demo", tools }));
    expect(refused).toBeInstanceOf(Anthropic.BadRequestError);
    expect(refused).toMatchObject({ type: "invalid_request_error", errorCode: "unsupported_model_feature" });
  });
});

describe("errors", () => {
  it("are the client's own classes, with type, request id, and whether to repeat", async () => {
    const unknown = await failureOf(anthropic.messages.create({ ...greet(), model: "nobody" }));
    expect(unknown).toBeInstanceOf(Anthropic.NotFoundError);
    expect(unknown).toMatchObject({ type: "not_found_error", errorCode: "model_not_found" });
    expect(unknown.requestID).toMatch(/^[0-9a-f-]{36}$/);
    const field = await failureOf(anthropic.messages.create({ ...greet(), max_tokens: 0 }));
    expect(field).toBeInstanceOf(Anthropic.BadRequestError);
    const long = [{ role: "user" as const, content: "very long ".repeat(3_000) }];
    for (const model of ["demo", "scripted"]) {
      const overflow = await failureOf(anthropic.messages.create({ ...greet(), model, messages: long }));
      expect(overflow).toBeInstanceOf(Anthropic.BadRequestError);
      expect(overflow.apiMessage).toMatch(/^prompt is too long: \d+ tokens > \d+ maximum/);
    }
    const uncounted = await failureOf(anthropic.messages.countTokens({ model: "scripted", messages: long }));
    expect(uncounted).toBeInstanceOf(Anthropic.NotFoundError);
    expect(uncounted.apiMessage).toMatch(/does not count tokens/);
  });

  it("of a busy or broken engine have their status, and the wait", async () => {
    const busy = { error: { message: "slots are taken", type: "t", code: "c" } };
    await engine.change({ fail: { kind: "status", status: 429, body: busy, headers: { "retry-after": "7" } } });
    const limited = await failureOf(anthropic.messages.create(greet()));
    expect(limited).toBeInstanceOf(Anthropic.RateLimitError);
    expect(limited.type).toBe("rate_limit_error");
    expect(Number(limited.headers?.get("retry-after"))).toBeGreaterThan(0);
    await engine.change({ fail: { kind: "status", status: 500, body: { error: { message: "no memory" } } } });
    const broken = await failureOf(anthropic.messages.stream(greet()).finalMessage());
    expect(broken).toBeInstanceOf(Anthropic.InternalServerError);
    expect(broken).toMatchObject({ status: 502, type: "api_error", errorCode: "engine_error" });
    await engine.change({ fail: null });
  });

  it("in mid-stream reach the caller: what came stays a half answer", async () => {
    // the pause lets the words out before the cut
    await engine.change({ tokenMs: 100, fail: { kind: "cut", afterTokens: 2 } });
    const stream = anthropic.messages.stream(greet());
    let text = "";
    stream.on("text", (piece) => (text += piece));
    const failure = await failureOf(stream.finalMessage());
    expect(text).toBe("word0 word1");
    expect(failure).toMatchObject({ status: undefined, type: "api_error", errorCode: "engine_error" });
    expect(failure.requestID).toMatch(/^[0-9a-f-]{36}$/);
    await engine.change({ tokenMs: 0, fail: null });
    expect((await anthropic.messages.create(greet())).content).toMatchObject([{ text: words }]);
  });

  it("of a port with keys and of a policy: the key goes both ways, the refusal names its rule", async () => {
    const wrong = await failureOf(clientFor(strict).messages.create(greet()));
    expect(wrong).toBeInstanceOf(Anthropic.AuthenticationError);
    expect(wrong.type).toBe("authentication_error");
    for (const options of [{ apiKey: key }, { apiKey: null, authToken: key }]) {
      const refused = await failureOf(clientFor(strict, options).messages.create(greet()));
      expect(refused).toBeInstanceOf(Anthropic.ServiceUnavailableError);
      expect(refused).toMatchObject({ status: 503, type: "api_error" });
      expect(refused.apiMessage).toContain("--require-attested-hosts=key");
      expect(refused.headers?.get("x-should-retry")).toBe("false");
    }
  });
});

describe("models", () => {
  it("are listed in the form that the client reads", async () => {
    const ids: string[] = [];
    for await (const { id } of anthropic.models.list()) ids.push(id);
    expect(ids).toEqual(["demo", "scripted"]);
    expect(await anthropic.models.retrieve("demo")).toMatchObject({ type: "model", display_name: "demo" });
  });
});

/** The error that the client throws; anything else fails the test. */
async function failureOf(work: Promise<unknown>): Promise<InstanceType<typeof Anthropic.APIError>> {
  const thrown: unknown = await work.then(
    () => "no error",
    (error: unknown) => error,
  );
  if (thrown instanceof Anthropic.APIError) return thrown;
  throw new Error(`expected an APIError, got ${String(thrown)}`);
}

/**
 * The adapter between Anthropic's Messages and chat: any JSON as a request is a plan or a MeshError, and nothing that names
 * the caller is in it; a chat stream gives the same blocks wherever its bytes are cut; any other bytes end in `error`.
 * fast-check prints seed and path of a failure; SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../src/base/bytes.ts";
import type { Json } from "../../src/base/json.ts";
import { checkChat } from "../../src/openai/chat.ts";
import { messagesAnswer } from "../../src/openai/messages/answer.ts";
import { messagesErrorAnswer } from "../../src/openai/messages/errors.ts";
import { planMessages } from "../../src/openai/messages/request.ts";
import { openAiErrorAnswer } from "../../src/openai/foreign.ts";
import { fc } from "../support/fast-check.ts";
import { run } from "../unit/openai/messages/message-stream.ts";
import { plan } from "../unit/openai/messages/plan.ts";
import { chunk, done, usageChunk } from "../unit/openai/responses/chat-stream.ts";
import { callPiece, caseMs, cutAt, cuts, known, line, meshErrorOr, text } from "../support/adapter-fuzz.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);

const requestFields = (
  "system messages tools tool_choice type role content text source media_type data url id name input tool_use_id " +
  "is_error thinking stop_sequences stream max_tokens metadata output_config format schema effort display title " +
  "context input_schema disable_parallel_tool_use cache_control __proto__"
).split(" ");
const requestWords = (
  "user assistant system text image document search_result tool_use tool_result thinking redacted_thinking base64 " +
  "auto any tool none enabled disabled json_schema custom web_search_20250305 x-anthropic-billing-header:"
)
  .split(" ")
  .concat("");
const chatFields = (
  "choices index delta message content refusal reasoning tool_calls function id name arguments " +
  "finish_reason stop_reason usage error prompt_tokens __proto__"
).split(" ");
const chatWords = ["", "stop", "length", "error", "f", "call_1", "text", "{}", "😀"];
const mark = "cormorant-7731";

describe("requests", () => {
  it("are a plan that chat takes, or a MeshError", () => {
    const turns = fc.array(known(requestFields, requestWords), { maxLength: 4 });
    const block = known(requestFields, requestWords);
    let planned = 0;
    fc.assert(
      fc.property(block, turns, block, (fields, messages, content) => {
        const first = { role: "user", content: ["hi", content, [content]][messages.length % 3] };
        const json = {
          max_tokens: 5,
          messages: messages.length > 2 ? messages : [first, ...messages],
          ...(typeof fields === "object" ? fields : {}),
          metadata: { user_id: mark },
          model: "m",
        } as Json;
        const made = meshErrorOr(() => planMessages(json));
        if (!made) return;
        planned += 1;
        expect(checkChat(made.chat)).toMatchObject({ model: "m", stream: made.stream });
        expect(JSON.stringify(made)).not.toContain(mark);
      }),
      { numRuns },
    );
    // otherwise only refusals were looked at
    if (numRuns >= 300) expect(planned).toBeGreaterThan(numRuns / 20);
  });
});

describe("answers", () => {
  it("are a message, or a MeshError", () => {
    fc.assert(
      fc.property(known(chatFields, chatWords), fc.constantFrom("stop", "length", "error", null), (message, finish) => {
        const chat = { choices: [{ index: 0, message, finish_reason: finish }] };
        const made = meshErrorOr(() => messagesAnswer(plan(), chat, "m"));
        if (!made) return;
        expect(made).toMatchObject({ type: "message", role: "assistant", stop_reason: expect.any(String) });
        for (const { type, input } of made["content"] as Json[]) {
          if (type === "tool_use") expect(input).toEqual(expect.any(Object));
        }
      }),
      { numRuns },
    );
  });

  it("that are errors are Anthropic's, whatever a host wrote", () => {
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 599 }), fc.oneof(fc.string(), fc.json()), (status, text) => {
        const { body } = openAiErrorAnswer(status, utf8(text));
        const told = JSON.parse(new TextDecoder().decode(messagesErrorAnswer(status, {}, body, "r"))) as Json;
        expect(told).toMatchObject({ type: "error", error: { type: expect.any(String), message: expect.any(String) } });
      }),
      { numRuns },
    );
  });
});

const delta: fc.Arbitrary<Json> = fc.oneof(
  fc.record({ content: text }),
  fc.record({ reasoning_content: text }),
  fc.record({ tool_calls: fc.array(callPiece, { minLength: 1, maxLength: 3 }) }),
);

/** Without what is random. */
function comparable(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll(/(?:msg|toolu)_[0-9a-f]{48}/g, "id"));
}

describe("streams", () => {
  it("give the same events wherever the bytes are cut, and hold all that was said", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(delta, { maxLength: 12 }),
        fc.constantFrom("stop", "length", "tool_calls", null),
        line,
        cuts,
        async (deltas, finish, end, places) => {
          const whole = [": hello\n\n", ...deltas.map((one) => chunk(one)), chunk({}, finish), usageChunk, done]
            .join("")
            .replaceAll("\n", end);
          const bytes = utf8(whole);
          const one = await run([bytes]);
          const many = await run(cutAt(bytes, places));
          expect(comparable(many.events)).toEqual(comparable(one.events));
          expect(many.failure?.code).toBe(one.failure?.code);
          if (finish === null) expect(many.failure?.code).toBe("E_TRUNCATED");
          // what a model wrote into its calls may be no JSON object
          else expect(["E_ENGINE", undefined]).toContain(many.failure?.code);
          if (many.failure) return;
          const said = (field: string): string =>
            deltas.map((each) => (field in each ? String(each[field]) : "")).join("");
          const told = (field: string): string =>
            many.content.map((block) => (field in block ? String(block[field]) : "")).join("");
          expect(told("text")).toBe(said("content"));
          expect(told("thinking")).toBe(said("reasoning_content"));
        },
      ),
      { numRuns },
    );
  });

  it("that are no chat at all end in error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), cuts, async (bytes, places) => {
        const { types, failure } = await run(cutAt(bytes, places));
        expect(types).toEqual(["message_start", "error"]);
        expect(failure).toBeDefined();
      }),
      { numRuns },
    );
  });

  it("of chunks of any shape end in one way or the other", async () => {
    const event = known(chatFields, chatWords).map((value) => `data: ${JSON.stringify(value)}\n\n`);
    const choice = known(chatFields, chatWords).map((value) => chunk(value as Json));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(event, choice), { maxLength: 5 }), async (events) => {
        const started = performance.now();
        const { types, failure } = await run([...events, chunk({}, "stop")]);
        expect(types.at(-1)).toBe(failure ? "error" : "message_stop");
        expect(performance.now() - started).toBeLessThan(caseMs);
      }),
      { numRuns },
    );
  });

  it("cut short anywhere are never complete", async () => {
    const bytes = utf8([chunk({ content: "é😀" }), chunk({ refusal: "no" }), chunk({}, "stop").trimEnd()].join(""));
    for (let length = 0; length < bytes.length; length += 1) {
      const { types, failure } = await run([bytes.subarray(0, length)]);
      expect([types.at(-1), types.includes("message_stop"), failure === undefined]).toEqual(["error", false, false]);
    }
    expect((await run([bytes])).types.at(-1)).toBe("message_stop");
  });
});

/**
 * The adapter between Responses and chat: any JSON as a request is a plan or a MeshError; a chat stream gives the same
 * events wherever its bytes are cut; any other bytes end in `response.failed` and `error`. fast-check prints seed and path
 * of a failure; SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../src/base/bytes.ts";
import { checkChat } from "../../src/openai/chat.ts";
import { responsesAnswer } from "../../src/openai/responses/answer.ts";
import { planResponses } from "../../src/openai/responses/request.ts";
import { fc } from "../support/fast-check.ts";
import { chunk, done, type Json, run, usageChunk } from "../unit/openai/responses/chat-stream.ts";
import { newStore, plan } from "../unit/openai/responses/plan.ts";
import { callPiece, caseMs, cutAt, cuts, known, line, meshErrorOr, text } from "../support/adapter-fuzz.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);

const requestFields = (
  "input instructions tools tool_choice text format reasoning include store stream type role content text " +
  "image_url file_id file_data call_id name arguments output schema mode id previous_response_id " +
  "max_output_tokens metadata input_audio __proto__"
).split(" ");
const requestWords = (
  "message user assistant system function function_call function_call_output reasoning input_text " +
  "output_text refusal input_image input_file input_audio item_reference auto allowed_tools json_schema " +
  "message.output_text.logprobs resp_1 msg_1"
)
  .split(" ")
  .concat("");
const chatFields = (
  "choices index delta message content refusal reasoning tool_calls function id name arguments " +
  "finish_reason usage logprobs top_logprobs token error prompt_tokens __proto__"
).split(" ");
const chatWords = ["", "stop", "length", "error", "f", "call_1", "text", "😀"];

describe("requests", () => {
  it("are a plan that chat takes, or a MeshError", () => {
    const store = newStore();
    store.put("resp_1", undefined, [{ type: "message", id: "msg_1", role: "assistant", content: "a" }]);
    const request = fc.tuple(known(requestFields, requestWords), known(requestFields, requestWords));
    let planned = 0;
    fc.assert(
      fc.property(request, ([fields, input]) => {
        const json = { input: input ?? "hi", ...(typeof fields === "object" ? fields : {}), model: "m" } as Json;
        const made = meshErrorOr(() => planResponses(json, store));
        if (!made) return;
        planned += 1;
        expect(checkChat(made.chat)).toMatchObject({ model: "m", stream: made.stream });
        JSON.stringify(made);
      }),
      { numRuns },
    );
    // otherwise only refusals were looked at
    if (numRuns >= 300) expect(planned).toBeGreaterThan(numRuns / 20);
  });
});

describe("answers", () => {
  it("are a response, or a MeshError", () => {
    fc.assert(
      fc.property(known(chatFields, chatWords), (message) => {
        const chat = { choices: [{ index: 0, message, finish_reason: "stop" }] };
        const response = meshErrorOr(() => responsesAnswer(plan(), chat, "m", undefined));
        if (response) expect(response).toMatchObject({ object: "response", status: "completed" });
      }),
      { numRuns },
    );
  });
});

const delta: fc.Arbitrary<Json> = fc.oneof(
  fc.record({ content: text }),
  fc.record({ reasoning_content: text }),
  fc.record({ refusal: text }),
  fc.record({ tool_calls: fc.array(callPiece, { minLength: 1, maxLength: 3 }) }),
);

/** Events without what is random. */
function comparable(events: readonly Json[]): unknown {
  const names = new Map<string, string>();
  const json = JSON.stringify(events).replaceAll(/(?:resp|msg|fc|call|rs)_[0-9a-f]{48}/g, (id) => {
    if (!names.has(id)) names.set(id, `id ${names.size}`);
    return names.get(id) ?? "";
  });
  return JSON.parse(json.replaceAll(/"(created_at|completed_at)":\d+/g, '"$1":0'));
}

describe("streams", () => {
  it("give the same events wherever the bytes are cut", async () => {
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
          expect(many.failure?.code).toBe(finish === null ? "E_TRUNCATED" : undefined);
          check(deltas, many);
        },
      ),
      { numRuns },
    );
  });

  /** What was streamed in deltas, what the last response holds and what the engine said are the same text. */
  function check(deltas: readonly Json[], { events, response, failure }: Awaited<ReturnType<typeof run>>): void {
    const said = (field: string): string => deltas.map((one) => (field in one ? String(one[field]) : "")).join("");
    const streamed = (type: string): string =>
      events
        .filter((event) => event["type"] === type)
        .map((event) => String(event["delta"]))
        .join("");
    expect(streamed("response.output_text.delta")).toBe(said("content"));
    expect(streamed("response.refusal.delta")).toBe(said("refusal"));
    expect(streamed("response.reasoning_summary_text.delta")).toBe(said("reasoning_content"));
    if (failure) return;
    const output = response["output"] as readonly Json[];
    const done = events.filter(({ type }) => type === "response.output_item.done");
    const inPlace = done.toSorted((a, b) => Number(a["output_index"]) - Number(b["output_index"]));
    expect(inPlace.map(({ item }) => item)).toEqual(output);
    for (const [index, item] of output.entries()) {
      if (item["type"] !== "function_call") continue;
      const pieces = events.filter(
        (event) => event["type"] === "response.function_call_arguments.delta" && event["output_index"] === index,
      );
      expect(pieces.map((event) => String(event["delta"])).join("")).toBe(item["arguments"]);
    }
  }

  const failed = ["response.failed", "error"];

  it("that are no chat at all end in failed and error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), cuts, async (bytes, places) => {
        const { types, failure } = await run(cutAt(bytes, places));
        expect(types.slice(-2)).toEqual(failed);
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
        if (failure) expect(types.slice(-2)).toEqual(failed);
        else expect(["response.completed", "response.incomplete"]).toContain(types.at(-1));
        expect(performance.now() - started).toBeLessThan(caseMs);
      }),
      { numRuns },
    );
  });

  it("cut short anywhere are never complete", async () => {
    const bytes = utf8([chunk({ content: "é😀" }), chunk({ refusal: "no" }), chunk({}, "stop").trimEnd()].join(""));
    for (let length = 0; length < bytes.length; length += 1) {
      const { types, failure } = await run([bytes.subarray(0, length)]);
      expect([types.slice(-2), failure === undefined]).toEqual([failed, false]);
    }
    expect((await run([bytes])).failure).toBeUndefined();
  });
});

/** Chat streams as engines send them, and response events as they come out. */
import { utf8 } from "../../../../src/base/bytes.ts";
import { type MeshError, toMeshError } from "../../../../src/base/errors.ts";
import type { ResponsesPlan } from "../../../../src/openai/responses/request.ts";
import type { ResponseStore } from "../../../../src/openai/responses/store.ts";
import { responsesStream } from "../../../../src/openai/responses/stream.ts";
import { sseReader, sseText } from "../../../../src/openai/sse.ts";
import { plan } from "./plan.ts";

export type Json = Readonly<Record<string, unknown>>;

export const chunk = (delta: Json, finish: string | null = null, more: Json = {}): string =>
  sseText({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    model: "engine's",
    choices: [{ index: 0, delta, finish_reason: finish, ...more }],
  });

export const chatUsage = {
  prompt_tokens: 11,
  completion_tokens: 7,
  total_tokens: 18,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
} as const;

export const usageChunk: string = sseText({ object: "chat.completion.chunk", choices: [], usage: chatUsage });
export const done = "data: [DONE]\n\n";

/** A role, the given deltas, the reason to end, usage, `[DONE]`: each an event and a piece of its own. */
export function chat(deltas: readonly Json[], finish = "stop"): readonly string[] {
  return [
    chunk({ role: "assistant", content: null }),
    ...deltas.map((delta) => chunk(delta)),
    chunk({}, finish),
    usageChunk,
    done,
  ];
}

export const call = (index: number, name: string, id = `call_${name}`): Json => ({
  tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }],
});
export const piece = (index: number, text: string): Json => ({
  tool_calls: [{ index, function: { arguments: text } }],
});

/** The pieces, then the error if there is one. */
export async function* source(
  pieces: readonly (string | Uint8Array)[],
  failure?: Error,
): AsyncGenerator<Uint8Array, undefined> {
  for (const one of pieces) yield typeof one === "string" ? utf8(one) : one;
  if (failure) throw failure;
}

export interface Outcome {
  /** Each with its `type` equal to the name of its event. */
  readonly events: readonly Json[];
  /** `type` of each. */
  readonly types: readonly unknown[];
  /** Events in each piece of output. */
  readonly perPiece: readonly number[];
  readonly failure: MeshError | undefined;
  /** The response in the last event that has one. */
  readonly response: Json;
}

export interface RunOptions {
  readonly plan?: ResponsesPlan;
  readonly failure?: Error;
  readonly store?: ResponseStore;
}

/** Reads a whole stream; checks what holds for every one: names, numbers without gaps, nothing after the end. */
export async function run(pieces: readonly (string | Uint8Array)[], options: RunOptions = {}): Promise<Outcome> {
  const from = source(pieces, options.failure);
  const bytes = responsesStream(options.plan ?? plan({ stream: true }), from, "m", "req_1", options.store);
  const reader = sseReader();
  const events: Json[] = [];
  const perPiece: number[] = [];
  let failure: MeshError | undefined;
  try {
    for await (const piece of bytes) {
      const read = reader.read(piece);
      perPiece.push(read.length);
      for (const { event, data } of read) {
        const json = JSON.parse(data) as Json;
        if (json["type"] !== event) throw new Error(`${String(json["type"])} is in an event named ${event}`);
        if (json["sequence_number"] !== events.length) throw new Error(`a gap before ${data}`);
        events.push(json);
      }
    }
  } catch (thrown) {
    failure = toMeshError(thrown);
  }
  if (reader.end().length > 0) throw new Error("the last event is not complete");
  const again = await bytes.next();
  if (!again.done) throw new Error("something follows the end");
  const types = events.map(({ type }) => type);
  const response = events.findLast((event) => "response" in event)?.["response"] as Json;
  return { events, types, perPiece, failure, response };
}

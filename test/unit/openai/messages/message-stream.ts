/** Message events as they come out of chat streams. What every stream must hold is checked here. */
import { isRecord, type Json } from "../../../../src/base/json.ts";
import { type MeshError, toMeshError } from "../../../../src/base/errors.ts";
import type { MessagesPlan } from "../../../../src/openai/messages/request.ts";
import { messagesStream } from "../../../../src/openai/messages/stream.ts";
import { sseReader } from "../../../../src/openai/sse.ts";
import { source } from "../responses/chat-stream.ts";
import { plan } from "./plan.ts";

export interface Outcome {
  readonly events: readonly Json[];
  /** `type` of each but for pings. */
  readonly types: readonly unknown[];
  readonly pings: number;
  /** Put together from the events alone, as a client does it; without the input of tools, which is text. */
  readonly content: readonly Json[];
  readonly end: Json | undefined;
  readonly failure: MeshError | undefined;
}

export interface RunOptions {
  readonly plan?: MessagesPlan;
  readonly failure?: Error;
}

/** Reads a whole stream, and fails on what no client expects: names, places, deltas outside blocks, words after the end. */
export async function run(pieces: readonly (string | Uint8Array)[], options: RunOptions = {}): Promise<Outcome> {
  const asked = options.plan ?? plan({ stream: true, thinking: { type: "adaptive" } });
  const bytes = messagesStream(asked, source(pieces, options.failure), "m", "req_1");
  const reader = sseReader();
  const events: Json[] = [];
  let failure: MeshError | undefined;
  try {
    for await (const piece of bytes) {
      for (const { event, data } of reader.read(piece)) {
        const json = JSON.parse(data) as Json;
        if (json["type"] !== event) throw new Error(`${String(json["type"])} is in an event named ${event}`);
        events.push(json);
      }
    }
  } catch (thrown) {
    failure = toMeshError(thrown);
  }
  if (reader.end().length > 0) throw new Error("the last event is not complete");
  const again = await bytes.next();
  if (!again.done) throw new Error("something follows the end");
  const told = events.filter(({ type }) => type !== "ping");
  const types = told.map(({ type }) => type);
  return { events, types, pings: events.length - told.length, ...assembled(told), failure };
}

function assembled(events: readonly Json[]): Pick<Outcome, "content" | "end"> {
  const content: Record<string, unknown>[] = [];
  let open: Record<string, unknown> | undefined;
  let end: Json | undefined;
  for (const event of events) {
    const { type, index, content_block: block, delta } = event;
    if (end && type !== "message_stop" && type !== "error") throw new Error(`${String(type)} after the end`);
    switch (type) {
      case "content_block_start":
        if (open || index !== content.length || !isRecord(block)) throw new Error(`block ${String(index)} begins`);
        content.push((open = { ...block, ...(block["type"] === "tool_use" ? { input: "" } : {}) }));
        break;
      case "content_block_delta": {
        if (!open || index !== content.length - 1 || !isRecord(delta)) throw new Error(`a delta of ${String(index)}`);
        const field = { text: "text", thinking: "thinking", tool_use: "input" }[String(open["type"])] ?? "";
        const piece = delta["text"] ?? delta["thinking"] ?? delta["partial_json"];
        open[field] = String(open[field]) + String(piece);
        break;
      }
      case "content_block_stop":
        if (!open || index !== content.length - 1) throw new Error(`block ${String(index)} ends`);
        open = undefined;
        break;
      case "message_delta":
        if (open) throw new Error("a block is open at the end");
        end = event;
        break;
      default:
    }
  }
  return { content, end };
}

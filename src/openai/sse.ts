/**
 * Server-sent events as the OpenAI surface uses them: `data: {...}\n\n`, `data: [DONE]\n\n`. Writing is one function;
 * reading takes bytes cut anywhere, also inside a character, and is bounded.
 */
import { StringDecoder } from "node:string_decoder";
import { createParser } from "eventsource-parser";
import { utf8, view } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { openAiErrorFields } from "./errors.ts";

export interface SseEvent {
  /** From an `event:` line; undefined for plain messages. */
  readonly event: string | undefined;
  readonly data: string;
}

/** The bytes that end a complete stream. */
export const sseDone: Uint8Array = utf8("data: [DONE]\n\n");

/** Text of one event with a JSON value. JSON has no raw line break, so one `data:` line is enough. */
export function sseText(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export function sseEvent(value: unknown): Uint8Array {
  return utf8(sseText(value));
}

/** The one event that tells the reader of a running stream that it failed; nothing may follow it, no `[DONE]` either. */
export function sseError(error: MeshError, requestId: string): Uint8Array {
  return sseEvent({ error: openAiErrorFields(error, requestId) });
}

// characters of one event; a whole embedded image or a long tool argument fits, an endless line does not
const eventLimit = 16 * 1024 * 1024;

export interface SseReader {
  /** Events that these bytes complete, in order; bytes are borrowed. @throws E_ENGINE an event beyond 16 Mi characters */
  read(bytes: Uint8Array): SseEvent[];
  /** Events still open at the end of the stream: a last one whose blank line is missing. */
  end(): SseEvent[];
}

/** A reader of one stream of events. Comments and unknown fields are skipped. */
export function sseReader(): SseReader {
  let events: SseEvent[] = [];
  let overlong = false;
  const decoder = new StringDecoder("utf8"); // a TextDecoder costs more than a short stream
  let begun = false;
  /** Without the mark that some programs begin UTF-8 with. */
  const decoded = (text: string): string => {
    if (begun || text === "") return text;
    begun = true;
    return text.startsWith("\uFEFF") ? text.slice(1) : text;
  };
  const parser = createParser({
    maxBufferSize: eventLimit,
    onEvent: ({ event, data }) => events.push({ event, data }),
    onError: (error) => {
      if (error.type === "max-buffer-size-exceeded") overlong = true;
    },
  });
  const feed = (text: string): SseEvent[] => {
    events = [];
    if (text !== "" && !overlong) parser.feed(text);
    if (overlong) throw new MeshError("E_ENGINE", `the engine sent an event of more than ${eventLimit} characters`);
    return events;
  };
  return {
    read: (bytes) => feed(decoded(decoder.write(view(bytes)))),
    end: () => feed(`${decoded(decoder.end())}\n\n`),
  };
}

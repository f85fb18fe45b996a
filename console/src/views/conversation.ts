/**
 * One question and its answer as it comes: asks the node on this origin, and reads the stream. Everything said stays in the memory of this page. Knows no view.
 */
import { createParser } from "eventsource-parser";
import { askNode, messageOf } from "../api.ts";
import type { Message } from "./history.ts";

/** What the answer's headers say of who gave it. */
export interface Told {
  readonly requestId: string;
  /** Endpoint id; "" where nobody answered. */
  readonly host: string;
  readonly sealed: string;
  readonly route: string;
  readonly tier: string | null;
  readonly evidence: string | null;
}

export type Step =
  | { readonly kind: "told"; readonly told: Told }
  | { readonly kind: "text"; readonly text: string }
  /** Came whole, was stopped by the person, or failed with a sentence. */
  | { readonly kind: "ended"; readonly how: "whole" | "stopped" | "failed"; readonly why: string };

export interface Question {
  readonly model: string;
  readonly messages: readonly Message[];
  /** For models that are to answer word for word. */
  readonly temperature?: number;
  readonly signal: AbortSignal;
}

/** Tells what comes, step by step; the last one is `ended`. Never throws. */
export async function* conversation({ model, messages, temperature, signal }: Question): AsyncGenerator<Step> {
  try {
    const body = { model, messages, stream: true, ...(temperature === undefined ? {} : { temperature }) };
    const answer = await askNode("/v1/chat/completions", { method: "POST", body, signal });
    yield { kind: "told", told: toldBy(answer.headers) };
    let whole = false;
    for await (const data of eventsOf(answer)) {
      if (data === "[DONE]") {
        whole = true;
        continue;
      }
      const { text, error } = pieceOf(data);
      if (error !== undefined) {
        yield { kind: "ended", how: "failed", why: error };
        return;
      }
      if (text !== "") yield { kind: "text", text };
    }
    if (whole) yield { kind: "ended", how: "whole", why: "" };
    else yield { kind: "ended", how: "failed", why: "The answer broke off before its end." };
  } catch (thrown) {
    if (signal.aborted) yield { kind: "ended", how: "stopped", why: "" };
    else yield { kind: "ended", how: "failed", why: messageOf(thrown) };
  }
}

async function* eventsOf(answer: Response): AsyncGenerator<string> {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  const events: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => void events.push(data) });
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.feed(value);
    yield* events.splice(0);
  }
}

/** A piece that cannot be understood says nothing. */
export function pieceOf(data: string): { readonly text: string; readonly error?: string } {
  try {
    const event = JSON.parse(data) as {
      error?: { message?: string };
      choices?: readonly { delta?: { content?: string | null } }[];
    };
    if (event.error) return { text: "", error: event.error.message ?? "The answer broke off." };
    return { text: event.choices?.[0]?.delta?.content ?? "" };
  } catch {
    return { text: "" };
  }
}

function toldBy(headers: Headers): Told {
  return {
    requestId: headers.get("x-request-id") ?? "",
    host: headers.get("x-sealmesh-host") ?? "",
    sealed: headers.get("x-sealmesh-sealed") ?? "",
    route: headers.get("x-sealmesh-route") ?? "",
    tier: headers.get("x-sealmesh-attested"),
    evidence: headers.get("x-sealmesh-evidence"),
  };
}

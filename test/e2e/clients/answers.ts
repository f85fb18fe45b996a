/** What a client must show of the scripted engine's answers (test/support/engine-answers.mjs), written out from its rules. */
import { expect } from "vitest";
import type { Client, Piece, Step } from "../../support/clients.ts";

/** Of the prompt, in every exchange; the engine is told to claim so. */
export const cachedTokens = 2;

/** What the engine says in one step, before a client has it. */
export interface Said {
  /** Of all messages that the step answers. */
  readonly promptWords: number;
  readonly stream: boolean;
  readonly text?: string;
  readonly reasoning?: string;
  readonly refusal?: string;
  readonly calls?: Step["calls"];
  /** JSON that the client reads for the caller; takes the place of the text. */
  readonly json?: unknown;
  readonly finish?: Step["finish"];
}

/** The step that `client` makes of it. */
export function shown(client: Client, said: Said): Step {
  const { promptWords, stream, reasoning = "", refusal = "", calls = [], json, finish } = said;
  const text = json === undefined ? (said.text ?? "") : JSON.stringify(json);
  const pieces = {
    reasoning: words(reasoning),
    text: json === undefined ? words(text) : jsonPieces(json),
    refusal: words(refusal),
    calls: calls.map(({ input }) => jsonPieces(input)),
  };
  const output = pieces.reasoning.length + pieces.text.length + pieces.refusal.length + pieces.calls.flat().length;
  const { shows } = client;
  const asText = shows.refusal === "as text" && refusal !== "";
  return {
    text: asText ? refusal : text,
    reasoning,
    refusal: shows.refusal === "pieces" || shows.refusal === "whole" ? refusal : "",
    calls,
    ...(json === undefined ? {} : { parsed: json }),
    finish: asText ? "content-filter" : (finish ?? (calls.length > 0 ? "tool-calls" : "stop")),
    usage: {
      input: promptWords,
      cached: Math.min(cachedTokens, promptWords),
      output,
      reasoning: pieces.reasoning.length,
      total: promptWords + output,
    },
    pieces: stream ? shownPieces(client, pieces, json !== undefined) : [],
    ...(stream && shows.events ? { events: eventTypes(pieces, finish === "length") } : {}),
  };
}

/** In the order in which they come. */
function shownPieces(
  { shows }: Client,
  { reasoning, text, refusal, calls }: AllPieces,
  json: boolean,
): readonly Piece[] {
  // some clients gather JSON until there is more of it to show
  if (json && !shows.jsonPieces) return expect.any(Array) as Piece[];
  const refused = shows.refusal === "pieces" ? "refusal" : shows.refusal === "as text" ? "text" : undefined;
  return [
    ...ofKind("reasoning", reasoning),
    ...ofKind("text", text),
    ...(refused ? ofKind(refused, refusal) : []),
    ...ofKind("arguments", calls.flat()),
  ];
}

interface AllPieces {
  readonly reasoning: readonly string[];
  readonly text: readonly string[];
  readonly refusal: readonly string[];
  readonly calls: readonly (readonly string[])[];
}

/** The order of OpenAI's types (engines.md §4.4), one delta for every piece. */
function eventTypes({ reasoning, text, refusal, calls }: AllPieces, cut: boolean): readonly string[] {
  const item = (steps: readonly string[]): string[] => ["output_item.added", ...steps, "output_item.done"];
  const told = (kind: string, pieces: readonly string[]): string[] => [
    ...pieces.map(() => `${kind}.delta`),
    `${kind}.done`,
  ];
  const part = (kind: string, steps: readonly string[]): string[] => [`${kind}.added`, ...steps, `${kind}.done`];
  return [
    "created",
    "in_progress",
    ...(reasoning.length > 0 ? item(part("reasoning_summary_part", told("reasoning_summary_text", reasoning))) : []),
    ...(text.length > 0 ? item(part("content_part", told("output_text", text))) : []),
    ...(refusal.length > 0 ? item(part("content_part", told("refusal", refusal))) : []),
    ...calls.flatMap((pieces) => item(told("function_call_arguments", pieces))),
    cut ? "incomplete" : "completed",
  ].map((type) => `response.${type}`);
}

function ofKind(kind: Piece[0], texts: readonly string[]): Piece[] {
  return texts.map((text) => [kind, text] as const);
}

/** Tokens of the scripted engine: a word with the space before it, or seven characters of JSON. */
function words(text: string): readonly string[] {
  return text.match(/\s*\S+/g) ?? [];
}

function jsonPieces(value: unknown): readonly string[] {
  return JSON.stringify(value).match(/.{1,7}/gs) ?? [];
}

export function wordsIn(...texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + words(text).length, 0);
}

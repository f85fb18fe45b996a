/**
 * A prompt that does not fit: every engine says it in its own words, callers get OpenAI's sentence and code. An overflow
 * counts as not processed; a host with a larger window may be tried.
 */
import { MeshError } from "../base/errors.ts";
import type { UpstreamError } from "./errors.ts";

// engines.md §5.3 rule 5
const overflowWords =
  /exceed_context_size_error|exceeds the available context size|maximum context length|longer than the (?:model's )?context length|larger than the max context size|tokens to keep from the initial prompt|input length exceeds|too large to process|context_length_exceeded/i;

export interface OverflowFacts {
  /** Tokens the model takes, prompt and answer together; undefined when not known. */
  readonly limitTokens: number | undefined;
  /** Tokens of the prompt; undefined when not known. */
  readonly promptTokens: number | undefined;
  /** Field that holds the prompt. @default "messages" */
  readonly param?: string;
}

/** The E_OVERFLOW with OpenAI's sentence, which clients recognise by its words (engines.md §4.3). */
export function overflowError(facts: OverflowFacts): MeshError {
  const { limitTokens, promptTokens, param = "messages" } = facts;
  const limit =
    limitTokens === undefined
      ? "This model's maximum context length is exceeded."
      : `This model's maximum context length is ${limitTokens} tokens.`;
  const used = promptTokens === undefined ? "" : ` However, your messages resulted in ${promptTokens} tokens.`;
  return new MeshError("E_OVERFLOW", `${limit}${used} Please reduce the length of the messages.`, { param });
}

/** True when an engine's error means that the prompt, or prompt and answer together, do not fit. */
export function isOverflow(upstream: UpstreamError): boolean {
  return (
    upstream.status >= 400 &&
    [upstream.message, upstream.type, upstream.code].some((text) => text !== undefined && overflowWords.test(text))
  );
}

/** Numbers that the error names, in tokens. */
export function overflowFacts(upstream: UpstreamError): { limitTokens?: number; promptTokens?: number } {
  const limit =
    upstream.contextTokens ??
    number(/context (?:length|size)(?: is)?(?: of)?(?: only)? \(?(\d{1,9})/i, upstream.message) ??
    number(/n_ctx[ =:]+(\d{1,9})/i, upstream.message);
  const prompt =
    upstream.promptTokens ??
    number(/\((\d{1,9}) in the messages/i, upstream.message) ??
    number(/messages resulted in (\d{1,9}) tokens/i, upstream.message) ??
    number(/(?:request|input|prompt) \((\d{1,9}) tokens\)/i, upstream.message) ??
    number(/(?:request has|prompt contains(?: at least)?) (\d{1,9}) (?:input )?tokens/i, upstream.message);
  return {
    ...(limit === undefined ? {} : { limitTokens: limit }),
    ...(prompt === undefined ? {} : { promptTokens: prompt }),
  };
}

/**
 * Room for the answer when only `max_tokens` was too large (vLLM refuses such a request): the same host can answer with
 * this many. Undefined when the prompt alone does not fit, or the numbers are not there.
 */
export function answerRoom(upstream: UpstreamError): number | undefined {
  const { limitTokens, promptTokens } = overflowFacts(upstream);
  if (limitTokens === undefined || promptTokens === undefined || promptTokens >= limitTokens) return undefined;
  return limitTokens - promptTokens;
}

function number(pattern: RegExp, text: string): number | undefined {
  const digits = pattern.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

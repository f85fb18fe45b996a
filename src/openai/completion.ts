/**
 * The text completion request and answer (`/v1/completions`), for an engine that takes one text and goes on with it.
 * Says which field it cannot serve, as for chat; the builders write the answer objects.
 */
import { type Json } from "../base/json.ts";
import {
  type AnswerHead,
  type Feature,
  type FinishReason,
  isEmptyRecord,
  refuseFeatures,
  type TextOptions,
  textOptions,
  unsupported,
  type Usage,
  usageObject,
  wantsStream,
  wantsUsage,
} from "./chat.ts";
import { bad } from "./fields.ts";

/** OpenAI's own default, and a short one: callers that want more say so. */
const defaultMaxTokens = 16;

/** A request to go on with a text. */
export interface TextCompletion extends TextOptions {
  readonly model: string;
  readonly stream: boolean;
  /** The caller wants the chunk with the usage. */
  readonly includeUsage: boolean;
  /**
   * Not empty. Names of control tokens in it ("<|im_end|>") become these tokens, as with llama-server: the caller writes
   * the model's own format here, and speaks for nobody else.
   */
  readonly prompt: string;
}

const features: readonly Feature[] = [
  { field: "suffix", idle: (value) => value === "" },
  { field: "echo", idle: (value) => value === false },
  { field: "best_of", idle: (value) => value === 1 },
  { field: "n", idle: (value) => value === 1 },
  { field: "logprobs", idle: () => false },
  { field: "logit_bias", idle: isEmptyRecord },
  { field: "response_format", idle: () => false },
];

/**
 * @throws E_INPUT a field has the wrong type or range · E_UNSUPPORTED a field asks for what such an engine cannot do;
 *         both name the field in `param`
 */
export function readTextCompletion(json: Json): TextCompletion {
  const model = json["model"];
  if (typeof model !== "string" || model === "") throw bad("model", "must be the name of a model");
  refuseFeatures(json, features);
  const options = textOptions(json);
  return {
    ...options,
    maxTokens: options.maxTokens ?? defaultMaxTokens,
    model,
    stream: wantsStream(json),
    includeUsage: wantsUsage(json),
    prompt: promptOf(json["prompt"]),
  };
}

function promptOf(value: unknown): string {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const [prompt] = list;
  if (typeof prompt === "number" || Array.isArray(prompt)) {
    throw unsupported("prompt", "This model takes a prompt as text, not as numbers of tokens.");
  }
  if (list.length > 1) throw unsupported("prompt", "This model takes one prompt at a time.");
  if (typeof prompt !== "string" || prompt === "") throw bad("prompt", "must be a string that is not empty");
  return prompt;
}

/** The answer as one `text_completion` object. */
export function textCompletion(head: AnswerHead, text: string, finish: FinishReason, usage: Usage): Json {
  return { ...completionObject(head, [choice(text, finish)]), usage: usageObject(usage) };
}

/** Makers of the objects of one streamed answer: all are of the same kind as a whole one. */
export interface CompletionChunks {
  content(text: string): Json;
  finish(reason: FinishReason): Json;
  /** To be sent only when the caller asked for it. */
  usage(usage: Usage): Json;
}

/** @param includeUsage whether a usage chunk will follow; the others then carry `usage: null`, as at OpenAI */
export function completionChunks(head: AnswerHead, includeUsage: boolean): CompletionChunks {
  const chunk = (text: string, finish: FinishReason | null): Json => ({
    ...completionObject(head, [choice(text, finish)]),
    ...(includeUsage ? { usage: null } : {}),
  });
  return {
    content: (text) => chunk(text, null),
    finish: (reason) => chunk("", reason),
    usage: (usage) => ({ ...completionObject(head, []), usage: usageObject(usage) }),
  };
}

function completionObject({ id, created, model }: AnswerHead, choices: readonly Json[]): Json {
  return { id, object: "text_completion", created, model, choices };
}

function choice(text: string, finish: FinishReason | null): Json {
  return { index: 0, text, logprobs: null, finish_reason: finish };
}

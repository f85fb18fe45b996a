/**
 * The chat completion request and answer. {@link checkChat} looks at what every engine needs; {@link readTextChat} reads
 * a request for an engine that takes text and nothing else, and says which field it cannot serve; the builders write the
 * answer objects, whole or in chunks, in the order that clients were seen to need (engines.md §4.2).
 */
import { toHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { isRecord, type Json } from "../base/json.ts";
import { randomOctets } from "../crypto/box.ts";
import { bad, optionalBoolean } from "./fields.ts";

/** Bounds of a request, beyond that of its bytes. */
const limits = {
  /** Turns of one conversation; a template walks all of them. */
  messages: 10_000,
  /** Parts of one message. */
  parts: 10_000,
  /** OpenAI's own limit. */
  stops: 4,
  /** Characters of one stop string: that many may be held back from the stream. */
  stopCharacters: 1_000,
  /** More tokens than any context window has. */
  tokens: 1_000_000_000,
} as const;

/** What every engine, also one behind a URL, may rely on. */
export interface ChatEnvelope {
  readonly model: string;
  readonly stream: boolean;
  /** The caller wants the chunk with the usage. */
  readonly includeUsage: boolean;
}

/**
 * Checks the parts of a chat request that this node itself acts on, and that engines answer badly when wrong (a 500, or
 * the wrong model). Everything else passes unseen: engines know fields that we do not.
 *
 * @throws E_INPUT with `param`
 */
export function checkChat(json: Json): ChatEnvelope {
  const model = json["model"];
  if (typeof model !== "string" || model === "") throw bad("model", "must be the name of a model");
  messagesOf(json).forEach((message, index) => {
    if (!isRecord(message)) throw bad(`messages[${index}]`, "must be an object");
    if (typeof message["role"] !== "string") throw bad(`messages[${index}].role`, "must be a string");
  });
  return { model, stream: wantsStream(json), includeUsage: wantsUsage(json) };
}

/** Whether the answer is to come in events. @throws E_INPUT for other types than boolean */
export function wantsStream(json: Json): boolean {
  return optionalBoolean(json, "stream") ?? false;
}

/** Whether `stream_options.include_usage` is set. @throws E_INPUT for other types */
export function wantsUsage(json: Json): boolean {
  const options = json["stream_options"];
  if (options === undefined || options === null) return false;
  if (!isRecord(options)) throw bad("stream_options", "must be an object");
  return optionalBoolean(options, "include_usage", "stream_options.include_usage") ?? false;
}

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** How the next token is drawn. Undefined where the caller left it to the engine. */
export interface Sampling {
  /** 0 to 2. */
  readonly temperature: number;
  /** 0 to 1. */
  readonly topP: number;
  readonly topK: number | undefined;
  /** 0 to 1. */
  readonly minP: number | undefined;
  /** Unsigned, 32 bits. */
  readonly seed: number | undefined;
  /** -2 to 2. */
  readonly frequencyPenalty: number;
  /** -2 to 2. */
  readonly presencePenalty: number;
}

/** How a text is made, whatever it answers. */
export interface TextOptions {
  /** Upper bound of the answer in tokens; undefined: what the context leaves. */
  readonly maxTokens: number | undefined;
  /** At most four, none empty. */
  readonly stop: readonly string[];
  readonly sampling: Sampling;
}

/** JSON that an answer must be: any object, or what fits a schema. */
export type AnswerFormat =
  | { readonly kind: "object" }
  | {
      readonly kind: "schema";
      readonly schema: Json;
      /** What cannot be held is refused, not left to the model. */
      readonly strict: boolean;
    };

/** A chat request that plain text can answer. */
export interface TextChat extends ChatEnvelope, TextOptions {
  /** At least one. `developer` has become `system`. */
  readonly messages: readonly ChatMessage[];
  /** Undefined: any text. */
  readonly format: AnswerFormat | undefined;
}

/**
 * Reads a request for an engine that takes text and gives text.
 *
 * @throws E_INPUT a field has the wrong type or range · E_UNSUPPORTED a field asks for what such an engine cannot do;
 *         both name the field in `param`
 */
export function readTextChat(json: Json): TextChat {
  const envelope = checkChat(json);
  refuseFeatures(json, features);
  return {
    ...envelope,
    ...textOptions(json),
    messages: messagesOf(json).map(textMessage),
    format: answerFormat(json["response_format"]),
  };
}

/** @throws E_INPUT a field has the wrong type or range; `param` names it */
export function textOptions(json: Json): TextOptions {
  return {
    // the newer name wins, as at OpenAI
    maxTokens:
      integer(json, "max_completion_tokens", 1, limits.tokens) ?? integer(json, "max_tokens", 1, limits.tokens),
    stop: stopStrings(json["stop"]),
    sampling: {
      temperature: range(json, "temperature", 0, 2) ?? 1,
      topP: range(json, "top_p", 0, 1) ?? 1,
      topK: integer(json, "top_k", 0, limits.tokens),
      minP: range(json, "min_p", 0, 1),
      seed: seedOf(json),
      frequencyPenalty: range(json, "frequency_penalty", -2, 2) ?? 0,
      presencePenalty: range(json, "presence_penalty", -2, 2) ?? 0,
    },
  };
}

function answerFormat(value: unknown): AnswerFormat | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) throw bad("response_format", "must be an object");
  switch (value["type"]) {
    case "text":
      return undefined;
    case "json_object":
      return { kind: "object" };
    case "json_schema": {
      const named = value["json_schema"];
      if (!isRecord(named)) throw bad("response_format.json_schema", "must be an object");
      const schema = named["schema"];
      if (!isRecord(schema)) throw bad("response_format.json_schema.schema", "must be an object");
      return {
        kind: "schema",
        schema,
        strict: optionalBoolean(named, "strict", "response_format.json_schema.strict") ?? false,
      };
    }
    default:
      throw unsupported("response_format", "This model supports 'text', 'json_object' and 'json_schema' only.");
  }
}

/** A field that asks for more than text, with the values that ask for nothing. */
export interface Feature {
  readonly field: string;
  readonly idle: (value: unknown) => boolean;
}

const features: readonly Feature[] = [
  { field: "tools", idle: isEmptyList },
  { field: "functions", idle: isEmptyList },
  { field: "tool_choice", idle: (value) => value === "none" || value === "auto" },
  { field: "function_call", idle: (value) => value === "none" || value === "auto" },
  { field: "logprobs", idle: (value) => value === false },
  { field: "top_logprobs", idle: (value) => value === 0 },
  { field: "logit_bias", idle: isEmptyRecord },
  { field: "modalities", idle: (value) => Array.isArray(value) && value.every((item) => item === "text") },
  { field: "audio", idle: () => false },
  { field: "prediction", idle: () => false },
  { field: "web_search_options", idle: () => false },
  { field: "n", idle: (value) => value === 1 },
];

/** @throws E_UNSUPPORTED the first field that is not idle · E_INPUT a count that is none */
export function refuseFeatures(json: Json, refused: readonly Feature[]): void {
  for (const { field, idle } of refused) {
    const value = json[field];
    if (value === undefined || value === null || idle(value)) continue;
    const counts = field === "n" || field === "best_of";
    if (counts) integer(json, field, 1, limits.tokens);
    throw unsupported(field, `This model does not support '${field}'${counts ? " beyond 1" : ""}.`);
  }
}

function messagesOf(json: Json): readonly unknown[] {
  const messages = json["messages"];
  if (!Array.isArray(messages)) throw bad("messages", "must be a list of messages");
  if (messages.length === 0) throw bad("messages", "must have at least one message");
  if (messages.length > limits.messages) throw bad("messages", `must have at most ${limits.messages} messages`);
  return messages;
}

function textMessage(value: unknown, index: number): ChatMessage {
  const path = `messages[${index}]`;
  const message = isRecord(value) ? value : {};
  const role = message["role"];
  for (const field of ["tool_calls", "function_call", "audio"]) {
    const call = message[field];
    if (call !== undefined && call !== null && !isEmptyList(call)) {
      throw unsupported(`${path}.${field}`, `This model does not support '${field}' in a message.`);
    }
  }
  switch (role) {
    case "system":
    case "developer":
      return { role: "system", content: textContent(message["content"], path) };
    case "user":
    case "assistant":
      return { role, content: textContent(message["content"], path) };
    case "tool":
    case "function":
      throw unsupported(`${path}.role`, `This model does not support messages with the role '${role}'.`);
    default:
      throw bad(`${path}.role`, "must be one of system, developer, user, assistant, tool");
  }
}

function textContent(content: unknown, path: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw bad(`${path}.content`, "must be a string or a list of parts");
  if (content.length > limits.parts) throw bad(`${path}.content`, `must have at most ${limits.parts} parts`);
  return content
    .map((part: unknown, index) => {
      const where = `${path}.content[${index}]`;
      if (!isRecord(part) || typeof part["type"] !== "string") throw bad(where, "must be an object with a type");
      const type = part["type"];
      const text = type === "text" ? part["text"] : type === "refusal" ? part["refusal"] : undefined;
      if (type !== "text" && type !== "refusal") {
        throw unsupported(`${where}.type`, `This model takes text only, not '${type.slice(0, 40)}'.`);
      }
      if (typeof text !== "string") throw bad(`${where}.${type}`, "must be a string");
      return text;
    })
    .join("\n");
}

function stopStrings(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length > limits.stops) throw bad("stop", `must have at most ${limits.stops} strings`);
  return list.map((stop) => {
    if (typeof stop !== "string" || stop === "") throw bad("stop", "must be a string or a list of strings, none empty");
    if (stop.length > limits.stopCharacters) {
      throw bad("stop", `must have at most ${limits.stopCharacters} characters a string`);
    }
    return stop;
  });
}

function seedOf(json: Json): number | undefined {
  const seed = integer(json, "seed", -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  // engines take 32 bits; equal seeds stay equal
  return seed === undefined ? undefined : Number(BigInt.asUintN(32, BigInt(seed)));
}

function range(json: Json, field: string, least: number, most: number): number | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw bad(field, `must be a number from ${least} to ${most}`);
  }
  return value;
}

function integer(json: Json, field: string, least: number, most: number): number | undefined {
  const value = range(json, field, least, most);
  if (value !== undefined && !Number.isInteger(value)) throw bad(field, "must be a whole number");
  return value;
}

export function unsupported(param: string, message: string): MeshError {
  return new MeshError("E_UNSUPPORTED", message, { param });
}

/** True of `{}` alone. */
export function isEmptyRecord(value: unknown): boolean {
  return isRecord(value) && Object.keys(value).length === 0;
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Tokens that one answer took. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Tokens of the prompt that an earlier request of the same asker had left behind. */
  readonly cachedTokens: number;
}

export type FinishReason = "stop" | "length";

/** What all objects of one answer have in common. */
export interface AnswerHead {
  /** From {@link completionId}. */
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
}

/** A name for one answer, unlikely to be given twice anywhere: engines behind URLs repeat theirs. */
export function completionId(prefix: "chatcmpl" | "cmpl" = "chatcmpl"): string {
  return `${prefix}-${toHex(randomOctets(14))}`;
}

/** The answer as one `chat.completion` object. */
export function chatCompletion(head: AnswerHead, content: string, finish: FinishReason, usage: Usage): Json {
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: [
      { index: 0, message: { role: "assistant", content, refusal: null }, logprobs: null, finish_reason: finish },
    ],
    usage: usageObject(usage),
  };
}

/** Makers of the `chat.completion.chunk` objects of one answer, in the order in which they are sent. */
export interface ChatChunks {
  role(): Json;
  content(text: string): Json;
  finish(reason: FinishReason): Json;
  /** To be sent only when the caller asked for it. */
  usage(usage: Usage): Json;
}

/** @param includeUsage whether a usage chunk will follow; the others then carry `usage: null`, as at OpenAI */
export function chatChunks(head: AnswerHead, includeUsage: boolean): ChatChunks {
  const chunk = (choices: readonly Json[], usage: Json | null): Json => ({
    id: head.id,
    object: "chat.completion.chunk",
    created: head.created,
    model: head.model,
    choices,
    ...(includeUsage ? { usage } : {}),
  });
  const delta = (value: Json, finish: FinishReason | null): Json =>
    chunk([{ index: 0, delta: value, logprobs: null, finish_reason: finish }], null);
  return {
    role: () => delta({ role: "assistant", content: "" }, null),
    content: (text) => delta({ content: text }, null),
    finish: (reason) => delta({}, reason),
    usage: (usage) => chunk([], usageObject(usage)),
  };
}

/** Usage as clients read it. */
export function usageObject(usage: Usage): Json {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}

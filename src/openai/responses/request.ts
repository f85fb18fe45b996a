/**
 * A Responses request as a chat request. Pure: time and ids come in with the answer. What chat cannot say is refused by
 * name, what asks for nothing passes, what is unknown goes on to the engine.
 *
 * | accepted | why nothing of it is sent |
 * |---|---|
 * | `truncation: "disabled"`, `background: false` | what happens anyway; other values are refused |
 * | `max_tool_calls` | bounds OpenAI's own tools, and there are none |
 * | `reasoning.summary` | what the engine thinks aloud is always given as a summary |
 * | `include` | its values ask for more of OpenAI's own tools; only logprobs can be had |
 * | `stream_options` | asks for padding of events, or for none |
 * | `store`, `previous_response_id` | are this node's own affair: a host sees one flat conversation |
 */
import { MeshError } from "../../base/errors.ts";
import { isRecord, type Json } from "../../base/json.ts";
import {
  bad,
  type Feature,
  given,
  isEmptyList,
  optionalBoolean,
  optionalCount,
  optionalList,
  optionalNumber,
  optionalRecord,
  optionalString,
  quoted,
  refuseFeatures,
  requiredString,
  unsupported,
  without,
} from "../fields.ts";
import { chatMessages, itemType, type PlacedItem, readItems } from "./input.ts";
import { itemsUpTo, type ResponseStore, type StoredTurn } from "./store.ts";
import { readTools } from "./tools.ts";

/** What was understood of one request. */
export interface ResponsesPlan {
  /** The chat request that stands for it; model as asked, stream as asked, then with its usage. */
  readonly chat: Json;
  readonly model: string;
  readonly stream: boolean;
  /** Fields of the request that every response object repeats. */
  readonly echo: Json;
  /** The answer may be gone on from. */
  readonly keep: boolean;
  /** The turn that this one goes on from. */
  readonly before: StoredTurn | undefined;
  /** Items of this request alone; references are resolved or gone. */
  readonly items: readonly Json[];
}

/**
 * @param store undefined: nothing is kept for this asker
 * @throws E_INPUT wrong type or value, also an unknown `previous_response_id` · E_UNSUPPORTED cannot be translated; `param`
 *         is the path, such as `input[2].content[0].type`
 */
export function planResponses(json: Json, store: ResponseStore | undefined): ResponsesPlan {
  const model = optionalString(json, "model");
  if (model === undefined || model === "") throw bad("model", "must be the name of a model");
  checkFeatures(json);
  const stream = optionalBoolean(json, "stream") ?? false;
  const keep = optionalBoolean(json, "store") ?? true;
  const instructions = optionalString(json, "instructions");
  const before = earlierTurn(json, store);
  const items = conversation(json, before, store);
  const settings = readSettings(json);
  const tools = readTools(json);
  return {
    chat: {
      ...without(json, consumed),
      model,
      messages: chatMessages(instructions, [...items.earlier, ...items.own]),
      // usage is part of every response
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
      ...settings.chat,
      ...tools.chat,
    },
    model,
    stream,
    echo: {
      instructions: instructions ?? null,
      previous_response_id: json["previous_response_id"] ?? null,
      store: keep && store !== undefined,
      ...settings.echo,
      ...tools.echo,
    },
    keep,
    before,
    items: items.own.map(({ item }) => item),
  };
}

function earlierTurn(json: Json, store: ResponseStore | undefined): StoredTurn | undefined {
  const param = "previous_response_id";
  const id = optionalString(json, param);
  if (id === undefined) return undefined;
  const turn = store?.get(id);
  if (turn) return turn;
  const message =
    `The response ${quoted(id)} of '${param}' is not here. Send the whole conversation as 'input' instead: ` +
    "answers are kept in the memory of the node that was asked, for a time.";
  throw new MeshError("E_INPUT", message, { param });
}

interface Conversation {
  readonly earlier: readonly PlacedItem[];
  readonly own: readonly PlacedItem[];
}

/** A reference to an item that is held becomes that item, unless the earlier turns have it; one to anything else goes. */
function conversation(json: Json, before: StoredTurn | undefined, store: ResponseStore | undefined): Conversation {
  const input = json["input"];
  if ((input === undefined || input === null) && !before) throw bad("input", "must be a string or a list of items");
  const earlier = itemsUpTo(before).map((item) => ({ item, path: "previous_response_id" }));
  const present = new Set(earlier.map(({ item }) => item["id"]));
  const own = readItems(input).flatMap((placed) => {
    if (itemType(placed) !== "item_reference") return [placed];
    const id = requiredString(placed.item, "id", `${placed.path}.id`);
    const item = present.has(id) ? undefined : store?.item(id);
    return item ? [{ item, path: placed.path }] : [];
  });
  return { earlier, own };
}

/** Fields that are translated, or that mean nothing to an engine. */
const consumed: ReadonlySet<string> = new Set([
  "input",
  "instructions",
  "previous_response_id",
  "store",
  "include",
  "truncation",
  "background",
  "conversation",
  "prompt",
  "context_management",
  "moderation",
  "max_tool_calls",
  "stream",
  "stream_options",
  "text",
  "reasoning",
  "max_output_tokens",
  "top_logprobs",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
]);

/** Only OpenAI's own service has these. */
const features: readonly Feature[] = [
  {
    field: "background",
    idle: (value) => value === false,
    why: "is not possible: this node answers while it is asked",
  },
  { field: "conversation", idle: () => false, why: "is not possible: use previous_response_id, or send all items" },
  { field: "prompt", idle: () => false, why: "names a template, and this node has none: send its text" },
  {
    field: "context_management",
    idle: isEmptyList,
    why: "is not possible: this node does not shorten conversations",
  },
  { field: "moderation", idle: () => false, why: "is not possible: this node moderates nothing" },
  {
    field: "truncation",
    idle: (value) => value === "disabled",
    why: "must be 'disabled': this node does not shorten prompts",
  },
];

/** @throws E_INPUT, E_UNSUPPORTED */
function checkFeatures(json: Json): void {
  optionalBoolean(json, "background");
  optionalString(json, "truncation");
  optionalRecord(json, "stream_options");
  optionalCount(json, "max_tool_calls", 0);
  refuseFeatures(json, features);
}

interface Settings {
  readonly chat: Json;
  readonly echo: Json;
}

function readSettings(json: Json): Settings {
  const text = readText(json);
  const reasoning = optionalRecord(json, "reasoning") ?? {};
  const effort = optionalString(reasoning, "effort", "reasoning.effort");
  const summary = optionalString(reasoning, "summary", "reasoning.summary");
  const maxTokens = optionalCount(json, "max_output_tokens", 1);
  const topLogprobs = optionalCount(json, "top_logprobs", 0) ?? 0;
  const logprobs = wantsLogprobs(json) || topLogprobs > 0;
  return {
    chat: {
      ...text.chat,
      ...given("reasoning_effort", effort),
      ...given("max_tokens", maxTokens),
      ...(logprobs ? { logprobs } : {}),
      ...(topLogprobs > 0 ? { top_logprobs: topLogprobs } : {}),
    },
    echo: {
      background: false,
      max_output_tokens: maxTokens ?? null,
      max_tool_calls: json["max_tool_calls"] ?? null,
      metadata: readMetadata(json),
      reasoning: { effort: effort ?? null, summary: summary ?? null },
      temperature: optionalNumber(json, "temperature") ?? null,
      text: text.echo,
      top_logprobs: topLogprobs,
      top_p: optionalNumber(json, "top_p") ?? null,
      truncation: "disabled",
      ...given("user", optionalString(json, "user")),
      ...given("service_tier", optionalString(json, "service_tier")),
      ...given("safety_identifier", optionalString(json, "safety_identifier")),
      ...given("prompt_cache_key", optionalString(json, "prompt_cache_key")),
    },
  };
}

/** `text`: the form of the answer, and how long it should be. */
function readText(json: Json): Settings {
  const text = optionalRecord(json, "text") ?? {};
  const verbosity = optionalString(text, "verbosity", "text.verbosity");
  const format = optionalRecord(text, "format", "text.format") ?? { type: "text" };
  return {
    chat: { ...given("response_format", responseFormat(format)), ...given("verbosity", verbosity) },
    echo: { format, ...given("verbosity", verbosity) },
  };
}

function responseFormat(format: Json): Json | undefined {
  const path = "text.format";
  const type = requiredString(format, "type", `${path}.type`);
  switch (type) {
    case "text":
      return undefined;
    case "json_object":
      return { type };
    case "json_schema": {
      const schema = format["schema"];
      if (!isRecord(schema)) throw bad(`${path}.schema`, "must be an object");
      const fields = {
        name: requiredString(format, "name", `${path}.name`),
        ...given("description", optionalString(format, "description", `${path}.description`)),
        schema,
        ...given("strict", optionalBoolean(format, "strict", `${path}.strict`)),
      };
      return { type, json_schema: fields };
    }
    default:
      throw unsupported(`${path}.type`, `must be one of text, json_object, json_schema, not ${quoted(type)}`);
  }
}

/** Values of `include` that add detail to what never is in an answer of ours. */
const idleIncludes: ReadonlySet<unknown> = new Set([
  "file_search_call.results",
  "web_search_call.results",
  "web_search_call.action.sources",
  "message.input_image.image_url",
  "computer_call_output.output.image_url",
  "code_interpreter_call.outputs",
  "reasoning.encrypted_content",
]);

function wantsLogprobs(json: Json): boolean {
  const include = optionalList(json, "include") ?? [];
  include.forEach((value, index) => {
    if (typeof value !== "string") throw bad(`include[${index}]`, "must be a string");
    if (value === "message.output_text.logprobs" || idleIncludes.has(value)) return;
    throw unsupported(`include[${index}]`, `is ${quoted(value)}, which this node cannot give`);
  });
  return include.includes("message.output_text.logprobs");
}

function readMetadata(json: Json): Json {
  const metadata = optionalRecord(json, "metadata") ?? {};
  for (const value of Object.values(metadata)) {
    if (typeof value !== "string") throw bad("metadata", "must have strings as values");
  }
  return metadata;
}

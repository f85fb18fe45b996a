/**
 * A Messages request, as Anthropic's API has it, as a chat request. Pure: ids come in with the answer. What chat cannot say
 * is refused by name, what is unknown goes on to the engine.
 *
 * | accepted | why nothing of it is sent |
 * |---|---|
 * | `metadata`, `user_profile_id`, `workspace_id` | who asks is no host's affair |
 * | `cache_control`, `diagnostics`, `betas` | engines keep prompts by themselves |
 * | `thinking` | whether a model thinks is the engine's own setting; here it says whether the caller sees it |
 * | `context_management` | shortens long conversations; here one that does not fit is refused |
 * | `service_tier`, `speed`, `fallbacks`, `billing_policy` | ask for nothing that must be |
 */
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
import { chatMessages } from "./input.ts";
import { chatTools } from "./tools.ts";

/** What was understood of one request. */
export interface MessagesPlan {
  /** The chat request that stands for it; model as asked, stream as asked, then with its usage. */
  readonly chat: Json;
  readonly stream: boolean;
  /** Whether the caller is to see what the model thinks aloud. */
  readonly thinking: boolean;
  readonly stopSequences: readonly string[];
}

/**
 * @throws E_INPUT wrong type or value · E_UNSUPPORTED cannot be translated; `param` is the path, such as
 *         `messages[2].content[0].type`
 */
export function planMessages(json: Json): MessagesPlan {
  const model = optionalString(json, "model");
  if (model === undefined || model === "") throw bad("model", "must be the name of a model");
  refuseFeatures(json, features);
  const maxTokens = optionalCount(json, "max_tokens", 1);
  if (maxTokens === undefined) throw bad("max_tokens", "must be a whole number from 1");
  const stream = optionalBoolean(json, "stream") ?? false;
  for (const field of ["temperature", "top_p", "top_k"]) optionalNumber(json, field);
  const stopSequences = readStops(json);
  const messages = chatMessages(json["system"], json["messages"]);
  return {
    chat: {
      ...without(json, consumed),
      model,
      messages,
      max_tokens: maxTokens,
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
      ...(stopSequences.length > 0 ? { stop: stopSequences } : {}),
      ...outputSettings(json),
      ...chatTools(json),
    },
    stream,
    thinking: seesThinking(json),
    stopSequences,
  };
}

/** Fields that are translated, or that mean nothing to an engine. */
const consumed: ReadonlySet<string> = new Set([
  "system",
  "messages",
  "max_tokens",
  "stop_sequences",
  "stream",
  "stream_options",
  "tools",
  "tool_choice",
  "output_config",
  "output_format",
  "thinking",
  "metadata",
  "user_profile_id",
  "workspace_id",
  "cache_control",
  "diagnostics",
  "betas",
  "context_management",
  "service_tier",
  "speed",
  "fallbacks",
  "fallback_credit_token",
  "billing_policy",
  "container",
  "mcp_servers",
  "inference_geo",
  "compaction",
  "thread",
]);

/** Only Anthropic's own service has these. An empty list of them asks for nothing. */
const features: readonly Feature[] = [
  { field: "container", why: "is not possible: this node runs no code", idle: isEmptyList },
  {
    field: "mcp_servers",
    why: "is not possible: this node calls no tools; let the client call them",
    idle: isEmptyList,
  },
  { field: "inference_geo", why: "cannot be promised: nobody here knows where a host stands", idle: isEmptyList },
  { field: "compaction", why: "is not possible: this node does not shorten conversations", idle: isEmptyList },
  { field: "thread", why: "is not possible: send the whole conversation", idle: isEmptyList },
];

function readStops(json: Json): readonly string[] {
  const list = optionalList(json, "stop_sequences") ?? [];
  return list.map((stop, index) => {
    if (typeof stop !== "string" || stop === "") throw bad(`stop_sequences[${index}]`, "must be a string, not empty");
    return stop;
  });
}

/** Who did not ask for the model's thoughts takes the first block for the answer. */
function seesThinking(json: Json): boolean {
  const thinking = optionalRecord(json, "thinking");
  if (!thinking) return false;
  const type = requiredString(thinking, "type", "thinking.type");
  return type !== "disabled" && thinking["display"] !== "omitted";
}

/** The form of the answer, and how much thought goes into it. */
function outputSettings(json: Json): Json {
  const config = optionalRecord(json, "output_config") ?? {};
  const effort = optionalString(config, "effort", "output_config.effort");
  const path = isRecord(config["format"]) ? "output_config.format" : "output_format";
  const format = optionalRecord(config, "format", "output_config.format") ?? optionalRecord(json, "output_format");
  return {
    ...(format ? { response_format: responseFormat(format, path) } : {}),
    ...given("reasoning_effort", effort === "xhigh" || effort === "max" ? "high" : effort),
  };
}

function responseFormat(format: Json, path: string): Json {
  const type = requiredString(format, "type", `${path}.type`);
  if (type !== "json_schema") throw unsupported(`${path}.type`, `must be 'json_schema', not ${quoted(type)}`);
  const schema = format["schema"];
  if (!isRecord(schema)) throw bad(`${path}.schema`, "must be an object");
  return { type, json_schema: { name: "answer", schema, strict: true } };
}

/** The tools of a Messages request, and which of them may or must be used, in the words of chat. */
import { isRecord, type Json } from "../../base/json.ts";
import {
  bad,
  given,
  optionalBoolean,
  optionalList,
  optionalRecord,
  optionalString,
  quoted,
  requiredString,
  unsupported,
} from "../fields.ts";

/** Tools of one request. */
const toolLimit = 10_000;

/**
 * Fields of the chat request: `tools`, `tool_choice`, `parallel_tool_calls`, those that apply. The last two are dropped
 * when there are no tools: engines refuse them alone.
 *
 * @throws E_INPUT · E_UNSUPPORTED a tool that runs at Anthropic, or whose description is in their models
 */
export function chatTools(json: Json): Json {
  const list = optionalList(json, "tools") ?? [];
  if (list.length > toolLimit) throw bad("tools", `must have at most ${toolLimit} tools`);
  const tools = list.map(readTool);
  const choice = readChoice(json, new Set(tools.map(({ name }) => name)));
  return tools.length === 0 ? {} : { tools: tools.map(({ chat }) => chat), ...choice };
}

interface Tool {
  readonly name: string;
  readonly chat: Json;
}

function readTool(tool: unknown, index: number): Tool {
  const path = `tools[${index}]`;
  if (!isRecord(tool)) throw bad(path, "must be an object");
  const type = optionalString(tool, "type", `${path}.type`) ?? "custom";
  if (type !== "custom") {
    const why = "a tool that runs at Anthropic or is known to their models alone: describe one with an input_schema";
    throw unsupported(`${path}.type`, `is ${quoted(type)}, ${why}`);
  }
  const name = requiredString(tool, "name", `${path}.name`);
  const parameters = optionalRecord(tool, "input_schema", `${path}.input_schema`);
  if (!parameters) throw bad(`${path}.input_schema`, "must be an object");
  const description = optionalString(tool, "description", `${path}.description`);
  const strict = optionalBoolean(tool, "strict", `${path}.strict`);
  const fields = { name, ...given("description", description), parameters, ...given("strict", strict) };
  return { name, chat: { type: "function", function: fields } };
}

function readChoice(json: Json, known: ReadonlySet<string>): Json {
  const path = "tool_choice";
  const choice = optionalRecord(json, path);
  if (!choice) return {};
  const single = optionalBoolean(choice, "disable_parallel_tool_use", `${path}.disable_parallel_tool_use`) ?? false;
  const parallel = single ? { parallel_tool_calls: false } : {};
  const type = requiredString(choice, "type", `${path}.type`);
  switch (type) {
    case "auto":
    case "none":
      return { tool_choice: type, ...parallel };
    case "any":
      if (known.size === 0) throw bad(path, "requires a tool, and 'tools' has none");
      return { tool_choice: "required", ...parallel };
    case "tool": {
      const name = requiredString(choice, "name", `${path}.name`);
      if (!known.has(name)) throw bad(`${path}.name`, "must be the name of one of 'tools'");
      return { tool_choice: { type: "function", function: { name } }, ...parallel };
    }
    default:
      throw bad(`${path}.type`, "must be one of auto, any, tool, none");
  }
}

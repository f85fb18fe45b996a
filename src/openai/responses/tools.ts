/** The tools of a Responses request, and which of them may or must be used, in the words of chat. */
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

/** Functions of one request. */
const toolLimit = 10_000;

export interface ToolPlan {
  /** Fields of the chat request: `tools`, `tool_choice`, `parallel_tool_calls`, those that apply. */
  readonly chat: Json;
  /** The same three as a response object repeats them. */
  readonly echo: Json;
}

/**
 * Reads `tools`, `tool_choice` and `parallel_tool_calls`. The last two are dropped when there are no tools: engines refuse
 * them alone, and clients send them by habit. `allowed_tools` leaves the other tools out.
 *
 * @throws E_INPUT · E_UNSUPPORTED a tool or choice other than a function
 */
export function readTools(json: Json): ToolPlan {
  const list = optionalList(json, "tools") ?? [];
  if (list.length > toolLimit) throw bad("tools", `must have at most ${toolLimit} tools`);
  const tools = list.map(readTool);
  const parallel = optionalBoolean(json, "parallel_tool_calls");
  const choice = readChoice(json["tool_choice"], new Set(tools.map(({ name }) => name)));
  return {
    chat:
      tools.length === 0
        ? {}
        : {
            tools: tools.filter(({ name }) => choice.allowed?.has(name) ?? true).map(({ chat }) => chat),
            ...given("tool_choice", choice.chat),
            ...given("parallel_tool_calls", parallel),
          },
    echo: {
      tools: tools.map(({ echo }) => echo),
      tool_choice: json["tool_choice"] ?? "auto",
      parallel_tool_calls: parallel ?? true,
    },
  };
}

interface Tool {
  readonly name: string;
  readonly chat: Json;
  readonly echo: Json;
}

function readTool(tool: unknown, index: number): Tool {
  const path = `tools[${index}]`;
  if (!isRecord(tool)) throw bad(path, "must be an object");
  const type = requiredString(tool, "type", `${path}.type`);
  if (type !== "function") {
    throw unsupported(`${path}.type`, `must be 'function': this node runs no tool of its own, such as ${quoted(type)}`);
  }
  const name = requiredString(tool, "name", `${path}.name`);
  const description = optionalString(tool, "description", `${path}.description`);
  const parameters = optionalRecord(tool, "parameters", `${path}.parameters`);
  const strict = optionalBoolean(tool, "strict", `${path}.strict`);
  const fields = { name, ...given("description", description), ...given("parameters", parameters) };
  return {
    name,
    chat: { type, function: { ...fields, ...given("strict", strict) } },
    echo: { type, ...fields, parameters: parameters ?? null, strict: strict ?? null },
  };
}

interface Choice {
  readonly chat: unknown;
  /** Names of the tools that may be used; undefined: all. */
  readonly allowed: ReadonlySet<string> | undefined;
}

function readChoice(value: unknown, known: ReadonlySet<string>): Choice {
  const path = "tool_choice";
  if (value === undefined || value === null) return { chat: undefined, allowed: undefined };
  if (typeof value === "string") {
    if (value !== "none" && value !== "auto" && value !== "required") {
      throw bad(path, "must be one of none, auto, required, or an object");
    }
    if (value === "required" && known.size === 0) throw bad(path, "requires a tool, and 'tools' has none");
    return { chat: value, allowed: undefined };
  }
  if (!isRecord(value)) throw bad(path, "must be a string or an object");
  const type = requiredString(value, "type", `${path}.type`);
  switch (type) {
    case "function": {
      const name = knownTool(value, path, known);
      return { chat: { type, function: { name } }, allowed: undefined };
    }
    case "allowed_tools": {
      const mode = requiredString(value, "mode", `${path}.mode`);
      if (mode !== "auto" && mode !== "required") throw bad(`${path}.mode`, "must be one of auto, required");
      const list = optionalList(value, "tools", `${path}.tools`) ?? [];
      if (list.length === 0) throw bad(`${path}.tools`, "must name at least one tool");
      const names = list.map((entry, index) => {
        const where = `${path}.tools[${index}]`;
        if (!isRecord(entry)) throw bad(where, "must be an object");
        if (entry["type"] !== "function") throw unsupported(`${where}.type`, "must be 'function'");
        return knownTool(entry, where, known);
      });
      return { chat: mode, allowed: new Set(names) };
    }
    default:
      throw unsupported(`${path}.type`, `must be 'function' or 'allowed_tools', not ${quoted(type)}`);
  }
}

function knownTool(entry: Json, path: string, known: ReadonlySet<string>): string {
  const name = requiredString(entry, "name", `${path}.name`);
  if (!known.has(name)) throw bad(`${path}.name`, "must be the name of one of 'tools'");
  return name;
}

/**
 * The items of a Responses conversation as chat messages. What one turn of the assistant said and called, several items
 * here, is one message there: chat wants the results of all calls right after it.
 */
import { isRecord, type Json } from "../../base/json.ts";
import { bad, given, optionalString, quoted, requiredString, unsupported } from "../fields.ts";

/** Bounds beyond that of the request's bytes: items of a conversation, parts of one item. */
const limits = { items: 10_000, parts: 10_000 } as const;

/** One item and the path that names it in an error. */
export interface PlacedItem {
  readonly item: Json;
  readonly path: string;
}

/** `input` as a list of items; a string is one message of the user. @throws E_INPUT */
export function readItems(input: unknown): readonly PlacedItem[] {
  if (input === undefined || input === null) return [];
  if (typeof input === "string") return [{ item: { type: "message", role: "user", content: input }, path: "input" }];
  if (!Array.isArray(input)) throw bad("input", "must be a string or a list of items");
  if (input.length > limits.items) throw bad("input", `must have at most ${limits.items} items`);
  return input.map((item: unknown, index) => {
    const path = `input[${index}]`;
    if (!isRecord(item)) throw bad(path, "must be an object");
    return { item, path };
  });
}

/** The kind of an item; messages may leave it out. @throws E_INPUT */
export function itemType({ item, path }: PlacedItem): string {
  return optionalString(item, "type", `${path}.type`) ?? "message";
}

/**
 * @param instructions become the first message, of the system
 * @returns at least one chat message. `developer` has become `system`, and system messages at the beginning are one:
 *          templates of many models know no other place and number
 * @throws  E_INPUT · E_UNSUPPORTED, with the path
 */
export function chatMessages(instructions: string | undefined, items: readonly PlacedItem[]): readonly Json[] {
  if (items.length > limits.items) throw bad("input", `must have at most ${limits.items} items with the earlier ones`);
  const messages = new Messages();
  if (instructions !== undefined && instructions !== "") messages.system(instructions);
  for (const placed of items) addItem(messages, placed);
  const list = messages.end();
  if (list.length === 0) throw bad("input", "must have at least one message");
  return list;
}

function addItem(messages: Messages, placed: PlacedItem): void {
  const { item, path } = placed;
  const type = itemType(placed);
  switch (type) {
    case "message":
      return addMessage(messages, placed);
    case "function_call":
      return messages.call({
        id: requiredString(item, "call_id", `${path}.call_id`),
        type: "function",
        function: {
          name: requiredString(item, "name", `${path}.name`),
          // engines parse them, and models call functions without parameters like this
          arguments: requiredString(item, "arguments", `${path}.arguments`) || "{}",
        },
      });
    case "function_call_output":
      return messages.add({
        role: "tool",
        tool_call_id: requiredString(item, "call_id", `${path}.call_id`),
        content: mixedContent(item["output"], `${path}.output`),
      });
    case "reasoning": // no engine takes it back
    case "item_reference": // to what is not kept here: @ai-sdk/openai sends these for reasoning
      return;
    default:
      throw unsupported(`${path}.type`, `is ${quoted(type)}, an item that this node cannot translate`);
  }
}

function addMessage(messages: Messages, { item, path }: PlacedItem): void {
  const role = requiredString(item, "role", `${path}.role`);
  const content = item["content"];
  const where = `${path}.content`;
  switch (role) {
    case "system":
    case "developer":
      return messages.system(plainContent(content, where, "\n"));
    case "assistant":
      return messages.text(plainContent(content, where, ""));
    case "user":
      return messages.add({ role, content: mixedContent(content, where) });
    default:
      throw bad(`${path}.role`, "must be one of user, assistant, system, developer");
  }
}

/** Chat messages as they come together. */
class Messages {
  readonly #list: Json[] = [];
  /** The assistant's message that is not complete yet. */
  #texts: string[] = [];
  #calls: Json[] = [];

  add(message: Json): void {
    this.#closeAssistant();
    this.#list.push(message);
  }

  system(content: string): void {
    this.#closeAssistant();
    const first = this.#list[0];
    if (this.#list.length === 1 && first?.["role"] === "system") {
      this.#list[0] = { role: "system", content: `${String(first["content"])}\n\n${content}` };
    } else this.#list.push({ role: "system", content });
  }

  text(content: string): void {
    this.#texts.push(content);
  }

  call(call: Json): void {
    this.#calls.push(call);
  }

  end(): readonly Json[] {
    this.#closeAssistant();
    return this.#list;
  }

  #closeAssistant(): void {
    if (this.#texts.length === 0 && this.#calls.length === 0) return;
    const content = this.#texts.filter((text) => text !== "").join("\n");
    this.#list.push({
      role: "assistant",
      content: content === "" && this.#calls.length > 0 ? null : content,
      ...(this.#calls.length > 0 ? { tool_calls: this.#calls } : {}),
    });
    this.#texts = [];
    this.#calls = [];
  }
}

interface Part {
  readonly part: Json;
  readonly type: string;
  readonly path: string;
}

function parts(content: readonly unknown[], path: string): readonly Part[] {
  if (content.length > limits.parts) throw bad(path, `must have at most ${limits.parts} parts`);
  return content.map((part, index) => {
    const where = `${path}[${index}]`;
    if (!isRecord(part)) throw bad(where, "must be an object");
    return { part, type: requiredString(part, "type", `${where}.type`), path: where };
  });
}

/** Text alone. What the assistant refused with is what it said. */
function plainContent(content: unknown, path: string, separator: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw bad(path, "must be a string or a list of parts");
  return parts(content, path)
    .map((part) => {
      const text = textOf(part);
      if (text === undefined) throw unsupported(`${part.path}.type`, "must be text in a message of this role");
      return text;
    })
    .join(separator);
}

/** A string where there is one text and nothing else, which every engine takes; else a list of chat parts. */
function mixedContent(content: unknown, path: string): string | readonly Json[] {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw bad(path, "must be a string or a list of parts");
  const list = parts(content, path);
  const [only, more] = list;
  if (!only) return "";
  return (more ? undefined : textOf(only)) ?? list.map(chatPart);
}

function textOf({ part, type, path }: Part): string | undefined {
  switch (type) {
    case "input_text":
    case "output_text":
      return requiredString(part, "text", `${path}.text`);
    case "refusal":
      return requiredString(part, "refusal", `${path}.refusal`);
    default:
      return undefined;
  }
}

function chatPart(placed: Part): Json {
  const { part, type, path } = placed;
  const text = textOf(placed);
  if (text !== undefined) return { type: "text", text };
  switch (type) {
    case "input_image": {
      refuseFileId(part, path);
      const url = requiredString(part, "image_url", `${path}.image_url`);
      const detail = optionalString(part, "detail", `${path}.detail`);
      // chat has no "original"; high is nearest
      const chatDetail = detail === "original" ? "high" : detail;
      return { type: "image_url", image_url: { url, ...given("detail", chatDetail) } };
    }
    case "input_audio": {
      const audio = part["input_audio"];
      if (!isRecord(audio)) throw bad(`${path}.input_audio`, "must be an object");
      const data = requiredString(audio, "data", `${path}.input_audio.data`);
      const format = requiredString(audio, "format", `${path}.input_audio.format`);
      return { type: "input_audio", input_audio: { data, format } };
    }
    case "input_file": {
      refuseFileId(part, path);
      if (part["file_url"] !== undefined && part["file_url"] !== null) {
        throw unsupported(`${path}.file_url`, "is not fetched by this node: send the file itself as file_data");
      }
      const data = requiredString(part, "file_data", `${path}.file_data`);
      const filename = optionalString(part, "filename", `${path}.filename`);
      return { type: "file", file: { ...given("filename", filename), file_data: data } };
    }
    default:
      throw unsupported(`${path}.type`, `is ${quoted(type)}, a part that this node cannot translate`);
  }
}

function refuseFileId(part: Json, path: string): void {
  if (part["file_id"] === undefined || part["file_id"] === null) return;
  throw unsupported(`${path}.file_id`, "names an uploaded file, and this node keeps none: send the file itself");
}

/**
 * The turns of a Messages request as chat messages. Turns of the same role that follow one another are one, as there; what
 * tools gave comes right after the calls, as chat wants it.
 *
 * | block | becomes |
 * |---|---|
 * | `tool_use` | a call of the assistant's message |
 * | `tool_result` | a message of the role `tool`, whose text begins with "Error: " after `is_error`. Images in it follow in the user's message: that role takes text |
 * | `thinking`, `redacted_thinking` | nothing: no engine takes it back |
 * | a system block for the biller of the API | nothing: it is the caller's data, and new in every request, so that no engine would find the prompt in its cache |
 */
import { isRecord, type Json } from "../../base/json.ts";
import { bad, optionalBoolean, optionalRecord, requiredString } from "../fields.ts";
import { type Block, chatContent, chatParts, joined, readBlocks, textOf, textPart } from "./blocks.ts";

/** Turns of a conversation, beyond the bound of the request's bytes. */
const turnLimit = 10_000;

/** How Claude Code begins the system prompt. */
const billingLine = /^x-anthropic-billing-header:[^\n]*\n?/;

/**
 * @param system becomes the first message
 * @returns      at least one chat message
 * @throws       E_INPUT · E_UNSUPPORTED, with the path
 */
export function chatMessages(system: unknown, messages: unknown): readonly Json[] {
  if (!Array.isArray(messages)) throw bad("messages", "must be a list of messages");
  if (messages.length > turnLimit) throw bad("messages", `must have at most ${turnLimit} messages`);
  const turns = new Turns();
  if (system !== undefined && system !== null) turns.system(systemText(system, "system"));
  messages.forEach((message: unknown, index) => addMessage(turns, message, `messages[${index}]`));
  const list = turns.end();
  if (!list.some(({ role }) => role !== "system")) throw bad("messages", "must have at least one message");
  return list;
}

function addMessage(turns: Turns, message: unknown, path: string): void {
  if (!isRecord(message)) throw bad(path, "must be an object");
  const role = requiredString(message, "role", `${path}.role`);
  const content = message["content"];
  const where = `${path}.content`;
  switch (role) {
    case "user":
      return addUser(turns, readBlocks(content, where));
    case "assistant":
      return readBlocks(content, where).forEach((block) => addAssistant(turns, block));
    case "system":
      return turns.system(systemText(content, where));
    default:
      throw bad(`${path}.role`, "must be one of user, assistant, system");
  }
}

function systemText(content: unknown, path: string): string {
  return joined(readBlocks(content, path).map((block) => textOf(block).replace(billingLine, "")));
}

function addUser(turns: Turns, blocks: readonly Block[]): void {
  const results = blocks.filter(({ type }) => type === "tool_result").map(readResult);
  for (const { message } of results) turns.result(message);
  const rest = blocks.filter(({ type }) => type !== "tool_result" && !isThinking(type));
  const parts = [...results.flatMap(({ media }) => media), ...rest.flatMap(chatParts)];
  if (parts.length > 0) turns.user(parts);
}

function addAssistant(turns: Turns, placed: Block): void {
  const { block, type, path } = placed;
  if (isThinking(type)) return;
  if (type !== "tool_use") return turns.text(textOf(placed));
  turns.call({
    id: requiredString(block, "id", `${path}.id`),
    type: "function",
    function: {
      name: requiredString(block, "name", `${path}.name`),
      arguments: JSON.stringify(optionalRecord(block, "input", `${path}.input`) ?? {}),
    },
  });
}

function isThinking(type: string): boolean {
  return type === "thinking" || type === "redacted_thinking";
}

/** The message with what a tool gave, and what of it is not text. */
function readResult({ block, path }: Block): { readonly message: Json; readonly media: readonly Json[] } {
  const id = requiredString(block, "tool_use_id", `${path}.tool_use_id`);
  const failed = optionalBoolean(block, "is_error", `${path}.is_error`) ?? false;
  const parts = readBlocks(block["content"] ?? "", `${path}.content`).flatMap(chatParts);
  const text = joined(parts.filter(({ type }) => type === "text").map((part) => String(part["text"])));
  const media = parts.filter(({ type }) => type !== "text");
  const told = text === "" && media.length > 0 ? "The result is in the next message." : text;
  const content = failed ? `Error: ${told}` : told;
  const message = { role: "tool", tool_call_id: id, content };
  return { message, media: media.length > 0 ? [textPart(`Result of ${id}:`), ...media] : [] };
}

/** Chat messages as they come together. */
class Turns {
  readonly #list: Json[] = [];
  /** Parts of the user's message that is not complete yet. */
  #parts: Json[] = [];
  /** The same of the assistant's; never both. */
  #texts: string[] = [];
  #calls: Json[] = [];

  /** Those at the beginning are one: templates of many models know no other place and number. */
  system(text: string): void {
    if (text === "") return;
    this.#close();
    const first = this.#list[0];
    if (this.#list.length === 1 && first?.["role"] === "system") {
      this.#list[0] = { role: "system", content: joined([String(first["content"]), text]) };
    } else this.#list.push({ role: "system", content: text });
  }

  user(parts: readonly Json[]): void {
    this.#closeAssistant();
    for (const part of parts) this.#parts.push(part);
  }

  result(message: Json): void {
    this.#close();
    this.#list.push(message);
  }

  text(text: string): void {
    this.#closeUser();
    this.#texts.push(text);
  }

  call(call: Json): void {
    this.#closeUser();
    this.#calls.push(call);
  }

  end(): readonly Json[] {
    this.#close();
    return this.#list;
  }

  #close(): void {
    this.#closeUser();
    this.#closeAssistant();
  }

  #closeUser(): void {
    if (this.#parts.length === 0) return;
    this.#list.push({ role: "user", content: chatContent(this.#parts) });
    this.#parts = [];
  }

  #closeAssistant(): void {
    if (this.#texts.length === 0 && this.#calls.length === 0) return;
    const content = joined(this.#texts);
    this.#list.push({
      role: "assistant",
      content: content === "" && this.#calls.length > 0 ? null : content,
      ...(this.#calls.length > 0 ? { tool_calls: this.#calls } : {}),
    });
    this.#texts = [];
    this.#calls = [];
  }
}

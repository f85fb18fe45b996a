/**
 * The content blocks of a Messages request, read one by one: what each is in a chat message. Turns of a conversation are
 * put together in input.ts.
 */
import { isRecord, type Json } from "../../base/json.ts";
import { bad, optionalRecord, optionalString, quoted, requiredString, unsupported } from "../fields.ts";

/** Blocks of one message; beyond the bound of the request's bytes. */
const blockLimit = 10_000;

/** One block and the path that names it in an error. */
export interface Block {
  readonly block: Json;
  readonly type: string;
  readonly path: string;
}

/** A string is one block of text. @param path of the content @throws E_INPUT */
export function readBlocks(content: unknown, path: string): readonly Block[] {
  if (typeof content === "string") return [{ block: { type: "text", text: content }, type: "text", path }];
  if (!Array.isArray(content)) throw bad(path, "must be a string or a list of blocks");
  if (content.length > blockLimit) throw bad(path, `must have at most ${blockLimit} blocks`);
  return content.map((block: unknown, index) => {
    const where = `${path}[${index}]`;
    if (!isRecord(block)) throw bad(where, "must be an object");
    return { block, type: requiredString(block, "type", `${where}.type`), path: where };
  });
}

/** Text alone. @throws E_INPUT · E_UNSUPPORTED another block */
export function textOf({ block, type, path }: Block): string {
  if (type !== "text") throw unsupported(`${path}.type`, `is ${quoted(type)}, and must be 'text' here`);
  return requiredString(block, "text", `${path}.text`);
}

/** @returns parts of a chat message @throws E_INPUT · E_UNSUPPORTED a block that chat has no word for */
export function chatParts(placed: Block): readonly Json[] {
  const { block, type, path } = placed;
  switch (type) {
    case "text":
      return [textPart(textOf(placed))];
    case "image":
      return [imagePart(source(block, path), `${path}.source`)];
    case "document":
      return documentParts(placed);
    case "search_result":
      return [textPart(searchResult(placed))];
    case "tool_reference": // to one of the tools, all of which are offered anyway
      return [textPart(requiredString(block, "tool_name", `${path}.tool_name`))];
    default:
      throw unsupported(`${path}.type`, `is ${quoted(type)}, a block that this node cannot translate`);
  }
}

export function textPart(text: string): Json {
  return { type: "text", text };
}

/** A string where there is nothing but text, which every engine and template takes; else the parts as they are. */
export function chatContent(parts: readonly Json[]): string | readonly Json[] {
  return parts.every(({ type }) => type === "text") ? joined(parts.map(({ text }) => String(text))) : parts;
}

/** Blocks of text are paragraphs. */
export function joined(texts: readonly string[]): string {
  return texts.filter((text) => text !== "").join("\n\n");
}

function source(block: Json, path: string): Json {
  const given = optionalRecord(block, "source", `${path}.source`);
  if (!given) throw bad(`${path}.source`, "must be an object");
  return given;
}

function imagePart(given: Json, path: string): Json {
  const type = requiredString(given, "type", `${path}.type`);
  switch (type) {
    case "base64":
      return imageUrl(dataUrl(given, path));
    case "url":
      return imageUrl(requiredString(given, "url", `${path}.url`));
    default:
      throw notHere(type, path);
  }
}

function imageUrl(url: string): Json {
  return { type: "image_url", image_url: { url } };
}

function dataUrl(given: Json, path: string): string {
  const type = requiredString(given, "media_type", `${path}.media_type`);
  return `data:${type};base64,${requiredString(given, "data", `${path}.data`)}`;
}

/** Plain text becomes text, with its title; other files go to the engine as they are. */
function documentParts({ block, path }: Block): readonly Json[] {
  const given = source(block, path);
  const where = `${path}.source`;
  const title = optionalString(block, "title", `${path}.title`) ?? "";
  const context = optionalString(block, "context", `${path}.context`) ?? "";
  const head = joined([title, context]);
  const heading = head === "" ? [] : [textPart(head)];
  const type = requiredString(given, "type", `${where}.type`);
  switch (type) {
    case "text":
      return [...heading, textPart(requiredString(given, "data", `${where}.data`))];
    case "content":
      return [...heading, ...readBlocks(given["content"], `${where}.content`).flatMap(textOrImage)];
    case "base64":
      return [...heading, { type: "file", file: { filename: title || "document", file_data: dataUrl(given, where) } }];
    default:
      throw notHere(type, where);
  }
}

function textOrImage(placed: Block): readonly Json[] {
  return placed.type === "image" ? chatParts(placed) : [textPart(textOf(placed))];
}

function searchResult({ block, path }: Block): string {
  const head = [requiredString(block, "title", `${path}.title`), requiredString(block, "source", `${path}.source`)];
  return joined([head.join("\n"), ...readBlocks(block["content"], `${path}.content`).map(textOf)]);
}

function notHere(type: string, path: string): Error {
  return unsupported(`${path}.type`, `is ${quoted(type)}, which this node does not fetch: send the content itself`);
}

/**
 * Events of one stream that differ in nothing but the text of their delta, which is nearly all of them: what was found out
 * about one holds for the next, and only the text is looked at. Every byte but those of one JSON string must be the same, so
 * the next event is JSON of the same shape exactly if that string is one; whatever is not, is parsed. For openai-asker.ts.
 */
import { isRecord, type Json } from "../base/json.ts";

export interface DeltaPattern {
  /** The event for the caller that belongs to this data; undefined when it is not alike. */
  apply(data: string): string | undefined;
}

/** What stands in front of the text, as engines and JSON.stringify write it. */
const member = '"content":';
/** The inside of a JSON string; of control characters JSON takes some, which are rare enough to be parsed. */
const inside = /^(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*$/u;
/** Longer texts are parsed, characters. */
const textLimit = 16_384;

/**
 * @param data of an event that has been parsed
 * @param json what it says
 * @param told the event that the caller gets for it
 * @returns    undefined when the event is more than a piece of text
 */
export function deltaPattern(data: string, json: Json, told: string): DeltaPattern | undefined {
  const content = contentAlone(json);
  const from = content === undefined ? undefined : around(data, content);
  const to = content === undefined ? undefined : around(told, content);
  if (!from || !to) return undefined;
  return {
    apply(next) {
      if (!next.startsWith(from.before) || !next.endsWith(from.after)) return undefined;
      const end = next.length - from.after.length;
      if (end < from.before.length || end - from.before.length > textLimit) return undefined;
      const text = next.slice(from.before.length, end);
      return inside.test(text) ? to.before + text + to.after : undefined;
    },
  };
}

/** The text of the only choice's delta, if that is all that the event says: no finish, no usage. */
function contentAlone({ choices, usage }: Json): string | undefined {
  const choice: unknown = Array.isArray(choices) && choices.length === 1 ? choices[0] : undefined;
  if (!isRecord(choice) || (usage !== undefined && usage !== null)) return undefined;
  const { delta, finish_reason: reason } = choice;
  if (!isRecord(delta) || (reason !== undefined && reason !== null)) return undefined;
  const { content } = delta;
  return Object.keys(delta).length === 1 && typeof content === "string" ? content : undefined;
}

/** What stands before and behind the inside of the text's string; undefined unless there is one place for it. */
function around(text: string, content: string): { readonly before: string; readonly after: string } | undefined {
  const at = text.indexOf(member);
  if (at < 0 || text.indexOf(member, at + 1) >= 0) return undefined;
  const start = text.indexOf('"', at + member.length) + 1;
  if (start === 0 || !/^ *$/.test(text.slice(at + member.length, start - 1))) return undefined;
  let end = text.indexOf('"', start);
  while (end > 0 && isEscaped(text, start, end)) end = text.indexOf('"', end + 1);
  if (end < 0 || !isJsonOf(text.slice(start - 1, end + 1), content)) return undefined;
  return { before: text.slice(0, start), after: text.slice(end) };
}

function isEscaped(text: string, start: number, at: number): boolean {
  let escapes = 0;
  while (at - 1 - escapes >= start && text[at - 1 - escapes] === "\\") escapes += 1;
  return escapes % 2 === 1;
}

function isJsonOf(literal: string, content: string): boolean {
  try {
    return JSON.parse(literal) === content;
  } catch {
    return false;
  }
}

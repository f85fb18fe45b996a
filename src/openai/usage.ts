/**
 * What an answer took, read while it passes: tokens, times and the reason of its end. For the answers of chat, completions
 * and embeddings, as engines give them; it never holds an answer back, and knows no content but by its presence.
 *
 * In streams, only the events until the first token, those with usage and the one with the finish reason are parsed; what
 * every token costs is a search of its bytes. Line ends are LF or CRLF.
 */
import { Body, flowOf, type Pieces } from "../base/body.ts";
import { concat, empty, fromLooseUtf8, utf8, view } from "../base/bytes.ts";
import type { Now } from "../base/flow.ts";
import { countOf, isRecord, type Json, parseJsonText } from "../base/json.ts";
import { sseReader } from "./sse.ts";

/** Filled while the answer passes; undefined where it did not say. Times are ms since `startedMs`. */
export interface Account {
  promptTokens: number | undefined;
  completionTokens: number | undefined;
  /** Of the prompt's tokens, those that the engine had in its cache. */
  cachedTokens: number | undefined;
  firstByteMs: number | undefined;
  /** Of a stream: text, reasoning or a tool call. */
  firstTokenMs: number | undefined;
  finishReason: string | undefined;
}

export interface MeterOptions {
  readonly contentType: string;
  /**
   * Drops the chunk that holds nothing but usage (`"choices": []`), because the caller did not ask for it. Usage on the
   * finish chunk, a habit of llama-server, and `"usage": null` stay: clients skip them, and the bytes need no change.
   */
  readonly stripUsage: boolean;
  /** performance.now() when the request arrived. */
  readonly startedMs: number;
}

export interface Metered {
  /** The same bytes, in the same pieces unless the usage chunk is among them. Read once. */
  readonly body: Pieces;
  readonly account: Account;
}

/** An event beyond this is not read, bytes; it passes like all others. */
const eventLimit = 64 * 1024;
/** A usage chunk has less than this, bytes: what is longer is none, and not held back. */
const usageChunkLimit = 8 * 1024;
/** A whole JSON answer up to this is read at its end, bytes; of a longer one only the tail. */
const wholeLimit = 1024 * 1024;
/** Where the usage of a long answer is looked for, bytes: it stands last. */
const tailLimit = 1024;

export function metered(body: Pieces, options: MeterOptions): Metered {
  const account: Account = {
    promptTokens: undefined,
    completionTokens: undefined,
    cachedTokens: undefined,
    firstByteMs: undefined,
    firstTokenMs: undefined,
    finishReason: undefined,
  };
  const sinceStart = (): number => performance.now() - options.startedMs;
  const reader = readerFor(options, account, sinceStart);
  return { account, body: passing(body, reader, account, sinceStart) };
}

/** Looks at the pieces of one answer. */
interface Reader {
  /** Whether bytes may be held back until more come. */
  readonly holds: boolean;
  /** @returns what of it, and of what was held, may pass now */
  take(piece: Uint8Array): Uint8Array;
  /** @returns what was held */
  end(): Uint8Array;
}

function readerFor({ contentType, stripUsage }: MeterOptions, account: Account, sinceStart: () => number): Reader {
  const type = contentType.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "text/event-stream") return streamReader(account, stripUsage, sinceStart);
  if (type === "application/json") return wholeReader(account);
  return { holds: false, take: (piece) => piece, end: () => empty };
}

function passing(body: Pieces, reader: Reader, account: Account, sinceStart: () => number): Body {
  const source = body[Symbol.asyncIterator]();
  const flow = flowOf(source);
  let ended = false;
  const now = (): Now => {
    while (!ended) {
      // what is held when it breaks is a part of an event: of no use before an error
      const piece = flow.now();
      if (piece === undefined) return undefined;
      ended = piece === "end";
      if (!ended) account.firstByteMs ??= sinceStart();
      const passes = piece === "end" ? reader.end() : reader.take(piece);
      if (passes.length > 0) return passes;
    }
    return "end";
  };
  const isOver = (): boolean => !reader.holds && (body.isOver?.() ?? false);
  return new Body({ now, more: () => flow.more() }, { isOver, leave: () => source.return?.() });
}

// ---- streams

function streamReader(account: Account, stripUsage: boolean, sinceStart: () => number): Reader {
  const split = eventSplitter();
  /** The event that is not complete yet; without its bytes once it is too long to be read. */
  let open: Uint8Array[] = [];
  let openBytes = 0;
  /** Whether none of it has passed. */
  let held = true;

  const add = (part: Uint8Array): void => {
    openBytes += part.length;
    if (openBytes <= eventLimit) open.push(part);
    else open = [];
  };
  /** @returns whether the event is to be dropped */
  const complete = (): boolean => {
    const event = openBytes <= eventLimit ? view(joined(open)) : undefined;
    open = [];
    openBytes = 0;
    if (event) return readEvent(event, account, sinceStart) && stripUsage && maybeUsageChunk(event);
    account.firstTokenMs ??= sinceStart();
    return false;
  };
  return {
    holds: true,
    take(piece) {
      // one event, whole: as most pieces are
      const bytes = view(piece);
      if (openBytes === 0 && bytes.length <= eventLimit && isOneEvent(bytes)) {
        return readEvent(bytes, account, sinceStart) && stripUsage && maybeUsageChunk(bytes) ? empty : piece;
      }
      const out: Uint8Array[] = [];
      let outBytes = 0;
      const pass = (parts: readonly Uint8Array[]): void => {
        for (const part of parts) outBytes += part.length;
        out.push(...parts);
      };
      const heldBytes = held ? openBytes : 0;
      for (const { part, ends } of split(piece)) {
        const waiting = held ? [...open, part] : [part];
        add(part);
        if (ends) {
          if (!complete()) pass(waiting);
          held = true;
        } else if (!held || !stripUsage || !maybeUsageChunk(view(joined(waiting)))) {
          pass(waiting);
          held = false;
        }
      }
      if (heldBytes === 0 && outBytes === piece.length) return piece;
      return joined(out);
    },
    end() {
      const waiting = held ? open : [];
      const dropped = openBytes > 0 && complete();
      return dropped ? empty : concat(waiting);
    },
  };
}

/** Whether the only blank line is its end. */
function isOneEvent(bytes: Buffer): boolean {
  if (bytes.at(-1) !== lineFeed || bytes.at(-2) !== lineFeed || bytes[0] === lineFeed) return false;
  return bytes.indexOf("\n\n") === bytes.length - 2 && !bytes.includes("\n\r\n") && bytes[0] !== carriageReturn;
}

interface EventPart {
  readonly part: Uint8Array;
  /** Whether an event ends with it. */
  readonly ends: boolean;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** Cuts the pieces of one stream after its blank lines. */
function eventSplitter(): (piece: Uint8Array) => readonly EventPart[] {
  /** Of the line so far. */
  let lineBytes = 0;
  let endsInReturn = false;
  return (piece) => {
    const parts: EventPart[] = [];
    let start = 0;
    for (let at = 0; at < piece.length;) {
      const found = piece.indexOf(lineFeed, at);
      const end = found === -1 ? piece.length : found;
      if (end > at) endsInReturn = piece[end - 1] === carriageReturn;
      lineBytes += end - at;
      if (found === -1) break;
      at = end + 1;
      if (lineBytes === 0 || (lineBytes === 1 && endsInReturn)) {
        parts.push({ part: piece.subarray(start, at), ends: true });
        start = at;
      }
      lineBytes = 0;
    }
    if (start < piece.length) parts.push({ part: piece.subarray(start), ends: false });
    return parts;
  };
}

/**
 * False as soon as an event, or the beginning of one, can no longer be a chunk that holds nothing but usage: it is too
 * long, or its choices are not an empty list. More bytes never turn false into true.
 */
function maybeUsageChunk(event: Buffer): boolean {
  if (event.length > usageChunkLimit) return false;
  const choices = valueAt(event, names.choices, 0);
  if (choices === -1) return true;
  const first = event[afterSpaces(event, choices + 1)];
  return first === undefined || first === closeBracket;
}

/** Reads a complete event, if it can say something new. @returns whether it holds nothing but usage */
function readEvent(event: Buffer, account: Account, sinceStart: () => number): boolean {
  const matters =
    account.firstTokenMs === undefined ||
    hasMember(event, names.usage, openBrace) ||
    hasMember(event, names.finishReason, quote);
  if (!matters) return false;
  let usageAlone = false;
  for (const data of dataOf(event)) {
    const chunk = parsed(data);
    if (!chunk) continue;
    const choices = Array.isArray(chunk["choices"]) ? chunk["choices"].filter(isRecord) : undefined;
    if (choices?.some(hasToken)) account.firstTokenMs ??= sinceStart();
    readAnswer(chunk, account);
    usageAlone = choices?.length === 0 && isRecord(chunk["usage"]);
  }
  return usageAlone;
}

function dataOf(event: Uint8Array): readonly string[] {
  const line = fromLooseUtf8(event).trimEnd();
  // as nearly all of them are
  if (line.startsWith("data: ") && !line.includes("\n") && !line.includes("\r")) return [line.slice("data: ".length)];
  const reader = sseReader();
  return [...reader.read(event), ...reader.end()].map(({ data }) => data);
}

function hasToken({ delta, text }: Json): boolean {
  if (isText(text)) return true;
  if (!isRecord(delta)) return false;
  const { content, reasoning, reasoning_content, refusal, tool_calls, function_call } = delta;
  return (
    [content, reasoning, reasoning_content, refusal].some(isText) ||
    [content, tool_calls].some((value) => Array.isArray(value) && value.length > 0) ||
    isRecord(function_call)
  );
}

// ---- whole answers

function wholeReader(account: Account): Reader {
  let kept: Uint8Array[] = [];
  let total = 0;
  return {
    holds: false,
    take(piece) {
      total += piece.length;
      kept.push(piece);
      if (total > wholeLimit)
        kept = [piece.length >= tailLimit ? piece.slice(-tailLimit) : concat(kept).slice(-tailLimit)];
      return piece;
    },
    end() {
      const bytes = joined(kept);
      const answer = total > wholeLimit ? usageIn(view(bytes)) : parsed(fromLooseUtf8(bytes));
      if (answer) readAnswer(answer, account);
      return empty;
    },
  };
}

/** The last `"usage": {...}` of a tail, as the object that has it alone. */
function usageIn(tail: Buffer): Json | undefined {
  let start = -1;
  for (let at = valueAt(tail, names.usage, 0); at !== -1; at = valueAt(tail, names.usage, at)) {
    if (tail[at] === openBrace) start = at;
  }
  if (start === -1) return undefined;
  const rest = fromLooseUtf8(tail.subarray(start));
  // usage has objects in it, and no text with a brace: the first end that parses is the right one
  for (let end = rest.indexOf("}"); end !== -1; end = rest.indexOf("}", end + 1)) {
    const usage = parsed(rest.slice(0, end + 1));
    if (usage) return { usage };
  }
  return undefined;
}

// ---- JSON

/** Names of members with their quotes, as bytes to search for. */
const names = { choices: utf8('"choices"'), usage: utf8('"usage"'), finishReason: utf8('"finish_reason"') };

const quote = 0x22;
const colon = 0x3a;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;

/** The finish reason and the tokens that a chunk or a whole answer names. */
function readAnswer({ choices, usage }: Json, account: Account): void {
  const reasons = Array.isArray(choices)
    ? choices.map((choice: unknown) => isRecord(choice) && choice["finish_reason"])
    : [];
  account.finishReason ??= reasons.find(isText);
  if (!isRecord(usage)) return;
  const { prompt_tokens: prompt, completion_tokens: completion, prompt_tokens_details: details } = usage;
  account.promptTokens = countOf(prompt) ?? account.promptTokens;
  account.completionTokens = countOf(completion) ?? account.completionTokens;
  account.cachedTokens = (isRecord(details) ? countOf(details["cached_tokens"]) : undefined) ?? account.cachedTokens;
}

/**
 * Where the value of the next member with this name begins, at any depth; -1: there is none behind `from`. Inside a JSON
 * text quotes are escaped, so these bytes are no content; a name that merely ends with them is told by its backslash.
 */
function valueAt(bytes: Buffer, name: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(name, from); at !== -1; at = bytes.indexOf(name, at + 1)) {
    if (bytes[at - 1] === backslash) continue;
    const next = afterSpaces(bytes, at + name.length);
    if (bytes[next] !== colon) continue;
    const value = afterSpaces(bytes, next + 1);
    if (value < bytes.length) return value;
  }
  return -1;
}

function hasMember(bytes: Buffer, name: Uint8Array, firstByte: number): boolean {
  for (let at = valueAt(bytes, name, 0); at !== -1; at = valueAt(bytes, name, at)) {
    if (bytes[at] === firstByte) return true;
  }
  return false;
}

function afterSpaces(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && isSpace(bytes[at])) at++;
  return at;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === lineFeed || byte === carriageReturn;
}

function parsed(json: string): Json | undefined {
  const value = parseJsonText(json);
  return isRecord(value) ? value : undefined;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 && parts[0] ? parts[0] : concat(parts);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

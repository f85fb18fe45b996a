/**
 * The request of an OpenAI client: parsed within bounds, and brought to the form that engines and hosts get. Its bytes
 * stay as they came, but for the few members that change: what this node does not know, and large images, pass unread.
 *
 * @see protocol.md §6.2 · engines.md §4.1
 */
import { concat, fromUtf8, latin1, utf8, view } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { isRecord, type Json } from "../base/json.ts";
import { withoutControls } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import { checkChat, wantsStream, wantsUsage } from "./chat.ts";

/** A request body in both forms, which say the same. */
export interface RequestBody {
  /** JSON, UTF-8. */
  readonly bytes: Uint8Array;
  readonly json: Json;
}

/** What is sent on, and what of it the caller did not ask for. */
export interface NormalisedRequest extends RequestBody {
  readonly model: string;
  readonly stream: boolean;
  /** The stream's usage was asked for by us, and is taken out of the answer again. */
  readonly stripUsage: boolean;
}

/**
 * @param bytes moved
 * @throws      E_INPUT no JSON object, nested deeper than limits.jsonDepth, with more than limits.jsonValues values, or
 *              with the same member twice: two readers might then believe two different values
 */
export function parseRequest(bytes: Uint8Array): RequestBody {
  const spans = memberSpans(bytes); // first: a parser takes memory for every bracket
  let json: unknown;
  try {
    json = JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new MeshError("E_INPUT", "the request body is not valid JSON", { cause });
  }
  if (!isRecord(json)) throw new MeshError("E_INPUT", "the request body must be a JSON object");
  const seen = new Set<string>();
  for (const span of spans) {
    const name = nameOf(bytes, span);
    // a mesh-llm node writes this one in front of what it got; all of them are dropped
    if (seen.has(name) && !dropped.has(name)) {
      const param = withoutControls(name.slice(0, 64));
      throw new MeshError("E_INPUT", `the field '${param}' stands twice in the request`, { param });
    }
    seen.add(name);
  }
  return { bytes, json };
}

/** A request that was made here. */
export function requestOf(json: Json): RequestBody {
  return { bytes: utf8(JSON.stringify(json)), json };
}

/** The model's name. @throws E_INPUT there is none */
export function modelOf(json: Json): string {
  const { model } = json;
  if (typeof model === "string" && model !== "") return model;
  throw new MeshError("E_INPUT", "name the model in the field `model`", { param: "model" });
}

/** mesh-llm's hooks let a host show parts of a prompt to third nodes in plaintext (protocol.md §11 D4). */
const dropped: ReadonlySet<string> = new Set(["mesh_hooks"]);

/** Names of the longest answer in tokens, newest first; engines know the last one. */
const tokenNames = ["max_output_tokens", "max_completion_tokens", "max_tokens"] as const;

/**
 * The request as engines know it. Normalising twice changes nothing.
 *
 * @param path "/v1/chat/completions", "/v1/completions" or "/v1/embeddings"
 * @throws     E_INPUT a field that this node acts on has the wrong type; `param` names it
 */
export function normalisedRequest(path: string, request: RequestBody): NormalisedRequest {
  const { json } = request;
  const model = modelOf(json);
  const changes = new Map<string, unknown>();
  for (const name of dropped) if (name in json) changes.set(name, undefined);
  if (path === "/v1/embeddings") {
    return normalised(edited(request, changes), { model, stream: false, stripUsage: false });
  }
  if (path === "/v1/chat/completions") checkChat(json);
  renameTokens(json, changes);
  const stream = wantsStream(json);
  const asked = wantsUsage(json);
  if (stream && !asked) {
    const options = isRecord(json["stream_options"]) ? json["stream_options"] : {};
    changes.set("stream_options", { ...options, include_usage: true });
  }
  return normalised(edited(request, changes), { model, stream, stripUsage: stream && !asked });
}

/** Written out: with a spread before other members, V8 makes such an object in its slow way for each request. */
function normalised(
  { bytes, json }: RequestBody,
  { model, stream, stripUsage }: Omit<NormalisedRequest, keyof RequestBody>,
): NormalisedRequest {
  return { bytes, json, model, stream, stripUsage };
}

/** The same request for another model: "auto" never leaves this node. */
export function withModel(request: NormalisedRequest, model: string): NormalisedRequest {
  if (request.model === model) return request;
  return { ...request, ...edited(request, new Map([["model", model]])), model };
}

function renameTokens(json: Json, changes: Map<string, unknown>): void {
  const given = tokenNames.filter((name) => json[name] !== undefined);
  const newest = given.find((name) => json[name] !== null);
  if (given.every((name) => name === "max_tokens")) return;
  for (const name of given) changes.set(name, undefined);
  if (newest === undefined) return;
  const value = json[newest];
  if (!Number.isInteger(value)) {
    throw new MeshError("E_INPUT", `'${newest}' must be a whole number.`, { param: newest });
  }
  changes.set("max_tokens", value);
}

/** @param changes new values by name; undefined takes the member out · @throws E_INPUT as {@link parseRequest} */
export function edited(request: RequestBody, changes: ReadonlyMap<string, unknown>): RequestBody {
  if (changes.size === 0) return request;
  const { bytes } = request;
  const json: Record<string, unknown> = { ...request.json };
  const members: Uint8Array[] = [];
  for (const [name, value] of changes) {
    if (value === undefined) delete json[name];
    else json[name] = value;
    if (value !== undefined) members.push(utf8(`${JSON.stringify(name)}:${JSON.stringify(value)}`));
  }
  for (const span of memberSpans(bytes)) {
    if (!changes.has(nameOf(bytes, span))) members.push(bytes.subarray(span.start, span.end));
  }
  const pieces = members.flatMap((member, index) => (index === 0 ? [member] : [between, member]));
  return { json, bytes: concat([head, ...pieces, tail]) };
}

const head = utf8("{");
const between = utf8(",");
const tail = utf8("}");

// ---- reading the bytes of JSON

/** Where a member of the outermost object stands: from the quote of its name to the end of its value. */
interface Span {
  readonly start: number;
  /** Behind the name's closing quote. */
  readonly nameEnd: number;
  readonly end: number;
}

const quote = 0x22;
const commaByte = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const backslash = 0x5c;

/** One pass without recursion; right for whatever JSON.parse accepts as an object. @throws E_INPUT too deep, too many */
function memberSpans(bytes: Uint8Array): Span[] {
  const spans: Span[] = [];
  const buffer = view(bytes); // its search is many times faster in long strings
  let depth = 0;
  let values = 0;
  let start = -1;
  let nameEnd = -1;
  const end = (at: number): void => {
    if (depth === 1 && start >= 0) spans.push({ start, nameEnd, end: at });
    if (depth === 1) start = -1;
  };
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === quote) {
      const behind = stringEnd(buffer, at);
      if (depth === 1 && start < 0) {
        start = at;
        nameEnd = behind;
      }
      at = behind - 1;
    } else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      values += 1;
      if (depth > limits.jsonDepth) {
        throw new MeshError("E_INPUT", `the request has more than ${limits.jsonDepth} brackets inside one another`);
      }
    } else if (byte === closeBrace || byte === closeBracket) {
      end(at);
      depth -= 1;
    } else if (byte === commaByte) {
      end(at);
      values += 1;
    }
    if (values > limits.jsonValues) {
      throw new MeshError("E_INPUT", `the request has more than ${limits.jsonValues} values`);
    }
  }
  return spans;
}

/** Index behind the closing quote of the string that starts at `from`; the end of the bytes when there is none. */
function stringEnd(bytes: Uint8Array, from: number): number {
  for (let at = from + 1; ; at += 1) {
    at = bytes.indexOf(quote, at);
    if (at < 0) return bytes.length;
    let escapes = 0;
    while (bytes[at - 1 - escapes] === backslash) escapes += 1;
    if (escapes % 2 === 0) return at + 1;
  }
}

/** Stands for itself in JSON, whoever reads it. */
const plainName = /^[\w.$ -]*$/;

function nameOf(bytes: Uint8Array, { start, nameEnd }: Span): string {
  const plain = latin1(bytes.subarray(start + 1, nameEnd - 1));
  if (plainName.test(plain)) return plain;
  return String(JSON.parse(fromUtf8(bytes.subarray(start, nameEnd))));
}

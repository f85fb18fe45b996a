/**
 * What the scripted engine answers, as a function of its options and of a chat request: no input, no output. The
 * request steers the answer, so that a test can tell what arrived:
 *
 *     tools offered                  calls each of them, with arguments that fit its schema
 *     tool results at the end        says which call gave what
 *     response_format json_schema    JSON that fits the schema
 *     images, audio, files           their length and SHA-256, one line each
 *     "Repeat: ..."                  what follows the colon
 *     "Refuse: ..."                  a refusal that names what follows
 *     reasoning_effort               thinks first, and names the effort
 *     anything else                  `text` of the options, or "word0 word1 ..."
 */
import { createHash, randomUUID } from "node:crypto";

/** Of one piece of JSON, in characters: short enough that the arguments of any tool come in several. */
const jsonPiece = 7;

/**
 * `reasoning`, `text` and `refusal` are pieces as they are streamed, `calls` [{id, name, pieces}]. `text.length` counts
 * tokens; everything else is counted in pieces.
 */
export function answerTo(options, asked) {
  const reasoning = reasoningOf(asked);
  const last = asked.messages.at(-1);
  const said = last === undefined ? "" : textOf(last.content);
  const plain = { reasoning, text: [], refusal: [], calls: [], finish: "stop" };
  if (last?.role === "tool") return { ...plain, text: words(toolResults(asked.messages)) };
  const calls = callsOf(asked);
  if (calls.length > 0) return { ...plain, calls, finish: "tool_calls" };
  if (said.startsWith("Refuse: ")) return { ...plain, refusal: words(`I will not ${said.slice("Refuse: ".length)}`) };
  const schema = asked.response_format?.json_schema?.schema;
  if (schema !== undefined) return { ...plain, text: cut(JSON.stringify(fitting(schema)), jsonPiece) };
  if (options.contentBytes > 0) return { ...plain, text: bulk(options) };
  const media = asked.messages.flatMap(({ content }) => mediaOf(content));
  const text =
    media.length > 0
      ? media.map(describe).join("\n")
      : said.startsWith("Repeat: ")
        ? said.slice("Repeat: ".length)
        : options.text;
  return { ...plain, ...limited(text === undefined ? counted(options.tokens) : words(text), asked) };
}

/** One delta object of a chat stream after the other; the role comes first, by itself. */
export function* deltasOf({ reasoning, text, refusal, calls }) {
  for (const piece of reasoning) yield { reasoning_content: piece };
  for (const piece of text) yield { content: piece };
  for (const piece of refusal) yield { refusal: piece };
  for (const [index, { id, name, pieces }] of calls.entries()) {
    yield { tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] };
    for (const piece of pieces) yield { tool_calls: [{ index, function: { arguments: piece } }] };
  }
}

/** The message of an answer in one piece. */
export function messageOf({ reasoning, text, refusal, calls }) {
  return {
    role: "assistant",
    content: calls.length > 0 || refusal.length > 0 ? null : text.join(""),
    ...(reasoning.length > 0 ? { reasoning_content: reasoning.join("") } : {}),
    ...(refusal.length > 0 ? { refusal: refusal.join("") } : {}),
    ...(calls.length > 0
      ? {
          tool_calls: calls.map(({ id, name, pieces }) => ({
            id,
            type: "function",
            function: { name, arguments: pieces.join("") },
          })),
        }
      : {}),
  };
}

export function usageOf({ reasoning, text, refusal, calls }, promptTokens, { cachedTokens }) {
  const called = calls.reduce((sum, { pieces }) => sum + pieces.length, 0);
  const completion = reasoning.length + text.length + refusal.length + called;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completion,
    total_tokens: promptTokens + completion,
    ...(cachedTokens > 0 ? { prompt_tokens_details: { cached_tokens: Math.min(cachedTokens, promptTokens) } } : {}),
    ...(reasoning.length > 0 ? { completion_tokens_details: { reasoning_tokens: reasoning.length } } : {}),
  };
}

/** Words of all texts, and one for every image, sound and file. */
export function promptTokensOf(messages) {
  const contents = messages.map(({ content }) => content);
  return contents.reduce((sum, content) => sum + wordsIn(textOf(content)) + mediaOf(content).length, 0);
}

/** A vector of length 1 that depends on the input alone. Its numbers are float32, so both encodings say the same. */
export function embeddingOf(input, dimensions) {
  const hash = createHash("shake256", { outputLength: dimensions * 2 })
    .update(JSON.stringify(input))
    .digest();
  const raw = Array.from({ length: dimensions }, (_, index) => hash.readInt16LE(index * 2) + 0.5);
  const norm = Math.hypot(...raw);
  return raw.map((value) => Math.fround(value / norm));
}

export function wordsIn(text) {
  return text.match(/\S+/g)?.length ?? 0;
}

/** The words of a text, each with the space before it. */
export function words(text) {
  return text.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
}

// ---- inside

function counted(tokens) {
  return Array.from({ length: tokens }, (_, index) => `${index === 0 ? "" : " "}word${index}`);
}

/** As far as max_tokens and stop allow. */
function limited(all, asked) {
  const most = asked.max_completion_tokens ?? asked.max_tokens ?? Infinity;
  const stops = [asked.stop ?? []].flat();
  const pieces = [];
  let text = "";
  for (const piece of all) {
    if (pieces.length >= most) return { text: pieces, finish: "length" };
    text += piece;
    const stop = stops.map((word) => text.indexOf(word)).filter((at) => at !== -1);
    if (stop.length > 0) {
      const rest = piece.slice(0, piece.length - (text.length - Math.min(...stop)));
      if (rest !== "") pieces.push(rest);
      return { text: pieces, finish: "stop" };
    }
    pieces.push(piece);
  }
  return { text: pieces, finish: "stop" };
}

/** Pieces of contentBytes in all, made as they are needed; `length` for the usage. */
function bulk({ contentBytes, deltaBytes }) {
  const length = Math.ceil(contentBytes / deltaBytes);
  return {
    length,
    join: () => "x".repeat(contentBytes),
    *[Symbol.iterator]() {
      for (let sent = 0; sent < contentBytes; sent += deltaBytes)
        yield "x".repeat(Math.min(deltaBytes, contentBytes - sent));
    },
  };
}

function reasoningOf({ reasoning_effort: effort }) {
  return typeof effort === "string" && effort !== "none" ? words(`I think with ${effort} effort.`) : [];
}

function callsOf({ tools = [], tool_choice: choice, parallel_tool_calls: parallel }) {
  if (choice === "none") return [];
  const wanted = tools.filter((tool) => choice?.function === undefined || tool.function.name === choice.function.name);
  return (parallel === false ? wanted.slice(0, 1) : wanted).map(({ function: { name, parameters } }) => ({
    id: `call_${randomUUID().replaceAll("-", "")}`,
    name,
    pieces: cut(JSON.stringify(fitting(parameters)), jsonPiece),
  }));
}

/** One line for each tool result since the last turn of the assistant, with the call that it belongs to. */
function toolResults(messages) {
  const results = messages.slice(messages.findLastIndex(({ role }) => role !== "tool") + 1);
  const calls = messages.flatMap((message) => message.tool_calls ?? []);
  return results
    .map(({ tool_call_id: id, content }) => {
      const call = calls.find((made) => made.id === id)?.function;
      return `${call?.name ?? "nothing"} ${call?.arguments ?? "{}"} gave ${textOf(content)}`;
    })
    .join("\n");
}

function textOf(content) {
  if (!Array.isArray(content)) return content ?? "";
  return content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n");
}

/** What is not text, each as {kind, data}. */
function mediaOf(content) {
  if (!Array.isArray(content)) return [];
  return content.flatMap((part) => {
    if (part.type === "image_url") return [{ kind: "image", data: part.image_url.url }];
    if (part.type === "input_audio") return [{ kind: "audio", data: part.input_audio.data }];
    if (part.type === "file") return [{ kind: "file", data: part.file.file_data ?? "" }];
    return [];
  });
}

function describe({ kind, data }) {
  return `${kind} of ${data.length} characters, sha256 ${createHash("sha256").update(data).digest("hex")}`;
}

/** A value that fits a JSON schema: every property, the first of all choices, as a grammar would have it. */
function fitting(schema = {}, name = "value", root = schema) {
  if (schema.$ref !== undefined) {
    const steps = schema.$ref.split("/").slice(1);
    return fitting(
      steps.reduce((at, step) => at?.[step], root),
      name,
      root,
    );
  }
  if ("const" in schema) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  const choice = (schema.anyOf ?? schema.oneOf)?.[0];
  if (choice !== undefined) return fitting(choice, name, root);
  switch ([schema.type].flat()[0]) {
    case "string":
      return `${name} → ✓`;
    case "integer":
    case "number":
      return Math.min(Math.max(7, schema.minimum ?? 7), schema.maximum ?? 7);
    case "boolean":
      return true;
    case "array":
      return Array.from({ length: schema.minItems ?? 2 }, () => fitting(schema.items, name, root));
    case "null":
      return null;
    default:
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([key, value]) => [key, fitting(value, key, root)]),
      );
  }
}

function cut(text, length) {
  return Array.from({ length: Math.ceil(text.length / length) }, (_, index) =>
    text.slice(index * length, (index + 1) * length),
  );
}

/**
 * What choosing a model and a host needs to know of a request: what it asks for, how large it is, and which conversation
 * it continues. Read from the JSON body; nothing of it is kept but a hash under a secret of this process.
 *
 * @see protocol.md §5.5
 */
import { isRecord, type Json } from "../base/json.ts";
import { hash, randomBytes } from "node:crypto";

/** What a model must be able to do; "text" is a raw completion. */
export type Need = "text" | "chat" | "vision" | "audio" | "embeddings";

export interface RequestNeeds {
  readonly kinds: readonly Need[];
  /** Estimate of prompt and answer together: a quarter of the text's length, the answer's limit, and some for a template. */
  readonly tokens: number;
  /** Same for all turns of one conversation, undefined where there is none: embeddings. */
  readonly conversation: string | undefined;
}

/** Characters of a token, on average. */
const tokenCharacters = 4;
/** Tokens that a chat template and a reserve may take. */
const templateTokens = 256;
/** Characters of each message that go into the hash. */
const prefixCharacters = 4_096;

/** New with every process: hashes say nothing to anybody else. */
const secret = randomBytes(32).toString("hex");

/** @param path route of the OpenAI surface, without /v1 */
export function needsOf(path: string, json: Json): RequestNeeds {
  const answer = [json["max_tokens"], json["max_completion_tokens"]].find((value) => typeof value === "number") ?? 0;
  const sizes = { characters: 0, images: false, audio: false };
  const prompt = path.endsWith("/embeddings") ? json["input"] : (json["messages"] ?? json["prompt"]);
  measure([prompt, json["tools"]], sizes);
  const tokens = Math.ceil(sizes.characters / tokenCharacters) + templateTokens + Math.max(0, answer);
  if (path.endsWith("/embeddings")) return { kinds: ["embeddings"], tokens, conversation: undefined };
  if (path.endsWith("/completions") && !path.endsWith("/chat/completions")) {
    return { kinds: ["text"], tokens, conversation: hashed([json["model"], beginning(json["prompt"])]) };
  }
  const kinds: Need[] = [
    "chat",
    ...(sizes.images ? (["vision"] as const) : []),
    ...(sizes.audio ? (["audio"] as const) : []),
  ];
  return { kinds, tokens, conversation: conversationOf(json) };
}

/** The caller's own name of the conversation, else its beginning: all up to the first word of the user. */
function conversationOf(json: Json): string | undefined {
  for (const field of ["prompt_cache_key", "session_id"]) {
    const value = json[field];
    if (typeof value === "string" && value !== "") return hashed([json["model"], field, value]);
  }
  const messages: readonly unknown[] = Array.isArray(json["messages"]) ? json["messages"] : [];
  const first = messages.findIndex((message) => isRecord(message) && message["role"] === "user");
  if (first < 0) return undefined;
  return hashed([json["model"], ...messages.slice(0, first + 1).map(beginning)]);
}

function beginning(value: unknown): string {
  const whole = isRecord(value) ? value["content"] : value;
  if (typeof whole === "string") return JSON.stringify(whole.slice(0, prefixCharacters)).slice(0, prefixCharacters);
  // strings shortened first: an image is not written out for its first characters
  const shortened = (_name: string, part: unknown): unknown =>
    typeof part === "string" ? part.slice(0, prefixCharacters) : part;
  return (JSON.stringify(whole, shortened) ?? "").slice(0, prefixCharacters);
}

function hashed(parts: readonly unknown[]): string {
  return hash("sha256", `${secret}${JSON.stringify(parts)}`, "base64url");
}

/** Adds up the text below `value`; what data URLs hold is no text. Without recursion: the depth is a caller's. */
function measure(value: unknown, sizes: { characters: number; images: boolean; audio: boolean }): void {
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next === "string") sizes.characters += next.startsWith("data:") ? 0 : next.length;
    else if (typeof next === "object" && next !== null) {
      const type = "type" in next ? next.type : undefined;
      if (type === "image_url" || type === "input_image") sizes.images = true;
      if (type === "input_audio") {
        sizes.audio = true;
        continue; // its data is base64 without a prefix
      }
      open.push(...Object.values(next));
    }
  }
}

/** Asks a node's OpenAI API for one answer, hands on each piece as it comes, and says how it travelled. Knows no terminal. */
import { type ErrorCode, errorTable, isMeshError, MeshError } from "../../base/errors.ts";
import { countOf, isRecord, type Json, parseJsonText } from "../../base/json.ts";
import { sseReader } from "../../openai/sse.ts";
import { speakable } from "./lines.ts";

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** Where the API is. */
export interface ChatPlace {
  /** Without "/v1". */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly text: string;
  /** Null where the engine did not say. */
  readonly finishReason: string | null;
  readonly model: string | null;
  /** The x-sealmesh-* headers; null where one is missing. */
  readonly host: string | null;
  readonly sealed: string | null;
  readonly route: string | null;
  readonly tier: string | null;
  readonly evidence: string | null;
  readonly attempts: number | null;
  readonly requestId: string | null;
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  /** From the question on, ms; null: no text came. */
  readonly firstTokenMs: number | null;
  readonly ms: number;
  /** Whether it was cut short by `signal`. */
  readonly stopped: boolean;
}

export interface Question {
  readonly place: ChatPlace;
  readonly model: string;
  readonly messages: readonly Message[];
  /** @param thinking text that belongs to no answer */
  readonly onPiece: (text: string, thinking: boolean) => void;
  readonly signal: AbortSignal;
}

interface Told {
  text: string;
  finishReason: string | null;
  model: string | null;
  promptTokens: number | null;
  completionTokens: number | null;
  firstTokenMs: number | null;
  whole: boolean;
}

/** @throws the node's own error, by its code and its sentence · E_TRUNCATED it broke off · E_UNREACHABLE nobody there */
export async function askModel(question: Question): Promise<Answer> {
  const { place, model, messages, signal } = question;
  const started = performance.now();
  const told: Told = {
    text: "",
    finishReason: null,
    model: null,
    promptTokens: null,
    completionTokens: null,
    firstTokenMs: null,
    whole: false,
  };
  const body = JSON.stringify({ model, messages, stream: true, stream_options: { include_usage: true } });
  const headers = { ...place.headers, "content-type": "application/json" };
  let response: Response | undefined;
  try {
    response = await fetch(`${place.url}/v1/chat/completions`, { method: "POST", headers, body, signal });
    if (!response.ok || !response.body) throw apiError(await response.text(), response.status);
    await readAnswer(response.body, told, started, question.onPiece);
  } catch (thrown) {
    if (!signal.aborted) throw failure(thrown, response !== undefined);
  }
  const header = (name: string): string | null => response?.headers.get(name) ?? null;
  return {
    ...told,
    host: header("x-sealmesh-host"),
    sealed: header("x-sealmesh-sealed"),
    route: header("x-sealmesh-route"),
    tier: header("x-sealmesh-attested"),
    evidence: header("x-sealmesh-evidence"),
    attempts: countOf(Number(header("x-sealmesh-attempts") ?? Number.NaN)) ?? null,
    requestId: header("x-request-id"),
    ms: performance.now() - started,
    stopped: signal.aborted,
  };
}

async function readAnswer(
  body: AsyncIterable<Uint8Array>,
  told: Told,
  started: number,
  onPiece: Question["onPiece"],
): Promise<void> {
  const reader = sseReader();
  for await (const bytes of body) {
    for (const { data } of reader.read(bytes)) {
      if (data === "[DONE]") {
        told.whole = true;
        continue;
      }
      const chunk = parseJsonText(data);
      if (!isRecord(chunk) || "error" in chunk) throw apiError(data, 502);
      const { text, thinking } = readChunk(chunk, told);
      if (text + thinking === "") continue;
      told.firstTokenMs ??= performance.now() - started;
      told.text += text;
      if (thinking !== "") onPiece(thinking, true);
      if (text !== "") onPiece(text, false);
    }
  }
  if (!told.whole) throw new MeshError("E_TRUNCATED", "the answer ended without its end mark");
}

function readChunk(chunk: Json, told: Told): { readonly text: string; readonly thinking: string } {
  const choices: unknown[] = Array.isArray(chunk["choices"]) ? chunk["choices"] : [];
  const [choice] = choices;
  const delta = isRecord(choice) && isRecord(choice["delta"]) ? choice["delta"] : {};
  const usage = isRecord(chunk["usage"]) ? chunk["usage"] : {};
  const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
  told.model = textOf(chunk["model"]) || told.model;
  told.finishReason = (isRecord(choice) && textOf(choice["finish_reason"])) || told.finishReason;
  told.promptTokens = countOf(usage["prompt_tokens"]) ?? told.promptTokens;
  told.completionTokens = countOf(usage["completion_tokens"]) ?? told.completionTokens;
  // engines have two names for it
  const thinking = textOf(delta["reasoning_content"]) || textOf(delta["reasoning"]);
  return { text: textOf(delta["content"]), thinking };
}

function failure(thrown: unknown, begun: boolean): MeshError {
  if (isMeshError(thrown)) return thrown;
  return begun
    ? new MeshError("E_TRUNCATED", "the connection broke in the middle of the answer", { cause: thrown })
    : new MeshError("E_UNREACHABLE", "the node does not answer any more: is it running?", { cause: thrown });
}

/** An OpenAI error object as the error that it came from, and without the hint, which our errors have beside the message. */
export function apiError(text: string, status: number): MeshError {
  const document = parseJsonText(text);
  const error = isRecord(document) && isRecord(document["error"]) ? document["error"] : {};
  const { message, code } = error;
  const known = Object.entries(errorTable).find(([, row]) => row.code === code);
  // it may be a host's own, and goes to a terminal
  const said = typeof message === "string" ? speakable(message) : `the node answers with status ${status}`;
  if (!known) return new MeshError("E_ENGINE", said);
  const [name, { hint }] = known;
  return new MeshError(name as ErrorCode, said.endsWith(hint) ? said.slice(0, -hint.length).trimEnd() : said);
}

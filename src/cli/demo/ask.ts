/** Asks the demo's client node as any OpenAI client would, over HTTP, and hands on each piece of the answer. */
import { isMeshError, MeshError } from "../../base/errors.ts";
import { sleep } from "../../base/deadline.ts";
import { sseReader } from "../../openai/sse.ts";

export interface DemoAnswer {
  readonly text: string;
  /** The answer as it came: one piece per event. */
  readonly pieces: readonly string[];
  /** The headers x-sealmesh-host, -sealed and -route; empty when missing. */
  readonly host: string;
  readonly sealed: string;
  readonly route: string;
  readonly firstTokenMs: number;
  readonly tokens: number;
  /** Undefined when all came at once. */
  readonly tokensPerSecond: number | undefined;
}

export interface DemoQuestion {
  readonly apiUrl: string;
  readonly model: string;
  readonly question: string;
  readonly onPiece: (text: string) => void;
  readonly signal: AbortSignal;
}

const pollMs = 25;

/** Waits until the node offers a model. @throws E_NO_HOST not in time */
export async function waitForModel(apiUrl: string, ms: number, signal: AbortSignal): Promise<string> {
  const until = performance.now() + ms;
  while (performance.now() < until) {
    const response = await fetch(`${apiUrl}/v1/models`, { signal });
    const [model] = modelIds(await response.json());
    if (model !== undefined) return model;
    await sleep(pollMs, signal);
  }
  throw new MeshError("E_NO_HOST", `the client did not hear of the host's model within ${ms / 1000} s`);
}

function modelIds(list: unknown): string[] {
  if (!isObject(list) || !Array.isArray(list["data"])) return [];
  const entries: unknown[] = list["data"];
  return entries.flatMap((entry) => (isObject(entry) && typeof entry["id"] === "string" ? [entry["id"]] : []));
}

/** @throws E_ENGINE, E_TRUNCATED and others with the node's own sentence */
export async function ask({ apiUrl, model, question, onPiece, signal }: DemoQuestion): Promise<DemoAnswer> {
  const started = performance.now();
  const response = await fetch(`${apiUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(requestBody(model, question)),
    signal,
  });
  if (!response.ok || !response.body) throw answerError(await response.text());
  const reader = sseReader();
  const pieces: string[] = [];
  let firstTokenMs = 0;
  let lastTokenMs = 0;
  let tokens = 0;
  let done = false;
  for await (const bytes of readAll(response.body)) {
    for (const { data } of reader.read(bytes)) {
      if (data === "[DONE]") {
        done = true;
        continue;
      }
      const { text, completionTokens, failed } = readChunk(data);
      if (failed) throw answerError(data);
      if (completionTokens !== undefined) tokens = completionTokens;
      if (text === "") continue;
      lastTokenMs = performance.now() - started;
      if (pieces.length === 0) firstTokenMs = lastTokenMs;
      pieces.push(text);
      onPiece(text);
    }
  }
  if (!done) throw new MeshError("E_TRUNCATED", "the answer ended without its end mark");
  const seconds = (lastTokenMs - firstTokenMs) / 1000;
  const header = (name: string): string => response.headers.get(`x-sealmesh-${name}`) ?? "";
  return {
    text: pieces.join(""),
    pieces,
    host: header("host"),
    sealed: header("sealed"),
    route: header("route"),
    firstTokenMs,
    tokens,
    tokensPerSecond: seconds > 0 && tokens > 1 ? (tokens - 1) / seconds : undefined,
  };
}

/** What the demo sends, which is what the relay's bytes are searched for. */
export function requestBody(model: string, question: string): object {
  return {
    model,
    messages: [{ role: "user", content: question }],
    // the same answer each time
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** A break in mid-answer arrives as a failed read. */
async function* readAll(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } catch (cause) {
    if (isMeshError(cause)) throw cause;
    throw new MeshError("E_TRUNCATED", "the connection broke in the middle of the answer", { cause });
  }
}

interface Chunk {
  readonly text: string;
  readonly completionTokens: number | undefined;
  readonly failed: boolean;
}

function readChunk(data: string): Chunk {
  const value: unknown = JSON.parse(data);
  if (!isObject(value)) return { text: "", completionTokens: undefined, failed: true };
  const choices: unknown[] = Array.isArray(value["choices"]) ? value["choices"] : [];
  const [choice] = choices;
  const delta = isObject(choice) && isObject(choice["delta"]) ? choice["delta"] : {};
  const usage = isObject(value["usage"]) ? value["usage"] : {};
  const completionTokens = usage["completion_tokens"];
  return {
    text: typeof delta["content"] === "string" ? delta["content"] : "",
    completionTokens: typeof completionTokens === "number" ? completionTokens : undefined,
    failed: "error" in value,
  };
}

/** The message of an OpenAI error object, which is written for people. */
function answerError(text: string): MeshError {
  let message = text.slice(0, 300);
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value) && isObject(value["error"]) && typeof value["error"]["message"] === "string") {
      message = value["error"]["message"];
    }
  } catch {
    // not ours: shown as it is
  }
  return new MeshError("E_ENGINE", `the question was not answered: ${message}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

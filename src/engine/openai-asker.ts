/**
 * Requests to whatever has an OpenAI surface, and its answers, cleaned: what a request must be, which bytes go out, what
 * of an answer or an error comes back, and when it is given up. Knows no sockets and no list of models: openai-http.ts has a
 * program behind a URL, function.ts a function of this process.
 *
 * @see engines.md §5.2 for how these programs differ, §5.3 for the rules
 */
import { Body, flowOf, once } from "../base/body.ts";
import { empty, utf8 } from "../base/bytes.ts";
import { abortError, Silence } from "../base/deadline.ts";
import { isMeshError, MeshError, toMeshError, unlessMeshError } from "../base/errors.ts";
import { type Flow, next, type Now } from "../base/flow.ts";
import { isRecord, parseJsonText } from "../base/json.ts";
import { Aborter, type Signal } from "../base/signal.ts";
import { checkChat, completionId, wantsUsage } from "../openai/chat.ts";
import { readUpstreamError, readUpstreamErrorText, type UpstreamError } from "../openai/errors.ts";
import { answerRoom, isOverflow, overflowError, overflowFacts } from "../openai/overflow.ts";
import { type DeltaPattern, deltaPattern } from "../openai/delta-pattern.ts";
import { edited } from "../openai/request.ts";
import { type SseEvent, sseDone, sseReader, sseText } from "../openai/sse.ts";
import type { Answer, EngineRequest } from "./engine.ts";
import { type HttpAnswer, type HttpClient, parseJson, readBounded } from "./http.ts";

export interface AskerParts {
  readonly send: HttpClient["send"];
  /** Ends in "/v1", mostly. */
  readonly baseUrl: string;
  /** Beside those of the content. */
  readonly headers: (request: EngineRequest) => Readonly<Record<string, string>>;
  /** Longest silence inside an exchange, the wait for the first token included, ms. */
  readonly silenceMs: number;
  /** Tokens that one request may use; undefined: not known. */
  readonly contextOf: (model: string) => number | undefined;
  /** An exchange broke: the first sign that the engine has gone. */
  readonly onFailure: () => void;
}

// a base64 image or a long embedding list stays below
const wholeAnswerBytes = 64 * 1024 * 1024;
const errorBytes = 256 * 1024;
/** From here on it pays to leave an answer as it is, bytes. */
const longAnswerBytes = 64 * 1024;

type Route = "chat" | "completions" | "embeddings";

const routes: ReadonlyMap<string, Route> = new Map<string, Route>([
  ["/v1/chat/completions", "chat"],
  ["/v1/completions", "completions"],
  ["/v1/embeddings", "embeddings"],
]);

export class OpenAiAsker {
  readonly #parts: AskerParts;
  readonly #exchanges = new Set<Exchange>();
  /** Of the few routes. */
  readonly #urls = new Map<string, URL>();
  #closed = false;

  constructor(parts: AskerParts) {
    this.#parts = parts;
  }

  /** Exchanges that have not ended. */
  get running(): number {
    return this.#exchanges.size;
  }

  /** @throws as an engine does, see Engine in engine.ts */
  async answer(request: EngineRequest): Promise<Answer> {
    const route = routes.get(request.path);
    if (route === undefined) throw new MeshError("E_NOT_FOUND", `No engine answers ${request.path}.`);
    if (this.#closed) throw shutDown();
    const plan = planOf(route, request);
    const exchange = new Exchange(request.signal, this.#parts.silenceMs, (done) => this.#exchanges.delete(done));
    this.#exchanges.add(exchange);
    try {
      return await this.#exchange(plan, request, exchange);
    } catch (thrown) {
      const error = exchange.reasonOf(thrown);
      exchange.abort(error); // an engine whose first event was no good may go on all the same
      if (error.code === "E_ENGINE") this.#parts.onFailure();
      throw error;
    }
  }

  async #exchange(plan: Plan, request: EngineRequest, exchange: Exchange): Promise<Answer> {
    let answer = await this.#post(plan, request, plan.body(request), exchange);
    if (answer.status >= 400) {
      const upstream = await readError(answer);
      const room = isOverflow(upstream) && plan.route === "chat" ? answerRoom(upstream) : undefined;
      if (room === undefined || !asksForMore(request.json, room)) throw this.#upstreamError(upstream, answer, plan);
      // only max_tokens was too large, which OpenAI would have cut by itself
      answer = await this.#post(plan, request, plan.body(request, room), exchange);
      if (answer.status >= 400) throw this.#upstreamError(await readError(answer), answer, plan);
    }
    if (answer.status !== 200) throw new MeshError("E_ENGINE", `the engine answered with status ${answer.status}`);
    const contentType = answer.headers["content-type"] ?? "";
    if (plan.stream && contentType.includes("text/event-stream")) return await this.#stream(plan, answer, exchange);
    return await this.#whole(plan, answer, exchange);
  }

  #post(plan: Plan, request: EngineRequest, body: Uint8Array, exchange: Exchange): Promise<HttpAnswer> {
    return exchange.wait(
      this.#parts.send({
        method: "POST",
        url: this.#urlOf(plan.path),
        headers: {
          "content-type": "application/json",
          accept: plan.stream ? "text/event-stream" : "application/json",
          ...this.#parts.headers(request),
        },
        body,
        signal: exchange.signal,
      }),
    );
  }

  #urlOf(path: string): URL {
    const known = this.#urls.get(path);
    if (known) return known;
    const url = new URL(`${this.#parts.baseUrl}${path}`);
    this.#urls.set(path, url);
    return url;
  }

  async #whole(plan: Plan, answer: HttpAnswer, exchange: Exchange): Promise<Answer> {
    const bytes = await exchange.wait(readBounded(answer, wholeAnswerBytes));
    const json = parseJson(bytes);
    if (!isRecord(json)) throw new MeshError("E_ENGINE", "the engine's answer is not JSON");
    if (holdsError(json)) throw this.#upstreamError(readUpstreamError(500, bytes), answer, plan);
    if (plan.stream) throw new MeshError("E_ENGINE", "the engine did not stream although the request asked for it");
    const name = plan.route === "embeddings" ? "data" : "choices";
    const list = json[name];
    if (!Array.isArray(list) || list.length === 0)
      throw new MeshError("E_ENGINE", `the engine's answer has no '${name}'`);
    const body = cleanedBytes(bytes, json, plan);
    exchange.end();
    return { status: 200, headers: { "content-type": "application/json" }, body: once(body) };
  }

  /** Resolves with the first event, so that everything that fails before still has its own status. */
  async #stream(plan: Plan, answer: HttpAnswer, exchange: Exchange): Promise<Answer> {
    const cleaner = new StreamCleaner(plan, (upstream) => this.#upstreamError(upstream, answer, plan));
    const reader = sseReader();
    const upstream = flowOf(answer.body[Symbol.asyncIterator]());
    /** Not given yet. */
    let text = "";
    let ended = false;
    /** Takes in what has come, up to text for the caller or the end; whether it got there. */
    const advance = (): boolean => {
      while (text === "" && !cleaner.done && !ended) {
        const piece = upstream.now();
        if (piece === undefined) return false;
        ended = piece === "end";
        text = cleaner.take(piece === "end" ? reader.end() : reader.read(piece)) ?? "";
      }
      return true;
    };
    while (!advance()) await exchange.wait(upstream.more());
    if (text === "") throw cutShort();

    let saidDone = false;
    let drained = false;
    const leave = (): void => {
      exchange.end();
      answer.discard();
    };
    const now = (): Now => {
      try {
        if (!advance()) return undefined;
        if (text !== "") {
          const bytes = utf8(text);
          text = "";
          return bytes;
        }
        if (!cleaner.finished) throw cutShort();
        if (!saidDone) {
          saidDone = true;
          return sseDone;
        }
        if (!drained) return undefined;
        leave();
        return "end";
      } catch (thrown) {
        const error = exchange.reasonOf(thrown);
        if (error.code === "E_ENGINE") this.#parts.onFailure();
        leave();
        throw error;
      }
    };
    const heard = (): void => exchange.heard();
    const drain = async (): Promise<void> => {
      await exchange.drain(upstream, answer);
      drained = true;
    };
    const more = (): Promise<void> => {
      if (saidDone) return drain();
      exchange.begin();
      return upstream.more().then(heard);
    };
    return {
      status: 200,
      headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
      body: new Body({ now, more }, { leave }),
    };
  }

  #upstreamError(upstream: UpstreamError, answer: HttpAnswer, plan: Plan): MeshError {
    const { status, message } = upstream;
    const param = upstream.param === undefined ? {} : { param: upstream.param };
    if (isOverflow(upstream)) {
      const facts = overflowFacts(upstream);
      const known = this.#parts.contextOf(plan.model);
      return overflowError({
        limitTokens: facts.limitTokens ?? known,
        promptTokens: facts.promptTokens,
        param: plan.promptParam,
      });
    }
    const unknownModel = upstream.code === "model_not_found" || /\bmodel\b.*\bnot (?:be )?found\b/i.test(message);
    if (unknownModel || (status === 404 && plan.route === "chat")) {
      return new MeshError("E_MODEL", `The engine has no model '${plan.model}'.`, { param: "model" });
    }
    switch (status) {
      case 401:
      case 403:
        return new MeshError("E_ENGINE", `the engine refused our key (status ${status}); see --engine-key-file`);
      case 404:
      case 501:
        return new MeshError("E_UNSUPPORTED", `The engine does not offer ${plan.path} for this model.`, {
          param: "model",
        });
      case 413:
        return new MeshError("E_TOO_LARGE", message, param);
      case 429:
      case 503: {
        const retryAfterSeconds = retryAfter(answer.headers["retry-after"]) ?? (status === 429 ? 1 : 2);
        return new MeshError("E_BUSY", message, { retryAfterSeconds });
      }
      default:
        return status >= 400 && status < 500
          ? new MeshError("E_INPUT", message, param)
          : new MeshError("E_ENGINE", `the engine failed: ${message}`);
    }
  }

  /** Ends what runs. */
  close(): void {
    this.#closed = true;
    for (const exchange of this.#exchanges) exchange.abort(shutDown());
  }
}

function shutDown(): MeshError {
  return new MeshError("E_CLOSED", "the engine has been shut down");
}

/** What is decided about a request before it is sent. */
interface Plan {
  readonly route: Route;
  /** Below the base URL. */
  readonly path: string;
  readonly model: string;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** One id for all chunks; undefined where there is none: embeddings. */
  readonly id: string | undefined;
  readonly promptParam: string;
  /** The body to send: as received unless a stream needs its usage, or the answer a shorter limit. */
  body(request: EngineRequest, maxTokens?: number): Uint8Array;
}

function planOf(route: Route, request: EngineRequest): Plan {
  const { json } = request;
  const path = request.path.slice("/v1".length);
  if (route === "chat" || route === "completions") {
    const { model, stream, includeUsage } = route === "chat" ? checkChat(json) : checkCompletion(json);
    return {
      route,
      path,
      model,
      stream,
      includeUsage,
      id: completionId(route === "chat" ? "chatcmpl" : "cmpl"),
      promptParam: route === "chat" ? "messages" : "prompt",
      body: ({ body }, maxTokens) => {
        if (maxTokens === undefined && (!stream || includeUsage)) return body;
        const options = isRecord(json["stream_options"]) ? json["stream_options"] : {};
        return utf8(
          JSON.stringify({
            ...json,
            ...(stream ? { stream_options: { ...options, include_usage: true } } : {}),
            ...(maxTokens === undefined ? {} : { [maxTokensField(json)]: maxTokens }),
          }),
        );
      },
    };
  }
  return {
    route,
    path,
    model: modelName(json),
    stream: false,
    includeUsage: true,
    id: undefined,
    promptParam: "input",
    body: ({ body }) => body,
  };
}

function checkCompletion(json: Readonly<Record<string, unknown>>): {
  model: string;
  stream: boolean;
  includeUsage: boolean;
} {
  return { model: modelName(json), stream: json["stream"] === true, includeUsage: wantsUsage(json) };
}

function modelName(json: Readonly<Record<string, unknown>>): string {
  const model = json["model"];
  if (typeof model !== "string" || model === "") {
    throw new MeshError("E_INPUT", "'model' must be the name of a model.", { param: "model" });
  }
  return model;
}

function maxTokensField(json: Readonly<Record<string, unknown>>): "max_completion_tokens" | "max_tokens" {
  return typeof json["max_completion_tokens"] === "number" ? "max_completion_tokens" : "max_tokens";
}

function asksForMore(json: Readonly<Record<string, unknown>>, room: number): boolean {
  const asked = json[maxTokensField(json)];
  return typeof asked === "number" && asked > room;
}

/** The answer as the caller may see it: its own model name, one id, nothing about that machine. */
function cleaned(json: Readonly<Record<string, unknown>>, plan: Plan, id: string | undefined): Record<string, unknown> {
  const clean: Record<string, unknown> = { ...json };
  delete clean["timings"];
  // llama-server's debug output repeats the prompt
  delete clean["__verbose"];
  if ("model" in clean) clean["model"] = plan.model;
  if (id !== undefined && "id" in clean) clean["id"] = id;
  return clean;
}

/** After so many events in a row that had to be parsed, no pattern is looked for. */
const unlikeLimit = 16;

/** The same as JSON. Of a long one the bytes stay, but for the members that change: writing it anew takes as long as the way. */
function cleanedBytes(bytes: Uint8Array, json: Readonly<Record<string, unknown>>, plan: Plan): Uint8Array {
  const clean = cleaned(json, plan, plan.id);
  if (bytes.length >= longAnswerBytes) {
    const changes = new Map(
      Object.keys(json)
        .filter((name) => clean[name] !== json[name])
        .map((name) => [name, clean[name]]),
    );
    const kept = unlessMeshError(() => edited({ bytes, json }, changes).bytes);
    if (kept) return kept;
  }
  return utf8(JSON.stringify(clean));
}

/** Turns the engine's events into those that the caller gets. One per stream. */
class StreamCleaner {
  readonly #plan: Plan;
  readonly #toError: (upstream: UpstreamError) => MeshError;
  /** A finish reason has been seen: the answer is complete. */
  finished = false;
  /** `[DONE]` has been seen. */
  done = false;
  /** Of the last event that was parsed. */
  #pattern: DeltaPattern | undefined;
  /** Events in a row that had to be parsed. */
  #unlike = 0;

  constructor(plan: Plan, toError: (upstream: UpstreamError) => MeshError) {
    this.#plan = plan;
    this.#toError = toError;
  }

  /** Text for the caller; undefined when these events hold nothing for it. @throws the engine's error, if one is in it */
  take(events: readonly SseEvent[]): string | undefined {
    let text = "";
    for (const event of events) {
      if (this.done) break;
      if (event.data === "") continue; // a sign of life
      if (event.data === "[DONE]") this.done = true;
      else text += this.#event(event);
    }
    return text === "" ? undefined : text;
  }

  #event({ event, data }: SseEvent): string {
    const alike = event === undefined ? this.#pattern?.apply(data) : undefined;
    if (alike !== undefined) {
      this.#unlike = 0;
      return alike;
    }
    const json = parseJsonText(data);
    if (event === "error" || (isRecord(json) && holdsError(json))) {
      throw this.#toError(readUpstreamErrorText(errorStatus(json), data));
    }
    if (!isRecord(json)) throw new MeshError("E_ENGINE", "the engine sent an event that is not JSON");
    const text = this.#chunk(json);
    // an engine whose events all differ, in a time for example, is not looked at for ever
    const isWorthIt = event === undefined && text !== "" && this.#unlike < unlikeLimit;
    this.#pattern = isWorthIt ? deltaPattern(data, json, text) : undefined;
    this.#unlike += 1;
    return text;
  }

  #chunk(json: Record<string, unknown>): string {
    const chunk = cleaned(json, this.#plan, this.#plan.id);
    const choices: readonly unknown[] = Array.isArray(chunk["choices"]) ? chunk["choices"] : [];
    for (const choice of choices) {
      if (isRecord(choice) && typeof choice["finish_reason"] === "string") this.finished = true;
    }
    if (!this.#plan.includeUsage && "usage" in chunk) {
      delete chunk["usage"];
      if (choices.length === 0) return "";
    }
    return sseText(chunk);
  }
}

function holdsError(json: Readonly<Record<string, unknown>>): boolean {
  const error = json["error"];
  return json["object"] === "error" || isRecord(error) || (typeof error === "string" && error !== "");
}

/** Status that an error event stands for: llama-server writes it into `code`. */
function errorStatus(json: unknown): number {
  const error = isRecord(json) ? json["error"] : undefined;
  const code = isRecord(error) ? error["code"] : undefined;
  return typeof code === "number" && code >= 400 && code < 600 ? code : 500;
}

async function readError(answer: HttpAnswer): Promise<UpstreamError> {
  try {
    return readUpstreamError(answer.status, await readBounded(answer, errorBytes));
  } catch (thrown) {
    if (isMeshError(thrown) && thrown.code !== "E_ENGINE") throw thrown;
    // too large or cut: the status alone has to do
    return readUpstreamError(answer.status, empty);
  }
}

/** Seconds of a Retry-After header, at most an hour. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(3600, Math.max(1, seconds)) : undefined;
}

function cutShort(): MeshError {
  return new MeshError("E_ENGINE", "the engine's stream ended before the answer was complete");
}

// what follows [DONE] is the end of the chunked body; waiting for it keeps the connection for the next request
const drainMs = 250;

/** One request under way: its abort, its silence limit and its place in the count of running ones. */
class Exchange {
  /** Fires for the caller's abort, the engine's closing and too long a silence; closes the socket. */
  readonly signal = new Aborter();
  readonly #caller: Signal;
  readonly #silence: Silence;
  readonly #onEnd: (self: Exchange) => void;
  readonly #onAbort = (): void => this.abort(abortError(this.#caller));
  #ended = false;

  constructor(caller: Signal, silenceMs: number, onEnd: (self: Exchange) => void) {
    this.#caller = caller;
    this.#silence = new Silence(silenceMs, () =>
      this.abort(new MeshError("E_TIMEOUT", `the engine was silent for ${silenceMs} ms`)),
    );
    this.#onEnd = onEnd;
    if (caller.aborted) this.signal.abort(abortError(caller));
    else caller.addEventListener("abort", this.#onAbort, { once: true });
  }

  abort(reason: Error): void {
    this.signal.abort(reason);
    this.end();
  }

  /** Waits for the engine's next move; too long a silence aborts, which ends it. Time spent with a slow caller does not count. */
  async wait<T>(work: Promise<T>): Promise<T> {
    this.begin();
    try {
      return await work;
    } finally {
      this.heard();
    }
  }

  /** The same in two parts, for one of many waits: it begins, and has ended. */
  begin(): void {
    if (!this.#ended) this.#silence.begin();
  }

  heard(): void {
    this.#silence.end();
  }

  async drain(upstream: Flow, answer: HttpAnswer): Promise<void> {
    const timer = setTimeout(() => answer.discard(), drainMs);
    try {
      while (await next(upstream));
    } catch {
      // the answer is complete already; a connection that breaks now is only not used again
    } finally {
      clearTimeout(timer);
    }
  }

  /** Why the exchange failed: our own reason for aborting, if there was one, else what was thrown. */
  reasonOf(thrown: unknown): MeshError {
    return toMeshError(this.signal.aborted ? this.signal.reason : thrown, "E_ENGINE");
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#silence.close();
    this.#caller.removeEventListener("abort", this.#onAbort);
    this.#onEnd(this);
  }
}

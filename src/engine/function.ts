/**
 * An engine that is a function of the program around this node: it gets each request as a Request and answers with a
 * Response, in OpenAI's form. What it gives is checked and cleaned as that of a program behind a URL is (openai-asker.ts); what it
 * throws stays here. It runs in this process, and nothing here hardens it or knows what it keeps.
 */
import { abortError, unlessAborted } from "../base/deadline.ts";
import { isMeshError, MeshError } from "../base/errors.ts";
import { platformSignal, type Signal } from "../base/signal.ts";
import type { Answer, Engine, EngineKind, EngineModel, EngineOptions, EngineRequest, EngineState } from "./engine.ts";
import type { HttpAnswer, HttpRequest } from "./http.ts";
import { OpenAiAsker } from "./openai-asker.ts";

export interface FunctionSettings {
  readonly kind: "function";
  /** What it answers for, none twice. */
  readonly models: readonly EngineModel[];
  /**
   * Answers one POST to /v1/chat/completions, /v1/completions or /v1/embeddings. `request.signal` fires when the caller has
   * gone; the header x-sealmesh-asker says who asks: "local", or an endpoint id.
   */
  readonly answer: (request: Request) => Response | Promise<Response>;
  /** Longest silence inside an exchange, the wait for the first token included. @default 15 minutes */
  readonly silenceMs?: number;
}

/** Never looked up: a path must stand in a URL. */
const baseUrl = "http://engine.invalid/v1";

export const functionKind: EngineKind<FunctionSettings> = {
  kind: "function",
  start: (settings, options) => Promise.resolve(new FunctionEngine(settings, options)),
};

class FunctionEngine implements Engine {
  readonly name = "function";
  readonly kind = "external";
  readonly pid = undefined;
  readonly #models: readonly EngineModel[];
  readonly #asker: OpenAiAsker;
  #state: EngineState = { kind: "up" };

  constructor({ models, answer, silenceMs = 15 * 60_000 }: FunctionSettings, { log }: EngineOptions) {
    this.#models = models;
    this.#asker = new OpenAiAsker({
      send: (request) => send(request, answer),
      baseUrl,
      headers: ({ asker }: EngineRequest) => ({ "x-sealmesh-asker": asker }),
      silenceMs,
      contextOf: (model) => models.find(({ id }) => id === model)?.contextLength,
      onFailure: () => undefined, // it is there for as long as this process is
    });
    log.write("info", { event: "engine-up", engine: this.name, models: models.map(({ id }) => id) });
  }

  get state(): EngineState {
    return this.#state;
  }

  get models(): readonly EngineModel[] {
    return this.#state.kind === "up" ? this.#models : [];
  }

  get load(): Engine["load"] {
    return { running: this.#asker.running, waiting: 0, slots: undefined };
  }

  answer(request: EngineRequest): Promise<Answer> {
    return this.#asker.answer(request);
  }

  close(): Promise<void> {
    this.#state = { kind: "down", why: "it has been shut down" };
    this.#asker.close();
    return Promise.resolve();
  }
}

/** Calls the function. What it does after the signal is its own affair: nobody waits for it. @throws E_ENGINE, E_ABORTED */
async function send(
  { method, url, headers, body, signal }: HttpRequest,
  answer: FunctionSettings["answer"],
): Promise<HttpAnswer> {
  if (signal.aborted) throw abortError(signal);
  const request = new Request(url, {
    method,
    headers: { ...headers },
    body: body ? new Uint8Array(body) : null,
    signal: platformSignal(signal),
  });
  let given: unknown;
  const calling = Promise.resolve().then(() => answer(request));
  // one that answers too late has a body that nobody will read
  calling.then((late) => signal.aborted && discard(late), ignore);
  try {
    given = await unlessAborted(calling, signal);
  } catch (thrown) {
    throw failureOf(thrown, signal);
  }
  if (!isResponse(given))
    throw new MeshError("E_ENGINE", "the engine's function answered with something that is no Response");
  const { status, body: stream } = given;
  const reader = stream?.getReader();
  signal.addEventListener("abort", () => void reader?.cancel(abortError(signal)).catch(ignore), { once: true });
  return {
    status,
    headers: Object.fromEntries(given.headers),
    body: readAll(reader, signal),
    discard: () => void reader?.cancel().catch(ignore),
  };
}

/** One piece at a time, when it is asked for: the function's stream is pulled no faster than that. */
async function* readAll(
  reader: ReadableStreamDefaultReader<unknown> | undefined,
  signal: Signal,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for (;;) {
      const piece = reader && (await unlessAborted(reader.read(), signal));
      if (piece === undefined || piece.done) return;
      if (!(piece.value instanceof Uint8Array)) {
        throw new MeshError("E_ENGINE", "the engine's function streamed something that is no bytes");
      }
      yield piece.value;
    }
  } catch (thrown) {
    throw failureOf(thrown, signal);
  } finally {
    await reader?.cancel().catch(ignore);
  }
}

/** Its own words may hold a prompt, or name files of this machine: they stay in the cause, which goes to nobody. */
function failureOf(thrown: unknown, signal: Signal): MeshError {
  if (signal.aborted) {
    const reason = abortError(signal);
    return isMeshError(reason) ? reason : new MeshError("E_ABORTED", "the operation was aborted", { cause: reason });
  }
  if (isMeshError(thrown) && thrown.code === "E_ENGINE") return thrown;
  return new MeshError("E_ENGINE", "the engine's function failed", { cause: thrown });
}

/** By its shape: another copy of undici has a Response of its own. */
function isResponse(value: unknown): value is Response {
  if (typeof value !== "object" || value === null || !("status" in value && "headers" in value && "body" in value)) {
    return false;
  }
  const { status, headers, body } = value;
  const isStream = body === null || (typeof body === "object" && "getReader" in body);
  const isList = typeof headers === "object" && headers !== null && Symbol.iterator in headers;
  return typeof status === "number" && isList && isStream;
}

function discard(late: unknown): void {
  if (isResponse(late)) late.body?.cancel().catch(ignore);
}

function ignore(): void {
  // whoever waited for it has been told
}

/**
 * An engine behind a URL: any program with an OpenAI surface (llama-server, Ollama, vLLM, LM Studio, ...). Here is whether it
 * is there and which models it lists; what it is asked, and how its answers are cleaned, is in openai-asker.ts. It is another
 * program: nothing here hardens it or knows what it keeps.
 *
 * @see engines.md §5.2 for how these programs differ, §5.3 for the rules
 */
import { MeshError, toMeshError } from "../base/errors.ts";
import { type EngineProgram, identify, modelEntries, modelsOf, nativeFacts, sicknessOf } from "./detect.ts";
import type { Answer, Engine, EngineKind, EngineModel, EngineOptions, EngineRequest, EngineState } from "./engine.ts";
import { baseUrlOf, getJson, type HttpClient, httpClient, keyHeader } from "./http.ts";
import { OpenAiAsker } from "./openai-asker.ts";
import type { EnginePreset } from "./presets.ts";

export interface OpenAiHttpSettings {
  readonly kind: "openai-http";
  /** Base URL, with or without `/v1`. */
  readonly url: string;
  /** What its operator calls it. @default only an address was given */
  readonly preset?: EnginePreset;
  /** The engine's key, sent as a bearer token. */
  readonly key?: string;
  /** Between two looks at the model list while the engine answers. @default 5000 */
  readonly pollUpMs?: number;
  /** The same while it does not. @default 1000 */
  readonly pollDownMs?: number;
  /** Longest silence inside an exchange, the wait for the first token included. @default 15 minutes */
  readonly silenceMs?: number;
}

// a busy engine may be late with its list; a dead one refuses the connection at once
const pollTimeoutMs = 5000;
const lateLimit = 3;
// where each connection ends with its answer, this is how often the list is asked for
const disconnectedPollMs = 1000;
const probeTimeoutMs = 1000;

export const openAiHttpKind: EngineKind<OpenAiHttpSettings> = {
  kind: "openai-http",
  /** @throws E_CONFIG the URL is not usable */
  async start(settings, options) {
    const engine = new OpenAiHttpEngine(settings, options);
    await engine.poll();
    return engine;
  },
};

class OpenAiHttpEngine implements Engine {
  readonly name: string;
  readonly kind = "external";
  readonly pid = undefined;
  readonly #baseUrl: string;
  readonly #settings: Pick<Required<OpenAiHttpSettings>, "pollUpMs" | "pollDownMs"> & {
    readonly key: string | undefined;
    readonly preset: EnginePreset | undefined;
  };
  readonly #options: EngineOptions;
  readonly #client: HttpClient = httpClient(() => this.#disconnected());
  readonly #closing = new AbortController();
  readonly #asker: OpenAiAsker;
  #state: EngineState = { kind: "loading", percent: undefined };
  #models: readonly EngineModel[] = [];
  #program: EngineProgram | undefined;
  #slots: number | undefined;
  /** The program that was told to be another one than was named. */
  #other: EngineProgram | undefined;
  #timer: NodeJS.Timeout | undefined;
  #polling: Promise<void> | undefined;
  #late = 0;
  /** When the last look ended, and when the next one is due, performance.now(). */
  #lookedMs = 0;
  #dueMs = 0;

  constructor(settings: OpenAiHttpSettings, options: EngineOptions) {
    const { url, key, preset, pollUpMs = 5000, pollDownMs = 1000, silenceMs = 15 * 60_000 } = settings;
    this.#baseUrl = baseUrlOf(url);
    this.name = `${preset?.name ?? "openai-http"}: ${this.#baseUrl}`;
    this.#settings = { key, preset, pollUpMs, pollDownMs };
    this.#options = options;
    this.#asker = new OpenAiAsker({
      send: (request) => this.#client.send(request),
      baseUrl: this.#baseUrl,
      headers: () => keyHeader(key),
      silenceMs,
      contextOf: (model) => this.#models.find(({ id }) => id === model)?.contextLength,
      onFailure: () => this.#schedule(0),
    });
  }

  get state(): EngineState {
    return this.#state;
  }

  get models(): readonly EngineModel[] {
    return this.#state.kind === "up" ? this.#models : [];
  }

  get load(): Engine["load"] {
    const slots = this.#slots;
    const { running } = this.#asker;
    const waiting = slots === undefined ? 0 : Math.max(0, running - slots);
    return { running: running - waiting, waiting, slots };
  }

  answer(request: EngineRequest): Promise<Answer> {
    return this.#asker.answer(request);
  }

  /** One look at the model list; state and models follow from it. Never throws. */
  poll(): Promise<void> {
    this.#polling ??= this.#look().finally(() => {
      this.#polling = undefined;
      this.#lookedMs = performance.now();
      this.#schedule(this.#state.kind === "up" ? this.#settings.pollUpMs : this.#settings.pollDownMs);
    });
    return this.#polling;
  }

  /** A program that dies takes its connections with it: one stands idle between two looks, or serves an exchange. */
  #disconnected(): void {
    if (this.#polling || this.#state.kind !== "up") return;
    const dueMs = this.#lookedMs + disconnectedPollMs;
    if (dueMs < this.#dueMs) this.#schedule(Math.max(0, dueMs - performance.now()));
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted) return;
    this.#dueMs = performance.now() + ms;
    this.#timer = setTimeout(() => void this.poll(), ms);
    // the list is not worth keeping a process for
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { key } = this.#settings;
    const { signal } = this.#closing;
    try {
      const { status, json } = await getJson(this.#client, new URL(`${this.#baseUrl}/models`), {
        key,
        timeoutMs: pollTimeoutMs,
        signal,
      });
      this.#late = 0;
      const entries = status === 200 ? modelEntries(json) : undefined;
      if (entries === undefined) return this.#enter(stateOf(status, key !== undefined), []);
      const options = { key, timeoutMs: probeTimeoutMs, signal };
      const before = this.#program;
      this.#program ??= (await identify(this.#client, this.#baseUrl, options))?.kind;
      const program = this.#program ?? "generic";
      if (before === undefined) this.#sayIfOther(program);
      const sickness = await sicknessOf(this.#client, program, this.#baseUrl, options);
      if (sickness !== undefined) return this.#enter({ kind: "down", why: sickness }, []);
      const listed = modelsOf(entries);
      const { models, slots } = await nativeFacts(this.#client, program, this.#baseUrl, listed, options);
      this.#slots = slots;
      this.#enter({ kind: "up" }, models);
    } catch (thrown) {
      const error = toMeshError(thrown, "E_ENGINE");
      if (error.code === "E_TIMEOUT" && this.#state.kind === "up" && ++this.#late < lateLimit) return;
      this.#enter({ kind: "down", why: error.message }, []);
    }
  }

  /** Told once for each time that somebody else answers. */
  #sayIfOther(found: EngineProgram): void {
    const { preset } = this.#settings;
    if (!preset || preset.programs.includes(found) || this.#other === found) return;
    this.#other = found;
    const told = { event: "engine-other", engine: this.name, expected: preset.name, found } as const;
    this.#options.log.write("warn", told);
  }

  #enter(state: EngineState, models: readonly EngineModel[]): void {
    if (this.#closing.signal.aborted) return;
    const before = { state: this.#state, models: this.#models };
    this.#state = state;
    this.#models = models;
    // another program may come up at this address
    if (state.kind !== "up") this.#program = undefined;
    if (JSON.stringify(before) === JSON.stringify({ state, models })) return;
    const engine = this.name;
    if (state.kind === "up") {
      this.#options.log.write("info", { event: "engine-up", engine, models: models.map(({ id }) => id) });
    } else if (state.kind === "down") {
      this.#options.log.write("warn", { event: "engine-down", engine, code: "E_ENGINE", what: state.why });
    }
    this.#options.onChange();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new MeshError("E_CLOSED", "the engine has been shut down"));
    clearTimeout(this.#timer);
    this.#asker.close();
    await this.#polling;
    this.#state = { kind: "down", why: "it has been shut down" };
    await this.#client.close();
  }
}

function stateOf(status: number, hasKey: boolean): EngineState {
  if (status === 401 || status === 403) {
    const why = hasKey ? "it refuses our key" : "it wants a key; give it with --engine-key-file";
    return { kind: "down", why };
  }
  // llama-server while it loads
  if (status === 503) return { kind: "loading", percent: undefined };
  return { kind: "down", why: `its model list answers with status ${status} instead of a list` };
}

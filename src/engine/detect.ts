/**
 * Which program is behind a URL, and what its models can hold. Only GETs, one second each, never a prompt. Used for
 * `--engine auto`, and by openai-http.ts to learn the context window, which no two engines tell alike (engines.md §5.1).
 */
import { isRecord } from "../base/json.ts";
import type { Signal } from "../base/signal.ts";
import type { EngineModel } from "./engine.ts";
import { baseUrlOf, getJson, type HttpClient, httpClient, type JsonAnswer } from "./http.ts";
import { isName } from "../wire/gossip.ts";
import type { ModelKind } from "../wire/record.ts";

export type EngineProgram = "ollama" | "lm-studio" | "llama-server" | "vllm" | "sglang" | "exo" | "generic";

export interface DetectedEngine {
  readonly kind: EngineProgram;
  /** With `/v1`. */
  readonly baseUrl: string;
  /** It answers 401 or 403 without a key: it is there, and cannot be used without `--engine-key-file`. */
  readonly needsKey: boolean;
}

export interface DetectOptions {
  /** Where to look. @default the four usual ports on 127.0.0.1 */
  readonly baseUrls?: readonly string[];
  /** Of one GET. @default 1000 */
  readonly timeoutMs?: number;
}

const usualBaseUrls: readonly string[] = [
  "http://127.0.0.1:11434/v1", // Ollama
  "http://127.0.0.1:1234/v1", // LM Studio
  "http://127.0.0.1:8080/v1", // llama-server
  "http://127.0.0.1:8000/v1", // vLLM
];

/** The engines that answer right now, in the order of `baseUrls`. Never throws for a place where nothing answers. */
export async function detectEngines(options: DetectOptions = {}): Promise<readonly DetectedEngine[]> {
  const { baseUrls = usualBaseUrls, timeoutMs = 1000 } = options;
  const client = httpClient();
  try {
    const found = await Promise.all(
      baseUrls.map((baseUrl) => identify(client, baseUrlOf(baseUrl), { key: undefined, timeoutMs })),
    );
    return found.filter((engine) => engine !== undefined);
  } finally {
    await client.close();
  }
}

interface ProbeOptions {
  readonly key: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: Signal;
}

/** Who answers at this base URL; undefined when nobody does, or something that lists no models. */
export async function identify(
  client: HttpClient,
  baseUrl: string,
  options: ProbeOptions,
): Promise<DetectedEngine | undefined> {
  const models = await probe(client, new URL(`${baseUrl}/models`), options);
  if (models === undefined) return undefined;
  const needsKey = models.status === 401 || models.status === 403;
  // llama-server answers every route with 503 while it loads
  const loading = models.status === 503 && isRecord(models.json) && isRecord(models.json["error"]);
  if (!needsKey && !loading && modelEntries(models.json) === undefined) return undefined;

  const owners = new Set((modelEntries(models.json) ?? []).map((model) => model["owned_by"]));
  if (owners.has("llamacpp")) return { kind: "llama-server", baseUrl, needsKey };
  if (owners.has("vllm")) return { kind: "vllm", baseUrl, needsKey };
  if (owners.has("sglang")) return { kind: "sglang", baseUrl, needsKey };

  const root = rootOf(baseUrl);
  const [props, ollama, studio, version, exo] = await Promise.all(
    ["/props", "/api/version", "/api/v0/models", "/version", "/node_id"].map((path) =>
      probe(client, new URL(root + path), options),
    ),
  );
  const kind: EngineProgram =
    isRecord(props?.json) && "default_generation_settings" in props.json
      ? "llama-server"
      : modelEntries(studio?.json) !== undefined
        ? "lm-studio"
        : isRecord(ollama?.json) && typeof ollama.json["version"] === "string"
          ? "ollama"
          : isRecord(version?.json) && typeof version.json["version"] === "string"
            ? "vllm"
            : exo?.status === 200 && exo.json !== undefined
              ? "exo"
              : loading
                ? "llama-server"
                : "generic";
  return { kind, baseUrl, needsKey };
}

/** Programs that list their models for as long as they run, and say only here that nothing behind them computes any more. */
const healthPaths: { readonly [Program in EngineProgram]?: string } = { vllm: "/health", sglang: "/health" };

/**
 * What a program says of the engine, or the cluster, behind it. Only a plain no is one: who is slow may be at work.
 * @returns a sentence; undefined: nothing speaks against it
 */
export async function sicknessOf(
  client: HttpClient,
  program: EngineProgram,
  baseUrl: string,
  options: ProbeOptions,
): Promise<string | undefined> {
  const path = healthPaths[program];
  if (path === undefined) return undefined;
  const answer = await probe(client, new URL(rootOf(baseUrl) + path), options);
  if (answer === undefined || answer.status < 500) return undefined;
  return `its ${path} says ${answer.status}: what computes behind it has failed, and it must be started again`;
}

async function probe(client: HttpClient, url: URL, options: ProbeOptions): Promise<JsonAnswer | undefined> {
  try {
    return await getJson(client, url, options);
  } catch {
    // nobody there, or nobody who speaks HTTP: both mean that this is not the engine looked for
    return undefined;
  }
}

/** Native routes stand beside `/v1`, not below it. */
function rootOf(baseUrl: string): string {
  return baseUrl.replace(/\/v1$/, "");
}

/** The objects of an OpenAI list; undefined when it is none. */
export function modelEntries(json: unknown): readonly Record<string, unknown>[] | undefined {
  if (!isRecord(json) || !Array.isArray(json["data"])) return undefined;
  return json["data"].filter(isRecord);
}

// a bound of what a stranger's list may make us hold
const modelLimit = 1000;

/** Names and windows as `/v1/models` tells them; entries without a usable name are left out. */
export function modelsOf(entries: readonly Record<string, unknown>[]): EngineModel[] {
  const models = new Map<string, EngineModel>();
  for (const entry of entries.slice(0, modelLimit)) {
    const id = entry["id"];
    if (typeof id !== "string" || id === "" || !isName(id)) continue; // what could not be announced

    const meta = isRecord(entry["meta"]) ? entry["meta"] : {};
    // llama-server (the window of one slot), vLLM, and routers that copy OpenRouter's field
    const contextLength =
      tokens(meta["n_ctx"]) ?? tokens(entry["max_model_len"]) ?? tokens(entry["context_length"]) ?? undefined;
    if (!models.has(id)) models.set(id, { id, contextLength });
  }
  return [...models.values()];
}

/** What only an engine's native routes tell. */
export interface NativeFacts {
  readonly models: readonly EngineModel[];
  /** Exchanges that it runs at a time; undefined when it does not say. */
  readonly slots: number | undefined;
}

/**
 * Fills in what `/v1/models` does not tell. LM Studio's and Ollama's native lists know the windows of loaded models; the
 * trained length is never used: what counts is what one request may use.
 */
export async function nativeFacts(
  client: HttpClient,
  program: EngineProgram,
  baseUrl: string,
  models: readonly EngineModel[],
  options: ProbeOptions,
): Promise<NativeFacts> {
  const root = rootOf(baseUrl);
  switch (program) {
    case "lm-studio": {
      const entries = modelEntries((await probe(client, new URL(`${root}/api/v0/models`), options))?.json) ?? [];
      const windows = lengths(entries, "id", "loaded_context_length");
      const withKinds = models.map((model) => {
        const type = entries.find(({ id }) => id === model.id)?.["type"];
        const kinds = typeof type === "string" ? studioKinds[type] : undefined;
        return kinds ? { ...model, kinds } : model;
      });
      return { models: withWindows(withKinds, windows), slots: undefined };
    }
    case "ollama": {
      const answer = await probe(client, new URL(`${root}/api/ps`), options);
      const running = isRecord(answer?.json) ? answer.json["models"] : undefined;
      const entries = Array.isArray(running) ? running.filter(isRecord) : [];
      return { models: withWindows(models, lengths(entries, "name", "context_length")), slots: undefined };
    }
    case "llama-server": {
      const props = (await probe(client, new URL(`${root}/props`), options))?.json;
      return isRecord(props)
        ? { models: withModalities(models, props["modalities"]), slots: tokens(props["total_slots"]) }
        : { models, slots: undefined };
    }
    case "vllm":
    case "sglang":
    case "exo":
    case "generic":
      return { models, slots: undefined };
  }
}

/** LM Studio's `type` of a model. */
const studioKinds: Readonly<Record<string, readonly ModelKind[]>> = {
  llm: ["chat"],
  vlm: ["chat", "vision"],
  embeddings: ["embeddings"],
};

/** What llama-server's only model takes besides text. */
function withModalities(models: readonly EngineModel[], modalities: unknown): readonly EngineModel[] {
  if (!isRecord(modalities)) return models;
  const parts = (["vision", "audio"] as const).filter((kind) => modalities[kind] === true);
  return models.map((model) => ({ ...model, kinds: ["chat", ...parts] }));
}

function withWindows(models: readonly EngineModel[], windows: ReadonlyMap<string, number>): readonly EngineModel[] {
  return models.map((model) => ({ ...model, contextLength: model.contextLength ?? windows.get(model.id) }));
}

function lengths(
  entries: readonly Record<string, unknown>[],
  nameField: string,
  lengthField: string,
): ReadonlyMap<string, number> {
  const known = new Map<string, number>();
  for (const entry of entries.slice(0, modelLimit)) {
    const name = entry[nameField];
    const length = tokens(entry[lengthField]);
    if (typeof name === "string" && length !== undefined) known.set(name, length);
  }
  return known;
}

/** Larger ones have no place in a record or in gossip, whose field has 32 bits. */
const mostTokens = 0xffff_ffff;

function tokens(value: unknown): number | undefined {
  const isCount = typeof value === "number" && Number.isSafeInteger(value) && value > 0;
  return isCount && value <= mostTokens ? value : undefined;
}

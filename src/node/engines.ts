/** The engines of this machine as one: which of them answers for a model, and what they are worth to the mesh. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { Admission, type AdmissionOptions } from "../base/admission.ts";
import { endingWith } from "../base/body.ts";
import { utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Answer, Engine, EngineOptions, EngineRequest } from "../engine/engine.ts";
import type { OpenAiHttpSettings } from "../engine/openai-http.ts";
import type { EngineSettings } from "../engine/registry.ts";
import { isName, type ModelRuntime } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import type { RecordModel } from "../wire/record.ts";
import type { EngineSetting } from "./config.ts";
import type { EngineSeen } from "./posture.ts";
import type { EngineStatus } from "./status.ts";

export interface Engines {
  /** The first engine that has the model now; what it is asked waits for a place there. */
  forModel(model: string): Pick<Engine, "answer"> | undefined;
  /** Model ids served now, none twice. */
  models(): readonly string[];
  /** The same with what is known of them, and how busy their engines are. */
  known(): readonly RecordModel[];
  /** Of these, as many as a record holds. */
  described(): readonly RecordModel[];
  /** Exchanges that the engines answer, and that wait for a place. */
  load(): { readonly running: number; readonly queued: number };
  /** Sends everybody away who waits for a place. */
  refuseWaiting(reason: MeshError): void;
  runtimes(): readonly ModelRuntime[];
  status(): readonly EngineStatus[];
  /** For the posture of this node. */
  seen(): readonly EngineSeen[];
  readonly loading: boolean;
  close(): Promise<void>;
}

/** An engine, and who may ask it now. */
interface Hosted {
  readonly engine: Engine;
  readonly admission: Admission;
}

/**
 * Starts what the settings ask for. An engine that is down does not stop the node: it says so and is looked at again.
 * @throws E_INPUT a model file that is not there · E_NO_ENGINE --engine auto found none · E_CONFIG
 */
export async function openEngines(
  settings: readonly EngineSetting[],
  bounds: AdmissionOptions,
  log: Log,
  onChange: () => void,
): Promise<Engines> {
  const wanted: EngineSettings[] = [];
  for (const setting of settings) wanted.push(...(await resolved(setting)));
  const engines = await started(wanted, { log, onChange });
  const hosted = engines.map((engine) => ({ engine, admission: new Admission(boundsOf(engine, bounds)) }));
  const known = (): readonly RecordModel[] => {
    const byName = new Map<string, RecordModel>();
    for (const model of hosted.flatMap(described)) if (!byName.has(model.name)) byName.set(model.name, model);
    return [...byName.values()];
  };
  return {
    forModel: (model) => {
      const having = hosted.find(({ engine }) => engine.models.some(({ id }) => id === model));
      return having && { answer: (request) => admitted(having, request) };
    },
    models: () => [...new Set(engines.flatMap((engine) => engine.models.map(({ id }) => id)))],
    known,
    described: () => fitting(known()),
    load: () => ({
      running: hosted.reduce((sum, { admission }) => sum + admission.running, 0),
      queued: hosted.reduce((sum, { admission }) => sum + admission.queued, 0),
    }),
    refuseWaiting: (reason) => {
      for (const { admission } of hosted) admission.close(reason);
    },
    runtimes: () =>
      engines.flatMap((engine) =>
        engine.models.map(({ id, contextLength }) => ({ name: id, contextLength, ready: true })),
      ),
    status: () => engines.map(engineStatus),
    seen: () => engines.map(({ kind, state, hardening }) => ({ kind, up: state.kind === "up", hardening })),
    get loading() {
      return engines.some(({ state }) => state.kind === "loading");
    },
    close: async () => {
      await Promise.all(engines.map((engine) => engine.close()));
    },
  };
}

/** The kinds of engine are loaded where there is one: a client has none. */
async function started(wanted: readonly EngineSettings[], options: EngineOptions): Promise<readonly Engine[]> {
  if (wanted.length === 0) return [];
  const { startEngines } = await import("../engine/registry.ts");
  return await startEngines(wanted, options);
}

/**
 * The embedded engine runs no more than its slots, and its own queue knows no askers: all that wait do so here. How many
 * an external one runs at a time is its own affair.
 */
function boundsOf({ kind, load }: Engine, bounds: AdmissionOptions): AdmissionOptions {
  if (kind === "external" || load.slots === undefined) return bounds;
  return { ...bounds, running: Math.min(bounds.running, load.slots) };
}

function described({ engine, admission }: Hosted): readonly RecordModel[] {
  const { running, waiting, slots } = engine.load;
  const busy = admission.busy || (slots !== undefined && running >= slots);
  const queue = stepped(waiting + admission.queued);
  return engine.models.map(({ id, contextLength, kinds = [] }) => {
    return { name: id, context: contextLength, busy, queue, kinds };
  });
}

/** Asks the engine when there is a place, and holds it until the answer has ended. @throws E_BUSY, and as the engine */
async function admitted({ engine, admission }: Hosted, request: EngineRequest): Promise<Answer> {
  const release = await admission.enter(request.asker, request.signal);
  try {
    const answer = await engine.answer(request);
    const { signal } = request;
    signal.addEventListener("abort", release, { once: true }); // the body may never be read
    const body = endingWith(answer.body, () => {
      signal.removeEventListener("abort", release);
      release();
    });
    return { status: answer.status, headers: answer.headers, body };
  } catch (thrown) {
    release();
    throw thrown;
  }
}

/** Of a record, what is not its models; and of a model there, what are neither names nor kinds: at most, bytes. */
const recordRestBytes = 1_024 + limits.postureBytes;
const modelRestBytes = 24;

/** As many as a record holds: an entry with a larger one is dropped by everybody. The others are only not described. */
function fitting(models: readonly RecordModel[]): readonly RecordModel[] {
  let room = limits.recordBytes - recordRestBytes;
  return models.slice(0, limits.modelsPerRecord).filter(({ name, kinds }) => {
    room -= modelRestBytes + utf8(name).length + kinds.reduce((bytes, kind) => bytes + kind.length + 2, 0);
    return room >= 0;
  });
}

/** The largest power of two that is not above: a record need not be signed anew for each one who waits. */
function stepped(count: number): number {
  return count < 1 ? 0 : 2 ** Math.floor(Math.log2(count));
}

async function resolved(setting: EngineSetting): Promise<EngineSettings[]> {
  switch (setting.kind) {
    case "llama": {
      const { modelPath, packageFolder, contextSize, hardening } = setting;
      const file = await stat(modelPath).catch(() => undefined);
      if (!file?.isFile()) throw new MeshError("E_INPUT", `--model ${modelPath}: there is no such file`);
      if (!isName(basename(modelPath))) {
        throw new MeshError(
          "E_INPUT",
          "--model: the file's name becomes the model's; rename it, it is too long or unclean",
        );
      }
      const optional = {
        ...(contextSize === undefined ? {} : { contextSize }),
        ...(packageFolder === undefined ? {} : { packageFolder }),
      };
      return [{ kind: "llama", modelPath, hardening, ...optional }];
    }
    case "function":
      return [setting];
    case "openai-http":
      return [{ ...httpSettings(setting.url, setting.key), ...(setting.preset ? { preset: setting.preset } : {}) }];
    case "auto": {
      const { detectEngines } = await import("../engine/detect.ts");
      const found = await detectEngines();
      if (found.length === 0) {
        throw new MeshError(
          "E_NO_ENGINE",
          "--engine auto: no Ollama (11434), LM Studio (1234), llama-server (8080) or vLLM (8000) answers on this machine",
        );
      }
      return found.map(({ baseUrl }) => httpSettings(baseUrl, setting.key));
    }
  }
}

function httpSettings(url: string, key: string | undefined): OpenAiHttpSettings {
  return { kind: "openai-http", url, ...(key === undefined ? {} : { key }) };
}

function engineStatus(engine: Engine): EngineStatus {
  const { name, kind, state, pid, models, load } = engine;
  return {
    name,
    kind,
    state: state.kind,
    why: state.kind === "down" ? state.why : null,
    pid: pid ?? null,
    models: models.map(({ id, contextLength }) => ({ id, context_length: contextLength ?? null })),
    running: load.running,
    waiting: load.waiting,
  };
}

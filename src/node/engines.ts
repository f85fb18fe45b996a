/** The engines of this machine as one: which of them answers for a model, and what they are worth to the mesh. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { Admission } from "../base/admission.ts";
import { utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { detectEngines } from "../engine/detect.ts";
import type { Answer, Engine, EngineModel, EngineRequest } from "../engine/engine.ts";
import { type EngineSettings, startEngines } from "../engine/registry.ts";
import { isName, type ModelRuntime } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import type { RecordModel } from "../wire/record.ts";
import type { EngineSetting } from "./config.ts";
import type { EngineStatus } from "./status.ts";

export interface Engines {
  /** The first engine that has the model now; what it is asked goes through the node's admission. */
  forModel(model: string): Pick<Engine, "answer"> | undefined;
  /** Model ids served now, none twice. */
  models(): readonly string[];
  /** The same with all that is known of them. */
  known(): readonly EngineModel[];
  /** What the node's record says of them. */
  described(): readonly RecordModel[];
  runtimes(): readonly ModelRuntime[];
  status(): readonly EngineStatus[];
  readonly loading: boolean;
  close(): Promise<void>;
}

/**
 * Starts what the settings ask for. An engine that is down does not stop the node: it says so and is looked at again.
 * @throws E_INPUT a model file that is not there · E_NO_ENGINE --engine auto found none · E_CONFIG
 */
export async function openEngines(
  settings: readonly EngineSetting[],
  admission: Admission,
  log: Log,
  onChange: () => void,
): Promise<Engines> {
  const wanted: EngineSettings[] = [];
  for (const setting of settings) wanted.push(...(await resolved(setting)));
  const engines = await startEngines(wanted, { log, onChange });
  const having = (model: string): Engine | undefined =>
    engines.find((engine) => engine.models.some(({ id }) => id === model));
  const known = (): readonly EngineModel[] => {
    const models = engines.flatMap((engine) => engine.models);
    return models.filter(({ id }, index) => models.findIndex((other) => other.id === id) === index);
  };
  return {
    forModel: (model) => {
      const engine = having(model);
      return engine && { answer: (request) => admitted(engine, request, admission) };
    },
    models: () => known().map(({ id }) => id),
    known,
    described: () =>
      fitting(known()).map(({ id, contextLength, kinds = [] }) => {
        const { running, waiting, slots } = having(id)?.load ?? { running: 0, waiting: 0, slots: undefined };
        const busy = admission.busy || (slots !== undefined && running >= slots);
        return { name: id, context: contextLength, busy, queue: stepped(waiting + admission.queued), kinds };
      }),
    runtimes: () =>
      engines.flatMap((engine) =>
        engine.models.map(({ id, contextLength }) => ({ name: id, contextLength, ready: true })),
      ),
    status: () => engines.map(engineStatus),
    get loading() {
      return engines.some(({ state }) => state.kind === "loading");
    },
    close: async () => {
      await Promise.all(engines.map((engine) => engine.close()));
    },
  };
}

/** Asks the engine when there is a place, and holds it until the answer has ended. @throws E_BUSY, and as the engine */
async function admitted(engine: Engine, request: EngineRequest, admission: Admission): Promise<Answer> {
  const release = await admission.enter(request.asker, request.signal);
  try {
    const answer = await engine.answer(request);
    request.signal.addEventListener("abort", release, { once: true }); // the body may never be read
    return { ...answer, body: releasing(answer.body, release, request.signal) };
  } catch (thrown) {
    release();
    throw thrown;
  }
}

/** The body; `release` runs once it has ended, however it ends. */
async function* releasing(
  body: AsyncIterable<Uint8Array>,
  release: () => void,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } finally {
    signal.removeEventListener("abort", release);
    release();
  }
}

/** Of a record, what is not its models; and of a model there, what are neither names nor kinds: at most, bytes. */
const recordRestBytes = 1_024;
const modelRestBytes = 24;

/** As many as a record holds: an entry with a larger one is dropped by everybody. The others are only not described. */
function fitting(models: readonly EngineModel[]): readonly EngineModel[] {
  let room = limits.recordBytes - recordRestBytes;
  return models.slice(0, limits.modelsPerRecord).filter(({ id, kinds = [] }) => {
    room -= modelRestBytes + utf8(id).length + kinds.reduce((bytes, kind) => bytes + kind.length + 2, 0);
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
      const { modelPath, contextSize } = setting;
      const file = await stat(modelPath).catch(() => undefined);
      if (!file?.isFile()) throw new MeshError("E_INPUT", `--model ${modelPath}: there is no such file`);
      if (!isName(basename(modelPath))) {
        throw new MeshError(
          "E_INPUT",
          "--model: the file's name becomes the model's; rename it, it is too long or unclean",
        );
      }
      return [{ kind: "llama", modelPath, ...(contextSize === undefined ? {} : { contextSize }) }];
    }
    case "openai-http":
      return [httpSettings(setting.url, setting.key)];
    case "auto": {
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

function httpSettings(url: string, key: string | undefined): EngineSettings {
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

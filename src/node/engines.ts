/** The engines of this machine as one: which of them answers for a model, and what they are worth to the mesh. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { MeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { detectEngines } from "../engine/detect.ts";
import type { Engine } from "../engine/engine.ts";
import { type EngineSettings, startEngines } from "../engine/registry.ts";
import { isName, type ModelRuntime } from "../wire/gossip.ts";
import type { EngineSetting } from "./config.ts";
import type { EngineStatus } from "./status.ts";

export interface Engines {
  /** The first engine that has the model now. */
  forModel(model: string): Engine | undefined;
  /** Model ids served now, none twice. */
  models(): readonly string[];
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
  log: Log,
  onChange: () => void,
): Promise<Engines> {
  const wanted: EngineSettings[] = [];
  for (const setting of settings) wanted.push(...(await resolved(setting)));
  const engines = await startEngines(wanted, { log, onChange });
  return {
    forModel: (model) => engines.find((engine) => engine.models.some(({ id }) => id === model)),
    models: () => [...new Set(engines.flatMap((engine) => engine.models.map(({ id }) => id)))],
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

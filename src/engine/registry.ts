/** The kinds of engine. A new one is one file and one line here; test/compliance/engine.test.ts iterates the list. */
import { MeshError } from "../base/errors.ts";
import type { Engine, EngineKind, EngineOptions } from "./engine.ts";
import { functionKind, type FunctionSettings } from "./function.ts";
import { llamaKind, type LlamaSettings } from "./llama.ts";
import { openAiHttpKind, type OpenAiHttpSettings } from "./openai-http.ts";

/** What a node is told about an engine, tagged with the kind that understands it. */
export type EngineSettings = LlamaSettings | OpenAiHttpSettings | FunctionSettings;

// `start` is a method, so that a kind for its own settings stands in a list for all: startEngine matches them by name
export const engineKinds: readonly EngineKind<EngineSettings>[] = [llamaKind, openAiHttpKind, functionKind];

/** @throws E_CONFIG no such kind, or settings that it cannot use at all; an engine that is merely down says so itself */
export function startEngine(
  settings: EngineSettings,
  options: EngineOptions,
  kinds: readonly EngineKind<EngineSettings>[] = engineKinds,
): Promise<Engine> {
  const kind = kinds.find((candidate) => candidate.kind === settings.kind);
  if (kind === undefined) {
    return Promise.reject(new MeshError("E_CONFIG", `there is no engine of the kind '${settings.kind}'`));
  }
  return kind.start(settings, options);
}

/** Starts all engines side by side. When one cannot start at all, the others are closed again. @throws E_CONFIG */
export async function startEngines(
  settings: readonly EngineSettings[],
  options: EngineOptions,
  kinds: readonly EngineKind<EngineSettings>[] = engineKinds,
): Promise<readonly Engine[]> {
  const outcomes = await Promise.allSettled(settings.map((one) => startEngine(one, options, kinds)));
  const engines = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure === undefined) return engines;
  await Promise.all(engines.map((engine) => engine.close()));
  throw failure.reason;
}

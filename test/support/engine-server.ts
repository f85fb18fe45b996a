/** A scripted OpenAI-compatible engine, inside the test's process or as one of its own. See engine-process.mjs. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import {
  type ScriptedEngine,
  type ScriptedEngineOptions,
  type SeenRequest,
  startScriptedEngine,
} from "./engine-process.mjs";

export type { ScriptedEngine, ScriptedEngineOptions, ScriptedFailure, SeenRequest } from "./engine-process.mjs";

/** In this process: `requests` and `options` are the live objects. */
export function startEngineServer(options: ScriptedEngineOptions = {}): Promise<ScriptedEngine> {
  return startScriptedEngine(options);
}

export interface EngineProcess {
  /** With `/v1`. */
  readonly url: string;
  readonly pid: number;
  /** Changes options for the requests that follow; null clears one. */
  change(options: Readonly<Record<string, unknown>>): Promise<void>;
  seen(): Promise<{
    readonly running: number;
    readonly requests: readonly Omit<SeenRequest, "body">[];
    readonly residentBytes: number;
  }>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

/** As a process of its own, which ends with this one. @param within words before the command: nsenter, for one */
export async function startEngineProcess(
  options: ScriptedEngineOptions = {},
  within: readonly string[] = [],
): Promise<EngineProcess> {
  const [program, ...before] = [...within, process.execPath];
  const words = [...before, join(import.meta.dirname, "engine-process.mjs"), JSON.stringify(options)];
  const child = spawn(program ?? process.execPath, words, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, "line")) as [string];
  const { url, pid } = JSON.parse(line) as { url: string; pid: number };
  const control = new URL("/control", url);
  return {
    url,
    pid,
    async change(change) {
      await fetch(control, { method: "POST", body: JSON.stringify(change) });
    },
    async seen() {
      return (await (await fetch(control)).json()) as Awaited<ReturnType<EngineProcess["seen"]>>;
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

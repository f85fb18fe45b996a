/** The child process of the embedded engine, seen from its parent: how it is started, what it said last, how it ended. */
import { type ChildProcess, fork } from "node:child_process";
import { type HardeningSteps, stepNames } from "../harden/report.ts";
import { ownNodeFlags } from "../harden/start.ts";
import { programFile } from "../base/package.ts";
import type { ChildStart } from "./llama-protocol.ts";

/** What is kept of the child's own output, for the sentence after its death. */
const lastWordsLimit = 2000;

/** GGML_NO_BACKTRACE: otherwise an abort starts a debugger on the process, which holds prompts. */
const childEnvironment: Readonly<Record<string, string>> = { GGML_NO_BACKTRACE: "1" };

export interface ForkOptions {
  /** All that it gets, beside what is always set. */
  readonly environment: Readonly<Record<string, string>>;
  /** What it does to close itself. */
  readonly steps: HardeningSteps;
}

/** Starts a child. */
export function forkChild(file: string, { environment, steps }: ForkOptions): ChildProcess {
  const env = { ...childEnvironment, ...environment };
  const wanted = stepNames.some((name) => steps[name]);
  const start: ChildStart = { parent: process.pid, wanted, steps, variables: Object.keys(env) };
  return fork(file, [JSON.stringify(start)], {
    env,
    execArgv: steps.inspector ? [...ownNodeFlags()] : [],
    serialization: "advanced",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
}

/** The program of the child. */
export function siblingFile(): string {
  return programFile("engine/llama-child");
}

/** Calls back once, when the process has ended and its output has been read, with how it ended: "SIGABRT", "code 1". */
export function onceEnded(child: ChildProcess, ended: (how: string) => void): void {
  if (child.exitCode !== null || child.signalCode !== null) return ended("already");
  let called = false;
  const call = (how: string): void => {
    if (!called) ended(how);
    called = true;
  };
  child.once("exit", (code, signal) => {
    const how = signal ?? `code ${code}`;
    child.once("close", () => call(how));
    // something may still hold the pipes open
    setTimeout(() => call(how), 200).unref();
  });
  // a fork that failed has no exit
  child.once("error", () => {
    if (child.pid === undefined) call("it could not be started");
  });
}

/** Drains the child's output, which is llama.cpp's and Node's own, and gives the line that says most of an abort. */
export function collectOutput(child: ChildProcess): () => string {
  let tail = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (bytes: Uint8Array) => {
      tail = (tail + new TextDecoder().decode(bytes)).slice(-lastWordsLimit);
    });
    stream?.on("error", () => undefined);
  }
  return () => {
    const words = /error loading model: [^\n]*|GGML_ASSERT[^\n]*|what\(\): [^\n]*|Error: [^\n]*/.exec(tail)?.[0];
    return words === undefined ? "" : `: ${words.trim().slice(0, 200)}`;
  };
}

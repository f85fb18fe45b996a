/**
 * Nodes as processes of their own, with their own state directories, on loopback: what the end-to-end tests ask. Linux
 * only where it says so: memory and descendants are read from /proc.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import OpenAI from "openai";
import { afterAll } from "vitest";
import type { Status } from "../../src/node/status.ts";

const root = join(import.meta.dirname, "../..");
const main = process.env["SEALMESH_E2E_MAIN"] ?? join(root, "dist/cli/main.js");
export const demoModel: string = join(root, "models/demo.gguf");

/** The line that a node prints when it can serve. */
export interface Ready {
  readonly api_url: string;
  readonly console_url: string;
  readonly endpoint_id: string;
  readonly invite: string;
  readonly models: readonly string[];
  readonly pid: number;
}

export interface NodeProcess {
  readonly ready: Ready;
  /** Of the process that was started. */
  readonly pid: number;
  readonly dataDir: string;
  /** Lines of the log so far. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
  status(): Promise<Status>;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL; resolves when the process has ended. */
  kill(): Promise<void>;
}

export interface NodeProcessOptions {
  /** @default a fresh one */
  readonly dataDir?: string;
}

const children = new Set<ChildProcess>();
const directories: string[] = [];

afterAll(async () => {
  await Promise.all([...children].map(ended));
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL"); // reaches a stopped process too
  await exit;
}

/** A directory that goes with the test file. */
export function scratchDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-e2e-"));
  directories.push(directory);
  return directory;
}

/** Starts `sealmesh serve` or `sealmesh client` on free ports of loopback; resolves when it is ready. */
export async function startNodeProcess(
  command: "serve" | "client",
  args: readonly string[] = [],
  options: NodeProcessOptions = {},
): Promise<NodeProcess> {
  const dataDir = options.dataDir ?? scratchDirectory();
  const common = ["--data-dir", dataDir, "--port", "0", "--console", "0", "--bind", "127.0.0.1:0"];
  const child = spawn(process.execPath, [main, command, ...common, "--log-format", "json", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SEALMESH_"))),
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  let complaints = "";
  child.stderr.on("data", (bytes: Uint8Array) => (complaints += new TextDecoder().decode(bytes)));
  const events: Readonly<Record<string, unknown>>[] = [];
  const ready = await new Promise<Ready>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const event = JSON.parse(line) as Readonly<Record<string, unknown>>;
      events.push(event);
      if (event["event"] === "ready") resolve(event as unknown as Ready);
    });
    child.once("exit", (code, signal) => {
      reject(new Error(`sealmesh ${command} ended (${signal ?? code}) before it was ready: ${complaints}`));
    });
  });
  return {
    ready,
    pid: child.pid ?? 0,
    dataDir,
    events,
    status: async () => (await (await fetch(`${ready.console_url}/api/status`)).json()) as Status,
    signal: (name) => void child.kill(name),
    kill: () => ended(child),
  };
}

/** The official client, as a user would make it; it repeats nothing, so that a test sees what happens. */
export function openAiFor(node: NodeProcess): OpenAI {
  return new OpenAI({ baseURL: `${node.ready.api_url}/v1`, apiKey: "unused", maxRetries: 0 });
}

/** Waits for something that has no event of its own; the deadline is the test's failure. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await pause(20);
  }
}

export function knowsModels(node: NodeProcess, ...models: readonly string[]): Promise<void> {
  return until(`${models.join(", ")} known`, async () => {
    const known = (await node.status()).models;
    return models.every((model) => known.includes(model));
  });
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** VmRSS. Linux. */
export function residentBytes(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  if (kib === undefined) throw new Error(`process ${pid} has no resident memory`);
  return Number(kib) * 1024;
}

/** Ids of all processes below `pid`. Linux. */
export function descendants(pid: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== undefined) parents.set(Number(name), parent);
  }
  const found = [pid];
  for (const ancestor of found) {
    for (const [child, parent] of parents) if (parent === ancestor) found.push(child);
  }
  return found.slice(1);
}

/** Whether the process exists and has not ended: a zombie counts as ended. Linux. */
export function isAlive(pid: number): boolean {
  return parentOf(pid) !== undefined;
}

/** Undefined when there is no such process, or only its exit code is left. */
function parentOf(pid: number): number | undefined {
  try {
    // "pid (name) state parent ...", and the name may hold anything
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return state === "Z" || state === "X" ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}

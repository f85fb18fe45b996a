/**
 * Real `sealmesh` processes from dist/ for end-to-end tests. Build first (`npm run build`).
 *
 *     const host = await startProcess(["serve", "--model", "models/demo.gguf"]);
 *     const client = await startProcess(["client", "--join", host.ready.invite]);
 *     await fetch(`${client.ready.api_url}/v1/models`);
 *     expect(await client.stop()).toEqual({ code: 0, signal: null });
 *
 * Every process gets its own data directory, loopback sockets with free ports and JSON logs, unless the arguments say
 * otherwise. Importing this file arranges for the end: after the tests of a file its processes are killed and its
 * directories removed. A process also ends when the test runner does, because its stdin does.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { afterAll } from "vitest";
import type { LogEvent, LogLevel } from "../../src/base/log.ts";
import type { ReadyLine } from "../../src/cli/node-process.ts";
import type { Status } from "../../src/node/status.ts";

export type { ReadyLine } from "../../src/cli/node-process.ts";

/** The package's root. */
export const root: string = join(import.meta.dirname, "../..");
/** What `sealmesh` runs. */
export const mainFile: string = join(root, "dist/cli/main.js");
export const demoModel: string = join(root, "models/demo.gguf");

/** One event of the log, as a line of stdout has it. */
export type LogLine = LogEvent & { readonly time: string; readonly level: LogLevel };
/** {"error":...}: why a command ended. */
export interface ErrorLine {
  readonly error: { readonly code: string; readonly message: string; readonly hint: string };
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  /** Added to this process's environment without its SEALMESH_*, and without a configuration file; undefined removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** User and group of the process; needs root. */
  readonly uid?: number;
  /** @default the package's root */
  readonly cwd?: string;
  /** Until the ready line, ms. @default 20000 */
  readonly readyMs?: number;
  /** Flags of Node itself. */
  readonly nodeFlags?: readonly string[];
  /** @default mainFile */
  readonly main?: string;
  /** Words before the command, of a program that becomes it: nsenter, for one. */
  readonly within?: readonly string[];
  /** Leaves out --stop-with-stdin, so that the process outlives a dead runner: only where a test needs it. */
  readonly keepWithoutStdin?: boolean;
}

/** A node that runs and is ready. */
export interface NodeProcess extends RunningProcess {
  readonly ready: ReadyLine;
  /** The document of its console. */
  status(): Promise<Status>;
}

/** A process whose stdout is JSON lines. */
export interface RunningProcess {
  readonly pid: number;
  readonly dataDir: string;
  /** Log lines so far: every line of stdout that is an event, the ready line aside. */
  readonly lines: readonly LogLine[];
  /** The error line, once there is one. */
  readonly error: ErrorLine["error"] | undefined;
  /** All of stdout and stderr so far. */
  readonly stdout: string;
  readonly stderr: string;
  readonly exited: Promise<Exit>;
  /** The first log line, past or future, that fits; rejects when time is up or the process ends before. */
  waitForLine(fits: (line: LogLine) => boolean, ms?: number): Promise<LogLine>;
  /** Sends a signal and waits for the end. @default "SIGTERM" */
  stop(signal?: NodeJS.Signals): Promise<Exit>;
  /** Sends a signal and waits for nothing. */
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<Exit>;
  /** Ends its stdin, as the death of its parent would. */
  endStdin(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface CommandResult extends Exit {
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

const children = new Set<Child>();
const directories = new Set<string>();

/**
 * Starts `sealmesh <args>` (serve, client or relay) and waits until it is ready.
 * @throws Error with its output when it ends before, or is not ready in time; it is gone then
 */
export async function startProcess(args: readonly string[], options: ProcessOptions = {}): Promise<NodeProcess> {
  const launched = launchProcess(args, options);
  try {
    const ready = await launched.ready;
    const status = async (): Promise<Status> => {
      if (ready.console_url === null) throw new Error("a node with --headless has no status");
      return (await (await fetch(`${ready.console_url}/api/status`)).json()) as Status;
    };
    return Object.assign(launched.process, { ready, status });
  } catch (thrown) {
    await launched.process.kill();
    throw thrown;
  }
}

/** The same without waiting, for processes that may never be ready. */
export function launchProcess(
  args: readonly string[],
  options: ProcessOptions = {},
): { readonly process: RunningProcess; readonly ready: Promise<ReadyLine> } {
  const given = (flag: string): boolean => args.some((word) => word === flag || word.startsWith(`${flag}=`));
  const withDefault = (flag: string, value: () => string): string[] => (given(flag) ? [] : [flag, value()]);
  const dataDir = given("--data-dir") ? (args[args.indexOf("--data-dir") + 1] ?? "") : tempDir(options.uid);
  const words = [
    ...args,
    ...(given("--data-dir") ? [] : ["--data-dir", dataDir]),
    ...withDefault("--bind", () => "127.0.0.1:0"),
    ...(given("--listen") || args[0] === "relay" ? [] : withDefault("--port", () => "0")),
    ...(given("--headless") ? [] : withDefault("--console", () => "0")),
    ...withDefault("--log-format", () => "json"),
    ...(options.keepWithoutStdin ? [] : ["--stop-with-stdin"]),
  ];
  const child = spawnCommand(words, options);
  const running = runningProcess(child, dataDir, words);
  const ready = withTime(
    running.ready,
    options.readyMs ?? 20_000,
    () => `not ready in time: ${running.process.stdout}`,
  );
  ready.catch(() => undefined);
  return { process: running.process, ready };
}

/** Runs `sealmesh <args>` to its end, with no flags added. */
export async function runCommand(
  args: readonly string[],
  options: ProcessOptions & { readonly timeoutMs?: number } = {},
): Promise<CommandResult> {
  const started = performance.now();
  const child = spawnCommand(args, options);
  child.stdin.end();
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 30_000);
  const exit = await closed(child);
  clearTimeout(timer);
  return { ...exit, stdout, stderr, ms: performance.now() - started };
}

/** An empty directory, 0700, removed after the tests of this file; of `uid` if one is given. */
export function tempDir(uid?: number): string {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
  directories.add(directory);
  // a node under another user makes its own directory inside
  if (uid !== undefined) chmodSync(directory, 0o777);
  return uid === undefined ? directory : join(directory, "state");
}

/** Runs `use` with an empty directory that is removed at its end. */
export async function withTempDir<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = tempDir();
  try {
    return await use(directory);
  } finally {
    removeDirectory(directory);
  }
}

/** Whether a process with this id runs. A zombie does not: it has ended, and whoever inherited it has not looked yet. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return process.platform !== "linux"; // there is no /proc elsewhere; here the process has just gone
  }
}

/** Polls until `check` gives something else than undefined or false. @throws when time is up */
export async function eventually<T>(
  check: () => T | undefined | false | Promise<T | undefined | false>,
  ms = 10_000,
): Promise<T> {
  const until = performance.now() + ms;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > until) throw new Error(`did not come true within ${ms} ms: ${check.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// ---- inside

function spawnCommand(words: readonly string[], options: ProcessOptions): Child {
  const { env = {}, uid, cwd = root, nodeFlags = [], main = mainFile, within = [] } = options;
  // what is set for whoever runs the tests, and that a node would take away and speak of
  const inherited = Object.entries(process.env).filter(([name]) => !/^(SEALMESH|VITEST|NODE_|SSL_)/.test(name));
  const [program, ...before] = [...within, process.execPath];
  const child = spawn(program ?? process.execPath, [...before, ...nodeFlags, main, ...words], {
    cwd,
    env: { ...Object.fromEntries(inherited), SEALMESH_CONFIG: "none", ...env },
    stdio: ["pipe", "pipe", "pipe"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  child.stdin.on("error", () => undefined);
  return child;
}

function runningProcess(
  child: Child,
  dataDir: string,
  words: readonly string[],
): { readonly process: RunningProcess; readonly ready: Promise<ReadyLine> } {
  const lines: LogLine[] = [];
  const watchers = new Set<() => void>();
  let stdout = "";
  let stderr = "";
  let error: ErrorLine["error"] | undefined;
  let ended = false;
  let becomeReady: (line: ReadyLine) => void = () => undefined;
  let failReady: (why: Error) => void = () => undefined;
  const ready = new Promise<ReadyLine>((resolve, reject) => {
    becomeReady = resolve;
    failReady = reject;
  });
  ready.catch(() => undefined);
  const look = (): void => {
    for (const watcher of watchers) watcher();
  };
  createInterface({ input: child.stdout }).on("line", (text) => {
    stdout += `${text}\n`;
    const line = parse(text);
    if (line && "error" in line) error = line.error;
    else if (line?.event === "ready") becomeReady(line);
    else if (line) lines.push(line);
    look();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const exited = closed(child).then((exit) => {
    ended = true;
    failReady(new Error(`sealmesh ${words.join(" ")}\nended with ${exit.code ?? exit.signal}\n${stdout}${stderr}`));
    look();
    return exit;
  });
  const send = (signal: NodeJS.Signals): void => void child.kill(signal);
  const running: RunningProcess = {
    pid: child.pid ?? -1,
    dataDir,
    lines,
    get error() {
      return error;
    },
    get stdout() {
      return stdout;
    },
    get stderr() {
      return stderr;
    },
    exited,
    waitForLine(fits, ms = 10_000) {
      const found = new Promise<LogLine>((resolve, reject) => {
        const watcher = (): void => {
          const line = lines.find(fits);
          if (line) resolve(line);
          else if (ended)
            reject(new Error(`the process ended without such a line: ${fits.toString()}\n${stdout}${stderr}`));
          else return;
          watchers.delete(watcher);
        };
        watchers.add(watcher);
        watcher();
      });
      return withTime(found, ms, () => `no such line in time: ${fits.toString()}\n${stdout}${stderr}`);
    },
    signal: send,
    async stop(signal = "SIGTERM") {
      send(signal);
      return await exited;
    },
    async kill() {
      send("SIGKILL");
      return await exited;
    },
    endStdin: () => void child.stdin.end(),
    async [Symbol.asyncDispose]() {
      send("SIGKILL");
      await exited;
    },
  };
  return { process: running, ready };
}

function parse(text: string): LogLine | (ReadyLine & { error?: never }) | (ErrorLine & { event?: never }) | undefined {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return undefined; // not a line of ours: in `stdout` all the same
  }
}

/** After its streams have ended, so that nothing it said is missed. */
function closed(child: Child): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
}

function withTime<T>(work: Promise<T>, ms: number, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what()} (${ms} ms)`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  directories.delete(directory);
}

async function killAll(): Promise<void> {
  const ends = [...children].map((child) => new Promise((resolve) => child.once("exit", resolve)));
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(ends);
  for (const directory of directories) removeDirectory(directory);
}

afterAll(killAll);

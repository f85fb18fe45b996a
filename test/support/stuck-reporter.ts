/**
 * Ends a test file that does not end by itself: vitest's own limits do not reach a loop, or a call that blocks. It says where
 * the file stands, its process is killed, the run has failed, and goes on with the next file.
 */
import { spawnSync } from "node:child_process";
import type { Reporter, TestModule } from "vitest/node";
import { WebSocket } from "ws";

/** The longest file takes some minutes on a slow machine. SEALMESH_TEST_FILE_SECONDS sets another limit. */
const longestSeconds = Number(process.env["SEALMESH_TEST_FILE_SECONDS"] ?? 900);
const lookMs = 10_000;
/** Where Node's inspector listens when a process is told to open it by SIGUSR1; it has a thread of its own. */
const inspectorUrl = "http://127.0.0.1:9229/json/list";
const inspectorMs = 5_000;

interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Since it was started. */
  readonly seconds: number;
  readonly line: string;
}

interface Frame {
  readonly functionName: string;
  readonly location: { readonly scriptId: string; readonly lineNumber: number };
}

type DebuggerEvent =
  | { readonly method: "Debugger.scriptParsed"; readonly params: { readonly scriptId: string; readonly url: string } }
  | { readonly method: "Debugger.paused"; readonly params: { readonly callFrames: readonly Frame[] } };

export class StuckReporter implements Reporter {
  /** Since when each file runs, unix ms. */
  readonly #running = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  onTestRunStart(): void {
    this.#timer = setInterval(() => void this.#look(), lookMs).unref();
  }

  onTestModuleQueued({ moduleId }: TestModule): void {
    this.#running.set(moduleId, Date.now());
  }

  onTestModuleEnd({ moduleId }: TestModule): void {
    this.#running.delete(moduleId);
  }

  onTestRunEnd(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const isStuck = (sinceMs: number): boolean => Date.now() - sinceMs > longestSeconds * 1_000;
    const files = [...this.#running].flatMap(([file, sinceMs]) => (isStuck(sinceMs) ? [file] : []));
    if (files.length === 0) return;
    for (const file of files) this.#running.delete(file);
    console.log(`\nno end after ${longestSeconds} s: ${files.join(", ")}`);
    // a process serves one file: those that are as old are theirs
    const old = processes().filter(({ parent, seconds }) => parent === process.pid && seconds >= longestSeconds);
    for (const { pid } of old) {
      console.log([`process ${pid} is at`, ...(await placeOf(pid)), "its processes:", ...treeOf(pid)].join("\n  "));
      signal(pid, "SIGKILL");
    }
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it has just ended
  }
}

/** The innermost calls. */
async function placeOf(pid: number): Promise<readonly string[]> {
  try {
    signal(pid, "SIGUSR1");
    const inspector = new WebSocket(await debuggerUrl());
    try {
      return await pausedAt(inspector);
    } finally {
      inspector.terminate();
    }
  } catch (thrown) {
    return [`a call that blocks, it seems (${String(thrown)})`];
  }
}

async function debuggerUrl(): Promise<string> {
  const until = Date.now() + inspectorMs;
  while (Date.now() < until) {
    const answer = await fetch(inspectorUrl).catch(() => undefined);
    const [first] = ((await answer?.json()) ?? []) as { readonly webSocketDebuggerUrl: string }[];
    if (first) return first.webSocketDebuggerUrl;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no inspector in ${inspectorMs} ms`);
}

function pausedAt(inspector: WebSocket): Promise<readonly string[]> {
  const scripts = new Map<string, string>();
  const lineOf = ({ functionName, location: { scriptId, lineNumber } }: Frame): string =>
    `${functionName || "(unnamed)"} ${scripts.get(scriptId)}:${lineNumber + 1}`;
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`it did not pause in ${inspectorMs} ms`)), inspectorMs);
    inspector.on("error", reject);
    inspector.on("open", () => {
      for (const [id, method] of ["Debugger.enable", "Debugger.pause"].entries()) {
        inspector.send(JSON.stringify({ id, method }));
      }
    });
    inspector.on("message", (data: Buffer) => {
      const event = JSON.parse(data.toString()) as DebuggerEvent;
      if (event.method === "Debugger.scriptParsed") scripts.set(event.params.scriptId, event.params.url);
      if (event.method === "Debugger.paused") resolve(event.params.callFrames.slice(0, 16).map(lineOf));
    });
  });
}

function treeOf(pid: number): readonly string[] {
  const all = processes();
  const withChildren = (one: Process): readonly Process[] => [
    one,
    ...all.filter(({ parent }) => parent === one.pid).flatMap(withChildren),
  ];
  const top = all.filter((one) => one.pid === pid);
  return top.flatMap(withChildren).map(({ line }) => line);
}

function processes(): readonly Process[] {
  const { stdout } = spawnSync("ps", ["-A", "-o", "pid=,ppid=,etime=,stat=,args="], { encoding: "utf8" });
  return (stdout ?? "").split("\n").flatMap((text) => {
    const line = text.trim().slice(0, 160);
    const [, pid, parent, days = 0, hours = 0, minutes, seconds] =
      /^(\d+)\s+(\d+)\s+(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)\s/.exec(line)?.map((part) => Number(part ?? 0)) ?? [];
    if (pid === undefined || parent === undefined || minutes === undefined || seconds === undefined) return [];
    return [{ pid, parent, seconds: ((days * 24 + hours) * 60 + minutes) * 60 + seconds, line }];
  });
}

/**
 * The demo's nodes: `sealmesh serve` and `sealmesh client` as processes of their own, on loopback, each with its own
 * state. Nothing of them outlives the demo: they end when their stdin does, which a killed demo closes too.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { type ErrorCode, errorTable, MeshError } from "../../base/errors.ts";
import { programFile } from "../../base/package.ts";
import { withDeadline } from "../../base/deadline.ts";
import { environmentWithoutSettings } from "../../node/config.ts";
import type { ReadyLine } from "../node-process.ts";

/** Every node of the demo has an API port. */
export type DemoReady = ReadyLine & { readonly api_url: string };

export interface DemoNode {
  readonly name: string;
  readonly ready: DemoReady;
  /** Resolves when the process has ended, with how. */
  readonly exited: Promise<string>;
  /** Lets the node leave the mesh; after a while it is killed. Resolves when it has ended. */
  stop(): Promise<void>;
}

export interface DemoNodeOptions {
  readonly name: string;
  readonly dataDir: string;
  /** The command and its flags, without those that every node of the demo has. */
  readonly words: readonly string[];
  readonly signal: AbortSignal;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

const startMs = 30_000;
/** Leaving takes some 100 ms; longer than this something hangs. */
const stopMs = 4_000;
/** What is kept of a node's stderr, for the sentence after its early end. */
const lastWordsLimit = 2_000;

/** @throws E_NO_ENGINE and others as the node reports them · E_TIMEOUT; the process is gone then */
export async function startDemoNode(options: DemoNodeOptions): Promise<DemoNode> {
  const { name, dataDir, words, signal } = options;
  const main = programFile("cli/main");
  const loopback = ["--bind", "127.0.0.1:0", "--relay", "none", "--port", "0", "--console", "0"];
  const own = ["--name", name, "--data-dir", dataDir, "--log-format", "json", "--stop-with-stdin"];
  const child = spawn(process.execPath, [main, ...words, ...loopback, ...own], {
    stdio: ["pipe", "pipe", "pipe"],
    env: environmentWithoutSettings(),
  });
  child.stdin.on("error", () => undefined); // a node that has ended takes no end of input
  const exited = exitOf(child);
  const stop = (): Promise<void> => stopChild(child, exited);
  try {
    const ready = await withDeadline(readyOf(child, name, exited), {
      what: `the start of the ${name}`,
      ms: startMs,
      signal,
    });
    return { name, ready, exited, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}

function exitOf(child: Child): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message)); // it could not be started at all
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
}

async function stopChild(child: Child, exited: Promise<string>): Promise<void> {
  child.stdin.end();
  const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
  await exited;
  clearTimeout(timer);
}

/** Reads stdout to its end, so that the node is never held up; resolves with the ready line. */
function readyOf(child: Child, name: string, exited: Promise<string>): Promise<DemoReady> {
  let lastWords = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    lastWords = (lastWords + text).slice(-lastWordsLimit);
  });
  return new Promise((resolve, reject) => {
    const fail = (code: ErrorCode, why: string): void =>
      reject(new MeshError(code, `the ${name} of the demo did not start: ${why}`));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const entry = parseLine(line);
      if (isReady(entry)) resolve(entry);
      const failure = failureIn(entry);
      if (failure) fail(failure.code, failure.message);
    });
    // after the streams: what it said last explains more than its exit code
    child.once("close", () => {
      void exited.then((how) => fail("E_BUG", `it ended with ${how}. ${lastWords.trim()}`));
    });
  });
}

function parseLine(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function isReady(entry: object | undefined): entry is DemoReady {
  return entry !== undefined && "event" in entry && entry.event === "ready";
}

/** {"error":{code,message,hint}}, as a command prints it with --log-format json. */
function failureIn(entry: object | undefined): { code: ErrorCode; message: string } | undefined {
  if (!entry || !("error" in entry) || typeof entry.error !== "object" || entry.error === null) return undefined;
  const { error } = entry;
  if (!("code" in error) || !("message" in error) || typeof error.message !== "string") return undefined;
  const code = Object.keys(errorTable).find((known): known is ErrorCode => known === error.code) ?? "E_BUG";
  return { code, message: error.message };
}

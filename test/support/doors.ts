/**
 * Attempts to get at a running process from another one of the same user, as somebody would who has got into that user's
 * account. Each says whether it succeeded; core files are allowed and collected for as long as a test runs.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { eventually, isRunning, tempDir } from "./processes.ts";

/** User of node and attacker: not root, and without an account of its own. */
export const attacker = 65_534;

const corePattern = "/proc/sys/kernel/core_pattern";

/** Why these tests cannot run here; undefined when they can. */
export const doorsMissing: string | undefined = missing();
if (doorsMissing !== undefined) console.warn(`tests of attacks on a process are skipped: ${doorsMissing}`);

function missing(): string | undefined {
  if (process.platform !== "linux") return "they are for Linux";
  if (process.getuid?.() !== 0) return "they need root, to start processes of another user and to allow core files";
  for (const program of ["gdb", "prlimit"]) {
    if (spawnSync(program, ["--version"]).error)
      return `${program} is not installed: apt-get install -y gdb util-linux`;
  }
  try {
    accessSync(corePattern, constants.W_OK);
  } catch {
    return "kernel.core_pattern cannot be written";
  }
  const scope = readOr("/proc/sys/kernel/yama/ptrace_scope", "0").trim();
  return scope === "0" ? undefined : `the kernel itself forbids the attacks (kernel.yama.ptrace_scope = ${scope})`;
}

function readOr(path: string, otherwise: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : otherwise;
}

export interface Attempt {
  readonly got: boolean;
  readonly why: string;
}

export type Way = "environ" | "mem" | "process_vm_readv";

/** Looks for a text in another process. */
export async function readProcess(way: Way, pid: number, text: string): Promise<Attempt> {
  const { stdout } = await asAttacker(process.execPath, [
    join(import.meta.dirname, "doors-attacker.mjs"),
    way,
    `${pid}`,
    text,
  ]);
  return JSON.parse(stdout) as Attempt;
}

/** `gdb -p`: attaches, calls a function in the process, and lets go. */
export async function attachDebugger(pid: number): Promise<Attempt> {
  const before = ["-nx", "-batch", "-iex", "set auto-solib-add off", "-iex", "set debuginfod enabled off"];
  const { stdout, stderr } = await asAttacker("gdb", [
    ...before,
    "-p",
    `${pid}`,
    "-ex",
    "info registers rip",
    "-ex",
    "detach",
  ]);
  const got = /^rip\s+0x[0-9a-f]+/m.test(stdout);
  return { got, why: got ? "" : (/ptrace: ([^\n]*)\.$/m.exec(stdout + stderr)?.[1] ?? stderr) };
}

/** SIGUSR1, and what then answers where Node's inspector listens. @param file that the process runs */
export async function openInspector(pid: number, file: string): Promise<Attempt> {
  process.kill(pid, "SIGUSR1");
  const until = performance.now() + 1_500;
  while (performance.now() < until) {
    const list = await fetch("http://127.0.0.1:9229/json/list").catch(() => undefined);
    if (list?.ok && (await list.text()).includes(file)) return { got: true, why: "" };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { got: false, why: isRunning(pid) ? "nobody listens" : "the process has ended" };
}

/** SIGABRT, and a text in the core file. */
export async function abortForCore(pid: number, text: string, cores: string): Promise<Attempt> {
  process.kill(pid, "SIGABRT");
  await eventually(() => !isRunning(pid));
  const file = join(cores, `core.${pid}`);
  if (!existsSync(file)) return { got: false, why: "no core file" };
  return { got: isInSparse(file, text), why: "a core file" };
}

/** SEEK_DATA of Linux: the next bytes that are there at all. */
const seekData = 3;
const pieceBytes = 1_048_576;

/** Whether a text is in a file of many gigabytes, of which only megabytes were ever written. */
function isInSparse(path: string, text: string): boolean {
  const lseek = koffi.load(null).func("int64_t lseek(int file, int64_t offset, int whence)") as (
    file: number,
    offset: number,
    whence: number,
  ) => number;
  const needle = Buffer.from(text);
  const piece = Buffer.alloc(pieceBytes);
  const file = openSync(path, "r");
  try {
    for (let at = Number(lseek(file, 0, seekData)); at !== -1; at = Number(lseek(file, at, seekData))) {
      const length = readSync(file, piece, 0, piece.length, at);
      if (length === 0) return false;
      if (piece.subarray(0, length).includes(needle)) return true;
      at += length === pieceBytes ? length - needle.length : length;
    }
    return false;
  } finally {
    closeSync(file);
  }
}

/** SIGUSR2, and a heap snapshot in the working directory. */
export async function askForSnapshot(pid: number, directory: string): Promise<Attempt> {
  process.kill(pid, "SIGUSR2");
  const snapshot = (): boolean => readdirSync(directory).some((name) => /heapsnapshot|^report\./.test(name));
  await eventually(() => snapshot() || !isRunning(pid), 10_000);
  return { got: snapshot(), why: isRunning(pid) ? "" : "the process has ended" };
}

/** Lets every process that is started from now on leave a core file there. @returns folder, and how to undo it */
export function allowCores(): { readonly folder: string; readonly restore: () => void } {
  const folder = tempDir();
  chmodSync(folder, 0o777);
  const before = readFileSync(corePattern, "utf8").trim();
  writeFileSync(corePattern, `${folder}/core.%p`);
  const limit = (value: string): void => void spawnSync("prlimit", ["--pid", `${process.pid}`, `--core=${value}`]);
  limit("unlimited:unlimited");
  return {
    folder,
    restore: () => {
      writeFileSync(corePattern, before);
      limit("0:unlimited");
    },
  };
}

/** What root sees of a process: its first environment, its words, and a fact of each of its threads. */
export function seenByRoot(pid: number): {
  readonly variables: readonly string[];
  readonly words: readonly string[];
  readonly maps: string;
  readonly threads: (fact: string) => readonly string[];
} {
  const list = (name: string): string[] => readFileSync(`/proc/${pid}/${name}`, "utf8").split("\0").slice(0, -1);
  return {
    variables: list("environ").map((entry) => entry.replace(/=.*$/s, "")),
    words: list("cmdline"),
    maps: readFileSync(`/proc/${pid}/maps`, "utf8"),
    threads: (fact) =>
      readdirSync(`/proc/${pid}/task`).map(
        (thread) =>
          new RegExp(`^${fact}:\\s+(.*)$`, "m").exec(readOr(`/proc/${pid}/task/${thread}/status`, ""))?.[1] ?? "",
      ),
  };
}

function asAttacker(
  program: string,
  words: readonly string[],
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const child = spawn(program, words, {
    uid: attacker,
    gid: attacker,
    cwd: "/",
    env: { PATH: "/usr/bin:/bin", HOME: "/nonexistent", LANG: "C" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve({ stdout, stderr }));
  });
}

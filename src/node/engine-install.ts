/**
 * The embedded engine in a folder of its own below the data directory: fetched there by npm, from the registry that is
 * configured on this machine, looked at, and taken away. It is an optional peer of the package, because all that npm would
 * bring along for it has 700 MB; this is the part that one platform needs. Called by `sealmesh engine`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MeshError, systemCode } from "../base/errors.ts";
import { isRecord, parseJsonText } from "../base/json.ts";
import { engineFolder, enginePackage, engineVersion, findEngine } from "../engine/llama-package.ts";
import { makeDirectory, unusable } from "./own-files.ts";

/** What Node calls a platform -> the package with the engine's libraries for it. */
const platformPackages: Readonly<Record<string, string>> = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
  "linux-arm": "linux-armv7l",
  "linux-riscv64": "linux-riscv64",
  "darwin-arm64": "mac-arm64-metal",
  "darwin-x64": "mac-x64",
  "win32-x64": "win-x64",
  "win32-arm64": "win-arm64",
};

export interface EngineState {
  /** "package": beside ours, as npm installed it · "folder": in the data directory · "none" */
  readonly place: "package" | "folder" | "none";
  /** Of what is used; null: there is none, or it does not say. */
  readonly version: string | null;
  /** The engine's own folder, whether it is there or not. */
  readonly folder: string;
  /** What the folder holds: null where there is nothing in it. */
  readonly installed: { readonly version: string | null; readonly bytes: number } | null;
}

export interface InstallOptions {
  /** Told every second with the bytes so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
  /** What runs npm; words of its command line follow. @default "npm" */
  readonly npm?: readonly [string, ...string[]];
  /** Of the file system in which it looks for the package beside ours: for tests. @default our own file */
  readonly from?: string;
}

/** A slow line has 85 MB in this time, ms. */
const installMs = 30 * 60_000;
const lookMs = 1_000;
/** Of what npm says when it fails. */
const wordsKept = 4_000;

/**
 * Words for npm, run in an empty folder with a package.json.
 * @param platform "linux-x64", as Node names system and processor
 * @throws         E_CONFIG nothing is published for this platform
 */
export function npmWords(platform: string, version: string = engineVersion): readonly string[] {
  const name = platformPackages[platform];
  if (name === undefined) {
    throw new MeshError("E_CONFIG", `there is no embedded engine for ${platform}: run one behind a URL (--engine)`);
  }
  const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  // what is left out is 600 MB for graphics cards; what scripts would do at the end is not needed
  const small = ["--omit=optional", "--omit=dev", "--ignore-scripts", "--save-exact"];
  return ["install", ...small, ...quiet, `${enginePackage}@${version}`, `@${enginePackage}/${name}@${version}`];
}

/** @throws E_CONFIG no engine for this platform, or no npm · E_UNREACHABLE npm failed · E_STATE · E_DISK · the signal's reason */
export async function installEngine(dataDir: string, options: InstallOptions = {}): Promise<EngineState> {
  const { signal, onProgress, npm = usualNpm(), from } = options;
  const platform = `${process.platform}-${process.arch}`;
  const words = npmWords(platform);
  refuseMusl();
  makeDirectory(dataDir);
  const folder = engineFolder(dataDir);
  const fresh = `${folder}.${process.pid}.new`;
  const old = `${folder}.${process.pid}.old`;
  try {
    rmSync(fresh, { recursive: true, force: true });
    mkdirSync(fresh, { mode: 0o700 });
    writeFileSync(join(fresh, "package.json"), '{"private":true}\n', { mode: 0o600 });
    await runNpm([...npm, ...words], { folder: fresh, signal, onProgress });
    refuseHalf(fresh, platformPackages[platform] ?? "");
    // a node that runs has its files open, and keeps them
    if (sizeOf(folder) !== undefined) renameSync(folder, old);
    renameSync(fresh, folder);
  } catch (thrown) {
    throw thrown instanceof MeshError ? thrown : unusable(folder, `cannot be written (${systemCode(thrown)})`, thrown);
  } finally {
    for (const path of [fresh, old]) rmSync(path, { recursive: true, force: true });
  }
  return engineState(dataDir, from);
}

/** @returns whether there was anything. @throws E_STATE */
export function removeEngine(dataDir: string): boolean {
  const folder = engineFolder(dataDir);
  if (sizeOf(folder) === undefined) return false;
  try {
    rmSync(folder, { recursive: true });
    return true;
  } catch (cause) {
    throw unusable(folder, `cannot be deleted (${systemCode(cause)})`, cause);
  }
}

/** @param from as findEngine() */
export function engineState(dataDir: string, from?: string): EngineState {
  const folder = engineFolder(dataDir);
  const bytes = sizeOf(folder);
  const inFolder = versionIn(folder, enginePackage);
  const beside = findEngine(undefined, from);
  const found = findEngine(folder, from);
  const place = beside !== undefined ? "package" : found !== undefined ? "folder" : "none";
  const version = found === undefined ? null : (versionOf(found) ?? null);
  return { place, version, folder, installed: bytes === undefined ? null : { version: inFolder ?? null, bytes } };
}

interface Run {
  readonly folder: string;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((bytes: number) => void) | undefined;
}

/** @throws E_CONFIG there is no npm · E_UNREACHABLE with its own last words */
async function runNpm([program = "", ...words]: readonly string[], { folder, signal, onProgress }: Run): Promise<void> {
  const time = AbortSignal.timeout(installMs);
  const child = spawn(program, words, {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
    signal: signal ? AbortSignal.any([time, signal]) : time,
    // npm is a script there, and all words are ours
    shell: process.platform === "win32",
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-wordsKept)));
  const timer = setInterval(() => onProgress?.(sizeOf(folder) ?? 0), lookMs);
  try {
    const code = await ended(child);
    if (code === 0) return;
    const why = npmComplaint(said);
    throw new MeshError("E_UNREACHABLE", `npm could not fetch the engine (${code ?? "killed"})${why}`);
  } finally {
    clearInterval(timer);
  }
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("close", resolve);
    child.once("error", (cause: NodeJS.ErrnoException) => {
      if (cause.name === "AbortError") return reject(new MeshError("E_TIMEOUT", "npm was stopped", { cause }));
      const what = cause.code === "ENOENT" ? "it is not installed, or not in PATH" : String(cause.code);
      reject(new MeshError("E_CONFIG", `npm cannot be run: ${what}`, { cause }));
    });
  });
}

/** Its first lines that say something, without what would move a cursor. */
function npmComplaint(said: string): string {
  const lines = said
    .replaceAll(/[^\x20-\x7e\n]/g, "")
    .split("\n")
    .map((line) => line.replace(/^npm (?:error|ERR!) ?/, "").trim())
    .filter((line) => line !== "" && !/^(?:code|errno|syscall|type) |complete log of this run|\.log$/.test(line));
  return lines.length === 0 ? "" : `: ${lines.slice(0, 3).join("; ").slice(0, 400)}`;
}

function usualNpm(): readonly [string, ...string[]] {
  return [process.platform === "win32" ? "npm.cmd" : "npm"];
}

/** @throws E_CONFIG */
function refuseMusl(): void {
  if (process.platform !== "linux") return;
  const report = process.report.getReport();
  const header = isRecord(report) ? report["header"] : undefined;
  if (!isRecord(header) || header["glibcVersionRuntime"] !== undefined) return;
  throw new MeshError(
    "E_CONFIG",
    "the embedded engine needs glibc, which this Linux has not: run one behind a URL (--engine)",
  );
}

/** @throws E_UNREACHABLE a registry that has something else under these names */
function refuseHalf(folder: string, platform: string): void {
  for (const name of [enginePackage, `@${enginePackage}/${platform}`]) {
    const version = versionIn(folder, name);
    if (version === engineVersion) continue;
    throw new MeshError("E_UNREACHABLE", `npm has not brought ${name}@${engineVersion}, but ${version ?? "nothing"}`);
  }
}

function versionIn(folder: string, name: string): string | undefined {
  return packageVersion(join(folder, "node_modules", name, "package.json"));
}

/** Of the package that a file URL .../node-llama-cpp/dist/index.js is of. */
function versionOf(url: string): string | undefined {
  return packageVersion(new URL("../package.json", url));
}

function packageVersion(file: string | URL): string | undefined {
  try {
    const json = parseJsonText(readFileSync(file, "utf8"));
    const version = isRecord(json) ? json["version"] : undefined;
    return typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}

/** Of all files below; undefined: there is no such folder. */
function sizeOf(folder: string): number | undefined {
  try {
    let bytes = 0;
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
    }
    return bytes;
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return undefined;
    return 0; // npm moves things while we look
  }
}

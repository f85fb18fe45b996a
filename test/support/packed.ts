/**
 * The package as users get it: packed by npm, and installed in an empty project without scripts. The clients that examples use
 * are linked from this repository beside it. Build first.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { root, tempDir } from "./processes.ts";

export interface Packed {
  readonly tarball: string;
  /** What `npm pack --json` says of it. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
  readonly bytes: number;
}

export interface Project {
  readonly folder: string;
  /** Of the installed package. */
  readonly installed: string;
  /** Why npm could not install it here; undefined: it has. The same folders were laid out by hand then. */
  readonly notInstalled: string | undefined;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function packIt(): Packed {
  const folder = tempDir();
  const said = run("npm", ["pack", root, "--json", "--ignore-scripts", "--pack-destination", folder], folder);
  const [packed] = JSON.parse(said) as [{ filename: string; size: number; files: Packed["files"] }];
  return { tarball: join(folder, packed.filename), files: packed.files, bytes: packed.size };
}

/** An empty project that has the package, and nothing else. */
export function installIt({ tarball }: Packed): Project {
  const folder = tempDir();
  const modules = join(folder, "node_modules");
  writeFileSync(join(folder, "package.json"), '{"name":"project","version":"1.0.0","private":true}');
  const installed = join(modules, "sealmesh");
  const words = ["install", tarball, "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
  // npm goes on trying for minutes where there is no network
  const { status, stderr, error } = spawnSync("npm", [...words, "--fetch-retries=0", "--fetch-timeout=10000"], {
    cwd: folder,
    encoding: "utf8",
    timeout: 60_000,
  });
  if (status === 0) return { folder, installed, notInstalled: undefined };
  mkdirSync(modules, { recursive: true });
  run("tar", ["xzf", tarball, "-C", modules], folder);
  run("mv", ["package", "sealmesh"], modules);
  for (const name of dependenciesOf(installed)) {
    const from = join(root, "node_modules", name);
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    cpSync(realpathSync(from), join(modules, name), { recursive: true });
  }
  mkdirSync(join(modules, ".bin"));
  symlinkSync("../sealmesh/dist/cli/main.js", join(modules, ".bin/sealmesh"));
  return { folder, installed, notInstalled: error?.message ?? stderr.trim() };
}

/** All that is installed with a package, as this repository has it; one that is not for this machine is not there. */
function dependenciesOf(folder: string): ReadonlySet<string> {
  const names = new Set(asked(folder));
  for (const name of names) {
    const there = join(root, "node_modules", name);
    if (lstatSync(there, { throwIfNoEntry: false })) for (const next of asked(there)) names.add(next);
    else names.delete(name);
  }
  return names;
}

function asked(folder: string): readonly string[] {
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  ) as Record<string, Record<string, string> | undefined>;
  return Object.keys({ ...dependencies, ...optionalDependencies });
}

/** Packages of this repository, for a project that wants them too. */
export function linkInto({ folder }: Project, names: readonly string[]): void {
  for (const name of names) {
    const link = join(folder, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    if (!lstatSync(link, { throwIfNoEntry: false })) symlinkSync(realpathSync(join(root, "node_modules", name)), link);
  }
}

/** Sizes of all files below, and what they take of a disk in pieces of 4 KiB, bytes. */
export function sizeOf(folder: string): { readonly apparent: number; readonly onDisk: number } {
  let [apparent, onDisk] = [0, 0];
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const { size } = lstatSync(join(entry.parentPath, entry.name));
    apparent += entry.isDirectory() ? 0 : size;
    onDisk += Math.ceil(size / 4096) * 4096;
  }
  return { apparent, onDisk };
}

export interface Program {
  readonly ended: Promise<Ended>;
  /** The first line of its output, past or future, that fits. @throws Error it ended without one */
  says(line: RegExp): Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

/** A program of the project, with no settings of whoever runs the tests. */
export function startIn(
  { folder }: Pick<Project, "folder">,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Program {
  const others = Object.entries(process.env).filter(([name]) => !/^(SEALMESH|VITEST|NODE_|npm_)/.test(name));
  const child = spawn(process.execPath, words, { cwd: folder, env: { ...Object.fromEntries(others), ...env } });
  let [stdout, stderr] = ["", ""];
  let look = (): void => undefined;
  child.stdout.setEncoding("utf8").on("data", (text: string) => ((stdout += text), look()));
  child.stderr.setEncoding("utf8").on("data", (text: string) => ((stderr += text), look()));
  // whatever it waits for, the test does not
  const timer = setTimeout(() => child.kill("SIGKILL"), 40_000);
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
  return {
    ended,
    kill: (signal) => void child.kill(signal),
    says: (line) =>
      new Promise((resolve, reject) => {
        look = () => {
          const said = `${stdout}\n${stderr}`.split("\n").find((text) => line.test(text));
          if (said !== undefined) resolve(said);
        };
        look();
        void ended.then(() => reject(new Error(`it ended and did not say ${String(line)}\n${stdout}${stderr}`)));
      }),
  };
}

/** @returns stdout · @throws Error with its output */
export function run(command: string, words: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, words, { cwd, encoding: "utf8", timeout: 60_000 });
  if (status === 0) return stdout;
  throw new Error(`${command} ${words.join(" ")}: ${error?.message ?? ""}\n${stdout}${stderr}`);
}

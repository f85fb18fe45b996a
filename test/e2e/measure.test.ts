/**
 * Digests of real builds: two clones that were built in different folders, and the package packed and installed elsewhere.
 * The packed one is installed by npm from its cache; where that does not hold what is needed, the installed folder is made
 * by hand, with the dependencies nested in the package instead of beside it.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { bundle } from "../../scripts/bundle.mjs";
import type { LogEvent } from "../../src/base/log.ts";
import type * as Measure from "../../src/harden/measure.ts";
import type * as Measurements from "../../src/node/measurements.ts";
import { demoModel, eventually, root, runCommand, startProcess, tempDir } from "../support/processes.ts";

/** The document of `sealmesh measure --json`. */
interface Measured {
  readonly build: string;
  readonly runtime: string;
  readonly engine: string | null;
  readonly files: number;
  readonly packages: number;
  readonly problems: readonly string[];
  readonly ms: number;
}

/** What `npm run build` reads. */
const sources = ["src", "console", "models", "scripts", "package.json", "tsconfig.json", "README.md", "LICENSE"];

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 60_000 });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? ""}\n${stdout}${stderr}`);
}

function measureIn(folder: string): Measured {
  return JSON.parse(run(process.execPath, [join(folder, "dist/cli/main.js"), "measure", "--json"], folder)) as Measured;
}

/** A copy of the sources, built there. */
function builtClone(folder: string): string {
  mkdirSync(folder, { recursive: true });
  for (const name of sources) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(realpathSync(join(root, "node_modules")), join(folder, "node_modules"));
  run(process.execPath, ["scripts/build.mjs"], folder);
  return folder;
}

/** @returns the package's folder in an installation of the tarball that `npm pack` makes of a clone */
function installedFrom(clone: string): string {
  const packed = tempDir();
  run("npm", ["pack", clone, "--pack-destination", packed], packed);
  const tarball = join(packed, readdirSync(packed).find((name) => name.endsWith(".tgz")) ?? "");
  const project = mkdtempSync(join(tempDir(), "project-"));
  writeFileSync(join(project, "package.json"), '{"name":"project","version":"1.0.0","private":true}');
  try {
    run("npm", ["install", "--offline", "--no-audit", "--no-fund", tarball], project);
    console.info("the packed build was installed by npm");
    return join(project, "node_modules/sealmesh");
  } catch {
    console.info("npm's cache does not hold the dependencies: the packed build was laid out by hand, nested");
    return laidOut(tarball, join(project, "node_modules"), clone);
  }
}

function laidOut(tarball: string, modules: string, clone: string): string {
  mkdirSync(modules, { recursive: true });
  run("tar", ["xzf", tarball, "-C", modules], modules);
  const folder = join(modules, "sealmesh");
  renameSync(join(modules, "package"), folder);
  const lines = run(process.execPath, [join(clone, "dist/cli/main.js"), "measure", "--manifest"], clone).split("\n");
  const found = lines.flatMap((line) => /^dependency {2}\S+ (\S+) \S+$/.exec(line)?.[1] ?? []);
  for (const name of new Set(found)) {
    cpSync(realpathSync(join(root, "node_modules", name)), join(folder, "node_modules", name), {
      recursive: true,
      filter: (path) => basename(path) !== "node_modules",
    });
  }
  return folder;
}

describe("the digest of a build", () => {
  let clone: string;
  let installed: string;
  let measured: Measured;

  beforeAll(() => {
    clone = builtClone(join(tempDir(), "clone"));
    installed = installedFrom(clone);
    measured = measureIn(clone);
  });

  it("is the same from two clones, built in different folders", () => {
    const other = measureIn(builtClone(join(tempDir(), "another folder", "deeper", "sealmesh")));
    expect(measured.problems).toEqual([]);
    expect(measured.packages).toBeGreaterThan(20);
    expect(other).toEqual({ ...measured, ms: other.ms });
  });

  it("is the same of the packed package, installed elsewhere, without the engine and all that is for development", () => {
    expect(existsSync(join(installed, "src"))).toBe(false);
    const there = measureIn(installed);
    expect(there).toEqual({ ...measured, engine: null, ms: there.ms });
    expect(measured.engine).toMatch(/^[0-9a-f]{64}$/);
  });

  it("is the SHA-256 of the manifest that is printed", () => {
    const text = run(process.execPath, [join(installed, "dist/cli/main.js"), "measure", "--manifest"], installed);
    expect(createHash("sha256").update(text).digest("hex")).toBe(measured.build);
    expect(text.split("\n")[1]).toBe(`platform ${process.platform}-${process.arch}`);
    expect(text).not.toContain(dirname(installed));
  });

  it("changes with one byte of any of our files, of a dependency's code, or of an addon", async () => {
    const { measureBuild } = await builtMeasure();
    const names = [
      "dist/cli/main.js",
      "package.json",
      "ws/lib/websocket.js",
      "b4a/index.js", // a dependency's dependency
      `sodium-native/prebuilds/${process.platform}-${process.arch}/sodium-native.node`,
      nativeOf("@number0/iroh"), // of a package for this system alone
    ];
    const seen = new Set([measured.build]);
    for (const name of names) {
      const places = [installed, join(installed, "node_modules"), dirname(installed)];
      const path = places.map((place) => join(place, name)).find((each) => existsSync(each)) ?? "";
      const bytes = readFileSync(path);
      const changed = Uint8Array.from(bytes);
      // the last byte of our package.json is a line end, and becomes a space
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ (name === "package.json" ? 0x2a : 1);
      replaceFile(path, changed);
      seen.add((await measureBuild({ root: installed })).build);
      replaceFile(path, bytes);
    }
    expect(seen.size).toBe(names.length + 1);
    expect((await measureBuild({ root: installed })).build).toBe(measured.build);
  });
});

/** What measures, as a build has it: on a thread of its own. A package shows it to nobody, so it is built for this. */
async function builtMeasure(): Promise<typeof Measure> {
  const dist = join(tempDir(), "dist");
  await bundle(root, dist, ["harden/measure", "harden/measure/worker"]);
  return (await import(pathToFileURL(join(dist, "harden/measure.js")).href)) as typeof Measure;
}

/** Not in place: a file may be one with npm's cache. */
function replaceFile(path: string, content: Uint8Array): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

/** The addon that a package loads from another one, made for this system. */
function nativeOf(name: string): string {
  const beside = dirname(join(root, "node_modules", name));
  const packages = readdirSync(beside).filter((each) => each.startsWith(`${basename(name)}-`));
  for (const each of packages) {
    const file = readdirSync(join(beside, each)).find((entry) => entry.endsWith(".node"));
    if (file !== undefined) return `${dirname(name)}/${each}/${file}`;
  }
  throw new Error(`no addon of ${name} is installed`);
}

describe("what a node loads", () => {
  // what is mapped into a process can be read on Linux only
  it.runIf(process.platform === "linux")("stands in a manifest, every file of it", async () => {
    const { measureBuild } = await builtMeasure();
    const { manifest, engineManifest } = await measureBuild({ root });
    const keys = new Set([...manifest, ...engineManifest].map(({ key }) => key));
    const script = join(root, "test/support/loaded-files.mjs");
    const printed = run(process.execPath, [script, root, demoModel], root);
    const { files, libraries } = JSON.parse(printed) as Record<"files" | "libraries", readonly string[]>;
    const places = [join(realpathSync(root), "/"), join(realpathSync(join(root, "node_modules")), "/")];
    const all = [...files, ...libraries].filter((path) => ![script, realpathSync(demoModel)].includes(path));
    const isOurs = (path: string): boolean => places.some((place) => path.startsWith(place));
    const loaded = all.filter(isOurs).map(keyOf);
    expect(loaded.length).toBeGreaterThan(200);
    expect(libraries.filter((path) => path.endsWith(".node")).length).toBeGreaterThan(2);
    expect(loaded.filter((key) => !keys.has(key))).toEqual([]);
    // and nothing from elsewhere but Node and the system's own libraries
    const elsewhere = all.filter((path) => !isOurs(path) && path !== realpathSync(process.execPath));
    expect(elsewhere.filter((path) => !/^\/(usr\/)?lib/.test(path))).toEqual([]);
  });
});

/** name@version/path of a file, by where it lies: told in another way than it is found by. */
function keyOf(path: string): string {
  const [, folder = root] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
  const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, string>;
  return `${name}@${version}${path.slice(folder.length)}`;
}

describe("a node", () => {
  it("tells the digests of what it runs and of its model, as `sealmesh measure` does", async () => {
    const dataDir = tempDir();
    const node = await startProcess(["serve", "--model", demoModel, "--data-dir", dataDir]);
    const { stdout, code } = await runCommand(["measure", "--json", "--model", demoModel]);
    expect(code).toBe(0);
    const { build, runtime, engine, files } = JSON.parse(stdout) as Measured;
    const { measurement } = await eventually(async () => {
      const status = await node.status();
      return status.measurement.models[0]?.sha256 != null && status;
    });
    expect(measurement).toMatchObject({ state: "measured", build, runtime, engine, files, problems: [], changed: [] });
    const sha256 = createHash("sha256").update(readFileSync(demoModel)).digest("hex");
    expect(measurement.models).toEqual([{ file: "demo.gguf", sha256, bytes: statSync(demoModel).size, why: null }]);
    expect(stdout).toContain(sha256);
    expect(await node.waitForLine(({ event }) => event === "build-measured")).toMatchObject({ build, runtime });
    expect(statSync(join(dataDir, "measured.json")).mode & 0o777).toBe(0o600);
    await node.stop();
  });

  it("learns on a thread beside it that a file was changed while it runs, and can end in the midst of it", async () => {
    const folder = join(tempDir(), "sealmesh");
    cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
    linkSync(join(root, "package.json"), join(folder, "package.json"));
    symlinkSync(realpathSync(join(root, "node_modules")), join(folder, "node_modules"));
    await bundle(root, join(folder, "dist"), ["node/measurements", "harden/measure/worker"]);
    const module = (await import(pathToFileURL(join(folder, "dist/node/measurements.js")).href)) as typeof Measurements;
    const events: LogEvent[] = [];
    const measurements = new module.Measurements({
      models: [],
      cache: { read: () => undefined, write: () => undefined },
      log: { write: (_, event) => void events.push(event) },
      lookMs: 50,
    });
    const build = (await measurements.first)?.build;
    measurements.begin();
    writeFileSync(join(folder, "dist/sdk/index.js"), "// changed");
    await eventually(() => measurements.status().changed.length === 1);
    expect(measurements.status()).toMatchObject({ build, changed: ["sealmesh@0.1.0/dist/sdk/index.js"] });
    expect(events.at(-1)).toMatchObject({ event: "build-changed", files: 1 });
    await eventually(() => measurements.status().looked_at !== null);
    const started = performance.now();
    await measurements.close();
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe("sealmesh measure", () => {
  it("prints the three digests, and says that they are its own word", async () => {
    const { stdout, stderr, code } = await runCommand(["measure"]);
    expect(code).toBe(0);
    expect(stderr).toBe("");
    expect(stdout.match(/\b[0-9a-f]{64}\b/g)).toHaveLength(3);
    expect(stdout).toMatch(/by this installation itself/);
  });

  it("refuses a model that is not there, and a digest that does not exist", async () => {
    const missing = await runCommand(["measure", "--json", "--model", "/nowhere.gguf"]);
    expect(JSON.parse(missing.stdout)).toMatchObject({ error: { code: "E_INPUT" } });
    expect(missing.code).toBe(65);
    expect((await runCommand(["measure", "--manifest", "model"])).code).toBe(64);
  });
});

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { toMeshError } from "../../../src/base/errors.ts";
import { engineVersion } from "../../../src/engine/llama-package.ts";
import { engineState, installEngine, npmWords, removeEngine } from "../../../src/node/engine-install.ts";

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
  directories.push(path);
  return path;
}

/** As seen from a package that has no engine beside it. */
const elsewhere = (): string => pathToFileURL(join(directory(), "file.js")).href;

/** A program in npm's place: it writes packages into its working directory, or fails. */
function npmThat(script: string): readonly [string, ...string[]] {
  const file = join(directory(), "npm.mjs");
  const head = `import { mkdirSync, writeFileSync } from "node:fs";
const add = (name, version) => {
  mkdirSync("node_modules/" + name + "/dist", { recursive: true });
  writeFileSync("node_modules/" + name + "/package.json", JSON.stringify({ name, version, main: "dist/index.js" }));
  writeFileSync("node_modules/" + name + "/dist/index.js", "");
};
const given = process.argv.slice(3).filter((word) => /^@?node-llama/.test(word));
`;
  writeFileSync(file, head + script);
  return [process.execPath, file];
}

const wellBehaved = `for (const word of given) add(...word.split(/(?<=.)@/));`;

async function failureOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  const { code, message } = toMeshError(
    await work.then(
      () => "no failure",
      (thrown: unknown) => thrown,
    ),
  );
  return { code, message };
}

describe("npm's command line", () => {
  it("asks for two packages at one version, without scripts and without what is optional", () => {
    expect(npmWords("linux-x64")).toEqual([
      "install",
      "--omit=optional",
      "--omit=dev",
      "--ignore-scripts",
      "--save-exact",
      "--no-audit",
      "--no-fund",
      "--no-update-notifier",
      "--loglevel=error",
      "node-llama-cpp@3.21.1",
      "@node-llama-cpp/linux-x64@3.21.1",
    ]);
    expect(npmWords("darwin-arm64").at(-1)).toBe("@node-llama-cpp/mac-arm64-metal@3.21.1");
    expect(() => npmWords("aix-ppc64")).toThrow(/no embedded engine for aix-ppc64/);
  });

  it("names packages that node-llama-cpp itself asks for, at the version that is tested here", () => {
    const own = JSON.parse(readFileSync("package.json", "utf8")) as { devDependencies: Record<string, string> };
    expect(own.devDependencies["node-llama-cpp"]).toBe(engineVersion);
    const engine = JSON.parse(readFileSync("node_modules/node-llama-cpp/package.json", "utf8")) as {
      optionalDependencies: Record<string, string>;
    };
    for (const platform of ["linux-x64", "linux-arm64", "linux-arm", "darwin-arm64", "darwin-x64", "win32-x64"]) {
      const [name = ""] =
        npmWords(platform)
          .at(-1)
          ?.split(/(?<=.)@/) ?? [];
      expect(engine.optionalDependencies[name], platform).toBe(engineVersion);
    }
  });
});

describe("the engine's own folder", () => {
  it("is filled by npm, found, replaced and taken away", async () => {
    const dataDir = directory();
    const from = elsewhere();
    expect(engineState(dataDir, from)).toMatchObject({ place: "none", version: null, installed: null });
    const state = await installEngine(dataDir, { npm: npmThat(wellBehaved), from });
    expect(state).toMatchObject({ place: "folder", version: engineVersion, folder: join(dataDir, "engine") });
    expect(state.installed).toMatchObject({ version: engineVersion });
    writeFileSync(join(dataDir, "engine/old"), "");
    await installEngine(dataDir, { npm: npmThat(wellBehaved), from });
    expect(existsSync(join(dataDir, "engine/old"))).toBe(false);
    expect(readdirSync(dataDir)).toEqual(["engine"]);
    expect([removeEngine(dataDir), removeEngine(dataDir)]).toEqual([true, false]);
    expect(engineState(dataDir, from).installed).toBeNull();
  });

  it("stays as it was when npm fails, brings something else, or is not there", async () => {
    const dataDir = directory();
    const from = elsewhere();
    await installEngine(dataDir, { npm: npmThat(wellBehaved), from });
    const fails = npmThat(
      `console.error("npm error code E404\\nnpm error 404 Not Found \\u001b[2J"); process.exit(1);`,
    );
    const failed = await failureOf(installEngine(dataDir, { npm: fails, from }));
    expect(failed).toEqual({ code: "E_UNREACHABLE", message: "npm could not fetch the engine (1): 404 Not Found [2J" });
    const half = npmThat(`add("node-llama-cpp", "9.9.9");`);
    const other = await failureOf(installEngine(dataDir, { npm: half, from }));
    expect(other.message).toBe("npm has not brought node-llama-cpp@3.21.1, but 9.9.9");
    const missing = await failureOf(installEngine(dataDir, { npm: ["/nowhere/npm"], from }));
    expect(missing).toEqual({ code: "E_CONFIG", message: "npm cannot be run: it is not installed, or not in PATH" });
    const stop = new AbortController();
    const hangs = npmThat("setInterval(() => undefined, 1000);");
    const stopped = failureOf(
      installEngine(dataDir, { npm: hangs, from, signal: stop.signal, onProgress: () => stop.abort() }),
    );
    expect((await stopped).code).toBe("E_TIMEOUT");
    expect(engineState(dataDir, from)).toMatchObject({ place: "folder", version: engineVersion });
    expect(readdirSync(dataDir)).toEqual(["engine"]);
  });

  it("is not used where one stands beside the package, and not made where others could change it", async () => {
    const dataDir = directory();
    expect(engineState(dataDir)).toMatchObject({ place: "package", version: engineVersion });
    const open = join(directory(), "open");
    mkdirSync(open);
    chmodSync(open, 0o777);
    expect((await failureOf(installEngine(open, { npm: npmThat(wellBehaved) }))).code).toBe("E_STATE");
  });
});

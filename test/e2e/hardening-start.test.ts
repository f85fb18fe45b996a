/**
 * How a hardened node begins: whatever its starter has set, the process that stays runs without it, says so, keeps its
 * place (id, stdio, signals, exit code), and takes nothing with it when it is killed.
 */
import { type ChildProcess, fork, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { seenByRoot } from "../support/doors.ts";
import {
  demoModel,
  eventually,
  isRunning,
  mainFile,
  type NodeProcess,
  type ReadyLine,
  root,
  runCommand,
  startProcess,
  tempDir,
} from "../support/processes.ts";

const onLinux = process.platform === "linux";
const asRoot = process.getuid?.() === 0;

describe.skipIf(!onLinux)("a dirty start", () => {
  const folder = tempDir();
  /** Says on disk how often it was loaded, by whom. */
  const told = join(folder, "told");
  const spy = join(folder, "spy.cjs");
  writeFileSync(spy, `require("node:fs").appendFileSync(${JSON.stringify(told)}, process.pid + "\\n");`);
  /** A library that the loader takes from wherever it is told. */
  const library = join(folder, "libspy.so.1");
  const system = ["/lib/x86_64-linux-gnu/libz.so.1", "/lib/aarch64-linux-gnu/libz.so.1", "/usr/lib/libz.so.1"];
  const found = system.find((path) => existsSync(path));
  if (found !== undefined) copyFileSync(found, library);

  const variables: Readonly<Record<string, string>> = {
    NODE_OPTIONS: `--require ${spy}`,
    NODE_PATH: folder,
    NODE_V8_COVERAGE: join(folder, "coverage"),
    NODE_EXTRA_CA_CERTS: join(folder, "none.pem"),
    NODE_DEBUG: "http",
    NODE_COMPILE_CACHE: join(folder, "cache"),
    SSLKEYLOGFILE: join(folder, "keys"),
    OPENSSL_CONF: "/dev/null",
    SSL_CERT_FILE: join(folder, "none.pem"),
    LD_PRELOAD: found === undefined ? "" : library,
    LD_LIBRARY_PATH: folder,
    DYLD_INSERT_LIBRARIES: library,
    GCONV_PATH: folder,
    GLIBC_TUNABLES: "glibc.malloc.check=0",
    npm_config_node_options: `--require ${spy}`,
    PYTHONPATH: folder,
    BASH_ENV: spy,
  };
  const clean = Object.fromEntries(Object.keys(process.env).map((variable) => [variable, undefined]));
  const usual = { PATH: process.env["PATH"], HOME: folder, SEALMESH_CONFIG: "none" };

  it.concurrent.each(Object.entries(variables))(
    "with %s=%s: the node runs without it, and says so",
    async (variable, value) => {
      await using node = await startProcess(["client"], { env: { ...clean, ...usual, [variable]: value } });
      await expectClean(node, [variable]);
    },
  );

  const flags: Readonly<Record<string, readonly string[]>> = {
    "--require": [spy],
    "--import": [spy],
    "--loader": [join(folder, "loader.mjs")],
    "--heapsnapshot-signal": ["=SIGUSR2"],
    "--report-on-signal": [],
    "--cpu-prof": [],
    "--expose-gc": [],
  };
  writeFileSync(join(folder, "loader.mjs"), "");

  it.concurrent.each(Object.entries(flags))("with node %s %o: the same", async (flag, [value]) => {
    const words = value === undefined ? [flag] : value.startsWith("=") ? [`${flag}${value}`] : [flag, value];
    await using node = await startProcess(["client"], { env: { ...clean, ...usual }, nodeFlags: words, cwd: folder });
    await expectClean(node, [flag]);
  });

  it("H1: is loaded by the start before, and by nothing that holds prompts", async () => {
    await using node = await startProcess(["client"], {
      env: { ...clean, ...usual, NODE_OPTIONS: `--require ${spy}` },
    });
    const loads = readFileSync(told, "utf8").split("\n");
    expect(loads.filter((pid) => pid === `${node.pid}`)).toHaveLength(1);
    // the same id: the process was replaced in its place
    expect(node.ready.pid).toBe(node.pid);
  });

  it("believes no mark: once forged it starts afresh again, and after two it does not start with what is left", async () => {
    const dirty = { ...clean, ...usual, NODE_PATH: folder };
    await using once = await startProcess(["client"], { env: { ...dirty, SEALMESH_STAGE: "1 " } });
    await expectClean(once, ["NODE_PATH"]);
    for (const left of ["NODE_PATH", "NAPI_RS_NATIVE_LIBRARY_PATH"]) {
      const env = { ...clean, ...usual, [left]: folder, SEALMESH_STAGE: "2 " };
      const { code, stderr } = await runCommand(["client", "--data-dir", tempDir()], { env });
      expect(stderr).toContain(`${left} can read prompts or send them elsewhere, and cannot be taken away here`);
      expect(code).toBe(78);
    }
  });

  it.each([
    ["--", "client"],
    ["client", "--data-dir", "-h"],
  ])("is refused where main.ts misses the command: %s %s", async (...words) => {
    const env = { ...clean, ...usual, SEALMESH_DATA_DIR: tempDir(), NODE_PATH: folder };
    const { code, stderr } = await runCommand(words, { env, cwd: tempDir() });
    expect(stderr).toContain('"client" must be the first word');
    expect(code).toBe(64);
  });

  it("keeps a file that the starter has opened, where a flag names it", async () => {
    const token = join(tempDir(), "token");
    writeFileSync(token, "bogus");
    const script = `exec "$@" --join-file /dev/fd/3 3<${token}`;
    const words = ["-c", script, "sh", process.execPath, mainFile, "client", "--data-dir", tempDir()];
    const { stderr } = spawnSync("/bin/sh", words, { env: { ...usual, NODE_PATH: folder }, encoding: "utf8" });
    expect(stderr).toContain("the invite is cut off");
  });

  // --inspect-brk waits for a debugger before it runs anything at all: there is nothing to refuse yet
  it.each(["--inspect=0", "--inspect-port=9333"])("refuses node %s with a sentence", async (flag) => {
    const { code, stderr } = await runCommand(["client", "--data-dir", tempDir()], { nodeFlags: [flag] });
    expect(stderr).toContain(`${flag.split("=")[0]} lets others read prompts`);
    expect(code).toBe(64);
  });

  async function expectClean(node: NodeProcess, scrubbed: readonly string[]): Promise<void> {
    const { hardening, posture } = await node.status();
    expect({ ...hardening, state: states(hardening.node) }).toMatchObject({
      on: true,
      scrubbed,
      state: {
        environment: "closed",
        arguments: "closed",
        "core-dumps": "closed",
        debugger: "closed",
        inspector: "closed",
        privileges: "closed",
        "memory-lock": "closed",
      },
    });
    expect(posture.scrubbed).toEqual(scrubbed);
    if (!asRoot) return; // its own /proc is nobody else's
    const seen = seenByRoot(node.pid);
    expect(seen.variables.toSorted()).toEqual(["HOME", "PATH", "SEALMESH_CONFIG", "SEALMESH_STAGE"]);
    expect(seen.words.slice(1, 4)).toEqual([
      expect.stringMatching(/^--(inspect-port|disable-sigusr1)/),
      mainFile,
      "client",
    ]);
    expect(seen.maps).not.toContain("libspy");
    expect(new Set(seen.threads("NoNewPrivs"))).toEqual(new Set(["1"]));
    expect(new Set(seen.threads("TracerPid"))).toEqual(new Set(["0"]));
  }
});

function states(doors: Readonly<Record<string, { readonly state: string }>>): Record<string, string> {
  return Object.fromEntries(Object.entries(doors).map(([door, { state }]) => [door, state]));
}

describe("without koffi", () => {
  const copy = copyWithout("koffi");

  it("refuses what it cannot take away, and says what to do", async () => {
    const options = { env: { NODE_PATH: "/nowhere" }, main: join(copy, "dist/cli/main.js") };
    const { code, stderr } = await runCommand(["client", "--data-dir", tempDir()], options);
    expect(stderr).toMatch(/NODE_PATH.*can read prompts.*install the package koffi, or go on with --no-hardening/);
    expect(code).toBe(78);
  });

  it("goes on from a clean start, and what it cannot ask is unknown", async () => {
    const clean = Object.fromEntries(Object.keys(process.env).map((variable) => [variable, undefined]));
    const env = { ...clean, PATH: process.env["PATH"], HOME: "/nonexistent", SEALMESH_CONFIG: "none" };
    await using node = await startProcess(["client"], { env, main: join(copy, "dist/cli/main.js") });
    const { hardening, posture } = await node.status();
    expect(states(hardening.node)).toMatchObject({
      environment: "closed",
      arguments: "closed",
      inspector: "closed",
      debugger: "unknown",
    });
    expect(posture.says_hardened).toBe(false);
  });
});

/** This package, with all that it needs but one. */
function copyWithout(name: string): string {
  const folder = tempDir();
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  for (const entry of readdirSync(join(root, "node_modules"))) {
    if (entry !== name) symlinkSync(join(root, "node_modules", entry), join(modules, entry));
  }
  cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(folder, "package.json"));
  return folder;
}

describe("steps", () => {
  it("H2: leaves out what the configuration names, and says so", async () => {
    const file = join(tempDir(), "config.toml");
    writeFileSync(file, "[hardening]\ninspector = false\ndebugger = false\n");
    await using node = await startProcess(["serve", "--model", demoModel, "--config", file]);
    const { hardening, posture } = await node.status();
    expect(hardening.on).toBe(false);
    expect(posture).toMatchObject({ hardening: false, says_hardened: false });
    const applied = Object.fromEntries(hardening.steps.map((step) => [step.name, step.applied]));
    if (onLinux) {
      expect(applied).toEqual({
        environment: true,
        "core-dumps": true,
        debugger: false,
        inspector: false,
        privileges: true,
      });
    }
    for (const doors of [hardening.node, hardening.engine]) {
      expect(doors).toMatchObject({ debugger: { state: onLinux ? "open" : "unknown" }, inspector: { state: "open" } });
    }
  });

  it("refuses a step that it does not know", async () => {
    const file = join(tempDir(), "config.toml");
    writeFileSync(file, "[hardening]\ncore_dump = false\n");
    const { code, stderr } = await runCommand(["client", "--config", file]);
    expect(stderr).toContain("did you mean core_dumps?");
    expect(code).toBe(78);
  });
});

describe("in its place", () => {
  it("leaves neither node nor engine when it is killed", async () => {
    const node = await startProcess(["serve", "--model", demoModel], { keepWithoutStdin: true });
    const engine = (await node.status()).engines[0]?.pid ?? -1;
    expect(isRunning(engine)).toBe(true);
    expect(await node.kill()).toEqual({ code: null, signal: "SIGKILL" });
    await eventually(() => !isRunning(engine), 1_000);
  });

  it("ends with the channel of whoever forked it", async () => {
    const words = ["client", "--data-dir", tempDir(), "--port", "0", "--headless", "--bind", "127.0.0.1:0"];
    const child = fork(mainFile, [...words, "--log-format", "json"], {
      stdio: ["ignore", "pipe", "inherit", "ipc"],
      env: { PATH: process.env["PATH"], SEALMESH_CONFIG: "none" },
      execArgv: [],
    });
    expect((await readyOf(child)).pid).toBe(child.pid);
    const ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    child.disconnect();
    expect(await ended).toBe(0);
  });

  function readyOf(child: ChildProcess): Promise<ReadyLine> {
    let text = "";
    return new Promise((resolve, reject) => {
      child.once("exit", () => reject(new Error(text)));
      child.stdout?.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
        const line = text.split("\n").find((one) => one.includes('"event":"ready"'));
        if (line !== undefined) resolve(JSON.parse(line) as ReadyLine);
      });
    });
  }

  it("costs less than 150 ms of the start", async () => {
    const starts: Record<"hardened" | "unhardened", number[]> = { hardened: [], unhardened: [] };
    const measure = async (kind: keyof typeof starts): Promise<void> => {
      const started = performance.now();
      await using _node = await startProcess([
        "client",
        "--headless",
        ...(kind === "hardened" ? [] : ["--no-hardening"]),
      ]);
      starts[kind].push(performance.now() - started);
    };
    // the least of each: what else the machine does comes on top of both
    const least = (kind: keyof typeof starts): number => Math.min(...starts[kind]);
    let cost = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 4 || (round < 12 && cost >= 150); round += 1) {
      await measure("hardened");
      await measure("unhardened");
      cost = least("hardened") - least("unhardened");
    }
    console.log(`start-up: ${Math.round(least("hardened"))} ms, ${Math.round(cost)} ms of them for hardening`);
    expect(cost).toBeLessThan(150);
  });
});

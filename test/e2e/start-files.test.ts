/**
 * What a start loads, counted in files and told by name: time depends on the machine, and each file takes its share of it.
 * Watched from a loader, so with the doors of the process open.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mainFile, root, runCommand, startProcess, tempDir } from "../support/processes.ts";
import { loadedFiles, traceFlags } from "../support/trace-loading.mjs";

interface Loaded {
  readonly files: readonly string[];
  /** Of node_modules, without those for one system alone. */
  readonly packages: ReadonlySet<string>;
  /** What of src/ is in them, as a build notes it: "cli/main.ts". */
  readonly sources: ReadonlySet<string>;
}

function loaded(out: string): Loaded {
  const files = loadedFiles(out);
  const packages = files.flatMap((path) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []);
  return { files, packages: new Set(packages), sources: new Set(files.flatMap(sourcesIn)) };
}

function sourcesIn(path: string): readonly string[] {
  if (!path.startsWith(join(root, "dist/"))) return [];
  return [...readFileSync(path, "utf8").matchAll(/^\/\/(?:#region)? src\/(\S+\.ts)$/gm)].map(([, name = ""]) => name);
}

async function loadedBy(words: readonly string[]): Promise<Loaded> {
  const out = join(tempDir(), "loaded");
  const { code, stderr } = await runCommand(words, { nodeFlags: traceFlags(out) });
  expect([code, stderr]).toEqual([0, ""]);
  return loaded(out);
}

/** What nobody asked for yet. */
const kindsOfEngine = ["engine/registry.ts", "engine/llama.ts", "engine/openai-http.ts", "engine/download.ts"];
const whenAsked = ["node/http/admin.ts", "discovery/registry.ts", "discovery/nostr.ts", "discovery/mdns.ts"];

describe("sealmesh version", () => {
  it("loads the parser, itself, and nothing of a node but its number", async () => {
    const { files, packages, sources } = await loadedBy(["version"]);
    expect(files).toContain(mainFile);
    expect(files.length).toBeLessThanOrEqual(12);
    expect([...packages]).toEqual([]);
    expect([...sources].filter((name) => name.startsWith("node/"))).toEqual([
      "node/config-place.ts",
      "node/version.ts",
    ]);
    expect([...sources].filter((name) => /^(?:wire|crypto|mesh|transport)\//.test(name))).toEqual([]);
  });

  it.each([["--help"], ["help"], ["--version"]])("nor does %s", async (word) => {
    const { files, packages, sources } = await loadedBy([word]);
    expect(files.length).toBeLessThanOrEqual(12);
    expect([...packages]).toEqual([]);
    expect([...sources].filter((name) => name.startsWith("cli/commands/"))).toEqual([]);
  });
});

/** What closes the process, where its configuration file is, and how a failure is told: the first step of scripts/bundle.mjs. */
const beforeItIsClosed =
  /^(?:cli\/main|harden\/[a-z]+|harden\/platform\/[a-z]+|node\/config-place|base\/(?:errors|package)|cli\/(?:output|table)|attest\/collect\/apple\/facts)\.ts$/;

describe("a client", () => {
  it("loads nothing else before it has closed itself", async () => {
    const out = join(tempDir(), "loaded");
    const node = await startProcess(["client", "--no-hardening"], { nodeFlags: traceFlags(out) });
    const { files } = loaded(out);
    const closed = files.findIndex((path) => sourcesIn(path).includes("cli/program.ts"));
    const before = files.slice(0, closed).flatMap(sourcesIn);
    expect(before).toContain("harden/harden.ts");
    expect(before.filter((name) => !beforeItIsClosed.test(name))).toEqual([]);
    await node.stop();
  });

  it("loads what it needs for a mesh: no engine, no console, no way to find meshes", async () => {
    const out = join(tempDir(), "loaded");
    const node = await startProcess(["client", "--no-hardening"], { nodeFlags: traceFlags(out) });
    const atStart = loaded(out);
    expect(atStart.sources).toContain("node/node.ts");
    expect(atStart.sources).toContain("transport/iroh.ts");
    expect(atStart.files.length).toBeLessThanOrEqual(20);
    for (const name of ["hono", "ws", "multicast-dns", "@noble/secp256k1", "@sigstore/verify", "node-llama-cpp"]) {
      expect(atStart.packages).not.toContain(name);
    }
    for (const name of [...kindsOfEngine, ...whenAsked]) expect(atStart.sources).not.toContain(name);

    // the checker can see what is loaded late
    expect((await node.status()).pid).toBe(node.pid);
    expect(loaded(out).sources).toContain("node/http/admin.ts");
    expect(loaded(out).packages).toContain("hono");
    await node.stop();
    // of what is loaded at once, and by require(), the end tells
    for (const name of ["@number0/iroh", "sodium-native"]) expect(loaded(out).packages).toContain(name);
  });
});

describe("a program beside the node", () => {
  it.each(["engine/llama-child", "harden/measure/worker"])("%s loads what it needs, and no node", (name) => {
    const files = new Set([join(root, `dist/${name}.js`)]);
    // what is added meanwhile is visited too
    for (const file of files) {
      const imported = readFileSync(file, "utf8").matchAll(/^(?:import|export) .*?from "(\.[^"]+)"/gm);
      for (const [, path = ""] of imported) files.add(join(file, "..", path));
    }
    const sources = [...files].flatMap(sourcesIn);
    expect(sources).toContain(`${name}.ts`);
    expect(sources).toContain("base/errors.ts");
    expect(sources.filter((path) => /^(?:mesh|transport|tunnel|crypto|cli\/commands)\//.test(path))).toEqual([]);
    expect(sources.length).toBeLessThanOrEqual(40);
  });
});

/** Models and the engine from elsewhere: downloaded by `serve` and `pull`, and an engine that lies in the data directory. */
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { engineVersion } from "../../src/engine/llama-package.ts";
import { openAiFor } from "../support/e2e.ts";
import { startModelServer } from "../support/model-server.ts";
import {
  demoModel,
  eventually,
  type NodeProcess,
  root,
  runCommand,
  startProcess,
  tempDir,
} from "../support/processes.ts";

const demo = Uint8Array.from(readFileSync(demoModel));
const sha256 = createHash("sha256").update(demo).digest("hex");

async function said(node: NodeProcess): Promise<string> {
  const answer = await openAiFor(node).chat.completions.create({
    model: "demo",
    temperature: 0,
    messages: [{ role: "user", content: "What is sealmesh?" }],
  });
  return answer.choices[0]?.message.content ?? "";
}

describe("serve --model with an address", () => {
  it("downloads it over a line that breaks, answers with it, and needs nobody the next time", async () => {
    const server = await startModelServer({ content: demo, cuts: [400_000] });
    const cacheDir = tempDir();
    const address = `${server.url}/demo.gguf#sha256=${sha256}`;
    const args = ["serve", "--model", address, "--cache-dir", cacheDir];
    const first = await startProcess(args);
    expect((await said(first)).length).toBeGreaterThan(20);
    expect(server.requests.map(({ headers }) => headers.range !== undefined)).toEqual([false, true]);
    const downloaded = first.lines.find(({ event }) => event === "model-downloaded");
    expect(downloaded).toMatchObject({ model: "demo.gguf", bytes: demo.length, sha256, checked_by: "given" });
    expect(first.lines.some(({ event }) => event === "model-downloading")).toBe(true);
    // it is measured as one that was there
    const { measurement } = await eventually(async () => {
      const status = await first.status();
      return status.measurement.models[0]?.sha256 != null && status;
    });
    expect(measurement).toMatchObject({ models: [{ file: "demo.gguf", sha256 }], changed: [] });
    await first.stop();
    await server.close();
    const second = await startProcess(args);
    expect(second.lines.some(({ event }) => event === "model-downloading")).toBe(false);
    expect((await said(second)).length).toBeGreaterThan(20);
    await second.stop();
  });

  it("does not start with one that is another", async () => {
    const server = await startModelServer({ content: demo });
    const cacheDir = tempDir();
    const model = `${server.url}/demo.gguf#sha256=${"0".repeat(64)}`;
    const args = ["serve", "--model", model, "--cache-dir", cacheDir, "--data-dir", tempDir()];
    const result = await runCommand([...args, "--port", "0", "--console", "0", "--bind", "127.0.0.1:0"]);
    expect(result).toMatchObject({ code: 65, stdout: "" });
    expect(result.stderr).toContain("it was deleted");
    expect(readdirSync(cacheDir, { recursive: true }).filter((name) => String(name).includes(".gguf"))).toEqual([]);
    await server.close();
  });
});

describe("sealmesh pull", () => {
  it("prints the path alone on stdout, and what it knows of it beside", async () => {
    const server = await startModelServer({ content: demo, headers: { "x-linked-etag": `"${sha256}"` } });
    const cacheDir = tempDir();
    const env = { HF_ENDPOINT: server.url, HF_TOKEN: "hf_secret", SEALMESH_CACHE_DIR: cacheDir };
    const first = await runCommand(["pull", "hf:org/repo/demo.gguf"], { env });
    const path = join(cacheDir, "models/hf/org/repo/main/demo.gguf");
    expect(first).toMatchObject({ code: 0, stdout: `${path}\n` });
    expect(first.stderr).toContain(`downloaded: 975 kB, SHA-256 ${sha256} as Hugging Face says`);
    expect(server.requests[0]?.headers.authorization).toBe("Bearer hf_secret");
    await server.close();
    const again = await runCommand(["pull", "hf:org/repo/demo.gguf", "--json"], { env });
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout)).toEqual({
      path,
      files: [{ path, bytes: demo.length, sha256, checked_by: "hugging-face", fetched: false }],
    });
  });

  it.each([
    { words: ["pull", "model.gguf"], code: 64, says: "a file here needs no pull" },
    { words: ["pull", "http://example.org/a.gguf"], code: 64, says: "use https" },
    { words: ["pull", "https://models.invalid/a.gguf"], code: 69, says: "could not be downloaded from" },
  ])("refuses $words.1 with $code", async ({ words, code, says }) => {
    const result = await runCommand([...words, "--cache-dir", tempDir()]);
    expect(result.stderr).toContain(says);
    expect(result).toMatchObject({ code, stdout: "" });
  });
});

/** This package built, with all that it depends on but for the engine. */
function packageWithoutEngine(): string {
  const folder = join(tempDir(), "sealmesh");
  mkdirSync(join(folder, "node_modules"), { recursive: true });
  cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(folder, "package.json"));
  const modules = realpathSync(join(root, "node_modules"));
  for (const name of readdirSync(modules)) {
    if (/^(?:\.|node-llama-cpp$|@node-llama-cpp$)/.test(name)) continue;
    symlinkSync(join(modules, name), join(folder, "node_modules", name));
  }
  return folder;
}

describe("the embedded engine, when it is not beside the package", () => {
  it("is missed with the command that fetches it, and found and measured in the data directory", async () => {
    const folder = packageWithoutEngine();
    const main = join(folder, "dist/cli/main.js");
    const dataDir = tempDir();
    const without = await startProcess(["serve", "--model", demoModel, "--data-dir", dataDir], { main });
    const [engine] = (await without.status()).engines;
    expect(engine).toMatchObject({ state: "down" });
    expect(engine?.why).toContain("is not installed: `sealmesh engine install`");
    await without.stop();
    const missing = await runCommand(["engine", "status", "--data-dir", dataDir], { main });
    expect(missing.stdout).toContain(`sealmesh engine install --data-dir '${dataDir}'`);

    // as npm lays it out
    const modules = realpathSync(join(root, "node_modules"));
    mkdirSync(join(dataDir, "engine/node_modules"), { recursive: true, mode: 0o700 });
    for (const name of ["node-llama-cpp", "@node-llama-cpp"]) {
      symlinkSync(join(modules, name), join(dataDir, "engine/node_modules", name));
    }
    const status = await runCommand(["engine", "status", "--json", "--data-dir", dataDir], { main });
    expect(JSON.parse(status.stdout)).toMatchObject({ place: "folder", version: engineVersion });
    const node = await startProcess(["serve", "--model", demoModel, "--data-dir", dataDir], { main });
    expect((await said(node)).length).toBeGreaterThan(20);
    const measured = JSON.parse((await runCommand(["measure", "--json"])).stdout) as { engine: string };
    const { measurement } = await eventually(async () => {
      const now = await node.status();
      return now.measurement.engine !== null && now;
    });
    // the digest of the same files beside the package
    expect(measurement).toMatchObject({ engine: measured.engine, problems: [] });
    await node.stop();

    const removed = await runCommand(["engine", "remove", "--json", "--data-dir", dataDir], { main });
    expect(JSON.parse(removed.stdout)).toEqual({ removed: true });
    expect(existsSync(join(dataDir, "engine"))).toBe(false);
    // what the links led to is not theirs to delete
    expect(existsSync(join(modules, "node-llama-cpp/package.json"))).toBe(true);
  });
});

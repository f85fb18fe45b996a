/**
 * Runs a build with its doors open: the command that loads all others, and a node that answers one request. Prints as JSON which
 * files were loaded for that: {"files": [...], "libraries": [...]}, real paths. The embedded engine's packages are loaded
 * here, because its process cannot be watched.
 *
 *     node test/support/loaded-files.mjs <folder of the package> <model>
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { loadedFiles, traceFlags } from "./trace-loading.mjs";

const [root, model] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
const out = join(directory, "loaded");
const main = join(root, "dist/cli/main.js");
const env = { PATH: process.env.PATH, HOME: directory, SEALMESH_CONFIG: "none" };
writeFileSync(out, "");
const trace = traceFlags(out);
await import(trace[1]); // this process is watched too

/** The node, once it is ready. */
async function startedNode() {
  const words = ["serve", "--no-hardening", "--model", model, "--port", "0", "--console", "0", "--bind", "127.0.0.1:0"];
  const more = ["--data-dir", join(directory, "state"), "--log-format", "json", "--stop-with-stdin"];
  const child = spawn(process.execPath, [...trace, main, ...words, ...more], {
    env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  for await (const line of createInterface(child.stdout)) {
    const entry = JSON.parse(line);
    if (entry.event === "ready") return { child, ready: entry };
  }
  throw new Error("the node ended before it was ready");
}

function mappedFiles(pid) {
  return readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .map((line) => line.split(/\s+/)[5] ?? "")
    .filter((path) => path.startsWith("/"));
}

try {
  const { status } = spawnSync(process.execPath, [...trace, main, "completion", "bash"], { env });
  if (status !== 0) throw new Error("completion failed");
  const { child, ready } = await startedNode();
  const answer = await fetch(`${ready.api_url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: ready.models[0], max_tokens: 2, messages: [{ role: "user", content: "hi" }] }),
  });
  if (answer.status !== 200) throw new Error(await answer.text());
  await answer.text();
  await (await fetch(`${ready.console_url}/api/status`)).text();
  await (await fetch(`${ready.console_url}/metrics`)).text();
  const ofNode = mappedFiles(child.pid);
  child.stdin.end();
  await once(child, "exit");
  const required = createRequire(join(root, "package.json"));
  required("koffi"); // loaded where a system's own functions are called
  const { getLlama } = await import(required.resolve("node-llama-cpp"));
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true });
  await llama.loadModel({ modelPath: model });
  const libraries = [...new Set([...ofNode, ...mappedFiles("self")])];
  const files = [...new Set([...loadedFiles(out), ...Object.keys(required.cache)])];
  process.stdout.write(`${JSON.stringify({ files, libraries })}\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);

/**
 * Starts a node of a build in this process, has it answer one request, and prints as JSON which files were loaded for that:
 * {"files": [...], "libraries": [...]}, real paths. The embedded engine's packages are loaded here too, because its child
 * cannot be watched.
 *
 *     node test/support/loaded-files.mjs <folder of the package> <model>
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire, register } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [root, model] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
const out = join(directory, "loaded");
writeFileSync(out, "");
// runs on a thread of its own, for which a file is the simplest way out
const hooks = `
  import { appendFileSync } from "node:fs";
  let out;
  export function initialize(given) { out = given; }
  export async function load(url, context, next) {
    if (url.startsWith("file:")) appendFileSync(out, url + "\\n");
    return await next(url, context);
  }`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`, { data: out });
const load = (path) => import(pathToFileURL(join(root, path)).href);
try {
  const { resolveConfig } = await load("dist/node/config.js");
  const { startNode } = await load("dist/node/node.js");
  await load("dist/cli/node-process.js");
  await load("dist/cli/command-list.js");
  process.env.SEALMESH_CONFIG = "none";
  const config = resolveConfig("serve", {
    model: [model],
    port: "0",
    console: "0",
    bind: "127.0.0.1:0",
    dataDir: join(directory, "state"),
  });
  const node = await startNode(config, { log: { write: () => undefined } });
  const answer = await fetch(`${node.apiUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: node.models()[0], max_tokens: 2, messages: [{ role: "user", content: "hi" }] }),
  });
  if (answer.status !== 200) throw new Error(await answer.text());
  await answer.text();
  await (await fetch(`${node.consoleUrl}/api/status`)).text();
  await (await fetch(`${node.consoleUrl}/metrics`)).text();
  createRequire(join(root, "package.json"))("koffi"); // loaded where a system's own functions are called
  const { getLlama } = await import(createRequire(join(root, "package.json")).resolve("node-llama-cpp"));
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true });
  await llama.loadModel({ modelPath: model });
  const libraries = new Set(
    readFileSync("/proc/self/maps", "utf8")
      .split("\n")
      .map((line) => line.split(/\s+/)[5] ?? "")
      .filter((path) => path.startsWith("/")),
  );
  await node.stop(0);
  const modules = readFileSync(out, "utf8").trim().split("\n").map(fileURLToPath);
  const required = Object.keys(createRequire(import.meta.url).cache);
  const files = [...new Set([...modules, ...required])];
  process.stdout.write(`${JSON.stringify({ files, libraries: [...libraries] })}\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);

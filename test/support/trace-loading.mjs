/**
 * Which files a Node process loads, written down as it does: for flags of a process that is to be watched. Modules are told by a
 * loader on a thread of its own, for which a file is the simplest way out; what was loaded by require() is told at the end.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const loader = `
  import { appendFileSync } from "node:fs";
  let out;
  export function initialize(given) { out = given; }
  export async function load(url, context, next) {
    if (url.startsWith("file:")) appendFileSync(out, url + "\\n");
    return await next(url, context);
  }`;

const program = `
  import { appendFileSync } from "node:fs";
  import { createRequire, register } from "node:module";
  import { pathToFileURL } from "node:url";
  const out = decodeURIComponent(new URL(import.meta.url).hash.slice(1));
  register("data:text/javascript,${encodeURIComponent(loader)}", { data: out });
  process.on("exit", () => {
    for (const path of Object.keys(createRequire("file:///").cache)) appendFileSync(out, pathToFileURL(path).href + "\\n");
  });`;

/** @param out file to write into · @returns flags for Node */
export function traceFlags(out) {
  return ["--import", `data:text/javascript,${encodeURIComponent(program)}#${encodeURIComponent(out)}`];
}

/** @returns paths, each once; of a process that runs still: modules alone */
export function loadedFiles(out) {
  return [...new Set(readFileSync(out, "utf8").trim().split("\n").map(fileURLToPath))];
}

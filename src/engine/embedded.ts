/** Whether the embedded engine's package is installed, found out without loading it: that takes seconds and starts native code. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { isRecord } from "../base/json.ts";

/** Version of node-llama-cpp; undefined: it is not there. */
export function embeddedEngine(): string | undefined {
  try {
    // its package.json is not for others; it lies some folders above what is
    let folder = dirname(createRequire(import.meta.url).resolve("node-llama-cpp"));
    while (dirname(folder) !== folder) {
      const manifest = manifestIn(folder);
      if (manifest?.["name"] === "node-llama-cpp") return String(manifest["version"]);
      folder = dirname(folder);
    }
  } catch {
    // not installed, or not for this version of Node
  }
  return undefined;
}

function manifestIn(folder: string): Record<string, unknown> | undefined {
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return isRecord(manifest) ? manifest : undefined;
  } catch {
    return undefined;
  }
}

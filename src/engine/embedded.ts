/** Which version of the embedded engine's package is there, found out without loading it: that takes seconds and starts native code. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isRecord } from "../base/json.ts";
import { enginePackage, findEngine } from "./llama-package.ts";

/**
 * @param folder as engineFolder() says; undefined: only beside our package
 * @returns      undefined: it is not installed, or not for this version of Node
 */
export function embeddedEngine(folder: string | undefined): string | undefined {
  try {
    // its package.json is not for others; it lies some folders above what is
    let place = dirname(fileURLToPath(findEngine(folder) ?? "file:///"));
    while (dirname(place) !== place) {
      const manifest = manifestIn(place);
      if (manifest?.["name"] === enginePackage) return String(manifest["version"]);
      place = dirname(place);
    }
  } catch {
    // there, and broken
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

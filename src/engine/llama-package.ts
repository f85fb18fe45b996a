/**
 * Where the embedded engine's package is: beside ours, as npm installs it, or in a folder of its own below the data
 * directory, where `sealmesh engine install` puts it. The first wins. harden/measure/collect.ts looks in the same order, so
 * that what is loaded is what was measured.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { systemCode } from "../base/errors.ts";

export const enginePackage = "node-llama-cpp";
/** The one that this version was tested with; packages of platforms have the same. */
export const engineVersion = "3.21.1";

/** The engine's own folder in a data directory. */
export function engineFolder(dataDir: string): string {
  return join(dataDir, "engine");
}

/**
 * @param folder as engineFolder() says; undefined: only beside ours
 * @param from   file URL from which "beside ours" is meant
 * @returns      URL to import; undefined: it is not installed
 */
export function findEngine(folder: string | undefined, from: string = import.meta.url): string | undefined {
  const inFolder = folder === undefined ? [] : [join(folder, "package.json")];
  for (const place of [from, ...inFolder]) {
    try {
      return pathToFileURL(createRequire(place).resolve(enginePackage)).href;
    } catch (thrown) {
      // one that is there and broken must not be replaced by another without a word
      if (systemCode(thrown) !== "MODULE_NOT_FOUND") throw thrown;
    }
  }
  return undefined;
}

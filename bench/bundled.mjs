// TypeScript of the tests, as a module that Node 20 can load: what the bench borrows of them is bundled first.
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { tempDir } from "./processes.mjs";

const root = join(import.meta.dirname, "..");
/** What belongs to a test run alone: borrowed parts register their end there, and here everything ends with the process. */
const withoutVitest = {
  name: "without-vitest",
  resolveId: (id) => (id === "vitest" ? "\0vitest" : undefined),
  load: (id) => (id === "\0vitest" ? "export const afterEach = () => undefined;" : undefined),
};
/** Native packages stay where they are: a bundle outside of the project finds them by a link to its packages. */
const besides = ["@number0/iroh", "sodium-native"];

/** @param file path from the project's root. @returns path of the module */
export async function bundled(file) {
  const build = await rolldown({
    input: join(root, file),
    platform: "node",
    logLevel: "silent",
    external: besides,
    plugins: [withoutVitest],
  });
  try {
    const { output } = await build.generate({ format: "esm" });
    const folder = tempDir();
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const path = join(folder, "bundled.mjs");
    writeFileSync(path, output[0].code);
    return path;
  } finally {
    await build.close();
  }
}

/** Made-up installations of a package for tests of what is measured: real files below a temporary directory. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";

const directories = new Set<string>();

/** An empty directory that is removed after the tests of this file. */
export function installDir(): string {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
  directories.add(directory);
  return directory;
}

afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** Text of files by their path below `root`. */
export function writeFiles(root: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

/** A package.json. */
export function packageJson(name: string, version: string, rest: object = {}): string {
  return JSON.stringify({ name, version, ...rest });
}

/** The package itself, asking for `dependencies`. */
export function ownFiles(dependencies: readonly string[], rest: object = {}): Record<string, string> {
  const asks = Object.fromEntries(dependencies.map((name) => [name, "*"]));
  return {
    "package.json": packageJson("sealmesh", "0.1.0", { dependencies: asks, ...rest }),
    "dist/cli/main.js": "main",
    "dist/harden/measure.js": "measure",
  };
}

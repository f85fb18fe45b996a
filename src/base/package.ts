/**
 * Where the files of this package are. A build joins files of the sources into fewer ones, as deep below the package's folder as
 * src/base/ is: so nothing else asks where its own file is. Programs keep their places: what src/cli/main.ts is to the sources,
 * dist/cli/main.js is to a build (scripts/bundle.mjs has the list).
 */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Whether this is a build: what runs from its sources is not what lies in dist/, and must not be taken for it. */
export const isBuilt: boolean = !import.meta.url.endsWith(".ts");

/** Absolute. @param path below the package's folder; "" for that folder, with a slash at its end */
export function packageFile(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

/** File of a program or thread that is started by itself. @param name "cli/main" */
export function programFile(name: string): string {
  return packageFile(isBuilt ? `dist/${name}.js` : `src/${name}.ts`);
}

/**
 * Loads a CommonJS package at once. import would first read all files of it for the names that they export, which takes longer
 * than loading them does.
 */
export const requirePackage: NodeJS.Require = createRequire(import.meta.url);

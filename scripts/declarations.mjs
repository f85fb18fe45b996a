// Of the declarations that tsc writes, those that a program can reach from the package's exports stay, with imports by the
// names that the package has. All others describe what nobody can import, and go with their folders.
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** @param dist folder of the fresh build · @param entries as in package.json: "./dist/sdk/index.d.ts" */
export function keepPublicDeclarations(dist, entries) {
  const kept = reachable(entries.map((entry) => join(dist, relative("dist", entry))));
  const found = readdirSync(dist, { recursive: true }).map((name) => join(dist, name));
  for (const file of found) {
    if (!file.endsWith(".d.ts")) continue;
    if (!kept.has(file)) rmSync(file);
    else
      writeFileSync(
        file,
        readFileSync(file, "utf8").replaceAll(ownImport, (_all, before, name) => `${before}"${name}.js"`),
      );
  }
  // folders before the folders that they are in
  const isEmpty = (path) => statSync(path).isDirectory() && readdirSync(path).length === 0;
  for (const path of found.toReversed()) if (existsSync(path) && isEmpty(path)) rmdirSync(path);
}

const ownImport = /(\bfrom |\bimport\(|^import )"(\.[^"]+)\.ts"/gm;

function reachable(files) {
  const found = new Set(files);
  for (const file of found) {
    for (const [, , name] of readFileSync(file, "utf8").matchAll(ownImport))
      found.add(join(dirname(file), `${name}.d.ts`));
  }
  return found;
}

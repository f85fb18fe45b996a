// Compiles src/ to dist/ and makes the command executable. Skips the work when dist/ is newer than every source. A failed
// build leaves the old dist/ as it is, and a running process never sees half of a new one.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { keepPublicDeclarations } from "./declarations.mjs";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const entry = "cli/main.js";

const { exports: exported } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const newestSource = Math.max(
  ...readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
    // a folder changes when a file in it is deleted
    .map((file) => statSync(join(file.parentPath, file.name)).mtimeMs),
  ...["tsconfig.json", "package.json"].map((file) => statSync(join(root, file)).mtimeMs),
);

if (!existsSync(join(dist, entry)) || statSync(join(dist, entry)).mtimeMs < newestSource) {
  const fresh = join(root, `dist.${process.pid}`);
  const old = `${fresh}.old`;
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", root, "--outDir", fresh], { stdio: "inherit" });
  if (status === 0) {
    keepPublicDeclarations(
      fresh,
      Object.values(exported).flatMap(({ types }) => types ?? []),
    );
    chmodSync(join(fresh, entry), 0o755);
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
  }
  for (const leftover of [fresh, old]) rmSync(leftover, { recursive: true, force: true });
  process.exitCode = status ?? 1;
}

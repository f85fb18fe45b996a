// Compiles src/ to dist/ and makes the command executable. Skips the work when dist/ is newer than every source.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const entry = join(root, "dist/cli/main.js");

const newestSource = Math.max(
  ...readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => statSync(join(file.parentPath, file.name)).mtimeMs),
  statSync(join(root, "tsconfig.json")).mtimeMs,
  statSync(join(root, "package.json")).mtimeMs,
);

if (!existsSync(entry) || statSync(entry).mtimeMs < newestSource) {
  rmSync(join(root, "dist"), { recursive: true, force: true });
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", root], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
  chmodSync(entry, 0o755);
}

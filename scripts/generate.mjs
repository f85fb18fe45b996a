// Generates src/wire/gen/ from proto/. With --check: generates into a temporary folder and fails on any difference.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const committed = join(root, "src/wire/gen");

/** Offline: modules and plugins are local, and buf keeps no cache of its own here. */
function generate(into) {
  const buf = join(root, "node_modules/@bufbuild/buf/bin/buf");
  const result = spawnSync(process.execPath, [buf, "generate", "--output", into], { cwd: root, stdio: "inherit" });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Map of file name to text; empty when the folder does not exist. */
function files(folder) {
  if (!existsSync(folder)) return new Map();
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

if (process.argv.includes("--check")) {
  const base = mkdtempSync(join(tmpdir(), "sealmesh-generate-"));
  try {
    generate(base);
    const expected = files(join(base, "src/wire/gen"));
    const found = files(committed);
    const names = new Set([...expected.keys(), ...found.keys()]);
    const stale = [...names].filter((name) => expected.get(name) !== found.get(name));
    if (stale.length > 0) {
      console.error(`src/wire/gen differs from proto/ in ${stale.join(", ")}: run npm run generate`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
} else {
  rmSync(committed, { recursive: true, force: true });
  generate(root);
}

// `npm run check`: everything that can be said about the code without running it. Stops at nothing, fails at the end.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bin = (name) => join(root, "node_modules/.bin", name);

const steps = [
  ["types", bin("tsc"), ["-p", "tsconfig.json", "--noEmit"]],
  ["types of the tests", bin("tsc"), ["-p", "tsconfig.test.json"]],
  ["lint", bin("oxlint"), ["--type-aware", "--deny-warnings"]],
  ["format", bin("oxfmt"), ["--check"]],
  ["layers", process.execPath, ["scripts/check-layers.mjs"]],
  ["generated code", process.execPath, ["scripts/generate.mjs", "--check"]],
  ["claimed attacks", process.execPath, ["scripts/check-claims.mjs"]],
];

const failed = [];
for (const [name, command, args] of steps) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? "ok  " : "FAIL"} ${name} (${seconds} s)`);
  if (status !== 0) {
    failed.push(name);
    console.log(`${stdout}${stderr}`.trimEnd());
  }
}
if (failed.length > 0) {
  console.error(`\ncheck failed: ${failed.join(", ")}`);
  process.exit(1);
}

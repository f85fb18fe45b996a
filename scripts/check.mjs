// `npm run check`: everything that can be said about the code without running it. Stops at nothing, fails at the end.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bin = (name) => join(root, "node_modules/.bin", name);

const steps = [
  { name: "types", command: bin("tsc"), args: ["-p", "tsconfig.json", "--noEmit"] },
  { name: "types of the tests", command: bin("tsc"), args: ["-p", "tsconfig.test.json"] },
  { name: "types of the console", command: bin("tsc"), args: ["-p", "console/tsconfig.json"] },
  { name: "lint", command: bin("oxlint"), args: ["--type-aware", "--deny-warnings"] },
  { name: "format", command: bin("oxfmt"), args: ["--check"] },
  { name: "layers", command: process.execPath, args: ["scripts/check-layers.mjs"] },
  { name: "generated code and pages", command: process.execPath, args: ["scripts/generate.mjs", "--check"] },
  { name: "claimed attacks", command: process.execPath, args: ["scripts/check-claims.mjs"] },
];

const failed = [];
for (const { name, command, args } of steps) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });
  const seconds = Math.round((performance.now() - started) / 100) / 10;
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

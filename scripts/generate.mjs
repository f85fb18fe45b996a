// Generates src/wire/gen/ from proto/, docs/errors.md from base/errors.ts and the titles of tests, and further pages from tables
// of the product: policy, config, cli and metrics, packaging/ from what writes units, and performance from the last run of the
// bench. With --check: generates into a temporary
// folder and fails on any difference, and on an error code
// that no test provokes.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { performanceFiles } from "../bench/page.mjs";
import { cliPage } from "./cli-page.mjs";
import { configPage } from "./config-page.mjs";
import { errorsPage } from "./errors-page.mjs";
import { metricsPage } from "./metrics-page.mjs";
import { packagingFiles } from "./packaging.mjs";
import { policyPage } from "./policy-page.mjs";

const root = join(import.meta.dirname, "..");
const committed = join(root, "src/wire/gen");
const errorsFile = join(root, "docs/errors.md");
/** Each page, and what it is made from. */
const pages = [
  { file: "docs/policy.md", from: "src/policy/refusals.ts or its page", make: policyPage },
  { file: "docs/config.md", from: "src/node/settings/ or its page", make: configPage },
  { file: "docs/metrics.md", from: "src/node/metrics-table.ts or its page", make: metricsPage },
  { file: "docs/cli.md", from: "the commands or its page", make: cliPage },
];

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

const errors = await errorsPage(root);
const made = [];
for (const page of pages) made.push({ ...page, text: await page.make(root) });
for (const [file, text] of Object.entries(await packagingFiles(root))) {
  made.push({ file, from: "src/cli/service/", text });
}
for (const [file, text] of Object.entries(performanceFiles(root))) {
  made.push({ file, from: "bench/history.jsonl, bench/notes.md or bench/page.mjs", text });
}
if (process.argv.includes("--check")) {
  const complaints = errors.untested.map((code) => `no test provokes ${code}: see the end of docs/errors.md`);
  if (!existsSync(errorsFile) || readFileSync(errorsFile, "utf8") !== errors.text) {
    complaints.push("docs/errors.md differs from src/base/errors.ts or from the tests: run npm run generate");
  }
  for (const { file, from, text } of made) {
    const path = join(root, file);
    if (existsSync(path) && readFileSync(path, "utf8") === text) continue;
    complaints.push(`${file} differs from ${from}: run npm run generate`);
  }
  const base = mkdtempSync(join(tmpdir(), "sealmesh-generate-"));
  try {
    generate(base);
    const expected = files(join(base, "src/wire/gen"));
    const found = files(committed);
    const names = new Set([...expected.keys(), ...found.keys()]);
    const stale = [...names].filter((name) => expected.get(name) !== found.get(name));
    if (stale.length > 0) {
      complaints.push(`src/wire/gen differs from proto/ in ${stale.join(", ")}: run npm run generate`);
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
  for (const complaint of complaints) console.error(complaint);
  if (complaints.length > 0) process.exitCode = 1;
} else {
  rmSync(committed, { recursive: true, force: true });
  generate(root);
  writeFileSync(errorsFile, errors.text);
  for (const { file, text } of made) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
}

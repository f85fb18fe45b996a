// docs/errors.md: one row per code of src/base/errors.ts, and the test that provokes it. A test counts when its title has
// the code and it stands where tests run the product: test/errors first, then security, integration and e2e.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { titleNames } from "./titles.mjs";

const folders = ["test/errors", "test/security", "test/integration", "test/e2e"];

const head = `# Errors

Made by \`npm run generate\` from \`src/base/errors.ts\` and the titles of the tests; do not edit.

An answer that failed is \`{"error": {"message", "type", "param", "code"}}\` with the status, type and code of its row; the
message says what happened and ends with what to do about it. A command ends with the row's exit code. **Processed** says
whether a host may have worked on the request: only after "no" can it be sent again without being computed or disclosed
twice. Some rows are never an answer to a caller: they are what a host's log says of a peer, or why a command ended.

| code | status | type | \`error.code\` | exit | processed | what to do | provoked by |
|---|---|---|---|---|---|---|---|
`;

const foot = `
Every code needs a test whose title has it and which provokes it by using the product, in ${folders
  .map((folder) => `\`${folder}\``)
  .join(", ")}; \`npm run check\` looks for it.
`;

/** The page's text, and the codes that no test provokes. */
export async function errorsPage(root) {
  const table = await errorTable(root);
  const tests = folders.flatMap((folder) => testsIn(root, folder));
  const untested = [];
  const rows = Object.entries(table).map(([name, row]) => {
    const test = tests.find(({ text }) => titleNames(text, name));
    if (!test) untested.push(name);
    const { status, type, code, exit, processed, hint } = row;
    const cells = [`\`${name}\``, status, type, `\`${code}\``, exit, processed, hint, test ? `\`${test.file}\`` : "-"];
    return `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |\n`;
  });
  return { text: head + rows.join("") + foot, untested };
}

function testsIn(root, folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((name) => ({ file: `${folder}/${name}`, text: readFileSync(join(root, folder, name), "utf8") }));
}

/** The table as the product has it: base/errors.ts imports nothing, so it can be compiled by itself. */
async function errorTable(root) {
  const out = mkdtempSync(join(tmpdir(), "sealmesh-errors-"));
  try {
    writeFileSync(join(out, "package.json"), '{"type":"module"}');
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const options = ["--ignoreConfig", "--module", "nodenext", "--target", "es2022", "--types", "", "--outDir", out];
    const { status } = spawnSync(process.execPath, [tsc, ...options, join(root, "src/base/errors.ts")], {
      stdio: "inherit",
    });
    if (status !== 0) process.exit(status ?? 1);
    return (await import(pathToFileURL(join(out, "errors.js")).href)).errorTable;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

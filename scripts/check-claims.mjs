// test/claims.json says which test proves which row of the list of attacks (docs/attacks.md). Every row that it names
// needs at least one test file whose test titles name the row.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { titleNames } from "./titles.mjs";

const root = join(import.meta.dirname, "..");
const claims = JSON.parse(readFileSync(join(root, "test/claims.json"), "utf8"));
const rows = [...readFileSync(join(root, "docs/attacks.md"), "utf8").matchAll(/^\| ([A-Z][0-9]+) \|(.*)$/gm)];

const complaints = [];
for (const [, id, text] of rows) {
  const claimed = text.endsWith(" tested |");
  if (claimed && !claims[id]?.length) complaints.push(`${id} is said to be tested, and no test is named`);
  if (!claimed && claims[id]) complaints.push(`${id} has a test, and docs/attacks.md does not say so`);
}
for (const [id, files] of Object.entries(claims)) {
  if (!rows.some(([, row]) => row === id)) complaints.push(`${id} is not a row of docs/attacks.md`);
  for (const file of files) {
    const path = join(root, file);
    if (!existsSync(path)) complaints.push(`${id}: ${file} does not exist`);
    else if (!titleNames(readFileSync(path, "utf8"), id)) complaints.push(`${id}: no test in ${file} names it`);
  }
}
for (const complaint of complaints) console.error(complaint);
process.exit(complaints.length > 0 ? 1 : 0);

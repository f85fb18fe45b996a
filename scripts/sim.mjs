// npm run sim: meshes of several sizes in memory, on a clock of their own; prints a table. With --write the table goes
// into docs/scaling.md. Numbers on the command line are other sizes; 1,000 takes some ten minutes.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";

const root = join(import.meta.dirname, "..");
const page = join(root, "docs/scaling.md");
const [from, to] = ["<!-- the table of npm run sim -->", "<!-- its end -->"];

async function load() {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-sim-"));
  try {
    const bundle = await rolldown({
      input: join(root, "test/support/simulation.ts"),
      platform: "node",
      logLevel: "silent",
    });
    const { output } = await bundle.generate({ format: "esm" });
    const file = join(directory, "simulation.mjs");
    writeFileSync(file, output[0].code);
    return await import(pathToFileURL(file).href);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const seconds = (ms) => (ms === undefined ? "not reached" : `${(ms / 1_000).toFixed(0)} s`);
const figure = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
const both = ({ mean, most }) => `${figure(mean)} / ${figure(most)}`;

const { simulate } = await load();
const given = process.argv.slice(2).map(Number).filter(Boolean);
const sizes = given.length > 0 ? given : [10, 30, 100, 300, 1_000];
const rows = ["| nodes | what happens | took | messages | kB | dials |", "|---:|---|---:|---:|---:|---:|"];
for (const size of sizes) {
  const started = performance.now();
  const say = process.argv.includes("--quiet")
    ? undefined
    : (text) => console.error(`${text} (${Math.round((performance.now() - started) / 1_000)} s)`);
  for (const { name, tookMs, messages, kilobytes, dials } of simulate(size, 1, say)) {
    rows.push(`| ${size} | ${name} | ${seconds(tookMs)} | ${both(messages)} | ${both(kilobytes)} | ${both(dials)} |`);
  }
}
const table = rows.join("\n");
console.log(table);
if (process.argv.includes("--write")) {
  const text = readFileSync(page, "utf8");
  const start = text.indexOf(from) + from.length;
  writeFileSync(page, `${text.slice(0, start)}\n\n${table}\n\n${text.slice(text.indexOf(to))}`);
}

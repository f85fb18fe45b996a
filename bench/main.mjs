// `npm run bench`: measures, prints, remembers, and ends with 0 when every gate passes. What is measured stands in measure.mjs and
// alone.mjs, what must come of it in gates.mjs.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { allPass } from "./judge.mjs";
import { addRun } from "./history.mjs";
import { readOptions } from "./options.mjs";
import { cleanUpAtExit } from "./processes.mjs";
import { reportText } from "./report.mjs";
import { run } from "./run.mjs";

const root = join(import.meta.dirname, "..");
const options = readOptions(process.argv.slice(2));
if ("help" in options) {
  process.stdout.write(options.help);
} else if ("wrong" in options) {
  console.error(`bench: ${options.wrong}; npm run bench -- --help says what there is`);
  process.exitCode = 64;
} else {
  cleanUpAtExit();
  if (options.profileDir !== undefined) mkdirSync(options.profileDir, { recursive: true });
  try {
    const result = await run(options, (text) => console.error(text));
    console.log(options.json ? JSON.stringify(result) : reportText(result));
    if (options.isWhole && options.history) {
      addRun(root, result);
      console.error("added to bench/history.jsonl; npm run generate brings docs/performance.md up to date");
    }
    process.exit(allPass(result.gates, options) ? 0 : 1);
  } catch (error) {
    console.error(error);
    process.exit(70);
  }
}

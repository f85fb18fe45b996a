// bench/history.jsonl: one line for each whole run, the oldest first.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const fileIn = (root) => join(root, "bench/history.jsonl");

export function addRun(root, result) {
  appendFileSync(fileIn(root), `${JSON.stringify(rounded(result))}\n`);
}

/** The runs so far. @throws Error naming the line that is no run */
export function readRuns(root) {
  if (!existsSync(fileIn(root))) return [];
  const lines = readFileSync(fileIn(root), "utf8")
    .split("\n")
    .filter((line) => line !== "");
  return lines.map((line, index) => {
    try {
      return JSON.parse(line);
    } catch (cause) {
      throw new Error(`bench/history.jsonl:${index + 1} is no run`, { cause });
    }
  });
}

/** The one that the page shows: the last that was not quick, else the last. */
export function lastRun(runs) {
  return runs.findLast(({ quick }) => !quick) ?? runs.at(-1);
}

/** Four digits that count: a line is read by people too. */
function rounded(value) {
  if (typeof value === "number") return Number(value.toPrecision(4));
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, rounded(inner)]));
}

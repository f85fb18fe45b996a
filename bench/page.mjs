// docs/performance.md and its chart, made of the last whole run in bench/history.jsonl and of bench/notes.md. Called by
// scripts/generate.mjs. Everything but files() is pure.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { barChart } from "./chart.mjs";
import { figures as known, hopFigures, shown } from "./figures.mjs";
import { lastRun, readRuns } from "./history.mjs";
import { hopNames, hopTitles } from "./hop-names.mjs";
import { gateCells } from "./judge.mjs";

/** The page and its picture: text by path. */
export function performanceFiles(root) {
  const run = lastRun(readRuns(root));
  const notes = readFileSync(join(root, "bench/notes.md"), "utf8");
  return {
    "docs/performance.md": performancePage(run, notes),
    "docs/images/performance.svg": performanceChart(run),
  };
}

const head = `# Performance

Made by \`npm run generate\` from the last run in \`bench/history.jsonl\` and from \`bench/notes.md\`; do not edit.

What two nodes and sealing cost on the way, beside a hop that does the least a hop on Node can do (**the floor**: a proxy of
some twenty lines on \`node:http\`), and beside one hop through a gateway that people use today (**the peer**: \`@portkey-ai/gateway\`,
which seals nothing). Only ratios within one run say something: times differ from machine to machine and from hour to hour.

`;

const repeat = `## Repeat it

\`\`\`sh
npm run bench                                  # some five minutes on two cores
npm run bench -- --quick                       # under 90 s: shorter rounds, the same gates
npm run bench -- --only floor,direct --measure requests,tokens
npm run bench -- --help
\`\`\`

It ends with 0 when every gate passes. The peer is installed into your cache the first time, with npm; \`--no-peer\` goes without
it. A whole run is added to \`bench/history.jsonl\`, and \`npm run generate\` makes this page of it. CPU time and memory are read
from \`/proc\`: on systems other than Linux they, and the gates that need them, are not measured.

How it is done: one mock engine with fixed answers, one load generator, and each hop, all as processes of their own on loopback; nodes
are those of \`dist/\`, with their usual settings and hardening. One measure is taken after the other: all hops are warmed up for it, then
rounds go over all of them in turn, so that what disturbs the machine disturbs all; each is asked for half a second before its turn counts. The engine stamps each token with the system's monotonic clock when it writes it, and
the load generator compares when it arrives. CPU time is that of all processes of a hop together. A table shows the median of the rounds;
\`p99\` is the median of the p99 of each round.
`;

/** @param run undefined: there was none yet */
export function performancePage(run, notes) {
  if (run === undefined) return `${head}There was no run yet.\n\n${notes}\n${repeat}`;
  const parts = [
    about(run),
    "![The hops beside each other](images/performance.svg)\n",
    gatesTable(run),
    hopsTable(run),
    othersTable(run),
    growthTable(run),
    notes,
    repeat,
  ];
  return head + parts.join("\n");
}

function about({ at, commit, dirty, quick, seconds, machine, peer, paths, noise, failures }) {
  const share = (value) => `${(value * 100).toFixed(1)} %`;
  const told = [
    `The run of ${at.slice(0, 10)}${quick ? " (quick)" : ""}, commit \`${commit}\`${dirty ? " with changes" : ""}, ${Math.round(seconds)} s: ${machine.cpu}, ${machine.cores} cores,`,
    `${machine.memoryGb} GB, ${machine.os}, Node ${machine.node}${peer === null ? "" : `; the peer was ${peer}`}. The same piece of work took up to ${share(noise.wallTime)}`,
    `more or less than its median, and ${share(noise.cpuTime)} of CPU time: that is the noise of the machine.`,
    `Connections between nodes: ${Object.entries(paths)
      .map(([hop, path]) => `\`${hop}\` over ${path === "tls" ? "TLS" : path === "quic" ? "QUIC (iroh)" : path}`)
      .join(", ")}.`,
    ...failures.map((failure) => `Failed: ${failure}.`),
  ];
  return `${told.join("\n")}\n`;
}

function gatesTable({ gates }) {
  const rows = gates
    .map(gateCells)
    .map((cells) => cells.with(-1, cells.at(-1) === "pass" ? "pass" : `**${cells.at(-1)}**`));
  return `## Gates\n\nMedians, or the ratio of two.\n\n${table(["", "what", "is", "must be", ""], rows, 2)}`;
}

function hopsTable({ figures }) {
  const columns = [...hopNames, "tls"].filter((hop) => hopFigures.some((name) => figures[name]?.[hop] !== undefined));
  const rows = hopFigures
    .filter((name) => figures[name] !== undefined)
    .map((name) => [titleOf(name), ...columns.map((hop) => shown(figures[name][hop]?.[1]))]);
  const meaning = columns.filter((hop) => hop in hopTitles).map((hop) => `\`${hop}\`: ${hopTitles[hop]}`);
  const tls = columns.includes("tls") ? "; `tls`: TLS between two bare Node processes" : "";
  return `## Hop by hop\n\n${meaning.join("; ")}${tls}.\n\n${table(["", ...columns], rows)}`;
}

function othersTable({ figures }) {
  const names = Object.keys(known).filter(
    (name) => /^(memory|slowToken|start)/.test(name) && figures[name] !== undefined,
  );
  const rows = names.flatMap((name) =>
    Object.entries(figures[name]).map(([whose, values]) => [titleOf(name), whose, ...values.map(shown)]),
  );
  return `## Memory and starts\n\n${table(["", "of", "min", "median", "max"], rows)}`;
}

/** What doubles, step by step, and by how much its cost grows. */
function growthTable({ figures }) {
  const names = Object.keys(known).filter((name) => name.startsWith("cpuOf") && figures[name] !== undefined);
  const rows = names.flatMap((name) => {
    const steps = Object.entries(figures[name]).toSorted(([a], [b]) => Number(a) - Number(b));
    return steps.map(([size, [, middle]], index) => {
      const before = steps[index - 1]?.[1][1];
      return [
        index === 0 ? titleOf(name) : "",
        size,
        shown(middle),
        before === undefined ? "" : `× ${(middle / before).toFixed(2)}`,
      ];
    });
  });
  const said =
    "CPU time of client and host together, over the direct path; for peers, of one node in a simulated mesh that joins and lives for some minutes.";
  return `## How cost grows\n\n${said}\n\n${table(["", "of", "median", "doubled"], rows)}`;
}

const titleOf = (name) => `${known[name].title}, ${known[name].unit}`;

/** @param texts so many columns are text, the others numbers */
function table(heads, rows, texts = 1) {
  const line = (cells) => `| ${cells.join(" | ")} |\n`;
  const ruler = heads.map((_, index) => (index < texts ? "---" : "---:"));
  return line(heads) + line(ruler) + rows.map(line).join("");
}

const panels = ["firstTokenAddedMs", "requests32", "tokenDelay20Us", "cpuPerRequestUs"];
const notOurs = ["engine", "floor", "peer"];
const labels = {
  peer: "peer (unsealed)",
  direct: "sealed, direct",
  iroh: "sealed, iroh",
  relay: "sealed, relay",
  plain: "plain, iroh",
};

export function performanceChart(run) {
  const drawn = panels.map((name) => ({
    title: titleOf(name),
    bars: hopNames
      .filter((hop) => hop !== "engine" && run?.figures[name]?.[hop] !== undefined)
      .map((hop) => ({ label: labels[hop] ?? hop, value: run.figures[name][hop][1], isOurs: !notOurs.includes(hop) })),
  }));
  return barChart(drawn, "Time to first token, requests per second, delay of a token and CPU of a request, hop by hop");
}

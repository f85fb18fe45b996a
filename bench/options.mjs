// The command line of `npm run bench`, and what it means in rounds and times.
import { parseArgs } from "node:util";
import { hopNames } from "./hop-names.mjs";

export const measureNames = ["first-token", "requests", "streams", "tokens", "bulk", "memory", "start", "growth"];

const help = `npm run bench -- [options]

Measures what this build costs beside the floor (a minimal node:http proxy) and beside another gateway, in one run.
Ends with 0 when every gate passes. Whole runs, quick ones too, are added to bench/history.jsonl.

  --quick             under 90 s: fewer and shorter rounds, the same gates
  --json              the whole result on stdout, as JSON, in place of the table
  --no-peer           without ${"@portkey-ai/gateway"}; its gates are not measured
  --no-history        do not add this run to bench/history.jsonl
  --only HOPS         of ${hopNames.join(", ")}
  --measure MEASURES  of ${measureNames.join(", ")}
  --rounds N          instead of 3, or 2
  --cpu-prof FOLDER   each node leaves a CPU profile there, and runs without hardening
  --help              print this

With --only, --measure or --cpu-prof a run is not whole: it ends with 0 unless a gate that was measured is missed.
`;

/** Rounds, times in ms, counts. Long enough that ticks and starts do not show; together they make the time of a run. */
const plans = {
  whole: {
    rounds: 3,
    warmMs: 6_000,
    wakeMs: 500,
    firstTokens: 40,
    requestsMs: { 1: 400, 32: 1_000, 128: 700 },
    streamsMs: 600,
    tokens: 200,
    bulkRounds: 3,
    bulkCount: 4,
    memory: { rounds: 2, tokens: 14, delayTokens: 24 },
    starts: 7,
    growth: { rounds: 3, tokens: 75, mebibytes: 32, joinMs: 60_000, quietMs: 600_000, peerRounds: 2 },
  },
  quick: {
    rounds: 2,
    warmMs: 700,
    wakeMs: 100,
    firstTokens: 25,
    requestsMs: { 1: 150, 32: 350, 128: 150 },
    streamsMs: 200,
    tokens: 60,
    bulkRounds: 1,
    bulkCount: 2,
    memory: { rounds: 1, tokens: 12, delayTokens: 14 },
    starts: 3,
    growth: { rounds: 2, tokens: 40, mebibytes: 16, joinMs: 5_000, quietMs: 120_000, peerRounds: 1 },
  },
};

/** @returns what to do; or {help} or {wrong}: a text, and nothing to do */
export function readOptions(words) {
  let values;
  try {
    ({ values } = parseArgs({
      args: words,
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        "no-peer": { type: "boolean", default: false },
        "no-history": { type: "boolean", default: false },
        only: { type: "string" },
        measure: { type: "string" },
        rounds: { type: "string" },
        "cpu-prof": { type: "string" },
        help: { type: "boolean", default: false },
      },
    }));
  } catch (error) {
    return { wrong: error.message };
  }
  if (values.help) return { help };
  const only = listed(values.only, hopNames);
  const measures = listed(values.measure, measureNames);
  for (const { unknown, known } of [only, measures]) {
    if (unknown.length > 0) return { wrong: `unknown: ${unknown.join(", ")}; there is ${known.join(", ")}` };
  }
  const plan = plans[values.quick ? "quick" : "whole"];
  const rounds = values.rounds === undefined ? plan.rounds : Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) return { wrong: "--rounds takes a number from 1" };
  const noPeer = values["no-peer"];
  return {
    plan: { ...plan, rounds },
    hops: only.chosen.filter((name) => name !== "peer" || !noPeer),
    measures: measures.chosen,
    quick: values.quick,
    json: values.json,
    noPeer,
    isWhole: values.only === undefined && values.measure === undefined && values["cpu-prof"] === undefined,
    history: !values["no-history"],
    profileDir: values["cpu-prof"],
  };
}

function listed(given, known) {
  const names = given?.split(",").map((name) => name.trim()) ?? known;
  return {
    chosen: known.filter((name) => names.includes(name)),
    unknown: names.filter((name) => !known.includes(name)),
    known,
  };
}

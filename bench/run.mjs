// One run: starts everything, takes each measure in rounds that go over all hops in turn, and gives the result as a document.
import { execFileSync } from "node:child_process";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { measureGrowth, measureMemory, measureStart } from "./alone.mjs";
import { judged } from "./judge.mjs";
import { startHops } from "./hops.mjs";
import { hopMeasures, isWarm, measureTls, wakeUp, warmUp, warmUpTls } from "./measure.mjs";
import { peerVersion } from "./peer.mjs";
import { startNode, startHelper } from "./processes.mjs";
import { spread, summary } from "./stats.mjs";

const root = join(import.meta.dirname, "..");

/**
 * @param options of options.mjs
 * @param say     told what is done
 * @returns       the document that is printed and kept: machine, paths, noise, figures as [min, median, max], gates
 */
export async function run(options, say) {
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 1_000);
  const tell = (text) => say(`${String(seconds()).padStart(4)} s  ${text}`);
  const { plan } = options;
  const rounds = {};
  const failures = [];
  const keep = (figure, whose, value) => {
    if (value !== undefined && !Number.isNaN(value)) ((rounds[figure] ??= {})[whose] ??= []).push(value);
  };
  const { hops, engine, host, startPair, failed, close } = await startHops({ ...options, say: tell });
  failures.push(...failed);
  const load = startHelper("load.mjs");
  const parts = { load, engine, startPair, plan, keep, say: tell };

  const tries = attempts(failures, tell);
  await measureHops({ hops, options, parts, tries });
  const alone = {
    memory: async () => await measureMemory(parts),
    start: async () => await measureStart({ ...parts, host: await host() }),
    growth: async () => await measureGrowth({ ...parts, hop: hops.find(({ name }) => name === "direct") }),
  };
  for (const [name, measure] of Object.entries(alone)) if (options.measures.includes(name)) await tries(name, measure);
  tell("done");
  await close();

  const figures = mapped(rounds, (byWhose) => mapped(byWhose, (values) => Object.values(summary(values))));
  const noise = { cpuTime: spread(rounds.loopCpuMs.machine), wallTime: spread(rounds.loopMs.machine) };
  const document = {
    at: new Date().toISOString(),
    ...commit(),
    quick: options.quick,
    whole: options.isWhole,
    seconds: seconds(),
    machine: machine(),
    peer: hops.some(({ name }) => name === "peer") ? peerVersion : null,
    paths: Object.fromEntries(hops.filter(({ path }) => path !== null).map(({ name, path }) => [name, path])),
    noise,
    failures,
    figures,
  };
  return { ...document, gates: judged((figure, whose) => figures[figure]?.[whose]?.[1], noise.cpuTime) };
}

/** What fails once is told, and not tried again: its figures are missing, and so are the gates that need them. */
function attempts(failures, say) {
  const failed = new Set();
  return async (what, attempt) => {
    if (failed.has(what)) return undefined;
    try {
      return await attempt();
    } catch (error) {
      failed.add(what);
      failures.push(`${what}: ${error.message}`);
      say(`failed: ${what}: ${error.message}`);
      return undefined;
    }
  };
}

/** One measure after the other, each in rounds over all hops, which are warm for it by then. */
async function measureHops({ hops, options, parts, tries }) {
  const { load, plan, keep, say } = parts;
  let before;
  for (const name of Object.keys(hopMeasures).filter((known) => options.measures.includes(known))) {
    fixedWork(keep);
    const tls = name === "bulk" ? await startNode([join(import.meta.dirname, "tls-bulk.mjs")]) : undefined;
    if (tls) await warmUpTls(load, tls);
    if (!isWarm(name, before)) {
      say(`${name}: warming up`);
      for (const hop of hops) {
        await tries(`warming up ${hop.name} for ${name}`, async () => await warmUp(name, load, hop, plan));
      }
    }
    before = name;
    for (let round = 1; round <= plan.rounds; round += 1) {
      say(`${name}: round ${round} of ${plan.rounds}`);
      const found = {};
      for (const hop of hops) {
        found[hop.name] = await tries(`${name} of ${hop.name}`, async () => {
          await wakeUp(name, load, hop, plan);
          return await hopMeasures[name](load, hop, plan);
        });
      }
      if (tls) found.tls = await measureTls(load, tls, plan);
      if (name === "first-token") addAdded(found);
      for (const [whose, figures = {}] of Object.entries(found)) {
        for (const [figure, value] of Object.entries(figures)) keep(figure, whose, value);
      }
      if (name === "bulk" && round === plan.bulkRounds) break;
    }
  }
  fixedWork(keep);
}

/** What a hop adds to the engine's own time, in the same round. */
function addAdded({ engine, ...others }) {
  if (engine === undefined) return;
  const measured = Object.values(others).filter((figures) => figures !== undefined);
  for (const figures of measured) figures.firstTokenAddedMs = figures.firstTokenMs - engine.firstTokenMs;
}

/** Always the same work, here: how much its time varies is the machine's noise. */
function fixedWork(keep) {
  for (let repeat = 0; repeat < 4; repeat += 1) {
    const cpu = process.cpuUsage();
    const started = performance.now();
    let value = 1;
    for (let index = 0; index < 20_000_000; index += 1) value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0;
    const { user, system } = process.cpuUsage(cpu);
    if (value === 0.5) throw new Error("kept, so that the loop is run");
    if (repeat === 0) continue; // compiled meanwhile
    keep("loopMs", "machine", performance.now() - started);
    keep("loopCpuMs", "machine", (user + system) / 1_000);
  }
}

function commit() {
  const git = (...words) =>
    execFileSync("git", words, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const changed = git(
      "status",
      "--porcelain",
      "--",
      ".",
      ":!bench/history.jsonl",
      ":!docs/performance.md",
      ":!docs/images/performance.svg",
    );
    return { commit: git("rev-parse", "--short=12", "HEAD"), dirty: changed !== "" };
  } catch {
    return { commit: null, dirty: true };
  }
}

function machine() {
  const model = cpus()[0]?.model ?? "unknown";
  const memoryGb = Math.round(totalmem() / 1e9);
  return { cpu: model.trim(), cores: cpus().length, memoryGb, node: process.version, os: `${type()} ${release()}` };
}

function mapped(record, of) {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, of(value)]));
}

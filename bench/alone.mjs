// What is measured of nodes of its own, beside the hops: memory with many slow streams, the time of a start, and how cost grows.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bundled } from "./bundled.mjs";
import { startSealmesh } from "./hops.mjs";
import { withCpu } from "./measure.mjs";
import { residentBytes } from "./proc.mjs";
import { cleanEnvironment, mainFile, startNode, startHelper } from "./processes.mjs";

const mb = 1e6;

/**
 * 500 streams of four tokens a second each: memory from the first ones that nodes carry which have just started, delays from
 * the next ones, when their code is compiled. `keep` adds a figure.
 */
export async function measureMemory({ load, engine, startPair, plan, keep, say }) {
  for (let round = 1; round <= plan.memory.rounds; round += 1) {
    say(`500 slow streams, round ${round} of ${plan.memory.rounds}`);
    const floor = await startNode([join(import.meta.dirname, "floor.mjs"), String(engine.ready.port)]);
    await slowStreams({ name: "floor", url: floor.ready.url, pids: [floor.pid] }, { proxy: floor.pid });
    await floor.stop();
    const pair = await startPair();
    await slowStreams({ ...pair, name: "direct" }, { client: pair.client.pid, host: pair.far.pid });
    await pair.client.stop();
    await pair.far.stop();
  }

  async function slowStreams(hop, pids) {
    await load.ask({ url: hop.url, what: "firstToken", count: 5 });
    await sleep(1_000);
    const idle = memoryOf(pids);
    const most = { ...idle };
    const looking = setInterval(() => {
      for (const [who, bytes] of Object.entries(memoryOf(pids))) most[who] = Math.max(most[who], bytes);
    }, 100);
    const streams = async (tokens) =>
      await load.ask({ url: hop.url, what: "tokens", streams: 500, tokens, paceMs: 250, rampMs: 2_000 });
    await streams(plan.memory.tokens).finally(() => clearInterval(looking));
    const { p50, p99 } = await streams(plan.memory.delayTokens);
    keep("slowTokenDelayMs", hop.name, p50);
    keep("slowTokenDelayP99Ms", hop.name, p99);
    for (const who of Object.keys(pids)) {
      const whose = hop.name === "floor" ? "floor" : who;
      keep("memoryIdleMb", whose, idle[who] / mb);
      keep("memoryStreamsMb", whose, most[who] / mb);
      keep("memoryAboveIdleMb", whose, (most[who] - idle[who]) / mb);
    }
  }
}

/** @returns bytes by name; NaN where it is not told */
function memoryOf(pids) {
  return Object.fromEntries(Object.entries(pids).map(([who, pid]) => [who, residentBytes(pid) ?? Number.NaN]));
}

/** From the start of a process to its end, or to a client's ready line. */
export async function measureStart({ host, plan, keep, say }) {
  say(`starts, ${plan.starts} of each`);
  for (let round = 0; round < plan.starts; round += 1) {
    keep("startMs", "node", await timeOf(["-e", "0"]));
    keep("startMs", "version", await timeOf([mainFile, "version"]));
    const started = performance.now();
    const client = await startSealmesh(["client", "--join", host.ready.invite]);
    keep("startMs", "client", performance.now() - started);
    await client.stop();
  }
}

async function timeOf(words) {
  const started = performance.now();
  const child = spawn(process.execPath, words, { stdio: "ignore", env: cleanEnvironment() });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`node ${words.join(" ")} ended with ${code}`);
  return performance.now() - started;
}

export const growthSteps = { streams: [10, 20, 40, 80], mebibytes: [1, 2, 4, 8], peers: [25, 50, 100, 200] };

/** CPU time of client and host as streams and bodies double, and of one node as peers do. */
export async function measureGrowth({ load, hop, plan, keep, say }) {
  const { rounds, tokens, mebibytes, joinMs, quietMs, peerRounds } = plan.growth;
  for (let round = 0; hop !== undefined && round <= rounds; round += 1) {
    say(round === 0 ? "growth, warming up" : `growth, round ${round} of ${rounds}`);
    const keepMs = (figure, size, cpuUs) => {
      if (round > 0 && cpuUs !== undefined) keep(figure, String(size), cpuUs / 1_000);
    };
    for (const streams of growthSteps.streams) {
      const { cpuUs } = await withCpu(load, hop, {
        what: "tokens",
        streams,
        tokens: round === 0 ? 10 : tokens,
        paceMs: 20,
      });
      keepMs("cpuOfStreamsMs", streams, cpuUs);
    }
    // as many bytes for each size: a garbage collection more or less does not show
    for (const size of growthSteps.mebibytes) {
      const count = Math.ceil((round === 0 ? size : mebibytes) / size);
      const up = await withCpu(load, hop, { what: "bulk", up: size * 1_048_576, count });
      keepMs("cpuOfUploadMs", size, up.cpuUs === undefined ? undefined : up.cpuUs / count);
      const down = await withCpu(load, hop, { what: "bulk", down: size * 1_048_576, count });
      keepMs("cpuOfDownloadMs", size, down.cpuUs === undefined ? undefined : down.cpuUs / count);
    }
  }
  const simulation = startHelper(await bundled("bench/peers.mjs"));
  const [fewest] = growthSteps.peers;
  await simulation.ask({ peers: fewest, joinMs, quietMs }); // compiled from here on
  for (let round = 1; round <= peerRounds; round += 1) {
    for (const peers of growthSteps.peers) {
      say(`growth: ${peers} peers, simulated, round ${round} of ${peerRounds}`);
      const { cpuMs } = await simulation.ask({ peers, joinMs, quietMs });
      keep("cpuOfPeersMs", String(peers), cpuMs);
    }
  }
}

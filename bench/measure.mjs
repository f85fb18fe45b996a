// What is measured of each hop, round by round. Each asks the load generator, and reads the CPU time that the hop's processes take
// meanwhile, both nodes together; it gives {figure: number} (figures.mjs), undefined for what cannot be known here.
import { cpuNs } from "./proc.mjs";

const mebibyte = 1_048_576;
const bulkBytes = 8 * mebibyte;
/** iroh carries bytes as arrays of numbers: once through is long enough. */
const isSlowInBulk = ({ path, name }) => path === "quic" || name === "bare-iroh";
/** Hops that take tens of ms for a request. */
const slowInStarts = ["peer"];

/** Runs a command of the load generator. @returns its figures, and the CPU time of the hop's processes, µs */
export async function withCpu(load, hop, command) {
  const before = cpuNs(hop.pids);
  const figures = await load.ask({ url: hop.url, headers: hop.headers, ...command });
  const after = cpuNs(hop.pids);
  const isKnown = before !== undefined && after !== undefined && hop.pids.length > 0;
  return { ...figures, cpuUs: isKnown ? (after - before) / 1_000 : undefined };
}

const each = (cpuUs, count) => (cpuUs === undefined ? undefined : cpuUs / count);

/** By name: (load, hop, plan) → figures of one round. In this order: what waits for nothing else comes when its code is compiled. */
export const hopMeasures = {
  async requests(load, hop, { requestsMs }) {
    const at = async (inFlight) => await withCpu(load, hop, { what: "requests", inFlight, ms: requestsMs[inFlight] });
    const one = await at(1);
    const some = await at(32);
    const many = await at(128);
    return {
      requests1: one.perSecond,
      requests32: some.perSecond,
      requests128: many.perSecond,
      request32P99Ms: some.p99,
      cpuPerRequestUs: each(some.cpuUs, some.count),
    };
  },

  async streams(load, hop, { streamsMs }) {
    const { perSecond } = await withCpu(load, hop, { what: "wholeStreams", inFlight: 32, ms: streamsMs });
    return { streams32: perSecond };
  },

  async tokens(load, hop, { tokens }) {
    const at = async (streams) => await withCpu(load, hop, { what: "tokens", streams, tokens, paceMs: 5 });
    const one = await at(1);
    const some = await at(20);
    return {
      tokenDelay1Us: one.p50 * 1_000,
      tokenDelay20Us: some.p50 * 1_000,
      tokenDelay20P99Us: some.p99 * 1_000,
      cpuPerTokenUs: each(some.cpuUs, 20 * tokens),
    };
  },

  async "first-token"(load, hop, { firstTokens }) {
    const count = slowInStarts.includes(hop.name) ? Math.ceil(firstTokens / 4) : firstTokens;
    const { p50, p99 } = await withCpu(load, hop, { what: "firstToken", count });
    return { firstTokenMs: p50, firstTokenP99Ms: p99 };
  },

  async bulk(load, hop, { bulkCount }) {
    const count = isSlowInBulk(hop) ? 1 : bulkCount;
    const up = await withCpu(load, hop, { what: "bulk", up: bulkBytes, count });
    const down = await withCpu(load, hop, { what: "bulk", down: bulkBytes, count });
    return {
      uploadMbs: up.perSecond,
      downloadMbs: down.perSecond,
      uploadCpuNs: each(up.cpuUs, (count * bulkBytes) / 1_000),
      downloadCpuNs: each(down.cpuUs, (count * bulkBytes) / 1_000),
    };
  },
};

/** The bulk of two bare processes over TLS. */
export async function measureTls(load, { pid, ready }, { bulkCount }) {
  const hop = { pids: [pid] };
  const up = await withCpu(load, hop, { what: "tlsBulk", port: ready.port, up: bulkBytes, count: bulkCount * 2 });
  const down = await withCpu(load, hop, { what: "tlsBulk", port: ready.port, down: bulkBytes, count: bulkCount * 2 });
  return { uploadMbs: up.perSecond, downloadMbs: down.perSecond };
}

/** What kind of answers a measure is about: what is warm for one is warm for the next of its kind. */
const kinds = { requests: "whole", streams: "streamed", tokens: "streamed", "first-token": "streamed", bulk: "bulk" };

/**
 * By kind: what is asked of each hop before its first measure counts, so that its code is compiled for it and its connections are
 * there: a node that people use has answered thousands, and the floor has little code to compile. (ask, hop, plan)
 */
const warmUps = {
  async whole(ask, _hop, { warmMs }) {
    await ask({ what: "requests", inFlight: 32, ms: warmMs });
  },
  async streamed(ask, _hop, { warmMs }) {
    await ask({ what: "wholeStreams", inFlight: 32, ms: warmMs });
    await ask({ what: "tokens", streams: 20, tokens: 60, paceMs: 5 });
  },
  async bulk(ask, hop) {
    const count = isSlowInBulk(hop) ? 1 : 4;
    await ask({ what: "bulk", up: mebibyte, count });
    await ask({ what: "bulk", down: mebibyte, count });
  },
};

/** @param before the measure that was taken last, if any */
export const isWarm = (name, before) => kinds[name] === kinds[before];

export async function warmUp(name, load, hop, plan) {
  const ask = async (command) => await load.ask({ url: hop.url, headers: hop.headers, ...command });
  await warmUps[kinds[name]](ask, hop, plan);
}

/** By kind: what is asked of a hop right before each round of it counts. None for bulk: it asks for seconds. */
const wakeUps = { whole: "requests", streamed: "wholeStreams" };

/** A process that stood idle while the others had their turn finds its memory cold, and on some machines out of its page tables. */
export async function wakeUp(name, load, hop, { wakeMs }) {
  const what = wakeUps[kinds[name]];
  if (what) await load.ask({ url: hop.url, headers: hop.headers, what, inFlight: 32, ms: wakeMs });
}

export async function warmUpTls(load, { ready }) {
  for (const which of ["up", "down"])
    await load.ask({ what: "tlsBulk", port: ready.port, [which]: mebibyte, count: 8 });
}

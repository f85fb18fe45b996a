// The ways from the load generator to the mock engine, each as a user would start it: on loopback, in data directories of its own.
// A hop is {name, url, headers, pids, path}; pids are those of what stands between the two, path what its nodes said of it.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { spawnSync } from "node:child_process";
import { cleanEnvironment, mainFile, startNode, tempDir } from "./processes.mjs";
import { bundled } from "./bundled.mjs";
import { hopNames, hopTitles } from "./hop-names.mjs";
import { startPeer } from "./peer.mjs";
import { chatRequest } from "./prompt.mjs";

const here = import.meta.dirname;

/** How long nodes may take to know each other, and to leave QUIC for TLS, ms. */
const knowMs = 15_000;
const upgradeMs = 10_000;

/**
 * Starts the hops that are wanted, and the engine.
 * @param options hops: names · say(text): progress · profileDir: where nodes leave CPU profiles
 * @returns {hops, failed: why some are missing, engine, host(): the host of the direct hop, startPair(): a client and a host, close()}
 */
export async function startHops({ hops: wantedHops, say, profileDir }) {
  const started = [];
  const keep = async (starting) => {
    const node = await starting;
    started.push(node);
    return node;
  };
  const engine = await keep(startNode([join(here, "engine.mjs")]));
  const mesh = meshOf({ engine: engine.ready, keep, profileDir });
  const bare = async (link) => {
    const file = join(here, "bare.mjs");
    const far = await keep(startNode([file, "far", link, String(engine.ready.port)]));
    const near = await keep(startNode([file, "near", link, JSON.stringify(far.ready.at), far.ready.key]));
    return { url: near.ready.url, pids: [near.pid, far.pid] };
  };
  const makers = {
    engine: () => ({ url: engine.ready.url, pids: [] }),
    floor: async () => {
      const floor = await keep(startNode([join(here, "floor.mjs"), String(engine.ready.port)]));
      return { url: floor.ready.url, pids: [floor.pid] };
    },
    bare: async () => await bare("tls"),
    "bare-iroh": async () => await bare("iroh"),
    peer: async () => await startPeer({ engineUrl: engine.ready.url, keep, say }),
    ...mesh.makers,
  };
  const hops = [];
  const failed = [];
  for (const name of hopNames.filter((wanted) => wantedHops.includes(wanted))) {
    say(`starting: ${hopTitles[name]}`);
    try {
      hops.push({ name, headers: {}, path: null, ...(await makers[name]()) });
    } catch (error) {
      // the peer comes from a registry that may be out of reach; its gates are not measured then
      if (name !== "peer") throw error;
      failed.push(error.message);
      say(error.message);
    }
  }
  const close = async () => void (await Promise.all(started.map((node) => node.stop())));
  return { hops, failed, engine, host: mesh.host, startPair: mesh.startPair, close };
}

/** Whether this build has the flag that keeps a node on QUIC. */
export function hasNoDirect() {
  const { stdout } = spawnSync(process.execPath, [mainFile, "client", "--help"], {
    encoding: "utf8",
    env: cleanEnvironment(),
  });
  return stdout.includes("--no-direct");
}

function meshOf({ engine, keep, profileDir }) {
  const serveWords = ["serve", "--engine", `${engine.url}/v1`, "--max-running", "1024"];
  const start = (words, more) => keep(startSealmesh(words, { profileDir, ...more }));
  const once = (make) => {
    let made;
    return () => (made ??= make());
  };
  const onQuic = once(() => (hasNoDirect() ? ["--no-direct"] : []));
  const upgraded = once(() => ({ path: onQuic().length > 0 ? "tls" : undefined }));
  const host = once(() => start(serveWords));
  const quicHost = once(() => start([...serveWords, ...onQuic()]));

  /** A client of a host, as a hop. @param relay what stands between them, and whose path is told then */
  const clientOf = async (far, words, { path, relay, sealed = true } = {}) => {
    const client = await start(["client", "--join", far.ready.invite, ...words]);
    await knowsModel(client);
    await goesAsItShould(client, { route: relay ? "relay" : "direct", sealed: String(sealed) });
    const found = await pathTo(client, relay ?? far, path);
    const pids = [client.pid, far.pid, ...(relay ? [relay.pid] : [])];
    return { url: client.ready.api_url, pids, path: found, client, far };
  };

  const makers = {
    local: async () => {
      const node = await host();
      return { url: node.ready.api_url, pids: [node.pid] };
    },
    direct: async () => await clientOf(await host(), [], upgraded()),
    iroh: async () => await clientOf(await quicHost(), onQuic()),
    relay: async () => {
      const far = await host();
      const bounds = ["--relay-rate", "10000", "--relay-streams", "2048"];
      const relay = await start(["relay", "--join", far.ready.invite, ...bounds]);
      return await clientOf(far, ["--route", "relay"], { ...upgraded(), relay });
    },
    plain: async () => {
      const far = await keep(startNode([await bundled("bench/plain-host.mjs"), String(engine.port)]));
      return await clientOf(far, ["--open-mesh"], { sealed: false });
    },
  };
  const startPair = async () => await clientOf(await start(serveWords), [], upgraded());
  return { makers, host, startPair };
}

/** A node of the built product. With a profile it runs unhardened, since a hardened one starts afresh without Node's flags. */
export async function startSealmesh(words, { profileDir } = {}) {
  const directory = tempDir();
  const own = ["--bind", "127.0.0.1:0", "--console", "0", "--data-dir", directory, "--no-lan"];
  const port = words[0] === "relay" ? [] : ["--port", "0"];
  const profile =
    profileDir === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", mkdtempSync(join(profileDir, `${words[0]}-`))];
  const open = profileDir === undefined ? [] : ["--no-hardening"];
  const log = ["--log-format", "json", "--stop-with-stdin"];
  return await startNode([...profile, mainFile, ...words, ...port, ...own, ...open, ...log]);
}

/** @throws Error when the client does not hear of the host's model */
async function knowsModel({ ready }) {
  await until(knowMs, "the client hears of the host's model", async () => {
    const { data } = await (await fetch(`${ready.api_url}/v1/models`)).json();
    return data.some(({ id }) => id === "bench");
  });
}

/** Asks until the client tells of the way that this hop is about: a relay is heard of a moment later than a host. */
async function goesAsItShould({ ready }, wanted) {
  const headers = { "content-type": "application/json" };
  const asked = { method: "POST", headers, body: chatRequest({ bytes: 16 }) };
  await until(knowMs, `prompts go with ${JSON.stringify(wanted)}`, async () => {
    const answer = await fetch(`${ready.api_url}/v1/chat/completions`, asked);
    await answer.arrayBuffer();
    return Object.entries(wanted).every(([name, value]) => answer.headers.get(`x-sealmesh-${name}`) === value);
  });
}

/** What the client says of its way to the host: waits for `wanted` a while, and takes what there is. */
async function pathTo(client, far, wanted) {
  const look = async () => {
    const { peers } = await (await fetch(`${client.ready.console_url}/api/status`)).json();
    const { path, connected } = peers.find(({ endpoint_id: id }) => id === far.ready.endpoint_id) ?? {};
    return path ?? (connected === true ? "quic" : null);
  };
  const end = performance.now() + upgradeMs;
  let path = await look();
  while (wanted !== undefined && path !== wanted && performance.now() < end) {
    await sleep(50);
    path = await look();
  }
  return path;
}

async function until(ms, what, holds) {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(50);
  }
}

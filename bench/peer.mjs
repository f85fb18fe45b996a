// The peer: one hop through @portkey-ai/gateway, the gateway that a TypeScript user would pick. It is no dependency of the project: the
// bench installs one pinned version with npm into a cache of the user, once.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { startNode } from "./processes.mjs";

const name = "@portkey-ai/gateway";
export const peerVersion = "1.15.2";
/** It streams with no newer one of the first: https://github.com/Portkey-AI/gateway/issues/1389. The second so that runs compare. */
const overrides = { "@hono/node-server": "1.13.8", hono: "4.9.7" };
const installMs = 120_000;

/** @returns the hop. @throws Error when it is not installed and cannot be */
export async function startPeer({ engineUrl, keep, say }) {
  const main = await installed(say);
  const port = await freePort();
  const words = [join(import.meta.dirname, "peer-process.mjs"), main, `--port=${port}`, "--headless"];
  const isReady = (_line, text) => text.includes("Ready for connections");
  const peer = await keep(startNode(words, { isReady }));
  const headers = {
    authorization: "Bearer unused",
    "x-portkey-provider": "openai",
    "x-portkey-custom-host": `${engineUrl}/v1`,
  };
  return { url: `http://127.0.0.1:${port}`, headers, pids: [peer.pid] };
}

async function installed(say) {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const folder = join(cache, "sealmesh-bench", `portkey-${peerVersion}`);
  const main = join(folder, "node_modules", name, "build/start-server.js");
  const done = join(folder, "installed");
  if (existsSync(main) && existsSync(done)) return main;
  say(`installing ${name} ${peerVersion} into ${folder}`);
  mkdirSync(folder, { recursive: true });
  const manifest = { private: true, dependencies: { [name]: peerVersion }, overrides };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  const words = ["install", "--no-audit", "--no-fund", "--ignore-scripts"];
  try {
    // with the environment as it is: a registry may be behind a proxy with a certificate of its own
    await promisify(execFile)("npm", words, { cwd: folder, timeout: installMs });
  } catch (cause) {
    throw new Error(`${name} ${peerVersion} could not be installed; --no-peer goes without it`, { cause });
  }
  writeFileSync(done, "");
  return main;
}

/** One that was free a moment ago: the peer takes a number only. */
function freePort() {
  return new Promise((resolve, reject) => {
    const listening = createServer();
    listening.once("error", reject);
    listening.listen(0, "127.0.0.1", () => {
      const { port } = listening.address();
      listening.close(() => resolve(port));
    });
  });
}

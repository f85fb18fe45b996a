// One model on two processes by llama.cpp's RPC, and sealmesh in front of them, for real and on loopback: a chat through a
// client, then one of the two is killed in mid stream. Not part of the gate: it builds llama.cpp, which takes minutes.
//
//   npm run build && node scripts/try-llama-rpc.mjs [--work DIRECTORY]    DIRECTORY keeps the build for the next time
//
// Needs git, cmake and a C++ compiler. The source is the one that the npm package node-llama-cpp carries, at the version of
// this repository. Prints what it saw, and ends with 1 if something was not as docs/large-models.md says.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "..");
const main = join(root, "dist/cli/main.js");
const at = process.argv.indexOf("--work");
const work = at === -1 ? join(tmpdir(), "sealmesh-llama-rpc") : process.argv[at + 1];
const state = mkdtempSync(join(tmpdir(), "sealmesh-rpc-"));
const children = [];
const failures = [];

const say = (text) => console.log(text);
const check = (holds, text) => {
  say(`${holds ? "ok  " : "FAIL"} ${text}`);
  if (!holds) failures.push(text);
};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, holds, ms = 30_000) {
  const end = Date.now() + ms;
  while (!(await holds().catch(() => false))) {
    if (Date.now() > end) throw new Error(`waited ${ms / 1000} s in vain: ${what}`);
    await pause(100);
  }
}

function run(program, words, cwd) {
  const { status } = spawnSync(program, words, { cwd, stdio: "inherit" });
  if (status !== 0) throw new Error(`${program} ${words.join(" ")} ended with ${status}`);
}

/** The two programs, built once. */
function build() {
  const source = join(work, "llama.cpp");
  const bin = join(source, "build/bin");
  if (existsSync(join(bin, "llama-server")) && existsSync(join(bin, "ggml-rpc-server"))) return bin;
  mkdirSync(work, { recursive: true });
  const bundle = join(root, "node_modules/node-llama-cpp/llama/gitRelease.bundle");
  if (!existsSync(source)) run("git", ["clone", "--quiet", bundle, source], work);
  // without GGML_NATIVE=OFF it was seen to crash on virtual machines; without the UI it would look for one on the network
  const off = ["GGML_NATIVE", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_APP"];
  const flags = [...off, "LLAMA_USE_PREBUILT_UI", "LLAMA_OPENSSL"].map((name) => `-D${name}=OFF`);
  run("cmake", ["-B", "build", "-DGGML_RPC=ON", ...flags], source);
  const cores = String(Math.max(1, availableParallelism() - 1));
  run("cmake", ["--build", "build", "--target", "llama-server", "ggml-rpc-server", "-j", cores], source);
  return bin;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

function start(name, program, words, env = {}) {
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  const started = { name, child, output: "", ended: once(child, "exit") };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (started.output += text));
  children.push(started);
  return started;
}

/** A node, when it is ready. */
async function node(words) {
  const dataDir = join(state, `node-${children.length}`);
  const flags = ["--data-dir", dataDir, "--bind", "127.0.0.1:0", "--port", "0", "--console", "0"];
  const env = { SEALMESH_CONFIG: "none" };
  const started = start(words[0], process.execPath, [main, ...words, ...flags, "--log-format", "json"], env);
  const lines = [];
  const ready = new Promise((resolve, reject) => {
    createInterface({ input: started.child.stdout }).on("line", (line) => {
      const event = JSON.parse(line);
      lines.push(event);
      if (event.event === "ready") resolve(event);
      if (event.error) reject(new Error(event.error.message));
    });
  });
  return { ...started, lines, ready: await ready };
}

const ask = (url, body) =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: "What is sealmesh?" }], temperature: 0, ...body }),
  });

const status = async ({ ready }) => (await fetch(`${ready.console_url}/api/status`)).json();

async function tryIt() {
  const bin = build();
  const ports = [await freePort(), await freePort(), await freePort()];
  const rpc = ports.slice(0, 2).map((port) => {
    return start("ggml-rpc-server", join(bin, "ggml-rpc-server"), ["-H", "127.0.0.1", "-p", String(port)]);
  });
  await pause(1_000);
  const [first, second, port] = ports;
  const model = `--alias demo --host 127.0.0.1 --port ${port}`;
  const spread = `--rpc 127.0.0.1:${first},127.0.0.1:${second} -ngl 99 -c 1024 -np 2 -t 1 --offline -lv 4`;
  const serverWords = ["-m", join(root, "models/demo.gguf"), ...`${model} ${spread}`.split(" ")];
  const llama = () => start("llama-server", join(bin, "llama-server"), serverWords);
  let server = llama();
  const engineUrl = `http://127.0.0.1:${ports[2]}`;
  await until("llama-server is ready", async () => (await fetch(`${engineUrl}/health`)).ok);
  const devices = [...server.output.matchAll(/RPC[0-9]+\[[^\]]+\] model buffer size = +[0-9.]+ \w+/g)].map(String);
  check(devices.length === 2, `the model lies in two processes: ${devices.join("; ")}`);

  const host = await node(["serve", "--engine", `llama-rpc=${engineUrl}/v1`]);
  const invite = join(state, "invite.txt");
  writeFileSync(invite, host.ready.invite, { mode: 0o600 });
  const client = await node(["client", "--join-file", invite]);
  await until("the client knows the model", async () => (await status(client)).models.includes("demo"));
  const [engine] = (await status(host)).engines;
  check(engine.state === "up" && engine.name.startsWith("llama-rpc: "), `the node sees one engine: ${engine.name}`);
  check(!host.lines.some(({ event }) => event === "engine-other"), "it answers as what it was named");

  const answer = await ask(client.ready.api_url, { model: "demo" });
  const text = (await answer.json()).choices?.[0]?.message.content ?? "";
  check(
    answer.status === 200 && text.length > 20,
    `a sealed chat through the client: ${JSON.stringify(text.slice(0, 80))}`,
  );
  check(answer.headers.get("x-sealmesh-sealed") === "true", `sealed: ${answer.headers.get("x-sealmesh-sealed")}`);

  // one of the two goes in mid stream; a long text, because the demo model says little
  const stream = await ask(client.ready.api_url, {
    model: "demo",
    stream: true,
    max_tokens: 400,
    logit_bias: { 1023: -100 },
  });
  const reader = stream.body.getReader();
  await reader.read();
  rpc[1].child.kill("SIGKILL");
  let tail = "";
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (done) break;
    tail += Buffer.from(value).toString();
  }
  const last = tail.trimEnd().split("\n").at(-1) ?? "";
  say(`     the stream ended with: ${last.slice(0, 160)}`);
  const next = ask(client.ready.api_url, { model: "demo" }).then(async (one) => [one.status, await one.text()]);
  say(`     the next request: ${JSON.stringify(await next).slice(0, 240)}`);
  const how = await Promise.race([server.ended, pause(10_000)]);
  check(Boolean(how), `llama-server has ended with it: ${how ? how.filter(Boolean).join(" ") : "it still runs"}`);
  say(`     its last words: ${/Remote RPC server[^\n]*/.exec(server.output)?.[0] ?? "none of RPC"}`);
  await until("the node says that its engine is down", async () => (await status(host)).engines[0].state === "down");
  check(true, `the node says: ${(await status(host)).engines[0].why}`);
  await until("the client knows it", async () => !(await status(client)).models.includes("demo"));
  const refused = await ask(client.ready.api_url, { model: "demo" });
  check(refused.status >= 400, `a client is answered ${refused.status} ${(await refused.json()).error?.code}`);

  // a start while one is away
  const early = llama();
  const away = await Promise.race([early.ended, pause(10_000)]);
  say(
    `     llama-server started while one is away: ${away ? `ended with ${away.filter(Boolean).join(" ")}` : "it runs"}`,
  );
  if (!away) early.child.kill("SIGKILL");
  await early.ended;

  // both again, as a supervisor would start them
  rpc.push(start("ggml-rpc-server", join(bin, "ggml-rpc-server"), ["-H", "127.0.0.1", "-p", String(ports[1])]));
  await pause(1_000);
  const began = Date.now();
  server = llama();
  await until("the engine is up again", async () => (await status(host)).engines[0].state === "up");
  await until("the client asks it again", async () => (await ask(client.ready.api_url, { model: "demo" })).ok);
  check(true, `started again, it answers through the client after ${((Date.now() - began) / 1000).toFixed(1)} s`);
}

try {
  await tryIt();
} catch (thrown) {
  failures.push(String(thrown));
  console.error(thrown);
} finally {
  for (const { child } of children) child.kill("SIGKILL");
  await Promise.all(children.map(({ ended }) => ended));
  rmSync(state, { recursive: true, force: true });
}
say(failures.length === 0 ? "all as documented" : `${failures.length} not as documented`);
process.exitCode = failures.length === 0 ? 0 : 1;

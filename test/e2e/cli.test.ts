/** The command line as a user meets it: help, bad input at every door, signals, and what is left behind (nothing). */
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import {
  demoModel,
  eventually,
  isRunning,
  launchProcess,
  mainFile,
  type NodeProcess,
  runCommand,
  startProcess,
  tempDir,
} from "../support/processes.ts";

const nobody = 65_534;
const asRoot = process.getuid?.() === 0;

async function modelIds({ ready }: NodeProcess): Promise<string[]> {
  const list = (await (await fetch(`${ready.api_url}/v1/models`)).json()) as { data: { id: string }[] };
  return list.data.map(({ id }) => id);
}

/** Starts a streamed chat and resolves with its head; the body goes on. */
function chat({ ready }: NodeProcess, model = "scripted"): Promise<Response> {
  return fetch(`${ready.api_url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "hello" }] }),
  });
}

/** A client with an invite to a node that has gone: it gives up waiting after ten seconds, while other tests run. */
let away: { invite: string; endpoint_id: string; dataDir: string } & ReturnType<typeof launchProcess>;

beforeAll(async () => {
  const dataDir = tempDir();
  const before = await startProcess(["client", "--data-dir", dataDir]);
  const { invite, endpoint_id } = before.ready;
  await before.stop();
  away = { invite, endpoint_id, dataDir, ...launchProcess(["client", "--join", invite]) };
});

describe("help and usage", () => {
  it("lists the commands, and teaches each with examples", async () => {
    const all = await runCommand(["--help"]);
    expect(all).toMatchObject({ code: 0, stderr: "" });
    for (const command of ["serve", "client", "status", "demo", "version"])
      expect(all.stdout).toContain(`  ${command} `);
    const serve = await runCommand(["help", "serve"]);
    expect(serve.code).toBe(0);
    for (const text of [
      "--model",
      "--engine",
      "--join-file",
      "SEALMESH_JOIN",
      "Examples:",
      "$ sealmesh serve --model",
    ]) {
      expect(serve.stdout).toContain(text);
    }
    expect(serve.stdout).not.toContain("debug-tap");
  });

  it("prints help and exits 64 without a command", async () => {
    const { code, stdout, stderr } = await runCommand([]);
    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
    expect(stderr).toContain("First steps:");
  });

  it("prints the version, also for programs", async () => {
    expect(await runCommand(["version"])).toMatchObject({ code: 0, stdout: "sealmesh 0.1.0\n" });
    const { stdout } = await runCommand(["version", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ version: "0.1.0", node: process.version });
  });

  it.each([
    { args: ["serv"], says: "Did you mean serve?" },
    { args: ["serve", "--modle", "x"], says: "Did you mean --model?" },
    { args: ["client", "--route", "sideways"], says: "--route takes auto, direct or relay" },
    { args: ["client", "--port", "70000"], says: "--port takes a port" },
    { args: ["client", "--log-format", "xml"], says: "pretty, json" },
    { args: ["client", "extra"], says: "too many arguments" },
    { args: ["serve"], says: "nothing to serve: give --model FILE.gguf or --engine URL|auto" },
  ])("refuses $args with a sentence and 64", async ({ args, says }) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect(stderr).toContain(says);
    expect(stderr).toMatch(/^error: .*\nhint: .*\n$/);
    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
  });

  it("says errors as JSON where JSON was asked for", async () => {
    for (const args of [
      ["status", "--json", "--console", "1"],
      ["client", "--log-format", "json", "--join", "garbage!"],
      ["serve", "--log-format=json", "--bogus"],
    ]) {
      const { code, stdout, stderr } = await runCommand(args);
      expect(code).toBeGreaterThan(0);
      expect(stderr).toBe("");
      const { error } = JSON.parse(stdout) as { error: Record<string, string> };
      expect(Object.keys(error)).toEqual(["code", "message", "hint"]);
    }
  });
});

describe("bad input", () => {
  it.each([
    { join: "garbage", says: "invite" },
    { join: "eyJpZCI6", says: "cut off or damaged" },
    { join: "a".repeat(64), says: "endpoint id, not an invite" },
  ])("refuses the invite $join with 65", async ({ join: token, says }) => {
    const { code, stderr } = await runCommand(["client", "--join", token, "--data-dir", tempDir(), "--port", "0"]);
    expect(stderr).toContain(says);
    expect(code).toBe(65);
  });

  it("names the file of --join-file that is not there", async () => {
    const { code, stderr } = await runCommand(["client", "--join-file", "/nowhere/invite.txt"]);
    expect(stderr).toContain("/nowhere/invite.txt");
    expect(code).toBe(78);
  });

  it("names a model file that is not there", async () => {
    const args = ["serve", "--model", "/nowhere/model.gguf", "--data-dir", tempDir(), "--port", "0", "--headless"];
    const { code, stderr } = await runCommand(args);
    expect(stderr).toContain("--model /nowhere/model.gguf: there is no such file");
    expect(code).toBe(65);
  });

  describe("a port in use", () => {
    let taken: Server;
    beforeAll(async () => {
      taken = createServer();
      await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    });
    afterAll(() => void taken.close());

    it.each(["--port", "--console"])("%s: a sentence and 69", async (flag) => {
      const { port } = taken.address() as { port: number };
      const other = flag === "--port" ? ["--headless"] : ["--port", "0"];
      const { code, stderr } = await runCommand(["client", flag, `${port}`, ...other, "--data-dir", tempDir()]);
      expect(stderr).toContain(`${flag}: another program listens on 127.0.0.1:${port} already`);
      expect(code).toBe(69);
    });
  });

  it("stays up with a broken GGUF file, and says why it serves nothing", async () => {
    const file = join(tempDir(), "broken.gguf");
    writeFileSync(file, "GGUF but not really");
    const node = await startProcess(["serve", "--model", file]);
    expect(node.ready.models).toEqual([]);
    expect(await modelIds(node)).toEqual([]);
    const { engines, node_state } = await node.status();
    expect(node_state).toBe("standby");
    expect(engines).toMatchObject([{ state: "down", models: [] }]);
    expect(engines[0]?.why).toContain("broken.gguf");
    expect(await node.stop()).toEqual({ code: 0, signal: null });
  });

  it("stays up while the engine behind a URL is down, and says so", async () => {
    const engine = await startEngineServer();
    await engine.close(); // nobody listens there any more
    const node = await startProcess(["serve", "--engine", engine.url]);
    const { engines } = await node.status();
    expect(engines).toMatchObject([{ kind: "external", state: "down" }]);
    expect(engines[0]?.why).not.toBe("");
    expect(await modelIds(node)).toEqual([]);
  });
});

describe("an invite to a node that is away", () => {
  it("is a warning: the node is usable, and joins when the other one is back", async () => {
    const { invite, endpoint_id, process: waiting } = away;
    await away.ready;
    const warning = await waiting.waitForLine(({ event }) => event === "join-failed");
    expect(warning).toMatchObject({ level: "warn", peer: endpoint_id });
    await startProcess(["client", "--data-dir", away.dataDir, "--bind", udpAddressIn(invite)]);
    const isIt = (line: { peer?: string }): boolean => line.peer === endpoint_id;
    await waiting.waitForLine((line) => line.event === "peer-joined" && isIt(line), 20_000);
  });

  it("does not keep the node from stopping", async () => {
    const { process: node } = launchProcess(["client", "--join", away.invite]);
    await node.waitForLine(({ event }) => event === "node-started");
    const started = performance.now();
    expect(await node.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe("the data directory", () => {
  const args = (directory: string): string[] => ["client", "--data-dir", directory, "--port", "0", "--headless"];

  it("is refused with 78 when it cannot be written", async () => {
    const parent = tempDir();
    if (!asRoot) chmodSync(parent, 0o500);
    // as root nothing is unwritable: another user then, on a directory that is root's alone
    const { code, stderr } = await runCommand(args(join(parent, "state")), asRoot ? { uid: nobody } : {});
    expect(stderr).toMatch(/^error: .*cannot be made \(EACCES\)\.\nhint: Mend what the message names/);
    expect(code).toBe(78);
    if (!asRoot) chmodSync(parent, 0o700);
  });

  it("is refused when others can get at it or its key", async () => {
    const wide = join(tempDir(), "wide");
    mkdirSync(wide);
    chmodSync(wide, 0o775);
    expect(await runCommand(args(wide))).toMatchObject({ code: 78, stderr: expect.stringContaining("chmod 700") });
    // readable names are no secret, and service managers make such directories
    chmodSync(wide, 0o755);
    await (await startProcess(["client", "--data-dir", wide])).stop();
    const directory = tempDir();
    writeFileSync(join(directory, "key"), `${"ab".repeat(32)}\n`);
    chmodSync(join(directory, "key"), 0o644);
    expect(await runCommand(args(directory))).toMatchObject({ code: 78, stderr: expect.stringContaining("chmod 600") });
  });

  it("serves one node at a time, and the next one after a SIGKILL", async () => {
    const directory = tempDir();
    const first = await startProcess(["client", "--data-dir", directory]);
    const second = await runCommand(args(directory));
    expect(second).toMatchObject({ code: 78, stderr: expect.stringContaining(`process ${first.pid} uses`) });
    await first.kill();
    const third = await startProcess(["client", "--data-dir", directory]);
    expect(third.ready.endpoint_id).toBe(first.ready.endpoint_id);
  });
});

describe("a running node", () => {
  let engine: ScriptedEngine;
  let host: NodeProcess;

  beforeAll(async () => {
    engine = await startEngineServer({ tokens: 10, tokenMs: 60 });
    host = await startProcess(["serve", "--engine", engine.url, "--name", "host"]);
  });
  afterAll(() => engine.close());

  it("prints one JSON object a line, among them a complete ready line", async () => {
    const { ready, pid } = host;
    expect(ready).toMatchObject({ event: "ready", models: ["scripted"], pid });
    expect(ready.api_url).toMatch(/^http:\/\/127\.0\.0\.1:[0-9]+$/);
    expect(ready.console_url).toMatch(/^http:\/\/127\.0\.0\.1:[0-9]+$/);
    expect(ready.endpoint_id).toMatch(/^[0-9a-f]{64}$/);
    for (const line of host.stdout.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("event");
    expect(host.lines[0]).toMatchObject({ time: expect.stringMatching(/Z$/), level: "info" });
  });

  it("is joined through --join-file and SEALMESH_JOIN, and through the invite of a client", async () => {
    const file = join(tempDir(), "invite.txt");
    writeFileSync(file, `${host.ready.invite}\n`);
    const byFile = await startProcess(["client", "--join-file", file, "--name", "laptop"]);
    const byClient = await startProcess(["client"], { env: { SEALMESH_JOIN: byFile.ready.invite } });
    for (const node of [byFile, byClient]) {
      expect(await eventually(async () => (await modelIds(node)).length > 0 && (await modelIds(node)))).toEqual([
        "scripted",
      ]);
    }
    const { console_url } = byFile.ready;
    const shown = await runCommand(["status", "--url", console_url ?? ""]);
    expect(shown).toMatchObject({ code: 0, stderr: "" });
    for (const text of ["laptop", byFile.ready.endpoint_id, "peers", "host", "scripted", "sealed", "direct"]) {
      expect(shown.stdout).toContain(text);
    }
    const json = await runCommand(["status", "--json", "--console", new URL(console_url ?? "").port]);
    const document = JSON.parse(json.stdout) as { pid: number; peers: { endpoint_id: string; sealed: string }[] };
    expect(document.pid).toBe(byFile.pid);
    expect(document.peers).toContainEqual(
      expect.objectContaining({ endpoint_id: host.ready.endpoint_id, sealed: "sealed", role: "Host" }),
    );
  });

  it("shows people one calm block on stdout, and nothing in colour", async () => {
    const { process: node } = launchProcess(["client", "--log-format", "pretty"]);
    const text = await eventually(() => node.stdout.includes("by which others join") && node.stdout);
    expect(text).toContain("sealmesh 0.1.0 is ready");
    expect(text).toMatch(/OpenAI base URL\s+http:\/\/127\.0\.0\.1:[0-9]+\/v1\n/);
    expect(text + node.stderr).not.toContain("\u001B");
    await node.stop("SIGINT");
    expect(await node.exited).toEqual({ code: 0, signal: null });
  });

  it("finishes a running stream on SIGTERM, takes no new request, then exits 0", async () => {
    const node = await startProcess(["serve", "--engine", engine.url]);
    const response = await chat(node);
    node.signal("SIGTERM");
    await node.waitForLine(({ event }) => event === "node-draining");
    const refused = await chat(node);
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: "draining" } });
    const text = await response.text();
    expect(text).toContain("word9");
    expect(text).toMatch(/data: \[DONE\]\n\n$/);
    expect(await node.exited).toEqual({ code: 0, signal: null });
    await node.waitForLine(({ event }) => event === "node-stopped");
  });

  it("stops at once on a second signal", async () => {
    const slow = await startEngineServer({ tokens: 1000, tokenMs: 50 });
    const node = await startProcess(["serve", "--engine", slow.url]);
    const broken = (await chat(node)).text().then(
      () => "whole",
      () => "broken",
    );
    node.signal("SIGTERM");
    await node.waitForLine(({ event }) => event === "node-draining");
    node.signal("SIGTERM"); // an echo of the first, as timeout(1) sends it: no reason to hurry
    const soonest = performance.now() + 150;
    await eventually(async () => (await chat(node)).status === 503 && performance.now() > soonest);
    const started = performance.now();
    expect(await node.stop()).toEqual({ code: 143, signal: null });
    expect(performance.now() - started).toBeLessThan(1500);
    expect(await broken).toBe("broken");
    await slow.close();
  });

  it("tells the members that it leaves", async () => {
    const node = await startProcess(["client", "--join", host.ready.invite]);
    const isIt = (line: { peer?: string }): boolean => line.peer === node.ready.endpoint_id;
    await host.waitForLine((line) => line.event === "peer-joined" && isIt(line));
    await node.stop();
    expect(await host.waitForLine((line) => line.event === "peer-left" && isIt(line))).toMatchObject({
      reason: "left",
    });
  });

  it("lives on when nobody reads its output any more", async () => {
    const child = spawn(
      process.execPath,
      [
        mainFile,
        "client",
        "--data-dir",
        tempDir(),
        "--bind",
        "127.0.0.1:0",
        "--port",
        "0",
        "--headless",
        "--join",
      ].concat(host.ready.invite, "--log-format", "json", "--stop-with-stdin"),
      { stdio: ["pipe", "pipe", "pipe"] },
    );
    const url = await new Promise<string>((resolve) => {
      let text = "";
      child.stdout.on("data", (bytes: Buffer) => {
        text += bytes.toString();
        const found = /"api_url":"([^"]+)"/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    child.stdout.destroy();
    child.stderr.destroy();
    // an answer is an event in the log, which now goes nowhere
    const body = '{"model":"none","messages":[{"role":"user","content":"hi"}]}';
    for (let round = 0; round < 3; round += 1) {
      expect((await fetch(`${url}/v1/chat/completions`, { method: "POST", body })).status).toBe(404);
    }
    const exited = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    child.stdin.end();
    expect(await exited).toBe(0);
  });

  it("stops when its stdin ends, if told so", async () => {
    const node = await startProcess(["client"]);
    node.endStdin();
    expect(await node.exited).toEqual({ code: 0, signal: null });
  });
});

describe("the embedded engine", () => {
  it("leaves no process behind, whether its node is stopped or killed", async () => {
    for (const end of ["stop", "kill"] as const) {
      const node = await startProcess(["serve", "--model", demoModel]);
      const pid = (await node.status()).engines[0]?.pid ?? 0;
      expect(isRunning(pid)).toBe(true);
      await node[end]();
      await eventually(() => !isRunning(pid), 3_000);
    }
  });
});

/** host:port of the first direct address that an invite names. */
function udpAddressIn(invite: string): string {
  const found = /127\.0\.0\.1:[0-9]+/.exec(Buffer.from(invite, "base64url").toString());
  if (!found) throw new Error(`no address in ${Buffer.from(invite, "base64url").toString()}`);
  return found[0];
}

/**
 * A new user's first hour in a real terminal: a host with the demo model, an invite, a client in a second home directory, and
 * every command that shows something. What each prints is held by a file in terminal/, with ids, times, ports and tokens
 * replaced; none is longer than a screen. `npx vitest run test/e2e/terminal.test.ts -u` writes the files anew: read them then.
 */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../support/e2e.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { mainFile, root, startProcess, tempDir } from "../support/processes.ts";
import { Terminal, tmuxMissing } from "../support/terminal.ts";

const size = { columns: 100, rows: 40 } as const;

describe.skipIf(tmuxMissing !== undefined)("a new user in a terminal", () => {
  let ports: readonly number[];
  let host: Terminal;
  let client: Terminal;
  /** A second window on the client's machine. */
  let user: Terminal;

  beforeAll(async () => {
    const prefix = tempDir();
    const npm = { npm_config_prefix: prefix, npm_config_update_notifier: "false" };
    const cwd = root;
    ports = await freePorts(4);
    const there = home(join(prefix, "bin"));
    const here: typeof there = { ...home(join(prefix, "bin")), ...npm };
    host = new Terminal({ ...size, cwd, env: there });
    client = new Terminal({ ...size, cwd, env: here });
    user = new Terminal({ ...size, cwd, env: here });
    await Promise.all([host, client, user].map((terminal) => terminal.ready()));
    invite = join(here["HOME"] ?? "", "invite.txt");
    hostHome = there;
  });
  let invite = "";
  let hostHome: Readonly<Record<string, string>> = {};
  afterAll(() => {
    for (const terminal of [host, client, user]) terminal?.close();
  });

  /** A screen, and no more; the same each time. */
  const holds = async (name: string, text: string): Promise<void> => {
    const lines = text.split("\n");
    expect(lines.length).toBeLessThanOrEqual(size.rows);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(size.columns);
    await expect(`${masked(text, ports)}\n`).toMatchFileSnapshot(`terminal/${name}.txt`);
  };

  it("installs, as the README says: npm link, in a clone that is built", async () => {
    await holds("install", await user.run("npm run --silent build && npm link", 60_000));
  });

  it("sees what there is: sealmesh", async () => {
    await holds("help", await user.run("sealmesh"));
  });

  it("starts a host: serve", async () => {
    const [api, console] = ports;
    host.type(
      `clear; sealmesh serve --model models/demo.gguf --name gpu-box ${local} --port ${api} --console ${console}`,
    );
    await host.shows(/no peers/, 20_000);
    await holds("serve", sinceReady(host.screen()));
  });

  it("invites: invite", async () => {
    const second = new Terminal({ ...size, cwd: root, env: hostHome });
    try {
      await holds("invite", await second.run("sealmesh invite --uses 1 --role client"));
      await second.run(`sealmesh invite --note laptop > ${invite}`);
    } finally {
      second.close();
    }
  });

  it("joins from another machine: client", async () => {
    const [, , api, console] = ports;
    client.type(
      `clear; sealmesh client --join-file ${invite} --name laptop ${local} --port ${api} --console ${console}`,
    );
    await client.shows(/gpu-box +host +demo .* ms +direct +sealed/, 20_000);
    await holds("client", sinceReady(client.screen()));
    await host.shows(/laptop +client/);
  });

  it.each(["status", "peers", "peers gpu-box", "models", "explain demo", "console", "invite list"])(
    "looks: %s",
    async (command) => {
      await holds(command.replaceAll(" ", "-"), await user.run(`sealmesh ${command}`));
    },
  );

  it("asks what is in the way: doctor", async () => {
    await holds("doctor", ofThisMachine(await user.run("sealmesh doctor", 20_000)));
  });

  it("talks: chat", async () => {
    user.type("clear; sealmesh chat");
    await user.shows(/\n> $|\n>$/);
    user.type("What is sealmesh?");
    await user.shows(/first after/);
    user.keep("chat");
    user.type("/info");
    await user.shows(/1 turn so far/);
    user.type("/model nothing");
    await user.shows(/names no model/);
    const talk = await user.shows(/\n>$/);
    user.press("C-d");
    await holds("chat", talk);
    await holds("chat-from-a-pipe", await user.run("echo 'Who can read my prompt?' | sealmesh chat demo"));
  });

  it("sees the host at work: the live view", async () => {
    await host.shows(/(answered +laptop[^]*){2}/);
    await holds("serve-at-work", sinceReady(host.screen()));
    await client.shows(/asked demo +gpu-box +direct +sealed/);
    client.keep("client");
  });

  it("reads what happened: logs", async () => {
    await holds("logs", await user.run("sealmesh logs"));
  });

  it("ends both: stop, and Control-C", async () => {
    await holds("stop", await user.run("sealmesh stop"));
    const end = async (terminal: Terminal): Promise<string> => (await terminal.ready()).split("\n").at(-1) ?? "";
    await holds("client-stopped", await end(client));
    host.press("C-c");
    await holds("serve-stopped", await end(host));
    // the cursor is there again, and echo is on
    expect(await host.run("echo here")).toBe("here");
    await holds("nobody-there", await user.run(`sealmesh status --console ${ports[3]}`));
  });
});

/** What doctor says of the machine below it depends on that; which things it looks at, and how it says it, does not. */
function ofThisMachine(text: string): string {
  const checks = text.split(/\n(?= {2}(?:ok|warn|fail|skip) )/);
  const stable = /^ {2}\w+ +(?:node|settings|ports|data-directory) /;
  const shown = checks.map((check) =>
    /^ {2}\w/.test(check) && !stable.test(check)
      ? check.replace(/^ {2}\w+ +([\w-]+ +)[^]*?(?=\n\n|$)/, "  ....  $1...")
      : check,
  );
  return shown
    .join("\n")
    .replace(/^(sealmesh \S+) on .*$/m, "$1 on ...")
    .replace(/^\d+ failures?, .*$/m, "...")
    .replace(/\b\d+ (?:GB|MB) free/g, "79 GB free");
}

/** What comes before depends on how fast the machine is. */
function sinceReady(screen: string): string {
  return screen.slice(screen.search(/^sealmesh \S+ is ready$/m));
}

/** One model slow enough to be stopped, behind an API port that wants a key. */
describe.skipIf(tmuxMissing !== undefined)("a conversation", () => {
  let engine: ScriptedEngine;
  let user: Terminal;

  beforeAll(async () => {
    engine = await startEngineServer({ tokens: 500, tokenMs: 20 });
    const keys = join(tempDir(), "keys.txt");
    writeFileSync(keys, "a-key-that-nobody-tells\n", { mode: 0o600 });
    const node = await startProcess(["serve", "--engine", engine.url, "--api-key-file", keys]);
    expect((await fetch(`${node.ready.api_url}/v1/models`)).status).toBe(401);
    user = new Terminal({ ...size, cwd: root, env: home(binDirectory()) });
    user.type(`clear; sealmesh chat --data-dir ${node.dataDir}`);
    await user.shows(/scripted: this node, local[^]*\n>$/);
  });
  afterAll(async () => {
    user?.close();
    await engine?.close();
  });

  it("is stopped by Control-C, which frees the engine, and goes on", async () => {
    user.type("Count.");
    await user.shows(/word3 /);
    expect(engine.running).toBe(1);
    user.press("C-c");
    await user.shows(/this node, local: the prompt did not leave it; .*stopped\n\n>$/);
    await until("the engine is free", () => engine.running === 0);
    engine.options.tokens = 3;
    user.type("Go on.");
    await user.shows(/word2 *\nthis node, local: .* first after \d+ ms\n\n>$/);
    // the answer as far as it came is part of the conversation
    const { messages } = JSON.parse(engine.requests.findLast(({ body }) => body !== "")?.body ?? "") as {
      messages: { content: string }[];
    };
    expect(messages.map(({ content }) => content)).toEqual(["Count.", expect.stringMatching(/word3/), "Go on."]);
  });

  it("goes on after an error, in the node's own words; Control-C clears a line, and leaves at an empty one", async () => {
    engine.options.fail = { kind: "status", status: 400, body: { error: { message: "too hot" } } };
    user.type("Again?");
    await user.shows(/error: .*\nhint: .*\n\n>$/);
    user.press("n", "o");
    await user.shows(/\n> no$/);
    user.press("C-c");
    await user.shows(/\n>$/);
    // one that comes soon after an answer is taken for a late one to that
    await until("it has left", async () => {
      user.press("C-c");
      return await user.ready(500).then(
        () => true,
        () => false,
      );
    });
  });
});

const local = "--bind 127.0.0.1:0 --no-lan";

/** `sealmesh` as an installed package has it on PATH. */
function binDirectory(): string {
  const bin = tempDir();
  chmodSync(mainFile, 0o755);
  writeFileSync(join(bin, "sealmesh"), `#!/bin/sh\nexec '${process.execPath}' '${mainFile}' "$@"\n`, { mode: 0o755 });
  symlinkSync(process.execPath, join(bin, "node"));
  return bin;
}

/** A user with a home of their own, and nothing else set. */
function home(bin: string): Readonly<Record<string, string>> {
  const HOME = tempDir();
  const [XDG_STATE_HOME, XDG_CONFIG_HOME, XDG_CACHE_HOME] = ["state", "config", "cache"].map((name) => {
    mkdirSync(join(HOME, name), { mode: 0o700 });
    return join(HOME, name);
  }) as [string, string, string];
  const PATH = [bin, "/usr/local/bin", "/usr/bin", "/bin", dirname(process.execPath)].join(":");
  return { HOME, XDG_STATE_HOME, XDG_CONFIG_HOME, XDG_CACHE_HOME, PATH };
}

/** Free now: two nodes on one machine cannot both have the usual ones, and a person types them. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once("listening", resolve))));
  const found = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return found;
}

/** The same text each time: what differs from run to run has a name of the same length in its place, where that can be. */
function masked(text: string, ports: readonly number[]): string {
  const named = ports.reduce((sum, port, index) => sum.replaceAll(String(port), `PORT${index + 1}`), text);
  return (
    named
      // an invite and a session
      .replace(/--join [\w-]+\n(?:[\w-]+\n)*/g, "--join <invite>\n")
      .replace(/^(?:[\w-]{60,}\n)+[\w-]*\n?/gm, "<invite>\n")
      .replace(/#session=[\w-]+/g, "#session=<token>")
      .replace(/\/tmp\/sealmesh-test-\w+/g, "<home>")
      // ids, keys and digests, whole and by their first digits
      .replace(/\b[0-9a-f]{32,64}\b/g, (id) => "0".repeat(id.length))
      .replace(/\b[0-9a-f]{16}\b/g, "0".repeat(16))
      .replace(/\b(?=[0-9a-f]*[0-9])[0-9a-f]{10}\b|\b[a-f]{10}\b/g, "0".repeat(10))
      .replace(/\b(invite|revoke) [0-9a-f]{8}\b/g, "$1 00000000")
      .replace(/^ {2}[0-9a-f]{8}(?= {2})/gm, "  00000000")
      .replace(/process \d+/g, "process 1234")
      .replace(/\d{4}-\d{2}-\d{2} \d{2}:\d{2}/g, "2026-01-02 03:04")
      .replace(/\d{2}:\d{2}:\d{2}/g, "03:04:05")
      .replace(/^( +up +)\d+ (?:s|min)$/gm, "$1<time>")
      // what was measured; a column keeps its width
      .replace(/(round trip +)(?:<1|\d+) ms/g, "$15 ms")
      .replace(/ {2,}(?:<1|\d+) m?s(?= |$)/gm, (cell) => "5 ms".padStart(cell.length))
      .replace(/ (?:<1|\d+) m?s(?=$|[ ,;])/gm, " 5 ms")
      .replace(/^(added 1 package in) \S+$/m, "$1 500ms")
  );
}

/** `peers`, `models`, `logs` and `stop` against a console: what they print of its documents, and how they end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Command as Commander } from "commander";
import { afterEach, expect, it, vi } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import type { Command } from "../../../src/cli/command.ts";
import { console as consoleCommand } from "../../../src/cli/commands/console.ts";
import { logs } from "../../../src/cli/commands/logs.ts";
import { models } from "../../../src/cli/commands/models.ts";
import { peers } from "../../../src/cli/commands/peers.ts";
import { stop } from "../../../src/cli/commands/stop.ts";
import { openSession } from "../../../src/node/session.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { untold } from "../../support/postures.ts";
import { tempDir } from "../../support/processes.ts";

afterEach(() => vi.restoreAllMocks());

const unclean = "\u001b]0;owned\u0007\u009b2J\u202e\nfake line";
const [alpha, beta] = ["aa", "bb"].map((two) => endpointId(two.repeat(32)));

function peer(id: string, change: object = {}): object {
  const model = { id: "demo", context_length: 4096, busy: false, queue: 0 };
  return {
    id: id.slice(0, 10),
    endpoint_id: id,
    hostname: "alpha",
    version: "1",
    role: "Host",
    state: "serving",
    hosted_models: ["demo"],
    model_states: [model],
    rtt_ms: 3,
    path: "quic",
    route: "direct",
    via: null,
    relays_for_others: false,
    sealed: "sealed",
    inference_key: "0123456789abcdef",
    attestation: {
      tier: "vendor",
      kind: "tpm2",
      allowed: true,
      refusal: null,
      fingerprint: null,
      challenge: null,
      why: null,
    },
    posture: untold,
    build: null,
    owner: { status: "unsigned", verified: false },
    ...change,
  };
}

const nothing = { tier: "none", kind: null, fingerprint: null, challenge: null, why: null };
const refused = peer(beta ?? "", {
  hostname: unclean,
  sealed: "refused",
  route: "relay",
  attestation: { ...nothing, allowed: false, refusal: `It has shown nothing. ${unclean}` },
});
const status = {
  endpoint_id: "cc".repeat(32),
  name: "laptop",
  pid: 1,
  models: ["demo", "own"],
  engines: [{ state: "up", models: [{ id: "own", context_length: 512 }] }],
  exchanges: {},
  mesh: {},
  policy: {},
  inflight_requests: 0,
  peers: [refused, peer(alpha ?? "")],
};

type Routes = Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>>;

/** What a command prints against a console with these routes, and a session of its node. */
async function printed(
  command: Command,
  words: readonly string[],
  routes: Routes = {},
): Promise<{ code: number; out: string }> {
  const server = createServer((request, response) => {
    const route = routes[`${request.method} ${request.url}`];
    if (route) route(request, response);
    else response.end(JSON.stringify(status));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const dataDir = tempDir();
  const session = openSession(dataDir, `http://127.0.0.1:${port}`);
  let out = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    out += String(chunk);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
  let code = -1;
  const program = new Commander().exitOverride();
  const sub = program.command("asked").action(async () => {
    code = await command.run(sub.opts());
  });
  command.addFlags(sub);
  try {
    await program.parseAsync(["asked", "--data-dir", dataDir, ...words], { from: "user" });
  } finally {
    vi.restoreAllMocks();
    session.close();
    server.closeAllConnections();
    server.close();
  }
  return { code, out };
}

it("peers: those that may be asked first, and why one is not; the console is that of the data directory", async () => {
  const { code, out } = await printed(peers, []);
  expect(code).toBe(0);
  expect(out).toMatch(/^2 peers, 2 of them hosts, 1 refused\n/);
  expect(out).toMatch(
    /aaaaaaaaaa +alpha +host +demo +3 ms +direct +sealed +vendor\n +bbbbbbbbbb .* relay +refused +none\n/,
  );
  expect(out).toMatch(/^ {2}bbbbbbbbbb is refused: It has shown nothing\./m);
  expect(out.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
});

it("peers ID: all about one, by its id's beginning or its name, and about no other", async () => {
  for (const what of ["aaaa", "alpha", alpha ?? ""]) {
    const { out } = await printed(peers, [what]);
    expect(out).toMatch(/^alpha {2}aaaaaaaaaa {2}host, sealmesh 1\n/);
    expect(out).toMatch(/models +demo \(4096 tokens, free\)\n/);
    expect(out).toMatch(/proven +vendor \(tpm2\)\n/);
  }
  expect((await printed(peers, ["bbbb"])).out).toMatch(/may be asked +no: It has shown nothing\./);
  await rejectsWith("E_INPUT", printed(peers, ["dddd"]));
  await rejectsWith("E_INPUT", printed(peers, ["aaa"]));
  const twins = { ...status, peers: [peer(alpha ?? ""), peer(beta ?? "")] };
  const both: Routes = { "GET /api/status": (_request, response) => void response.end(JSON.stringify(twins)) };
  await expect(printed(peers, ["alpha"], both)).rejects.toThrow('2 peers go by "alpha": aaaaaaaaaa, bbbbbbbbbb');
});

it("peers and models are documents for programs", async () => {
  const all = JSON.parse((await printed(peers, ["--json"])).out) as { peers: { id: string }[] };
  expect(all.peers.map(({ id }) => id)).toEqual(["bbbbbbbbbb", "aaaaaaaaaa"]);
  expect(JSON.parse((await printed(peers, ["alpha", "--json"])).out)).toMatchObject({ endpoint_id: alpha });
  const { models: list } = JSON.parse((await printed(models, ["--json"])).out) as { models: object[] };
  expect(list).toMatchObject([
    {
      id: "demo",
      context: 4096,
      hosts: [
        { allowed: false, route: "relay" },
        { allowed: true, tier: "vendor" },
      ],
    },
    { id: "own", context: 512, hosts: [{ this_node: true, route: "local", sealed: "local", tier: null }] },
  ]);
});

it("models: how many may be asked, and what may happen to a prompt there", async () => {
  const { out } = await printed(models, []);
  expect(out).toMatch(/^2 models\n/);
  expect(out).toMatch(/demo +1 of 2 hosts +4096 +direct +sealed +vendor\n/);
  expect(out).toMatch(/own +this node +512 +local +local +-\n/);
  const plain = peer(beta ?? "", { sealed: "plain", attestation: { ...nothing, allowed: true, refusal: null } });
  const mixed = { ...status, models: ["demo", "gone"], peers: [peer(alpha ?? ""), plain] };
  const route: Routes = { "GET /api/status": (_request, response) => void response.end(JSON.stringify(mixed)) };
  const text = (await printed(models, [], route)).out;
  expect(text).toMatch(/demo +2 of 2 hosts +4096 +direct +sealed\/plain +vendor\/none\n/);
  expect(text).toMatch(/gone +0 of 0 hosts +- +- +- +-\n/);
  expect(text).toContain("sealmesh explain gone");
});

it("--watch prints a document for each change, and ends when the node does", async () => {
  const changed = { ...status, peers: [] };
  const events = (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const document of [status, status, changed])
      response.write(`event: status\ndata: ${JSON.stringify(document)}\n\n`);
    response.end();
  };
  const { code, out } = await printed(peers, ["--watch", "--json"], { "GET /api/events": events });
  expect(code).toBe(0);
  const lines = out
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { peers: unknown[] }).peers.length);
  expect(lines).toEqual([2, 0]);
});

const entries = [
  { seq: 1, time: "2026-01-02T03:04:05.678Z", level: "debug", entry: { event: "node-stopped" } },
  {
    seq: 2,
    time: "2026-01-02T03:04:05.678Z",
    level: "info",
    entry: { event: "peer-left", peer: alpha, reason: "left" },
  },
  {
    seq: 3,
    time: "2026-01-02T03:04:05.678Z",
    level: "warn",
    entry: { event: "state-not-kept", code: "E_STATE", what: unclean },
  },
];
const kept: Routes = {
  "GET /api/logs": (request, response) => {
    response.writeHead(request.headers.authorization?.startsWith("Bearer ") ? 200 : 401);
    response.end(JSON.stringify({ entries }));
  },
  "GET /api/logs/follow?after=3": (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const seq of [3, 4]) response.write(`event: log\ndata: ${JSON.stringify({ ...entries[1], seq })}\n\n`);
    response.end();
  },
};

it("logs: sentences of the wanted level, without control characters, or entries for programs", async () => {
  const { out } = await printed(logs, [], kept);
  expect(out.split("\n")).toHaveLength(3);
  expect(out).toMatch(/\d\d:\d\d:\d\d aaaaaaaaaa left\n.*warning: \ufffd\]0;owned/);
  expect((await printed(logs, ["--level", "warn"], kept)).out.split("\n")).toHaveLength(2);
  expect((await printed(logs, ["-n", "1"], kept)).out).toMatch(/^\S+ warning/);
  const all = JSON.parse((await printed(logs, ["--level", "debug", "--json"], kept)).out) as { entries: object[] };
  expect(all.entries).toMatchObject([{ seq: 1 }, { seq: 2 }, { seq: 3 }]);
  await rejectsWith("E_USAGE", printed(logs, ["--level", "loud"], kept));
  await rejectsWith("E_USAGE", printed(logs, ["--lines", "-1"], kept));
});

it("logs --follow goes on behind what was kept, once each, until the node ends", async () => {
  const { code, out } = await printed(logs, ["--follow", "--json", "-n", "1"], kept);
  expect(code).toBe(0);
  const seqs = out
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { seq: number }).seq);
  expect(seqs).toEqual([3, 4]);
});

it("logs says where a service's log is when no node answers", async () => {
  const missing = logs.run({ dataDir: tempDir(), console: "1" });
  await expect(missing).rejects.toThrow(process.platform === "darwin" ? /launchd/ : /journalctl/);
});

it("stop asks with the session, and returns when the process has ended", async () => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  const ended = once(child, "exit");
  const asked: string[] = [];
  const routes: Routes = {
    "GET /api/status": (_request, response) => void response.end(JSON.stringify({ ...status, pid: child.pid })),
    "POST /api/stop": (request, response) => {
      asked.push(request.headers.authorization ?? "");
      response.writeHead(202).end(JSON.stringify({ stopping: true }));
      child.kill();
    },
  };
  const { code, out } = await printed(stop, [], routes);
  expect([code, out]).toEqual([0, `laptop has stopped (process ${child.pid})\n`]);
  expect(asked).toEqual([expect.stringMatching(/^Bearer [\w-]{43}$/)]);
  await ended;
});

it("console prints the link with the session of the node of the data directory, and of no other", async () => {
  expect((await printed(consoleCommand, [])).out).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#session=[\w-]{43}\n$/);
  const other = createServer((_request, response) => response.end(JSON.stringify(status))).listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  await rejectsWith("E_INPUT", printed(consoleCommand, ["--console", String(port)]));
  other.close();
});

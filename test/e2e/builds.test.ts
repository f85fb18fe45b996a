/**
 * Known builds over real processes: hosts that measure themselves, one of them with a byte of its program changed, lists
 * that the command line makes and signs, and a revocation that reaches a running client through another member.
 */
import { appendFileSync, cpSync, readFileSync, realpathSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { PeerStatus, Status } from "../../src/node/status.ts";
import { askRaw, until } from "../support/e2e.ts";
import { type EngineProcess, startEngineProcess } from "../support/engine-server.ts";
import {
  launchProcess,
  mainFile,
  type NodeProcess,
  root,
  runCommand,
  startProcess,
  tempDir,
} from "../support/processes.ts";

const model = "scripted";
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

let engine: EngineProcess;
/** Runs what was measured, and takes nobody's lists. */
let good: NodeProcess;
let folder: string;
let key: string;
/** Document of `sealmesh measure --json`. */
let measured: string;
let build: string;

async function sealmesh(...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runCommand(words);
  if (code !== 0) throw new Error(`sealmesh ${words.join(" ")}: ${code}\n${stdout}${stderr}`);
  return stdout;
}

async function digestOf(main: string): Promise<{ readonly text: string; readonly build: string }> {
  const { stdout } = await runCommand(["measure", "--json"], { main });
  return { text: stdout, build: (JSON.parse(stdout) as { build: string }).build };
}

beforeAll(async () => {
  folder = tempDir();
  key = join(folder, "builds.key");
  await sealmesh("builds", "keygen", key);
  const own = await digestOf(mainFile);
  build = own.build;
  measured = join(folder, "measured.json");
  writeFileSync(measured, own.text);
  engine = await startEngineProcess({ models: [model] });
  good = await startProcess(["serve", "--engine", engine.url]);
});

let lists = 0;
/** A list signed with `signWith`; the later ones have higher numbers. */
async function listWith(words: readonly string[], signWith = key): Promise<string> {
  lists += 1;
  const file = join(folder, `list-${lists}.txt`);
  await sealmesh("builds", "sign", ...words, "--key", signWith, "--out", file, "--seq", String(lists));
  return file;
}
const accepting = (): Promise<string> => listWith(["--accept", measured]);
const revoking = (): Promise<string> => listWith(["--accept", measured, "--revoke", build]);

/** A host of another installation, or with more flags. */
async function hostOf(main: string, ...words: readonly string[]): Promise<NodeProcess> {
  const node = await startProcess(["serve", "--engine", engine.url, ...words], { main });
  closers.push(() => node.kill());
  return node;
}

/** A client that goes by a list and has heard from the host which build it runs. */
async function clientOf(hosts: readonly NodeProcess[], list: string, ...more: readonly string[]): Promise<NodeProcess> {
  const joining = hosts.flatMap(({ ready }) => ["--join", ready.invite]);
  const words = ["--allow-builds", list, "--build-keys", `${key}.pub`, ...joining, ...more];
  const node = await startProcess(["client", ...words]);
  closers.push(() => node.kill());
  await until("every host has said which build it runs", async () => {
    const { peers } = await node.status();
    return hosts.every(({ ready }) => peers.find(({ endpoint_id: id }) => id === ready.endpoint_id)?.build?.digest);
  });
  return node;
}

async function ask(node: NodeProcess): Promise<{ status: number; text: string; by: string | null }> {
  const answer = await askRaw(node, { model, max_tokens: 4, messages: [{ role: "user", content: "hello" }] });
  return { status: answer.status, text: await answer.text(), by: answer.headers.get("x-sealmesh-host") };
}

async function expectRefused(node: NodeProcess, rule: string, ...words: readonly string[]): Promise<void> {
  const { status, text } = await ask(node);
  expect([status, text]).toEqual([503, expect.stringContaining(`--allow-builds: ${rule}: `)]);
  for (const word of words) expect(text).toContain(word);
}

async function buildsOf(node: NodeProcess): Promise<NonNullable<Status["builds"]>> {
  const { builds } = await node.status();
  if (!builds) throw new Error("nobody's lists count here");
  return builds;
}

async function peerOf(node: NodeProcess, of: NodeProcess): Promise<PeerStatus | undefined> {
  return (await node.status()).peers.find(({ endpoint_id: id }) => id === of.ready.endpoint_id);
}

describe("a host says, signed, which build it runs", () => {
  it("A5: the one that was measured is asked; one with a byte changed is refused, and its digest named", async () => {
    const changed = join(tempDir(), "changed");
    for (const name of ["dist", "package.json"]) cpSync(join(root, name), join(changed, name), { recursive: true });
    symlinkSync(realpathSync(join(root, "node_modules")), join(changed, "node_modules"));
    appendFileSync(join(changed, "dist/sdk/index.js"), "\n");
    const changedMain = join(changed, "dist/cli/main.js");
    const other = await digestOf(changedMain);
    expect(other.build).not.toBe(build);

    const bad = await hostOf(changedMain);
    const list = await accepting();
    const client = await clientOf([bad], list);
    await expectRefused(client, "build-unknown", other.build);
    expect((await peerOf(client, bad))?.build).toMatchObject({
      digest: other.build,
      by: "self",
      verdict: "unknown-build",
    });
    const beside = await hostOf(changedMain, "--join", good.ready.invite);
    const both = await clientOf([beside, good], list);
    const answer = await ask(both);
    expect([answer.status, answer.by]).toEqual([200, good.ready.endpoint_id]);
    expect((await peerOf(both, good))?.build).toMatchObject({ digest: build, verdict: "accepted" });
    const { stdout, code } = await runCommand(["explain", model, "--url", both.ready.console_url ?? ""]);
    expect(code).toBe(0);
    expect(stdout).toContain(`The host says, signed, that it runs the build ${build}`);
    expect(stdout).toContain(`build-unknown: The host says, signed, that it runs the build ${other.build}`);
    expect((await runCommand(["status", "--verbose", "--url", both.ready.console_url ?? ""])).stdout).toMatch(
      /known builds +list [0-9]+ of [0-9a-f]{40}\.\.\.: in force, [0-9]+ s old, 1 accepted, 0 revoked/,
    );
  });

  it("A5: unknown key, expired, revoked, rolled back: each list is refused for its own reason", async () => {
    // unknown key: the start ends and names it
    const stranger = join(folder, "stranger.key");
    const named = (await sealmesh("builds", "keygen", stranger)).trim();
    const foreign = await listWith(["--accept", measured], stranger);
    const flags = ["client", "--build-keys", `${key}.pub`, "--join", good.ready.invite];
    const { process: refused } = launchProcess([...flags, "--allow-builds", foreign]);
    expect((await refused.exited).code).toBe(78);
    expect(refused.error?.message).toContain(
      `signed by a key or an identity that you do not trust: the key is ${named}`,
    );
    // expired
    const times = ["--not-before", "2020-01-01T00:00:00Z", "--expires", "2020-02-01T00:00:00Z"];
    const expired = await listWith(["--accept", measured, ...times]);
    await expectRefused(
      await clientOf([good], expired),
      "builds-expired",
      "The list of accepted builds has expired at 2020-02-01T00:00:00.000Z.",
    );
    // revoked, and then rolled back to the list before
    const before = await accepting();
    const dataDir = join(tempDir(), "state");
    const first = await clientOf([good], await revoking(), "--data-dir", dataDir);
    await expectRefused(first, "build-revoked", build);
    expect((await first.stop()).code).toBe(0);
    const again = await clientOf([good], before, "--data-dir", dataDir);
    await expectRefused(again, "build-revoked", build);
    expect((await buildsOf(again)).sources[0]?.why).toMatch(
      /^It is older than the list of the same signer that this node knows already: it is number [0-9]+, not [0-9]+\.$/,
    );
  });
});

describe("a revocation", () => {
  it("A5: reaches a running client through members that trust the key, and no older list undoes it", async () => {
    const list = await accepting();
    const carrier = await hostOf(mainFile, "--build-keys", `${key}.pub`);
    const client = await clientOf([carrier], list);
    expect((await ask(client)).status).toBe(200);
    const published = join(folder, "published.txt");
    cpSync(list, published);
    const publisher = await clientOf([carrier], published);
    renameSync(await revoking(), published);
    await client.waitForLine((line) => line.event === "build-list-taken" && line.origin === "gossip");
    await expectRefused(client, "build-revoked", build);
    expect((await buildsOf(client)).lists).toMatchObject([{ origin: "gossip", revoked: 1 }]);
    // somebody who comes with the old list changes nothing for the others, and soon knows better
    const late = await clientOf([carrier], list);
    await until("it has heard of the newer one", async () => (await buildsOf(late)).lists[0]?.origin === "gossip");
    await expectRefused(late, "build-revoked", build);
    await expectRefused(client, "build-revoked", build);
    expect((await publisher.stop()).code).toBe(0);
  });
});

describe("an address", () => {
  it("is asked at the start; one that fails leaves what was known, also after a restart", async () => {
    const text = readFileSync(await accepting(), "utf8");
    const server: Server = createServer((_request, response) => response.end(text));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closers.push(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/builds.txt`;
    const dataDir = join(tempDir(), "state");
    const client = await clientOf([good], url, "--data-dir", dataDir);
    expect((await ask(client)).status).toBe(200);
    expect((await buildsOf(client)).lists).toMatchObject([{ origin: "url" }]);
    await client.stop();
    server.closeAllConnections();
    server.close();
    const again = await clientOf([good], url, "--data-dir", dataDir);
    expect((await ask(again)).status).toBe(200);
    const { lists: held, sources } = await buildsOf(again);
    expect([held[0]?.origin, sources[0]?.why]).toEqual(["disk", expect.stringContaining("does not answer")]);
  });
});

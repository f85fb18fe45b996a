/**
 * Processes that die without a word: nothing of a killed host goes on running, those who asked it learn of it, and it is
 * found again when it comes back under the same identity, with another key and at another address.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type OpenAI from "openai";
import { beforeAll, describe, expect, it } from "vitest";
import type { PeerStatus } from "../../src/node/status.ts";
import {
  answeringHost,
  descendants,
  failureOf,
  isAlive,
  isAnswered,
  isConnected,
  knowsModels,
  openAiFor,
  type Reading,
  readStream,
  startHost,
  until,
} from "../support/e2e.ts";
import { writeRandomModel } from "../support/engine-gguf.ts";
import { type EngineProcess, startEngineProcess } from "../support/engine-server.ts";
import { type NodeProcess, startProcess, tempDir } from "../support/processes.ts";

const messages: OpenAI.Chat.ChatCompletionMessageParam[] = [{ role: "user", content: "Go on" }];

describe("a host with the embedded engine that is killed", () => {
  it("leaves no engine running, not even one that is writing", async () => {
    const endless = join(tempDir(), "endless.gguf");
    await writeRandomModel(endless, { contextLength: 60_000 });
    const host = await startProcess(["serve", "--model", endless, "--ctx-size", "60000"]);
    const [engine] = (await host.status()).engines;
    const below = descendants(host.pid);
    expect(below).toContain(engine?.pid);
    const { words, end } = readStream(
      await openAiFor(host).chat.completions.create({ model: "endless", stream: true, max_tokens: 50_000, messages }),
    );
    await until("it writes", () => words.length > 10);
    expect(await host.kill()).toEqual({ code: null, signal: "SIGKILL" });
    await until("its engine has gone", () => !below.some(isAlive), 3_000);
    expect(await end).toBeInstanceOf(Error);
  });
});

describe("a host that is killed and comes back", () => {
  const dataDir = tempDir();
  let engine: EngineProcess;
  let relay: NodeProcess;
  let relayClient: NodeProcess;
  let directClient: NodeProcess;
  let host: NodeProcess;

  beforeAll(async () => {
    engine = await startEngineProcess();
    host = await startProcess(["serve", "--engine", engine.url, "--data-dir", dataDir]);
    relay = await startProcess(["client", "--join", host.ready.invite]);
    const joining = ["client", "--join", relay.ready.invite];
    [relayClient, directClient] = await Promise.all([
      startProcess([...joining, "--route", "relay"]),
      startProcess(joining),
    ]);
    for (const node of [relayClient, directClient]) await knowsModels(node, "scripted");
    for (const node of [relayClient, directClient]) await answered(node);
  });

  it("is known to be gone: answers under way break off within 6 s, later ones fail and say why", async () => {
    await engine.change({ tokens: 10_000, tokenMs: 50 });
    const readings: Reading[] = [];
    for (const node of [relayClient, directClient]) {
      const stream = await openAiFor(node).chat.completions.create({ model: "scripted", stream: true, messages });
      readings.push(readStream(stream));
    }
    await until("words have come", () => readings.every(({ words }) => words.length > 3));
    await host.kill();
    const killed = performance.now();
    await until("the engine has lost its callers", async () => (await engine.seen()).running === 0, 1_000);
    for (const { end } of readings) expect(await end).toMatchObject({ type: "server_error", code: "timeout" });
    expect(performance.now() - killed).toBeLessThan(6_000);
    await engine.change({ tokens: 5, tokenMs: 0 });

    await Promise.all(
      [relayClient, directClient].map(async (node) => {
        const started = performance.now();
        const failure = await failureOf(openAiFor(node).chat.completions.create({ model: "scripted", messages }));
        expect(performance.now() - started).toBeLessThan(8_000);
        expect(failure.status).toBeGreaterThanOrEqual(502);
        expect(failure.message).toContain(host.ready.endpoint_id.slice(0, 10));
      }),
    );
    await until("its loss is seen", async () => (await peerOf(directClient))?.connected === false, 25_000);
  });

  it("answers again, through the relay too, with the same identity, another key and another address", async () => {
    const before = await keyOf(relayClient);
    rmSync(join(dataDir, "udp-port")); // or it would take the port that it had
    const restart = ["serve", "--engine", engine.url, "--data-dir", dataDir, "--join", relay.ready.invite];
    const back = await startProcess(restart);
    expect(back.ready.endpoint_id).toBe(host.ready.endpoint_id);
    expect(back.ready.invite).not.toBe(host.ready.invite);
    for (const node of [directClient, relayClient]) {
      await until("it answers again", () => answered(node).catch(() => false), 20_000);
      const key = await keyOf(node);
      expect(key).toMatch(/^[0-9a-f]{16}$/);
      expect(key).not.toBe(before);
    }
    // from now on at once: no attempt goes to where it was
    for (const node of [directClient, relayClient, relay]) {
      const started = performance.now();
      await answered(node);
      expect(performance.now() - started).toBeLessThan(1_000);
    }
  });

  it("is forgotten at once when it says goodbye", async () => {
    const leaving = await startProcess(["serve", "--engine", engine.url, "--join", relay.ready.invite]);
    await until("it is known", async () => (await peerOf(relayClient, leaving)) !== undefined);
    expect(await leaving.stop()).toEqual({ code: 0, signal: null });
    for (const node of [relay, directClient, relayClient]) {
      await until("it is forgotten", async () => (await peerOf(node, leaving)) === undefined, 2_000);
    }
  });

  async function answered(node: NodeProcess): Promise<true> {
    const answer = await openAiFor(node).chat.completions.create({ model: "scripted", messages });
    expect(answer.choices[0]?.message.content).toBe("word0 word1 word2 word3 word4");
    return true;
  }

  async function peerOf(node: NodeProcess, peer = host): Promise<PeerStatus | undefined> {
    return (await node.status()).peers.find(({ endpoint_id }) => endpoint_id === peer.ready.endpoint_id);
  }

  async function keyOf(node: NodeProcess): Promise<string | null | undefined> {
    return (await peerOf(node))?.inference_key;
  }
});

describe("a host whose engine dies", () => {
  it("says so within 2 s, and the next request is answered by another one", async () => {
    const hub = await startProcess(["client"]);
    const engine = await startEngineProcess({ models: ["one", "both"] });
    const other = await startEngineProcess({ models: ["both"] });
    const joining = ["--join", hub.ready.invite ?? ""];
    const first = await startProcess(["serve", "--engine", engine.url, ...joining]);
    const second = await startProcess(["serve", "--engine", other.url, ...joining]);
    const client = await startProcess(["client", ...joining]);
    const hostsOf = async (model: string): Promise<readonly string[]> =>
      (await client.status()).peers.flatMap((peer) => (peer.models.includes(model) ? [peer.endpoint_id] : []));
    await until("both hosts are known", async () => (await hostsOf("both")).length === 2);
    await knowsModels(client, "one");
    await engine.kill();
    const since = performance.now();
    expect(await answeringHost(client, "both")).toBe(second.ready.endpoint_id);
    const answeredMs = Math.round(performance.now() - since);
    const listed = async (): Promise<readonly string[]> =>
      (await openAiFor(client).models.list()).data.map(({ id }) => id);
    await until("its model is listed no more", async () => !(await listed()).includes("one"), 2_000);
    console.log(`answered after ${answeredMs} ms, listed no more after ${Math.round(performance.now() - since)} ms`);
    expect(performance.now() - since).toBeLessThan(2_000);
    expect(await hostsOf("both")).toEqual([second.ready.endpoint_id]);
    // the host itself is up
    expect(await isConnected(client, first)).toBe(true);
  });
});

describe("a client that is restarted without an invite", () => {
  it("finds its mesh again, the node of its invite being down", async () => {
    const hub = await startProcess(["client"]);
    const host = await startHost("found", {}, hub);
    const dataDir = tempDir();
    const client = await startProcess(["client", "--join", hub.ready.invite ?? "", "--data-dir", dataDir]);
    await knowsModels(client, "found");
    const kept = join(dataDir, "known-members.json");
    const { endpoint_id: hostId } = host.node.ready;
    await until("the host is kept", () => existsSync(kept) && readFileSync(kept, "utf8").includes(hostId));
    await Promise.all([client.kill(), hub.kill()]);
    const again = await startProcess(["client", "--data-dir", dataDir]);
    const since = performance.now();
    await until("it is answered", () => isAnswered(again, "found"), 15_000);
    console.log(`answered ${Math.round(performance.now() - since)} ms after it was ready`);
    expect(again.ready.endpoint_id).toBe(client.ready.endpoint_id);
  });
});

/** connect() and serve() against each other in this process, over real QUIC on loopback: what they promise beyond the node's own tests. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterEach, describe, expect, test, vi } from "vitest";
import { resolveConfig } from "../../src/node/config.ts";
import { startNode } from "../../src/node/node.ts";
import { connect, type ConnectOptions, isMeshError, type LogEntry, type Mesh } from "../../src/sdk/index.ts";
import { type Host, serve, type ServeOptions } from "../../src/sdk/node.ts";
import { Enclave } from "../support/attested-mesh.ts";
import { scriptedFunction } from "../support/engine-function.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { codeOf } from "../support/expect-code.ts";

const open: { close(): Promise<void> }[] = [];
const directories: string[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const one of open.splice(0).toReversed()) await one.close();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

const loopback = { bind: "127.0.0.1:0" };

function directory(): string {
  const made = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
  directories.push(made);
  return made;
}

async function hostOf(engine: ServeOptions["engine"], more: Partial<ServeOptions> = {}): Promise<Host> {
  const models = typeof engine === "function" ? [{ id: "mine", contextLength: 500 }] : [];
  const host = await serve({ ...loopback, engine, models, ...more });
  open.push({ close: () => host.close({ drainMs: 0 }) });
  return host;
}

async function meshOf(options: ConnectOptions): Promise<Mesh> {
  const mesh = await connect({ ...loopback, ...options });
  open.push(mesh);
  return mesh;
}

function clientOf({ baseURL, fetch }: Mesh): OpenAI {
  return new OpenAI({ baseURL, apiKey: "a secret of this program", fetch, maxRetries: 0 });
}

const ask = { model: "mine", messages: [{ role: "user" as const, content: "hi" }] };

function post(mesh: Mesh, body: object, init: RequestInit = {}): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return mesh.fetch(`${mesh.baseURL}/chat/completions`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    ...init,
  });
}

describe("fetch", () => {
  test("asks sealed, says what became of it, and takes no header of the program along", async () => {
    const seen: Record<string, string>[] = [];
    const scripted = scriptedFunction({ tokens: 4 });
    const host = await hostOf((request) => {
      seen.push(Object.fromEntries(request.headers));
      return scripted.answer(request);
    });
    const mesh = await meshOf({ join: host.invite() });
    expect(await mesh.models()).toEqual([{ id: "mine", contextLength: 500, hosts: [host.endpointId] }]);

    const { data, response } = await clientOf(mesh)
      .chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })
      .withResponse();
    const report = mesh.report(response);
    expect(report.now).toMatchObject({
      host: host.endpointId,
      route: "direct",
      sealed: "sealed",
      tier: "none",
      verdict: [],
    });
    let text = "";
    for await (const chunk of data) text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe("word0 word1 word2 word3");
    expect(await report).toMatchObject({
      ...report.now,
      status: 200,
      code: undefined,
      model: "mine",
      attempts: [{ host: host.endpointId, route: "direct", outcome: "answered", reason: undefined }],
      tokens: { prompt: 1, completion: 4, cached: undefined },
    });
    expect(JSON.stringify(seen)).not.toContain("a secret of this program");
    expect(seen[0]?.["x-sealmesh-asker"]).toBe(mesh.endpointId);
  });

  test("hands every address to the node, and never to a network", async () => {
    const host = await hostOf(scriptedFunction().answer);
    const mesh = await meshOf({ join: host.invite() });
    const elsewhere = vi.spyOn(globalThis, "fetch");
    const asked: readonly (readonly [string | URL | Request, number])[] = [
      ["https://api.openai.com/v1/models", 200],
      [new URL("http://127.0.0.1:1/v1/models/mine"), 200],
      [new Request("https://example.org/v1/models"), 200],
      ["https://example.org/secret?x=1", 404],
      ["http://sealmesh.invalid/v1/files", 404],
    ];
    const statuses = await Promise.all(asked.map(async ([url]) => (await mesh.fetch(url)).status));
    expect(statuses).toEqual(asked.map(([, status]) => status));
    expect(elsewhere).not.toHaveBeenCalled();
    await expect(mesh.fetch("not a url")).rejects.toBeInstanceOf(TypeError);
    await expect(mesh.report(await mesh.fetch(`${mesh.baseURL}/models`))).rejects.toMatchObject({
      code: "E_NOT_FOUND",
    });
  });

  test("a question for the head alone has a body of nothing", async () => {
    const host = await hostOf(scriptedFunction().answer);
    const mesh = await meshOf({ join: host.invite() });
    const answer = await mesh.fetch(`${mesh.baseURL}/models`, { method: "HEAD" });
    expect(answer.status).toBe(405); // with an error's content-length, and nothing behind it
    expect(await answer.text()).toBe("");
  });

  test("a log of the program that throws changes nothing", async () => {
    const written = vi.fn<() => void>(() => {
      throw new Error("the program's disk is full");
    });
    const host = await hostOf(scriptedFunction({ tokens: 2 }).answer);
    const mesh = await meshOf({ join: host.invite(), log: { write: written } });
    expect((await post(mesh, ask)).status).toBe(200);
    expect(written).toHaveBeenCalled();
  });

  test("an abort rejects with the signal's reason, before and in an answer, and frees the engine", async () => {
    const scripted = scriptedFunction({ tokens: 20_000, prefillMs: 20_000 });
    const host = await hostOf(scripted.answer);
    const mesh = await meshOf({ join: host.invite() });
    const idle = (): Promise<void> => vi.waitFor(() => expect(host.status().running).toBe(0), 1_000);
    await expect(post(mesh, ask, { signal: AbortSignal.abort("never mind") })).rejects.toBe("never mind");

    const early = new AbortController();
    const asking = post(mesh, ask, { signal: early.signal });
    await vi.waitFor(() => expect(host.status().running).toBe(1));
    early.abort();
    await expect(asking).rejects.toBe(early.signal.reason);
    await idle();

    scripted.options.prefillMs = 0;
    const late = new AbortController();
    const answer = await post(mesh, { ...ask, stream: true }, { signal: late.signal });
    const reader = answer.body?.getReader();
    await reader?.read();
    const reading = (async () => {
      while (!(await reader?.read())?.done);
    })();
    late.abort();
    await expect(reading).rejects.toBe(late.signal.reason);
    await idle();
    expect(await mesh.report(answer)).toMatchObject({ code: expect.any(String), status: 200 });
  });

  test("nothing is made that is not read, and a reader that leaves frees the engine", async () => {
    const scripted = scriptedFunction({ tokens: 20_000 });
    const host = await hostOf(scripted.answer);
    const mesh = await meshOf({ join: host.invite() });
    const answer = await post(mesh, { ...ask, stream: true });
    const reader = answer.body?.getReader();
    await reader?.read();
    let before = -1;
    // it stands still: what is on the way is bounded by windows and buffers
    await vi.waitFor(
      () => {
        const now = scripted.pulled;
        const stood = now === before;
        before = now;
        expect(stood).toBe(true);
      },
      { timeout: 5_000, interval: 250 },
    );
    expect(scripted.pulled).toBeLessThan(15_000);
    await reader?.cancel();
    await vi.waitFor(() => expect(host.status().running).toBe(0), 1_000);
    expect((await mesh.report(answer)).code).not.toBeUndefined();
  });

  test("an answer that breaks off is an error of its body", async () => {
    const scripted = scriptedFunction({ tokens: 20_000 });
    const host = await hostOf(scripted.answer);
    const mesh = await meshOf({ join: host.invite() });
    const stream = await clientOf(mesh).chat.completions.create({ ...ask, stream: true });
    const reading = (async () => {
      let words = 0;
      for await (const _ of stream) if (++words === 5) scripted.fail();
    })();
    await expect(reading).rejects.toMatchObject({ message: expect.stringContaining("engine") });
  });

  test("close() breaks off what runs, and rejects what comes", async () => {
    const scripted = scriptedFunction({ tokens: 20_000 });
    const host = await hostOf(scripted.answer);
    const mesh = await meshOf({ join: host.invite() });
    const answer = await post(mesh, { ...ask, stream: true });
    const reading = answer.text().catch(codeOf);
    await mesh.close();
    expect(await reading).toBe("E_CLOSED");
    expect(await post(mesh, ask).catch(codeOf)).toBe("E_CLOSED");
    await mesh.close();
  });
});

describe("connect", () => {
  test("demands what its options say, and explains whom it refuses", async () => {
    const host = await hostOf(scriptedFunction().answer);
    const mesh = await meshOf({ join: host.invite(), requireAttestedHosts: "vendor" });
    const answer = await post(mesh, ask);
    const body = (await answer.json()) as { error: { message: string } };
    expect(answer.status).toBe(503);
    const { hosts, kind } = await mesh.explain("mine");
    expect(kind).toBe("model");
    expect(hosts).toMatchObject([{ endpointId: host.endpointId, allowed: false, sealed: undefined, tier: "none" }]);
    expect(body.error.message).toContain("vendor");
    expect((await mesh.report(answer)).attempts).toEqual([]);
    expect(await mesh.explain("nobody's model").catch(codeOf)).toBe("E_MODEL");
  });

  test("says what an attested host has proven, factor by factor", async () => {
    const scripted = await startEngineServer({ models: ["mine"] });
    open.push(scripted);
    const flags = { ...loopback, port: "0", headless: true, dataDir: directory(), engine: [scripted.url] };
    const quiet = { write: () => undefined };
    const host = await startNode(resolveConfig("serve", flags), { log: quiet, collectors: [new Enclave()] });
    open.push({ close: () => host.stop(0) });
    const mesh = await meshOf({ join: host.invite(), requireAttestedHosts: true });
    const answer = await post(mesh, ask);
    expect(answer.status).toBe(200);
    const { now } = mesh.report(answer);
    expect(now).toMatchObject({ host: host.endpointId, tier: "key", evidence: "secure-enclave", sealed: "sealed" });
    expect(now.verdict.length).toBeGreaterThan(3);
    expect(now.verdict).toContainEqual({ factor: "signature", outcome: "pass", sentence: expect.any(String) });
    expect(await answer.text()).toContain("word0");
    expect(await mesh.report(answer)).toMatchObject(now);
  });

  test("two of them in one process are two members, and one directory is for one of them", async () => {
    const host = await hostOf(scriptedFunction().answer);
    const dataDir = directory();
    const [one, other] = await Promise.all([
      meshOf({ join: host.invite(), dataDir }),
      meshOf({ join: host.invite(), dataDir: directory() }),
    ]);
    expect(one.endpointId).not.toBe(other.endpointId);
    expect(await connect({ ...loopback, join: host.invite(), dataDir }).catch(codeOf)).toBe("E_STATE");
    await Promise.all([one, other].map(async (mesh) => expect((await post(mesh, ask)).status).toBe(200)));
    await one.close();
    // the same member again, without an invite
    const again = await meshOf({ dataDir });
    expect(again.endpointId).toBe(one.endpointId);
    expect((await post(again, ask)).status).toBe(200);
  });

  test("without a directory nothing stays on disk", async () => {
    const host = await hostOf(scriptedFunction().answer, { dataDir: directory() });
    const temporary = directory();
    vi.stubEnv("TMPDIR", temporary);
    const mesh = await connect({ ...loopback, join: host.invite() });
    expect(readdirSync(temporary)).toHaveLength(1);
    await mesh.close();
    expect(readdirSync(temporary)).toEqual([]);
    expect(await connect({ join: "no invite" }).catch(codeOf)).toBe("E_INVITE");
    expect(readdirSync(temporary)).toEqual([]);
    expect(process.listeners("exit").filter(({ name }) => name === "removeAll")).toEqual([]);
  });

  test("takes nothing from the environment, and opens no port", async () => {
    const folder = directory();
    writeFileSync(join(folder, "config.toml"), "[policy]\nrequire_hardened = true\n");
    vi.stubEnv("SEALMESH_CONFIG", join(folder, "config.toml"));
    vi.stubEnv("SEALMESH_DATA_DIR", join(folder, "state"));
    vi.stubEnv("SEALMESH_REQUIRE_ATTESTED_HOSTS", "vendor");
    vi.stubEnv("SEALMESH_ROUTE", "nowhere");
    const host = await hostOf(scriptedFunction().answer);
    const listening = (): number => process.getActiveResourcesInfo().filter((name) => /TCPServer/i.test(name)).length;
    const ofTheHost = listening();
    const mesh = await meshOf({ join: host.invite() });
    expect((await post(mesh, ask)).status).toBe(200);
    expect(existsSync(join(folder, "state"))).toBe(false);
    expect(listening()).toBe(ofTheHost);
  });

  test("names the option that is wrong, in the program's words", async () => {
    const host = await hostOf(scriptedFunction().answer);
    const join = host.invite();
    const wrong = { join, route: "sideways" } as unknown as ConnectOptions;
    expect(await connect(wrong).catch((error: Error) => error.message)).toMatch(/^route takes auto, direct or relay/);
    const files = await connect({ join, trustRoots: ["/nowhere.pem"] }).catch((error: unknown) => error);
    expect(files).toMatchObject({ code: "E_CONFIG", message: expect.stringMatching(/^trustRoots: \/nowhere\.pem/) });
    expect(isMeshError(files)).toBe(true);
    await expect(connect({ join, allowHosts: ["ab"] })).rejects.toThrow(/^allowHosts takes whole endpoint ids/);
  });

  test("rejects when nobody of the mesh can be reached, unless it is to wait", async () => {
    const host = await hostOf(scriptedFunction().answer, { openMesh: true });
    const join = host.invite();
    await host.close({ drainMs: 0 });
    const told: LogEntry[] = [];
    const log = { write: (_level: string, entry: LogEntry) => void told.push(entry) };
    const [failed, waiting] = await Promise.all([
      connect({ ...loopback, join }).catch((error: unknown) => error),
      meshOf({ join, waitForMesh: false, log }),
    ]);
    expect(failed).toMatchObject({ code: "E_UNREACHABLE" });
    expect(told.map(({ event }) => event)).toContain("join-failed");
    expect(await waiting.models()).toEqual([]);
    expect((await post(waiting, ask)).status).toBe(404);
  }, 30_000);

  test("a signal gives up connecting, with its own reason", async () => {
    const host = await hostOf(scriptedFunction().answer);
    const controller = new AbortController();
    const connecting = connect({ ...loopback, join: host.invite(), signal: controller.signal });
    controller.abort("changed my mind");
    await expect(connecting).rejects.toBe("changed my mind");
    await expect(connect({ join: "", signal: AbortSignal.abort("at once") })).rejects.toBe("at once");
  });
});

describe("serve", () => {
  test("puts a server behind a URL on the mesh, with its key", async () => {
    const server = await startEngineServer({ tokens: 3, key: "its key" });
    open.push(server);
    const host = await hostOf({ url: server.url, key: "its key" });
    expect(host.models).toEqual(["scripted"]);
    const mesh = await meshOf({ join: host.invite() });
    const answer = await clientOf(mesh).chat.completions.create({ ...ask, model: "scripted" });
    expect(answer.choices[0]?.message.content).toBe("word0 word1 word2");
    expect(host.status()).toMatchObject({ engine: "up", peers: [mesh.endpointId] });
  });

  test("what its function throws is told to nobody", async () => {
    const host = await hostOf(() => {
      throw new Error("my diary");
    });
    const mesh = await meshOf({ join: host.invite() });
    const answer = await post(mesh, ask);
    expect(answer.status).toBe(502);
    expect(await answer.text()).not.toContain("diary");
  });

  test.each<[RegExp, Partial<ServeOptions>]>([
    [/one model at least/, { models: [] }],
    [/the same id/, { models: [{ id: "a" }, { id: "a" }] }],
    [/an id has/, { models: [{ id: "a\u0000" }] }],
    [/whole number of tokens/, { models: [{ id: "a", contextLength: 0.5 }] }],
    [/belong to a function/, { engine: { url: "http://127.0.0.1:1/v1" }, models: [{ id: "a" }] }],
    [/^engine takes a URL/, { engine: { url: "nowhere" }, models: [] }],
    [/^maxRunning takes a number/, { maxRunning: 0 }],
  ])("refuses what cannot be served: %s", async (message, options) => {
    await expect(hostOf(scriptedFunction().answer, options)).rejects.toThrow(message);
  });

  test("close() lets a running exchange finish", async () => {
    const scripted = scriptedFunction({ tokens: 3, prefillMs: 300 });
    const host = await hostOf(scripted.answer);
    const mesh = await meshOf({ join: host.invite() });
    const asking = post(mesh, ask);
    await vi.waitFor(() => expect(host.status().running).toBe(1));
    const closing = host.close();
    const answer = await asking;
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("word2")]);
    await closing;
  });
});

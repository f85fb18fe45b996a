/**
 * The clients of the ecosystem, unchanged, through a client node to a remote sealed host: real
 * processes, real QUIC. Each scenario is asked at the engine itself first, then through the mesh: what the client shows
 * has to be the same. Relays and errors are in openai-client.test.ts: they are no matter of clients.
 */
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { clients } from "../../support/clients-list.ts";
import type { Client, Server } from "../../support/clients.ts";
import { knowsModels } from "../../support/e2e.ts";
import { writeRandomModel } from "../../support/engine-gguf.ts";
import { type EngineProcess, type SeenRequest, startEngineProcess } from "../../support/engine-server.ts";
import { demoModel, type NodeProcess, startProcess, tempDir } from "../../support/processes.ts";
import { type EngineName, type Scenario, scenarios, type WatchedEngine } from "./scenarios.ts";

const models = ["demo", "endless", "scripted", "o3-scripted"];

let engine: EngineProcess;
let embedded: NodeProcess;
let engines: Readonly<Record<EngineName, WatchedEngine>>;
let places: readonly Place[];

interface Place {
  readonly name: string;
  readonly mesh: boolean;
  readonly baseUrl: (engine: EngineName) => string;
}

beforeAll(async () => {
  engine = await startEngineProcess({ models: ["scripted", "o3-scripted"] });
  // writes noise without end, so that an answer can be abandoned while it is being made
  const endless = join(tempDir(), "endless.gguf");
  await writeRandomModel(endless, { contextLength: 60_000 });
  embedded = await startProcess(["serve", "--model", demoModel, "--model", endless, "--ctx-size", "60000"]);
  const joining = ["--join", embedded.ready.invite];
  await startProcess(["serve", "--engine", engine.url, ...joining]);
  const client = await startProcess(["client", ...joining]);
  await knowsModels(client, ...models);
  engines = { scripted: watched(engine), embedded: watchedInside(embedded) };
  // the embedded engine has no port of its own: its host answers for it
  const itself = { scripted: engine.url, embedded: apiOf(embedded) };
  places = [
    { name: "at the engine itself", mesh: false, baseUrl: (name) => itself[name] },
    { name: "through the mesh", mesh: true, baseUrl: () => apiOf(client) },
  ];
});

for (const client of clients) {
  const able = scenarios.filter(({ by }) => by?.(client.at({ baseUrl: "http://nowhere", fetch })) ?? true);

  describe(client.name, () => {
    for (const scenario of able) {
      it(`${scenario.engine} engine: ${scenario.name}`, async () => {
        const expected = scenario.expected(client);
        let first: unknown;
        for (const place of places) {
          if (scenario.onlyThroughMesh && !place.mesh) continue;
          const { result, heads, seen } = await withOptions(scenario, () => ask(client, place, scenario));
          expect(result, place.name).toEqual(expected);
          // what is expected may leave something open
          expect(result, `${place.name}, as before`).toEqual((first ??= result));
          checkHeads(place, scenario, heads);
          if (scenario.engine === "scripted") checkSeen(place, client, seen);
        }
      });
    }
  });
}

describe("the objects themselves", () => {
  const messages = [{ role: "user", content: "Good morning, engine" }];
  const tools = [{ type: "function", function: { name: "f", parameters: { properties: { x: { type: "string" } } } } }];
  it.each([
    ["a chat", "chat/completions", { messages }],
    ["a streamed chat", "chat/completions", { messages, stream: true, stream_options: { include_usage: true } }],
    ["thoughts and tool calls", "chat/completions", { messages, tools, reasoning_effort: "low" }],
    ["streamed ones", "chat/completions", { messages, tools, reasoning_effort: "low", stream: true }],
    ["a completion", "completions", { prompt: "Good morning" }],
    ["a streamed completion", "completions", { prompt: "Good morning", stream: true }],
    ["embeddings", "embeddings", { input: ["one", "two"] }],
    ["embeddings in base64", "embeddings", { input: [[1, 2, 3]], encoding_format: "base64" }],
  ])("are the engine's, but for its machine and what is never twice the same: %s", async (_what, path, request) => {
    await engine.change({ embeddings: "as-asked" });
    const [there, here] = await Promise.all(
      places.map(async ({ baseUrl }) => {
        const body = JSON.stringify({ model: "scripted", ...request });
        return objectsIn(await (await fetch(`${baseUrl("scripted")}/${path}`, { method: "POST", body })).text());
      }),
    );
    await engine.change({ embeddings: null });
    expect(here?.length).toBeGreaterThan(0);
    expect(here).toEqual(there?.map(({ timings: _timings, ...object }) => ({ ...object, model: "scripted" })));
  });
});

/** The JSON of an answer, or of each of its events. Ids and times are left out, and told by their presence. */
function objectsIn(text: string): Record<string, unknown>[] {
  const parts = text.startsWith("data: ") ? text.split("\n\n").map((event) => event.slice("data: ".length)) : [text];
  const objects = parts.filter((part) => part !== "" && part !== "[DONE]");
  return objects.map(
    (json) =>
      JSON.parse(json, (key, value: unknown) => (key === "id" || key === "created" ? typeof value : value)) as Record<
        string,
        unknown
      >,
  );
}

async function ask(client: Client, place: Place, scenario: Scenario): Promise<Asked> {
  const heads: Head[] = [];
  const begun = Date.now();
  const asker = client.at({ baseUrl: place.baseUrl(scenario.engine), fetch: recording(heads) });
  const result = await scenario.run(asker, engines[scenario.engine]).catch((cause: unknown) => {
    throw new Error(`${place.name}: ${String(cause)}`, { cause });
  });
  const { requests } = await engine.seen();
  return { result, heads, seen: requests.filter(({ inference, startedAt }) => inference && startedAt >= begun) };
}

interface Asked {
  readonly result: unknown;
  readonly heads: readonly Head[];
  /** By the scripted engine. */
  readonly seen: readonly Omit<SeenRequest, "body">[];
}

interface Head {
  readonly status: number;
  readonly sealed: string | null;
  readonly route: string | null;
}

/** Looks at the heads of answers as they pass. */
function recording(heads: Head[]): Server["fetch"] {
  return async (...request) => {
    const response = await fetch(...request);
    const header = (name: string): string | null => response.headers.get(`x-sealmesh-${name}`);
    heads.push({ status: response.status, sealed: header("sealed"), route: header("route") });
    return response;
  };
}

/** All went well, and through the mesh it was sealed. */
function checkHeads({ mesh }: Place, scenario: Scenario, heads: readonly Head[]): void {
  const local = scenario.engine === "embedded" ? "local" : null;
  const expected: Head = mesh
    ? { status: 200, sealed: "true", route: "direct" }
    : { status: 200, sealed: local, route: local };
  expect(heads.length > 0).toBe(!scenario.leavesEarly);
  for (const head of heads) expect(head).toEqual(expected);
}

/** Nothing of the caller's own headers came to the engine, and no request but those that every engine understands. */
function checkSeen({ mesh }: Place, { api }: Client, seen: Asked["seen"]): void {
  expect(seen.length).toBeGreaterThan(0);
  const usual = api === "chat" || mesh ? "/v1/chat/completions" : "/v1/responses";
  for (const { headers, path } of seen) {
    expect([usual, "/v1/completions", "/v1/embeddings"]).toContain(path);
    const names = Object.keys(headers).toSorted();
    if (mesh) expect(names).toEqual(["accept", "connection", "content-length", "content-type", "host"]);
    else expect(names).toEqual(expect.arrayContaining(["authorization", "user-agent"]));
  }
}

async function withOptions<T>({ options = {} }: Scenario, work: () => Promise<T>): Promise<T> {
  await engine.change({ ...options });
  try {
    return await work();
  } finally {
    await engine.change({ tokens: 5, tokenMs: 0, prefillMs: 0, cachedTokens: 0, embeddings: null });
  }
}

function watched(scripted: EngineProcess): WatchedEngine {
  return {
    running: async () => (await scripted.seen()).running,
    wasLeft: async () =>
      (await scripted.seen()).requests.findLast(({ inference }) => inference)?.disconnectedAt !== undefined,
  };
}

function watchedInside(node: NodeProcess): WatchedEngine {
  return {
    async running() {
      const { engines: all } = await node.status();
      return all.reduce((sum, { running, waiting }) => sum + running + waiting, 0);
    },
    wasLeft: () => Promise.resolve(undefined),
  };
}

function apiOf(node: NodeProcess): string {
  return `${node.ready.api_url}/v1`;
}

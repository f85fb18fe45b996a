import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { detectEngines, modelsOf } from "../../../src/engine/detect.ts";
import { openAiHttpKind } from "../../../src/engine/openai-http.ts";
import { quiet } from "../../support/engine-ask.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A program that answers these paths with JSON, and 404 otherwise; gives its base URL. */
async function program(routes: Readonly<Record<string, unknown>>, status = 200): Promise<string> {
  const server = createServer((request, response) => {
    const found = routes[request.url ?? ""];
    if (request.method !== "GET") response.writeHead(500);
    else response.writeHead(found === undefined ? 404 : status, { "content-type": "application/json" });
    response.end(JSON.stringify(found ?? { error: "not found" }));
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

const list = (...data: unknown[]): unknown => ({ object: "list", data });

describe("detectEngines", () => {
  test("knows the usual programs, in the order of where it looked", async () => {
    const baseUrls = [
      await program({ "/v1/models": list({ id: "a", owned_by: "library" }), "/api/version": { version: "0.9" } }),
      await program({ "/v1/models": list({ id: "b" }), "/api/v0/models": list({ id: "b" }) }),
      await program({ "/v1/models": list({ id: "c", owned_by: "llamacpp" }) }),
      await program({ "/v1/models": list({ id: "c2" }), "/props": { default_generation_settings: {} } }),
      await program({ "/v1/models": list({ id: "d", owned_by: "vllm" }) }),
      await program({ "/v1/models": list({ id: "d2", owned_by: "sglang" }) }),
      await program({ "/v1/models": list({ id: "d3" }), "/node_id": "a-node" }),
      await program({ "/v1/models": list({ id: "e" }) }),
    ];
    const found = await detectEngines({ baseUrls });
    expect(found.map(({ kind }) => kind)).toEqual([
      "ollama",
      "lm-studio",
      "llama-server",
      "llama-server",
      "vllm",
      "sglang",
      "exo",
      "generic",
    ]);
    expect(found.map(({ baseUrl }) => baseUrl)).toEqual(baseUrls);
    expect(found.every(({ needsKey }) => !needsKey)).toBe(true);
  });

  test("says when a key is needed, and that a llama-server is loading", async () => {
    const locked = await program({ "/v1/models": { error: { message: "Invalid API Key" } } }, 401);
    const loading = await program({ "/v1/models": { error: { message: "Loading model" } } }, 503);
    expect(await detectEngines({ baseUrls: [locked, loading] })).toEqual([
      { kind: "generic", baseUrl: locked, needsKey: true },
      { kind: "llama-server", baseUrl: loading, needsKey: false },
    ]);
  });

  test("leaves out what is not there, says nothing in time, or is something else", async () => {
    const mute = createServer(() => undefined);
    servers.push(mute);
    mute.listen(0, "127.0.0.1");
    await once(mute, "listening");
    const baseUrls = [
      "http://127.0.0.1:9/v1",
      `http://127.0.0.1:${(mute.address() as AddressInfo).port}`,
      await program({ "/v1/models": "a web page" }),
    ];
    const began = performance.now();
    expect(await detectEngines({ baseUrls, timeoutMs: 200 })).toEqual([]);
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

describe("context windows", () => {
  test("are read where an engine writes them, and never the trained length", () => {
    const models = modelsOf([
      { id: "a", meta: { n_ctx: 512, n_ctx_train: 9999 } },
      { id: "b", max_model_len: 1024 },
      { id: "c", max_context_length: 9999 },
      { id: "d", max_model_len: "many" },
      { id: "e", context_length: 2 ** 32 }, // no record could carry it
    ]);
    expect(models.map(({ contextLength }) => contextLength)).toEqual([512, 1024, undefined, undefined, undefined]);
  });

  test("a list from a stranger is bounded, and names are printable", () => {
    const names = [7, "", "x".repeat(300), "evil\u001b[2J", "twice", "twice", "llama3:8b"];
    expect(modelsOf(names.map((id) => ({ id }))).map(({ id }) => id)).toEqual(["twice", "llama3:8b"]);
    expect(modelsOf(Array.from({ length: 5000 }, (_, index) => ({ id: `m${index}` }))).length).toBe(1000);
  });

  test.each([
    [
      "Ollama",
      {
        "/v1/models": list({ id: "a:latest" }, { id: "cold" }),
        "/api/version": { version: "0.9" },
        "/api/ps": { models: [{ name: "a:latest", context_length: 4096 }] },
      },
      [4096, undefined],
    ],
    [
      "LM Studio",
      {
        "/v1/models": list({ id: "a" }),
        "/api/v0/models": list({ id: "a", loaded_context_length: 2048, max_context_length: 9999 }),
      },
      [2048],
    ],
  ])("come from the native list of %s", async (_name, routes, lengths) => {
    const engine = await openAiHttpKind.start({ kind: "openai-http", url: await program(routes) }, quiet);
    expect(engine.models.map(({ contextLength }) => contextLength)).toEqual(lengths);
    await engine.close();
  });
});

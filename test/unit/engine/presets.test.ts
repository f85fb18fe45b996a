import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { LogEvent } from "../../../src/base/log.ts";
import { openAiHttpKind } from "../../../src/engine/openai-http.ts";
import { engineAddress, enginePresets } from "../../../src/engine/presets.ts";
import { codeOf } from "../../support/expect-code.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe("--engine", () => {
  test.each([
    ["vllm", "http://127.0.0.1:8000/v1", "vllm"],
    ["exo", "http://127.0.0.1:52415/v1", "exo"],
    ["llama-rpc=http://10.0.0.5:8080/v1", "http://10.0.0.5:8080/v1", "llama-rpc"],
    ["sglang=https://gpu.example:30000", "https://gpu.example:30000", "sglang"],
    ["http://127.0.0.1:1/v1?a=b", "http://127.0.0.1:1/v1?a=b", undefined],
  ])("%s", (text, url, name) => {
    const address = engineAddress(text);
    expect([address.url, address.preset?.name]).toEqual([url, name]);
  });

  test.each(["vlm", "vllm=", "vllm=10.0.0.5:8000", "vllm=file:///x", "foo=http://127.0.0.1:1", ""])(
    "refuses %j, and names what it takes",
    (text) => {
      let thrown: unknown;
      try {
        engineAddress(text);
      } catch (error) {
        thrown = error;
      }
      expect(codeOf(thrown)).toBe("E_USAGE");
      for (const { name } of enginePresets) expect(String(thrown)).toContain(name);
    },
  );

  test("has no name twice", () => {
    expect(new Set(enginePresets.map(({ name }) => name)).size).toBe(enginePresets.length);
  });
});

/** The front of a cluster: it lists its model as long as it runs, and says of itself whether anything computes behind it. */
async function front(owner: string): Promise<{ url: string; health: number }> {
  const cluster = { url: "", health: 200 };
  const server = createServer((request, response) => {
    if (request.url === "/health") return void response.writeHead(cluster.health).end();
    const list = { object: "list", data: [{ id: "large", owned_by: owner, max_model_len: 8192 }] };
    response.writeHead(request.url === "/v1/models" ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(list));
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cluster.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return cluster;
}

describe("an engine with a name", () => {
  test.each(["vllm", "sglang"])("%s: a cluster that fails as a whole is down, until it is well again", async (name) => {
    const cluster = await front(name);
    const settings = { kind: "openai-http", ...engineAddress(`${name}=${cluster.url}`) } as const;
    const events: LogEvent[] = [];
    const engine = await openAiHttpKind.start(
      {
        kind: "openai-http",
        url: settings.url,
        pollUpMs: 20,
        pollDownMs: 20,
        ...(settings.preset ? { preset: settings.preset } : {}),
      },
      { log: { write: (_, event) => void events.push(event) }, onChange: () => undefined },
    );
    expect(engine.name).toBe(`${name}: ${cluster.url}`);
    expect(engine.models).toEqual([{ id: "large", contextLength: 8192 }]);
    cluster.health = 503;
    await vi.waitFor(() => expect(engine.state).toMatchObject({ kind: "down", why: expect.stringContaining("503") }));
    expect(engine.models).toEqual([]);
    cluster.health = 200;
    await vi.waitFor(() => expect(engine.state.kind).toBe("up"));
    expect(events.map(({ event }) => event)).toEqual(["engine-up", "engine-down", "engine-up"]);
    await engine.close();
  });

  test("says once when another program answers there, and uses it all the same", async () => {
    const cluster = await front("vllm");
    const { preset } = engineAddress("sglang");
    const events: LogEvent[] = [];
    const engine = await openAiHttpKind.start(
      { kind: "openai-http", url: cluster.url, pollUpMs: 10, pollDownMs: 10, ...(preset ? { preset } : {}) },
      { log: { write: (_, event) => void events.push(event) }, onChange: () => undefined },
    );
    expect(engine.models).toHaveLength(1);
    cluster.health = 500;
    await vi.waitFor(() => expect(engine.state.kind).toBe("down"));
    cluster.health = 200;
    await vi.waitFor(() => expect(engine.state.kind).toBe("up"));
    const others = events.filter(({ event }) => event === "engine-other");
    expect(others).toEqual([{ event: "engine-other", engine: engine.name, expected: "sglang", found: "vllm" }]);
    await engine.close();
  });
});

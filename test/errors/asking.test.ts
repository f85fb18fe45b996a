/** What a caller can do wrong, and what it is told when no host can answer. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startEngineServer } from "../support/engine-server.ts";
import { expectLogged, expectRow, send } from "../support/expect-row.ts";
import { eventually, temporaryDirectory, testMesh, type TestNode } from "../support/mesh.ts";
import { asked, attackedMesh, call, clientOf, prompt } from "../support/raw-peer.ts";
import { startApi } from "../unit/node/api-server.ts";

const path = "/v1/chat/completions";
const post = { method: "POST", headers: { "content-type": "application/json" } };

describe("a request that cannot be served as it is", () => {
  let engine: Awaited<ReturnType<typeof startEngineServer>>;
  let node: TestNode;
  beforeEach(async () => {
    engine = await startEngineServer();
    node = await testMesh().start("serve", { engine: [engine.url] });
  });
  afterEach(async () => {
    expect(asked(engine)).toEqual([]);
    await engine.close();
  });

  it("E_INPUT: broken JSON", async () => {
    expectRow(await send(node, path, post, '{"model":'), "E_INPUT");
  });

  it("E_NOT_FOUND: a path that is not there", async () => {
    expectRow(await send(node, "/v1/nothing", post, "{}"), "E_NOT_FOUND");
  });

  it("E_METHOD: GET where an answer is asked for", async () => {
    expectRow(await send(node, path, { method: "GET" }, ""), "E_METHOD");
  });

  it("E_FOREIGN: a name that is not this machine's, as in DNS rebinding", async () => {
    expectRow(await send(node, path, { ...post, headers: { host: "evil.example" } }, "{}"), "E_FOREIGN");
  });

  it("E_TOO_LARGE: refused by its announced length, before it is sent", async () => {
    expectRow(await send(node, path, { ...post, headers: { "content-length": 2 ** 26 + 1 } }), "E_TOO_LARGE");
  });

  it("E_HEAD_TOO_LARGE: headers beyond 64 KiB", async () => {
    const headers = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`x-${index}`, "x".repeat(8_000)]));
    expectRow(await send(node, path, { ...post, headers }, "{}"), "E_HEAD_TOO_LARGE");
  });

  it("E_EXPECT: an expectation other than 100-continue", async () => {
    expectRow(await send(node, path, { ...post, headers: { expect: "a-cup-of-tea" } }, "{}"), "E_EXPECT");
  });

  it("E_SLOW: a body that stops on its way", async () => {
    const { url } = await startApi({}, { timing: { bodyPauseMs: 50 } });
    const headers = { "content-length": 100 };
    expectRow(await send({ apiUrl: url }, path, { ...post, headers }), "E_SLOW");
  });

  it("E_MODEL: a model that nobody serves", async () => {
    expectRow(await call(node, prompt({ model: "other" })), "E_MODEL");
  });
});

describe("a request that the engine cannot do", () => {
  it("E_UNSUPPORTED: embeddings of an engine without them", async () => {
    const engine = await startEngineServer();
    const node = await testMesh().start("serve", { engine: [engine.url] });
    expectRow(await call(node, { model: "scripted", input: "otter" }, "/v1/embeddings"), "E_UNSUPPORTED");
    await engine.close();
  });

  it("E_OVERFLOW: more than the model's context, with the sentence that clients know", async () => {
    const engine = await startEngineServer({ contextSize: 8 });
    const node = await testMesh().start("serve", { engine: [engine.url] });
    const answer = await call(node, { ...prompt(), messages: [{ role: "user", content: "otter ".repeat(9) }] });
    expectRow(answer, "E_OVERFLOW");
    expect(answer.message).toMatch(/^This model's maximum context length is 8 tokens\./);
    await engine.close();
  });
});

describe("nobody answers", () => {
  it("E_UNAUTHORIZED: no key where one is asked for, and a wrong one", async () => {
    const apiKeyFile = join(temporaryDirectory(), "keys");
    writeFileSync(apiKeyFile, "the-otters-own-key-1234\n");
    const node = await testMesh().start("client", { apiKeyFile });
    expectRow(await call(node), "E_UNAUTHORIZED");
    const headers = { authorization: "Bearer the-otters-other-key-99" };
    expectRow(await send(node, "/v1/models", { method: "GET", headers }, ""), "E_UNAUTHORIZED");
    const right = { authorization: "Bearer the-otters-own-key-1234" };
    expect((await send(node, "/v1/models", { method: "GET", headers: right }, "")).status).toBe(200);
  });

  it("E_SESSION: at the console port, the token of an earlier start", async () => {
    const { consoleUrl = "" } = await testMesh().start("client", { headless: false, console: "0" });
    const headers = { authorization: `Bearer ${"A".repeat(43)}` };
    for (const path of ["/api/pins", "/v1/models"]) {
      const answer = await fetch(new URL(path, consoleUrl), { headers });
      expectRow({ status: answer.status, text: await answer.text() }, "E_SESSION");
    }
  });

  it("E_NO_HOST: any model would do, and there is none", async () => {
    const answer = await call(await testMesh().start("client"), prompt({ model: "auto" }));
    expectRow(answer, "E_NO_HOST");
    expect(answer.headers.get("retry-after")).toMatch(/^[0-9]+$/);
  });

  it("E_REFUSED: an old host may be asked in the clear, and not through a relay", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
    const client = await clientOf(mesh, [host], { route: "relay" });
    const answer = await call(client);
    expectRow(answer, "E_REFUSED");
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(host.opened.filter((type) => type === "mesh-llm/1 4")).toEqual([]);
  });

  it("E_BUSY: an engine without a free place, with the time to wait", async () => {
    const error = { message: "no slot", type: "rate_limit_error" };
    const fail = { kind: "status", status: 429, body: { error }, headers: { "retry-after": "7" } } as const;
    const engine = await startEngineServer({ fail });
    const node = await testMesh().start("serve", { engine: [engine.url] });
    const answer = await call(node);
    expectRow(answer, "E_BUSY");
    expect(answer.headers.get("retry-after")).toBe("7");
    await engine.close();
  });

  it("E_DRAINING: a node that is stopping finishes what runs and takes nothing new", async () => {
    const engine = await startEngineServer({ prefillMs: 500 });
    const node = await testMesh().start("serve", { engine: [engine.url] });
    const running = call(node);
    await eventually("the engine works", () => engine.running === 1);
    const stopped = node.stop(5_000);
    expectRow(await call(node), "E_DRAINING");
    expect((await running).status).toBe(200);
    await stopped;
    await engine.close();
  });

  it("E_ABORTED: the caller goes before the answer", async () => {
    const engine = await startEngineServer({ fail: { kind: "hang" } });
    const node = await testMesh().start("serve", { engine: [engine.url] });
    const stop = new AbortController();
    const asking = fetch(`${node.apiUrl}${path}`, { ...post, body: JSON.stringify(prompt()), signal: stop.signal });
    await eventually("the engine works", () => engine.running === 1);
    stop.abort();
    await expect(asking).rejects.toThrow();
    await eventually("it is logged", () => node.events.some(({ event }) => event === "exchange-asked"));
    expectLogged(node, "E_ABORTED");
    await engine.close();
  });
});

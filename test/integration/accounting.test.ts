/** What a node knows of the exchanges of its own callers, and says on its console; nothing of it is content. */
import { describe, expect, it } from "vitest";
import type { ExchangeReport } from "../../src/node/exchanges.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, testMesh, type TestNode } from "../support/mesh.ts";
import { call, prompt, secret } from "../support/raw-peer.ts";

const answered = "They sleep in the reeds.";

async function text(node: TestNode, path: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${node.consoleUrl}${path}`);
  return { status: answer.status, text: await answer.text() };
}

async function hostAndClient(engineUrl: string): Promise<{ host: TestNode; client: TestNode }> {
  const mesh = testMesh();
  const console = { headless: false, console: "0" };
  const host = await mesh.start("serve", { engine: [engineUrl], ...console });
  const client = await mesh.start("client", { join: [host.invite()], ...console });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { host, client };
}

/** The report of an answer, by the id that the caller was told. */
async function reportOf(client: TestNode, id: string | null): Promise<ExchangeReport> {
  await eventually("it is reported", () => client.status().exchanges.recent.some((report) => report.id === id));
  return JSON.parse((await text(client, `/api/exchanges/${id}`)).text) as ExchangeReport;
}

describe("an exchange", () => {
  it("is reported with its host, route and tokens, which the caller of a stream did not ask for", async () => {
    const engine = await startEngineServer({ text: answered, cachedTokens: 2 });
    const { host, client } = await hostAndClient(engine.url);
    const streamed = await call(client, prompt({ stream: true }));
    expect(streamed.text).toContain("reeds");
    expect(streamed.text).not.toContain("usage");
    const report = await reportOf(client, streamed.headers.get("x-request-id"));
    expect(report).toMatchObject({
      path: "/v1/chat/completions",
      model: "scripted",
      status: 200,
      code: null,
      host: host.endpointId,
      sealed: "true",
      route: "direct",
      prompt_tokens: secret.split(" ").length,
      completion_tokens: 5,
      cached_tokens: 2,
    });
    expect(report.attempts).toEqual([expect.objectContaining({ host: host.endpointId, outcome: "answered" })]);
    expect(report.first_token_ms).toBeGreaterThanOrEqual(report.first_byte_ms ?? Number.NaN);
    expect(report.ms).toBeGreaterThanOrEqual(report.first_token_ms ?? Number.NaN);
    const whole = await call(client);
    expect(await reportOf(client, whole.headers.get("x-request-id"))).toMatchObject({
      completion_tokens: 5,
      first_token_ms: null,
    });
    await engine.close();
  });

  it("that failed is reported with its code and what was tried", async () => {
    const body = { error: { message: "out of memory", type: "server_error" } };
    const engine = await startEngineServer({ fail: { kind: "status", status: 500, body } });
    const { client } = await hostAndClient(engine.url);
    const failed = await call(client);
    expect(await reportOf(client, failed.headers.get("x-request-id"))).toMatchObject({
      status: 502,
      code: "engine_error",
      prompt_tokens: null,
      attempts: [{ outcome: "answered" }],
    });
    await engine.close();
  });

  it("is counted at both ends, and no word of it is anywhere on the console", async () => {
    const engine = await startEngineServer({ text: answered });
    const { host, client } = await hostAndClient(engine.url);
    const { headers } = await call(client, prompt({ stream: true }));
    await reportOf(client, headers.get("x-request-id"));
    await call(client, prompt({ model: secret }));
    await eventually("both are reported", () => client.status().exchanges.totals.requests === 2);
    expect(client.status().exchanges.totals).toMatchObject({
      by_outcome: { ok: 1, model_not_found: 1 },
      by_sealing: { sealed: 1, none: 1 },
      completion_tokens: 5,
    });
    const metrics = await text(client, "/metrics");
    expect(metrics.text).toContain('sealmesh_exchanges_asked_total{outcome="ok",sealing="sealed",route="direct"} 1');
    expect(metrics.text).toContain('sealmesh_attempts_total{outcome="answered"} 1');
    expect(metrics.text).toContain("sealmesh_peers 1");
    await eventually("the host has counted", () => host.status().inflight_requests === 0);
    expect((await text(host, "/metrics")).text).toContain('sealmesh_exchanges_answered_total{whole="true"} 1');
    for (const path of ["/api/status", "/api/exchanges", "/metrics"]) {
      for (const node of [host, client]) {
        const said = (await text(node, path)).text;
        for (const word of [...secret.split(" "), ...answered.split(" ")].filter((each) => each.length > 4)) {
          expect(said).not.toContain(word);
        }
      }
    }
    await engine.close();
  });
});

describe("a node", () => {
  it("is ready when it can have an answer, and not before", async () => {
    const engine = await startEngineServer();
    const mesh = testMesh();
    const console = { headless: false, console: "0" };
    const client = await mesh.start("client", console);
    expect(await text(client, "/readyz")).toMatchObject({ status: 503 });
    expect(await text(client, "/healthz")).toMatchObject({ status: 200 });
    await mesh.start("serve", { engine: [engine.url], join: [client.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    expect(await text(client, "/readyz")).toMatchObject({ status: 200 });
    await engine.close();
  });
});

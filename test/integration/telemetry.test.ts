/** What a whole node tells a collector of the exchanges of its callers, and what it does not. */
import { expect, it } from "vitest";
import { startCollector } from "../support/collector.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, testMesh } from "../support/mesh.ts";
import { secret } from "../support/raw-peer.ts";

const answered = "They sleep in the reeds.";
const trace = "4bf92f3577b34da6a3ce929d0e0e4736";

it("a sealed exchange is a span of the caller's trace, without a word of prompt, answer or headers", async () => {
  await using collector = await startCollector();
  const engine = await startEngineServer({ text: answered });
  const mesh = testMesh();
  const host = await mesh.start("serve", { engine: [engine.url] });
  const client = await mesh.start("client", {
    join: [host.invite()],
    otlpEndpoint: collector.url,
    headless: false,
    console: "0",
  });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  const ask = async (model: string, content: string): Promise<void> => {
    const answer = await fetch(`${client.apiUrl}/v1/chat/completions`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        traceparent: `00-${trace}-00f067aa0ba902b7-01`,
        tracestate: "canary-state=1",
        authorization: "Bearer canary-key",
        "user-agent": "canary-agent",
      },
      body: JSON.stringify({ model, messages: [{ role: "user", content }], user: "canary-user", stream: true }),
    });
    await answer.text();
  };
  await ask("scripted", `canary-prompt ${secret}`);
  await ask("canary-model", "canary-prompt");
  await eventually("both are told", () => collector.spans.length === 2);

  const [span, other] = collector.spans;
  expect(span).toMatchObject({ traceId: trace, parentSpanId: "00f067aa0ba902b7", name: "chat scripted" });
  expect(span?.attributes).toMatchObject({
    "server.address": host.endpointId,
    "gen_ai.usage.output_tokens": answered.split(" ").length,
    "sealmesh.sealing": "sealed",
    "sealmesh.tier": "none",
    "sealmesh.attempts": 1,
  });
  expect(other?.attributes).toMatchObject({ "error.type": "model_not_found", "sealmesh.attempts": 0 });
  const told = collector.bodies.join();
  for (const word of ["canary", secret, answered, "reeds"]) expect(told).not.toContain(word);
  // the collector is this node's alone: the host, and what it hands its engine, hear nothing of the trace
  expect(JSON.stringify(engine.requests)).toContain("canary-prompt");
  expect(JSON.stringify(engine.requests)).not.toContain(trace);
  const metrics = await (await fetch(`${client.consoleUrl}/metrics`)).text();
  expect(metrics).toContain('sealmesh_spans_total{outcome="sent"} 2');
  await engine.close();
});

it("/metrics counts a host that policy refused by its rule, and shows it as refused", async () => {
  const engine = await startEngineServer({ text: answered });
  const mesh = testMesh();
  const port = { headless: false, console: "0" };
  const host = await mesh.start("serve", { engine: [engine.url], ...port });
  const client = await mesh.start("client", { join: [host.invite()], requireAttestedHosts: "key", ...port });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  const answer = await fetch(`${client.apiUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "scripted", messages: [{ role: "user", content: "hello" }] }),
  });
  expect(answer.status).toBe(503);
  const metricsOf = async (url: string | undefined): Promise<string> => await (await fetch(`${url}/metrics`)).text();
  const told = await metricsOf(client.consoleUrl);
  for (const line of [
    'sealmesh_refusals_total{rule="no-evidence"} 1',
    'sealmesh_hosts{decision="refuse",tier="none"} 1',
    'sealmesh_exchanges_asked_total{outcome="refused",sealing="none",route="none"} 1',
    'sealmesh_spans_total{outcome="sent"} 0',
  ]) {
    expect(told).toContain(`${line}\n`);
  }
  expect(await metricsOf(host.consoleUrl)).toContain('sealmesh_engines{state="up"} 1\n');
  await engine.close();
});

/** The main job with all parts in one process: client, relay and host, sealed, streamed, on the in-memory network. */
import { mkdirSync, renameSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { LogEvent } from "../../src/base/log.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, temporaryDirectory, type TestMesh, testMesh, type TestNode } from "../support/mesh.ts";

const question = { model: "scripted", messages: [{ role: "user", content: "Where does the otter sleep?" }] };

async function chat(node: TestNode, body: object, signal?: AbortSignal): Promise<Response> {
  return await fetch(`${node.apiUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer secret", cookie: "a=b" },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
}

/** One chat over a bare socket; what came until its end. */
async function rawChat(node: TestNode, version: string): Promise<string> {
  const body = JSON.stringify(question);
  const socket = createConnection(Number(new URL(node.apiUrl).port), "127.0.0.1");
  socket.write(`POST /v1/chat/completions HTTP/${version}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  let text = "";
  for await (const piece of socket) text += String(piece);
  return text;
}

async function threeNodes(
  mesh: TestMesh,
  engineUrl: string,
  route: string,
): Promise<Record<"host" | "relay" | "client", TestNode>> {
  const host = await mesh.start("serve", { engine: [engineUrl], name: "host" });
  const relay = await mesh.start("client", { join: [host.invite()], name: "relay" });
  const client = await mesh.start("client", { join: [relay.invite()], route, name: "client" });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { host, relay, client };
}

describe("the main path", () => {
  it("answers through a relay, sealed, and says who answered and how", async () => {
    const engine = await startEngineServer({ text: "In the reeds." });
    const { host, client, relay } = await threeNodes(testMesh(), engine.url, "relay");
    const answer = await chat(client, question);
    const body = (await answer.json()) as { choices: { message: { content: string } }[] };
    expect(body.choices[0]?.message.content).toBe("In the reeds.");
    expect(answer.headers.get("x-sealmesh-host")).toBe(host.endpointId);
    expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
    expect(answer.headers.get("x-sealmesh-route")).toBe("relay");
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    await eventually("the relay has counted", () => relay.status().relayed.streams === 1);
    expect(client.status().peers.find((peer) => peer.endpoint_id === host.endpointId)).toMatchObject({
      sealed: "sealed",
      route: "relay",
    });
    await engine.close();
  });

  it("answers directly, streams, and the engine sees none of the caller's headers", async () => {
    const engine = await startEngineServer({ tokens: 5 });
    const { client } = await threeNodes(testMesh(), engine.url, "auto");
    const answer = await chat(client, { ...question, stream: true });
    expect(answer.headers.get("x-sealmesh-route")).toBe("direct");
    const text = await answer.text();
    expect(text).toContain("word4");
    expect(text.trimEnd().endsWith("data: [DONE]")).toBe(true);
    const seen = engine.requests.find((request) => request.inference);
    expect(seen?.headers.authorization).toBeUndefined();
    expect(seen?.headers.cookie).toBeUndefined();
    await engine.close();
  });

  it("serves the same surface at the host and at the relay", async () => {
    const engine = await startEngineServer({ text: "yes" });
    const { host, relay } = await threeNodes(testMesh(), engine.url, "auto");
    const local = await chat(host, question);
    expect(local.headers.get("x-sealmesh-sealed")).toBe("local");
    expect(local.headers.get("x-sealmesh-route")).toBe("local");
    expect((await chat(relay, question)).headers.get("x-sealmesh-sealed")).toBe("true");
    const models = (await (await fetch(`${relay.apiUrl}/v1/models`)).json()) as { data: { id: string }[] };
    expect(models.data.map(({ id }) => id)).toEqual(["scripted"]);
    await engine.close();
  });

  it("frees the engine within a second when the caller goes, in prefill and in mid-stream, through a relay", async () => {
    const engine = await startEngineServer({ prefillMs: 60_000 });
    const { client } = await threeNodes(testMesh(), engine.url, "relay");
    for (const options of [{ prefillMs: 60_000 }, { prefillMs: 0, tokens: 1000, tokenMs: 50 }]) {
      Object.assign(engine.options, options);
      const abort = new AbortController();
      const asking = chat(client, { ...question, stream: true }, abort.signal).then(
        async (answer) => await answer.text(),
      );
      await eventually("the engine works", () => engine.running === 1);
      await new Promise((resolve) => setTimeout(resolve, 150));
      abort.abort();
      await asking.catch(() => undefined);
      await eventually("the engine is free", () => engine.running === 0, 1_000);
    }
    await engine.close();
  });

  it("ends visibly broken when the engine breaks off in mid-stream", async () => {
    const engine = await startEngineServer({ tokens: 100, tokenMs: 5, fail: { kind: "cut", afterTokens: 3 } });
    const { client } = await threeNodes(testMesh(), engine.url, "relay");
    const answer = await chat(client, { ...question, stream: true });
    let text = "";
    const reading = (async () => {
      for await (const piece of answer.body as unknown as AsyncIterable<Uint8Array>)
        text += new TextDecoder().decode(piece);
    })();
    await expect(reading).rejects.toThrow();
    expect(text).toContain("word1");
    expect(text.match(/"error"/g)).toHaveLength(1);
    expect(text).not.toContain("[DONE]");
    await engine.close();
  });

  it("finds a host again that was restarted at the same address, without being told", async () => {
    const engine = await startEngineServer({ text: "yes" });
    const mesh = testMesh();
    const dataDir = temporaryDirectory();
    const flags = { engine: [engine.url], dataDir }; // a node comes back on its port
    const host = await mesh.start("serve", flags);
    const client = await mesh.start("client", { join: [host.invite()] });
    expect((await chat(client, question)).status).toBe(200);
    await eventually("the client has met the host", () =>
      client.status().peers.some(({ endpoint_id: id, connected }) => id === host.endpointId && connected),
    );
    await host.stop(0);
    await eventually("the client has heard it", () => client.models().length === 0);
    await mesh.start("serve", flags);
    await eventually("the client has found it", () => client.models().includes("scripted"), 10_000);
    expect((await chat(client, question)).status).toBe(200);
    await engine.close();
  });

  it("finishes what runs when a host stops, and sends new requests elsewhere", async () => {
    const engine = await startEngineServer({ tokens: 20, tokenMs: 40 });
    const { host, client } = await threeNodes(testMesh(), engine.url, "auto");
    const running = await chat(client, { ...question, stream: true });
    const stopped = host.stop(10_000);
    await eventually("it is offered no more", () => client.models().length === 0);
    expect((await chat(client, question)).status).toBe(404);
    expect(await running.text()).toContain("[DONE]");
    await stopped;
    await engine.close();
  });

  it("goes on when its state directory cannot be written any more", async () => {
    const engine = await startEngineServer({ text: "yes" });
    const mesh = testMesh();
    const dataDir = temporaryDirectory();
    const client = await mesh.start("client", { dataDir });
    renameSync(join(dataDir, "key"), join(dataDir, "key.away"));
    mkdirSync(join(dataDir, "shown-keys.json")); // in the way of the file
    const host = await mesh.start("serve", { engine: [engine.url], join: [client.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    expect((await chat(client, question)).status).toBe(200);
    expect(client.events.some(({ event }) => event === "state-not-kept")).toBe(true);
    expect(host.models()).toEqual(["scripted"]);
    await engine.close();
  });

  it("never lets a broken answer look whole to a caller that speaks HTTP/1.0", async () => {
    const engine = await startEngineServer({ text: "complete" });
    const { host } = await threeNodes(testMesh(), engine.url, "auto");
    const whole = await rawChat(host, "1.0");
    expect(whole).toMatch(/^HTTP\/1\.1 200[^]*content-length: \d+[^]*complete/);
    Object.assign(engine.options, { fail: { kind: "cut", afterTokens: 0 } });
    expect(await rawChat(host, "1.0")).toMatch(/^HTTP\/1\.1 502/);
    await engine.close();
  });

  it("tells of an unknown model, of a host that left, and goes on", async () => {
    const engine = await startEngineServer({ text: "yes" });
    const { host, client } = await threeNodes(testMesh(), engine.url, "auto");
    const isOfHost = (event: LogEvent): boolean => "peer" in event && event.peer === host.endpointId;
    // who is connected and has said nothing of itself yet cannot say goodbye either
    await eventually("the client has met the host", () =>
      client.events.some((event) => event.event === "peer-joined" && isOfHost(event)),
    );
    const unknown = await chat(client, { ...question, model: "nobody" });
    expect(unknown.status).toBe(404);
    expect(((await unknown.json()) as { error: { code: string } }).error.code).toBe("model_not_found");
    await host.stop(0);
    await eventually("the client has heard it", () => client.models().length === 0);
    const goodbyes = client.events.filter((event) => event.event === "peer-left" && isOfHost(event));
    expect(goodbyes).toMatchObject([{ reason: "left" }]);
    expect((await chat(client, question)).status).toBe(404);
    await engine.close();
  });
});

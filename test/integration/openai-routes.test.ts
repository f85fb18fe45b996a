/** The routes of the API through the mesh: sealed like chat, and what the host's engine says is what the caller gets. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, testMesh, type TestNode } from "../support/mesh.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** An engine that lists one model and answers whatever it is asked with the path and the body. */
async function mirror(): Promise<string> {
  const server = createServer((request, response) => {
    if (request.method === "GET") return response.end(JSON.stringify({ data: [{ id: "mirror" }] }));
    let body = "";
    request.on("data", (piece) => (body += String(piece)));
    request.on("end", () =>
      response.end(JSON.stringify({ object: "list", path: request.url, body, data: [{}], choices: [{}] })),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

async function post(node: TestNode, path: string, body: object): Promise<Response> {
  return await fetch(node.apiUrl + path, { method: "POST", body: JSON.stringify(body) });
}

/** A host with this engine, and a client that joined by a third node and knows its model. */
async function threeNodes(
  engine: string,
  { model, setting }: { readonly model: string; readonly setting: string },
): Promise<{ readonly host: TestNode; readonly client: TestNode }> {
  const mesh = testMesh();
  const host = await mesh.start("serve", { engine: [engine] });
  const relay = await mesh.start("client", { join: [host.invite()] });
  const client = await mesh.start("client", { join: [relay.invite()], route: setting });
  await eventually("the client knows the model", () => client.models().includes(model));
  return { host, client };
}

describe.each([
  ["auto", "direct"],
  ["relay", "relay"],
])("over the route %s", (setting, route) => {
  it("an engine's embeddings and completions come back sealed, and it gets the bytes that were sent", async () => {
    const { host, client } = await threeNodes(await mirror(), { model: "mirror", setting });
    for (const path of ["/v1/embeddings", "/v1/completions"]) {
      const asked = { model: "mirror", input: "the otter", prompt: "the otter" };
      const answer = await post(client, path, asked);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("x-sealmesh-host")).toBe(host.endpointId);
      expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
      expect(answer.headers.get("x-sealmesh-route")).toBe(route);
      expect(answer.headers.get("x-sealmesh-attempts")).toBe("1");
      expect(await answer.json()).toMatchObject({ object: "list", path, body: JSON.stringify(asked) });
    }
  });

  it("responses are made of chat at the client; the host learns one flat conversation and keeps nothing", async () => {
    const engine = await startEngineServer({ text: "under the weir" });
    closers.push(() => engine.close());
    const { host, client } = await threeNodes(engine.url, { model: "scripted", setting });
    const first = await post(client, "/v1/responses", { model: "scripted", input: "where is the gold?" });
    expect(first.status).toBe(200);
    expect(first.headers.get("x-sealmesh-sealed")).toBe("true");
    const { id, status } = (await first.json()) as { id: string; status: string };
    expect(status).toBe("completed");
    const next = { model: "scripted", input: "how much?", previous_response_id: id, stream: true };
    const second = await post(client, "/v1/responses", next);
    expect(await second.text()).toMatch(/event: response\.completed\n[^\n]*\n\n$/);
    const asked = engine.requests.filter(({ inference }) => inference);
    expect(asked.map(({ path }) => path)).toEqual(["/v1/chat/completions", "/v1/chat/completions"]);
    expect(asked[1]?.body).toMatch(/where is the gold\?.*under the weir.*how much\?/);
    expect(asked[1]?.body).not.toContain(id);
    // another node's conversation is not known here
    const elsewhere = await post(host, "/v1/responses", next);
    expect(elsewhere.status).toBe(400);
    expect(await elsewhere.json()).toMatchObject({ error: { param: "previous_response_id" } });
  });

  it("messages are made of chat at the client; the host learns nothing of who asks", async () => {
    const engine = await startEngineServer({ text: "under the weir" });
    closers.push(() => engine.close());
    const { client } = await threeNodes(engine.url, { model: "scripted", setting });
    const messages = [{ role: "user", content: "where is the gold?" }];
    const asking = { max_tokens: 50, messages, metadata: { user_id: "cormorant-7731" } };
    const whole = await post(client, "/v1/messages", { model: "scripted", ...asking });
    expect(whole.status).toBe(200);
    expect(whole.headers.get("x-sealmesh-sealed")).toBe("true");
    expect(whole.headers.get("x-sealmesh-route")).toBe(route);
    expect(await whole.json()).toMatchObject({ model: "scripted", content: [{ text: "under the weir" }] });
    const streamed = await post(client, "/v1/messages", { model: "auto", ...asking, stream: true });
    expect(await streamed.text()).toMatch(/"model":"scripted"[^]*event: message_stop\n[^\n]*\n\n$/);
    const asked = engine.requests.filter(({ inference }) => inference);
    expect(asked.map(({ path }) => path)).toEqual(["/v1/chat/completions", "/v1/chat/completions"]);
    expect(asked.map(({ body }) => body).join()).not.toContain("cormorant");
    // what the host refuses is told in Anthropic's words
    const long = await post(client, "/v1/messages", {
      model: "scripted",
      max_tokens: 5,
      messages: [{ role: "user", content: "gold ".repeat(5_000) }],
    });
    expect([long.status, await long.json()]).toMatchObject([
      400,
      { type: "error", error: { message: expect.stringMatching(/^prompt is too long: 5000 tokens > 4096 maximum/) } },
    ]);
  });

  it("auto becomes a model before anything leaves, and the engine is never asked for it", async () => {
    const engine = await startEngineServer({ text: "fine" });
    closers.push(() => engine.close());
    const { client } = await threeNodes(engine.url, { model: "scripted", setting });
    const messages = [{ role: "user", content: "hi" }];
    for (const body of [{ messages }, { messages, stream: true }]) {
      const answer = await post(client, "/v1/chat/completions", { model: "auto", ...body });
      expect(answer.status).toBe(200);
      expect(await answer.text()).toContain('"model":"scripted"');
    }
    const response = await post(client, "/v1/responses", { model: "auto", input: "hi" });
    expect(await response.json()).toMatchObject({ model: "scripted" });
    for (const { body } of engine.requests.filter(({ inference }) => inference)) {
      expect(JSON.parse(body)).toMatchObject({ model: "scripted" });
    }
    expect(client.events.flatMap((event) => (event.event === "exchange-asked" ? [event.model] : []))).toEqual(
      Array(3).fill("scripted"),
    );
  });

  it("what the host's engine does not offer is unsupported, a model that nobody has is not found", async () => {
    const engine = await startEngineServer();
    closers.push(() => engine.close());
    const { host, client } = await threeNodes(engine.url, { model: "scripted", setting });
    for (const node of [client, host]) {
      const unsupported = await post(node, "/v1/embeddings", { model: "scripted", input: "the otter" });
      expect(unsupported.status).toBe(400);
      expect(await unsupported.json()).toMatchObject({ error: { code: "unsupported_model_feature", param: "model" } });
      const unknown = await post(node, "/v1/embeddings", { model: "the secret otter", input: "x" });
      expect(unknown.status).toBe(404);
      expect(await unknown.json()).toMatchObject({ error: { code: "model_not_found", param: "model" } });
      const logged = node.events.flatMap((event) => (event.event === "exchange-asked" ? [event.model] : []));
      expect(logged).toEqual(["scripted", ""]);
    }
  });
});

describe("a mesh without models", () => {
  it("names what is missing, and when to come back", async () => {
    const node = await testMesh().start("client");
    const named = await post(node, "/v1/embeddings", { model: "otter", input: "x" });
    expect(named.status).toBe(404);
    expect(await named.json()).toMatchObject({ error: { code: "model_not_found", param: "model" } });
    const auto = await post(node, "/v1/embeddings", { model: "auto", input: "x" });
    expect(auto.status).toBe(503);
    expect(Number(auto.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await auto.json()).toMatchObject({ error: { code: "no_host" } });
  });
});

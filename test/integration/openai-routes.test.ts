/** The routes beside chat through the mesh: sealed like it, and what the host's engine says is what the caller gets. */
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
    request.on("end", () => response.end(JSON.stringify({ object: "list", path: request.url, body })));
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

describe.each([
  ["auto", "direct"],
  ["relay", "relay"],
])("over the route %s", (setting, route) => {
  it("an engine's embeddings, completions and responses come back sealed", async () => {
    const mesh = testMesh();
    const host = await mesh.start("serve", { engine: [await mirror()] });
    const relay = await mesh.start("client", { join: [host.invite()] });
    const client = await mesh.start("client", { join: [relay.invite()], route: setting });
    await eventually("the client knows the model", () => client.models().includes("mirror"));
    for (const path of ["/v1/embeddings", "/v1/completions", "/v1/responses"]) {
      const asked = { model: "mirror", input: "the otter", prompt: "the otter" };
      const answer = await post(client, path, asked);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("x-sealmesh-host")).toBe(host.endpointId);
      expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
      expect(answer.headers.get("x-sealmesh-route")).toBe(route);
      expect(await answer.json()).toMatchObject({ object: "list", path, body: JSON.stringify(asked) });
    }
  });

  it("what the host's engine does not offer is unsupported, a model that nobody has is not found", async () => {
    const engine = await startEngineServer();
    closers.push(() => engine.close());
    const mesh = testMesh();
    const host = await mesh.start("serve", { engine: [engine.url] });
    const relay = await mesh.start("client", { join: [host.invite()] });
    const client = await mesh.start("client", { join: [relay.invite()], route: setting });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
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

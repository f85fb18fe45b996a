/** What a caller's program says in its headers reaches strangers, or what a host says in its own reaches the caller. */
import { request as httpRequest } from "node:http";
import { describe, expect, it } from "vitest";
import { utf8 } from "../../src/base/bytes.ts";
import { encodeRequest, encodeResponse, readRequest, readResponse } from "../../src/tunnel/http.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  attackedMesh,
  chatResponse,
  clientOf,
  openAsk,
  openWith,
  type RawPeer,
  readAnswer,
  sealAsk,
  sendDirect,
} from "../support/raw-peer.ts";
import { startEveryRoute } from "./search.ts";

const mark = "cormorant-7731";

/** As the official clients, proxies and browsers send them, and some that try to be ours. */
const callers: readonly (readonly [string, string])[] = [
  ["authorization", `Bearer sk-${mark}`],
  ["proxy-authorization", `Basic ${mark}`],
  ["api-key", mark],
  ["x-api-key", mark],
  ["anthropic-version", mark],
  ["anthropic-beta", mark],
  ["openai-organization", mark],
  ["openai-project", mark],
  ["cookie", `session=${mark}`],
  ["user-agent", `OpenAI/JS ${mark}`],
  ["x-stainless-lang", mark],
  ["x-stainless-os", mark],
  ["x-stainless-runtime-version", mark],
  ["x-stainless-retry-count", "0"],
  ["referer", `http://127.0.0.1/${mark}`],
  ["x-forwarded-for", `10.0.0.1, ${mark}`],
  ["x-forwarded-host", mark],
  ["forwarded", `for=${mark}`],
  ["x-real-ip", mark],
  ["via", `1.1 ${mark}`],
  ["traceparent", `00-${mark}`],
  ["baggage", mark],
  ["accept-language", mark],
  ["idempotency-key", mark],
  ["x-request-id", mark],
  ["x-custom-thing", mark],
  ["x-sealmesh-from", mark],
  ["x-sealmesh-id", mark],
  ["x-sealmesh-anything", mark],
  ["te", "trailers"],
];

/** What may arrive at a host at all, framing aside. */
const mayArrive = ["accept", "content-type", "host"];
const paths = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"];

const bodies: Readonly<Record<string, object>> = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "hi" }] },
  "/v1/completions": { prompt: "hi" },
  "/v1/embeddings": { input: "hi" },
  "/v1/responses": { input: "hi" },
  "/v1/messages": { max_tokens: 9, messages: [{ role: "user", content: "hi" }], metadata: { user_id: mark } },
};

interface Got {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
}

/** With headers that fetch would not let through. */
async function post(node: TestNode, path: string, headers: readonly (readonly [string, string])[]): Promise<Got> {
  const body = JSON.stringify({ model: "every", ...bodies[path] });
  return await new Promise((resolve, reject) => {
    const sent = httpRequest(node.apiUrl + path, { method: "POST" }, (response) => {
      response.resume();
      response.once("error", () => undefined);
      response.once("close", () => resolve({ status: response.statusCode ?? 0, headers: response.headers }));
    });
    sent.once("error", reject);
    for (const [name, value] of headers) sent.setHeader(name, value);
    sent.setHeader("content-type", "application/json");
    sent.end(body);
  });
}

describe("E3: a caller's headers", () => {
  it.each(["sealing", "reference", "old"] as const)("E3: do not reach a %s host", async (kind) => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind, role: "host", models: ["every"] });
    const seen: (readonly (readonly [string, string])[])[] = [];
    host.handlers.http = async (stream, reader) => {
      if (kind === "old") {
        seen.push((await readRequest(reader)).headers);
        await stream.write(chatResponse("fine"));
        return await stream.finish();
      }
      const exchange = await openAsk(reader, host.key);
      seen.push(exchange.request.headers);
      await answerSealed(stream, exchange, chatResponse("fine"));
    };
    const client = await clientOf(mesh, [host]);
    for (const path of paths) await post(client, path, callers);
    expect(seen.length).toBe(paths.length);
    const own = ["x-sealmesh-v", "x-sealmesh-id", "x-sealmesh-time", "x-sealmesh-to", "x-sealmesh-from"];
    for (const headers of seen) {
      const names = headers.map(([name]) => name);
      expect(names.filter((name) => !mayArrive.includes(name) && !(kind !== "old" && own.includes(name)))).toEqual([]);
      expect(new Set(names).size).toBe(names.length);
      expect(JSON.stringify(headers)).not.toContain(mark);
      expect(headers.find(([name]) => name === "host")?.[1]).toBe("sealmesh");
      if (kind !== "old") expect(headers.find(([name]) => name === "x-sealmesh-from")?.[1]).toBe(client.endpointId);
    }
    expect(host.couldRead(mark)).toBe(false);
  });

  it.each(["direct", "relay"] as const)("E3: do not reach the engine of a host of ours (%s)", async (route) => {
    const mesh = attackedMesh();
    const engine = await startEveryRoute("fine");
    const host = await mesh.start("serve", { engine: [engine.url] });
    const relay = await mesh.start("client", { join: [host.invite()] });
    const client = await mesh.start("client", { join: [relay.invite()], route });
    await eventually("the client knows the model", () => client.models().includes("every"));
    for (const node of [client, host]) {
      for (const path of paths) expect((await post(node, path, callers)).status).toBe(200);
    }
    expect(engine.requests).toHaveLength(2 * paths.length);
    expectOwnHeaders(engine.requests);
    await engine.close();
  });

  it("E3: nor do those that a peer puts inside a sealed request, or into a plain one", async () => {
    const mesh = attackedMesh();
    const engine = await startEveryRoute("fine", {
      "set-cookie": `a=${mark}`,
      server: mark,
      "x-sealmesh-host": mark,
      "access-control-allow-origin": mark,
      "openai-processing-ms": mark,
    });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker: RawPeer = await mesh.raw();
    const connection = await asker.meet(host);
    const headers = callers.filter(([name]) => !name.startsWith("x-sealmesh-"));
    const body = JSON.stringify({ model: "every", ...bodies["/v1/chat/completions"] });
    const ask = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { headers, body });
    const sealed = await readAnswer(await sendDirect(connection, ask.bytes), ask);
    expect(sealed.status).toBe(200);
    const request = encodeRequest({ method: "POST", path: "/v1/chat/completions", headers, body: utf8(body) });
    const plain = await readResponse(await openWith(connection, Uint8Array.of(meshStreams.http), request));
    expect(plain.status).toBe(200);
    expect(engine.requests).toHaveLength(2);
    expectOwnHeaders(engine.requests);
    // and the other way: of what the engine says in its head, an asker sees what it needs
    for (const answer of [sealed, plain]) {
      expect(JSON.stringify(answer.headers)).not.toContain(mark);
      expect(Object.keys(answer.headers).filter((name) => /cookie|server|^x-|access/.test(name))).toEqual([]);
    }
    await engine.close();
  });
});

function expectOwnHeaders(requests: readonly { readonly headers: NodeJS.Dict<string | string[]> }[]): void {
  const framing = ["connection", "content-length", "transfer-encoding"];
  for (const { headers } of requests) {
    expect(JSON.stringify(headers)).not.toContain(mark);
    const more = Object.keys(headers).filter((name) => !mayArrive.includes(name) && !framing.includes(name));
    expect(more).toEqual([]);
  }
}

describe("E3: a host's headers", () => {
  it.each(["sealing", "reference", "old"] as const)("E3: of a %s host do not reach the caller", async (kind) => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind, role: "host", models: ["every"] });
    const hostile = {
      "set-cookie": `session=${mark}`,
      "access-control-allow-origin": `http://${mark}`,
      "access-control-allow-credentials": "true",
      "x-sealmesh-host": mark,
      "x-sealmesh-sealed": mark,
      "x-sealmesh-route": mark,
      "x-sealmesh-attempts": mark,
      "x-sealmesh-time": mark,
      "x-request-id": mark,
      server: mark,
      location: `http://${mark}`,
      link: `<http://${mark}>; rel=preload`,
      "strict-transport-security": `max-age=1; ${mark}`,
      "clear-site-data": `"${mark}"`,
      "alt-svc": mark,
      "www-authenticate": mark,
      "x-anything": mark,
    };
    let status = 200;
    host.handlers.http = async (stream, reader) => {
      const error = utf8(JSON.stringify({ error: { message: "no", type: "invalid_request_error", code: null } }));
      const json = { "content-type": "application/json" };
      const response =
        status === 200 ? chatResponse("fine", hostile) : encodeResponse(status, { ...json, ...hostile }, error);
      if (kind !== "old") return await answerSealed(stream, await openAsk(reader, host.key), response);
      await readRequest(reader);
      await stream.write(response);
      await stream.finish();
    };
    const client = await clientOf(mesh, [host]);
    for (status of [200, 422]) {
      const answer = await post(client, "/v1/chat/completions", []);
      expect(answer.status).toBe(status);
      expect(JSON.stringify(answer.headers)).not.toContain(mark);
      expect(Object.keys(answer.headers).filter((name) => name in hostile && !name.startsWith("x-"))).toEqual([]);
      if (status === 200) {
        expect(answer.headers).toMatchObject({
          "x-sealmesh-host": host.id,
          "x-sealmesh-sealed": String(kind !== "old"),
          "x-sealmesh-route": "direct",
        });
      }
      expect(answer.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    }
  });
});

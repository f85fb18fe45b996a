/**
 * Web pages of other origins, names that were pointed at this machine (DNS rebinding), and programs without the session token
 * try to use the console port: to read, to change something, to follow what happens, to ask a model past the API's key.
 */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request as askHttp, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bearer, readSession } from "../../src/node/session.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { temporaryDirectory, testMesh, type TestNode } from "../support/mesh.ts";

type Fields = Readonly<Record<string, string>>;

interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

const apiKey = "sm-0123456789abcdef";
const chat = JSON.stringify({ model: "scripted", messages: [{ role: "user", content: "hi" }] });
const hostId = "ab".repeat(32);

let engine: ScriptedEngine;
let node: TestNode;
let token: string;
const onStopAsked = vi.fn<() => void>();

// one node for each test: what a test may not change, it must not find changed by another
beforeEach(async () => {
  engine = await startEngineServer({ text: "fine" });
  const dataDir = temporaryDirectory();
  const apiKeyFile = join(dataDir, "keys");
  writeFileSync(apiKeyFile, `${apiKey}\n`, { mode: 0o600 });
  const flags = { engine: [engine.url], headless: false, console: "0", dataDir, apiKeyFile, openMesh: false };
  node = await testMesh().start("serve", flags, undefined, { onStopAsked });
  token = readSession(dataDir)?.token ?? "";
});
afterEach(async () => {
  onStopAsked.mockClear();
  await engine.close();
});

/** One request as a browser or a program sends it; PORT stands for the console's. Reads no further than the first events. */
async function ask(method: string, path: string, headers: Fields = {}, body?: string): Promise<Answered> {
  const url = new URL(path, node.consoleUrl);
  const filled = Object.entries(headers).map(([name, value]) => [name, value.replaceAll("PORT", url.port)]);
  const asking = askHttp(url, { method, headers: Object.fromEntries(filled) as Fields, agent: false });
  asking.end(body);
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  let text = "";
  for await (const piece of answer) {
    text += String(piece);
    if (answer.headers["content-type"]?.startsWith("text/event-stream")) break;
  }
  return { status: answer.statusCode ?? 0, headers: answer.headers, text };
}

const json = { "content-type": "application/json" };

/** Everything that reads or changes something, with what it would take. */
const routes: readonly [string, string, string?][] = [
  ["GET", "/"],
  ["GET", "/api/status"],
  ["GET", "/api/events"],
  ["GET", "/api/exchanges"],
  ["GET", "/api/evidence"],
  ["GET", "/api/policy"],
  ["GET", `/api/attestation/${hostId}`],
  ["GET", "/api/explain/scripted"],
  ["GET", "/api/session"],
  ["GET", "/api/logs"],
  ["GET", "/api/logs/follow"],
  ["GET", "/api/pins"],
  ["POST", `/api/pins/${hostId}`, `{"key":"${"0".repeat(32)}"}`],
  ["DELETE", `/api/pins/${hostId}`],
  ["GET", "/api/invites"],
  ["POST", "/api/invites", "{}"],
  ["POST", "/api/stop"],
  ["GET", "/v1/models"],
  ["POST", "/v1/chat/completions", chat],
  ["GET", "/metrics"],
  ["GET", "/healthz"],
];

/** What a page elsewhere makes a browser send; the page knows the token of this test, as none would. */
const pages: readonly [string, Fields][] = [
  ["a page elsewhere", { host: "localhost:PORT", origin: "https://evil.example", "sec-fetch-site": "cross-site" }],
  ["a name pointed at this machine", { host: "evil.example:PORT", origin: "http://evil.example:PORT" }],
  ["such a name without an origin", { host: "evil.example:PORT", "sec-fetch-site": "same-origin" }],
  ["a name that begins as ours", { host: "localhost.evil.example:PORT" }],
  ["a page of another program here", { host: "localhost:PORT", origin: "http://localhost:5000" }],
  ["a page in a box without an origin", { host: "127.0.0.1:PORT", origin: "null" }],
  ["a page that says https", { host: "127.0.0.1:PORT", origin: "https://127.0.0.1:PORT" }],
  ["an image, a script or a form elsewhere", { host: "127.0.0.1:PORT", "sec-fetch-site": "cross-site" }],
  ["a link of another port", { host: "127.0.0.1:PORT", "sec-fetch-site": "same-site" }],
];

describe("E5: pages of others and the console port", () => {
  it.each(pages)("E5: %s reads nothing and changes nothing, with the session token in hand", async (_what, fields) => {
    const own = { authorization: bearer(token) };
    const invites = (await ask("GET", "/api/invites", own)).text;
    for (const [method, path, body] of routes) {
      const headers = { ...fields, ...json, authorization: bearer(token) };
      const answer = await ask(method, path, headers, body);
      expect([path, answer.status]).toEqual([path, 403]);
      const { error } = JSON.parse(answer.text) as { error: { code: string } };
      expect(error.code).toBe("foreign_origin");
      expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
      expect(answer.text).not.toContain(node.endpointId);
    }
    expect(onStopAsked).not.toHaveBeenCalled();
    expect(engine.requests.filter(({ inference }) => inference)).toEqual([]);
    expect((await ask("GET", "/api/invites", own)).text).toBe(invites);
  });

  it("E5: a browser that asks whether a page may (CORS preflight) gets no leave, of no route", async () => {
    for (const [method, path] of routes) {
      const headers = {
        host: "localhost:PORT",
        origin: "https://evil.example",
        "access-control-request-method": method,
        "access-control-request-headers": "authorization, content-type",
      };
      const answer = await ask("OPTIONS", path, headers);
      expect([path, answer.status]).toEqual([path, 403]);
      expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });

  it("E5: an answer says who may hold it: this port's own page, and no frame, script or window of another", async () => {
    for (const path of ["/", "/api/status", "/v1/models", "/v1/nothing"]) {
      const { headers } = await ask("GET", path, { authorization: bearer(token) });
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
      expect(headers["content-security-policy"]).not.toMatch(/unsafe|https?:|\*/);
      expect(headers["cross-origin-resource-policy"]).toBe("same-origin");
      if (path !== "/") expect(headers["cache-control"]).toBe("no-store");
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });

  it.each(["localhost:PORT", "127.0.0.1:PORT", "[::1]:PORT"])("the console's own page at %s may", async (host) => {
    const own = { host, origin: `http://${host}`, "sec-fetch-site": "same-origin", authorization: bearer(token) };
    expect((await ask("GET", "/api/status", own)).status).toBe(200);
    expect((await ask("GET", "/api/events", own)).text).toMatch(/^event: status\n/);
    expect((await ask("GET", "/api/pins", own)).status).toBe(200);
    expect((await ask("GET", "/v1/models", own)).status).toBe(200);
    expect((await ask("POST", "/api/stop", own)).status).toBe(202);
    await vi.waitFor(() => expect(onStopAsked).toHaveBeenCalledOnce());
  });
});

describe("E5: programs of this machine without the session token", () => {
  const secret = routes.filter(([, path]) => /^\/(?:v1|api\/(?:session|logs|pins|invites|stop))/.test(path));

  it.each<[string, (right: string) => { readonly headers?: Fields; readonly query?: string }]>([
    ["none", () => ({})],
    ["a wrong one", () => ({ headers: { authorization: `Bearer ${"A".repeat(43)}` } })],
    ["one that is nearly right", (right) => ({ headers: { authorization: bearer(`${right.slice(0, -1)}!`) } })],
    ["another scheme", (right) => ({ headers: { authorization: `Basic ${right}` } })],
    ["the right one in the query", (right) => ({ query: `?session=${right}&token=${right}&access_token=${right}` })],
    [
      "the right one in a cookie",
      (right) => ({ headers: { cookie: `session=${right}; authorization=Bearer ${right}` } }),
    ],
    ["the right one in a header of another name", (right) => ({ headers: { "x-session": right, "x-api-key": right } })],
    ["the API's key", () => ({ headers: { authorization: bearer(apiKey) } })],
  ])("E5: %s opens nothing", async (_what, shown) => {
    const { headers = {}, query = "" } = shown(token);
    for (const [method, path, body] of secret) {
      const answer = await ask(method, `${path}${query}`, { ...headers, ...json }, body);
      expect([path, answer.status]).toEqual([path, 401]);
      const { error } = JSON.parse(answer.text) as { error: { code: string } };
      expect(error.code).toBe("invalid_session");
      expect(answer.text).not.toContain(token);
    }
    expect(onStopAsked).not.toHaveBeenCalled();
    expect(engine.requests.filter(({ inference }) => inference)).toEqual([]);
  });

  it("E5: the session token is no key of the API port, and goes no further than the console's", async () => {
    const direct = await fetch(`${node.apiUrl}/v1/models`, { headers: { authorization: bearer(token) } });
    expect(direct.status).toBe(401);
    const through = await ask("POST", "/v1/chat/completions", { ...json, authorization: bearer(token) }, chat);
    expect(through.status).toBe(200);
    const [seen] = engine.requests.filter(({ inference }) => inference);
    expect(seen).toBeDefined();
    expect(JSON.stringify(seen)).not.toContain(token);
    expect(JSON.stringify([...node.events, node.status()])).not.toContain(token);
  });

  it("E5: what smuggles a second request is refused here as at the API port", async () => {
    const headers = { authorization: bearer(token), "transfer-encoding": "gzip, chunked", ...json };
    expect((await ask("POST", "/v1/chat/completions", headers, chat)).status).toBe(400);
  });
});

it("a relay has no API, and none at its console either", async () => {
  const dataDir = temporaryDirectory();
  const relay = await testMesh().start("relay", { headless: false, console: "0", dataDir });
  const headers = { authorization: bearer(readSession(dataDir)?.token ?? ""), ...json };
  const answer = await fetch(new URL("/v1/chat/completions", relay.consoleUrl), {
    method: "POST",
    headers,
    body: chat,
  });
  expect(answer.status).toBe(404);
});

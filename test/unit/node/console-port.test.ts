/** The console port of node:http: probes, which need no routes, and the routes behind them. */
import { once } from "node:events";
import { type IncomingHttpHeaders, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { consolePort } from "../../../src/node/http/console-port.ts";
import { answerHeaders } from "../../../src/node/http/local-only.ts";
import { adminParts } from "./admin-parts.ts";

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

let server: Server;
let isReady = true;

afterEach(() => server.close());

async function ask(path: string, method = "GET", headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const { port } = server.address() as AddressInfo;
  const asking = request({ host: "127.0.0.1", port, path, method, headers, agent: false }).end();
  const [answer] = (await once(asking, "response")) as [import("node:http").IncomingMessage];
  let text = "";
  for await (const piece of answer.setEncoding("utf8")) text += String(piece);
  return { status: answer.statusCode, headers: answer.headers, text };
}

async function listening(): Promise<void> {
  server = consolePort({ ...adminParts(), ready: () => isReady, api: undefined }).listen(0, "127.0.0.1");
  await once(server, "listening");
}

it("says whether the node lives, and whether it can answer", async () => {
  await listening();
  expect(await ask("/healthz")).toMatchObject({ status: 200, text: "ok\n" });
  expect(await ask("/readyz?again")).toMatchObject({ status: 200, text: "ready\n" });
  isReady = false;
  expect(await ask("/readyz")).toMatchObject({ status: 503, text: "no engine is up, and no host is there\n" });
  expect(await ask("/readyz", "HEAD")).toMatchObject({ status: 503, text: "" });
  expect((await ask("/healthz")).status).toBe(200);
  expect((await ask("/readyz", "POST")).status).toBe(404);
});

it("keeps pages of other origins away, from probes too", async () => {
  await listening();
  for (const path of ["/healthz", "/readyz", "/api/status"]) {
    expect((await ask(path, "GET", { host: "evil.example" })).status).toBe(403);
    expect((await ask(path, "GET", { origin: "http://evil.example" })).status).toBe(403);
  }
});

it("has the same headers on every answer", async () => {
  await listening();
  for (const path of ["/healthz", "/api/status", "/nothing"]) {
    const { headers } = await ask(path);
    expect(headers).toMatchObject({ ...answerHeaders, "cache-control": "no-store" });
  }
});

it("answers requests that come together at the start, each with its own", async () => {
  await listening();
  const answers = await Promise.all(["/api/status", "/api/exchanges", "/api/evidence"].map((path) => ask(path)));
  expect(answers.map(({ text }) => Object.keys(JSON.parse(text) as object))).toEqual([
    ["version", "pid"],
    ["exchanges", "totals"],
    ["evidence"],
  ]);
});

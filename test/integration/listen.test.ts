/** A node whose API other machines can reach: keys, TLS, names, and what it says about itself. */
import { writeFileSync } from "node:fs";
import { type IncomingMessage } from "node:http";
import { request } from "node:https";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Flags } from "../../src/node/config.ts";
import { consoleOf } from "../support/console.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, temporaryDirectory, testMesh, type TestNode } from "../support/mesh.ts";
import { certificate, certificateKey } from "../support/tls-files.ts";

const key = "0123456789abcdef-key";

function files(): { readonly apiKeyFile: string; readonly tlsCert: string; readonly tlsKey: string } {
  const folder = temporaryDirectory();
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  return {
    apiKeyFile: file("keys", `${key}\n`),
    tlsCert: file("cert.pem", certificate),
    tlsKey: file("key.pem", certificateKey),
  };
}

interface Answered {
  readonly status: number | undefined;
  readonly protocol: string | null;
  readonly text: string;
}

/** Over TLS, with the test's certificate as the only one that is trusted. */
async function ask(node: TestNode, path: string, options: object = {}, body?: object): Promise<Answered> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { authorization: `Bearer ${key}` };
    const method = body ? "POST" : "GET";
    request(`${node.apiUrl}${path}`, { ca: certificate, headers, method, agent: false, ...options }, resolve)
      .on("error", reject)
      .end(body ? JSON.stringify(body) : undefined);
  });
  let text = "";
  for await (const piece of answer) text += String(piece);
  const { socket } = answer as unknown as { socket: { getProtocol?: () => string | null } };
  return { status: answer.statusCode, protocol: socket.getProtocol?.() ?? null, text };
}

/** With a port of the system's choice. */
const everywhere: Flags = { port: undefined, listen: "0.0.0.0:0" } as unknown as Flags;

describe("TLS", () => {
  it("the API speaks HTTPS with a key, to this machine's callers and through the mesh", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const mesh = testMesh();
    const host = await mesh.start("serve", { ...everywhere, ...files(), engine: [engine.url] });
    expect(host.apiUrl).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const models = await ask(host, "/v1/models");
    expect(models.status).toBe(200);
    expect(models.protocol).toMatch(/^TLSv1\.[23]$/);
    const chat = { model: "scripted", messages: [{ role: "user", content: "hi" }] };
    expect((await ask(host, "/v1/chat/completions", {}, chat)).text).toContain("fine");
    expect((await ask(host, "/v1/models", { headers: {} })).status).toBe(401);
    await expect(ask(host, "/v1/models", { maxVersion: "TLSv1.1", minVersion: "TLSv1" })).rejects.toThrow();
    await expect(fetch(host.apiUrl.replace("https", "http"))).rejects.toThrow();

    // a peer's request enters the same server, sealed, without handshake and key
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const answer = await fetch(`${client.apiUrl}/v1/chat/completions`, { method: "POST", body: JSON.stringify(chat) });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
    expect(await answer.text()).toContain("fine");
    await engine.close();
  });

  it("names: addresses, this machine's, allowed ones, and no others", async () => {
    const node = await testMesh().start("client", { ...everywhere, ...files(), apiName: ["api.example"] });
    for (const [host, status] of [
      ["192.168.7.7:9337", 200],
      ["api.example", 200],
      ["localhost", 200],
      ["evil.example", 403],
    ] as const) {
      const headers = { host, authorization: `Bearer ${key}` };
      expect((await ask(node, "/v1/models", { headers, servername: "localhost" })).status).toBe(status);
    }
  });
});

describe("without TLS", () => {
  it("--insecure-http lets holders of a key in, and nobody else", async () => {
    const { apiKeyFile } = files();
    const node = await testMesh().start("client", { ...everywhere, apiKeyFile, insecureHttp: true });
    expect(node.apiUrl).toMatch(/^http:\/\/127/);
    expect((await fetch(`${node.apiUrl}/v1/models`)).status).toBe(401);
    const headers = { authorization: `Bearer ${key}` };
    expect((await fetch(`${node.apiUrl}/v1/models`, { headers })).status).toBe(200);
  });

  it("a key on loopback is asked for too", async () => {
    const { apiKeyFile } = files();
    const node = await testMesh().start("client", { apiKeyFile });
    expect((await fetch(`${node.apiUrl}/v1/models`)).status).toBe(401);
  });
});

describe("the console", () => {
  it("asks models at its own port; the API port is another origin, and lets it in no more than others", async () => {
    const node = await testMesh().start("client", { headless: false, console: "0" });
    const { origin } = new URL(node.consoleUrl ?? "");
    const own = await consoleOf(node).ask("GET", "/v1/models");
    expect(own.status).toBe(200);
    for (const from of [origin, "http://localhost:1"]) {
      const other = await fetch(`${node.apiUrl}/v1/models`, { headers: { origin: from } });
      expect(other.status).toBe(403);
      expect(other.headers.get("access-control-allow-origin")).toBeNull();
    }
  });

  it("asks models without an API key and without TLS, where the API port demands both", async () => {
    const { apiKeyFile, tlsCert, tlsKey } = files();
    const node = await testMesh().start("client", { apiKeyFile, tlsCert, tlsKey, headless: false, console: "0" });
    expect(node.apiUrl).toMatch(/^https:/);
    expect((await consoleOf(node).ask("GET", "/v1/models")).status).toBe(200);
    expect((await fetch(new URL("/v1/models", node.consoleUrl))).status).toBe(401);
  });
});

describe("--require-encryption", () => {
  it("stands in the status", async () => {
    const mesh = testMesh();
    expect((await mesh.start("client", { requireEncryption: true })).status().plain_allowed).toBe(false);
    expect((await mesh.start("client")).status().plain_allowed).toBe(true);
  });
});

/** The OpenAI server with engines but without a mesh: its routes, its errors, and what it tells the log. */
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import type { Answer, Engine, EngineRequest } from "../../../src/engine/engine.ts";
import { startEngine } from "../../../src/engine/registry.ts";
import { quiet } from "../../support/engine-ask.ts";
import { llamaChildFile } from "../../support/engine-child.ts";
import { writeRandomModel } from "../../support/engine-gguf.ts";
import { chatOf, type ErrorBody, peer, post, raw, startApi, type TestApi } from "./api-server.ts";

const posts = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"];

/** Says which path it was asked, in the form of a chat answer. */
const echo = {
  answer: ({ path }: EngineRequest): Promise<Answer> =>
    Promise.resolve({
      status: 200,
      headers: { "content-type": "application/json" },
      body: (async function* () {
        const message = { role: "assistant", content: path };
        yield utf8(JSON.stringify({ choices: [{ index: 0, message, finish_reason: "stop" }] }));
      })(),
    }),
};

/** What a peer is answered, as HTTP text. */
async function asPeer({ answerPeer }: TestApi, method: string, path: string, body: object): Promise<string> {
  const headers = [["content-type", "application/json"]] as const;
  const request = { method, path, headers, body: utf8(method === "GET" ? "" : JSON.stringify(body)) };
  const source = answerPeer(request, peer, new AbortController().signal);
  let text = "";
  for (let bytes = await source.read(); bytes; bytes = await source.read()) text += fromUtf8(bytes);
  return text;
}

describe("routes", () => {
  it.each(posts)("an engine is asked %s, by this machine and by a peer", async (path) => {
    const api = await startApi({ echo });
    const { url } = api;
    const { response, json } = await post(url, path, chatOf("echo", { input: "hi" }));
    expect(response.headers.get("x-sealmesh-sealed")).toBe("local");
    expect(response.headers.get("x-sealmesh-attempts")).toBe("0");
    // an engine is never asked for responses: they are made of chat
    const askedFor = path === "/v1/responses" ? "/v1/chat/completions" : path;
    expect(JSON.stringify(json)).toContain(`"${askedFor}"`);
    expect(json).toMatchObject(path === "/v1/responses" ? { object: "response" } : { choices: [{}] });
    const toPeer = await asPeer(api, "POST", path, chatOf("echo", { input: "hi" }));
    expect(toPeer).toMatch(/^HTTP\/1\.1 200 /);
    expect(toPeer).toContain(`"${askedFor}"`);
  });

  it.each(posts)("%s needs a known model and POST", async (path) => {
    const api = await startApi({ echo });
    const { url } = api;
    for (const body of [{}, { model: "" }, { model: 7 }]) {
      const { response, json } = await post(url, path, body);
      expect(response.status).toBe(400);
      expect(json.error).toMatchObject({ param: "model", type: "invalid_request_error" });
    }
    const unknown = await post(url, path, chatOf("nobody", { input: "hi" }));
    expect(unknown.response.status).toBe(404);
    expect(unknown.json.error).toMatchObject({ code: "model_not_found", param: "model" });
    // known to the mesh, but a peer's request is never passed on
    expect(await asPeer(api, "POST", path, chatOf("remote", { input: "hi" }))).toMatch(
      /^HTTP\/1\.1 404 [^]*model_not_found/,
    );
    expect((await post(url, path, chatOf("remote", { input: "hi" }))).json.error.code).toBe("no_host");
    expect((await fetch(url + path)).status).toBe(405);
  });

  it.each(["/v1/files", "/v1/embeddings/", "/v1/chat", "/embeddings", "/api/status", "/"])(
    "%s is a 404 with an error object, for all",
    async (path) => {
      const api = await startApi({ echo });
      const { url } = api;
      const { response, json } = await post(url, path, { model: "echo" });
      expect(response.status).toBe(404);
      expect(json.error).toMatchObject({ code: "not_found", type: "invalid_request_error" });
      expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
      for (const method of ["GET", "POST"]) {
        expect(await asPeer(api, method, path, { model: "echo" })).toMatch(/^HTTP\/1\.1 404 [^]*"not_found"/);
      }
    },
  );
});

describe("the embedded engine", () => {
  const folder = mkdtempSync(join(tmpdir(), "sealmesh-openai-"));
  let engine: Engine;
  beforeAll(async () => {
    const modelPath = join(folder, "tiny.gguf");
    await writeRandomModel(modelPath, { contextLength: 512 });
    engine = await startEngine({ kind: "llama", modelPath, childFile: await llamaChildFile(), threads: 1 }, quiet);
  }, 30_000);
  afterAll(async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("says of a chat model that it has no embeddings or tools", async () => {
    const api = await startApi({ tiny: engine });
    const { url, reports } = api;
    const path = "/v1/embeddings";
    const refused = await post(url, path, { model: "tiny", input: "hi" });
    expect(refused.response.status).toBe(400);
    expect(refused.json.error).toMatchObject({ code: "unsupported_model_feature", param: "model" });
    expect(await asPeer(api, "POST", path, { model: "tiny" })).toMatch(/^HTTP\/1\.1 400 [^]*unsupported_model/);
    const messages = [{ role: "user", content: "hi" }];
    const tools = [{ type: "function", function: { name: "f" } }];
    const { json } = await post(url, "/v1/chat/completions", { model: "tiny", messages, tools });
    expect(json.error).toMatchObject({ code: "unsupported_model_feature", param: "tools" });
    await vi.waitFor(() => expect(reports).toHaveLength(2));
    expect(reports.map(({ model, error }) => [model, error?.code])).toEqual(Array(2).fill(["tiny", "E_UNSUPPORTED"]));
  });
});

describe("what a caller writes as a model", () => {
  const secret = "my password is hunter2";

  it("reaches the log only if it is a model of the mesh", async () => {
    const { url, reports } = await startApi({ echo });
    for (const model of ["echo", "remote", secret]) await post(url, "/v1/chat/completions", chatOf(model));
    await vi.waitFor(() => expect(reports).toHaveLength(3));
    expect(reports.map(({ model }) => model)).toEqual(["echo", "remote", ""]);
    expect(reports.map(({ error }) => error?.code)).toEqual([undefined, "E_NO_HOST", "E_MODEL"]);
  });

  it("is repeated to it clean and short", async () => {
    const api = await startApi();
    const { url } = api;
    const model = `\u001b[2J\n\u202e${"x".repeat(100_000)}`;
    const { message } = (await post(url, "/v1/chat/completions", chatOf(model))).json.error;
    expect(message).toContain(`"\ufffd[2J\ufffd\ufffd${"x".repeat(94)}…"`);
    const shown = (await (
      await fetch(`${url}/v1/models/${encodeURIComponent(model.slice(0, 300))}`)
    ).json()) as ErrorBody;
    for (const text of [message, shown.error.message]) {
      expect(text.length).toBeLessThan(300);
      expect(text).not.toMatch(/[\p{Cc}\u202e]/u);
    }
    const toPeer = await asPeer(api, "POST", "/v1/embeddings", { model });
    expect(toPeer).toContain("model_not_found");
    expect(toPeer.length).toBeLessThan(800);
    const path = (await (await fetch(`${url}/${"y".repeat(5_000)}`)).json()) as ErrorBody;
    expect(path.error.message.length).toBeLessThan(300);
  });
});

describe("a refused request", () => {
  it("leaves the connection to the next one, if nothing of it is still to come", async () => {
    const { port } = await startApi({ echo });
    const head = (line: string, more = "") => `${line} HTTP/1.1\r\nhost: localhost\r\n${more}\r\n`;
    const last = head("GET /v1/models", "connection: close\r\n");
    for (const refused of ["GET /v1/models/none", "GET /nothing", "HEAD /v1/models"]) {
      const { all } = await raw(port, head(refused) + last);
      expect(all.match(/HTTP\/1\.1 \d+/g)).toEqual([expect.stringMatching(/ 40[45]$/), "HTTP/1.1 200"]);
      expect(all.split("\r\n\r\n")[1]).toMatch(refused.startsWith("HEAD") ? /^HTTP/ : /^\{"error"/);
    }
    const upload = "content-length: 3\r\n";
    expect((await raw(port, head("POST /nothing", upload) + last)).all.match(/HTTP\/1\.1 \d+/g)).toHaveLength(1);
  });
});

describe("what is no HTTP", () => {
  const chunked = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
  it.each([
    ["noise", "\u0016\u0003\u0001 hello\r\n\r\n", 400],
    ["a broken head", "GET /v1/models HTTP/1.1\r\nhost localhost\r\n\r\n", 400],
    ["two lengths", "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400],
    ["a broken body", `${chunked}zz\r\n`, 400],
    ["no Host", "GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n", 400],
    ["a head without end", `GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(300_000)}`, 431],
  ])("%s is answered with an error object", async (_name, text, status) => {
    const { port } = await startApi({ echo });
    const { head, body } = await raw(port, text);
    const lines = head.split("\r\n");
    expect(lines[0]).toMatch(new RegExp(`^HTTP/1.1 ${status} [A-Z]`));
    expect(lines.map((line) => line.toLowerCase())).toEqual(
      expect.arrayContaining([
        "content-type: application/json",
        "connection: close",
        `content-length: ${body.length}`,
        expect.stringMatching(/^x-request-id: [0-9a-f-]{36}$/),
      ]),
    );
    expect((JSON.parse(body) as ErrorBody).error).toEqual({
      message: expect.stringMatching(/./) as unknown,
      type: "invalid_request_error",
      param: null,
      code: status === 431 ? "payload_too_large" : "invalid_value",
    });
  });

  it("never writes it into the midst of an answer", async () => {
    let more: () => void = () => undefined;
    const slow = {
      answer: (): Promise<Answer> =>
        Promise.resolve({
          status: 200,
          headers: { "content-type": "application/json" },
          body: (async function* () {
            yield utf8("begun");
            await new Promise<void>((resolve) => (more = resolve));
          })(),
        }),
    };
    const { port } = await startApi({ slow });
    const socket = connect(port, "127.0.0.1");
    const ended = once(socket, "close");
    let text = "";
    socket.on("data", (piece) => (text += String(piece)));
    const body = JSON.stringify({ model: "slow" });
    socket.write(`POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    await vi.waitFor(() => expect(text).toContain("begun"));
    socket.write("no HTTP\r\n\r\n");
    await ended;
    more();
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(text).not.toContain("invalid_value");
  });

  it("lets go of a client that is told and does not leave", async () => {
    const { port, server } = await startApi();
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.resume();
    socket.on("error", () => undefined);
    const writing = setInterval(() => socket.write("more noise\r\n"), 50);
    await new Promise((resolve) => socket.once("close", resolve));
    clearInterval(writing);
    const connections = await new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
    expect(connections).toBe(0);
  });
});

/** /v1/messages at the API port: asked of an engine as chat, told in Anthropic's words, failures included. */
import { describe, expect, it, vi } from "vitest";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { Json } from "../../../src/base/json.ts";
import { keyHashes } from "../../../src/node/api-keys.ts";
import { overflowError } from "../../../src/openai/overflow.ts";
import { engineOf, events, open, peer, raw, startApi, type TestApi } from "./api-server.ts";

const path = "/v1/messages";
const answer = { choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }] };
const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 };
const word = 'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n';
const finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';
const counted = `data: ${JSON.stringify({ choices: [], usage })}\n\n`;

const asking = (model: string, more: object = {}): object => ({
  model,
  max_tokens: 20,
  messages: [{ role: "user", content: "one" }],
  ...more,
});

interface Told {
  readonly response: Response;
  readonly json: { readonly type: string; readonly error: Json; readonly request_id: string };
}

async function post(
  { url }: TestApi,
  body: object | string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Told> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(`${url}${path}?beta=true`, { method: "POST", body: text, headers });
  return { response, json: (await response.json()) as Told["json"] };
}

describe("/v1/messages", () => {
  it("asks for chat, answers a message, and counts like every exchange", async () => {
    const engine = engineOf([JSON.stringify({ ...answer, usage })]);
    const api = await startApi({ scripted: engine });
    const own = { system: "Be brief.", metadata: { user_id: "somebody" }, stop_sequences: ["END"] };
    const { response, json } = await post(api, asking("scripted", own), { "anthropic-version": "2023-06-01" });
    expect(json).toMatchObject({ type: "message", model: "scripted", content: [{ type: "text", text: "hi" }] });
    expect(response.headers.get("request-id")).toBe(response.headers.get("x-request-id"));
    expect(response.headers.get("x-sealmesh-sealed")).toBe("local");
    expect(engine.asked[0]?.path).toBe("/v1/chat/completions");
    expect(engine.asked[0]?.json).toEqual({
      model: "scripted",
      max_tokens: 20,
      stop: ["END"],
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "one" },
      ],
    });
    await vi.waitFor(() => expect(api.reports).toHaveLength(1));
    expect(api.reports[0]).toMatchObject({ path, status: 200, prompt_tokens: 3, completion_tokens: 1, code: null });
  });

  it("streams message events with the usage of the engine", async () => {
    const api = await startApi({ scripted: engineOf([word, finish, counted], { contentType: events }) });
    const response = await fetch(api.url + path, {
      method: "POST",
      body: JSON.stringify(asking("scripted", { stream: true })),
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const text = await response.text();
    const types = [...text.matchAll(/^event: (.*)$/gm)].map((match) => match[1]);
    expect(types[0]).toBe("message_start");
    expect(types.slice(-2)).toEqual(["message_delta", "message_stop"]);
    expect(text).toContain('"input_tokens":3');
    await vi.waitFor(() => expect(api.reports.map((report) => report.completion_tokens)).toEqual([1]));
  });

  it("that breaks off ends in one error event, uncleanly, and the report has its code", async () => {
    const failure = new MeshError("E_TRUNCATED", "cut");
    const api = await startApi({ scripted: engineOf([word], { contentType: events, failure }) });
    const caller = open(api.port);
    const body = JSON.stringify(asking("scripted", { stream: true }));
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`;
    caller.socket.write(head + body);
    await caller.closed;
    const types = [...caller.text.matchAll(/^event: (.*)$/gm)].map((match) => match[1]);
    expect(types).toEqual(["message_start", "ping", "content_block_start", "content_block_delta", "error"]);
    // of a chunked body, the end is what says that it is whole
    expect(caller.text).toMatch(/\r\ntransfer-encoding: chunked\r\n/i);
    expect(caller.text).not.toMatch(/\r\n0\r\n\r\n$/);
    await vi.waitFor(() => expect(api.reports.map(({ code }) => code)).toEqual(["truncated"]));
  });
});

describe("a peer", () => {
  it("is answered by this machine's engines, in the same words", async () => {
    const { answerPeer } = await startApi({ scripted: engineOf([JSON.stringify(answer)]) });
    const ask = async (model: string): Promise<string> => {
      const body = utf8(JSON.stringify(asking(model)));
      const source = answerPeer({ method: "POST", path, headers: [], body }, peer, new AbortController().signal);
      let text = "";
      for (let bytes = await source.read(); bytes; bytes = await source.read()) text += fromUtf8(bytes);
      return text;
    };
    const answered = await ask("scripted");
    expect(answered).toMatch(/^HTTP\/1\.1 200 [^]*"type":"message"/);
    expect(answered).not.toMatch(/request-id/i);
    // known to the mesh, but a peer's request is never passed on
    expect(await ask("remote")).toMatch(/^HTTP\/1\.1 404 [^]*"type":"not_found_error"/);
  });
});

describe("errors", () => {
  it.each<[string, number, string, string]>([
    ["{", 400, "invalid_request_error", "invalid_value"],
    ['{"model":"scripted","model":"other"}', 400, "invalid_request_error", "invalid_value"],
    ["[]", 400, "invalid_request_error", "invalid_value"],
    [JSON.stringify(asking("scripted", { max_tokens: null })), 400, "invalid_request_error", "invalid_value"],
    [
      JSON.stringify(asking("scripted", { tools: [{ type: "bash_20250124", name: "bash" }] })),
      400,
      "invalid_request_error",
      "unsupported_model_feature",
    ],
    [JSON.stringify(asking("nobody")), 404, "not_found_error", "model_not_found"],
  ])("%s is %d %s", async (body, status, type, code) => {
    const { response, json } = await post(await startApi({ scripted: engineOf([]) }), body);
    expect([response.status, json.type]).toEqual([status, "error"]);
    expect(json.error).toMatchObject({ type, message: expect.stringMatching(/\w/), details: { error_code: code } });
    expect(json.request_id).toBe(response.headers.get("request-id"));
    expect(response.headers.get("x-should-retry")).toBe("false");
  });

  it.each<[MeshError, number, string, string | null]>([
    [new MeshError("E_NO_HOST", "nobody", { retryAfterSeconds: 5 }), 503, "overloaded_error", "5"],
    [new MeshError("E_BUSY", "busy", { retryAfterSeconds: 2 }), 429, "rate_limit_error", "2"],
    [new MeshError("E_REFUSED", "policy says no"), 503, "api_error", null],
    [overflowError({ limitTokens: 8, promptTokens: 9 }), 400, "invalid_request_error", null],
  ])("%s of the mesh", async (failure, status, type, retryAfter) => {
    const api = await startApi({}, { ask: () => Promise.reject(failure) });
    const { response, json } = await post(api, asking("remote"));
    expect(response.status).toBe(status);
    expect(json.error["type"]).toBe(type);
    expect(json.error["message"]).toContain(failure.message);
    expect(response.headers.get("retry-after")).toBe(retryAfter);
    expect(response.headers.get("x-should-retry")).toBe(retryAfter === null ? "false" : null);
  });

  it("before the body is read are Anthropic's too, and on no other route", async () => {
    const gate = {
      scheme: "http",
      names: new Set<string>(),
      addresses: false,
      keyHashes: keyHashes("sm-0123456789abcdef", "--api-key-file"),
      consolePort: () => undefined,
    } as const;
    const api = await startApi({ scripted: engineOf([JSON.stringify(answer)]) }, { gate });
    const { response, json } = await post(api, asking("scripted"));
    expect(response.status).toBe(401);
    expect(json).toMatchObject({ type: "error", error: { type: "authentication_error" } });
    const chat = await fetch(`${api.url}/v1/chat/completions`, { method: "POST", body: "{}" });
    expect(await chat.json()).toMatchObject({ error: { type: "authentication_error", code: "invalid_api_key" } });
    // as an upload that nobody wants any more, on a bare socket
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n`;
    const refused = await raw(api.port, `${head}x-api-key: sm-0123456789abcdef\r\n\r\n`);
    expect(refused.head).toMatch(/^HTTP\/1\.1 413 /);
    expect(refused.head).toMatch(/\r\nrequest-id: /);
    expect(JSON.parse(refused.body)).toMatchObject({ type: "error", error: { type: "request_too_large" } });
    expect((await post(api, asking("scripted"), { "x-api-key": "sm-0123456789abcdef" })).response.status).toBe(200);
  });

  it("tokens are not counted before asking, and the answer says where they are", async () => {
    const api = await startApi({ scripted: engineOf([]) });
    const response = await fetch(`${api.url}${path}/count_tokens`, { method: "POST", body: "{}" });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      type: "error",
      error: { type: "not_found_error", message: expect.stringContaining("does not count tokens") },
    });
  });
});

describe("models", () => {
  it("are listed and shown in Anthropic's form to its clients", async () => {
    const { url } = await startApi({ "org/repo:Q4": engineOf([]) });
    const headers = { "anthropic-version": "2023-06-01" };
    const model = {
      type: "model",
      display_name: "org/repo:Q4",
      id: "org/repo:Q4",
      created_at: "1970-01-01T00:00:00.000Z",
    };
    const list: unknown = await (await fetch(`${url}/v1/models`, { headers })).json();
    expect(list).toMatchObject({
      data: [model, { id: "remote" }],
      has_more: false,
      first_id: model.id,
      last_id: "remote",
    });
    expect(await (await fetch(`${url}/v1/models/org/repo:Q4`, { headers })).json()).toEqual(model);
    const unknown = await fetch(`${url}/v1/models/nobody`, { headers });
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { error: { type: "not_found_error" } }]);
    expect(await (await fetch(`${url}/v1/models`)).json()).toMatchObject({ object: "list" });
  });
});

/** One request through the API: what the engine gets, what the caller gets, how failures end, what the report says. */
import { describe, expect, it, vi } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { Signal } from "../../../src/base/signal.ts";
import type { Asked, AskRequest } from "../../../src/exchange.ts";
import { AskError, type Attempt } from "../../../src/mesh/attempt.ts";
import { chatOf, engineOf, events, open, post, raw, self, startApi } from "./api-server.ts";

const path = "/v1/chat/completions";
const host = endpointId("cc".repeat(32));
const role = 'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n';
const word = 'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n';
const finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';
const usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n';
const done = "data: [DONE]\n\n";

async function text(
  url: string,
  route: string,
  body: object,
): Promise<{ text: string; whole: boolean; response: Response }> {
  const response = await fetch(url + route, { method: "POST", body: JSON.stringify(body) });
  const decoder = new TextDecoder();
  let read = "";
  try {
    for await (const piece of response.body ?? []) read += decoder.decode(piece as Uint8Array, { stream: true });
    return { text: read, whole: true, response };
  } catch {
    return { text: read, whole: false, response };
  }
}

function attempt(outcome: Attempt["outcome"], more: Partial<Attempt> = {}): Attempt {
  const told = { outcome, processed: "maybe", reason: null, failed_ways: [] } as const;
  return { host, sealed: true, route: "direct", relay: undefined, ...told, ...more };
}

/** A mesh whose one host answers like this. */
function meshOf(status: number, body: string, contentType = "application/json") {
  const asked: AskRequest[] = [];
  const ask = (request: AskRequest): Promise<Asked> => {
    asked.push(request);
    return Promise.resolve({
      response: {
        status,
        headers: { "content-type": contentType },
        body: (async function* () {
          yield await Promise.resolve(utf8(body));
        })(),
      },
      attempts: [attempt("E_LOST", { route: "relay" }), attempt("answered", { route: "relay" })],
      proof: { tier: "vendor", kind: "tpm2", attestedKey: new Uint8Array(65), unchallenged: false },
    });
  };
  return { ask, asked };
}

describe("a stream", () => {
  const pieces = [role, word, finish, usage, done];

  it("has the usage only if it was asked for; the report has it always", async () => {
    const engine = engineOf(pieces, { contentType: events });
    const { url, reports } = await startApi({ scripted: engine });
    const asked = { stream: true, stream_options: { include_usage: true } };
    expect((await text(url, path, chatOf("scripted", asked))).text).toBe(pieces.join(""));
    expect((await text(url, path, chatOf("scripted", { stream: true }))).text).toBe(role + word + finish + done);
    for (const { json, body } of engine.asked) {
      expect(json).toMatchObject(asked);
      expect(JSON.parse(new TextDecoder().decode(body))).toEqual(json);
    }
    await vi.waitFor(() => expect(reports).toHaveLength(2));
    for (const report of reports) {
      expect(report).toMatchObject({
        path,
        model: "scripted",
        status: 200,
        code: null,
        host: self,
        sealed: "local",
        route: "local",
        attempts: [],
        prompt_tokens: 3,
        completion_tokens: 1,
        cached_tokens: null,
      });
      expect(report.id).toMatch(/^[0-9a-f-]{36}$/);
      expect(new Date(report.time).toISOString()).toBe(report.time);
      expect(report.first_byte_ms).toBeLessThanOrEqual(report.first_token_ms ?? -1);
      expect(report.first_token_ms).toBeLessThanOrEqual(report.ms);
      expect(JSON.stringify(report)).not.toContain("hi");
    }
  });

  it.each([
    ["between events", [role, word]],
    ["inside an event", [role, word, word.slice(0, 20)]],
    ["inside the first event after others in one piece", [role + word + word.slice(0, 60)]],
    ["inside a line end", [role, word.slice(0, -1)]],
    ["with CRLF", [role.replaceAll("\n", "\r\n"), word.replaceAll("\n", "\r\n"), word.slice(0, 9)]],
  ])("that breaks off %s ends with one event that can be read, uncleanly", async (_name, given) => {
    const failure = new MeshError("E_ENGINE_LOST", "the engine's process ended");
    const { url, reports } = await startApi({ scripted: engineOf(given, { contentType: events, failure }) });
    const answer = await text(url, path, chatOf("scripted", { stream: true }));
    expect(answer.whole).toBe(false);
    const data = answer.text.split(/\r?\n\r?\n/).filter((event) => event !== "");
    const values = data.map((event) => JSON.parse(event.replace(/^data: /, "")) as { error?: { code: string } });
    expect(values.at(-1)?.error?.code).toBe("engine_lost");
    expect(values.filter(({ error }) => error !== undefined)).toHaveLength(1);
    expect(answer.text).not.toContain("[DONE]");
    await vi.waitFor(() => expect(reports.map(({ code }) => code)).toEqual(["engine_lost"]));
  });

  it("whose host has said why it stopped says it once", async () => {
    const said = 'data: {"error":{"message":"gone","type":"server_error","param":null,"code":"engine_error"}}\n\n';
    for (const given of [[role, said], [role + word + said]]) {
      const failure = new MeshError("E_TRUNCATED", "cut");
      const { url } = await startApi({ scripted: engineOf(given, { contentType: events, failure }) });
      const answer = await text(url, path, chatOf("scripted", { stream: true }));
      expect(answer.whole).toBe(false);
      expect(answer.text.match(/"error"/g)).toHaveLength(1);
    }
  });

  it("that fails before its first event is an ordinary error", async () => {
    const failure = new MeshError("E_ENGINE_LOST", "the engine's process ended");
    for (const given of [[], [word.slice(0, 20)]]) {
      const { url } = await startApi({ scripted: engineOf(given, { contentType: events, failure }) });
      const { response, json } = await post(url, path, chatOf("scripted", { stream: true }));
      expect(response.status).toBe(502);
      expect(json.error.code).toBe("engine_lost");
    }
  });

  it("is written piece by piece, as it comes", async () => {
    let next: (piece: string | undefined) => void = () => undefined;
    const engine = {
      answer: () =>
        Promise.resolve({
          status: 200,
          headers: { "content-type": events },
          body: (async function* () {
            for (;;) {
              const piece = await new Promise<string | undefined>((resolve) => (next = resolve));
              if (piece === undefined) return;
              yield utf8(piece);
            }
          })(),
        }),
    };
    const { port } = await startApi({ scripted: engine });
    const connection = open(port);
    const body = JSON.stringify(chatOf("scripted", { stream: true }));
    connection.socket.write(
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    for (const piece of [role, word, word, finish, done]) {
      const before = connection.text.length;
      await vi.waitFor(() => {
        next(piece);
        expect(connection.text.length).toBeGreaterThan(before);
      });
    }
    expect(connection.text).toContain("cache-control: no-cache");
    connection.socket.destroy();
  });
});

describe("several streams on one connection", () => {
  it("all end with it, also those whose turn has not come", async () => {
    const signals: Signal[] = [];
    const engine = {
      answer: ({ signal }: { readonly signal: Signal }) => {
        signals.push(signal);
        return Promise.resolve({
          status: 200,
          headers: { "content-type": events },
          body: (async function* () {
            yield utf8(role);
            await new Promise((resolve) => signal.addEventListener("abort", () => resolve(undefined)));
            throw signal.reason;
          })(),
        });
      },
    };
    const { port, reports } = await startApi({ scripted: engine });
    const connection = open(port);
    const body = JSON.stringify(chatOf("scripted", { stream: true }));
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`;
    connection.socket.write(`${head}${body}`.repeat(12));
    await vi.waitFor(() => expect(signals).toHaveLength(12));
    connection.socket.destroy();
    await vi.waitFor(() => expect(signals.every(({ aborted }) => aborted)).toBe(true));
    await vi.waitFor(() => expect(reports.map(({ error }) => error?.code)).toEqual(Array(12).fill("E_ABORTED")));
  });
});

describe("a whole answer", () => {
  it("where a stream was asked for, or the reverse, is an engine's failure", async () => {
    const { url } = await startApi({ whole: engineOf(["{}"]), stream: engineOf([role], { contentType: events }) });
    for (const body of [chatOf("whole", { stream: true }), chatOf("stream")]) {
      const { response, json } = await post(url, path, body);
      expect(response.status).toBe(502);
      expect(json.error.code).toBe("engine_error");
    }
  });

  it("that breaks off breaks the connection", async () => {
    const failure = new MeshError("E_TRUNCATED", "cut");
    const { url, port, reports } = await startApi({ scripted: engineOf(['{"a":'], { failure }) });
    const answer = await text(url, path, chatOf("scripted"));
    expect(answer).toMatchObject({ whole: false });
    expect(answer.text).not.toContain("error");
    await vi.waitFor(() => expect(reports.map(({ code }) => code)).toEqual(["truncated"]));
    // HTTP/1.0 knows no other end than the connection's: nothing of a broken answer is sent
    const body = JSON.stringify(chatOf("scripted"));
    const old = await raw(port, `POST ${path} HTTP/1.0\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    expect(old.head).toMatch(/^HTTP\/1\.1 502 /);
  });

  it.each([
    ["base64", { object: "list", data: [{ embedding: [1, -2] }] }, "AACAPwAAAMA="],
    ["float", { object: "list", data: [{ embedding: "AACAPwAAAMA=" }] }, [1, -2]],
    [undefined, { object: "list", data: [{ embedding: "AACAPwAAAMA=" }] }, [1, -2]],
  ])("embeddings asked as %s come so, whatever the engine gives", async (encoding_format, given, expected) => {
    const { url } = await startApi({ scripted: engineOf([JSON.stringify(given)]) });
    const { response, json } = await post(url, "/v1/embeddings", { model: "scripted", input: "hi", encoding_format });
    expect(json).toEqual({ object: "list", data: [{ embedding: expected }] });
    expect(response.headers.get("content-length")).toBe(String(JSON.stringify(json).length));
  });

  it.each(["base64", "float"])("embeddings that are %s already pass byte by byte", async (encoding_format) => {
    const embedding = encoding_format === "base64" ? "AACAPwAAAMA=" : [1, -2];
    const given = JSON.stringify({ object: "list", data: [{ embedding }], usage: { prompt_tokens: 2 } }, null, 2);
    const { url, reports } = await startApi({ scripted: engineOf([given.slice(0, 9), given.slice(9)]) });
    expect((await text(url, "/v1/embeddings", { model: "scripted", input: "hi", encoding_format })).text).toBe(given);
    await vi.waitFor(() => expect(reports.map((report) => report.prompt_tokens)).toEqual([2]));
  });
});

describe("a host's answer", () => {
  it("says in headers and report who gave it, how, and after how many attempts", async () => {
    const { ask, asked } = meshOf(200, '{"usage":{"prompt_tokens":3,"completion_tokens":1}}');
    const choose = () => ({ model: "remote", needs: () => ({ kinds: [], tokens: 321, conversation: "c1" }) });
    const { url, reports } = await startApi({}, { ask, choose });
    const { response } = await post(url, path, chatOf("auto"));
    const shown = [...response.headers].filter(([name]) => name.startsWith("x-sealmesh-"));
    expect(Object.fromEntries(shown)).toEqual({
      "x-sealmesh-host": host,
      "x-sealmesh-sealed": "true",
      "x-sealmesh-route": "relay",
      "x-sealmesh-attempts": "2",
      "x-sealmesh-attested": "vendor",
      "x-sealmesh-evidence": "tpm2",
      "x-sealmesh-attested-key": "98ce42deef51d40269d542f5314bef2c",
    });
    expect(asked[0]).toMatchObject({ path, model: "remote", needTokens: 321, conversation: "c1" });
    expect(JSON.parse(new TextDecoder().decode(asked[0]?.body))).toEqual(chatOf("remote"));
    await vi.waitFor(() => expect(reports).toHaveLength(1));
    expect(reports[0]).toMatchObject({ model: "remote", host, sealed: "true", route: "relay", prompt_tokens: 3 });
    expect(reports[0]?.attestation).toMatchObject({ tier: "vendor", kind: "tpm2", at_end: "current" });
    expect(reports[0]?.attempts.map(({ outcome }) => outcome)).toEqual(["E_LOST", "answered"]);
  });

  it.each([
    [500, "no JSON", "internal_server_error", "internal_server_error"],
    [429, '{"error":"busy"}', "rate_limit_exceeded", "rate_limit_exceeded"],
    // a word of the host's goes to the caller, not into reports
    [400, '{"error":{"message":"odd","type":"own_type","code":"own_code"}}', "own_code", "other"],
  ])(
    "with status %s and the body %s is an OpenAI error object, also for a stream",
    async (status, body, code, kept) => {
      const { url, reports } = await startApi({}, { ask: meshOf(status, body, "text/html").ask });
      for (const stream of [false, true]) {
        const { response, json } = await post(url, path, chatOf("remote", { stream }));
        expect(response.status).toBe(status);
        expect(response.headers.get("content-type")).toBe("application/json");
        expect(response.headers.get("x-sealmesh-host")).toBe(host);
        expect(json.error).toMatchObject({ code, param: null });
        expect(json.error.message).not.toBe("");
      }
      await vi.waitFor(() =>
        expect(reports.map((report) => [report.status, report.code])).toEqual([
          [status, kept],
          [status, kept],
        ]),
      );
    },
  );

  it.each([
    [302, "{}", "application/json"],
    [204, "", "application/json"],
    [200, "<html>sign in</html>", "text/html"],
  ])("with status %s and the body %j of type %s is no answer", async (status, body, contentType) => {
    const { url, reports } = await startApi({}, { ask: meshOf(status, body, contentType).ask });
    const { response, json } = await post(url, path, chatOf("remote"));
    expect(response.status).toBe(502);
    expect(json.error.code).toBe("engine_error");
    await vi.waitFor(() => expect(reports.map((report) => report.code)).toEqual(["engine_error"]));
  });

  it("that the prompt does not fit names the field that the caller wrote", async () => {
    const ask = () => Promise.reject(new MeshError("E_OVERFLOW", "it does not fit", { param: "messages" }));
    const { url } = await startApi({}, { ask });
    const params = { "/v1/responses": { model: "remote", input: "x" }, [path]: chatOf("remote") };
    const named = Object.entries(params).map(async ([route, body]) => (await post(url, route, body)).json.error);
    expect(await Promise.all(named)).toMatchObject([
      { code: "context_length_exceeded", param: "input" },
      { code: "context_length_exceeded", param: "messages" },
    ]);
  });

  it("that nobody gave: the attempts stand in the report, their number in the answer", async () => {
    const attempts = [attempt("E_LOST"), attempt("E_UNREACHABLE", { processed: "no" })];
    const ask = () => Promise.reject(new AskError(new MeshError("E_UNREACHABLE", "it is gone"), attempts));
    const { url, reports } = await startApi({}, { ask });
    const { response, json } = await post(url, path, chatOf("remote"));
    expect(response.status).toBe(503);
    expect(response.headers.get("x-sealmesh-attempts")).toBe("2");
    expect(json.error.code).toBe("host_unreachable");
    await vi.waitFor(() => expect(reports).toHaveLength(1));
    expect(reports[0]).toMatchObject({ code: "host_unreachable", status: 503, host: null, attempts, sealed: null });
  });

  it.each([
    ["E_NO_HOST", 503, { "retry-after": "5", "x-should-retry": null }],
    ["E_REFUSED", 503, { "retry-after": null, "x-should-retry": "false" }],
  ] as const)("%s", async (code, status, headers) => {
    const seconds = code === "E_NO_HOST" ? { retryAfterSeconds: 5 } : {};
    const ask = () => Promise.reject(new MeshError(code, "why", seconds));
    const { url } = await startApi({}, { ask });
    const { response } = await post(url, path, chatOf("remote"));
    expect(response.status).toBe(status);
    for (const [name, value] of Object.entries(headers)) expect(response.headers.get(name)).toBe(value);
  });
});

describe("/v1/responses", () => {
  const chat = { choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }] };

  it("asks for chat, answers a response, and the next one may go on from it", async () => {
    const engine = engineOf([JSON.stringify({ ...chat, usage: { prompt_tokens: 3, completion_tokens: 1 } })]);
    const { url, reports } = await startApi({ scripted: engine });
    const first = await post(url, "/v1/responses", { model: "scripted", input: "one", max_output_tokens: 20 });
    const response = first.json as unknown as { id: string };
    expect(response).toMatchObject({ object: "response", status: "completed", model: "scripted" });
    expect(JSON.stringify(response)).toContain('"text":"hi"');
    expect(engine.asked[0]?.path).toBe(path);
    expect(engine.asked[0]?.json).toMatchObject({ model: "scripted", max_tokens: 20 });
    const next = { model: "scripted", input: "two", previous_response_id: response.id };
    expect((await post(url, "/v1/responses", next)).response.status).toBe(200);
    expect(JSON.stringify(engine.asked[1]?.json)).toMatch(/one.*hi.*two/);
    expect(engine.asked[1]?.json).not.toHaveProperty("previous_response_id");
    await vi.waitFor(() => expect(reports).toHaveLength(2));
    expect(reports[0]).toMatchObject({ path: "/v1/responses", prompt_tokens: 3, completion_tokens: 1, code: null });
  });

  it("streams response events made of chat chunks, usage included", async () => {
    const engine = engineOf([role, word, finish, usage, done], { contentType: events });
    const { url, reports } = await startApi({ scripted: engine });
    const answer = await text(url, "/v1/responses", { model: "scripted", input: "one", stream: true });
    expect(answer.whole).toBe(true);
    expect(answer.response.headers.get("content-type")).toContain("text/event-stream");
    const types = [...answer.text.matchAll(/^event: (.*)$/gm)].map((match) => match[1]);
    expect(types.at(0)).toBe("response.created");
    expect(types.at(-1)).toBe("response.completed");
    expect(answer.text).toContain('"input_tokens":3');
    expect(answer.text).not.toContain("[DONE]");
    await vi.waitFor(() => expect(reports.map((report) => report.completion_tokens)).toEqual([1]));
  });

  it("that breaks off ends in response.failed and one error event", async () => {
    const failure = new MeshError("E_TRUNCATED", "cut");
    const { url } = await startApi({ scripted: engineOf([role, word], { contentType: events, failure }) });
    const answer = await text(url, "/v1/responses", { model: "scripted", input: "one", stream: true });
    expect(answer.whole).toBe(false);
    const types = [...answer.text.matchAll(/^event: (.*)$/gm)].map((match) => match[1]);
    expect(types.slice(-2)).toEqual(["response.failed", "error"]);
    expect(answer.text.trimEnd().split("\n\n").at(-1)).toMatch(/^event: error\n/);
  });

  it("answers plain errors before the stream", async () => {
    const failure = new MeshError("E_ENGINE_LOST", "the engine's process ended");
    const { url } = await startApi(
      { scripted: engineOf([], { contentType: events, failure }), whole: engineOf(["{}"]) },
      { ask: meshOf(429, '{"error":"busy"}').ask },
    );
    const ask = async (model: string, more: object = {}): Promise<string> => {
      const { response, json } = await post(url, "/v1/responses", { model, input: "hi", stream: true, ...more });
      expect(response.headers.get("content-type")).toBe("application/json");
      return `${response.status} ${json.error.code} ${json.error.param}`;
    };
    expect(await ask("scripted")).toBe("502 engine_lost null");
    expect(await ask("whole")).toBe("502 engine_error null");
    expect(await ask("whole", { stream: false })).toBe("502 engine_error null");
    expect(await ask("remote")).toBe("429 rate_limit_exceeded null");
    expect(await ask("nobody")).toBe("404 model_not_found model");
    expect(await ask("whole", { input: 7 })).toBe("400 invalid_value input");
    expect(await ask("whole", { previous_response_id: "resp_none" })).toMatch(/^400 .* previous_response_id$/);
  });
});

describe("models", () => {
  it("are listed and shown, with and without /v1, names with slashes written either way", async () => {
    const { url } = await startApi({ "org/repo:Q4": engineOf([]), "a b": engineOf([]) });
    for (const base of ["/v1/models", "/models"]) {
      const list = (await (await fetch(url + base)).json()) as { data: { id: string }[] };
      expect(list.data.map(({ id }) => id)).toEqual(["org/repo:Q4", "a b", "remote"]);
      for (const [name, id] of [
        ["org/repo:Q4", "org/repo:Q4"],
        ["org%2Frepo%3AQ4", "org/repo:Q4"],
        ["a%20b?x=1", "a b"],
      ] as const) {
        const shown = (await (await fetch(`${url}${base}/${name}`)).json()) as { id: string };
        expect(shown).toEqual({ id, object: "model", created: 0, owned_by: "sealmesh" });
      }
      const unknown = await fetch(`${url}${base}/nobody`);
      expect(unknown.status).toBe(404);
      expect(await unknown.text()).toContain("org/repo:Q4");
      expect((await fetch(`${url}${base}/%zz`)).status).toBe(400);
      const other = await fetch(url + base, { method: "POST", body: "{}" });
      expect([other.status, other.headers.get("allow")]).toEqual([405, "GET"]);
    }
  });
});

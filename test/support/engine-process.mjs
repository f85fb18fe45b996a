/**
 * A scripted OpenAI-compatible engine on real node:http. It has no model: it answers what its options say, at the pace
 * they say, with the habits of llama-server (engines.md §5.2), and records when callers went away. Plain JavaScript, so
 * that it is imported by tests (through engine-server.ts) and runs as a process of its own:
 *
 *     node test/support/engine-process.mjs '{"tokenMs":100,"tokens":20}'
 *
 * prints one line {"event":"ready","url":...,"pid":...}. GET /control gives what it saw, POST /control changes options.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

/** @type {import("./engine-process.d.mts").ScriptedEngineOptions} */
const defaults = {
  host: "127.0.0.1",
  port: 0,
  models: ["scripted"],
  tokens: 5,
  text: undefined,
  tokenMs: 0,
  prefillMs: 0,
  contentBytes: 0,
  deltaBytes: 16 * 1024,
  contextSize: 4096,
  slots: 4,
  key: undefined,
  loading: false,
  fail: undefined,
  extraModelFields: {},
};

/** Starts one; see engine-process.d.mts for the types. */
export async function startScriptedEngine(given = {}) {
  const options = { ...defaults, ...given };
  const requests = [];
  const sockets = new Set();
  const server = createServer((request, response) => {
    handle({ request, response, options, requests }).catch((error) => {
      if (!response.destroyed) response.destroy(error);
    });
  });
  server.keepAliveTimeout = 60_000;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
  });
  server.listen(options.port, options.host);
  await once(server, "listening");
  const { port } = server.address();
  return {
    url: `http://${options.host}:${port}/v1`,
    port,
    options,
    requests,
    get running() {
      return requests.filter((seen) => seen.inference && seen.endedAt === undefined).length;
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function handle({ request, response, options, requests }) {
  const { pathname } = new URL(request.url, "http://engine");
  const bytes = await readBody(request);
  if (pathname === "/control") return control({ request, response, options, requests, bytes });
  const seen = {
    method: request.method,
    path: pathname,
    headers: request.headers,
    body: bytes.toString("utf8"),
    inference: request.method === "POST",
    startedAt: Date.now(),
    endedAt: undefined,
    disconnectedAt: undefined,
    contentBytes: 0,
    deltas: 0,
  };
  requests.push(seen);
  // a long test must not keep every poll
  if (requests.length > 10_000) requests.shift();
  response.on("close", () => {
    seen.endedAt = Date.now();
    if (!response.writableFinished) seen.disconnectedAt = Date.now();
  });
  if (options.key !== undefined && request.headers.authorization !== `Bearer ${options.key}`) {
    return json(response, 401, { error: { code: 401, message: "Invalid API Key", type: "authentication_error" } });
  }
  if (options.loading) {
    return json(response, 503, { error: { code: 503, message: "Loading model", type: "unavailable_error" } });
  }
  const route = `${request.method} ${pathname}`;
  if (route === "GET /health") return json(response, 200, { status: "ok" });
  if (route === "GET /v1/models") return json(response, 200, modelList(options));
  if (route === "POST /v1/chat/completions") return await chat({ response, options, seen, bytes });
  return json(response, 404, { error: { code: 404, message: "File Not Found", type: "not_found_error" } });
}

async function readBody(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

function control({ request, response, options, requests, bytes }) {
  if (request.method === "POST") {
    const change = JSON.parse(bytes.toString("utf8"));
    // null clears an option, since JSON has no undefined
    for (const [name, value] of Object.entries(change)) options[name] = value === null ? undefined : value;
  }
  return json(response, 200, {
    running: requests.filter((seen) => seen.inference && seen.endedAt === undefined).length,
    requests: requests.slice(-1000).map(({ body, ...rest }) => ({ ...rest, bodyBytes: body.length })),
    residentBytes: process.memoryUsage.rss(),
  });
}

function modelList({ models, contextSize, extraModelFields }) {
  const data = models.map((id) => ({
    id,
    object: "model",
    created: 1_700_000_000,
    owned_by: "llamacpp",
    meta: { n_ctx: contextSize, n_ctx_train: contextSize * 2 },
    ...extraModelFields,
  }));
  return { object: "list", data };
}

async function chat({ response, options, seen, bytes }) {
  let asked;
  try {
    asked = JSON.parse(bytes.toString("utf8"));
  } catch {
    return json(response, 500, { error: { code: 500, message: "[json.exception.parse_error]", type: "server_error" } });
  }
  const { fail } = options;
  if (fail?.kind === "status") return json(response, fail.status, fail.body, fail.headers);
  if (fail?.kind === "hang") return;
  const promptTokens = asked.messages
    .map(({ content }) => String(content).split(/\s+/).length)
    .reduce((a, b) => a + b, 0);
  if (promptTokens >= options.contextSize) {
    return json(response, 400, {
      error: {
        code: 400,
        message: `request (${promptTokens} tokens) exceeds the available context size (${options.contextSize} tokens), try increasing it`,
        type: "exceed_context_size_error",
        n_prompt_tokens: promptTokens,
        n_ctx: options.contextSize,
      },
    });
  }
  if (options.prefillMs > 0 && !(await pause(options.prefillMs, response))) return;

  const { pieces, finish } = answerOf(options, asked);
  const usage = {
    prompt_tokens: promptTokens,
    completion_tokens: pieces.length,
    total_tokens: promptTokens + pieces.length,
  };
  // the habits of llama-server: a colliding id, its own model name, timings
  const head = {
    id: "chatcmpl-0",
    created: 1_700_000_000,
    model: "/models/on-this-machine.gguf",
    system_fingerprint: "b1",
  };
  const timings = { prompt_ms: 1.5, predicted_per_second: 99 };
  if (asked.stream !== true) {
    for (const _ of pieces) if (options.tokenMs > 0 && !(await pause(options.tokenMs, response))) return;
    if (fail?.kind === "cut") return response.destroy();
    const message = { role: "assistant", content: pieces.join("") };
    const choices = [{ index: 0, message, finish_reason: finish }];
    return json(response, 200, { choices, object: "chat.completion", ...head, usage, timings });
  }

  response.writeHead(200, { "content-type": "text/event-stream", connection: "keep-alive" });
  const chunk = (choices, more = {}) =>
    `data: ${JSON.stringify({ choices, object: "chat.completion.chunk", ...head, ...more })}\n\n`;
  const delta = (value, finish_reason = null) => [{ index: 0, delta: value, finish_reason }];
  let count = 0;
  for (const piece of pieces) {
    if (count === fail?.afterTokens) break;
    const text =
      (count === 0 ? chunk(delta({ role: "assistant", content: null })) : "") + chunk(delta({ content: piece }));
    count++;
    if (!(await write(response, text))) return;
    seen.deltas = count;
    seen.contentBytes += piece.length;
    if (options.tokenMs > 0 && !(await pause(options.tokenMs, response))) return;
  }
  switch (fail?.kind) {
    case "cut":
      return response.destroy();
    case "exit":
      return process.kill(process.pid, "SIGKILL");
    case "stall":
      return;
    case "error-event":
      await write(response, `data: ${JSON.stringify({ error: fail.error })}\n\n`);
      if (fail.done) await write(response, "data: [DONE]\n\n");
      return response.end();
    case "named-error-event":
      await write(response, `event: error\ndata: ${JSON.stringify({ error: fail.error })}\n\n`);
      return response.end();
    case "no-finish":
      await write(response, "data: [DONE]\n\n");
      return response.end();
    default:
  }
  const wantsUsage = asked.stream_options?.include_usage === true;
  await write(response, chunk(delta({}, finish), { timings }));
  if (wantsUsage) await write(response, chunk([], { usage, timings }));
  await write(response, "data: [DONE]\n\n");
  response.end();
}

/** The words of the answer, cut as max_tokens and stop ask. */
function answerOf(options, asked) {
  if (options.contentBytes > 0) return { pieces: bulk(options), finish: "stop" };
  const all =
    options.text === undefined
      ? Array.from({ length: options.tokens }, (_, index) => `${index === 0 ? "" : " "}word${index}`)
      : (options.text.match(/\s*\S+\s*$|\s*\S+/g) ?? []);
  const most = asked.max_completion_tokens ?? asked.max_tokens ?? Infinity;
  const stops = [asked.stop ?? []].flat();
  const pieces = [];
  let text = "";
  for (const piece of all) {
    if (pieces.length >= most) return { pieces, finish: "length" };
    text += piece;
    const stop = stops.map((word) => text.indexOf(word)).filter((at) => at !== -1);
    if (stop.length > 0) {
      const rest = piece.slice(0, piece.length - (text.length - Math.min(...stop)));
      if (rest !== "") pieces.push(rest);
      return { pieces, finish: "stop" };
    }
    pieces.push(piece);
  }
  return { pieces, finish: "stop" };
}

/** Pieces of contentBytes in all, made as they are needed; `length` for the usage. */
function bulk({ contentBytes, deltaBytes }) {
  const length = Math.ceil(contentBytes / deltaBytes);
  return {
    length,
    join: () => "x".repeat(contentBytes),
    *[Symbol.iterator]() {
      for (let sent = 0; sent < contentBytes; sent += deltaBytes)
        yield "x".repeat(Math.min(deltaBytes, contentBytes - sent));
    },
  };
}

/** Writes with back-pressure; false when the caller has gone. */
async function write(response, text) {
  if (response.destroyed) return false;
  if (response.write(text)) return true;
  await new Promise((resolve) => {
    const finish = () => {
      response.off("drain", finish);
      response.off("close", finish);
      resolve();
    };
    response.on("drain", finish);
    response.on("close", finish);
  });
  return !response.destroyed;
}

/** Waits; false when the caller went away meanwhile. */
function pause(ms, response) {
  return new Promise((resolve) => {
    if (response.destroyed) return resolve(false);
    const timer = setTimeout(() => finish(true), ms);
    const finish = (stays) => {
      clearTimeout(timer);
      response.off("close", gone);
      resolve(stays);
    };
    const gone = () => finish(false);
    response.on("close", gone);
  });
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof value === "string" ? value : JSON.stringify(value));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const engine = await startScriptedEngine(JSON.parse(process.argv[2] ?? "{}"));
  console.log(JSON.stringify({ event: "ready", url: engine.url, port: engine.port, pid: process.pid }));
  // ends with its parent, whose end closes the pipe
  process.stdin.on("end", () => process.exit());
  process.stdin.on("error", () => process.exit());
  process.stdin.resume();
}

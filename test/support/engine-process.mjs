/**
 * A scripted OpenAI-compatible engine on real node:http. It has no model: it answers what its options and the request
 * say (engine-answers.mjs), at the pace of its options, with the habits of llama-server (engines.md §5.2), and records
 * when callers went away. Plain JavaScript, so that it is imported by tests (through engine-server.ts) and runs as a
 * process of its own:
 *
 *     node test/support/engine-process.mjs '{"tokenMs":100,"tokens":20}'
 *
 * prints one line {"event":"ready","url":...,"pid":...}. GET /control gives what it saw, POST /control changes options.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { answerTo, deltasOf, embeddingOf, messageOf, promptTokensOf, usageOf, wordsIn } from "./engine-answers.mjs";
import { chatOf, responseEvents, wholeResponse } from "./engine-responses.mjs";

const inferenceRoutes = new Set(["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]);

/** Of a request's body, bytes. */
const keptBody = 1024 * 1024;

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
  cachedTokens: 0,
  embeddings: undefined,
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
    // a long test with large images must not keep them
    body: bytes.toString("utf8", 0, Math.min(bytes.length, keptBody)),
    bodyBytes: bytes.length,
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
  if (request.method === "POST" && inferenceRoutes.has(pathname)) {
    return await exchange({ response, options, seen, bytes }, pathname);
  }
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
    requests: requests.slice(-1000).map(({ body: _kept, ...rest }) => rest),
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

/** Parses, refuses and waits as the options say; then `answer` is made. */
async function exchange({ response, options, seen, bytes }, route) {
  let asked;
  try {
    asked = JSON.parse(bytes.toString("utf8"));
  } catch {
    return json(response, 500, { error: { code: 500, message: "[json.exception.parse_error]", type: "server_error" } });
  }
  const { fail } = options;
  if (fail?.kind === "status") return json(response, fail.status, fail.body, fail.headers);
  if (fail?.kind === "hang") return;
  if (route === "/v1/embeddings") return embeddings(response, options, asked);
  const request = route === "/v1/responses" ? chatOf(asked) : route === "/v1/completions" ? promptOf(asked) : asked;
  const promptTokens = promptTokensOf(request.messages);
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
  const answer = answerTo(options, request);
  const made = { response, options, seen, asked, answer, usage: usageOf(answer, promptTokens, options) };
  if (route === "/v1/responses") return await respond(made);
  return await complete(made, route === "/v1/completions" ? completionShape : chatShape);
}

/** How the objects of the two older routes differ. */
const chatShape = {
  whole: "chat.completion",
  chunk: "chat.completion.chunk",
  choice: (answer) => ({ message: messageOf(answer) }),
  deltas: deltasOf,
  // llama-server begins with a content of null
  first: { delta: { role: "assistant", content: null } },
  delta: (delta) => ({ delta }),
  last: { delta: {} },
};
const completionShape = {
  whole: "text_completion",
  chunk: "text_completion",
  choice: ({ text }) => ({ text: text.join(""), logprobs: null }),
  deltas: ({ text }) => text,
  first: undefined,
  delta: (text) => ({ text, logprobs: null }),
  last: { text: "", logprobs: null },
};

async function complete({ response, options, seen, asked, answer, usage }, shape) {
  // the habits of llama-server: a colliding id, its own model name, timings
  const head = {
    id: "chatcmpl-0",
    created: 1_700_000_000,
    model: "/models/on-this-machine.gguf",
    system_fingerprint: "b1",
  };
  const timings = { prompt_ms: 1.5, predicted_per_second: 99 };
  const choices = (fields, finish_reason = null) => [{ index: 0, ...fields, finish_reason }];
  if (asked.stream !== true) {
    if (!(await pauseFor(usage.completion_tokens, options, response))) return;
    if (options.fail?.kind === "cut") return response.destroy();
    const body = { choices: choices(shape.choice(answer), answer.finish), object: shape.whole };
    return json(response, 200, { ...body, ...head, usage, timings });
  }
  const chunk = (fields, more = {}) =>
    `data: ${JSON.stringify({ choices: fields, object: shape.chunk, ...head, ...more })}\n\n`;
  const first = shape.first === undefined ? "" : chunk(choices(shape.first));
  const deltas = mapped(shape.deltas(answer), (delta, index) => ({
    text: (index === 0 ? first : "") + chunk(choices(shape.delta(delta))),
    content: (typeof delta === "string" ? delta : delta.content)?.length ?? 0,
  }));
  if (!(await stream({ response, options, seen }, deltas))) return;
  const wantsUsage = asked.stream_options?.include_usage === true;
  await write(response, chunk(choices(shape.last, answer.finish), { timings }));
  if (wantsUsage) await write(response, chunk([], { usage, timings }));
  await write(response, "data: [DONE]\n\n");
  response.end();
}

/** Its own `/v1/responses`, well-formed as OpenAI's (engines.md §4.4). */
async function respond({ response, options, seen, asked, answer, usage }) {
  if (asked.stream !== true) {
    if (!(await pauseFor(usage.completion_tokens, options, response))) return;
    return json(response, 200, wholeResponse(asked, answer, usage));
  }
  const events = mapped(responseEvents(asked, answer, usage), (event) => ({
    text: `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
    // the rest is not paced
    content: event.type.endsWith(".delta") ? event.delta.length : undefined,
  }));
  if (await stream({ response, options, seen }, events)) response.end();
}

function embeddings(response, options, asked) {
  if (options.embeddings === undefined) {
    const message = "This server does not support embeddings. Start it with `--embeddings`";
    return json(response, 501, { error: { code: 501, message, type: "not_supported_error" } });
  }
  // a list of numbers is one input: the tokens of a text
  const single = typeof asked.input === "string" || typeof asked.input[0] === "number";
  const inputs = single ? [asked.input] : asked.input;
  const base64 = asked.encoding_format === "base64" && options.embeddings === "as-asked";
  const data = inputs.map((input, index) => {
    const vector = embeddingOf(input, asked.dimensions ?? 16);
    const embedding = base64 ? Buffer.from(Float32Array.from(vector).buffer).toString("base64") : vector;
    return { object: "embedding", index, embedding, ...(base64 ? { encoding_format: "base64" } : {}) };
  });
  const tokens = inputs.reduce((sum, input) => sum + (typeof input === "string" ? wordsIn(input) : input.length), 0);
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return json(response, 200, { object: "list", data, model: "/models/on-this-machine.gguf", usage });
}

/** A request of `/v1/completions` as the chat that asks the same. */
function promptOf({ prompt, ...rest }) {
  return { ...rest, messages: [{ role: "user", content: [prompt].flat().join("") }] };
}

/**
 * Writes {text, content} one by one, at the pace of the options and no faster than they are read, and fails as they
 * say. `content` counts characters; undefined is not a token. False when nothing may follow.
 */
async function stream({ response, options, seen }, parts) {
  const { fail, tokenMs } = options;
  response.writeHead(200, { "content-type": "text/event-stream", connection: "keep-alive" });
  for (const { text, content } of parts) {
    if (content !== undefined && seen.deltas === fail?.afterTokens) break;
    if (!(await write(response, text))) return false;
    if (content === undefined) continue;
    seen.deltas++;
    seen.contentBytes += content;
    if (tokenMs > 0 && !(await pause(tokenMs, response))) return false;
  }
  switch (fail?.kind) {
    case "cut":
      response.destroy();
      return false;
    case "exit":
      process.kill(process.pid, "SIGKILL");
      return false;
    case "stall":
      return false;
    case "error-event":
      await write(response, `data: ${JSON.stringify({ error: fail.error })}\n\n`);
      if (fail.done) await write(response, "data: [DONE]\n\n");
      response.end();
      return false;
    case "named-error-event":
      await write(response, `event: error\ndata: ${JSON.stringify({ error: fail.error })}\n\n`);
      response.end();
      return false;
    case "no-finish":
      await write(response, "data: [DONE]\n\n");
      response.end();
      return false;
    default:
      return true;
  }
}

function* mapped(items, change) {
  let index = 0;
  for (const item of items) yield change(item, index++);
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

/** The time that so many tokens take, false when the caller went away meanwhile. */
async function pauseFor(tokens, { tokenMs }, response) {
  return tokenMs === 0 || (await pause(tokens * tokenMs, response));
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

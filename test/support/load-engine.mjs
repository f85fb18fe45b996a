/**
 * An engine for load tests, as a process of its own: many streams at a steady pace, as cheap as can be, so that what is
 * measured is the way of the tokens and not their making. Every token says when it was written.
 *
 *     node test/support/load-engine.mjs '{"tokens":300,"tokenMs":200}'
 *
 * prints one line {"event":"ready","url":...,"pid":...}. GET /control gives, by the text of the prompt, what each stream
 * held: {tokens, sha256 of the text, lateMs: how far behind its own pace the engine fell at most}.
 */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const options = { model: "load", tokens: 300, tokenMs: 200, ...JSON.parse(process.argv[2] ?? "{}") };
const streams = new Map();

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => answer(request, response, Buffer.concat(parts)));
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}/v1`;
console.log(JSON.stringify({ event: "ready", url, pid: process.pid }));
// ends with its parent, whose end closes the pipe
for (const end of ["end", "error"]) process.stdin.on(end, () => process.exit());
process.stdin.resume();

function answer(request, response, body) {
  if (request.url === "/control") return json(response, Object.fromEntries(streams));
  if (request.url === "/v1/models") return json(response, { object: "list", data: [model()] });
  if (request.url !== "/v1/chat/completions") {
    response.writeHead(404);
    return response.end();
  }
  const { messages } = JSON.parse(body.toString("utf8"));
  write(response, messages.at(-1).content);
}

/** The tokens, each at its time: a late one makes none of the others late. */
function write(response, marker) {
  const hash = createHash("sha256");
  const report = { tokens: 0, sha256: "", lateMs: 0 };
  streams.set(marker, report);
  response.writeHead(200, { "content-type": "text/event-stream" });
  const started = Date.now();
  const next = () => {
    if (response.destroyed) return;
    if (report.tokens === options.tokens) {
      report.sha256 = hash.digest("hex");
      return response.end(`${event({}, "stop")}data: [DONE]\n\n`);
    }
    const now = Date.now();
    const text = `${now} ${randomBytes(6).toString("hex")}\n`;
    report.lateMs = Math.max(report.lateMs, now - (started + report.tokens * options.tokenMs));
    report.tokens += 1;
    hash.update(text);
    response.write(event({ content: text }, null));
    setTimeout(next, started + report.tokens * options.tokenMs - Date.now());
  };
  next();
}

function event(delta, finish) {
  const choices = [{ index: 0, delta, finish_reason: finish }];
  const head = { id: "chatcmpl-0", object: "chat.completion.chunk", created: 1_700_000_000, model: options.model };
  return `data: ${JSON.stringify({ ...head, choices })}\n\n`;
}

function model() {
  return { id: options.model, object: "model", created: 1_700_000_000, owned_by: "load", meta: { n_ctx: 8192 } };
}

function json(response, value) {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

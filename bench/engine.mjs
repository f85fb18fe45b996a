// The mock engine: a process that answers as an OpenAI-compatible engine does, with fixed answers and as little work as can be,
// so that what is measured is the way and not the making. What to answer stands in the prompt (prompt.mjs): a whole answer of
// so many bytes, or so many tokens, one each so many ms; 0: all at once. Each token says when it was written, in ns of the
// system's monotonic clock, which all processes of a machine share.
//
//     node bench/engine.mjs        prints one line {"event":"ready","url":...}; ends with its stdin
import { createServer } from "node:http";
import { readPrompt } from "./prompt.mjs";
import { sayReady } from "./ready.mjs";

const about = { id: "chatcmpl-bench", created: 1_700_000_000, model: "bench" };
const usage = { prompt_tokens: 12, completion_tokens: 34, total_tokens: 46 };
/** So much of a request's body is kept: the prompt's words are in it, and all of a small request. */
const keptBytes = 4_096;

const listening = createServer((request, response) => {
  const kept = [];
  let bytes = 0;
  request.on("data", (piece) => {
    if (bytes < keptBytes) kept.push(piece);
    bytes += piece.length;
  });
  request.on("end", () => answer(request, response, Buffer.concat(kept)));
});
listening.keepAliveTimeout = 600_000;
await sayReady(listening);

function answer(request, response, body) {
  if (request.url === "/v1/models") return whole(response, modelList);
  if (request.url !== "/v1/chat/completions") {
    response.writeHead(404);
    return response.end();
  }
  const asked = readPrompt(body.toString("latin1"));
  if (asked.tokens > 0) return stream(response, asked, body.includes('"include_usage":true'));
  whole(response, wholeAnswer(asked.bytes));
}

// ---- whole answers, made once for each size

const answers = new Map();
const modelList = Buffer.from(
  JSON.stringify({
    object: "list",
    data: [{ id: "bench", object: "model", created: 1_700_000_000, owned_by: "bench", meta: { n_ctx: 8_388_608 } }],
  }),
);

function wholeAnswer(bytes) {
  const made = answers.get(bytes);
  if (made) return made;
  const message = { role: "assistant", content: "lorem ipsum dolor ".repeat(bytes / 18 + 1).slice(0, bytes) };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: "stop" }];
  const text = Buffer.from(JSON.stringify({ ...about, object: "chat.completion", choices, usage }));
  answers.set(bytes, text);
  return text;
}

function whole(response, text) {
  response.writeHead(200, { "content-type": "application/json", "content-length": text.length });
  response.end(text);
}

// ---- streams

const event = (choices, more = {}) =>
  `data: ${JSON.stringify({ ...about, object: "chat.completion.chunk", choices, ...more })}\n\n`;
const first = event([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }]);
const [before, after] = event([{ index: 0, delta: { content: "@" }, finish_reason: null }]).split("@");
const last = event([{ index: 0, delta: {}, finish_reason: "stop" }]);
const counted = event([], { usage });

/** The tokens, each at its time: a late one makes none of the others late. */
function stream(response, { tokens, paceMs }, withUsage) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  response.write(first);
  const started = performance.now();
  let written = 0;
  const next = () => {
    if (response.destroyed) return;
    do {
      response.write(`${before}t${String(process.hrtime.bigint()).padStart(20, "0")}${after}`);
      written += 1;
    } while (paceMs === 0 && written < tokens);
    if (written === tokens) return response.end(`${last}${withUsage ? counted : ""}data: [DONE]\n\n`);
    setTimeout(next, Math.max(0, started + written * paceMs - performance.now()));
  };
  next();
}

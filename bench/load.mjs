// The load generator, a process of its own so that its work counts as nobody's: plain node:http with kept connections. Takes one
// command at a time over its IPC channel, {what, url, ...}, and answers {figures} or {error}. Times are ms, taken with the
// system's monotonic clock, by which the engine stamps its tokens.
import { Agent, request } from "node:http";
import { chatRequest } from "./prompt.mjs";
import { percentile } from "./stats.mjs";
import { tlsBulk } from "./tls-bulk.mjs";

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 1_024 });
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

const commands = { firstToken, requests, wholeStreams, tokens, bulk, tlsBulk };

process.on("message", ({ what, ...options }) => {
  commands[what](options).then(
    (figures) => process.send({ figures }),
    (error) => process.send({ error: `${what} at ${options.url}: ${error.message}` }),
  );
});
process.on("disconnect", () => process.exit());

// ---- what is measured

/** One stream after another. @returns times from the request to its first token */
async function firstToken({ url, headers, count }) {
  const body = chatRequest({ tokens: 8 });
  const times = [];
  for (let index = 0; index < count; index += 1) {
    const started = nowMs();
    const { arrivals } = await readStream({ url, headers, body });
    if (arrivals.length !== 8) throw new Error(`${arrivals.length} tokens of 8`);
    times.push(arrivals[0].atMs - started);
  }
  return { count, ...shares(times) };
}

/** As many whole answers as can be had with so many in flight. */
async function requests({ url, headers, inFlight, ms }) {
  const body = chatRequest({ bytes: 1_024 });
  return await asMany(inFlight, ms, async () => {
    const { bytes } = await post({ url, headers, body });
    if (bytes < 1_024) throw new Error(`an answer of ${bytes} bytes`);
  });
}

/** As many streams of 20 tokens, written all at once, as can be had. */
async function wholeStreams({ url, headers, inFlight, ms }) {
  const body = chatRequest({ tokens: 20 });
  return await asMany(inFlight, ms, async () => {
    const { arrivals } = await readStream({ url, headers, body });
    if (arrivals.length !== 20) throw new Error(`${arrivals.length} tokens of 20`);
  });
}

/**
 * So many streams at a time, begun over `rampMs`. What arrives before all have begun does not count.
 * @returns delays of tokens from the engine's writing to their arrival
 */
async function tokens({ url, headers, streams, tokens: count, paceMs, rampMs = paceMs }) {
  const body = chatRequest({ tokens: count, paceMs });
  let begun = 0;
  let allBegunMs = Number.POSITIVE_INFINITY;
  const whole = await Promise.all(
    Array.from({ length: streams }, async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, (index * rampMs) / streams));
      const onFirst = () => {
        begun += 1;
        if (begun === streams) allBegunMs = nowMs();
      };
      return await readStream({ url, headers, body, onFirst });
    }),
  );
  const delays = [];
  for (const { arrivals } of whole) {
    if (arrivals.length !== count) throw new Error(`${arrivals.length} tokens of ${count}`);
    for (const { atMs, delayMs } of arrivals) if (atMs >= allBegunMs) delays.push(delayMs);
  }
  return { count: delays.length, ...shares(delays) };
}

/** One large request, or one large answer, after another. @returns MB/s */
async function bulk({ url, headers, up = 0, down = 1_024, count }) {
  const body = chatRequest({ bytes: down, padding: up });
  const started = nowMs();
  for (let index = 0; index < count; index += 1) {
    const { bytes } = await post({ url, headers, body });
    if (bytes < down) throw new Error(`an answer of ${bytes} bytes`);
  }
  const seconds = (nowMs() - started) / 1_000;
  return { count, perSecond: (Math.max(up, down) * count) / 1e6 / seconds };
}

// ---- how

async function asMany(inFlight, ms, once) {
  const times = [];
  const started = nowMs();
  const until = started + ms;
  const lane = async () => {
    for (let from = nowMs(); from < until; from = nowMs()) {
      await once();
      times.push(nowMs() - from);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return { count: times.length, perSecond: (times.length * 1_000) / (nowMs() - started), ...shares(times) };
}

function shares(values) {
  const sorted = Float64Array.from(values).sort();
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), most: percentile(sorted, 1) };
}

function ask({ url, headers = {}, body }, onResponse, onError) {
  const asking = request(`${url}/v1/chat/completions`, {
    agent,
    method: "POST",
    headers: { "content-type": "application/json", "content-length": body.length, ...headers },
  });
  asking.on("error", onError);
  asking.on("response", (response) => {
    response.on("error", onError);
    if (response.statusCode === 200) return onResponse(response);
    let text = "";
    response.on("data", (piece) => (text += piece));
    response.on("end", () => onError(new Error(`status ${response.statusCode}: ${text.slice(0, 300)}`)));
  });
  asking.end(body);
}

function post(what) {
  return new Promise((resolve, reject) => {
    const onResponse = (response) => {
      let bytes = 0;
      response.on("data", (piece) => (bytes += piece.length));
      response.on("end", () => resolve({ bytes }));
    };
    ask(what, onResponse, reject);
  });
}

/** @returns when each token arrived, and how long that was after the engine had written it */
function readStream({ onFirst = () => undefined, ...what }) {
  return new Promise((resolve, reject) => {
    const onResponse = (response) => {
      const arrivals = [];
      let text = "";
      response.on("data", (piece) => {
        const now = process.hrtime.bigint();
        text += piece.latin1Slice();
        let from = 0;
        for (const { 1: stamp, index } of text.matchAll(/"t(\d{20})"/g)) {
          if (arrivals.length === 0) onFirst();
          arrivals.push({ atMs: Number(now) / 1e6, delayMs: Number(now - BigInt(stamp)) / 1e6 });
          from = index + 23;
        }
        // a token may lie across two pieces
        text = text.slice(Math.max(from, text.length - 23));
      });
      response.on("end", () => {
        if (text.includes("[DONE]")) resolve({ arrivals });
        else reject(new Error(`the stream ended without its end mark, after ${arrivals.length} tokens`));
      });
    };
    ask(what, onResponse, reject);
  });
}

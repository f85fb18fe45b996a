/**
 * Reads many streams at a time over plain node:http, as a process of its own: its work must not count as the product's.
 *
 *     node test/support/load-reader.mjs '{"url":"http://127.0.0.1:9337","streams":200,"prefix":"a"}'
 *
 * prints one line when all have ended: {"lagMs": its own event loop's longest delay, "streams": [{marker, tokens, sha256
 * of the text, lateMs: longest way of a token from the engine's writing to its arrival here, end: "whole" or why not}]}.
 */
import { createHash } from "node:crypto";
import { Agent, request } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";

const { url, model = "load", streams, prefix, apartMs = 5 } = JSON.parse(process.argv[2]);
const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
const lag = monitorEventLoopDelay({ resolution: 10 });
lag.enable();

const reports = await Promise.all(
  Array.from({ length: streams }, async (_, index) => {
    await new Promise((resolve) => setTimeout(resolve, index * apartMs));
    return await read(`${prefix}-${index}`);
  }),
);
console.log(JSON.stringify({ lagMs: Math.round(lag.max / 1e6), streams: reports }));

function read(marker) {
  const hash = createHash("sha256");
  const report = { marker, tokens: 0, sha256: "", lateMs: 0, end: "no end" };
  const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content: marker }] });
  return new Promise((resolve) => {
    const finish = (end) => {
      report.end = end;
      report.sha256 = hash.digest("hex");
      resolve(report);
    };
    const asking = request(`${url}/v1/chat/completions`, {
      agent,
      method: "POST",
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    });
    asking.on("error", (error) => finish(`error: ${error.message}`));
    asking.on("response", (response) => {
      let rest = Buffer.alloc(0);
      let done = false;
      response.on("data", (piece) => {
        const now = Date.now();
        const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
        let from = 0;
        for (let to = bytes.indexOf("\n\n"); to >= 0; to = bytes.indexOf("\n\n", from)) {
          const data = bytes.toString("utf8", from + "data: ".length, to);
          from = to + 2;
          if (data === "[DONE]") done = true;
          else take(data, now);
        }
        rest = bytes.subarray(from);
      });
      response.on("error", (error) => finish(`broken off: ${error.message}`));
      response.on("end", () => {
        if (response.statusCode !== 200) finish(`status ${response.statusCode}`);
        else finish(done && rest.length === 0 ? "whole" : "no [DONE]");
      });
    });
    asking.end(body);
  });

  function take(data, now) {
    const text = JSON.parse(data).choices?.[0]?.delta?.content;
    if (typeof text !== "string" || text === "") return;
    report.tokens += 1;
    report.lateMs = Math.max(report.lateMs, now - Number.parseInt(text, 10));
    hash.update(text);
  }
}

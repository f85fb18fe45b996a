// The floor: the least that a hop on Node can be. One node:http proxy that streams both ways over kept connections, and looks at
// nothing.
//
//     node bench/floor.mjs PORT    of the engine on 127.0.0.1; prints one line {"event":"ready","url":...}
import { Agent, createServer, request } from "node:http";
import { sayReady } from "./ready.mjs";

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 1_024 });
const port = Number(process.argv[2]);

const listening = createServer((incoming, outgoing) => {
  const { method, url: path, headers } = incoming;
  const asking = request({ host: "127.0.0.1", port, method, path, headers, agent }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  asking.on("error", () => outgoing.destroy());
  outgoing.on("close", () => asking.destroy());
  incoming.pipe(asking);
});
listening.keepAliveTimeout = 600_000;
await sayReady(listening);

// The far end of "plain between nodes": an old node of mesh-llm, which knows no sealing, in front of the mock engine. Borrowed of the
// tests (test/support/old-node.ts), so it runs only as bundled.mjs makes it:
//
//     node bundled.mjs PORT        of the engine on 127.0.0.1; prints one line {"event":"ready","invite":...}
//
// It opens a connection to the engine for each request and pipes bytes: less than a host of ours does.
import { connect } from "node:net";
import { OldNode } from "../test/support/old-node.ts";
import { endWithParent } from "./ready.mjs";

const port = Number(process.argv[2]);
const models = ["bench"];

const node = await OldNode.start({ role: "host", models, serve });
console.log(JSON.stringify({ event: "ready", endpoint_id: node.id, invite: node.token }));
endWithParent();

async function* serve({ method, path, body }) {
  const bytes = Buffer.from(body);
  const head = [
    `${method} ${path} HTTP/1.1`,
    "Host: 127.0.0.1",
    "Content-Type: application/json",
    `Content-Length: ${bytes.length}`,
    "Connection: close",
  ];
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  socket.write(bytes);
  yield* socket;
}

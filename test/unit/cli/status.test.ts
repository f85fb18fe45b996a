/** `sealmesh status` prints what a console says; what strangers put into it must not move the terminal. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it, vi } from "vitest";
import { status } from "../../../src/cli/commands/status.ts";

afterEach(() => vi.restoreAllMocks());

const unclean = "\u001b]0;owned\u0007\u009b2J\u202e\nfake line";
const peer = {
  id: "aabbccddee",
  hostname: unclean,
  role: "Host",
  state: unclean,
  hosted_models: [unclean],
  rtt_ms: null,
};
const document = {
  version: "1",
  name: unclean,
  endpoint_id: "aa",
  node_state: "client",
  pid: 1,
  api_port: 1,
  models: [unclean],
  inference_key: "k",
  route: "auto",
  relayed: { streams: 0, bytes: 0, running: 0 },
  relays_for_others: true,
  engines: [{ name: unclean, state: "down", why: unclean, models: [], running: 0, waiting: 0 }],
  peers: [{ ...peer, route: "direct", sealed: "sealed", inference_key: null }],
};

it.each([{ json: false }, { json: true }])("prints no control character of a document, %j", async (flags) => {
  const server = createServer((_request, response) => response.end(JSON.stringify(document)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  let text = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  const { port } = server.address() as AddressInfo;
  const code = await status.run({ ...flags, console: String(port) });
  vi.restoreAllMocks();
  server.closeAllConnections();
  server.close();
  expect(code).toBe(0);
  expect(text).toContain("\ufffd]0;owned\ufffd\ufffd2J\ufffd\ufffdfake line");
  expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
  expect(text).not.toMatch(/^fake line/m);
});

import { once } from "node:events";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { httpClient, unreachableBecause } from "../../../src/engine/http.ts";
import { toMeshError } from "../../../src/base/errors.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Says this to whoever connects, and closes. */
async function closing(head: string, body: Uint8Array): Promise<URL> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\nconnection: close\r\n${head}\r\n`);
      socket.end(body);
    });
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}

const body = new Uint8Array(64 * 1024).fill(97);

test.each([
  { what: "with a length", head: `content-length: ${body.length}\r\n` },
  { what: "that ends with the connection", head: "" },
])("a body $what is read slowly to its end, although the other side has closed long ago", async ({ head }) => {
  const client = httpClient();
  const url = await closing(head, body);
  const { status, body: stream } = await client.send({
    method: "GET",
    url,
    headers: {},
    signal: new AbortController().signal,
  });
  expect(status).toBe(200);
  // nobody reads, and the end arrives meanwhile
  await new Promise((resolve) => setTimeout(resolve, 100));
  let bytes = 0;
  for await (const piece of stream) bytes += piece.length;
  expect(bytes).toBe(body.length);
  await client.close();
});

test("a body that is cut short is no whole one, and says so", async () => {
  const client = httpClient();
  const url = await closing(`content-length: ${body.length + 1}\r\n`, body);
  const { body: stream } = await client.send({ method: "GET", url, headers: {}, signal: new AbortController().signal });
  const read = async (): Promise<void> => {
    for await (const piece of stream) expect(piece.length).toBeGreaterThan(0);
  };
  const error = toMeshError(await read().catch((thrown: unknown) => thrown));
  expect(error.code).toBe("E_ENGINE");
  expect(unreachableBecause(error)).toBeUndefined();
  await client.close();
});

test("an idle connection that the engine closes as it is taken costs nothing: a new one is asked", async () => {
  let connections = 0;
  let asked = 0;
  const server = createServer((socket) => {
    connections += 1;
    let first = connections === 1;
    socket.on("error", () => undefined);
    socket.on("data", () => {
      asked += 1;
      if (connections === 1 && !first) return socket.resetAndDestroy();
      first = false;
      return socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const client = httpClient();
  const ask = async (): Promise<string> => {
    const { signal } = new AbortController();
    const { body: stream } = await client.send({ method: "POST", url, headers: {}, body: new Uint8Array(3), signal });
    let text = "";
    for await (const piece of stream) text += new TextDecoder().decode(piece);
    return text;
  };
  expect(await ask()).toBe("ok");
  expect(await ask()).toBe("ok");
  expect({ connections, asked }).toEqual({ connections: 2, asked: 3 });
  await client.close();
});

test("an engine that accepts and never shakes hands is given up in time", async () => {
  const server = createServer((socket) => socket.on("error", () => undefined));
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const client = httpClient(undefined, 50);
  const { signal } = new AbortController();
  const error = toMeshError(
    await client.send({ method: "GET", url, headers: {}, signal }).catch((thrown: unknown) => thrown),
  );
  expect(error.code).toBe("E_ENGINE");
  await client.close();
});

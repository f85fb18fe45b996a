import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { httpClient, unreachableBecause } from "../../../src/engine/http.ts";
import { toMeshError } from "../../../src/base/errors.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A server of this test, whose sockets may fail. */
async function serving(onSocket: (socket: Socket) => void, scheme: "http" | "https" = "http"): Promise<URL> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    onSocket(socket);
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return new URL(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}

/** Says this to whoever connects, and closes. */
function closing(head: string, body: Uint8Array): Promise<URL> {
  return serving((socket) => {
    socket.once("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\nconnection: close\r\n${head}\r\n`);
      socket.end(body);
    });
  });
}

async function textOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += new TextDecoder().decode(piece);
  return text;
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
  const url = await serving((socket) => {
    connections += 1;
    let first = connections === 1;
    socket.on("data", () => {
      asked += 1;
      if (connections === 1 && !first) return socket.resetAndDestroy();
      first = false;
      return socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
  });
  const client = httpClient();
  const ask = async (): Promise<string> => {
    const { signal } = new AbortController();
    const { body: stream } = await client.send({ method: "POST", url, headers: {}, body: new Uint8Array(3), signal });
    return await textOf(stream);
  };
  expect(await ask()).toBe("ok");
  expect(await ask()).toBe("ok");
  expect({ connections, asked }).toEqual({ connections: 2, asked: 3 });
  await client.close();
});

test("an engine that accepts and never shakes hands is given up in time", async () => {
  const url = await serving(() => undefined, "https");
  const client = httpClient(undefined, 50);
  const { signal } = new AbortController();
  const error = toMeshError(
    await client.send({ method: "GET", url, headers: {}, signal }).catch((thrown: unknown) => thrown),
  );
  expect(error.code).toBe("E_ENGINE");
  await client.close();
});

test("what is done with an answer that was read whole leaves its connection alone, and takes it from nobody", async () => {
  let connections = 0;
  const url = await serving((socket) => {
    connections += 1;
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"));
  });
  const client = httpClient();
  const { signal } = new AbortController();
  const ask = async (): Promise<{ readonly text: string; readonly discard: () => void }> => {
    const answer = await client.send({ method: "GET", url, headers: {}, signal });
    return { text: await textOf(answer.body), discard: () => answer.discard() };
  };
  const first = await ask();
  first.discard();
  const second = ask();
  first.discard();
  expect([first.text, (await second).text, connections]).toEqual(["ok", "ok", 1]);
  await client.close();
});

test("an answer of HTTP/1.0 is read to the end of its connection, and one that is no HTTP is the engine's failure", async () => {
  const heads = ["HTTP/1.0 200 OK\r\n\r\nold", "SSH-2.0-OpenSSH\r\n\r\n"];
  const url = await serving((socket) => {
    socket.once("data", () => socket.end(heads.shift() ?? ""));
  });
  const client = httpClient();
  const { signal } = new AbortController();
  const { body: stream } = await client.send({ method: "GET", url, headers: {}, signal });
  expect(await textOf(stream)).toBe("old");
  const failure = await client.send({ method: "GET", url, headers: {}, signal }).catch((thrown: unknown) => thrown);
  expect(toMeshError(failure).code).toBe("E_ENGINE");
  await client.close();
});

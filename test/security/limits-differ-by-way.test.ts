/** A request that one way takes and another refuses: what is in between can be used to get past the tighter bound. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { concat, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { encodeResponse, readRequest } from "../../src/tunnel/http.ts";
import { limits } from "../../src/wire/limits.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { send } from "../support/expect-row.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  attackedMesh,
  type AttackedMesh,
  call,
  openAsk,
  openWith,
  type RawPeer,
  readAnswer,
  refusals,
  sealAsk,
  sendDirect,
} from "../support/raw-peer.ts";
import { readToEnd } from "../support/transport-pair.ts";

const path = "/v1/chat/completions";
const before = utf8('{"model":"scripted","messages":[{"role":"user","content":"');
const behind = utf8('"}]}');

/** A request body of exactly so many bytes. */
function bodyOf(bytes: number): Uint8Array {
  return concat([before, new Uint8Array(bytes - before.length - behind.length).fill(0x78), behind]);
}

/** An answer that says how many bytes were asked with. */
function counted(bytes: number): string {
  return JSON.stringify({ object: "chat.completion", choices: [{ index: 0, message: { content: String(bytes) } }] });
}

/** An engine that looks at nothing: a parser of 64 MiB would be what the test waits for. */
let engine: Server;
let engineUrl: string;
beforeAll(async () => {
  engine = createServer((request, response) => {
    let bytes = 0;
    request.on("data", (piece: Uint8Array) => (bytes += piece.length));
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      const list = { object: "list", data: [{ id: "scripted", object: "model" }] };
      response.end(request.method === "POST" ? counted(bytes) : JSON.stringify(list));
    });
  });
  engine.keepAliveTimeout = 60_000; // a busy machine takes seconds for each of these requests
  engine.listen(0, "127.0.0.1");
  await once(engine, "listening");
  engineUrl = `http://127.0.0.1:${(engine.address() as AddressInfo).port}/v1`;
});
afterAll(() => void engine.close());

function headOf(bytes: number): string {
  return `POST ${path} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`;
}

/** What a node's caller is answered: the bytes that arrived, or the error's code. */
async function sentBy(node: TestNode, body: Uint8Array): Promise<string> {
  const answer = await fetch(`${node.apiUrl}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: body as Uint8Array<ArrayBuffer>,
  });
  return said(answer.status, await answer.text());
}

function said(status: number, text: string): string {
  const { error, choices } = JSON.parse(text) as {
    error?: { code: string };
    choices?: [{ message: { content: string } }];
  };
  return `${status} ${error?.code ?? choices?.[0].message.content}`;
}

async function clientOf(mesh: AttackedMesh, host: { readonly invite: string }): Promise<TestNode> {
  const client = await mesh.start("client", { join: [host.invite] });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return client;
}

/** One plain request on the old peer's own connection. */
async function plainAsk(peer: RawPeer, host: TestNode, head: string, body: Uint8Array): Promise<Uint8Array> {
  const connection = await peer.dial(host, "mesh-llm/1");
  await peer.gossip(connection);
  const stream = await openWith(connection, Uint8Array.of(meshStreams.http));
  const writing = stream.write(concat([utf8(head), body])).then(() => stream.finish());
  const [answer] = await Promise.all([readToEnd(stream), writing]);
  return answer;
}

interface Way {
  /** What became of a request with this body. */
  readonly ask: (body: Uint8Array) => Promise<string>;
  /** The same for a peer's request that is only said to be so long: what a node sends itself is never longer. */
  readonly announce?: (bytes: number) => Promise<string>;
}

/** Every way that a request can take. */
const ways: readonly (readonly [string, (mesh: AttackedMesh) => Promise<Way>])[] = [
  [
    "to the engine of this machine",
    async (mesh) => {
      const node = await mesh.start("serve", { engine: [engineUrl] });
      return { ask: (body) => sentBy(node, body) };
    },
  ],
  [
    "sealed to a host",
    async (mesh) => {
      const host = await mesh.start("serve", { engine: [engineUrl] });
      const client = await clientOf(mesh, { invite: host.invite() });
      return { ask: (body) => sentBy(client, body) };
    },
  ],
  [
    "plain to an old host",
    async (mesh) => {
      const host = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
      host.handlers.http = async (stream, reader) => {
        const request = await readRequest(reader);
        const headers = { "content-type": "application/json" };
        await stream.write(encodeResponse(200, headers, utf8(counted(request.body.length))));
        await stream.finish();
      };
      const client = await clientOf(mesh, host);
      return { ask: (body) => sentBy(client, body) };
    },
  ],
  [
    "plain from an old peer",
    async (mesh) => {
      const host = await mesh.start("serve", { engine: [engineUrl] });
      const asker = await mesh.raw({ kind: "old" });
      const sent = async (bytes: number, body: Uint8Array): Promise<string> => {
        const text = fromUtf8(await plainAsk(asker, host, headOf(bytes), body));
        return said(Number(text.slice(9, 12)), text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1));
      };
      return { ask: (body) => sent(body.length, body), announce: (bytes) => sent(bytes, new Uint8Array(1 << 20)) };
    },
  ],
];

describe.each(ways)("Q3: %s", (_name, open) => {
  it("Q3: a body of exactly the bound passes, one byte more is refused with 413", { timeout: 60_000 }, async () => {
    const { ask, announce = (bytes: number) => ask(bodyOf(bytes)) } = await open(attackedMesh());
    expect(await announce(limits.requestBodyBytes + 1)).toBe("413 payload_too_large");
    expect(await ask(bodyOf(limits.requestBodyBytes))).toBe(`200 ${limits.requestBodyBytes}`);
  });
});

it("Q3: sealed from a peer: one byte more is refused with 413", async () => {
  const mesh = attackedMesh();
  const host = await mesh.start("serve", { engine: [engineUrl] });
  const asker = await mesh.raw();
  const plaintext = utf8(headOf(limits.requestBodyBytes + 1));
  const asked = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { plaintext });
  const { status, text } = await readAnswer(await sendDirect(await asker.meet(host), asked.bytes), asked);
  expect(said(status, text)).toBe("413 payload_too_large");
  expect(refusals(host)).toEqual(["E_TOO_LARGE"]);
});

describe("Q3: heads", () => {
  const long = "x".repeat(limits.httpHeadBytes);

  it("Q3: over 64 KiB are refused on the API port, sealed and plain", async () => {
    const mesh = attackedMesh();
    const host = await mesh.start("serve", { engine: [engineUrl] });
    const local = await send(host, path, { method: "POST", headers: { accept: long, "content-length": 2 } }, "{}");
    expect(local.status).toBe(431);
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const sealed = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, {
      headers: [["accept", long]],
    });
    await expect(readAnswer(await sendDirect(connection, sealed.bytes), sealed)).rejects.toThrow();
    const old = await mesh.raw({ kind: "old" });
    const head = `POST ${path} HTTP/1.1\r\naccept: ${long}\r\ncontent-length: 2\r\n\r\n`;
    await expect(plainAsk(old, host, head, utf8("{}"))).rejects.toThrow();
    expect(refusals(host)).toEqual(["E_WIRE", "E_WIRE"]);
  });

  it("Q3: over 64 KiB of an answer are refused, sealed and plain", async () => {
    for (const kind of ["sealing", "old"] as const) {
      const mesh = attackedMesh();
      const host = await mesh.raw({ kind, role: "host", models: ["scripted"] });
      host.handlers.http = async (stream, reader) => {
        const response = encodeResponse(200, { "content-type": long }, utf8("{}"));
        if (kind === "old") {
          await readRequest(reader);
          await stream.write(response);
          return await stream.finish();
        }
        await answerSealed(stream, await openAsk(reader, host.key), response);
      };
      const client = await clientOf(mesh, host);
      const refused = await call(client);
      expect([refused.status, refused.code]).toEqual([502, "protocol_error"]);
    }
  });
});

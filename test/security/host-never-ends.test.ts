/** One side of an exchange goes, or goes on for ever: the other one must not work, wait or hold a place for it. */
import { createConnection } from "node:net";
import { describe, expect, it } from "vitest";
import { concat, empty, utf8 } from "../../src/base/bytes.ts";
import { unlessAborted } from "../../src/base/deadline.ts";
import type { Signal } from "../../src/base/signal.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { type ByteSource, encodeResponse } from "../../src/tunnel/http.ts";
import { endMarker } from "../../src/wire/envelope.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { answeringHost, direct, heldBy, newAsker } from "../support/answering.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerHeader,
  asked,
  attackedMesh,
  type AttackedMesh,
  call,
  chatResponse,
  openAsk,
  openWith,
  prompt,
  type RawExchange,
  sealAsk,
} from "../support/raw-peer.ts";
import { whenAborted } from "../support/transport-pair.ts";

/** Longest time until the other end knows, ms. */
const soonMs = 1_000;

const streamHead = utf8(
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
);
const event = utf8('data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');
const httpChunk = concat([utf8(`${event.length.toString(16)}\r\n`), event, utf8("\r\n")]);

/** An engine that goes on for minutes, and a host in front of it. */
async function slowHost(mesh: AttackedMesh): Promise<{ engine: ScriptedEngine; host: TestNode }> {
  const engine = await startEngineServer({ tokens: 10_000, tokenMs: 10 });
  return { engine, host: await mesh.start("serve", { engine: [engine.url] }) };
}

async function clientOf(mesh: AttackedMesh, invite: string): Promise<TestNode> {
  const client = await mesh.start("client", { join: [invite] });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return client;
}

const free = (node: TestNode): boolean => {
  const { inflight_requests: inflight, admission } = node.status();
  return inflight === 0 && admission.running === 0;
};

/** The engine was let go, and every node is free, both within a second from now. */
async function expectFreed(engine: ScriptedEngine, ...nodes: readonly TestNode[]): Promise<void> {
  await eventually("the engine is let go", () => asked(engine).every(({ disconnectedAt }) => disconnectedAt), soonMs);
  await eventually("the places are free", () => nodes.every(free), soonMs);
}

describe("Q5: the caller goes", () => {
  it.each([
    ["in the middle of a stream", true, true],
    ["while it waits for a whole answer", false, false],
  ])("Q5: %s: client, host and engine are free within a second", async (_name, stream, reads) => {
    const mesh = attackedMesh();
    const { engine, host } = await slowHost(mesh);
    const client = await clientOf(mesh, host.invite());
    const leaving = new AbortController();
    const answer = fetch(`${client.apiUrl}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify(prompt({ stream })),
      signal: leaving.signal,
    });
    answer.catch(() => undefined);
    if (reads) await (await answer).body?.getReader().read();
    await eventually("the engine is at work", () => asked(engine).length === 1);
    expect([free(client), free(host)]).toEqual([false, false]);
    leaving.abort();
    await expectFreed(engine, client, host);
    await engine.close();
  });

  it("Q5: from an engine of this machine, too", async () => {
    const { engine, host } = await slowHost(attackedMesh());
    const body = JSON.stringify(prompt({ stream: true }));
    const socket = createConnection(Number(new URL(host.apiUrl).port), "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await new Promise((resolve) => socket.once("data", resolve));
    socket.resetAndDestroy();
    await expectFreed(engine, host);
    await engine.close();
  });
});

describe("Q5: the asker goes", () => {
  it.each<[string, (stream: ByteStream, close: () => void) => void]>([
    ["and resets the stream", (stream) => stream.abort()],
    ["with its connection", (_stream, close) => close()],
  ])("Q5: %s: the host lets its engine go within a second", async (_name, go) => {
    const mesh = attackedMesh();
    const { engine, host } = await slowHost(mesh);
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const sealed = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, {
      body: JSON.stringify(prompt({ stream: true })),
    });
    const stream = await openWith(connection, Uint8Array.of(meshStreams.http), sealed.bytes);
    await stream.finish();
    await stream.read();
    await eventually("the engine is at work", () => asked(engine).length === 1);
    go(stream, () => connection.close());
    await expectFreed(engine, host);
    await engine.close();
  });

  it.each(["sealed", "plain"])("Q5: %s: what serves the request learns it, and its place is free", async (kind) => {
    let served: Signal | undefined;
    const host = await answeringHost({
      serve: (_request, _asker, signal): ByteSource => {
        served = signal;
        return {
          read: () => unlessAborted(new Promise(() => undefined), signal),
        };
      },
    });
    const asker = newAsker();
    const { ours, ended } = await host.open(direct(asker.id));
    await ours.write(kind === "sealed" ? host.seal(asker).bytes : utf8("GET / HTTP/1.1\r\n\r\n"));
    if (kind === "sealed") await ours.finish();
    await eventually("it is served", () => served !== undefined);
    expect(heldBy(host).places).toBe(1);
    const left = performance.now();
    ours.abort();
    expect((await ended).how).toBe("E_ABORTED");
    expect(performance.now() - left).toBeLessThan(soonMs);
    expect(served?.aborted).toBe(true);
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });
});

describe("Q5: the host never ends", () => {
  type Endless = (stream: ByteStream, exchange: RawExchange) => Promise<void>;
  const paced = async (stream: ByteStream, next: () => Uint8Array): Promise<void> => {
    while (!stream.aborted.aborted) {
      await stream.write(next());
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  it.each<[string, Endless]>([
    [
      "its answer",
      async (stream, exchange) => {
        const { seal } = exchange;
        await stream.write(concat([answerHeader(exchange), seal.sealChunk(streamHead, false)]));
        await paced(stream, () => seal.sealChunk(httpChunk, false));
      },
    ],
    [
      "its signs of life",
      async (stream, exchange) => {
        await stream.write(answerHeader(exchange));
        await paced(stream, () => exchange.seal.sealChunk(empty, false));
      },
    ],
    [
      "an error answer",
      async (stream, exchange) => {
        const head = encodeResponse(429, {}, new Uint8Array(1_000_000)).subarray(0, 200);
        await stream.write(concat([answerHeader(exchange), exchange.seal.sealChunk(head, false)]));
        await paced(stream, () => exchange.seal.sealChunk(empty, false));
      },
    ],
  ])("Q5: %s: when the caller goes, the host's stream is reset within a second", async (_name, endless) => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    let begun: ByteStream | undefined;
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      begun = stream;
      await endless(stream, exchange);
    };
    const client = await clientOf(mesh, host.invite);
    const leaving = new AbortController();
    fetch(`${client.apiUrl}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify(prompt({ stream: true })),
      signal: leaving.signal,
    }).catch(() => undefined);
    await eventually("the host answers", () => begun !== undefined);
    leaving.abort();
    if (begun) await whenAborted(begun, soonMs);
    await eventually("the client is free", () => free(client), soonMs);
    expect(begun?.aborted.aborted).toBe(true);
  });

  it("Q5: it goes on behind the end of its answer: the answer counts, the stream is reset", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    let begun: ByteStream | undefined;
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      const { seal } = exchange;
      begun = stream;
      await stream.write(
        concat([
          answerHeader(exchange),
          seal.sealChunk(chatResponse("all"), false),
          seal.sealChunk(empty, true),
          endMarker,
        ]),
      );
      await paced(stream, () => new Uint8Array(100));
    };
    const client = await clientOf(mesh, host.invite);
    expect((await call(client)).content).toBe("all");
    expect(begun).toBeDefined();
    if (begun) await whenAborted(begun, soonMs);
    expect(free(client)).toBe(true);
  });

  it("Q5: it goes on inside the seal behind the end of the body: that is no whole answer", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    let begun: ByteStream | undefined;
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      begun = stream;
      const pieces = [chatResponse("all"), utf8("more")].map((piece) => exchange.seal.sealChunk(piece, false));
      await stream.write(concat([answerHeader(exchange), ...pieces]));
      await paced(stream, () => exchange.seal.sealChunk(utf8("more"), false));
    };
    const client = await clientOf(mesh, host.invite);
    const broken = await call(client);
    expect(broken.whole && broken.status === 200).toBe(false);
    if (begun) await whenAborted(begun, soonMs);
    expect(free(client)).toBe(true);
  });
});

describe("Q5: the host's node stops", () => {
  it("Q5: in mid-answer: the caller's answer breaks off, and all is free within a second", async () => {
    const mesh = attackedMesh();
    const { engine, host } = await slowHost(mesh);
    const client = await clientOf(mesh, host.invite());
    const cut = call(client, prompt({ stream: true }));
    await eventually("the engine is at work", () => asked(engine).some(({ deltas }) => deltas > 2));
    const stopping = performance.now();
    const stopped = host.stop(0);
    const { whole, code } = await cut;
    expect(performance.now() - stopping).toBeLessThan(soonMs);
    await stopped;
    expect([whole, code === undefined]).toEqual([false, false]);
    await expectFreed(engine, client);
    await engine.close();
  });
});

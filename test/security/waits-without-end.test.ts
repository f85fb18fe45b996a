/** Somebody stops in the middle and says no more: a prompt, an answer or a place would be held for ever. */
import { describe, expect, it } from "vitest";
import { concat, empty, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { toMeshError } from "../../src/base/errors.ts";
import { AskError } from "../../src/mesh/attempt.ts";
import { memoryNetwork } from "../../src/transport/memory.ts";
import { type ByteSource, encodeResponse } from "../../src/tunnel/http.ts";
import { encodeFrame, type StreamReader } from "../../src/wire/frame.ts";
import { encodeRelayedOpen } from "../../src/wire/relay.ts";
import { envelopeByte, meshStreams } from "../../src/wire/stream-types.ts";
import { answeringHost, direct, heldBy, newAsker } from "../support/answering.ts";
import { type Asker, askerOf } from "../support/asking.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { codeOf } from "../support/expect-code.ts";
import {
  answerHeader,
  answerSealed,
  attackedMesh,
  call,
  chatResponse,
  openAsk,
  openWith,
  type RawExchange,
  type RawKind,
  RawPeer,
} from "../support/raw-peer.ts";
import { whenAborted } from "../support/transport-pair.ts";

/** Later than the wait by what a busy machine may add, ms. */
const slackMs = 1_500;
const never = (): Promise<never> => new Promise(() => undefined);

function expectTime(ms: number, least: number): void {
  expect(ms).toBeGreaterThanOrEqual(least - 5);
  expect(ms).toBeLessThan(least + slackMs);
}

describe("Q2: the host waits for an asker that stops", () => {
  const timing = { firstByteMs: 60, requestMs: 140, keepAliveMs: 10_000, unreadMs: 10_000 };
  const peer = newAsker().id;
  const relayed = { kind: "relayed", relay: peer } as const;
  it.each([
    ["before the first byte", direct(peer), empty, timing.firstByteMs],
    ["after the envelope's type byte", direct(peer), Uint8Array.of(envelopeByte), timing.requestMs],
    ["in the middle of the envelope", direct(peer), concat([Uint8Array.of(envelopeByte), utf8('{"model":"')]), 140],
    ["in a plain request's head", direct(peer), utf8("POST / HTTP/1.1\r\nhos"), timing.requestMs],
    ["in a plain request's body", direct(peer), utf8("POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n1234"), 140],
    ["before a relay's frame", relayed, empty, timing.firstByteMs],
    ["in a relay's frame", relayed, Uint8Array.of(9, 0, 0, 0), timing.firstByteMs],
    ["behind a relay's frame", relayed, encodeFrame(encodeRelayedOpen({ hops: 1 })), timing.firstByteMs],
  ])("Q2: %s", async (_name, arrival, bytes, ms) => {
    const host = await answeringHost({ timing });
    const { ours, ended } = await host.open(arrival);
    const reset = whenAborted(ours, ms + slackMs);
    await ours.write(bytes);
    // meanwhile, on the same connection
    expect((await host.ask(newAsker())).text).toBe("fine");
    const { how, ms: took } = await ended;
    expect(how).toBe("E_TIMEOUT");
    expectTime(took, ms);
    await reset;
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });

  it("Q2: a request that trickles must be whole in time all the same", async () => {
    const host = await answeringHost({ timing });
    const { ours, ended } = await host.open(direct(peer));
    const trickling = (async () => {
      for (const byte of host.seal(newAsker()).bytes) {
        await ours.write(Uint8Array.of(byte));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })().catch(codeOf);
    const { how, ms } = await ended;
    expect(how).toBe("E_TIMEOUT");
    expectTime(ms, timing.requestMs);
    expect(await trickling).toBe("E_ABORTED");
  });

  it.each(["sealed", "plain"])("Q2: that does not read its %s answer", async (kind) => {
    let stopped = false;
    const endless: ByteSource = { read: () => Promise.resolve(new Uint8Array(10_000)) };
    const host = await answeringHost(
      {
        timing: { ...timing, requestMs: 5_000, unreadMs: 120 },
        serve: (_request, _asker, signal) => {
          signal.addEventListener("abort", () => (stopped = true));
          return endless;
        },
      },
      { windowBytes: 50_000 },
    );
    const asker = newAsker();
    const { ours, ended } = await host.open(direct(asker.id));
    await ours.write(kind === "sealed" ? host.seal(asker).bytes : utf8("GET / HTTP/1.1\r\n\r\n"));
    await ours.finish();
    const { how, ms } = await ended;
    expect(how).toBe("E_TIMEOUT");
    expectTime(ms, 120);
    expect(stopped).toBe(true);
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });

  it("Q2: a stream that stalls does not block the next one of the same connection, with whole nodes", async () => {
    const engine = await startEngineServer();
    const mesh = attackedMesh();
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const stalled = [
      await openWith(connection, empty),
      await openWith(connection, Uint8Array.of(meshStreams.gossip)),
      await openWith(connection, Uint8Array.of(meshStreams.http)),
      await openWith(connection, Uint8Array.of(meshStreams.http, envelopeByte)),
    ];
    const request = utf8("GET /v1/models HTTP/1.1\r\n\r\n");
    const next = await openWith(connection, Uint8Array.of(meshStreams.http), request);
    expect(fromUtf8((await next.read()) ?? empty)).toMatch(/^HTTP\/1\.1 200 /);
    expect(stalled.map(({ aborted }) => aborted.aborted)).toEqual([false, false, false, false]);
    await engine.close();
  });
});

describe("Q2: the asker waits for a host that stops", () => {
  const silenceMs = 250;

  /** A host whose first exchange does `first`; later ones are answered. */
  async function scene(
    first: (stream: ByteStream, reader: StreamReader, host: RawPeer) => Promise<void>,
    kind: RawKind = "sealing",
    windowBytes = 262_144,
  ): Promise<{ asker: Asker; host: RawPeer; streams: ByteStream[] }> {
    const network = memoryNetwork({ windowBytes });
    const host = await RawPeer.start(network, { kind, role: "host", models: ["scripted"] });
    const streams: ByteStream[] = [];
    host.handlers.http = async (stream, reader) => {
      streams.push(stream);
      if (streams.length === 1) return await first(stream, reader, host);
      if (kind === "old") {
        await stream.write(chatResponse("in time"));
        return await stream.finish();
      }
      await answerSealed(stream, await openAsk(reader, host.key), chatResponse("in time"));
    };
    return { asker: await askerOf(network, [host]), host, streams };
  }

  async function text(body: AsyncIterable<Uint8Array>): Promise<string> {
    let all = "";
    for await (const piece of body) all += new TextDecoder().decode(piece);
    return all;
  }

  const opened = async (reader: StreamReader, host: RawPeer): Promise<RawExchange> => await openAsk(reader, host.key);
  interface Case {
    readonly kind?: RawKind;
    readonly windowBytes?: number;
    readonly processed?: "yes";
  }
  const cases: readonly [string, Parameters<typeof scene>[0], Case?][] = [
    ["and says nothing", never],
    ["and does not take the request", never, { windowBytes: 500 }],
    ["behind its header", async (stream, reader, host) => stream.write(answerHeader(await opened(reader, host)))],
    [
      "behind half a header",
      async (stream, reader, host) => stream.write(answerHeader(await opened(reader, host)).subarray(0, 9)),
    ],
    [
      "behind a chunk's length",
      async (stream, reader, host) => {
        const header = answerHeader(await opened(reader, host));
        await stream.write(concat([header, Uint8Array.of(0, 0, 1, 0)]));
      },
    ],
    [
      "and lets bytes trickle",
      async (stream, reader, host) => {
        const exchange = await opened(reader, host);
        const chunk = exchange.seal.sealChunk(chatResponse("x".repeat(2_000)), false);
        for (const byte of concat([answerHeader(exchange), chunk])) {
          await stream.write(Uint8Array.of(byte));
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      },
    ],
    ["of the reference kind and says nothing", never, { kind: "reference" }],
    ["of the old kind and says nothing", never, { kind: "old" }],
    [
      "of the old kind, in the head",
      async (stream) => stream.write(utf8("HTTP/1.1 200 OK\r\nco")),
      { kind: "old", processed: "yes" },
    ],
  ];

  it.each(cases)("Q2: accepts the stream %s", async (_name, first, { kind, windowBytes, processed = "maybe" } = {}) => {
    const { asker, streams } = await scene(first, kind, windowBytes);
    const started = performance.now();
    const failed = asker.ask().then(() => "answered", toMeshError);
    while (streams.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    // meanwhile, on the same connection
    expect(await text((await asker.ask()).response.body)).toContain("in time");
    const error = await failed;
    expectTime(performance.now() - started, silenceMs);
    expect(error).toBeInstanceOf(AskError);
    const { code, attempts } = error as AskError;
    expect([code, attempts.map(({ processed }) => processed)]).toEqual(["E_TIMEOUT", [processed]]);
    const [stalled] = streams;
    if (stalled) await whenAborted(stalled, 1_000);
  });

  it.each<[string, readonly Uint8Array[]]>([
    ["in the body", []],
    ["in the body behind a sign of life", [empty]],
  ])("Q2: stops %s", async (_name, lives) => {
    const { asker, streams } = await scene(async (stream, reader, host) => {
      const exchange = await openAsk(reader, host.key);
      const { seal } = exchange;
      const pieces = [chatResponse("never whole").subarray(0, -8), ...lives];
      await stream.write(concat([answerHeader(exchange), ...pieces.map((piece) => seal.sealChunk(piece, false))]));
    });
    const { response } = await asker.ask();
    const started = performance.now();
    expect(await text(response.body).catch(codeOf)).toBe("E_TIMEOUT");
    expectTime(performance.now() - started, silenceMs);
    const [stalled] = streams;
    if (stalled) await whenAborted(stalled, 1_000);
  });

  it("Q2: an old host stops in the body", async () => {
    const { asker } = await scene(async (stream) => {
      await stream.write(encodeResponse(200, {}, utf8("never whole")).subarray(0, -4));
    }, "old");
    const { response } = await asker.ask();
    expect(await text(response.body).catch(codeOf)).toBe("E_TIMEOUT");
  });

  it("Q2: a relay that takes the stream and says nothing", async () => {
    const network = memoryNetwork();
    const relay = await RawPeer.start(network);
    const host = await RawPeer.start(network, { role: "host", models: ["scripted"] });
    relay.announcements = () => [host.own(), relay.own()];
    let stalled: ByteStream | undefined;
    relay.handlers.relay = (stream) => {
      stalled = stream;
      return never();
    };
    const asker = await askerOf(network, [relay, host], {
      route: "relay",
      timing: { dialMs: 500, pathMs: 5_000, relayMs: 120, silenceMs, referenceSilenceMs: silenceMs },
    });
    const started = performance.now();
    expect(await asker.ask().then(() => "answered", codeOf)).toBe("E_TIMEOUT");
    expectTime(performance.now() - started, 120);
    if (stalled) await whenAborted(stalled, 1_000);
    expect(stalled).toBeDefined();
  });

  it("Q2: a caller is told, and the next one is answered", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    let count = 0;
    host.handlers.http = async (stream, reader) => {
      count += 1;
      const exchange = await openAsk(reader, host.key);
      if (count > 1) await answerSealed(stream, exchange, chatResponse("in time"));
    };
    const client = await mesh.start("client", { join: [host.invite] });
    const stalled = call(client);
    while (count === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await call(client)).content).toBe("in time");
    expect((await stalled).code).toBe("timeout");
  });
});

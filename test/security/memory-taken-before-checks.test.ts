/** A peer opens many exchanges and sends long requests that never end, so that the host's memory goes before any check. */
import { describe, expect, it } from "vitest";
import { Budget } from "../../src/base/budget.ts";
import type { EndpointId } from "../../src/base/brand.ts";
import { concat, empty, utf8 } from "../../src/base/bytes.ts";
import { Places } from "../../src/base/places.ts";
import type { Arrival } from "../../src/exchange.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { AskerSeal } from "../../src/crypto/seal.ts";
import { openedResponse } from "../../src/tunnel/sealed.ts";
import { bytesSource, encodeResponse } from "../../src/tunnel/http.ts";
import { encodeResponseHeader } from "../../src/wire/envelope.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { limits } from "../../src/wire/limits.ts";
import { encodeRelayedOpen } from "../../src/wire/relay.ts";
import { envelopeByte, meshStreams } from "../../src/wire/stream-types.ts";
import { type AnsweringHost, answeringHost, direct, type Exchange, heldBy, newAsker } from "../support/answering.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { attackedMesh, call, openWith } from "../support/raw-peer.ts";
import { whenAborted } from "../support/transport-pair.ts";

/** The beginning of an envelope of `bytes` bytes in all, whose end never comes. */
function unfinished(bytes: number): Uint8Array {
  const start = concat([Uint8Array.of(envelopeByte), utf8('{"model":"","ciphertext":"')]);
  return concat([start, new Uint8Array(bytes - start.length).fill(0x41)]);
}

/** How streams of one peer come, and what it writes before the envelope. */
const arrivals: readonly (readonly [string, (peer: EndpointId) => Arrival, Uint8Array])[] = [
  ["on its own connection", direct, empty],
  ["as a relay", (relay) => ({ kind: "relayed", relay }), encodeFrame(encodeRelayedOpen({ hops: 1 }))],
];

describe.each(arrivals)("Q1: a flood %s", (_name, arrivalOf, before) => {
  it("Q1: more streams than its share are refused unread; others are served, and all is given back", async () => {
    const host = await answeringHost({ places: new Places({ total: 8, perHolder: 3 }) });
    const flood = arrivalOf(newAsker().id);
    const begin = async (): Promise<Exchange> => {
      const exchange = await host.open(flood);
      exchange.ours.write(concat([before, unfinished(1_000)])).catch(() => undefined);
      return exchange;
    };
    const held = [await begin(), await begin(), await begin()];
    const bytes = 3 * (before.length + 1_000);
    await eventually("they are held", () => host.parts.budget.taken === bytes);
    const refused = await begin();
    const reset = whenAborted(refused.ours, 1_000);
    expect((await refused.ended).how).toBe("E_BUSY");
    await reset;
    expect(heldBy(host)).toEqual({ places: 3, bytes });
    expect((await host.ask(newAsker())).text).toBe("fine");
    for (const { ours } of held) ours.abort();
    expect(await Promise.all(held.map(async ({ ended }) => (await ended).how))).toEqual(held.map(() => "E_ABORTED"));
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
    await begin();
    expect(heldBy(host).places).toBe(1); // it may come again
  });
});

describe("Q1: bytes of requests", () => {
  it("Q1: beyond a peer's share the stream is refused while they come; another peer is served", async () => {
    const share = 300_000;
    const host = await answeringHost({ budget: new Budget({ total: 1_000_000, perHolder: share }) });
    const flood = direct(newAsker().id);
    const first = await host.open(flood);
    const second = await host.open(flood);
    await first.ours.write(unfinished(200_000));
    await eventually("the first is held", () => host.parts.budget.taken === 200_000);
    const writing = second.ours.write(unfinished(200_000)).catch(() => undefined);
    expect((await second.ended).how).toBe("E_BUSY");
    await writing;
    expect(heldBy(host)).toEqual({ places: 1, bytes: 200_000 }); // the first goes on, what the second held is back
    expect((await host.ask(newAsker())).status).toBe(200);
    first.ours.abort();
    await first.ended;
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });

  it("Q1: all peers together hold no more than the node's bound", async () => {
    const host = await answeringHost({ budget: new Budget({ total: 500_000, perHolder: 200_000 }) });
    const exchanges: Exchange[] = [];
    for (let at = 0; at < 4; at += 1) {
      const exchange = await host.open(direct(newAsker().id));
      exchange.ours.write(unfinished(150_000)).catch(() => undefined);
      exchanges.push(exchange);
    }
    expect((await Promise.race(exchanges.map(({ ended }) => ended))).how).toBe("E_BUSY");
    await eventually("the others are held", () => host.parts.budget.taken === 450_000);
    expect(heldBy(host).places).toBe(3);
    for (const { ours } of exchanges) ours.abort();
    await Promise.all(exchanges.map(({ ended }) => ended));
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });

  it("Q1: plain requests count as well, by what comes and not by what their length says", async () => {
    const host = await answeringHost({ budget: new Budget({ total: 1_000_000, perHolder: 100_000 }) });
    const promise = utf8(`POST / HTTP/1.1\r\ncontent-length: ${limits.requestBodyBytes}\r\n\r\n`);
    const { ours, ended } = await host.open(direct(newAsker().id));
    await ours.write(promise);
    await eventually("the head is held", () => host.parts.budget.taken === promise.length);
    await ours.write(new Uint8Array(60_000));
    await eventually("what came is held", () => host.parts.budget.taken === promise.length + 60_000);
    ours.write(new Uint8Array(60_000)).catch(() => undefined);
    expect((await ended).how).toBe("E_BUSY");
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });

  it("Q1: an envelope over the bound is refused while it arrives", async () => {
    const roomy = new Budget({ total: 2 * limits.envelopeBytes, perHolder: 2 * limits.envelopeBytes });
    const host = await answeringHost({ budget: roomy });
    const { ours, ended } = await host.open(direct(newAsker().id));
    const piece = new Uint8Array(1 << 20).fill(0x41);
    let sent = 0;
    const flooding = (async () => {
      for (; ; sent += piece.length) await ours.write(sent === 0 ? unfinished(piece.length) : piece);
    })().catch(() => undefined);
    expect((await ended).how).toBe("E_TOO_LARGE");
    await flooding;
    expect(sent).toBeLessThanOrEqual(limits.envelopeBytes + (1 << 20));
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });
});

describe("Q1: what an exchange held is given back", () => {
  const short = { firstByteMs: 400, requestMs: 400, keepAliveMs: 5_000, unreadMs: 400 };
  it.each<[string, string, (exchange: Exchange, lose: () => void) => Promise<void> | void]>([
    ["the asker aborts", "E_ABORTED", ({ ours }) => ours.abort()],
    ["the connection is lost", "E_LOST", (_exchange, lose) => lose()],
    ["time is up", "E_TIMEOUT", () => undefined],
    ["the envelope is cut", "E_WIRE", ({ ours }) => ours.finish()],
    [
      "the envelope is no JSON",
      "E_WIRE",
      async ({ ours }) => {
        await ours.write(utf8('"}}'));
        await ours.finish();
      },
    ],
  ])("Q1: when %s", async (_name, code, end) => {
    const host = await answeringHost({ timing: short });
    const exchange = await host.open(direct(newAsker().id));
    await exchange.ours.write(unfinished(10_000));
    await eventually("it is held", () => host.parts.budget.taken === 10_000);
    expect(heldBy(host).places).toBe(1);
    await end(exchange, () => host.lose());
    expect((await exchange.ended).how).toBe(code);
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });

  it("Q1: when it does not open, and when it was answered", async () => {
    const taken: number[] = [];
    const host: AnsweringHost = await answeringHost({
      serve: () => {
        taken.push(host.parts.budget.taken);
        return bytesSource(encodeResponse(200, {}, utf8("fine")));
      },
    });
    const asker = newAsker();
    const { ours, ended } = await host.open(direct(asker.id));
    const changed = host.seal(asker).bytes.slice();
    changed.set(utf8("AAAA"), changed.length - 20);
    await ours.write(changed);
    await ours.finish();
    expect((await ended).how).toBe("E_OPEN");
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
    await host.ask(asker);
    expect(taken.map((bytes) => bytes > 0)).toEqual([true]);
    await eventually("it is over", () => host.parts.places.taken === 0);
    expect(heldBy(host)).toEqual({ places: 0, bytes: 0 });
  });
});

describe("Q1: a host that promises much", () => {
  it("Q1: a length of 16 MiB takes no memory before the bytes come", async () => {
    const { publicKey } = generateKeyPair();
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, limits.chunkBytes, true);
    const promise = concat([encodeResponseHeader(publicKey), length, new Uint8Array(1_000)]);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 64 }, () => {
      let given = false;
      const read = async (): Promise<Uint8Array> => {
        if (given) return await new Promise<never>(() => undefined);
        given = true;
        return promise;
      };
      const reader = new StreamReader({ read });
      const opener = new AskerSeal(publicKey).openResponse("indexed");
      openedResponse(reader, { hostKey: publicKey, opener, silenceMs: 60_000 }, () => undefined)
        .read()
        .catch(() => undefined);
      return reader;
    });
    await eventually("all have come", () => readers.every(({ received }) => received === promise.length));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(limits.chunkBytes); // 64 of them were promised
  });
});

describe("Q1: whole nodes", () => {
  it("Q1: a peer with 600 streams has 512 of them; a client is served, and the host is free again", async () => {
    const engine = await startEngineServer();
    const mesh = attackedMesh();
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const attacker = await mesh.raw();
    const connection = await attacker.meet(host);
    const streams = await Promise.all(
      Array.from({ length: 600 }, () => openWith(connection, Uint8Array.of(meshStreams.http), unfinished(2_000))),
    );
    const cut = (): number => streams.filter(({ aborted }) => aborted.aborted).length;
    await eventually("the rest is refused", () => cut() === 600 - 512);
    expect(host.status().inflight_requests).toBe(512);
    expect((await call(client)).status).toBe(200);
    for (const stream of streams) stream.abort();
    await eventually("all is given back", () => host.status().inflight_requests === 0);
    expect((await call(client)).status).toBe(200);
    await engine.close();
  });
});

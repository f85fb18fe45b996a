/** Somebody reads the memory of a process after an exchange: the keys of the exchange must be gone, however it ended. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { concat, empty, utf8 } from "../../src/base/bytes.ts";
import { generateKeyPair, keyPairFrom, sharedKey } from "../../src/crypto/box.ts";
import { AskerSeal, ChunkOpener, HostSeal, openRequest } from "../../src/crypto/seal.ts";
import { SecretBytes } from "../../src/crypto/secret.ts";
import { encodeResponse } from "../../src/tunnel/http.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { expectCode } from "../support/expect-code.ts";
import {
  answerHeader,
  answerSealed,
  attackedMesh,
  call,
  chatResponse,
  clientOf,
  openAsk,
  prompt,
  type RawExchange,
  readAnswer,
  sealAsk,
  sendDirect,
} from "../support/raw-peer.ts";
import type { ByteStream } from "../../src/base/stream.ts";

afterEach(() => vi.restoreAllMocks());

/** Secrets that are made from now on. */
function watchSecrets(): { readonly live: () => number; readonly made: () => number } {
  const made = new Set<SecretBytes>();
  const read = Object.getOwnPropertyDescriptor(SecretBytes.prototype, "bytes");
  vi.spyOn(SecretBytes.prototype, "bytes", "get").mockImplementation(function (this: SecretBytes) {
    made.add(this);
    return read?.get?.call(this) as Uint8Array;
  });
  return { live: () => [...made].filter(({ wiped }) => !wiped).length, made: () => made.size };
}

describe("F3: the objects", () => {
  it("F3: the asker's ephemeral secret goes at once, the shared key at the end; neither is used again", () => {
    const ephemeral = generateKeyPair();
    const bytes = ephemeral.secretKey.bytes;
    const host = generateKeyPair();
    const seal = new AskerSeal(host.publicKey, { ephemeral });
    expect([ephemeral.secretKey.wiped, bytes.every((byte) => byte === 0)]).toEqual([true, true]);
    const opener = seal.openResponse("indexed");
    const envelope = seal.sealRequest(utf8("GET / HTTP/1.1\r\n\r\n"));
    const opened = openRequest(envelope, [{ ...host, createdMs: 0, notAfterMs: 1 }]);
    const chunk = opened.seal.sealChunk(utf8("x"), false);
    expect(opener.open(chunk.subarray(4))).toEqual(utf8("x"));
    seal.end();
    opened.seal.end();
    expectCode("E_CLOSED", () => seal.sealRequest(empty));
    expectCode("E_CLOSED", () => opener.open(opened.seal.sealChunk(empty, true).subarray(4)));
    expectCode("E_CLOSED", () => opened.seal.sealChunk(empty, true));
  });

  it("F3: a key that cannot be used leaves no ephemeral secret behind", () => {
    const ephemeral = generateKeyPair();
    expectCode("E_KEY", () => new AskerSeal(new Uint8Array(32), { ephemeral }));
    expect(ephemeral.secretKey.wiped).toBe(true);
  });

  it("F3: a request that does not open leaves no shared key behind", () => {
    const secrets = watchSecrets();
    const keys = [generateKeyPair(), generateKeyPair()].map((key) => ({ ...key, createdMs: 0, notAfterMs: 1 }));
    const seal = new AskerSeal(generateKeyPair().publicKey);
    expectCode("E_OPEN", () => openRequest(seal.sealRequest(utf8("secret")), keys));
    seal.end();
    // the host's own two keys live on
    expect([secrets.live(), secrets.made()]).toEqual([2, 6]);
  });

  it("F3: a wiped secret is zero, and shows itself in no form while it lives", () => {
    const pair = keyPairFrom(new Uint8Array(32).fill(65));
    const shared = sharedKey(pair.secretKey, generateKeyPair().publicKey);
    const bytes = shared.bytes;
    expect(JSON.stringify({ pair, shared }) + String(shared)).not.toContain("65,65");
    shared.wipe();
    shared.wipe();
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });
});

describe("F3: at the asker", () => {
  const answer = chatResponse("fine");
  const endings: readonly [string, (stream: ByteStream, exchange: RawExchange) => Promise<void>][] = [
    ["is answered", async (stream, exchange) => await answerSealed(stream, exchange, answer)],
    ["is refused", async (stream) => stream.abort(1)],
    ["is answered in the clear", async (stream) => (await stream.write(answer), await stream.finish())],
    [
      "is cut in the body",
      async (stream, exchange) => {
        const chunk = exchange.seal.sealChunk(answer.subarray(0, -3), false);
        await stream.write(concat([answerHeader(exchange), chunk]));
        await stream.finish();
      },
    ],
    [
      "meets another clock",
      async (stream, exchange) =>
        await answerSealed(stream, exchange, encodeResponse(425, { "x-sealmesh-time": "5" }, empty)),
    ],
    ["gets no HTTP", async (stream, exchange) => await answerSealed(stream, exchange, utf8("what is this\r\n\r\n"))],
  ];

  it.each(endings)("F3: an exchange that %s", async (_name, ending) => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const sealed = vi.spyOn(AskerSeal.prototype, "sealRequest");
    const ended = vi.spyOn(AskerSeal.prototype, "end");
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      await ending(stream, exchange);
      exchange.seal.end();
    };
    const client = await clientOf(mesh, [host]);
    await call(client);
    expect(sealed.mock.contexts.length).toBeGreaterThan(0);
    for (const seal of new Set(sealed.mock.contexts)) {
      expect(ended.mock.contexts).toContain(seal);
      expectCode("E_CLOSED", () => (seal as AskerSeal).sealRequest(empty));
    }
  });

  it("F3: an exchange whose caller goes, before the answer and within it", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const sealed = vi.spyOn(AskerSeal.prototype, "sealRequest");
    const ended = vi.spyOn(AskerSeal.prototype, "end");
    let streams = 0;
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      streams += 1;
      if (streams === 2) {
        const chunk = exchange.seal.sealChunk(answer.subarray(0, -3), false);
        await stream.write(concat([answerHeader(exchange), chunk]));
      }
    };
    const client = await clientOf(mesh, [host]);
    for (const round of [1, 2]) {
      const gone = new AbortController();
      const asking = fetch(`${client.apiUrl}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(prompt()),
        signal: gone.signal,
      });
      if (round === 2) await (await asking).body?.getReader().read();
      else await eventually("the host has it", () => streams === round);
      gone.abort();
      await asking.catch(() => undefined);
      await eventually("the key has gone", () => ended.mock.calls.length >= round);
    }
    for (const seal of new Set(sealed.mock.contexts)) expect(ended.mock.contexts).toContain(seal);
    expect(new Set(sealed.mock.contexts).size).toBe(2);
  });
});

describe("F3: at the host", () => {
  it("F3: answered, refused, abandoned or not even a request: the exchange's key goes", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const ended = vi.spyOn(HostSeal.prototype, "end");
    const key = host.keys.current.publicKey;
    let count = 0;
    const oneMore = async (): Promise<void> => {
      count += 1;
      await eventually("the key has gone", () => ended.mock.calls.length === count);
      expectCode("E_CLOSED", () => (ended.mock.contexts.at(-1) as HostSeal).sealChunk(empty, true));
    };
    const fine = sealAsk(asker.identity, host.endpointId, key);
    await readAnswer(await sendDirect(connection, fine.bytes), fine);
    await oneMore();
    for (const request of [
      { head: { from: asker.entryOf(host.endpointId).id } }, // another asker
      { plaintext: utf8("nonsense") },
      { timeMs: 1 },
      { body: "{" },
    ]) {
      const ask = sealAsk(asker.identity, host.endpointId, key, request);
      await readAnswer(await sendDirect(connection, ask.bytes), ask).catch(() => undefined);
      await oneMore();
    }
    Object.assign(engine.options, { prefillMs: 60_000 });
    const left = sealAsk(asker.identity, host.endpointId, key);
    const stream = await connection.open();
    await stream.write(concat([Uint8Array.of(0x04), left.bytes]));
    await stream.finish();
    await eventually("the engine works", () => engine.running === 1);
    stream.abort();
    await oneMore();
    await engine.close();
  });

  it("F3: a node that stops erases its inference keys", async () => {
    const host = await attackedMesh().start("serve");
    const { secretKey } = host.keys.current;
    await host.stop(0);
    expect(secretKey.wiped).toBe(true);
  });

  it("F3: a chunk opener has no key of its own to forget", () => {
    const key = new SecretBytes(new Uint8Array(32));
    const opener = new ChunkOpener(key, "indexed", new Uint8Array(24));
    key.wipe();
    expectCode("E_CLOSED", () => opener.open(new Uint8Array(40)));
  });
});

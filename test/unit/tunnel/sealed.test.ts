/** Both ends of a sealed exchange on a stream that misbehaves: waits end, and streams are let go. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { concat, utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { ByteStream } from "../../../src/base/stream.ts";
import { generateKeyPair } from "../../../src/crypto/box.ts";
import { AskerSeal, openRequest } from "../../../src/crypto/seal.ts";
import { type ByteSource, bytesSource } from "../../../src/tunnel/http.ts";
import { settle } from "../../../src/tunnel/lifetime.ts";
import { openedResponse, sealResponse, writeEnvelope } from "../../../src/tunnel/sealed.ts";
import { StreamReader } from "../../../src/wire/frame.ts";
import { expectCode, rejectsWith } from "../../support/expect-code.ts";

afterEach(() => {
  vi.useRealTimers();
});

interface Recorded extends ByteStream {
  readonly written: Uint8Array[];
  finished: boolean;
  aborts: number;
}

function recorder(more: Partial<ByteStream> = {}): Recorded {
  const controller = new AbortController();
  const stream: Recorded = {
    written: [],
    finished: false,
    aborts: 0,
    aborted: controller.signal,
    read: () => new Promise(() => undefined),
    write: (bytes) => Promise.resolve(void stream.written.push(bytes.slice())),
    finish: () => Promise.resolve(void (stream.finished = true)),
    abort: () => void (stream.aborts += 1),
    ...more,
  };
  return stream;
}

const pair = generateKeyPair();
const keys = [{ ...pair, createdMs: 0, notAfterMs: 1 }];

describe("writing a request", () => {
  it("seals one request of an exchange, and no second one under the same nonce", () => {
    const seal = new AskerSeal(pair.publicKey);
    seal.sealRequest(utf8("one"));
    expectCode("E_BUG", () => seal.sealRequest(utf8("another")));
  });

  it("gives up on a host that takes no bytes", async () => {
    vi.useFakeTimers();
    const stream = recorder({ write: () => new Promise(() => undefined) });
    const envelope = new AskerSeal(pair.publicKey).sealRequest(new Uint8Array(100_000));
    const writing = rejectsWith("E_TIMEOUT", writeEnvelope(stream, envelope, 5_000));
    await vi.advanceTimersByTimeAsync(5_000);
    await writing;
  });
});

describe("sealing a response", () => {
  const begin = (): { asker: AskerSeal; seal: ReturnType<typeof openRequest>["seal"] } => {
    const asker = new AskerSeal(pair.publicKey);
    return { asker, seal: openRequest(asker.sealRequest(utf8("x")), keys).seal };
  };
  const read = (asker: AskerSeal, stream: Recorded): ByteSource => {
    const reader = new StreamReader(bytesSource(concat(stream.written)));
    const opener = asker.openResponse("indexed");
    return openedResponse(reader, { hostKey: pair.publicKey, opener, silenceMs: 1_000 }, () => undefined);
  };

  it("I4: delivers all that came before a break, and then no end", async () => {
    const { asker, seal } = begin();
    const stream = recorder();
    let pieces = 0;
    const breaking: ByteSource = {
      read: () => (pieces++ === 0 ? Promise.resolve(utf8("why")) : Promise.reject(new MeshError("E_ENGINE", "lost"))),
    };
    expect(await sealResponse(stream, seal, breaking, { keepAliveMs: 1_000, unreadMs: 5_000 })).toBe(false);
    expect([stream.finished, stream.aborts]).toEqual([true, 0]);
    const source = read(asker, stream);
    expect(await source.read()).toEqual(utf8("why"));
    await rejectsWith("E_TRUNCATED", source.read());
  });

  it("sends the header together with what is there at once, or breaks at once", async () => {
    const { asker, seal } = begin();
    const stream = recorder();
    expect(await sealResponse(stream, seal, bytesSource(utf8("fast")), { keepAliveMs: 2_000, unreadMs: 5_000 })).toBe(
      true,
    );
    expect(stream.written).toHaveLength(1);
    const source = read(asker, stream);
    expect(await source.read()).toEqual(utf8("fast"));
    expect(await source.read()).toBeUndefined();
    const broken = recorder();
    const breaking: ByteSource = { read: () => Promise.reject(new MeshError("E_ENGINE", "lost")) };
    expect(await sealResponse(broken, begin().seal, breaking, { keepAliveMs: 2_000, unreadMs: 5_000 })).toBe(false);
    expect([broken.written.map(({ length }) => length), broken.finished]).toEqual([[33], true]);
  });

  it("says every two seconds that it lives, in chunks that carry nothing", async () => {
    vi.useFakeTimers();
    const { asker, seal } = begin();
    const stream = recorder();
    let answer: (bytes: Uint8Array | undefined) => void = () => undefined;
    const slow: ByteSource = { read: () => new Promise((resolve) => (answer = resolve)) };
    const sealing = sealResponse(stream, seal, slow, { keepAliveMs: 2_000, unreadMs: 5_000 });
    await vi.advanceTimersByTimeAsync(4);
    expect(stream.written).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(stream.written.map(({ length }) => length)).toEqual([33]); // the header, without waiting for the answer
    await vi.advanceTimersByTimeAsync(20_000);
    expect(stream.written).toHaveLength(1 + 10); // and the signs of life
    expect(new Set(stream.written.slice(1).map(({ length }) => length))).toEqual(new Set([44]));
    answer(utf8("at last"));
    await vi.advanceTimersByTimeAsync(0);
    answer(undefined);
    expect(await sealing).toBe(true);
    const source = read(asker, stream);
    expect(await source.read()).toEqual(utf8("at last"));
    expect(await source.read()).toBeUndefined();
  });
});

describe("a stream on which all has been said", () => {
  it("is read to its end, and aborted when there is none", async () => {
    vi.useFakeTimers();
    const ended = recorder({ read: () => Promise.resolve(undefined) });
    const more = recorder({ read: () => Promise.resolve(utf8("more")) });
    const silent = recorder();
    for (const stream of [ended, more, silent]) settle(stream, stream);
    await vi.advanceTimersByTimeAsync(0);
    expect([ended.aborts, more.aborts, silent.aborts]).toEqual([0, 1, 0]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(silent.aborts).toBe(1);
  });

  it("Q5: gives up on an asker that takes nothing of the answer", async () => {
    vi.useFakeTimers();
    const { seal } = openRequest(new AskerSeal(pair.publicKey).sealRequest(utf8("x")), keys);
    const stream = recorder({ write: () => new Promise(() => undefined) });
    const pace = { keepAliveMs: 2_000, unreadMs: 5_000 };
    const sealing = rejectsWith("E_TIMEOUT", sealResponse(stream, seal, bytesSource(utf8("answer")), pace));
    await vi.advanceTimersByTimeAsync(5_000);
    await sealing;
  });
});

describe("opening a response", () => {
  /** A source that gives `bytes` in pieces of `size`, one every `everyMs`. */
  const slowly = (bytes: Uint8Array, size: number, everyMs: number): ByteSource => {
    let at = 0;
    return {
      read: async () => {
        if (at >= bytes.length) return await new Promise<never>(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, everyMs));
        at += size;
        return bytes.subarray(at - size, at);
      },
    };
  };
  const sealedAnswer = async (body: Uint8Array): Promise<{ asker: AskerSeal; bytes: Uint8Array }> => {
    const asker = new AskerSeal(pair.publicKey);
    const { seal } = openRequest(asker.sealRequest(utf8("x")), keys);
    const stream = recorder();
    await sealResponse(stream, seal, bytesSource(body), { keepAliveMs: 60_000, unreadMs: 60_000 });
    return { asker, bytes: concat(stream.written) };
  };

  it("waits for a large chunk on a slow line for as long as bytes come", async () => {
    const body = new Uint8Array(60_000).fill(7);
    const { asker, bytes } = await sealedAnswer(body);
    vi.useFakeTimers();
    const reader = new StreamReader(slowly(bytes, 2_000, 1_000)); // half a minute for one chunk
    const opener = asker.openResponse("indexed");
    const source = openedResponse(reader, { hostKey: pair.publicKey, opener, silenceMs: 5_000 }, () => undefined);
    const opened = source.read();
    await vi.advanceTimersByTimeAsync(40_000);
    expect(await opened).toEqual(body);
  });

  it("Q2: is not held by a host that lets a byte trickle now and then", async () => {
    const { asker, bytes } = await sealedAnswer(new Uint8Array(60_000));
    vi.useFakeTimers();
    const reader = new StreamReader(slowly(bytes, 10, 1_000));
    const opener = asker.openResponse("indexed");
    const source = openedResponse(reader, { hostKey: pair.publicKey, opener, silenceMs: 5_000 }, () => undefined);
    const opened = rejectsWith("E_TIMEOUT", source.read());
    await vi.advanceTimersByTimeAsync(30_000);
    await opened;
  });
});

/** A relay's stream: which way it takes, what it says when there is none, and that nothing is held for ever. */
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { concat } from "../../../src/base/bytes.ts";
import type { ByteStream } from "../../../src/base/stream.ts";
import { askRelay, carry, type CarryOptions, type Onward } from "../../../src/tunnel/relay.ts";
import { encodeFrame, StreamReader } from "../../../src/wire/frame.ts";
import { limits } from "../../../src/wire/limits.ts";
import {
  decodeRelayedOpen,
  decodeRelayOpen,
  decodeRelayReply,
  encodeRelayOpen,
  encodeRelayReply,
  type RelayCode,
  relayCodes,
} from "../../../src/wire/relay.ts";
import { envelopeByte } from "../../../src/wire/stream-types.ts";
import { rejectsWith } from "../../support/expect-code.ts";

const target = endpointId("1".repeat(64));
const never = new Promise<never>(() => undefined);

interface Scripted {
  readonly stream: ByteStream;
  readonly over: AbortController;
  /** Taken so far. */
  readonly written: Uint8Array[];
}

/** A stream that gives these pieces, then its end or nothing, and takes `taken` writes. */
function scripted(pieces: readonly Uint8Array[], taken: number, ends = false): Scripted {
  const over = new AbortController();
  const left = [...pieces];
  const written: Uint8Array[] = [];
  const stream: ByteStream = {
    read: () => (left.length > 0 || ends ? Promise.resolve(left.shift()) : never),
    write: (bytes) => (written.push(bytes.slice()) <= taken ? Promise.resolve() : never),
    finish: () => Promise.resolve(),
    abort: () => over.abort(),
    aborted: over.signal,
  };
  return { stream, over, written };
}

it("who asks gives a relay up that does not even take the question", async () => {
  const { stream, over } = scripted([], 0);
  const options = { ms: 40, signal: new AbortController().signal };
  await rejectsWith("E_TIMEOUT", askRelay(stream, new StreamReader(stream), target, options));
  expect(over.signal.aborted).toBe(true);
});

it.each([
  ["the asker, its reply", 0, 1],
  ["the asker, the answer", 1, 2],
  ["the host, the request", 1, 1],
])("the relay gives both up when one of them takes nothing: %s", async (_name, byAsker, byHost) => {
  const open = encodeFrame(encodeRelayOpen({ target, hops: 0 }));
  const asker = scripted([concat([open, Uint8Array.of(envelopeByte)])], byAsker, true);
  const host = scripted([Uint8Array.of(envelopeByte)], byHost);
  const carried = carry(asker.stream, new StreamReader(asker.stream), {
    from: endpointId("2".repeat(64)),
    reach: () => Promise.resolve(host.stream),
    admit: () => true,
    reachMs: 40,
    firstByteMs: 60_000,
    idleMs: 40,
  });
  await rejectsWith("E_TIMEOUT", carried);
  expect([asker.over.signal.aborted, host.over.signal.aborted]).toEqual([true, true]);
});

// ---- which way

const from = endpointId("2".repeat(64));
const [first, second, third] = ["3", "4", "5"].map((digit) => endpointId(digit.repeat(64)));
const envelope = Uint8Array.of(envelopeByte, 1, 2, 3);
const answer = Uint8Array.of(envelopeByte, 9);

/** Another relay that says `code`, or nothing, and then brings an answer. */
function other(code: RelayCode | undefined): Scripted {
  return scripted(code === undefined ? [] : [encodeFrame(encodeRelayReply(code)), answer], 9, code !== undefined);
}

interface Asked {
  readonly hops?: number;
  readonly options?: Partial<CarryOptions>;
  /** Other relays, in order. */
  readonly others?: readonly Scripted[];
}

/** One stream at a relay that reaches nobody itself, unless `options` differ. */
async function carried({ hops = 0, options = {}, others = [] }: Asked) {
  const asker = scripted([encodeFrame(encodeRelayOpen({ target, hops })), envelope], 9, true);
  const asked: number[] = [];
  const failed: number[] = [];
  const onward = others.map(({ stream }, index): Onward => ({
    relay: [first, second, third][index] ?? target,
    open: () => {
      asked.push(index);
      return Promise.resolve(stream);
    },
    failed: () => void failed.push(index),
  }));
  const outcome = await carry(asker.stream, new StreamReader(asker.stream), {
    from,
    reach: () => undefined,
    onward: () => onward,
    admit: () => true,
    reachMs: 100,
    firstByteMs: 60_000,
    idleMs: 60_000,
    ...options,
  }).catch((thrown: unknown) => (thrown as { code: string }).code);
  const [reply] = asker.written;
  return { outcome, asked, failed, asker, code: reply && decodeRelayReply(reply.subarray(4)) };
}

describe("a relay", () => {
  it("goes to the target itself when it can, and tells it how many relays there were", async () => {
    for (const hops of [0, 1]) {
      const host = scripted([answer], 9, true);
      const unused = other(relayCodes.ok);
      const { outcome, asked } = await carried({
        hops,
        options: { reach: () => Promise.resolve(host.stream) },
        others: [unused],
      });
      expect(outcome).toMatchObject({ target, via: undefined, bytesToHost: 4, bytesToAsker: 2 });
      expect(decodeRelayedOpen(host.written[0]?.subarray(5) ?? envelope).hops).toBe(hops + 1);
      expect(asked).toEqual([]);
    }
  });

  it("else goes through one more, which learns that it is the second", async () => {
    const next = other(relayCodes.ok);
    const { outcome, code, asker } = await carried({ others: [next] });
    expect(outcome).toMatchObject({ target, via: first, bytesToHost: 4, bytesToAsker: 2 });
    expect(decodeRelayOpen(next.written[0]?.subarray(5) ?? envelope)).toEqual({ version: 1, target, hops: 1 });
    expect(code).toBe(relayCodes.ok);
    expect([next.written[1], asker.written[1]]).toEqual([envelope, answer]);
  });

  it("goes through no third: what came through one relay ends at the target, or nowhere", async () => {
    expect(await carried({ hops: 1, others: [other(relayCodes.ok)] })).toMatchObject({
      asked: [],
      outcome: relayCodes.unknownTarget,
      code: relayCodes.unknownTarget,
    });
    expect(await carried({ hops: 2, others: [other(relayCodes.ok)] })).toMatchObject({
      asked: [],
      code: relayCodes.refused,
    });
  });

  it("asks a second relay when the first does not lead there, and no third", async () => {
    const busy = other(relayCodes.busy);
    expect(await carried({ others: [busy, other(relayCodes.ok)] })).toMatchObject({
      asked: [0, 1],
      failed: [0],
      outcome: { via: second },
    });
    expect(busy.over.signal.aborted).toBe(true);
    const lost = await carried({ others: [relayCodes.unknownTarget, relayCodes.busy, relayCodes.ok].map(other) });
    expect(lost).toMatchObject({ asked: [0, 1], failed: [0, 1], outcome: relayCodes.busy, code: relayCodes.busy });
    const unknown = await carried({ others: [other(relayCodes.refused)] });
    expect(unknown.code).toBe(relayCodes.unreachable);
  });

  it("does not wait for ever for a target, or a relay, while there is another way", async () => {
    const silent = other(undefined);
    let late: (stream: ByteStream) => void = () => undefined;
    const slow = new Promise<ByteStream>((resolve) => (late = resolve));
    const { outcome } = await carried({
      options: { reach: () => slow },
      others: [silent, other(relayCodes.ok)],
    });
    expect(outcome).toMatchObject({ via: second });
    expect(silent.over.signal.aborted).toBe(true);
    const tooLate = scripted([], 9);
    late(tooLate.stream);
    await slow;
    await Promise.resolve();
    expect(tooLate.over.signal.aborted).toBe(true);
  });

  it("leads nobody back to itself", async () => {
    const { outcome, code } = await carried({
      options: { from: target, reach: () => Promise.reject(new Error("not asked for")) },
    });
    expect([outcome, code]).toEqual([relayCodes.refused, relayCodes.refused]);
  });

  it("without a place says that it is busy, before it looks for a way", async () => {
    const { outcome, code, asked } = await carried({ options: { admit: () => false }, others: [other(relayCodes.ok)] });
    expect([outcome, code, asked]).toEqual([relayCodes.busy, relayCodes.busy, []]);
  });

  it("lets its refusal arrive: no abort comes behind it, which could overtake it", async () => {
    const asker = scripted([encodeFrame(encodeRelayOpen({ target, hops: 2 }))], 9, true);
    const options = { from, reach: () => undefined, admit: () => true, reachMs: 100, firstByteMs: 100, idleMs: 100 };
    expect(await carry(asker.stream, new StreamReader(asker.stream), options)).toBe(relayCodes.refused);
    await new Promise((resolve) => setImmediate(resolve));
    expect([asker.written.length, asker.over.signal.aborted]).toEqual([1, false]);
  });

  it.each([
    ["an envelope that came right behind the question is dropped", limits.relayAheadBytes, false],
    ["more than that ends the stream", limits.relayAheadBytes + 1, true],
  ])("when it refuses, %s", async (_name, behindBytes, aborted) => {
    const question = encodeFrame(encodeRelayOpen({ target, hops: 2 }));
    const asker = scripted([concat([question, new Uint8Array(behindBytes)])], 9, true);
    const options = { from, reach: () => undefined, admit: () => true, reachMs: 100, firstByteMs: 100, idleMs: 100 };
    expect(await carry(asker.stream, new StreamReader(asker.stream), options)).toBe(relayCodes.refused);
    await new Promise((resolve) => setImmediate(resolve));
    expect([asker.written.length, asker.over.signal.aborted]).toEqual([1, aborted]);
  });

  it("lets bytes pass when it is told to, each direction for itself", async () => {
    const passed: [number, string][] = [];
    await carried({
      options: { pass: async (bytes, side) => void passed.push([bytes, side]) },
      others: [other(relayCodes.ok)],
    });
    expect(passed.toSorted(([a], [b]) => a - b)).toEqual([
      [2, "host"],
      [4, "asker"],
    ]);
  });
});

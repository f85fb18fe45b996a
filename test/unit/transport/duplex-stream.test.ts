/** The stream over halves that behave as badly as the contract allows: held by what is pending, or failing late. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MeshError } from "../../../src/base/errors.ts";
import { DuplexStream, type StreamHalves } from "../../../src/transport/duplex-stream.ts";
import { codeOf, rejectsWith } from "../../support/expect-code.ts";

const forever = new Promise<never>(() => undefined);
const lost = new MeshError("E_LOST", "the connection was lost");

function streamOver(halves: Partial<StreamHalves>) {
  const notify = vi.fn<(code: number) => void>();
  const released = vi.fn<() => void>();
  const all: StreamHalves = {
    read: () => forever,
    write: async () => undefined,
    finish: async () => undefined,
    reset: async () => undefined,
    stop: async () => undefined,
    ...halves,
  };
  return { stream: new DuplexStream(all, { notify, released }), notify, released };
}

describe("abort", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("is told to the peer twice while a half is held, and no more", async () => {
    const { stream, notify, released } = streamOver({ stop: () => forever });
    const reading = stream.read().catch(codeOf);
    stream.abort(3);
    expect(await reading).toBe("E_ABORTED");
    expect(notify.mock.calls).toEqual([[3]]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(notify.mock.calls).toEqual([[3], [3]]);
    expect(released).not.toHaveBeenCalled();
  });

  test("is told once when both halves end at once, and leaves no timer", async () => {
    const { stream, notify, released } = streamOver({});
    stream.abort();
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
    expect(notify).toHaveBeenCalledTimes(1);
    expect(released).toHaveBeenCalledTimes(1);
  });

  test("of the peer is told to nobody", async () => {
    const { stream, notify } = streamOver({});
    await stream.end(new MeshError("E_ABORTED", "the peer aborted the stream"));
    stream.abort();
    expect(notify).not.toHaveBeenCalled();
    expect(codeOf(stream.aborted.reason)).toBe("E_ABORTED");
  });

  test("survives halves that fail afterwards", async () => {
    let fail = (_error: Error): void => undefined;
    const pending = new Promise<never>((_, reject) => (fail = reject));
    const { stream, released } = streamOver({ read: () => pending, reset: () => pending, stop: () => pending });
    const reading = stream.read().catch(codeOf);
    stream.abort();
    fail(lost);
    expect(await reading).toBe("E_ABORTED");
    await vi.advanceTimersByTimeAsync(0);
    expect(released).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test("writes are cut at 64 KiB, and an abort ends them between two pieces", async () => {
  const sizes: number[] = [];
  const { stream } = streamOver({
    write: async (bytes) => {
      sizes.push(bytes.length);
      if (sizes.length === 2) stream.abort();
    },
  });
  await rejectsWith("E_ABORTED", stream.write(new Uint8Array(200_000)));
  expect(sizes).toEqual([65_536, 65_536]);
});

test("a lost connection ends both directions, whichever half notices", async () => {
  const reading = streamOver({ read: () => Promise.reject(lost) }).stream;
  await rejectsWith("E_LOST", reading.read());
  await rejectsWith("E_LOST", reading.write(Uint8Array.of(1)));
  const writing = streamOver({ write: () => Promise.reject(lost) }).stream;
  await rejectsWith("E_LOST", writing.write(Uint8Array.of(1)));
  expect(writing.aborted.aborted).toBe(true);
});

test("a peer that reads no further ends our writing only", async () => {
  const stopped = new MeshError("E_ABORTED", "the peer reads no further");
  const { stream, released } = streamOver({ read: async () => undefined, write: () => Promise.reject(stopped) });
  await rejectsWith("E_ABORTED", stream.write(Uint8Array.of(1)));
  await rejectsWith("E_ABORTED", stream.write(Uint8Array.of(1)));
  await stream.finish();
  expect(stream.aborted.aborted).toBe(false);
  expect(await stream.read()).toBeUndefined();
  expect(released).toHaveBeenCalledTimes(1);
});

describe("what is offered", () => {
  function recorder() {
    const written: string[] = [];
    let isFinished = false;
    let free = (): void => undefined;
    let isHeld = false;
    const halves: Partial<StreamHalves> = {
      write: async (bytes) => {
        written.push(Buffer.from(bytes).toString());
        if (isHeld) await new Promise<void>((resolve) => (free = resolve));
      },
      finish: async () => {
        isFinished = true;
      },
    };
    return {
      halves,
      written,
      hold: (held: boolean) => void (isHeld = held),
      free: () => free(),
      over: () => isFinished,
    };
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const text = (words: string): Uint8Array => new TextEncoder().encode(words);

  test("goes out with what follows in the same turn, or by itself at its end", async () => {
    const { halves, written } = recorder();
    const { stream } = streamOver(halves);
    const borrowed = text("a");
    expect(stream.offer(borrowed)).toBe(true);
    borrowed.fill(0x78); // it is the caller's again
    await stream.write(text("bc"));
    expect(written).toEqual(["abc"]);
    expect(stream.offer(text("d"))).toBe(true);
    await turn();
    expect(written).toEqual(["abc", "d"]);
  });

  test("is written before the end", async () => {
    const { halves, written, over } = recorder();
    const { stream } = streamOver(halves);
    stream.offer(text("z"));
    await stream.finish();
    expect(written).toEqual(["z"]);
    expect(over()).toBe(true);
    expect(() => stream.offer(text("more"))).toThrow("a finished stream takes no more bytes");
  });

  test("is refused while the half is held, or when it is more than a byte: whoever writes must wait then", async () => {
    const { halves, written, hold, free } = recorder();
    const { stream } = streamOver(halves);
    expect(stream.offer(text("ab"))).toBe(false);
    hold(true);
    stream.offer(text("a"));
    await turn();
    expect(stream.offer(text("b"))).toBe(false);
    const writing = stream.write(text("c"));
    await turn();
    expect(written).toEqual(["a"]);
    hold(false);
    free();
    await writing;
    expect(written).toEqual(["a", "c"]);
  });

  test("and not taken is told to whoever writes next", async () => {
    const { stream } = streamOver({ write: () => Promise.reject(lost) });
    stream.offer(text("a"));
    await turn();
    await rejectsWith("E_LOST", stream.write(text("b")));
  });

  test("is not written after an abort", async () => {
    const { halves, written } = recorder();
    const { stream } = streamOver(halves);
    stream.offer(text("s"));
    stream.abort();
    await turn();
    expect(written).toEqual([]);
  });
});

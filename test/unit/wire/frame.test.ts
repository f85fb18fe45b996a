import { describe, expect, it } from "vitest";
import { concat, equal, toHex } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { Now } from "../../../src/base/flow.ts";
import type { ByteStream } from "../../../src/base/stream.ts";
import { encodeFrame, StreamReader } from "../../../src/wire/frame.ts";
import { expectCode, rejectsWith } from "../../support/expect-code.ts";
import { pieces } from "./pieces.ts";

const sample = Uint8Array.from({ length: 50_000 }, (_, at) => at % 251);

it("a frame is u32 LE length and payload", () => {
  expect(toHex(encodeFrame(Uint8Array.of(7, 8)))).toBe("020000000708");
  expect(toHex(encodeFrame(new Uint8Array(0)))).toBe("00000000");
});

describe("StreamReader", () => {
  it.each([1, 2, 3, 4, 5, 1000, 4095, 4096, 60_000])("takes exact amounts from pieces of %i bytes", async (size) => {
    const reader = new StreamReader(pieces(concat([Uint8Array.of(9), encodeFrame(sample), sample]), size));
    expect(await reader.peekByte()).toBe(9);
    expect(await reader.byte()).toBe(9);
    expect(equal(await reader.frame(50_000), sample)).toBe(true);
    expect(await reader.exact(0)).toEqual(new Uint8Array(0));
    expect(equal(await reader.exact(10_001), sample.subarray(0, 10_001))).toBe(true);
    expect(await reader.peekByte()).toBe(sample[10_001]);
    expect(equal(await reader.readAll(50_000, "the rest"), sample.subarray(10_001))).toBe(true);
    await reader.end();
    expect(await reader.byte()).toBeUndefined();
    expect(await reader.read()).toBeUndefined();
  });

  it("read gives what is left first, then what comes", async () => {
    const reader = new StreamReader(pieces(sample, 100));
    await reader.exact(30);
    expect((await reader.read())?.length).toBe(70);
    expect((await reader.read())?.length).toBe(100);
  });

  it("does not read beyond what is asked for", async () => {
    let reads = 0;
    const source = pieces(sample, 10);
    const reader = new StreamReader({
      read: () => {
        reads += 1;
        return source.read();
      },
    });
    await reader.exact(20);
    expect(reads).toBe(2);
    await reader.exact(1);
    await reader.exact(9);
    expect(reads).toBe(3);
  });

  it("refuses a frame over the limit before it reads the payload", async () => {
    let reads = 0;
    const reader = new StreamReader({
      read: async () => {
        reads += 1;
        return reads === 1 ? Uint8Array.of(0xff, 0xff, 0xff, 0xff) : undefined;
      },
    });
    await rejectsWith("E_WIRE", reader.frame(8_388_608));
    expect(reads).toBe(1);
  });

  it("says E_WIRE when the stream ends early, or does not end", async () => {
    await rejectsWith("E_WIRE", new StreamReader(pieces(sample.subarray(0, 3))).u32());
    await rejectsWith("E_WIRE", new StreamReader(pieces(sample.subarray(0, 9))).exact(10));
    await rejectsWith("E_WIRE", new StreamReader(pieces(encodeFrame(sample).subarray(0, 100))).frame(50_000));
    await rejectsWith("E_WIRE", new StreamReader(pieces(sample)).end());
    expect(await new StreamReader(pieces(sample.subarray(0, 9))).tryExact(10)).toBeUndefined();
  });

  it("readAll stops at the limit", async () => {
    await rejectsWith("E_TOO_LARGE", new StreamReader(pieces(sample, 100)).readAll(49_999, "it"));
    expect((await new StreamReader(pieces(sample, 100)).readAll(50_000, "it")).length).toBe(50_000);
  });

  it("skips empty pieces", async () => {
    const parts = [new Uint8Array(0), Uint8Array.of(1), new Uint8Array(0), undefined];
    const reader = new StreamReader({ read: async () => parts.shift() });
    expect(await reader.byte()).toBe(1);
    expect(await reader.byte()).toBeUndefined();
  });

  it("a megabyte in pieces of one byte takes linear time", async () => {
    const large = new Uint8Array(1 << 20);
    const started = performance.now();
    expect((await new StreamReader(pieces(large, 1)).exact(large.length)).length).toBe(large.length);
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});

describe("StreamReader on a stream that tells what is there", () => {
  /** Gives these at once; at each undefined it has to be waited for, and at the end. */
  function telling(script: readonly (Uint8Array | undefined)[]): {
    readonly stream: Told;
    readonly reads: () => number;
  } {
    const left = [...script];
    let reads = 0;
    const now = (): Now => {
      if (left.length === 0) return "end";
      const [first] = left;
      if (first) left.shift();
      return first;
    };
    const read = (): Promise<Uint8Array | undefined> => {
      reads += 1;
      left.shift();
      return Promise.resolve(left.shift());
    };
    return { stream: { now, read }, reads: () => reads };
  }
  type Told = Pick<ByteStream, "read" | "now">;
  const [one, two] = [Uint8Array.of(1, 2), Uint8Array.of(3)];

  it("takes it without a wait, and waits where nothing is", async () => {
    const { stream, reads } = telling([one, undefined, two]);
    const reader = new StreamReader(stream);
    expect([reader.ready(), reader.waiting, reader.received]).toEqual([true, one, 2]);
    expect([reader.takeByte(), reader.takeByte()]).toEqual([1, 2]);
    expect([reader.ready(), reader.ended, reads()]).toEqual([false, false, 0]);
    expect(await reader.byte()).toBe(3);
    expect([reads(), reader.ready(), reader.ended, reader.takeByte()]).toEqual([1, true, true, undefined]);
  });

  it("takes all up to the end, or nothing, and never more than the limit", async () => {
    const whole = new StreamReader(telling([one, two]).stream);
    expect(whole.takeByte()).toBeUndefined(); // what nobody has looked for is not there yet
    expect(whole.ready() && whole.takeByte()).toBe(1);
    expect(whole.allNow(2, "it")).toEqual(Uint8Array.of(2, 3));
    expect(whole.allNow(2, "it")).toEqual(new Uint8Array());
    const cut = new StreamReader(telling([one, two, undefined, one]).stream);
    expect(cut.allNow(5, "it")).toBeUndefined();
    expect(cut.waiting).toEqual(Uint8Array.of(1, 2, 3));
    expect(await cut.readAll(5, "it")).toEqual(Uint8Array.of(1, 2, 3, 1, 2));
    expectCode("E_TOO_LARGE", () => new StreamReader(telling([one, two]).stream).allNow(2, "it"));
  });

  it("meters it as what was read, and passes its failures on", async () => {
    const { stream } = telling([one, undefined, two]);
    const reader = new StreamReader(stream);
    const sizes: number[] = [];
    reader.meter((bytes) => sizes.push(bytes));
    expect(await reader.readAll(9, "it")).toEqual(Uint8Array.of(1, 2, 3));
    expect(sizes).toEqual([2, 1]);
    const lost = new MeshError("E_LOST", "gone");
    const fail = (): never => {
      throw lost;
    };
    const broken = { now: fail, read: async () => fail() };
    expectCode("E_LOST", () => new StreamReader(broken).ready());
    await rejectsWith("E_LOST", new StreamReader(broken).readAll(9, "it"));
  });
});

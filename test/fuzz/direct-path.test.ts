/** What comes on a direct path, and in the offer of one: whatever the bytes, an error of ours or a right reading. */
import { describe, expect, it } from "vitest";
import { concat } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { decodeHello, decodeReply, encodeHello, encodeReply } from "../../src/transport/carriers.ts";
import { decodeOffer, encodeOffer } from "../../src/transport/direct-offer.ts";
import { ipBytes, ipText, isRemote, plainIp } from "../../src/transport/ip.ts";
import { controlFrame, dataFrame, FrameReader, type FrameType, frameTypes } from "../../src/transport/mux-frames.ts";
import { fc } from "../support/fast-check.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const anyBytes = fc.uint8Array({ maxLength: 200 });

/** What a reader makes of bytes that come in these pieces: data joined where it is of one frame after another. */
function readingOf(pieces: readonly Uint8Array[]): unknown {
  const seen: unknown[] = [];
  const reader = new FrameReader({
    onData: (stream, bytes) => {
      for (const byte of bytes) seen.push([stream, byte]);
    },
    onControl: (type, stream, value) => void seen.push([type, stream, value]),
  });
  try {
    for (const piece of pieces) reader.take(piece);
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    seen.push(thrown.code);
  }
  return seen;
}

function cutAt(bytes: Uint8Array, cuts: readonly number[]): readonly Uint8Array[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.slice(at[index] ?? 0, end));
}

const widths: Readonly<Record<Exclude<FrameType, 2>, number>> = { 1: 1, 3: 0, 4: 1, 5: 4, 6: 4, 7: 6, 8: 0, 9: 0 };
const stream = fc.integer({ min: 0, max: 0xffff_ffff });
const frame = fc.oneof(
  fc.tuple(stream, fc.uint8Array({ minLength: 1, maxLength: 40 })).map(([id, payload]) => ({
    bytes: dataFrame(id, payload),
    means: [...payload].map((byte): unknown => [id, byte]),
  })),
  fc.tuple(fc.constantFrom(1, 3, 4, 5, 6, 7, 8, 9), stream, fc.maxSafeNat()).map(([type, id, number]) => {
    const kind = type as Exclude<FrameType, 2>;
    const value = number % 2 ** (8 * widths[kind]);
    return { bytes: controlFrame(kind, id, value), means: [[kind, id, value]] as unknown[] };
  }),
);

describe("frames of a session", () => {
  it("read as they were written, in whatever pieces they come", () => {
    const property = fc.property(
      fc.array(frame, { maxLength: 20 }),
      fc.array(fc.nat(), { maxLength: 20 }),
      (frames, cuts) => {
        const bytes = concat(frames.map((one) => one.bytes));
        expect(readingOf(cutAt(bytes, cuts))).toEqual(frames.flatMap((one) => one.means));
      },
    );
    fc.assert(property, { numRuns });
  });

  it("of any bytes mean the same in one piece and in many", () => {
    const property = fc.property(anyBytes, fc.array(fc.nat(), { maxLength: 8 }), (bytes, cuts) => {
      expect(readingOf(cutAt(bytes, cuts))).toEqual(readingOf([bytes]));
    });
    fc.assert(property, { numRuns });
  });

  it("have the layout of docs/wire.md", () => {
    expect(dataFrame(6, Uint8Array.of(0xaa, 0xbb)).toString("hex")).toBe("0202000006000000aabb");
    expect(controlFrame(frameTypes.open, 2, 1).toString("hex")).toBe("010100000200000001");
    expect(controlFrame(frameTypes.received, 0, 0x0102_0304_0506).toString("hex")).toBe("0706000000000000060504030201");
  });
});

describe("an offer, a hello and its answer", () => {
  const identity = identityFrom(newIdentitySeed());
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6().map((text) => ipText(ipBytes(text))),
  );

  it("come back as they were made", () => {
    const offers = fc.record({
      issuedAtMs: fc.maxSafeNat(),
      port: fc.integer({ min: 1, max: 65_535 }),
      addresses: fc.array(address, { maxLength: 8 }),
    });
    const hellos = fc.record({
      kind: fc.constantFrom("new" as const, "resume" as const),
      session: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex")),
      received: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      instance: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString("hex")),
    });
    const property = fc.property(offers, hellos, (offer, hello) => {
      expect(decodeOffer(encodeOffer(offer, identity), identity.id)).toEqual(offer);
      expect(decodeHello(encodeHello(hello))).toEqual(hello);
      const { received, instance } = hello;
      expect(decodeReply(encodeReply({ received, instance }))).toEqual({ received, instance });
      expect(decodeReply(encodeReply(undefined))).toBeUndefined();
    });
    fc.assert(property, { numRuns: Math.ceil(numRuns / 3) });
  });

  it("of any bytes are refused, by an error of ours", () => {
    const property = fc.property(anyBytes, (bytes) => {
      for (const decode of [
        (): unknown => decodeOffer(bytes, identity.id),
        (): unknown => decodeHello(bytes),
        (): unknown => decodeReply(bytes),
      ]) {
        try {
          decode();
        } catch (thrown) {
          expect(isMeshError(thrown) && thrown.code).toBe("E_WIRE");
        }
      }
      expect(() => decodeOffer(bytes, identity.id)).toThrow();
    });
    fc.assert(property, { numRuns });
  });

  it("an address is the same in each of its spellings, and inside of IPv6", () => {
    const property = fc.property(fc.ipV4(), fc.ipV6(), (v4, v6) => {
      expect(ipText(ipBytes(v4))).toBe(v4);
      expect(plainIp(`::ffff:${v4}`)).toBe(v4);
      expect(isRemote(`::ffff:${v4}`)).toBe(isRemote(v4));
      expect(ipBytes(ipText(ipBytes(v6)))).toEqual(ipBytes(v6));
    });
    fc.assert(property, { numRuns });
    expect(plainIp("fe80::1%2")).toBeUndefined();
    expect(plainIp("host.example")).toBeUndefined();
  });
});

import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { concat, fromHex } from "../../../src/base/bytes.ts";
import { limits } from "../../../src/wire/limits.ts";
import { decodeRecord, decodeSignedRecord, encodeRecord, encodeSignedRecord } from "../../../src/wire/record.ts";
import { decodeRecordReply, decodeRelayOpen, decodeRelayReply, encodeRecordReply } from "../../../src/wire/relay.ts";
import { expectCode } from "../../support/expect-code.ts";
import { bytes, number } from "./protobuf-bytes.ts";

const id = endpointId("aa".repeat(32));
const start = concat([bytes(1, fromHex(id)), number(2, 5), number(3, 6), number(4, 7)]);

describe("record", () => {
  it("is read whatever the order of its fields, with those of later versions", () => {
    const ours = [bytes(16, "gpu box"), number(8, 2), bytes(10, "1.2.3"), bytes(11, new Uint8Array(32).fill(4))];
    const later = [bytes(12, "e"), bytes(99, "x")];
    expect(decodeRecord(concat([...ours, ...later, number(4, 7), start]))).toEqual({
      endpointId: id,
      seq: 5n,
      issuedAtMs: 6,
      notAfterMs: 7,
      inferenceKey: undefined,
      keyNotAfterMs: undefined,
      capabilities: [],
      role: "host",
      version: "1.2.3",
      name: "gpu box",
      addressDigest: new Uint8Array(32).fill(4),
    });
  });

  it("tells no role of later versions, and no digest of another length", () => {
    expect(decodeRecord(concat([start, number(8, 9)])).role).toBeUndefined();
    expect(decodeRecord(concat([start, number(8, 0)])).role).toBeUndefined();
    for (const length of [0, 31, 33]) {
      expectCode("E_WIRE", () => decodeRecord(concat([start, bytes(11, new Uint8Array(length))])));
    }
  });

  it("tells models, their load and what they do; kinds of later versions are left out", () => {
    const model = concat([
      bytes(1, "m"),
      number(2, 512),
      number(3, 1),
      number(4, 3),
      bytes(5, "dance"),
      bytes(5, "chat"),
    ]);
    expect(decodeRecord(concat([start, bytes(9, model)])).models).toEqual([
      { name: "m", context: 512, busy: true, queue: 3, kinds: ["chat"] },
    ]);
    expect(decodeRecord(start).models).toBeUndefined();
  });

  it("refuses more models than a node may list, and endless names", () => {
    const many = Array.from({ length: limits.modelsPerRecord + 1 }, () => bytes(9, bytes(1, "m")));
    expectCode("E_WIRE", () => decodeRecord(concat([start, ...many])));
    expectCode("E_WIRE", () => decodeRecord(concat([start, bytes(9, bytes(1, "m".repeat(limits.nameBytes + 1)))])));
  });

  it("carries a posture as it came, and none that is too long", () => {
    const posture = new Uint8Array(limits.postureBytes).fill(7);
    const read = decodeRecord(concat([start, bytes(13, posture)]));
    expect(read.posture).toEqual(posture);
    expect(decodeRecord(encodeRecord(read))).toEqual(read);
    expect(decodeRecord(start).posture).toBeUndefined();
    expectCode("E_WIRE", () => decodeRecord(concat([start, bytes(13, concat([posture, posture]))])));
  });

  it("seq has 64 bits", () => {
    const fields = decodeRecord(start);
    expect(decodeRecord(encodeRecord({ ...fields, seq: 2n ** 64n - 1n })).seq).toBe(2n ** 64n - 1n);
  });

  it.each([
    ["an id of 31 bytes", bytes(1, new Uint8Array(31))],
    ["no id", number(2, 5)],
    ["a key of 31 bytes", concat([start, bytes(5, new Uint8Array(31))])],
    ["an empty key", concat([start, bytes(5, "")])],
    ["a time beyond 2^53", concat([start, Uint8Array.of(0x18, ...Array.from({ length: 9 }, () => 0xff), 0x01)])],
    ["a key end beyond 2^53", concat([start, Uint8Array.of(0x30, ...Array.from({ length: 9 }, () => 0xff), 0x01)])],
    ["too many capabilities", concat([start, ...Array.from({ length: 65 }, () => bytes(7, "x"))])],
    ["an over-long capability", concat([start, bytes(7, "x".repeat(limits.nameBytes + 1))])],
    ["a number for the id", concat([start, number(1, 5)])],
    ["too many bytes", concat([start, bytes(99, new Uint8Array(limits.recordBytes))])],
  ])("refuses %s", (_name, signed) => expectCode("E_WIRE", () => decodeRecord(signed)));
});

describe("signed record", () => {
  const parts = { signed: start, signature: new Uint8Array(64).fill(9) };

  it("keeps the signed bytes, and shares no memory with its input", () => {
    const encoded = encodeSignedRecord(parts);
    const decoded = decodeSignedRecord(encoded);
    encoded.fill(0);
    expect(decoded).toEqual(parts);
  });

  it("refuses a signature of another length, and more than 16 KiB", () => {
    expectCode("E_WIRE", () => decodeSignedRecord(encodeSignedRecord({ ...parts, signature: new Uint8Array(63) })));
    expectCode("E_WIRE", () => decodeSignedRecord(bytes(1, start)));
    expectCode("E_WIRE", () => decodeSignedRecord(encodeSignedRecord({ ...parts, signed: new Uint8Array(16_384) })));
  });

  it("travels byte for byte in a reply, canonical or not", () => {
    const odd = concat([bytes(2, parts.signature), number(77, 1), bytes(1, start)]);
    expect(decodeRecordReply(encodeRecordReply([odd, encodeSignedRecord(parts)]))).toEqual([
      odd,
      encodeSignedRecord(parts),
    ]);
    expect(decodeRecordReply(new Uint8Array(0))).toEqual([]);
    expectCode("E_WIRE", () => decodeRecordReply(encodeRecordReply([new Uint8Array(limits.recordBytes + 1)])));
    const many = Array.from({ length: limits.recordsPerReply + 1 }, () => odd);
    expectCode("E_WIRE", () => decodeRecordReply(encodeRecordReply(many)));
    const full = Array.from({ length: limits.recordsPerReply }, () => new Uint8Array(limits.recordBytes));
    expect(encodeRecordReply(full).length).toBeLessThanOrEqual(limits.recordReplyBytes);
  });
});

describe("relay frames", () => {
  it.each([
    ["no version", bytes(2, fromHex(id))],
    ["another version", concat([number(1, 2), bytes(2, fromHex(id))])],
    ["no target", number(1, 1)],
    ["half a target", concat([number(1, 1), bytes(2, new Uint8Array(16))])],
  ])("refuses an open with %s", (_name, open) => expectCode("E_WIRE", () => decodeRelayOpen(open)));

  it("refuses a code without meaning", () => expectCode("E_WIRE", () => decodeRelayReply(number(1, 6))));
});

it("a record tells clean names of models, each once: they are printed, and asked for", () => {
  const names = ["fine", "fine", "", "\u001b[2Jevil\u202e"];
  const models = names.map((name) => ({ name, context: undefined, busy: false, queue: 0, kinds: [] }));
  const times = { issuedAtMs: 1, notAfterMs: 2, inferenceKey: undefined, keyNotAfterMs: undefined };
  const id = endpointId("ab".repeat(32));
  const read = decodeRecord(encodeRecord({ endpointId: id, seq: 1n, ...times, capabilities: [], models }));
  expect(read.models?.map(({ name }) => name)).toEqual(["fine"]);
});

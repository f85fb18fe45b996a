import { describe, expect, it } from "vitest";
import { fromBinary } from "@bufbuild/protobuf";
import { concat, fromHex } from "../../../src/base/bytes.ts";
import { GossipFrameSchema, PeerAnnouncementSchema } from "../../../src/wire/gen/node_pb.ts";
import { decodeMessage } from "../../../src/wire/protobuf.ts";
import { expectCode } from "../../support/expect-code.ts";
import { bytes, number } from "./protobuf-bytes.ts";

describe("what the library alone would take", () => {
  it("a number field sent as bytes: its length would be read as the number", () => {
    const odd = fromHex("1a025200");
    expect(fromBinary(PeerAnnouncementSchema, odd).httpPort).toBe(2);
    expectCode("E_WIRE", () => decodeMessage(PeerAnnouncementSchema, odd, 10));
  });

  it("an inner message that takes bytes of the outer one's next field", () => {
    const odd = concat([number(1, 1), bytes(2, fromHex("da0102")), fromHex("2001")]);
    expect(fromBinary(GossipFrameSchema, odd).peers[0]?.servedModelRuntime[0]?.ready).toBe(true);
    expectCode("E_WIRE", () => decodeMessage(GossipFrameSchema, odd, 10));
  });
});

describe("decodeMessage", () => {
  it("counts fields of inner messages, unknown ones too", () => {
    const message = concat([number(1, 1), bytes(2, concat([number(2, 1), bytes(27, number(4, 1)), number(777, 1)]))]);
    expect(decodeMessage(GossipFrameSchema, message, 6).gen).toBe(1);
    expectCode("E_WIRE", () => decodeMessage(GossipFrameSchema, message, 5));
  });

  it("keeps no unknown field", () => {
    expect(decodeMessage(GossipFrameSchema, number(777, 1), 5).$unknown).toBeUndefined();
  });

  it.each([
    ["a tag cut off", "88"],
    ["field number 0", "0001"],
    ["a number cut off", "08ff"],
    ["a number of 11 bytes", "08ffffffffffffffffffff01"],
    ["a length over 32 bits", "12ffffffffff0f"],
    ["bytes cut off", "120200"],
    ["4 fixed bytes cut off", "e502010203"],
    ["8 fixed bytes cut off", "e10201020304050607"],
    ["an open group", "e302"],
    ["a closed group", "e402"],
    ["wire type 7", "e702"],
    ["a field number over 29 bits", "888080801001"],
  ])("refuses %s", (_name, hex) => expectCode("E_WIRE", () => decodeMessage(GossipFrameSchema, fromHex(hex), 5)));
});

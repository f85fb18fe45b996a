import { expect, test } from "vitest";
import { toHex } from "../../../src/base/bytes.ts";
import {
  bidirectionalStreamId,
  decodeAbortNotice,
  decodeInstanceNotice,
  encodeAbortNotice,
  encodeInstanceNotice,
} from "../../../src/transport/datagrams.ts";
import { fc } from "../../support/fast-check.ts";

test("a notice is 12 bytes: SM, version, code, stream id", () => {
  const streamId = bidirectionalStreamId("acceptor", 64);
  expect(toHex(encodeAbortNotice({ streamId, code: 3 }))).toBe("534d0103" + "0101000000000000");
});

test("every stream and code survives", () => {
  const side = fc.constantFrom("dialer" as const, "acceptor" as const);
  fc.assert(
    fc.property(side, fc.nat(2 ** 31), fc.nat(255), (openedBy, number, code) => {
      const notice = { streamId: bidirectionalStreamId(openedBy, number), code };
      expect(decodeAbortNotice(encodeAbortNotice(notice))).toEqual(notice);
    }),
  );
});

test("other bytes are no notice", () => {
  const notice = encodeAbortNotice({ streamId: 4, code: 0 });
  const changed = (at: number, byte: number): Uint8Array => notice.with(at, byte);
  expect(decodeAbortNotice(notice.subarray(1))).toBeUndefined();
  expect(decodeAbortNotice(Uint8Array.of(...notice, 0))).toBeUndefined();
  for (const at of [0, 1, 2]) expect(decodeAbortNotice(changed(at, 9))).toBeUndefined();
  expect(decodeAbortNotice(changed(4, 2))).toBeUndefined(); // unidirectional
  expect(decodeAbortNotice(changed(11, 0xff))).toBeUndefined(); // beyond what a number holds
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const read = decodeAbortNotice(bytes);
      if (read !== undefined) expect(encodeAbortNotice(read)).toEqual(bytes);
    }),
  );
});

test("an instance notice gives the name back, and is no abort notice; anything else is none", () => {
  const notice = encodeInstanceNotice("0123456789abcdef");
  expect(decodeInstanceNotice(notice)).toBe("0123456789abcdef");
  expect(decodeAbortNotice(notice)).toBeUndefined();
  expect(decodeInstanceNotice(encodeAbortNotice({ streamId: 4, code: 1 }))).toBeUndefined();
  expect(decodeInstanceNotice(notice.subarray(1))).toBeUndefined();
  expect(decodeInstanceNotice(Uint8Array.of(...notice, 0))).toBeUndefined();
});

import { describe, expect, it } from "vitest";
import { latin1 } from "../../../src/base/bytes.ts";
import { newShortHash } from "../../../src/crypto/short-hash.ts";

const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => at);

describe("short tags", () => {
  it("are SipHash-2-4, as its authors' example has it", () => {
    const tagOf = newShortHash(counting(16));
    expect(tagOf(latin1(counting(15)))).toEqual({ low: 0x49be45e5, high: 0xa129ca61 });
  });

  it("are the same for one text, and others under each key", () => {
    const [one, other] = [newShortHash(), newShortHash()];
    expect(one("a mark")).toEqual(one("a mark"));
    expect(one("a mark")).not.toEqual(one("a mark "));
    expect(one("a mark")).not.toEqual(other("a mark"));
  });
});

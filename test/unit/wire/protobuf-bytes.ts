/** Protobuf bytes by hand, for messages that our encoders do not write. */
import { concat, utf8 } from "../../../src/base/bytes.ts";

export function varint(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    out.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  return Uint8Array.of(...out, rest);
}

/** A varint field. */
export function number(field: number, value: number): Uint8Array {
  return concat([varint(field * 8), varint(value)]);
}

/** A length-delimited field. */
export function bytes(field: number, value: Uint8Array | string): Uint8Array {
  const content = typeof value === "string" ? utf8(value) : value;
  return concat([varint(field * 8 + 2), varint(content.length), content]);
}

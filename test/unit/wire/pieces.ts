/** Helpers for tests of bytes: a stream that delivers given bytes in pieces. */
import type { ByteStream } from "../../../src/base/stream.ts";

/** The readable half of a stream: `bytes` in pieces of `pieceBytes`, then the end. */
export function pieces(bytes: Uint8Array, pieceBytes: number = bytes.length): Pick<ByteStream, "read"> {
  let at = 0;
  return {
    read: async () => {
      if (at >= bytes.length) return undefined;
      const piece = bytes.slice(at, at + Math.max(1, pieceBytes));
      at += piece.length;
      return piece;
    },
  };
}

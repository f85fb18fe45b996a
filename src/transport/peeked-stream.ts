/** A stream of which the first bytes were looked at, and given back. */
import type { ByteStream } from "../base/stream.ts";

/** @param first what was read; undefined: its end */
export function peekedStream(stream: ByteStream, first: Uint8Array | undefined): ByteStream {
  let isTaken = false;
  return {
    read() {
      if (isTaken) return stream.read();
      isTaken = true;
      return stream.aborted.aborted ? stream.read() : Promise.resolve(first);
    },
    write: (bytes) => stream.write(bytes),
    finish: () => stream.finish(),
    abort: (code) => stream.abort(code),
    aborted: stream.aborted,
  };
}

/** Who lives as long as whom: callers and streams, answers and what they hold. */
import type { ByteStream } from "../base/stream.ts";
import { abortCodes } from "../transport/transport.ts";

/**
 * Ties a stream to its caller: when the caller goes, the stream is aborted.
 *
 * @param done runs when the exchange is over, however it ends
 * @returns    to be called at that end; a stream that was not used to its end is aborted
 */
export function closing(stream: ByteStream, caller: AbortSignal, done: () => void): (whole: boolean) => void {
  const abort = (): void => stream.abort(abortCodes.cancelled);
  if (caller.aborted) abort();
  else caller.addEventListener("abort", abort);
  return (whole) => {
    caller.removeEventListener("abort", abort);
    if (!whole) abort();
    done();
  };
}

/** The body; `done` runs once it has ended, with whether it was read to its end. */
export async function* endingWith(
  body: AsyncGenerator<Uint8Array, void, undefined>,
  done: (whole: boolean) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let whole = false;
  try {
    yield* body;
    whole = true;
  } finally {
    done(whole);
  }
}

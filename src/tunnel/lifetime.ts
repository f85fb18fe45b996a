/** Who lives as long as whom: callers and streams, answers and what they hold. */
import { type Patience, withDeadline } from "../base/deadline.ts";
import type { Flow, Now } from "../base/flow.ts";
import type { Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import { abortCodes } from "../transport/transport.ts";

/** How long the other side may take to end a stream on which all has been said, ms. */
const endMs = 5_000;

/**
 * Reads a stream on which all has been said to its end, in the background: only then it is over for both sides. One that
 * does not end is aborted.
 *
 * @param unwantedBytes so many may come still, and are dropped. @default 0
 */
export function settle(stream: ByteStream, reader: Pick<ByteStream, "read">, unwantedBytes = 0): void {
  withDeadline(endsWithin(unwantedBytes, reader), { what: "the end of a stream", ms: endMs }).then(
    (ended) => {
      if (!ended) stream.abort(abortCodes.protocol);
    },
    () => stream.abort(abortCodes.timeout),
  );
}

async function endsWithin(bytes: number, reader: Pick<ByteStream, "read">): Promise<boolean> {
  for (let left = bytes; ;) {
    const more = await reader.read();
    if (!more) return true;
    left -= more.length;
    if (left < 0) return false;
  }
}

/**
 * Ties a stream to its caller: when the caller goes, the stream is aborted.
 *
 * @param done runs when the exchange is over, however it ends
 * @returns    to be called at that end; a stream that was not used to its end is aborted
 */
export function closing(
  stream: ByteStream,
  reader: Pick<ByteStream, "read">,
  caller: Signal,
  done: () => void,
): (whole: boolean) => void {
  const abort = (): void => stream.abort(abortCodes.cancelled);
  if (caller.aborted) abort();
  else caller.addEventListener("abort", abort);
  return (whole) => {
    caller.removeEventListener("abort", abort);
    if (whole) settle(stream, reader);
    else abort();
    done();
  };
}

/** What of a response is there, or "broken" when it has broken off while the asker is still there. */
export function nowUnlessBroken(stream: ByteStream, flow: Flow): Now | "broken" {
  try {
    return flow.now();
  } catch (thrown) {
    if (stream.aborted.aborted) throw thrown;
    return "broken";
  }
}

/** Writes bytes of an exchange. @throws E_TIMEOUT the other side takes nothing for `unreadMs`: it would hold a place for ever */
export function writeTaken(stream: ByteStream, bytes: Uint8Array, unreadMs: number): Promise<void> {
  return withDeadline(stream.write(bytes), { what: whatIsSent, ms: unreadMs });
}

/**
 * The same for one of many pieces, without a timer of its own.
 * @param taking  for all of them
 * @returns undefined when flow control has taken it at once
 */
export function writePiece(
  stream: ByteStream,
  bytes: Uint8Array,
  taking: Patience,
  what: string = whatIsSent,
): Promise<void> | undefined {
  return stream.offer?.(bytes) ? undefined : taking.within(stream.write(bytes), what);
}

const whatIsSent = "the other side's taking what is sent";

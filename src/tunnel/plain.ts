/**
 * One unsealed exchange on a stream of type 0x04, for peers that never showed an inference key: HTTP/1.1 bytes both ways.
 *
 * @see protocol.md §5.2-5.4
 */
import { Patience, withDeadline } from "../base/deadline.ts";
import type { ByteStream } from "../base/stream.ts";
import { type ByteSource, encodeRequest, flowOfSource, type HttpRequest } from "./http.ts";
import { nowUnlessBroken, writePiece } from "./lifetime.ts";

/** Writes the request. Our side stays open until the answer is over: older hosts tie both halves together. */
export async function writePlainRequest(stream: ByteStream, request: HttpRequest): Promise<void> {
  await stream.write(encodeRequest(request));
}

/** The response bytes, each read within `silenceMs`. */
export function plainResponse(stream: ByteStream, silenceMs: number): ByteSource {
  return {
    read: () => withDeadline(stream.read(), { what: "the host's answer", ms: silenceMs }),
  };
}

/**
 * Writes a host's response as it comes, then finishes: old readers copy until the stream's end. One that breaks off ends
 * short of its own framing, which is how the reader sees it.
 *
 * @param unreadMs how long the asker may take no bytes, ms
 * @returns        whether the response was whole
 */
export async function copyResponse(stream: ByteStream, response: ByteSource, unreadMs: number): Promise<boolean> {
  const flow = flowOfSource(response);
  const taking = new Patience(unreadMs);
  try {
    for (;;) {
      const piece = nowUnlessBroken(stream, flow);
      if (piece === undefined) await flow.more();
      else if (piece === "end" || piece === "broken") {
        await stream.finish();
        return piece === "end";
      } else await writePiece(stream, piece, taking);
    }
  } finally {
    taking.close();
  }
}

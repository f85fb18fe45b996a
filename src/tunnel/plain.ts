/**
 * One unsealed exchange on a stream of type 0x04, for peers that never showed an inference key: HTTP/1.1 bytes both ways.
 *
 * @see protocol.md §5.2-5.4
 */
import { withDeadline } from "../base/deadline.ts";
import type { ByteStream } from "../base/stream.ts";
import { type ByteSource, encodeRequest, type HttpRequest } from "./http.ts";

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

/** Writes a host's response as it comes, then finishes: old readers copy until the stream's end. */
export async function copyResponse(stream: ByteStream, response: ByteSource): Promise<void> {
  for (;;) {
    const bytes = await response.read();
    if (!bytes) break;
    await stream.write(bytes);
  }
  await stream.finish();
}

/**
 * One sealed exchange on a byte stream, both ends: the envelope one way, chunks the other way.
 *
 *   asker  0xE1 | JSON envelope | finish
 *   host   0xE1 | key[32] | (u32 LE length | nonce | tag | ciphertext)* | u32 0 | finish
 *
 * The caller has already written or read what stands before 0xE1 (a stream type, a relay frame).
 *
 * @see protocol.md §7 · wire.md §5
 */
import { concat, empty, equal } from "../base/bytes.ts";
import { Patience, tookLonger } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import type { Flow, Now } from "../base/flow.ts";
import type { ByteStream } from "../base/stream.ts";
import type { ChunkOpener, HostSeal } from "../crypto/seal.ts";
import {
  decodeRequestEnvelope,
  encodeSealedRequest,
  encodeResponseHeader,
  endMarker,
  readChunk,
  readResponseHeader,
  type RequestEnvelope,
  takeChunk,
  takeEnd,
} from "../wire/envelope.ts";
import type { StreamReader } from "../wire/frame.ts";
import { limits } from "../wire/limits.ts";
import { type ByteSource, flowOfSource, sourceOf } from "./http.ts";
import { nowUnlessBroken, writePiece } from "./lifetime.ts";

/** Bytes given to one write: what a slow uplink surely carries in the time that a host may be silent. */
const writeSliceBytes = 32 * 1024;

/** @param silenceMs how long the host may take no bytes, ms · @throws E_TIMEOUT · E_ABORTED · E_LOST */
export async function writeEnvelope(stream: ByteStream, envelope: RequestEnvelope, silenceMs: number): Promise<void> {
  const bytes = encodeSealedRequest(envelope);
  if (bytes.length <= writeSliceBytes && stream.offer?.(bytes)) return await stream.finish();
  const patience = new Patience(silenceMs);
  try {
    for (let offset = 0; offset < bytes.length; offset += writeSliceBytes) {
      const slice = bytes.subarray(offset, offset + writeSliceBytes);
      const taken = writePiece(stream, slice, patience, "the host's taking the request");
      if (taken) await taken;
    }
  } finally {
    patience.close();
  }
  await stream.finish();
}

/** Reads the envelope after its 0xE1. @throws E_WIRE · E_TOO_LARGE over limits.envelopeBytes */
export async function readEnvelope(reader: StreamReader): Promise<RequestEnvelope> {
  return decodeRequestEnvelope(await reader.readAll(limits.envelopeBytes, whatIsRead));
}

/** The same, if all of it has come; else nothing is taken. @throws as {@link readEnvelope} */
export function takeEnvelope(reader: StreamReader): RequestEnvelope | undefined {
  const bytes = reader.allNow(limits.envelopeBytes, whatIsRead);
  return bytes && decodeRequestEnvelope(bytes);
}

const whatIsRead = "the sealed request";

export interface SealedResponseOptions {
  /** Inference key that the request was sealed to: the header must carry it. It authenticates nothing by itself. */
  readonly hostKey: Uint8Array;
  readonly opener: ChunkOpener;
  /** How long the host may be silent before the header and before each chunk, ms. */
  readonly silenceMs: number;
}

const whatIsDue = "the host's next sign of life";

/** What must have come of a chunk in the time that a host may be silent, bytes: a chunk may be larger than a slow line. */
const leastProgressBytes = 1_024;

/**
 * The opened response as a byte source; its end means that the host's authenticated end was seen (indexed order).
 * `onProgress` runs when the header has come, and for each chunk that opened.
 */
export function openedResponse(
  reader: StreamReader,
  options: SealedResponseOptions,
  onProgress: (what: "header" | "chunk") => void,
): ByteSource {
  const { hostKey, opener, silenceMs } = options;
  const patience = new Patience(silenceMs);
  /** Waits for `work`, which reads from `reader`, for as long as bytes come. */
  const waited = async <T>(work: Promise<T>): Promise<T> => {
    for (let before = reader.received; ; before = reader.received) {
      const turn = await patience.wait(work);
      if (turn !== "late") return turn;
      if (reader.received - before < leastProgressBytes) throw tookLonger(whatIsDue, silenceMs);
    }
  };
  const readHeader = async (): Promise<void> => {
    const key = await waited(readResponseHeader(reader));
    if (!equal(key, hostKey)) throw new MeshError("E_WIRE", "the answer is sealed under another key than asked for");
    onProgress("header");
  };
  let header = false;
  let over = false;
  /** The next chunk, when it came in pieces. */
  let joined: Uint8Array | "end" | undefined;
  let failure: { readonly thrown: unknown } | undefined;
  const wait = async (): Promise<void> => {
    if (!header) {
      await readHeader();
      header = true;
    } else joined = await waited(readChunk(reader));
  };
  const fail = (thrown: unknown): void => void (failure = { thrown });
  const onFill = (turn: unknown): void => {
    if (turn === "late") fail(tookLonger(whatIsDue, silenceMs));
  };
  const opened = (): Now => {
    for (;;) {
      const box = joined ?? takeChunk(reader);
      joined = undefined;
      if (box === undefined) {
        if (reader.waiting.length === 0 && reader.ready() && !reader.ended) continue;
        return undefined;
      }
      if (box === "end") {
        opener.finish();
        over = true;
        return "end";
      }
      const bytes = opener.open(box);
      onProgress("chunk");
      if (bytes.length > 0) return bytes; // an empty chunk only says that the host is alive
    }
  };
  const flow: Flow = {
    now() {
      try {
        if (failure) throw failure.thrown;
        if (!header) return undefined;
        const bytes = over ? "end" : opened();
        if (bytes === "end") patience.close();
        return bytes;
      } catch (thrown) {
        patience.close();
        throw thrown;
      }
    },
    more() {
      const isIdle = header && reader.waiting.length === 0 && !reader.ended;
      return isIdle ? patience.wait(reader.fill()).then(onFill, fail) : wait().catch(fail);
    },
  };
  return sourceOf(flow, () => {
    // the marker says nothing by itself: the final bit does, which has been opened
    if (!over && opener.final) over = takeEnd(reader);
    return over;
  });
}

/** How long the header waits for the first piece of its answer, ms: by itself it costs both sides, and relays, a turn of their own. */
const headerWaitMs = 5;

/** The pace of an answer at its host. */
export interface AnswerPace {
  /** Longest silence before an empty chunk says that the host is alive, ms. */
  readonly keepAliveMs: number;
  /** How long the asker may take no bytes, ms. */
  readonly unreadMs: number;
}

/**
 * Seals `response` piece by piece onto the stream: header first, with the first piece or at once when that takes longer, an
 * empty chunk after each keepAliveMs without bytes, the authenticated end last. The stream is finished when it returns.
 *
 * A response that breaks off ends without the mark, so that the reader sees a cut, but after all that was written: an
 * abort would overtake it, and with it the event that says what went wrong.
 *
 * @returns whether the response was whole
 * @throws  E_ABORTED the asker has gone · E_LOST · E_TIMEOUT the asker takes nothing for unreadMs
 */
export async function sealResponse(
  stream: ByteStream,
  seal: HostSeal,
  response: ByteSource,
  timing: AnswerPace,
): Promise<boolean> {
  const taking = new Patience(timing.unreadMs);
  const making = new Patience(timing.keepAliveMs, stream.aborted);
  const flow = flowOfSource(response);
  let header = encodeResponseHeader(seal.hostKey);
  const write = (bytes: Uint8Array): Promise<void> | undefined => {
    const withHeader = header.length > 0 ? concat([header, bytes]) : bytes;
    header = empty;
    return writePiece(stream, withHeader, taking);
  };
  const sealedEnd = (): Uint8Array => concat([seal.sealChunk(empty, true), endMarker]);
  try {
    for (let isOver = false; !isOver;) {
      const piece = nowUnlessBroken(stream, flow);
      if (piece === undefined) {
        const more = flow.more();
        if (header.length > 0 && (await making.wait(more, headerWaitMs)) === "late") await write(empty);
        // while it is made, signs of life
        while ((await making.wait(more)) === "late") await write(seal.sealChunk(empty, false));
        continue;
      }
      if (piece === "broken") {
        if (header.length > 0) await write(empty); // it says that the request was opened
        await stream.finish();
        return false;
      }
      isOver = piece === "end" || response.isOver?.() === true;
      if (piece === "end") {
        await write(sealedEnd());
        break;
      }
      for (let offset = 0, ends = false; !ends; offset += limits.sealChunkBytes) {
        ends = offset + limits.sealChunkBytes >= piece.length;
        const chunk = seal.sealChunk(piece.subarray(offset, offset + limits.sealChunkBytes), false);
        // the end has a chunk of its own, and travels with the last piece when it is known by then
        const taken = write(ends && isOver ? concat([chunk, sealedEnd()]) : chunk);
        if (taken) await taken;
      }
    }
    await stream.finish();
    return true;
  } finally {
    taking.close();
    making.close();
  }
}

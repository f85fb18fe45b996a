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
import { unlessLate, withDeadline } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import type { ByteStream } from "../base/stream.ts";
import type { ChunkOpener, HostSeal } from "../crypto/seal.ts";
import {
  decodeRequestEnvelope,
  encodeRequestEnvelope,
  encodeResponseHeader,
  endMarker,
  readChunk,
  readResponseHeader,
  type RequestEnvelope,
} from "../wire/envelope.ts";
import type { StreamReader } from "../wire/frame.ts";
import { limits } from "../wire/limits.ts";
import { envelopeByte } from "../wire/stream-types.ts";
import type { ByteSource } from "./http.ts";
import { unlessBroken, writeTaken } from "./lifetime.ts";

/** Bytes given to one write: what a slow uplink surely carries in the time that a host may be silent. */
const writeSliceBytes = 32 * 1024;

/** @param silenceMs how long the host may take no bytes, ms · @throws E_TIMEOUT · E_ABORTED · E_LOST */
export async function writeEnvelope(stream: ByteStream, envelope: RequestEnvelope, silenceMs: number): Promise<void> {
  const json = encodeRequestEnvelope(envelope);
  const write = (bytes: Uint8Array): Promise<void> =>
    withDeadline(stream.write(bytes), { what: "the host's taking the request", ms: silenceMs });
  await write(Uint8Array.of(envelopeByte));
  for (let offset = 0; offset < json.length; offset += writeSliceBytes) {
    await write(json.subarray(offset, offset + writeSliceBytes));
  }
  await stream.finish();
}

/** Reads the envelope after its 0xE1. @throws E_WIRE · E_TOO_LARGE over limits.envelopeBytes */
export async function readEnvelope(reader: StreamReader): Promise<RequestEnvelope> {
  return decodeRequestEnvelope(await reader.readAll(limits.envelopeBytes, "the sealed request"));
}

export interface SealedResponseOptions {
  /** Inference key that the request was sealed to: the header must carry it. It authenticates nothing by itself. */
  readonly hostKey: Uint8Array;
  readonly opener: ChunkOpener;
  /** How long the host may be silent before the header and before each chunk, ms. */
  readonly silenceMs: number;
}

/** What must have come of a chunk in the time that a host may be silent, bytes: a chunk may be larger than a slow line. */
const leastProgressBytes = 1_024;

/** Waits for `work`, which reads from `reader`, for as long as bytes come. @throws E_TIMEOUT */
async function whileBytesCome<T>(work: Promise<T>, reader: StreamReader, silenceMs: number): Promise<T> {
  for (let before = reader.received; ; before = reader.received) {
    const turn = await unlessLate(work, silenceMs);
    if (turn !== "late") return turn.value;
    if (reader.received - before < leastProgressBytes) {
      throw new MeshError("E_TIMEOUT", `the host's next sign of life took longer than ${silenceMs} ms`);
    }
  }
}

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
  const waited = <T>(work: Promise<T>): Promise<T> => whileBytesCome(work, reader, silenceMs);
  let header = false;
  return {
    async read(): Promise<Uint8Array | undefined> {
      if (!header) {
        const key = await waited(readResponseHeader(reader));
        if (!equal(key, hostKey))
          throw new MeshError("E_WIRE", "the answer is sealed under another key than asked for");
        header = true;
        onProgress("header");
      }
      for (;;) {
        const box = await waited(readChunk(reader));
        if (box === "end") {
          opener.finish();
          return undefined;
        }
        const bytes = opener.open(box);
        onProgress("chunk");
        if (bytes.length > 0) return bytes; // an empty chunk only says that the host is alive
      }
    },
  };
}

/** The pace of an answer at its host. */
export interface AnswerPace {
  /** Longest silence before an empty chunk says that the host is alive, ms. */
  readonly keepAliveMs: number;
  /** How long the asker may take no bytes, ms. */
  readonly unreadMs: number;
}

/**
 * Seals `response` piece by piece onto the stream: header first, an empty chunk after each keepAliveMs without bytes,
 * the authenticated end last. The stream is finished when it returns.
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
  const write = (bytes: Uint8Array): Promise<void> => writeTaken(stream, bytes, timing.unreadMs);
  await write(encodeResponseHeader(seal.hostKey));
  for (;;) {
    const bytes = await unlessBroken(stream, nextOrKeepAlive(stream, seal, response, timing));
    if (bytes === "broken") {
      await stream.finish();
      return false;
    }
    if (!bytes) break;
    for (let offset = 0; offset < bytes.length; offset += limits.sealChunkBytes) {
      await write(seal.sealChunk(bytes.subarray(offset, offset + limits.sealChunkBytes), false));
    }
  }
  await write(concat([seal.sealChunk(empty, true), endMarker]));
  await stream.finish();
  return true;
}

async function nextOrKeepAlive(
  stream: ByteStream,
  seal: HostSeal,
  response: ByteSource,
  { keepAliveMs, unreadMs }: AnswerPace,
): Promise<Uint8Array | undefined> {
  const next = response.read();
  next.catch(() => undefined); // awaited below; a failed keep-alive must not leave it unhandled
  for (;;) {
    const turn = await unlessLate(next, keepAliveMs, stream.aborted);
    if (turn !== "late") return turn.value;
    await writeTaken(stream, seal.sealChunk(empty, false), unreadMs);
  }
}

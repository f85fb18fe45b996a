/**
 * What travels as datagrams beside the streams of a QUIC connection. Peers that do not know them ignore them.
 *
 * The instance notice names the running process at the other end, so that a connection to one that is gone is not taken for
 * one to its successor, which has the same endpoint id:
 *
 *     0x53 0x4d ("SM") | version 0x02 | 8 random bytes, one for each start                11 bytes
 *
 * The abort notice: one QUIC datagram that says "I aborted this stream". It travels beside RESET_STREAM and
 * STOP_SENDING because a binding may be unable to send those while a read or write is pending (see duplex-stream.ts).
 * Unacknowledged and optional: a peer that does not know it learns of the abort later, from QUIC itself.
 *
 *     0x53 0x4d ("SM") | version 0x01 | abort code u8 | QUIC stream id u64 LE        12 bytes
 *
 * The stream id is that of RFC 9000 §2.1: number * 4 for a stream which the dialing side opened, number * 4 + 1 for one
 * which the accepting side opened; unidirectional streams (bit 1) are not used.
 */
import { concat, equal, fromHex, readU64le, toHex, u64le } from "../base/bytes.ts";

const instancePrefix = Uint8Array.of(0x53, 0x4d, 0x02);
const instanceNoticeBytes = 11;

/** @param instance 16 hex digits */
export function encodeInstanceNotice(instance: string): Uint8Array {
  return concat([instancePrefix, fromHex(instance, 8)]);
}

/** @returns 16 hex digits; undefined for a datagram that is no instance notice */
export function decodeInstanceNotice(datagram: Uint8Array): string | undefined {
  const isOne = datagram.length === instanceNoticeBytes && equal(datagram.subarray(0, 3), instancePrefix);
  return isOne ? toHex(datagram.subarray(3)) : undefined;
}

export interface AbortNotice {
  readonly streamId: number;
  /** 0 to 255. */
  readonly code: number;
}

const prefix = Uint8Array.of(0x53, 0x4d, 0x01);
const noticeBytes = 12;

/** RFC 9000 §2.1, bidirectional. @param number counts the streams that this side opened, from 0 */
export function bidirectionalStreamId(openedBy: "dialer" | "acceptor", number: number): number {
  return number * 4 + (openedBy === "dialer" ? 0 : 1);
}

export function encodeAbortNotice(notice: AbortNotice): Uint8Array {
  return concat([prefix, Uint8Array.of(notice.code), u64le(BigInt(notice.streamId))]);
}

/** @returns undefined for a datagram that is no abort notice of this version; those are ignored */
export function decodeAbortNotice(datagram: Uint8Array): AbortNotice | undefined {
  const [, , , code] = datagram;
  if (datagram.length !== noticeBytes || code === undefined || !equal(datagram.subarray(0, 3), prefix))
    return undefined;
  const streamId = Number(readU64le(datagram, 4));
  if (!Number.isSafeInteger(streamId) || streamId % 4 > 1) return undefined;
  return { streamId, code };
}

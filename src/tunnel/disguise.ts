/**
 * What an observer on the way learns from sizes and times, made coarser: requests are padded, pieces of answers that come
 * close together are sent together. Both cost something and are off unless asked for.
 *
 * @see protocol.md §11 E6
 */
import { concat } from "../base/bytes.ts";
import { unlessLate } from "../base/deadline.ts";
import type { ByteSource } from "./http.ts";

/** Shorter bodies all look alike, bytes. */
const leastBytes = 1_024;
const space = 0x20;

/**
 * A JSON body with spaces behind it, up to the next of few lengths (Padmé: at most 12 % more, and the length tells about
 * as much as its logarithm). Readers of JSON skip them.
 */
export function paddedJson(body: Uint8Array, limitBytes: number): Uint8Array {
  const length = Math.min(paddedLength(Math.max(leastBytes, body.length)), limitBytes);
  if (length <= body.length) return body;
  const padded = new Uint8Array(length).fill(space, body.length);
  padded.set(body);
  return padded;
}

/** @see Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", §4 */
function paddedLength(length: number): number {
  const exponent = Math.floor(Math.log2(length));
  const kept = Math.floor(Math.log2(exponent)) + 1;
  const step = 2 ** (exponent - kept);
  return Math.ceil(length / step) * step;
}

/** The same bytes, those together that come within `ms`: the pace is that of a clock, not of the model. */
export function coalesced(source: ByteSource, ms: number): ByteSource {
  let pending: Promise<Uint8Array | undefined> | undefined;
  return {
    async read() {
      const first = await (pending ?? source.read());
      pending = undefined;
      if (!first) return undefined;
      const parts = [first];
      for (const until = performance.now() + ms; ;) {
        const next = source.read();
        next.catch(() => undefined); // told by the read that waits for it
        const turn = await unlessLate(next, Math.max(0, until - performance.now())).catch(() => "broken" as const);
        if (turn === "late" || turn === "broken" || turn.value === undefined) {
          pending = next;
          return concat(parts);
        }
        parts.push(turn.value);
      }
    },
  };
}

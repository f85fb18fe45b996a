/**
 * A relay's whole work: one stream in, one stream out, envelope bytes both ways. It looks at the frame that names the
 * target and at the first byte, which must be 0xE1; it has no key to look further with.
 *
 * @see wire.md §3
 */
import type { EndpointId } from "../base/brand.ts";
import { withDeadline } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import type { ByteStream } from "../base/stream.ts";
import { encodeFrame, type StreamReader } from "../wire/frame.ts";
import { limits } from "../wire/limits.ts";
import {
  decodeRelayOpen,
  decodeRelayReply,
  encodeRelayedOpen,
  encodeRelayOpen,
  encodeRelayReply,
  type RelayCode,
  relayCodes,
} from "../wire/relay.ts";
import { envelopeByte, sealStreams } from "../wire/stream-types.ts";
import { writeTaken } from "./lifetime.ts";

/** Asker: tells the relay where to. Resolves when the relay has reached the target. @throws E_RELAY with its reason */
export async function askRelay(
  stream: ByteStream,
  reader: StreamReader,
  target: EndpointId,
  options: { readonly ms: number; readonly signal: AbortSignal },
): Promise<void> {
  try {
    const open = encodeFrame(encodeRelayOpen({ target, hops: 0 }));
    const asking = stream.write(Uint8Array.of(sealStreams.relay, ...open));
    const answered = asking.then(() => reader.frame(limits.relayFrameBytes));
    const code = decodeRelayReply(await withDeadline(answered, { what: "the relay's answer", ...options }));
    if (code !== relayCodes.ok) throw new MeshError("E_RELAY", `the relay answered: ${nameOfCode(code)}`);
  } catch (thrown) {
    stream.abort();
    throw thrown;
  }
}

export interface CarryOptions {
  /** Opens a stream to a member, type byte not yet written; undefined when the relay does not know it. */
  readonly reach: (target: EndpointId) => Promise<ByteStream> | undefined;
  /** Takes one place in the relay's limits; false when there is none left. */
  readonly admit: () => boolean;
  /** How long the first byte may take, ms. */
  readonly firstByteMs: number;
  /** How long either side may send or take nothing, ms: a living host sends something every few seconds. */
  readonly idleMs: number;
}

export interface Carried {
  readonly target: EndpointId;
  readonly bytesToHost: number;
  readonly bytesToAsker: number;
}

/**
 * Relay: serves one stream of type `relay`. Resolves when both directions have ended.
 *
 * @throws MeshError after both streams were aborted; the reply code has told the asker when there was one to give
 */
export async function carry(asker: ByteStream, reader: StreamReader, options: CarryOptions): Promise<Carried> {
  const reply = (code: RelayCode): Promise<void> =>
    writeTaken(asker, encodeFrame(encodeRelayReply(code)), options.idleMs);
  const refuse = async (code: RelayCode, why: string): Promise<never> => {
    await reply(code);
    await asker.finish();
    throw new MeshError("E_RELAY", why);
  };
  const open = await readOpen(reader, options.firstByteMs);
  if (!open) return refuse(relayCodes.badRequest, "malformed relay request");
  if (open.hops > 0) return refuse(relayCodes.refused, "the bytes came through another relay already");
  if (!options.admit()) return refuse(relayCodes.busy, "no place left");
  const reaching = options.reach(open.target);
  if (!reaching) return refuse(relayCodes.unknownTarget, "the target is not a member that this relay knows");
  const host = await reaching.catch(() => undefined);
  if (!host) return refuse(relayCodes.unreachable, "the target cannot be reached");
  try {
    const head = encodeFrame(encodeRelayedOpen({ hops: 1 }));
    await writeTaken(host, Uint8Array.of(sealStreams.relayed, ...head), options.firstByteMs);
  } catch {
    host.abort();
    return refuse(relayCodes.unreachable, "the target cannot be reached");
  }
  return await pipeBoth(asker, reader, host, open.target, () => reply(relayCodes.ok), options);
}

async function readOpen(reader: StreamReader, ms: number): Promise<{ target: EndpointId; hops: number } | undefined> {
  try {
    const frame = reader.frame(limits.relayFrameBytes);
    return decodeRelayOpen(await withDeadline(frame, { what: "the relay request", ms }));
  } catch {
    return undefined;
  }
}

async function pipeBoth(
  asker: ByteStream,
  reader: StreamReader,
  host: ByteStream,
  target: EndpointId,
  ready: () => Promise<void>,
  { firstByteMs, idleMs }: CarryOptions,
): Promise<Carried> {
  // whichever side goes, the other learns it at once: a host must not work for an asker that has left
  const abortHost = (): void => host.abort();
  const abortAsker = (): void => asker.abort();
  asker.aborted.addEventListener("abort", abortHost);
  host.aborted.addEventListener("abort", abortAsker);
  try {
    if (asker.aborted.aborted) throw new MeshError("E_ABORTED", "the asker has gone");
    await ready();
    const first = await withDeadline(reader.peekByte(), { what: "the asker's first byte", ms: firstByteMs });
    if (first !== envelopeByte) throw new MeshError("E_WIRE", "only envelopes pass a relay");
    const [bytesToHost, bytesToAsker] = await Promise.all([copy(reader, host, idleMs), copy(host, asker, idleMs)]);
    return { target, bytesToHost, bytesToAsker };
  } catch (thrown) {
    host.abort();
    asker.abort();
    throw thrown;
  } finally {
    asker.aborted.removeEventListener("abort", abortHost);
    host.aborted.removeEventListener("abort", abortAsker);
  }
}

/** Reads no faster than the other side takes. The first byte of each direction must be 0xE1. */
async function copy(from: Pick<ByteStream, "read">, to: ByteStream, idleMs: number): Promise<number> {
  let total = 0;
  for (;;) {
    const bytes = await withDeadline(from.read(), { what: "the next bytes to carry", ms: idleMs });
    if (!bytes) break;
    if (total === 0 && bytes[0] !== envelopeByte) throw new MeshError("E_WIRE", "only envelopes pass a relay");
    total += bytes.length;
    await writeTaken(to, bytes, idleMs);
  }
  await to.finish();
  return total;
}

function nameOfCode(code: number): string {
  const names: Readonly<Record<number, string>> = {
    [relayCodes.unknownTarget]: "it does not know the host",
    [relayCodes.unreachable]: "it cannot reach the host",
    [relayCodes.refused]: "refused",
    [relayCodes.busy]: "it is busy",
    [relayCodes.badRequest]: "it did not understand the request",
  };
  return names[code] ?? `code ${code}`;
}

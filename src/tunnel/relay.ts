/**
 * A relay's whole work: one stream in, one stream out, envelope bytes both ways. It looks at the frame that names the
 * target and at the first byte, which must be 0xE1; it has no key to look further with. Out leads to the target, or to one
 * relay more, but never to a third: hops, which each relay counts up, ends the way.
 *
 * @see docs/wire.md §3
 */
import { type EndpointId, shortId } from "../base/brand.ts";
import { Patience, withDeadline } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import type { Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import { encodeFrame, StreamReader } from "../wire/frame.ts";
import { limits } from "../wire/limits.ts";
import {
  decodeRelayOpen,
  decodeRelayReply,
  encodeRelayedOpen,
  encodeRelayOpen,
  encodeRelayReply,
  type RelayCode,
  relayCodes,
  type RelayOpen,
} from "../wire/relay.ts";
import { envelopeByte, sealStreams } from "../wire/stream-types.ts";
import { settle, writePiece, writeTaken } from "./lifetime.ts";

export interface RelayAsk {
  /** Relays that the bytes came through already. @default 0 */
  readonly hops?: number;
  readonly ms: number;
  readonly signal: Signal;
  /** Writes what is to go to the target, without waiting for the relay's answer. @default nothing goes before that */
  readonly behind?: () => void;
}

/** Asker: tells the relay where to. Resolves when the relay has reached the target. @throws E_RELAY with its reason */
export async function askRelay(
  stream: ByteStream,
  reader: StreamReader,
  target: EndpointId,
  options: RelayAsk,
): Promise<void> {
  const code = await codeOf(stream, reader, target, options);
  if (code === relayCodes.ok) return;
  stream.abort();
  throw new MeshError("E_RELAY", `the relay answered: ${nameOfCode(code)}`);
}

/** What the relay says. @throws as its stream fails, which is aborted then */
async function codeOf(
  stream: ByteStream,
  reader: StreamReader,
  target: EndpointId,
  { hops = 0, ms, signal, behind }: RelayAsk,
): Promise<RelayCode> {
  try {
    const question = Uint8Array.of(sealStreams.relay, ...encodeFrame(encodeRelayOpen({ target, hops })));
    const asking = stream.offer?.(question) ? Promise.resolve() : stream.write(question);
    const answered = asking.then(() => {
      behind?.();
      return reader.frame(limits.relayFrameBytes);
    });
    return decodeRelayReply(await withDeadline(answered, { what: "the relay's answer", ms, signal }));
  } catch (thrown) {
    stream.abort();
    throw thrown;
  }
}

export interface CarryOptions {
  /** Who asks: the QUIC peer, which may be a relay itself. */
  readonly from: EndpointId;
  /**
   * Opens a stream to the target within `ms`, type byte not yet written; undefined when the relay has not met it.
   */
  readonly reach: (target: EndpointId, ms: number) => Promise<ByteStream> | undefined;
  /** Members that may reach what this relay does not, best first. @default none: nothing goes through two relays */
  readonly onward?: (target: EndpointId) => readonly Onward[];
  /** Takes one place in the relay's limits; false when there is none left. */
  readonly admit: () => boolean;
  /** Resolves when so many bytes may pass: where they are counted, and slowed down. @default at once */
  readonly pass?: (bytes: number, from: Side) => Promise<void>;
  /** All ways to the target together, ms: less than an asker waits. */
  readonly reachMs: number;
  /** How long the first byte may take, ms. */
  readonly firstByteMs: number;
  /** How long either side may send or take nothing, ms: a living host sends something every few seconds. */
  readonly idleMs: number;
}

/** Which side of the relay bytes come from. */
export type Side = "asker" | "host";

/** Another relay. */
export interface Onward {
  readonly relay: EndpointId;
  /** Opens a stream to it within `ms`, type byte not yet written. */
  readonly open: (ms: number) => Promise<ByteStream>;
  /** It did not lead to the target. */
  readonly failed: () => void;
  /** It did, after so many ms. */
  readonly reached?: (ms: number) => void;
}

export interface Carried {
  readonly target: EndpointId;
  /** The other relay that led there; undefined: this one reached the target itself. */
  readonly via: EndpointId | undefined;
  readonly bytesToHost: number;
  readonly bytesToAsker: number;
}

/** A way to the target, ready for the envelope. */
interface Way {
  readonly stream: ByteStream;
  readonly reader: Pick<ByteStream, "read">;
  readonly via: EndpointId | undefined;
}

/** Another relay must fit into the time that an asker waits for this one. */
const maxOnward = 2;

/**
 * Relay: serves one stream of type `relay`. Resolves when both directions have ended.
 *
 * @returns what was carried, or the code by which the asker was told that nothing is
 * @throws  MeshError after both streams were aborted
 */
export async function carry(
  asker: ByteStream,
  reader: StreamReader,
  options: CarryOptions,
): Promise<Carried | RelayCode> {
  const reply = (code: RelayCode): Promise<void> =>
    writeTaken(asker, encodeFrame(encodeRelayReply(code)), options.idleMs);
  const refuse = async (code: RelayCode): Promise<RelayCode> => {
    await reply(code);
    await asker.finish();
    settle(asker, reader, limits.relayAheadBytes); // an abort would overtake what was said
    return code;
  };
  const open = await readOpen(reader, options.firstByteMs);
  if (!open) return await refuse(relayCodes.badRequest);
  if (open.hops >= limits.relayHops) return await refuse(relayCodes.refused); // through two relays already
  if (open.target === options.from) return await refuse(relayCodes.refused); // a way back is none
  if (!options.admit()) return await refuse(relayCodes.busy);
  const way = await wayTo(open, asker.aborted, options);
  if (typeof way === "number") return await refuse(way);
  return await pipeBoth({ asker, reader, way, target: open.target, ready: () => reply(relayCodes.ok) }, options);
}

async function readOpen(reader: StreamReader, ms: number): Promise<RelayOpen | undefined> {
  try {
    const frame = reader.frame(limits.relayFrameBytes);
    return decodeRelayOpen(await withDeadline(frame, { what: "the relay request", ms }));
  } catch {
    return undefined;
  }
}

/**
 * To the target itself, else through one relay more if the bytes have not come through one.
 *
 * @returns what the asker is told when there is none; that another relay was busy is worth telling
 */
async function wayTo(open: RelayOpen, gone: Signal, options: CarryOptions): Promise<Way | RelayCode> {
  const { target, hops } = open;
  const untilMs = performance.now() + options.reachMs;
  const others = hops + 1 < limits.relayHops ? (options.onward?.(target) ?? []).slice(0, maxOnward) : [];
  // a way behind which there are others gets half of what is left
  const within = (waysBehind: number): number => {
    const leftMs = Math.max(0, untilMs - performance.now());
    return waysBehind > 0 ? leftMs / 2 : leftMs;
  };
  const reaching = options.reach(target, within(others.length));
  if (reaching) {
    const stream = await openTarget(reaching, hops + 1, { ms: within(others.length), signal: gone });
    if (stream) return { stream, reader: stream, via: undefined };
  }
  const refusals: RelayCode[] = [];
  for (const [index, onward] of others.entries()) {
    const ms = within(others.length - 1 - index);
    const way = await openOnward(onward, target, { hops: hops + 1, ms, signal: gone });
    if (typeof way !== "number") return way;
    onward.failed();
    refusals.push(way);
  }
  if (refusals.includes(relayCodes.busy)) return relayCodes.busy;
  return reaching || others.length > 0 ? relayCodes.unreachable : relayCodes.unknownTarget;
}

/** A stream at the target that announces the envelope; undefined: it does not take one. */
async function openTarget(
  reaching: Promise<ByteStream>,
  hops: number,
  { ms, signal }: { readonly ms: number; readonly signal: Signal },
): Promise<ByteStream | undefined> {
  let stream: ByteStream | undefined;
  try {
    stream = await withDeadline(reaching, { what: "the way to the target", ms, signal });
    const frame = encodeFrame(encodeRelayedOpen({ hops }));
    await writeTaken(stream, Uint8Array.of(sealStreams.relayed, ...frame), ms);
    return stream;
  } catch {
    if (stream) stream.abort();
    else abortLate(reaching);
    return undefined;
  }
}

/** @returns the other relay's refusal when it leads nowhere */
async function openOnward(
  { relay, open, reached }: Onward,
  target: EndpointId,
  ask: { readonly hops: number; readonly ms: number; readonly signal: Signal },
): Promise<Way | RelayCode> {
  const started = performance.now();
  const opening = open(ask.ms);
  const { ms, signal } = ask;
  let stream: ByteStream;
  try {
    stream = await withDeadline(opening, { what: `the way to ${shortId(relay)}`, ms, signal });
  } catch {
    abortLate(opening);
    return relayCodes.unreachable;
  }
  const reader = new StreamReader(stream);
  const code = await codeOf(stream, reader, target, ask).catch(() => relayCodes.unreachable);
  if (code === relayCodes.ok) {
    reached?.(performance.now() - started);
    return { stream, reader, via: relay };
  }
  stream.abort();
  return code;
}

/** Nobody waits for this stream any more. */
function abortLate(opening: Promise<ByteStream>): void {
  opening.then(
    (late) => late.abort(),
    () => undefined,
  );
}

interface Pipe {
  readonly asker: ByteStream;
  readonly reader: StreamReader;
  readonly way: Way;
  readonly target: EndpointId;
  /** Tells the asker that the target is reached. */
  readonly ready: () => Promise<void>;
}

async function pipeBoth({ asker, reader, way, target, ready }: Pipe, options: CarryOptions): Promise<Carried> {
  const { firstByteMs } = options;
  const host = way.stream;
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
    const [bytesToHost, bytesToAsker] = await Promise.all([
      copy(reader, host, "asker", options),
      copy(way.reader, asker, "host", options),
    ]);
    return { target, via: way.via, bytesToHost, bytesToAsker };
  } catch (thrown) {
    host.abort();
    asker.abort();
    throw thrown;
  } finally {
    asker.aborted.removeEventListener("abort", abortHost);
    host.aborted.removeEventListener("abort", abortAsker);
  }
}

/** Reads no faster than the other side takes and the rate allows. The first byte of each direction must be 0xE1. */
async function copy(
  from: Pick<ByteStream, "read">,
  to: ByteStream,
  side: Side,
  { pass, idleMs }: CarryOptions,
): Promise<number> {
  const reading = new Patience(idleMs);
  const taking = new Patience(idleMs);
  let total = 0;
  try {
    for (;;) {
      const bytes = await reading.within(from.read(), "the next bytes to carry");
      if (!bytes) break;
      if (total === 0 && bytes[0] !== envelopeByte) throw new MeshError("E_WIRE", "only envelopes pass a relay");
      total += bytes.length;
      await pass?.(bytes.length, side);
      await writePiece(to, bytes, taking);
    }
  } finally {
    reading.close();
    taking.close();
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

/**
 * What this node carries for others: envelopes (tunnel/relay.ts) and questions about evidence (mesh/attest-serve.ts), to
 * members that it reaches itself or through one relay more. It holds the bounds of that, and the numbers for
 * `sealmesh status`: who, how much, how often. Never content; a relay has no key to it.
 */
import { type EndpointId, shortId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { Places } from "../base/places.ts";
import type { Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import { Throttle } from "../base/throttle.ts";
import type { PassingOn } from "../mesh/attest-serve.ts";
import { HostLoad, relaysNaming } from "../mesh/choose.ts";
import type { Mesh, StreamHandler } from "../mesh/mesh.ts";
import type { Roles } from "../mesh/roles.ts";
import { carry, type Carried, type CarryOptions, type Onward } from "../tunnel/relay.ts";
import { defaults } from "./defaults.ts";

/** How much a node carries for others. One asker gets half of each at most. */
export interface RelaySettings {
  /** At a time. */
  readonly streams: number;
  /** Both directions together. */
  readonly bytesPerSecond: number;
}

export interface RelayingOptions {
  readonly settings: RelaySettings;
  /** Throws until the node has been built: nobody asks before. */
  readonly mesh: () => Mesh;
  readonly clock: Clock;
  readonly log: Log;
  /** @default every member may carry */
  readonly roles?: Roles;
}

export interface RelayedStatus {
  /** Carried whole since the start; and those of them that went through another relay. */
  readonly streams: number;
  readonly onward: number;
  /** Began and broke off: by either side, or at a bound. */
  readonly broken: number;
  /** Turned away before the first byte of an envelope: no place, no way, or no sense. */
  readonly refused: number;
  readonly running: number;
  /** Both directions together, running streams included. */
  readonly bytes: number;
  readonly max_streams: number;
  readonly max_bytes_per_second: number;
  /** Members that most was carried for and to, most first. */
  readonly peers: readonly RelayedPeer[];
}

export interface RelayedPeer {
  /** First 10 hex digits of the endpoint id. */
  readonly id: string;
  /** That it asked for, and that were for it. */
  readonly streams_from: number;
  readonly streams_to: number;
  readonly bytes_from: number;
  readonly bytes_to: number;
  readonly refused: number;
}

type Tally = { -readonly [Name in keyof Omit<RelayedPeer, "id">]: number };

/** Peers that are counted one by one; whoever was carried for longest ago goes first, and stays in the sums. */
const countedPeers = 256;
/** Peers in a status. */
const shownPeers = 20;
/** An asker's rate is this much of the node's, and it may use so many seconds of it at once: a prompt with images at full speed. */
const shareOfOne = 1 / 2;
const burstSeconds = 4;
/** How long a relay that led nowhere comes behind the others, ms. */
const avoidMs = 10_000;

export class Relaying {
  readonly #options: RelayingOptions;
  readonly #places: Places;
  readonly #throttle: Throttle;
  readonly #load = new HostLoad();
  readonly #sums = { streams: 0, onward: 0, broken: 0, refused: 0, bytes: 0 };
  /** Latest last. */
  readonly #tallies = new Map<EndpointId, Tally>();

  constructor(options: RelayingOptions) {
    this.#options = options;
    const { streams, bytesPerSecond } = options.settings;
    this.#places = new Places({ total: streams, perHolder: Math.ceil(streams * shareOfOne) });
    const boundsOf = (perSecond: number): { burst: number; perSecond: number } => ({
      burst: perSecond * burstSeconds,
      perSecond,
    });
    this.#throttle = new Throttle({
      perHolder: boundsOf(bytesPerSecond * shareOfOne),
      total: boundsOf(bytesPerSecond),
      holders: defaults.relayAskers,
    });
  }

  /** Serves a relay stream. @throws as carry() */
  readonly stream: StreamHandler = async (stream, reader, from) => {
    const { log } = this.#options;
    const started = performance.now();
    let admitted: (() => void) | undefined;
    let target: EndpointId | undefined;
    let began = false;
    const options: CarryOptions = {
      from,
      reach: (id, ms) => {
        target = id;
        return this.#open(id, ms, stream.aborted);
      },
      onward: (id) => this.#onward(id, from, stream.aborted),
      admit: () => (admitted = this.#places.take(from)) !== undefined,
      pass: async (bytes, side) => {
        began = true;
        this.#count(from, side === "asker" ? { bytes_from: bytes } : { bytes_to: bytes });
        if (target) this.#count(target, side === "asker" ? { bytes_to: bytes } : { bytes_from: bytes });
        this.#sums.bytes += bytes;
        await this.#throttle.pass(from, bytes, stream.aborted);
      },
      reachMs: defaults.relayReachMs,
      firstByteMs: defaults.firstByteMs,
      idleMs: defaults.relayIdleMs,
    };
    try {
      const carried = await carry(stream, reader, options);
      if (typeof carried === "number") return this.#refused(from);
      this.#carried(from, carried);
      const bytes = carried.bytesToHost + carried.bytesToAsker;
      const ms = Math.round(performance.now() - started);
      log.write("info", { event: "relay-carried", from, to: carried.target, bytes, ms });
    } catch (thrown) {
      if (began) this.#sums.broken += 1;
      else this.#refused(from);
      throw thrown;
    } finally {
      admitted?.();
    }
  };

  /** Towards a member, for a question about evidence: itself, or the best relay that has named it. */
  readonly reach = (
    target: EndpointId,
    { from, viaRelay }: PassingOn,
    signal: Signal,
  ): Promise<ByteStream> | undefined => {
    const direct = this.#open(target, defaults.dialMs, signal);
    if (direct || !viaRelay) return direct;
    const [best] = this.#onward(target, from, signal);
    return best?.open(defaults.dialMs);
  };

  status(): RelayedStatus {
    const { streams, bytesPerSecond } = this.#options.settings;
    const moved = ({ bytes_from, bytes_to }: Tally): number => bytes_from + bytes_to;
    const peers = [...this.#tallies].toSorted(([, a], [, b]) => moved(b) - moved(a)).slice(0, shownPeers);
    return {
      ...this.#sums,
      running: this.#places.taken,
      max_streams: streams,
      max_bytes_per_second: bytesPerSecond,
      peers: peers.map(([id, tally]) => ({ id: shortId(id), ...tally })),
    };
  }

  /** To a member that this node has met; a name that others have mentioned is not dialed for anybody. */
  #open(id: EndpointId, dialMs: number, signal: Signal): Promise<ByteStream> | undefined {
    const mesh = this.#options.mesh();
    return mesh.peer(id)?.met ? mesh.openSeal(id, { dialMs, signal }) : undefined;
  }

  /** Connected relays that have named the target; the asker is none of them, or bytes would go round in circles. */
  #onward(target: EndpointId, from: EndpointId, signal: Signal): readonly Onward[] {
    const { mesh: meshOf, clock, roles } = this.#options;
    const mesh = meshOf();
    const nowMs = clock.now();
    return relaysNaming(mesh, target, { load: this.#load, nowMs, roles })
      .filter((relay) => relay !== from && mesh.isConnected(relay))
      .map((relay) => ({
        relay,
        open: (dialMs) => mesh.openSeal(relay, { dialMs, signal }),
        failed: () => this.#load.avoid(relay, clock.now() + avoidMs),
        reached: (ms) => this.#load.reached(relay, target, ms, clock.now()),
      }));
  }

  #carried(from: EndpointId, { target, via }: Carried): void {
    this.#sums.streams += 1;
    if (via) this.#sums.onward += 1;
    this.#count(from, { streams_from: 1 });
    this.#count(target, { streams_to: 1 });
  }

  #refused(from: EndpointId): void {
    this.#sums.refused += 1;
    this.#count(from, { refused: 1 });
  }

  #count(id: EndpointId, more: Partial<Tally>): void {
    const none: Tally = { streams_from: 0, streams_to: 0, bytes_from: 0, bytes_to: 0, refused: 0 };
    const tally = this.#tallies.get(id) ?? none;
    for (const name of Object.keys(none) as (keyof Tally)[]) tally[name] += more[name] ?? 0;
    this.#tallies.delete(id);
    this.#tallies.set(id, tally);
    if (this.#tallies.size > countedPeers) {
      const [oldest] = this.#tallies.keys();
      if (oldest !== undefined) this.#tallies.delete(oldest);
    }
  }
}

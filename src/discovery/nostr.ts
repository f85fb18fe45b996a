/**
 * Listings on Nostr relays, as mesh-llm has them: events of kind 31990, one of each key, which end after two minutes and
 * are told anew each minute (protocol.md §9.4). Relays are asked side by side; any one that answers is enough.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { abortError } from "../base/deadline.ts";
import { type MeshError, toMeshError } from "../base/errors.ts";
import { limits } from "../wire/limits.ts";
import type { Discovery, DiscoveryKind, DiscoveryParts, FindOptions, Listing, Offer } from "./discovery.ts";
import { decodeListing, encodeListing, sameName, unlessUnreadable } from "./listing.ts";
import { isGenuine, type NostrEvent, signEvent, tagOf, type UnsignedEvent } from "./nostr-event.ts";
import { type EventFilter, fetchEvents, sendEvent } from "./nostr-relay.ts";

/** mesh-llm's kind of event and its one identifier. */
const listingKind = 31_990;
const topic = "mesh-llm";
/** A listing holds so long, and is told anew after so long, ms. */
const lifeMs = 120_000;
const repeatMs = 60_000;
/** One event to one relay, ms. */
const sendMs = 5_000;
/** After the first relay has answered, the others have so long, ms: one that hangs holds up nobody. */
const othersMs = 2_500;
/** Taking the listing back at the end, ms: nobody waits long for that. */
const farewellMs = 1_000;
/** A relay that failed is left alone for so long, ms: longer each time, up to the last. */
const restsMs: readonly number[] = [2_000, 10_000, 60_000, 300_000];

export const nostrDiscovery: DiscoveryKind = {
  source: "nostr",
  wanted: ({ nostrRelays }) => nostrRelays.length > 0,
  start: (parts) => new NostrDiscovery(parts),
};

/** A relay, and how it has behaved. */
interface Relay {
  readonly url: string;
  failures: number;
  restsUntilMs: number;
}

class NostrDiscovery implements Discovery {
  readonly source = "nostr";
  readonly #parts: DiscoveryParts;
  readonly #relays: readonly Relay[];
  readonly #closing = new AbortController();
  #offer: Offer | undefined;
  #repeating: NodeJS.Timeout | undefined;
  /** Seconds; of two events of one second the newer would not replace the older. */
  #lastCreatedAt = 0;

  constructor(parts: DiscoveryParts) {
    this.#parts = parts;
    this.#relays = parts.settings.nostrRelays.map((url) => ({ url, failures: 0, restsUntilMs: 0 }));
  }

  async announce(offer: Offer): Promise<void> {
    this.#offer = offer;
    clearTimeout(this.#repeating);
    this.#repeatLater();
    await this.#tell(encodeListing(offer), lifeMs, sendMs);
  }

  async withdraw(): Promise<void> {
    clearTimeout(this.#repeating);
    if (!this.#offer) return;
    this.#offer = undefined;
    // a newer event takes the place of the listing, and ends by itself
    await this.#tell("", 2_000, farewellMs).catch(() => undefined);
  }

  async find({ ms, signal, name }: FindOptions): Promise<readonly Listing[]> {
    const nowMs = this.#parts.clock.now();
    const seconds = Math.floor(nowMs / 1_000);
    const filter: EventFilter = {
      kinds: [listingKind],
      "#k": [topic],
      since: seconds - limits.listingLifeMs / 1_000,
      until: seconds + limits.clockSkewMs / 1_000,
    };
    const newest = new Map<string, Listing>();
    const enough = new AbortController();
    const all = AbortSignal.any([signal, this.#closing.signal, enough.signal]);
    let lastMoment: NodeJS.Timeout | undefined;
    await this.#withRelays(async ({ url }) => {
      const candidates: Candidate[] = [];
      const take = (event: NostrEvent): void => {
        const listing = unlessUnreadable(() => listingOf(event, nowMs));
        if (listing && (name === undefined || sameName(listing.meshName ?? "", name)))
          candidates.push({ event, listing });
      };
      try {
        await fetchEvents(url, filter, { ms, signal: all }, take);
        lastMoment ??= setTimeout(() => enough.abort(), othersMs);
      } catch (thrown) {
        if (candidates.length === 0 && !enough.signal.aborted) throw thrown;
      }
      await keepGenuine(candidates, newest);
    }).finally(() => clearTimeout(lastMoment));
    if (signal.aborted) throw abortError(signal);
    return [...newest.values()];
  }

  async close(): Promise<void> {
    await this.withdraw();
    this.#closing.abort();
  }

  #repeatLater(): void {
    this.#repeating = setTimeout(() => {
      if (!this.#offer) return;
      this.#tell(encodeListing(this.#offer), lifeMs, sendMs).catch((thrown: unknown) => this.#trouble(thrown));
      this.#repeatLater();
    }, repeatMs);
    this.#repeating.unref();
  }

  /** Hands an event with this content to all relays; resolves as soon as one has it. @throws when none has taken it */
  #tell(content: string, holdsMs: number, ms: number): Promise<void> {
    const now = Math.floor(this.#parts.clock.now() / 1_000);
    this.#lastCreatedAt = Math.max(now, this.#lastCreatedAt + 1);
    const expiration = Math.ceil(this.#lastCreatedAt + holdsMs / 1_000);
    const unsigned: UnsignedEvent = {
      created_at: this.#lastCreatedAt,
      kind: listingKind,
      tags: [
        ["d", topic],
        ["k", topic],
        ["expiration", String(expiration)],
      ],
      content,
    };
    const event = signEvent(unsigned, this.#parts.nostrKey);
    return new Promise((resolve, reject) => {
      this.#withRelays(async ({ url }) => {
        await sendEvent(url, event, { ms, signal: this.#closing.signal });
        resolve();
      }).then(resolve, reject);
    });
  }

  /** Does the same with every relay that is not at rest. @throws the failure of the last one when all have failed */
  async #withRelays(work: (relay: Relay) => Promise<void>): Promise<void> {
    const now = this.#parts.clock.now();
    const awake = this.#relays.filter(({ restsUntilMs }) => restsUntilMs <= now);
    // when all are at rest, a node that has just got its network back must not wait for minutes
    const asked = awake.length > 0 ? awake : this.#relays;
    const failures: MeshError[] = [];
    await Promise.all(
      asked.map(async (relay) => {
        try {
          await work(relay);
          relay.failures = 0;
          relay.restsUntilMs = 0;
        } catch (thrown) {
          failures.push(toMeshError(thrown));
          const restMs = restsMs[Math.min(relay.failures, restsMs.length - 1)] ?? repeatMs;
          relay.failures += 1;
          relay.restsUntilMs = this.#parts.clock.now() + restMs;
        }
      }),
    );
    const last = failures.at(-1);
    if (last && failures.length === asked.length) throw last;
  }

  #trouble(thrown: unknown): void {
    if (!this.#closing.signal.aborted) this.#parts.onTrouble("nostr", toMeshError(thrown));
  }
}

interface Candidate {
  readonly event: NostrEvent;
  readonly listing: Listing;
}

/**
 * Into `newest`, by key, go those whose signature holds. It costs a thousand times what the other checks do, so it comes last,
 * and others may run in between.
 */
async function keepGenuine(candidates: readonly Candidate[], newest: Map<string, Listing>): Promise<void> {
  for (const { event, listing } of candidates.slice(0, limits.nostrSignatures)) {
    const known = newest.get(event.pubkey);
    if (known && known.publishedAtMs >= listing.publishedAtMs) continue;
    if (isGenuine(event)) newest.set(event.pubkey, listing);
    await nextTurn();
  }
}

/** Everything but id and signature. @throws E_WIRE, E_INVITE */
function listingOf(event: NostrEvent, nowMs: number): Listing | undefined {
  if (event.kind !== listingKind || tagOf(event, "k") !== topic) return undefined;
  const publishedAtMs = event.created_at * 1_000;
  const expiration = tagOf(event, "expiration") ?? "";
  const expiresAtMs = /^[0-9]{1,12}$/.test(expiration) ? Number(expiration) * 1_000 : publishedAtMs + lifeMs;
  return decodeListing(event.content, { source: "nostr", publisher: event.pubkey, publishedAtMs, expiresAtMs }, nowMs);
}

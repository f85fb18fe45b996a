/** Listings for tests: a good one, and events around it. */
import { endpointId, type EndpointId } from "../../src/base/brand.ts";
import type { Discovery, DiscoveryParts, Listing, Offer } from "../../src/discovery/discovery.ts";
import { encodeListing } from "../../src/discovery/listing.ts";
import { type NostrEvent, signEvent, type UnsignedEvent } from "../../src/discovery/nostr-event.ts";
import { encodeInvite } from "../../src/wire/invite.ts";

/** "1" is 64 times that digit, and so on. */
export function idOf(digit: string): EndpointId {
  return endpointId(digit.padStart(64, digit));
}

export function offerOf(id: EndpointId, changes: Partial<Offer> = {}): Offer {
  return {
    token: encodeInvite({ id, relays: [], direct: ["192.0.2.1:4433"] }),
    meshName: undefined,
    meshId: undefined,
    serving: ["llama"],
    wanted: [],
    onDisk: [],
    totalVramBytes: 0,
    nodeCount: 1,
    clientCount: 0,
    maxClients: 0,
    region: undefined,
    inviteOnly: false,
    ...changes,
  };
}

export function listingOf(id: EndpointId, changes: Partial<Listing> = {}): Listing {
  return {
    ...offerOf(id),
    endpointId: id,
    minimum: undefined,
    publisher: id,
    source: "nostr",
    publishedAtMs: 0,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
    ...changes,
  };
}

/** An event as a node of the mesh makes it, `now` in seconds; changes come before the signature. */
export function eventOf(
  secret: Uint8Array,
  content: Offer | string,
  changes: Partial<UnsignedEvent> = {},
  now: number = Math.floor(Date.now() / 1_000),
): NostrEvent {
  const unsigned: UnsignedEvent = {
    created_at: now,
    kind: 31_990,
    tags: [
      ["d", "mesh-llm"],
      ["k", "mesh-llm"],
      ["expiration", String(now + 120)],
    ],
    content: typeof content === "string" ? content : encodeListing(content),
    ...changes,
  };
  return signEvent(unsigned, secret);
}

/** Secret number `n`, from 1 on. */
export function secretOf(n: number): Uint8Array {
  const secret = new Uint8Array(32);
  new DataView(secret.buffer).setUint32(28, n);
  return secret;
}

/** What a kind of discovery is started with. */
export function partsFor(nostrRelays: readonly string[], secret: Uint8Array, lan = false): DiscoveryParts {
  return {
    settings: { nostrRelays, lan },
    clock: { now: () => Date.now() },
    nostrKey: secret,
    onTrouble: () => undefined,
  };
}

export function findAll(discovery: Discovery, name?: string, ms = 3_000): Promise<readonly Listing[]> {
  return discovery.find({ ms, signal: new AbortController().signal, name });
}

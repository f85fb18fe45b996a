/** Attack: a listing that its key never signed, changed on the way or put under another node's name, is served by a relay. */
import { afterEach, describe, expect, it } from "vitest";
import { nostrDiscovery } from "../../src/discovery/nostr.ts";
import type { NostrEvent } from "../../src/discovery/nostr-event.ts";
import { eventOf, findAll, idOf, offerOf, partsFor, secretOf } from "../support/listings.ts";
import { startNostrRelay, type TestRelay } from "../support/nostr-relay.ts";

const relays: TestRelay[] = [];
afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.close();
});

const good = eventOf(secretOf(1), offerOf(idOf("1"), { meshName: "team" }));
const attackers = eventOf(secretOf(2), offerOf(idOf("2"), { meshName: "team" }));

/** What is found where one relay has the one, and another the other. */
async function found(...events: readonly NostrEvent[]): Promise<readonly string[]> {
  for (const event of events) {
    const relay = await startNostrRelay();
    relays.push(relay);
    relay.plant(event);
  }
  const urls = relays.map(({ url }) => url);
  const discovery = nostrDiscovery.start(partsFor(urls, secretOf(3)));
  try {
    return (await findAll(discovery, "team")).map(({ endpointId }) => endpointId);
  } finally {
    await discovery.close();
  }
}

describe("a relay that forges listings", () => {
  it.each<[string, NostrEvent]>([
    ["a signature of nothing", { ...attackers, sig: "0".repeat(128) }],
    ["another key's signature", { ...attackers, sig: good.sig }],
    ["the victim's key over the attacker's content", { ...good, content: attackers.content }],
    ["the victim's key and the attacker's id and signature", { ...attackers, pubkey: good.pubkey }],
    ["a later end", { ...attackers, tags: [...attackers.tags.slice(0, 2), ["expiration", "1999999999"]] }],
    [
      "a later time, which would be the newest of that key",
      { ...good, content: attackers.content, created_at: good.created_at + 60 },
    ],
  ])("is not believed with %s, and hides nothing that another relay has", async (_what, forged) => {
    expect(await found(forged, good)).toEqual([idOf("1")]);
  });
});

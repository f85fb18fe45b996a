/**
 * What strangers list, on random values and near a good one: each decoder returns a bounded listing or throws a MeshError.
 * SEALMESH_FUZZ_RUNS raises the count.
 */
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { utf8 } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import type { Listing } from "../../src/discovery/discovery.ts";
import { decodeListing, encodeListing, pick, score } from "../../src/discovery/listing.ts";
import { decodeText, encodeText } from "../../src/discovery/mdns-text.ts";
import { decodeRelayMessage, isGenuine } from "../../src/discovery/nostr-event.ts";
import { limits } from "../../src/wire/limits.ts";
import { fc } from "../support/fast-check.ts";
import { eventOf, idOf, offerOf, secretOf } from "../support/listings.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 500);
const now = 1_700_000_000_000;
const carrier = { source: "nostr", publisher: "ab", publishedAtMs: now, expiresAtMs: now + 120_000 } as const;
const good = encodeListing(offerOf(idOf("1"), { meshName: "team" }));
const event = eventOf(secretOf(1), good);

function unlessRefused<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return undefined;
  }
}

function isBounded(listing: Listing): void {
  const {
    serving,
    wanted,
    onDisk,
    nodeCount,
    clientCount,
    maxClients,
    totalVramBytes,
    meshName = "",
    region = "",
  } = listing;
  for (const names of [serving, wanted, onDisk]) expect(names.length).toBeLessThanOrEqual(limits.listingModels);
  for (const text of [...serving, ...wanted, ...onDisk, meshName, region]) {
    expect(text.length).toBeLessThanOrEqual(limits.nameBytes);
    expect(text).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
  }
  for (const number of [nodeCount, clientCount, maxClients]) expect(number).toBeLessThanOrEqual(limits.listingNodes);
  for (const number of [nodeCount, clientCount, maxClients, totalVramBytes]) expect(number).toBeGreaterThanOrEqual(0);
  expect(Math.abs(score(listing, {}))).toBeLessThan(2_000);
  expect(pick([listing, listing], { name: listing.meshName }).length).toBeLessThanOrEqual(1);
}

/** The good text with some characters changed, and perhaps cut. */
const near = (text: string): fc.Arbitrary<string> =>
  fc
    .tuple(fc.array(fc.tuple(fc.nat(text.length), fc.string({ maxLength: 3 })), { maxLength: 6 }), fc.nat(text.length))
    .map(([changes, cut]) => {
      let out = text.slice(0, cut === 0 ? text.length : cut);
      for (const [at, piece] of changes) out = out.slice(0, at) + piece + out.slice(at + piece.length);
      return out;
    });

describe("decoders of listings", () => {
  it("decodeListing returns a bounded listing or throws a MeshError", () => {
    const members = fc.record(
      {
        invite_token: fc.oneof(fc.constant(offerOf(idOf("1")).token), fc.string(), fc.jsonValue()),
        serving: fc.jsonValue(),
        wanted: fc.array(fc.string({ unit: "binary" })),
        total_vram_bytes: fc.oneof(fc.double(), fc.jsonValue()),
        node_count: fc.oneof(fc.double(), fc.jsonValue()),
        max_clients: fc.integer(),
        name: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()),
        mesh_id: fc.jsonValue(),
        sealmesh: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const texts = fc.oneof(
      fc.string(),
      near(good),
      members.map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const listing = unlessRefused(() => decodeListing(text, carrier, now));
        if (listing) isBounded(listing);
      }),
      { numRuns },
    );
  });

  it("decodeText does, of a TXT record", () => {
    const parts = encodeText(offerOf(idOf("1"), { meshName: "team" }));
    const odd = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(
          fc.constantFrom("nodes", "vram", "serving", "name", "ep_addr", "sm_policy", "mesh_id"),
          fc.string({ unit: "binary" }),
        )
        .map(([key, value]) => utf8(`${key}=${value}`)),
      fc.constantFrom(...parts),
    );
    fc.assert(
      fc.property(fc.array(odd, { maxLength: 30 }), fc.boolean(), (others, whole) => {
        const listing = unlessRefused(() => decodeText(whole ? [...others, ...parts] : others, 120_000, now));
        if (listing) isBounded(listing);
      }),
      { numRuns },
    );
  });

  it("decodeRelayMessage returns a message or throws a MeshError, and isGenuine never throws", () => {
    const text = JSON.stringify(["EVENT", "page-0", event]);
    const hex = (digits: number): fc.Arbitrary<string> =>
      fc.string({ unit: fc.constantFrom(...Array.from("0123456789abcdef")), minLength: digits, maxLength: digits });
    const changed = fc
      .record({ id: hex(64), pubkey: hex(64), sig: hex(128), content: fc.string() }, { requiredKeys: [] })
      .map((changes) => JSON.stringify(["EVENT", "page-0", { ...event, ...changes }]));
    fc.assert(
      fc.property(fc.oneof(fc.json(), near(text), changed), (message) => {
        const read = unlessRefused(() => decodeRelayMessage(message));
        if (read?.kind !== "event" || !isGenuine(read.event)) return;
        expect(read.event.content).toBe(event.content);
        expect(read.event.pubkey).toBe(event.pubkey);
      }),
      { numRuns },
    );
  });

  it("the codec of DNS throws nothing that its socket does not catch, and ends", () => {
    const { decode } = createRequire(createRequire(import.meta.url).resolve("multicast-dns"))("dns-packet") as {
      decode: (bytes: Uint8Array) => unknown;
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const started = performance.now();
        try {
          decode(Buffer.from(bytes));
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(Error);
        }
        expect(performance.now() - started).toBeLessThan(1_000);
      }),
      { numRuns },
    );
  });
});

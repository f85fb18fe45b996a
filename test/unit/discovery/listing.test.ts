/** Listings: read with bounds, scored as the reference scores them, put in order. */
import { describe, expect, it } from "vitest";
import { utf8, toBase64Url } from "../../../src/base/bytes.ts";
import type { ErrorCode } from "../../../src/base/errors.ts";
import type { Listing } from "../../../src/discovery/discovery.ts";
import { bareToken, decodeListing, encodeListing, pick, score } from "../../../src/discovery/listing.ts";
import { addressJson } from "../../../src/wire/address.ts";
import { decodeInvite, encodeInvite } from "../../../src/wire/invite.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode } from "../../support/expect-code.ts";
import { idOf, listingOf, offerOf } from "../../support/listings.ts";

const now = 1_700_000_000_000;
const carrier = { source: "nostr", publisher: "ab", publishedAtMs: now, expiresAtMs: now + 120_000 } as const;
const read = (content: unknown, carried: Partial<typeof carrier> = {}): Listing =>
  decodeListing(typeof content === "string" ? content : JSON.stringify(content), { ...carrier, ...carried }, now);
const content = JSON.parse(encodeListing(offerOf(idOf("1"), { meshName: "team" }))) as Record<string, unknown>;

describe("a listing", () => {
  it("is read back as it was written", () => {
    const offer = offerOf(idOf("1"), {
      meshName: "team",
      meshId: "0123456789abcdef",
      serving: ["a"],
      wanted: ["b"],
      onDisk: ["c"],
      totalVramBytes: 24_000_000_000,
      nodeCount: 3,
      clientCount: 2,
      maxClients: 8,
      region: "here",
      inviteOnly: true,
    });
    expect(read(encodeListing(offer))).toEqual({ ...offer, ...carrier, endpointId: idOf("1"), minimum: undefined });
  });

  it("of the reference, without our member, is open", () => {
    const { sealmesh: _, ...theirs } = content;
    expect(read(theirs).inviteOnly).toBe(false);
  });

  it.each<[string, object]>([
    ["unknown members", { later: "secret" }],
    ["a secret without its grant", { bearer: "secret" }],
    ["a grant without its secret", { grant: "secret" }],
    ["a grant and a secret that are none", { grant: "secret", bearer: ["secret"] }],
    ["a grant of its own, and its secret", { grant: "c2VjcmV0", bearer: `secret${"A".repeat(37)}`, name: "secret" }],
  ])("carries nothing that admits: of a token %s are dropped, on the way out and in", (_what, ours) => {
    const { address } = decodeInvite(offerOf(idOf("1")).token);
    const secret = { ...addressJson(address), more: "secret", sealmesh: { ...ours, policy: { encryption: true } } };
    const token = toBase64Url(utf8(JSON.stringify(secret)));
    for (const bare of [bareToken(token), read({ ...content, invite_token: token }).token]) {
      const text = Buffer.from(bare, "base64url").toString();
      expect(text).not.toContain("secret");
      expect(text).not.toContain("c2VjcmV0");
      expect(decodeInvite(bare)).toEqual({ address, minimum: { attested: undefined, encryption: true } });
    }
  });

  it("carries nothing that admits: an invite that is right loses grant, secret and name", () => {
    const { address } = decodeInvite(offerOf(idOf("1")).token);
    const granted = { bytes: new Uint8Array(99).fill(0x5a), bearerSeed: new Uint8Array(32).fill(0xa5) };
    const token = encodeInvite(address, { granted, name: "poker" });
    for (const bare of [bareToken(token), read({ ...content, invite_token: token }).token]) {
      expect(bare).toBe(encodeInvite(address));
    }
  });

  it("that this node writes fits its bound, however many models there are", () => {
    const serving = Array.from({ length: 5_000 }, (_, n) => `model-${n}-${"x".repeat(240)}`);
    const text = encodeListing(offerOf(idOf("1"), { serving, wanted: serving, onDisk: serving }));
    expect(utf8(text).length).toBeLessThanOrEqual(limits.listingBytes);
    expect(read(text).serving.length).toBeGreaterThan(0);
  });

  it.each<[string, unknown, Partial<typeof carrier>, ErrorCode]>([
    ["has ended", content, { expiresAtMs: now as never }, "E_WIRE"],
    ["is from the future", content, { publishedAtMs: (now + 3_600_000) as never }, "E_WIRE"],
    ["wants to hold for years", content, { expiresAtMs: (now + 1e12) as never }, "E_WIRE"],
    ["is too long", `{"name":"${"x".repeat(limits.listingBytes)}"}`, {}, "E_WIRE"],
    ["is no JSON", "{", {}, "E_WIRE"],
    ["is a list", [], {}, "E_WIRE"],
    ["has no token", { ...content, invite_token: undefined }, {}, "E_WIRE"],
    ["has a token that is none", { ...content, invite_token: "AAAA" }, {}, "E_INVITE"],
    ["has a token that is too long", { ...content, invite_token: "A".repeat(10_000) }, {}, "E_INVITE"],
    ["has a demand that nobody knows", { ...content, invite_token: demanding({ moon: true }) }, {}, "E_INVITE"],
  ])("is refused when it %s", (_what, text, carried, code) => {
    expectCode(code, () => read(text, carried));
  });

  it("has bounded lists, names and numbers, and no control character", () => {
    const odd = read({
      ...content,
      name: "a\u001b[2Jb\u202e",
      region: "x".repeat(1_000),
      mesh_id: "../../etc",
      serving: Array.from({ length: 1_000 }, (_, n) => `m${n}`),
      wanted: ["", 5, null, { a: 1 }, "ok\u0000", "x".repeat(5_000)],
      on_disk: "none",
      node_count: -4,
      client_count: 1e300,
      max_clients: "many",
      total_vram_bytes: Number.MAX_VALUE,
    });
    expect(odd).toMatchObject({
      meshName: "a\ufffd[2Jb\ufffd",
      region: undefined,
      meshId: undefined,
      wanted: ["ok\ufffd"],
      onDisk: [],
      nodeCount: 1,
      clientCount: limits.listingNodes,
      maxClients: 0,
      totalVramBytes: limits.listingVramBytes,
    });
    expect(odd.serving).toHaveLength(limits.listingModels);
  });
});

describe("the score", () => {
  const base: Partial<Listing> = { serving: [], meshName: "x", maxClients: 10, clientCount: 5 };
  it.each<[string, Partial<Listing>, number]>([
    ["headroom and one node", {}, 110],
    ["no name", { meshName: undefined }, 410],
    ["the common name", { meshName: "Mesh-LLM" }, 410],
    ["the last mesh", { meshId: "0".repeat(16) }, 610],
    ["a full mesh", { clientCount: 10 }, -895],
    ["much headroom", { maxClients: 1_000 }, 125],
    ["ten nodes", { nodeCount: 10 }, 155],
    ["a million nodes", { nodeCount: 1_000_000 }, 155],
    ["two models", { serving: ["a", "b"] }, 130],
    ["two wanted models", { wanted: ["a", "b"] }, 140],
  ])("of %s", (_what, changes, points) => {
    expect(score(listingOf(idOf("1"), { ...base, ...changes }), { lastMeshId: "0".repeat(16) })).toBe(points);
  });

  it("of sixty-four models is that of ten", () => {
    const models = (count: number): Listing =>
      listingOf(idOf("1"), { serving: Array.from({ length: count }, (_, n) => `m${n}`) });
    expect(score(models(64), {})).toBe(score(models(10), {}));
  });
});

describe("picking", () => {
  it("takes one for each publisher and one for each node", () => {
    const listings = [
      listingOf(idOf("1"), { publisher: "p", nodeCount: 9 }),
      listingOf(idOf("2"), { publisher: "p" }),
      listingOf(idOf("1"), { publisher: "q" }),
      listingOf(idOf("3"), { publisher: "r" }),
    ];
    expect(pick(listings, { name: undefined }).map(({ endpointId: id }) => id)).toEqual([idOf("1"), idOf("3")]);
  });

  it("takes a name exactly but for its case, and without a name those for everybody", () => {
    const named = (digit: string, meshName: string | undefined): Listing => listingOf(idOf(digit), { meshName });
    const listings = [named("1", "Team"), named("2", "teams"), named("3", undefined), named("4", "mesh-llm")];
    expect(pick(listings, { name: "team" }).map(({ endpointId: id }) => id)).toEqual([idOf("1")]);
    expect(pick(listings, { name: undefined }).map(({ endpointId: id }) => id)).toEqual([idOf("3"), idOf("4")]);
  });

  it("takes sixteen at most", () => {
    const listings = Array.from({ length: 500 }, (_, n) =>
      listingOf(idOf((n % 16).toString(16)), { publisher: `${n}` }),
    );
    expect(pick(listings, { name: undefined }).length).toBeLessThanOrEqual(limits.listingsPicked);
  });
});

function demanding(policy: object): string {
  const { address } = decodeInvite(encodeInvite({ id: idOf("1"), relays: [], direct: [] }));
  return toBase64Url(utf8(JSON.stringify({ ...addressJson(address), sealmesh: { policy } })));
}

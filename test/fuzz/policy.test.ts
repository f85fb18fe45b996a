/**
 * Books of pins and of owners, claims of owners and their keys on random input, and on good input with changes: a value or a MeshError, soon, and
 * never a claim that holds. fast-check prints seed and path of a failure; SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../src/base/brand.ts";
import { concat, fromHex } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { decodeClaim, encodeClaim } from "../../src/node/owner-claim.ts";
import { decodeOwnerKey, encodeOwnerKey, newOwnerKey } from "../../src/node/owner-key.ts";
import { decodeOwnerBook, encodeOwnerBook, type OwnerBook } from "../../src/policy/owner-book.ts";
import { judgeOwner, noOwnerTrust } from "../../src/policy/owners.ts";
import { decodePinBook, encodePinBook, type Pin, type PinBook } from "../../src/policy/pins.ts";
import { decodeOwnership, encodeOwnership } from "../../src/wire/ownership.ts";
import { fc } from "../support/fast-check.ts";
import vectors from "../vectors/mesh-llm.json" with { type: "json" };

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const caseMs = 1_000;

/** What `run` gives; undefined for a MeshError. Anything else that is thrown, and anything slow, is a failure. */
function tried<T>(run: () => T): T | undefined {
  const started = performance.now();
  try {
    return run();
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return undefined;
  } finally {
    expect(performance.now() - started).toBeLessThan(caseMs);
  }
}

const hex = (bytes: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((value) => Buffer.from(value).toString("hex"));
const node: fc.Arbitrary<EndpointId> = hex(32).map(endpointId);
const timeMs = fc.nat(Number.MAX_SAFE_INTEGER);

const pin: fc.Arbitrary<Pin> = fc.record({
  endpointId: node,
  kind: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,63}$/),
  key: hex(16),
  measurement: fc.option(hex(32), { nil: undefined }),
  confirmed: fc.boolean(),
  pinnedAtMs: timeMs,
});
const book: fc.Arbitrary<PinBook> = fc.record({
  pins: fc.uniqueArray(pin, { maxLength: 8, selector: ({ endpointId: id, kind }) => `${id} ${kind}` }),
  forgotten: fc.array(fc.tuple(node, timeMs), { maxLength: 4 }).map((entries) => new Map(entries)),
});

describe("a book of pins", () => {
  it("any book comes back, and its text is its own", () => {
    fc.assert(
      fc.property(book, (made) => {
        const text = encodePinBook(made);
        const again = decodePinBook(text);
        expect(encodePinBook(again)).toBe(text);
        expect(new Set(again.pins)).toEqual(new Set(made.pins));
        expect(again.forgotten).toEqual(made.forgotten);
      }),
      { numRuns },
    );
  });

  it("any text, any JSON, and JSON that looks like a book", () => {
    const names = ["version", "pins", "forgotten", "endpoint_id", "kind", "key", "measurement", "__proto__"];
    const like = fc.record({
      version: fc.constantFrom(1, 1, 1, "1", 2),
      pins: fc.oneof(fc.array(fc.dictionary(fc.constantFrom(...names), fc.jsonValue())), fc.jsonValue()),
      forgotten: fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue()),
    });
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      like.map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(text, (given) => {
        const decoded = tried(() => decodePinBook(given));
        if (decoded) expect(decodePinBook(encodePinBook(decoded))).toEqual(decoded);
      }),
      { numRuns },
    );
  });

  it("a book whose text was changed somewhere", () => {
    const change = fc.record({ at: fc.nat(), text: fc.string({ maxLength: 4 }), removed: fc.nat(8) });
    fc.assert(
      fc.property(book, change, (made, { at, text, removed }) => {
        const whole = encodePinBook(made);
        const from = at % whole.length;
        tried(() => decodePinBook(whole.slice(0, from) + text + whole.slice(from + removed)));
      }),
      { numRuns },
    );
  });
});

describe("a claim of an owner", () => {
  const vector = vectors.ownership;
  const id = endpointId(vector.node_endpoint_id_hex);
  const claim = {
    version: 1,
    certId: vector.cert_id,
    ownerId: vector.owner_id_hex,
    ownerKey: fromHex(vector.owner_sign_public_key_hex),
    node: id,
    issuedAtMs: BigInt(vector.issued_at_unix_ms),
    expiresAtMs: BigInt(vector.expires_at_unix_ms),
    nodeLabel: vector.node_label,
    hostnameHint: undefined,
  };
  const good = encodeOwnership({ claim, signature: fromHex(vector.signature_hex) });
  const owned = (bytes: Uint8Array): boolean =>
    judgeOwner(bytes, id, noOwnerTrust, vector.issued_at_unix_ms).status === "verified";

  it("the good one holds", () => {
    expect(owned(good)).toBe(true);
  });

  it("random bytes never do", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        tried(() => decodeOwnership(bytes));
        expect(owned(bytes)).toBe(false);
      }),
      { numRuns },
    );
  });

  it("no bit of the good one can be changed to say something else", () => {
    const position = fc.tuple(fc.nat(good.length - 1), fc.nat(7));
    fc.assert(
      fc.property(position, ([at, bit]) => {
        const changed = good.map((byte, index) => (index === at ? byte ^ (1 << bit) : byte));
        const decoded = tried(() => decodeOwnership(changed));
        // a number may be written in more than one way; what it says is what counts
        if (owned(changed)) expect(decoded).toEqual(decodeOwnership(good));
      }),
      { numRuns },
    );
  });

  it("cut short or with anything in its middle it does not break", () => {
    for (let length = 0; length < good.length; length += 1) expect(owned(good.slice(0, length))).toBe(false);
    fc.assert(
      fc.property(fc.nat(good.length), fc.uint8Array({ minLength: 1, maxLength: 40 }), (at, piece) => {
        const longer = concat([good.subarray(0, at), piece, good.subarray(at)]);
        const decoded = tried(() => decodeOwnership(longer));
        if (owned(longer)) expect(decoded).toEqual(decodeOwnership(good));
      }),
      { numRuns },
    );
  });
});

describe("files of owners", () => {
  const ids = (bytes: number): fc.Arbitrary<ReadonlySet<string>> =>
    fc.array(hex(bytes), { maxLength: 8 }).map((list) => new Set(list));
  const ownerBook: fc.Arbitrary<OwnerBook> = fc.record({
    trustedOwners: ids(32),
    revokedOwners: ids(32),
    revokedCerts: ids(16),
    revokedNodes: fc.array(node, { maxLength: 8 }).map((list) => new Set(list)),
  });
  const vector = vectors.ownership;
  const signed = {
    claim: {
      version: 1,
      certId: vector.cert_id,
      ownerId: vector.owner_id_hex,
      ownerKey: fromHex(vector.owner_sign_public_key_hex),
      node: endpointId(vector.node_endpoint_id_hex),
      issuedAtMs: BigInt(vector.issued_at_unix_ms),
      expiresAtMs: BigInt(vector.expires_at_unix_ms),
      nodeLabel: vector.node_label,
      hostnameHint: undefined,
    },
    signature: fromHex(vector.signature_hex),
  };
  const key = newOwnerKey("a passphrase", { memoryKib: 8, passes: 1 });
  const bookText = encodeOwnerBook({
    trustedOwners: new Set([vector.owner_id_hex]),
    revokedOwners: new Set(),
    revokedCerts: new Set([vector.cert_id]),
    revokedNodes: new Set([signed.claim.node]),
  });
  const files: readonly [string, string, (text: string) => string | undefined][] = [
    ["a book", bookText, (text) => encodeOwnerBook(decodeOwnerBook(text))],
    ["a claim", encodeClaim(signed), (text) => encodeClaim(decodeClaim(text))],
    ["a key", encodeOwnerKey(key), (text) => encodeOwnerKey(decodeOwnerKey(text) ?? key)],
  ];

  it("any book comes back, and its text is its own", () => {
    fc.assert(
      fc.property(ownerBook, (made) => {
        const text = encodeOwnerBook(made);
        expect(decodeOwnerBook(text)).toEqual(made);
        expect(encodeOwnerBook(decodeOwnerBook(text))).toBe(text);
      }),
      { numRuns },
    );
  });

  it.each(files)("%s comes back as it was", (_what, text, again) => {
    expect(again(text)).toBe(text);
  });

  it.each(files)("%s: any text, and any JSON", (_what, _text, again) => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        tried(() => again(text));
      }),
      { numRuns },
    );
  });

  it.each(files)("%s: the good one with one member that is something else", (_what, text, again) => {
    const names = Object.keys(JSON.parse(text) as object);
    const value = fc.oneof(fc.jsonValue(), fc.bigInt({ min: 0n, max: 2n ** 64n }).map(Number));
    fc.assert(
      fc.property(fc.constantFrom(...names), value, (name, put) => {
        tried(() => again(JSON.stringify({ ...(JSON.parse(text) as object), [name]: put })));
      }),
      { numRuns },
    );
  });

  it.each(files)("%s: the good one changed somewhere", (_what, text, again) => {
    const change = fc.record({ at: fc.nat(text.length - 1), put: fc.string({ maxLength: 4 }), removed: fc.nat(8) });
    fc.assert(
      fc.property(change, ({ at, put, removed }) => {
        tried(() => again(text.slice(0, at) + put + text.slice(at + removed)));
      }),
      { numRuns },
    );
  });
});

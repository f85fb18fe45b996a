/** Pins: what a first contact is worth, what a change is, and that a book on disk comes back as it was. */
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import {
  comparePins,
  decodePinBook,
  emptyPinBook,
  encodePinBook,
  mergePins,
  pinName,
  type Pin,
  type PinBook,
  type ShownValue,
  withConfirmed,
  withFirstContact,
  withoutPins,
} from "../../../src/policy/pins.ts";
import { expectCode } from "../../support/expect-code.ts";

const id = endpointId("ab".repeat(32));
const other = endpointId("cd".repeat(32));
const start = 10_000;
const earlier = start - 1;
const key = "11".repeat(16);
const changed = "22".repeat(16);
const build = "bb".repeat(32);

const tpm: ShownValue = { kind: "tpm2", key, measurement: undefined };
const enclave: ShownValue = { kind: "secure-enclave", key: "33".repeat(16), measurement: build };

const context = (
  acceptedKeys: readonly string[] = [],
  ofThisSession: readonly string[] = [],
): Parameters<typeof comparePins>[3] => ({
  ofThisSession: new Set(ofThisSession),
  acceptedKeys: new Set(acceptedKeys),
});
const standings = (
  book: PinBook,
  shown: readonly ShownValue[],
  accepted: readonly string[] = [],
  ofThisSession: readonly string[] = [],
): string[] => comparePins(book, id, shown, context(accepted, ofThisSession)).map(({ standing }) => standing);

const pinned = (value: ShownValue, atMs: number = earlier): PinBook => withFirstContact(emptyPinBook, id, value, atMs);
const confirmed = (value: ShownValue): PinBook => withConfirmed(emptyPinBook, id, value, start + 5);

describe("comparing", () => {
  it("what no pin speaks of has none", () => {
    expect(standings(emptyPinBook, [tpm, enclave])).toEqual(["none", "none"]);
    expect(comparePins(pinned(tpm), other, [tpm], context())).toEqual([{ standing: "none" }]);
    expect(standings(pinned(tpm), [])).toEqual([]);
  });

  it("a first contact confirms nothing in its own session, and is a pin in the next", () => {
    expect(standings(pinned(tpm), [tpm], [], [pinName(id, "tpm2")])).toEqual(["first-contact"]);
    expect(standings(pinned(tpm), [tpm], [], [pinName(id, "secure-enclave")])).toEqual(["agrees"]);
    // whatever the clocks say: a pin from a day when this machine's was ahead is an old one
    expect(standings(pinned(tpm, Number.MAX_SAFE_INTEGER), [tpm])).toEqual(["agrees"]);
  });

  it("what the operator confirmed agrees at once", () => {
    expect(comparePins(confirmed(tpm), id, [tpm], context())).toEqual([{ standing: "agrees", pinned: tpm }]);
  });

  it.each<[string, ShownValue, ShownValue]>([
    ["another key", tpm, { ...tpm, key: changed }],
    ["another build", enclave, { ...enclave, measurement: "cc".repeat(32) }],
    ["a build where none was", { ...enclave, measurement: undefined }, enclave],
    ["no build where one was", enclave, { ...enclave, measurement: undefined }],
  ])("%s disagrees, in the first session too, and says what was pinned", (_what, before, now) => {
    for (const book of [pinned(before), pinned(before, start + 5), confirmed(before)]) {
      expect(comparePins(book, id, [now], context())).toEqual([{ standing: "disagrees", pinned: before }]);
    }
  });

  it("evidence of another kind does not stand in for what was pinned", () => {
    expect(comparePins(pinned(tpm), id, [enclave], context())).toEqual([{ standing: "disagrees", pinned: tpm }]);
    expect(standings(pinned(tpm), [{ ...tpm, key: changed }, enclave])).toEqual(["disagrees", "disagrees"]);
  });

  it("evidence of a further kind beside what was pinned is new, and no more", () => {
    expect(standings(pinned(tpm), [enclave, tpm])).toEqual(["none", "agrees"]);
  });

  it("one kind that changed leaves another one that did not", () => {
    const both = withFirstContact(pinned(tpm), id, enclave, earlier);
    expect(standings(both, [{ ...tpm, key: changed }, enclave])).toEqual(["disagrees", "agrees"]);
  });

  it("an accepted key agrees without a pin, and against one that nobody confirmed", () => {
    expect(standings(emptyPinBook, [tpm], [key])).toEqual(["agrees"]);
    expect(standings(pinned({ ...tpm, key: changed }), [tpm], [key])).toEqual(["agrees"]);
    expect(standings(pinned(enclave), [tpm], [key])).toEqual(["agrees"]);
    expect(standings(emptyPinBook, [tpm], [changed])).toEqual(["none"]);
  });

  it("an accepted key disagrees with a confirmed pin of that node", () => {
    expect(standings(confirmed({ ...tpm, key: changed }), [tpm], [key])).toEqual(["disagrees"]);
    expect(standings(confirmed(enclave), [tpm], [key])).toEqual(["disagrees"]);
    expect(standings(confirmed(tpm), [tpm], [key])).toEqual(["agrees"]);
  });
});

describe("pinning", () => {
  it("a first contact never replaces a pin", () => {
    const book = pinned(tpm);
    expect(withFirstContact(book, id, { ...tpm, key: changed }, start)).toBe(book);
    expect(withFirstContact(book, id, tpm, start)).toBe(book);
    expect(withFirstContact(book, other, tpm, start).pins.length).toBe(2);
  });

  it.each<[string, ShownValue]>([
    ["a kind that is no name", { ...tpm, kind: "tpm2\u001b[2J" }],
    ["a key that is no fingerprint", { ...tpm, key: "xyz" }],
    ["a build that is no digest", { ...tpm, measurement: "`reboot`" }],
  ])("%s gets into no book", (_what, value) => {
    expect(withFirstContact(emptyPinBook, id, value, start)).toBe(emptyPinBook);
    expectCode("E_INPUT", () => withConfirmed(emptyPinBook, id, value, start));
  });

  it("the operator's word replaces the pin of that kind alone", () => {
    const both = withFirstContact(pinned(tpm), id, enclave, earlier);
    const book = withConfirmed(both, id, { ...tpm, key: changed }, start);
    expect(standings(book, [{ ...tpm, key: changed }, enclave])).toEqual(["agrees", "agrees"]);
    expect(standings(book, [tpm])).toEqual(["disagrees"]);
    expect(book.pins.length).toBe(2);
  });

  it("a full book takes no first contact and loses no pin", () => {
    const pins = Array.from({ length: 20_000 }, (_, at): Pin => {
      const node = endpointId(at.toString(16).padStart(64, "0"));
      return { ...tpm, endpointId: node, confirmed: false, pinnedAtMs: earlier };
    });
    const full: PinBook = { pins, forgotten: new Map() };
    expect(withFirstContact(full, id, tpm, start)).toBe(full);
    expectCode("E_INPUT", () => withConfirmed(full, id, tpm, start));
    expectCode("E_INPUT", () => mergePins(full, pinned(tpm)));
    expect(withConfirmed(full, endpointId("0".repeat(64)), tpm, start).pins.length).toBe(pins.length);
  });
});

describe("forgetting", () => {
  const both = withFirstContact(withFirstContact(pinned(tpm), id, enclave, earlier), other, tpm, earlier);

  it("a node loses its pins, others keep theirs, and a running node can see it", () => {
    const book = withoutPins(both, id, start);
    expect(book.pins.map(({ endpointId: node }) => node)).toEqual([other]);
    expect(book.forgotten).toEqual(new Map([[id, start]]));
    expect(standings(book, [{ ...tpm, key: changed }])).toEqual(["none"]);
  });

  it("one kind goes by itself, and the node is not forgotten", () => {
    const book = withoutPins(both, id, start, "tpm2");
    expect(book.pins.map(({ kind }) => kind)).toEqual(["secure-enclave", "tpm2"]);
    expect(book.forgotten.size).toBe(0);
    expect(withoutPins(book, id, start, "tpm2")).toBe(book);
  });
});

describe("merging", () => {
  const theirs = withConfirmed(emptyPinBook, id, { ...tpm, key: changed }, start);

  it("takes over what is not known here", () => {
    const book = mergePins(pinned(tpm), withFirstContact(emptyPinBook, other, enclave, start));
    expect(book.pins.length).toBe(2);
  });

  it("a confirmed pin wins against a first contact, not against a confirmed one", () => {
    expect(mergePins(pinned(tpm), theirs).pins).toEqual(theirs.pins);
    expect(mergePins(confirmed(tpm), theirs).pins).toEqual(confirmed(tpm).pins);
    expect(mergePins(theirs, pinned(tpm)).pins).toEqual(theirs.pins);
  });

  it("what another machine forgot is not forgotten here", () => {
    expect(mergePins(pinned(tpm), withoutPins(emptyPinBook, id, start))).toEqual(pinned(tpm));
  });
});

describe("as a file", () => {
  const book = withoutPins(withConfirmed(pinned(enclave), other, tpm, start), endpointId("ef".repeat(32)), start);

  it("comes back as it was", () => {
    expect(decodePinBook(encodePinBook(book))).toEqual(book);
    expect(decodePinBook(encodePinBook(emptyPinBook))).toEqual(emptyPinBook);
  });

  it("has one text for one content, with a line break at its end", () => {
    const turned: PinBook = { pins: book.pins.toReversed(), forgotten: book.forgotten };
    expect(encodePinBook(turned)).toBe(encodePinBook(book));
    expect(encodePinBook(book).endsWith("}\n")).toBe(true);
  });

  it("times with a fraction are kept without it", () => {
    const odd = withoutPins(withConfirmed(emptyPinBook, id, tpm, 5.7), other, 6.2);
    expect(decodePinBook(encodePinBook(odd))).toEqual(odd);
  });

  const document = JSON.parse(encodePinBook(book)) as { pins: Record<string, unknown>[] };
  const withPin = (changes: object): string =>
    JSON.stringify({ ...document, pins: [{ ...document.pins[0], ...changes }] });

  it("members of later versions are skipped", () => {
    expect(decodePinBook(withPin({ note: "later" })).pins.length).toBe(1);
  });

  it.each<[string, string]>([
    ["no JSON", "{"],
    ["a list", "[]"],
    ["another version", JSON.stringify({ ...document, version: 2 })],
    ["no version", JSON.stringify({ pins: [] })],
    ["no pins", JSON.stringify({ version: 1 })],
    ["forgotten that is a list", JSON.stringify({ ...document, forgotten: [] })],
    ["a forgotten name that is no endpoint id", JSON.stringify({ ...document, forgotten: { x: 1 } })],
    ["a forgotten time that is none", JSON.stringify({ ...document, forgotten: { [id]: "now" } })],
    ["a pin that is none", JSON.stringify({ ...document, pins: [null] })],
    ["a pin twice", JSON.stringify({ ...document, pins: [document.pins[0], document.pins[0]] })],
    ["an endpoint id in capitals", withPin({ endpoint_id: "AB".repeat(32) })],
    ["a kind with a space", withPin({ kind: "tpm 2" })],
    ["a key that is too short", withPin({ key: "11" })],
    ["a measurement that is a number", withPin({ measurement: 1 })],
    ["a measurement that is no hex", withPin({ measurement: "$(reboot)" })],
    ["confirmed that is text", withPin({ confirmed: "true" })],
    ["confirmed that is missing", withPin({ confirmed: undefined })],
    ["a time before 1970", withPin({ pinned_at_ms: -1 })],
  ])("%s is refused", (_what, text) => {
    expectCode("E_INPUT", () => decodePinBook(text));
  });
});

describe("a build that was pinned with its key", () => {
  const next = { ...enclave, measurement: "cc".repeat(32) };
  const standing = (value: ShownValue, builds: readonly string[]): string | undefined =>
    comparePins(pinned(enclave), id, [value], { ...context(), acceptedBuilds: new Set(builds) })[0]?.standing;

  it("may be followed by one that is accepted, under the same key", () => {
    expect(standing(next, [next.measurement])).toBe("agrees");
  });

  it("and by no other, by none, or under another key", () => {
    expect(standing(next, [])).toBe("disagrees");
    expect(standing({ ...next, measurement: undefined }, [next.measurement])).toBe("disagrees");
    expect(standing({ ...next, key: changed }, [next.measurement])).toBe("disagrees");
  });
});

/**
 * Pins: which attested keys have stood for a node before. Pure: a book goes in, another one comes out; node/pin-store.ts
 * keeps it on disk, for the running node and for `sealmesh trust` at once.
 *
 * A first contact confirms nothing: whoever answers first is pinned. It counts from the next session on, or as soon as the
 * operator confirms it.
 *
 * @see attestation.md §0 · protocol.md §11 K3, A3
 */
import type { PinStanding } from "../attest/proof.ts";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";
import { countOf, isRecord, parseJsonText } from "../base/json.ts";

export interface Pin {
  readonly endpointId: EndpointId;
  readonly kind: string;
  /** `fingerprintOf` of the attested key, 32 lower-case hex digits. */
  readonly key: string;
  /** Digest of the build; undefined when the node showed none. */
  readonly measurement: string | undefined;
  /** By the operator. */
  readonly confirmed: boolean;
  /** Unix ms. */
  readonly pinnedAtMs: number;
}

export interface PinBook {
  /** At most one for a node and a kind. */
  readonly pins: readonly Pin[];
  /** Nodes that the operator forgot, with the unix ms of it; a running node then forgets their shown keys. */
  readonly forgotten: ReadonlyMap<EndpointId, number>;
}

export const emptyPinBook: PinBook = { pins: [], forgotten: new Map() };

/** What a node shows now under one kind. */
export interface ShownValue {
  readonly kind: string;
  /** `fingerprintOf` of the attested key. */
  readonly key: string;
  readonly measurement: string | undefined;
}

export interface PinContext {
  /** {@link pinName} of the first contacts that this session itself has pinned; not by times, which clocks set back. */
  readonly ofThisSession: ReadonlySet<string>;
  /** Fingerprints of keys that the operator accepts of any node. */
  readonly acceptedKeys: ReadonlySet<string>;
  /** Digests of builds that are accepted now: a pinned key may go over to one of them. @default none */
  readonly acceptedBuilds?: ReadonlySet<string> | undefined;
}

/** 300 bytes each on disk. Nodes are free to make up, so a full book takes no further first contact, and loses none. */
const mostPins = 20_000;

/**
 * How each shown value stands to the pins of its node; one standing for each, in order.
 *
 * A value of a kind that has no pin is no news as long as another pin of the node is shown as it was. When none is, it
 * stands in for what was pinned, and disagrees: else a changed key could hide behind evidence of another kind.
 */
export function comparePins(
  book: PinBook,
  id: EndpointId,
  shown: readonly ShownValue[],
  { ofThisSession, acceptedKeys, acceptedBuilds }: PinContext,
): readonly PinStanding[] {
  const all = pinsOf(book, id);
  return shown.map((value) => {
    const isAccepted = acceptedKeys.has(value.key);
    // the list of accepted keys is the operator's word, and so is a confirmed pin of this very node
    const pins = isAccepted ? all.filter(({ confirmed }) => confirmed) : all;
    const own = pins.find(({ kind }) => kind === value.kind);
    const isAsPinned = (pin: Pin, other: ShownValue): boolean => isSame(pin, other, acceptedBuilds);
    const against = own === undefined ? missing(pins, shown, isAsPinned) : isAsPinned(own, value) ? undefined : own;
    if (against) return { standing: "disagrees", pinned: pinned(against) };
    if (isAccepted) return own ? { standing: "agrees", pinned: pinned(own) } : { standing: "agrees" };
    if (!own) return { standing: "none" };
    const isOld = own.confirmed || !ofThisSession.has(pinName(id, own.kind));
    return isOld ? { standing: "agrees", pinned: pinned(own) } : { standing: "first-contact" };
  });
}

/** A pin that nothing shown agrees with, when that is so of all of them. */
function missing(
  pins: readonly Pin[],
  shown: readonly ShownValue[],
  isAsPinned: (pin: Pin, value: ShownValue) => boolean,
): Pin | undefined {
  const isShown = (pin: Pin): boolean => shown.some((value) => value.kind === pin.kind && isAsPinned(pin, value));
  return pins.some(isShown) ? undefined : pins[0];
}

function isSame(pin: Pin, { key, measurement }: ShownValue, acceptedBuilds: PinContext["acceptedBuilds"]): boolean {
  if (pin.key !== key) return false;
  return pin.measurement === measurement || (measurement !== undefined && (acceptedBuilds?.has(measurement) ?? false));
}

function pinned({ kind, key, measurement }: Pin): ShownValue {
  return { kind, key, measurement };
}

function pinsOf(book: PinBook, id: EndpointId): readonly Pin[] {
  return book.pins.filter((pin) => pin.endpointId === id);
}

/**
 * Pins what a node showed, unless it has a pin of that kind, or the value cannot stand in a book. Only for a value whose
 * standing is "none": one that disagrees with the pins of other kinds would otherwise become a pin itself.
 *
 * @returns the same book when there is nothing to pin
 */
export function withFirstContact(book: PinBook, id: EndpointId, shown: ShownValue, nowMs: number): PinBook {
  const isKnown = book.pins.some(({ endpointId: node, kind }) => node === id && kind === shown.kind);
  if (isKnown || book.pins.length >= mostPins || !isPinnable(shown)) return book;
  return { ...book, pins: [...book.pins, pinOf(id, shown, false, nowMs)] };
}

/**
 * The operator confirms a value: it replaces the pin of that node and kind.
 *
 * @throws E_INPUT a kind, fingerprint or measurement that no pin can have, or the book is full
 */
export function withConfirmed(book: PinBook, id: EndpointId, value: ShownValue, nowMs: number): PinBook {
  if (!isPinnable(value)) throw unfit("a pin is a kind, 32 hex digits of a key, and perhaps hex digits of a build");
  const others = book.pins.filter(({ endpointId: node, kind }) => node !== id || kind !== value.kind);
  return { ...book, pins: withinBounds([...others, pinOf(id, value, true, nowMs)]) };
}

/**
 * Forgets a node, or one kind of its pins.
 *
 * @param kind undefined: the whole node, also what it showed to a node that runs
 */
export function withoutPins(book: PinBook, id: EndpointId, nowMs: number, kind?: string): PinBook {
  const pins = book.pins.filter((pin) => pin.endpointId !== id || (kind !== undefined && pin.kind !== kind));
  if (kind !== undefined) return pins.length === book.pins.length ? book : { ...book, pins };
  return { pins, forgotten: new Map(book.forgotten).set(id, Math.floor(nowMs)) };
}

/**
 * Takes over the pins of another book, of another machine of the operator. What was confirmed here stays as it is, and
 * otherwise what is confirmed there wins; what that machine forgot is not forgotten here.
 *
 * @throws E_INPUT more pins than a book takes
 */
export function mergePins(book: PinBook, imported: PinBook): PinBook {
  const merged = new Map(book.pins.map((pin) => [nameOf(pin), pin]));
  for (const pin of imported.pins) {
    const known = merged.get(nameOf(pin));
    if (known === undefined || (pin.confirmed && !known.confirmed)) merged.set(nameOf(pin), pin);
  }
  return { ...book, pins: withinBounds([...merged.values()]) };
}

/**
 * JSON for a file: the same book gives the same text, whatever the order in which it came about.
 *
 *   {"version": 1,
 *    "pins": [{"endpoint_id", "kind", "key", "measurement", "confirmed", "pinned_at_ms"}],
 *    "forgotten": {"<endpoint id>": <unix ms>}}
 */
export function encodePinBook({ pins, forgotten }: PinBook): string {
  const document = {
    version: bookVersion,
    pins: pins
      .toSorted((a, b) => order(nameOf(a), nameOf(b)))
      .map((pin) => ({
        endpoint_id: pin.endpointId,
        kind: pin.kind,
        key: pin.key,
        measurement: pin.measurement ?? null,
        confirmed: pin.confirmed,
        pinned_at_ms: pin.pinnedAtMs,
      })),
    forgotten: Object.fromEntries([...forgotten].toSorted(([a], [b]) => order(a, b))),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

const bookVersion = 1;

/**
 * Members that are not known are skipped.
 *
 * @throws E_INPUT not such a document, another version, a pin twice, or more pins than a book takes
 */
export function decodePinBook(text: string): PinBook {
  const document = parseJsonText(text);
  if (!isRecord(document)) throw unfit("it is no JSON object");
  const { version, pins, forgotten = {} } = document;
  if (version !== bookVersion) throw unfit(`its version is not ${bookVersion}`);
  if (!Array.isArray(pins) || pins.length > mostPins) throw unfit(`it has no list of at most ${mostPins} pins`);
  if (!isRecord(forgotten)) throw unfit("what was forgotten is no JSON object");
  const decoded = pins.map(decodePin);
  if (new Set(decoded.map(nameOf)).size < decoded.length) throw unfit("a node has two pins of one kind");
  return { pins: decoded, forgotten: new Map(Object.entries(forgotten).map(([id, ms]) => [idOf(id), timeOf(ms)])) };
}

function decodePin(value: unknown): Pin {
  if (!isRecord(value)) throw unfit("a pin is no JSON object");
  const { endpoint_id: id, kind, key, measurement, confirmed, pinned_at_ms: pinnedAtMs } = value;
  if (typeof kind !== "string" || typeof key !== "string") throw unfit("a pin has no kind or no key");
  if (typeof confirmed !== "boolean") throw unfit("a pin does not say whether it is confirmed");
  if (typeof measurement !== "string" && measurement !== null && measurement !== undefined) {
    throw unfit("a measurement is no text");
  }
  const shown = { kind, key, measurement: measurement ?? undefined };
  if (!isPinnable(shown)) throw unfit("a pin is a kind, 32 hex digits of a key, and perhaps hex digits of a build");
  return pinOf(idOf(id), shown, confirmed, timeOf(pinnedAtMs));
}

function pinOf(id: EndpointId, { kind, key, measurement }: ShownValue, confirmed: boolean, pinnedAtMs: number): Pin {
  return { endpointId: id, kind, key, measurement, confirmed, pinnedAtMs: Math.floor(pinnedAtMs) };
}

function withinBounds(pins: readonly Pin[]): readonly Pin[] {
  if (pins.length > mostPins) throw unfit(`a book has at most ${mostPins} pins`);
  return pins;
}

/** Pins are printed as they are, and stand in commands that people paste into a shell. */
export function isPinnable({ kind, key, measurement }: ShownValue): boolean {
  return isKindName(kind) && /^[0-9a-f]{32}$/.test(key) && (measurement === undefined || isDigest(measurement));
}

/** Whether text may be the digest of a build. */
export function isDigest(text: string): boolean {
  return /^[0-9a-f]{1,256}$/.test(text);
}

/** Whether text may be the name of a kind, and so may stand in headers and sentences. */
export function isKindName(kind: string): boolean {
  return /^[a-z0-9][a-z0-9-]{0,63}$/.test(kind);
}

/** A node has one pin of a kind at most. */
export function pinName(id: EndpointId, kind: string): string {
  return `${id} ${kind}`;
}

function nameOf({ endpointId: id, kind }: Pin): string {
  return pinName(id, kind);
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function idOf(value: unknown): EndpointId {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) throw unfit("an endpoint id is no 64 hex digits");
  return endpointId(value);
}

function timeOf(value: unknown): number {
  const ms = countOf(value);
  if (ms === undefined) throw unfit("a time is no number of ms");
  return ms;
}

function unfit(why: string): MeshError {
  return new MeshError("E_INPUT", `these pins cannot be used: ${why}`);
}

/**
 * What is told to whom. A record crosses a link when it is known that the other side lacks it: each frame carries a digest
 * (16 bytes for each peer that changed) of what its sender has, and whoever has read it sends what is missing there.
 *
 * Nodes that sign no record (reference nodes) go by what is repeated to them: they get everything, every time. A node that
 * sends no digest gets whatever has changed.
 *
 * @see docs/wire.md §1 · protocol.md §3.1, §3.4
 */
import type { EndpointId } from "../base/brand.ts";
import type { KnownRecords } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import type { Changes } from "./changes.ts";
import { type Link, newLink } from "./contacts.ts";
import type { Claim, Membership, Peer } from "./membership.ts";
import { Table } from "./table.ts";

export interface Telling {
  /** In the order in which they are written. */
  readonly entries: readonly { readonly peer: Peer; readonly inContact: boolean }[];
  /** What the peer will know when it has read this; goes back to the machine in the event `told`. */
  readonly marks: Said;
  /** To be sent along; undefined: the peer reads none. */
  readonly knows: KnownRecords | undefined;
}

export interface Said {
  /** What a frame that does not hold all brings the peer; for the rest see {@link Link}. */
  readonly records: ReadonlyMap<EndpointId, bigint>;
  readonly told: number;
  readonly given: number;
}

/** An item of a digest is the number of a record, and in its highest bit whether the sender is linked with the owner now. */
const linkedBit = 1n << 63n;
const seqBits = linkedBit - 1n;

/** A digest that names its sender is a whole one. The number says whether the reader's own is wanted whole too. */
const startsAnew = { wantsAll: 0n, hasAll: 1n } as const;

/** For who has not shown that it is a member. */
export const nothingTold: Telling = { entries: [], marks: { records: new Map(), told: 0, given: 0 }, knows: undefined };

/** @param nowMs unix ms */
export function tellingFor(state: Membership, to: EndpointId, nowMs: number): Telling {
  const reader = state.peers.get(to);
  // who has not shown yet that it is a member learns nothing but who we are
  if (!reader) return nothingTold;
  const link = state.contacts.get(to)?.link ?? newLink(0);
  const all = reader.record ? lacking(state, to, link, nowMs) : everything(state, to, nowMs);
  const told = all.length > limits.entriesTold ? share(all, state.self) : all;
  const records =
    told === all ? [] : told.flatMap(({ id, record }) => (record ? [[id, record.fields.seq] as const] : []));
  const { last } = state.changes;
  return {
    entries: told.map((peer) => ({ peer, inContact: isLinkedWith(state, peer.id) })),
    marks: {
      records: new Map(records),
      told: told === all ? Math.min(link.heard ?? link.told, last) : link.told,
      given: last,
    },
    knows: reader.record && digest(state, link),
  };
}

/** Whether a frame to this peer would bring it anything of others. */
export function isLacking(state: Tables, to: EndpointId, link: Link, nowMs: number): boolean {
  return lacking(state, to, link, nowMs).length > 0;
}

/** A state, or one in the making. */
interface Tables {
  readonly peers: Pick<Membership["peers"], "get">;
  readonly contacts: Pick<Membership["contacts"], "get">;
  readonly changes: Changes;
}

function lacking(state: Tables, to: EndpointId, link: Link, nowMs: number): readonly Peer[] {
  const lacked: Peer[] = [];
  const unasked = state.changes.since(link.heard ?? link.told, "entry");
  for (const id of state.changes.since(link.told, "entry")) {
    const peer = id === to ? undefined : state.peers.get(id);
    if (!peer || !isToldOn(peer, isLinkedWith(state, id), nowMs)) continue;
    // the peer's digests speak of records, and clients' records are told as entries without: by those linked with them
    const isShown =
      peer.record && peer.role !== "client" && (unasked.has(id) || hasOf(link, id) >= peer.record.fields.seq);
    if (!isShown) lacked.push(peer);
  }
  return lacked;
}

function everything(state: Membership, to: EndpointId, nowMs: number): readonly Peer[] {
  const told = [...state.peers.values()].filter(
    (peer) => peer.id !== to && isToldOn(peer, isLinkedWith(state, peer.id), nowMs),
  );
  return told.slice(0, limits.announcementsPerFrame / 2);
}

/** A part that differs from teller to teller: whoever joins hears the whole soon, from several, and from none all of it. */
function share(all: readonly Peer[], self: EndpointId): readonly Peer[] {
  const from = Number.parseInt(self.slice(0, 8), 16) % all.length;
  return [...all.slice(from), ...all.slice(0, from)].slice(0, limits.entriesTold);
}

/** Peers without records, and clients, are told of by those alone that are linked with them. */
function isToldOn(peer: Peer, inContact: boolean, nowMs: number): boolean {
  if (peer.conflict || peer.doubted) return false;
  if (!peer.record || peer.role === "client") return peer.met && inContact;
  return peer.record.fields.notAfterMs > nowMs;
}

function isLinkedWith({ contacts }: Pick<Tables, "contacts">, id: EndpointId): boolean {
  return contacts.get(id)?.link !== undefined;
}

function hasOf({ has }: Link, id: EndpointId): bigint {
  return has.get(id) ?? has.get(digestKey(id)) ?? -1n;
}

/** What has changed since the peer was last given one. */
function digest(state: Membership, link: Link): KnownRecords {
  const known = new Map<string, bigint>();
  if (link.given === 0) {
    known.set(digestKey(state.self), link.heard === undefined ? startsAnew.wantsAll : startsAnew.hasAll);
  }
  for (const id of state.changes.since(link.given)) {
    if (known.size >= limits.digestItems) break;
    const seq = state.peers.get(id)?.record?.fields.seq ?? 0n;
    known.set(digestKey(id), (seq & seqBits) | (isLinkedWith(state, id) ? linkedBit : 0n));
  }
  return known;
}

export function digestKey(id: string): string {
  return id.slice(0, 16);
}

export interface Heard {
  readonly from: EndpointId;
  readonly claims: readonly Claim[];
  readonly knows: KnownRecords | undefined;
}

/** Whether a frame tells all that its sender is linked with, and not only what has changed. */
export function isWhole({ from, knows }: Heard): boolean {
  return knows?.has(digestKey(from)) ?? false;
}

/** Whether an item of a digest says that its sender is linked with that node; if not, it is not, or not any more. */
export function saysLinked(item: bigint): boolean {
  return item >= linkedBit;
}

/** A link after a frame of its peer, when what was in it has been taken over. @param changes as they are then */
export function afterHearing(link: Link, heard: Heard, keys: Keys, changes: Changes): Link {
  const { from, claims, knows } = heard;
  // without digest: a peer that was started anew, or one that never sends any
  const silent = link.heard === Number.POSITIVE_INFINITY ? undefined : startsAnew.wantsAll;
  const starts = knows ? knows.get(digestKey(from)) : silent;
  const given = starts === startsAnew.wantsAll ? 0 : link.given;
  const has = new Table<string, bigint>(starts === undefined ? link.has : new Map());
  const note = (key: string, seq: bigint): void => {
    if (seq > (has.get(key) ?? 0n) && (has.size < limits.digestItems || has.has(key))) has.set(key, seq);
  };
  for (const { id, record } of claims) if (record) note(id, record.fields.seq);
  for (const [key, value] of knows ?? []) note(keys.get(key) ?? key, value & seqBits);
  const told = starts === undefined ? link.told : 0;
  return { ...link, told, given, has: has.done(), heard: knows ? changes.last : Number.POSITIVE_INFINITY };
}

/** Ids by {@link digestKey}. */
type Keys = Pick<ReadonlyMap<string, EndpointId>, "get">;

/** A link after a frame has reached its peer. */
export function afterTelling(link: Link, said: Said): Link {
  const has = new Table<string, bigint>(link.has);
  for (const [id, seq] of said.records) has.set(id, seq);
  const told = Math.max(link.told, said.told);
  return { ...link, has: has.done(), told, given: Math.max(link.given, said.given) };
}

/** Without the records that the link's number speaks of already. */
export function trimmed(link: Link, state: Tables & { readonly keys: Keys }): Link {
  if (link.has.size <= hasHeld) return link;
  const open = state.changes.since(link.told, "entry");
  const has = [...link.has].filter(([key, seq]) => {
    const id = state.keys.get(digestKey(key));
    return !id || open.has(id) || seq > (state.peers.get(id)?.record?.fields.seq ?? 0n);
  });
  return { ...link, has: new Map(has) };
}

/** Records of a link below which it is not worth looking for what can go. */
const hasHeld = 64;

/**
 * What is told to whom: records travel once over each link, not with every gossip. For each link it is remembered which
 * entries the peer has, by a mark; a frame holds what has another mark. When a link begins, both sides send a digest of
 * what they know, so that the tables themselves need not cross.
 *
 * Nodes that sign no record (reference nodes) go by what is repeated to them: they get everything, every time.
 *
 * @see docs/wire.md "Gossip between sealmesh nodes" · protocol.md §3.1, §3.4
 */
import type { EndpointId } from "../base/brand.ts";
import type { KnownRecords } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import type { Claim, Membership, Peer } from "./membership.ts";

export interface Telling {
  /** In the order in which they are written. */
  readonly entries: readonly { readonly peer: Peer; readonly inContact: boolean }[];
  /** What the peer will know when it has read this. */
  readonly marks: ReadonlyMap<EndpointId, number>;
  /** To be sent along; undefined: it has been. */
  readonly knows: KnownRecords | undefined;
}

/** Records have number 2^51 at most here, which ends in the year 73000; of a larger one only the lower bits count. */
const seqMask = (1n << 51n) - 1n;

/** Two marks are the same when the peer has nothing to learn. NaN: there is no record to go by, and it is always told. */
export function markOf(peer: Peer, inContact: boolean): number {
  const { record } = peer;
  return record ? Number(record.fields.seq & seqMask) * 2 + (inContact ? 1 : 0) : Number.NaN;
}

/**
 * What a gossip with `to` holds now, our own entry aside. Peers without records, and clients, are told of by those alone
 * that are linked with them; records speak for themselves, and go on from anybody who has them.
 *
 * @param nowMs unix ms
 */
export function tellingFor(state: Membership, to: EndpointId, nowMs: number): Telling {
  const link = state.contacts.get(to)?.link;
  const reader = state.peers.get(to);
  // who has not shown yet that it is a member learns nothing but who we are
  if (!reader) return { entries: [], marks: new Map(), knows: undefined };
  const marks = new Map<EndpointId, number>();
  const entries: { peer: Peer; inContact: boolean }[] = [];
  let bytes = 0;
  for (const peer of state.peers.values()) {
    const inContact = state.contacts.get(peer.id)?.link !== undefined;
    if (peer.id === to || !isToldOn(peer, inContact, nowMs)) continue;
    const mark = markOf(peer, inContact);
    if (reader.record && link?.told.get(peer.id) === mark) continue;
    bytes += (peer.record?.bytes.length ?? 0) + limits.entryBytesAbout;
    // the rest goes with the next
    if (entries.length >= limits.announcementsPerFrame / 2 || bytes > limits.controlFrameBytes / 2) break;
    entries.push({ peer, inContact });
    if (peer.record) marks.set(peer.id, mark);
  }
  const isFirst = link === undefined || link.told.size === 0;
  return { entries, marks, knows: isFirst && reader.record ? knownBy(state) : undefined };
}

function isToldOn(peer: Peer, inContact: boolean, nowMs: number): boolean {
  if (peer.conflict) return false;
  if (!peer.record || peer.role === "client") return peer.met && inContact;
  return peer.record.fields.notAfterMs > nowMs;
}

function knownBy(state: Membership): KnownRecords {
  const known = new Map<string, bigint>();
  for (const { id, record } of state.peers.values()) {
    if (record && known.size < limits.digestItems) known.set(digestKey(id), record.fields.seq);
  }
  return known;
}

export function digestKey(id: EndpointId): string {
  return id.slice(0, 16);
}

/**
 * What a peer knows after its frame, besides what it knew.
 *
 * @returns `before` itself when nothing is new
 */
export function toldBy(
  claims: readonly Claim[],
  knows: KnownRecords | undefined,
  peers: ReadonlyMap<EndpointId, Peer>,
  before: Marks,
): Marks {
  const told = new Map<EndpointId, number>();
  const note = (peer: Peer | undefined, seq: bigint | undefined): void => {
    if (!peer?.record || seq === undefined || peer.record.fields.seq > seq) return;
    const mark = markOf(peer, false);
    // whether we are linked with it, it does not know from others
    if ((before.get(peer.id) ?? -1) < mark) told.set(peer.id, mark);
  };
  for (const { id, record } of claims) note(peers.get(id), record?.fields.seq);
  if (knows) for (const peer of peers.values()) note(peer, knows.get(digestKey(peer.id)));
  return before.with(told);
}

/** Entries that one peer has, by their marks. Never changes; what is new lies in a small map above the large one. */
export class Marks {
  static readonly none: Marks = new Marks(new Map(), new Map());
  readonly #many: ReadonlyMap<EndpointId, number>;
  readonly #few: ReadonlyMap<EndpointId, number>;

  private constructor(many: ReadonlyMap<EndpointId, number>, few: ReadonlyMap<EndpointId, number>) {
    this.#many = many;
    this.#few = few;
  }

  get(id: EndpointId): number | undefined {
    return this.#few.get(id) ?? this.#many.get(id);
  }

  /** At most so many. */
  get size(): number {
    return this.#few.size + this.#many.size;
  }

  with(more: ReadonlyMap<EndpointId, number>): Marks {
    if (more.size === 0) return this;
    const few = new Map([...this.#few, ...more]);
    return few.size <= fewMarks ? new Marks(this.#many, few) : new Marks(new Map([...this.#many, ...few]), new Map());
  }

  /** Of these alone. */
  of(isThere: (id: EndpointId) => boolean): Marks {
    const kept = [...this.#many, ...this.#few].filter(([id]) => isThere(id));
    return new Marks(new Map(kept), new Map());
  }
}

/** So many are copied with each change at most. */
const fewMarks = 64;

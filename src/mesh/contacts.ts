/**
 * Whom this node is connected with, whom it tries to reach, and when. Pure data and pure rules: mesh/membership.ts applies
 * them, mesh/mesh.ts dials. All times are ms of the watch (see Watch in membership.ts), in which sleep does not pass.
 *
 * @see protocol.md §1.4, §3.5
 */
import type { EndpointId } from "../base/brand.ts";
import type { EndpointAddress } from "../wire/address.ts";

/** A connection on which gossip was exchanged, and how far its two sides know what the other has (telling.ts). */
export interface Link {
  readonly sinceMs: number;
  /** Up to this change the peer has all that concerns it. */
  readonly told: number;
  /** Up to this change it knows from our digests what we have. */
  readonly given: number;
  /** Up to this change we know from its digests what it has; undefined: no frame of it yet; infinite: it sends none. */
  readonly heard: number | undefined;
  /** Records that it is known to have, where `told` does not say it: their numbers by endpoint id, or by digestKey. */
  readonly has: ReadonlyMap<string, bigint>;
  /** When to look whether it lacks something of the last news; infinite: not at all. */
  readonly followAtMs: number;
}

export function newLink(nowMs: number): Link {
  return { sinceMs: nowMs, told: 0, given: 0, heard: undefined, has: new Map(), followAtMs: Number.POSITIVE_INFINITY };
}

export interface Contact {
  readonly id: EndpointId;
  /** From an invite or from disk; what the peer table says is newer. */
  readonly address: EndpointAddress | undefined;
  /** The operator named it: looked for as long as the node runs. */
  readonly lasting: boolean;
  /** We have gossiped with it, in this session or in an earlier one. */
  readonly met: boolean;
  readonly link: Link | undefined;
  readonly dialing: boolean;
  /** Dials in a row that failed. */
  readonly failures: number;
  /** When to dial next; undefined: only when somebody needs it. */
  readonly dialAtMs: number | undefined;
  /** Why it is dialed, which decides how a failure counts. */
  readonly aim: Aim;
  /** {@link Link.given} of the frame that begins a link, which is written before there is one. */
  readonly given: number;
  /** When a link to it ended, or when we heard of it. */
  readonly lastMs: number;
}

export type Linked = Contact & { readonly link: Link };

export function isLinked(contact: Contact): contact is Linked {
  return contact.link !== undefined;
}

export type Aim =
  /** The link has just ended: it counts as lost after a few tries. */
  | "revive"
  /** Somebody says that it is down: one try decides. */
  | "probe"
  /** We knew it, and want it back. */
  | "return"
  /** Others named it, and we have few links. */
  | "fill";

export interface ContactLimits {
  /** Links to nodes that are no clients which a node makes by itself; more are made for exchanges, or by others. */
  readonly linksWanted: number;
  /** Dials under way at a time. */
  readonly dialing: number;
  /** Of these, to one address, of peers that we know from others only: a hint must not become a flood for a third party. */
  readonly dialingPerAddress: number;
  /** Waits before the tries after a link has ended; after the last the peer counts as lost. */
  readonly reviveMs: readonly number[];
  /** First and longest wait between tries to reach a peer that we knew; and the longest after many tries in vain. */
  readonly returnMs: readonly [first: number, longest: number];
  readonly returnLateMs: number;
  readonly returnTries: number;
  /** What each further peer that we look for adds to the longest wait, so that many cost no more dials a second. */
  readonly returnEachMs: number;
  /** First and longest wait between tries to reach a peer that others name. */
  readonly fillMs: readonly [first: number, longest: number];
  /** Who is named first has this long an advantage at most over those that further frames name. */
  readonly fillAfterMs: number;
  /** Dials in vain after which a peer that others name makes room for another. */
  readonly fillTries: number;
  /** Peers to look for at most, and how long; those that invites name are looked for without end. */
  readonly remembered: number;
  readonly rememberMs: number;
}

export const contactLimits: ContactLimits = {
  // every node of a small mesh has all; in a large one random graphs of this degree stay in one piece, see docs/scaling.md
  linksWanted: 12,
  dialing: 16,
  dialingPerAddress: 4,
  reviveMs: [500, 2_000, 8_000],
  returnMs: [1_000, 10_000],
  // after some five minutes; a network that comes back is noticed by other signs too
  returnLateMs: 60_000,
  returnTries: 25,
  returnEachMs: 250,
  fillMs: [30_000, 300_000],
  fillAfterMs: 500,
  fillTries: 2,
  remembered: 256,
  rememberMs: 86_400_000,
};

export function newContact(id: EndpointId, nowMs: number, more: Partial<Contact> = {}): Contact {
  return {
    id,
    address: undefined,
    lasting: false,
    met: false,
    link: undefined,
    dialing: false,
    failures: 0,
    dialAtMs: undefined,
    aim: "fill",
    given: 0,
    lastMs: nowMs,
    ...more,
  };
}

/** How long to wait after so many failures in a row. @param looking peers that are looked for at the moment */
export function waitMs({ aim, failures }: Contact, looking: number, bounds: ContactLimits): number {
  if (aim === "revive") return bounds.reviveMs[failures] ?? 0;
  const [first, longest] = aim === "fill" ? bounds.fillMs : bounds.returnMs;
  const late = failures > bounds.returnTries ? bounds.returnLateMs : longest;
  const most = aim === "fill" ? longest : late + looking * bounds.returnEachMs;
  return Math.min(first * 2 ** Math.max(0, failures - 1), most);
}

/** The addresses, without ports, that a dial would go to. */
export function hostsOf(address: EndpointAddress | undefined): readonly string[] {
  return (address?.direct ?? []).map((socket) => socket.slice(0, socket.lastIndexOf(":")));
}

/** The order in which those that are due are dialed: what somebody waits for first. */
export const aimOrder: Readonly<Record<Aim, number>> = { revive: 0, probe: 1, return: 2, fill: 3 };

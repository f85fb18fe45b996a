/**
 * Whom this node dials, when, and in which order; and what it does when the network or the machine itself was away. What a
 * failure means is for gone.ts. Times are those of the watch.
 *
 * @see docs/scaling.md for the bounds
 */
import type { EndpointId } from "../base/brand.ts";
import type { EndpointAddress } from "../wire/address.ts";
import { aimOrder, type Contact, hostsOf, newContact, newLink } from "./contacts.ts";
import type { Draft } from "./draft.ts";
import type { Known, Peer } from "./membership.ts";

/** Gossip was exchanged with it on a connection. */
export function linked(draft: Draft, id: EndpointId): void {
  const known = draft.contacts.get(id) ?? newContact(id, draft.upMs);
  if (known.link) return;
  const isFirst = draft.links().length === 0;
  const met = { dialing: false, failures: 0, dialAtMs: undefined, aim: "return" as const, met: true, given: 0 };
  draft.contacts.set(id, { ...known, ...met, link: { ...newLink(draft.upMs), given: known.given } });
  draft.relinked(id);
  draft.keepSoon();
  if (isFirst) lookAtOnce(draft); // the network is back
}

/** The operator has named it. */
export function seek(draft: Draft, address: EndpointAddress): void {
  const { id } = address;
  if (id === draft.self) return;
  const known = draft.contacts.get(id) ?? newContact(id, draft.upMs);
  const firstMs = draft.upMs + draft.about(draft.bounds.returnMs[0]);
  const dialAtMs = known.link || known.dialing ? known.dialAtMs : firstMs;
  draft.contacts.set(id, { ...known, address, lasting: true, aim: "return", dialAtMs });
}

/** Clients need no links among themselves, and nobody goes after a client. */
export function mayDial(draft: Draft, { role }: Pick<Peer, "role">): boolean {
  return draft.bounds.meetMentioned && !(role === "client" && draft.role === "client");
}

/** Others have named a peer. @param isElsewhere it is known to have another address than before */
export function wantContact(draft: Draft, peer: Peer, isElsewhere: boolean): void {
  const contact = draft.contacts.get(peer.id);
  if (!contact) {
    // those that the next frames name shall have their chance too
    const isCrowd = draft.peers.size > draft.bounds.linksWanted;
    const waitMs = isCrowd ? draft.chance() * draft.bounds.fillAfterMs : 0;
    if (mayDial(draft, peer)) draft.fillAtMs ??= draft.upMs + waitMs;
  } else if (isElsewhere && !contact.link && !contact.dialing) {
    // no reason to wait for the next try at the old place
    draft.contacts.set(peer.id, { ...contact, failures: 0, dialAtMs: draft.upMs });
  }
}

/**
 * Looks among the peers that others have named for some to have a link with, while there are few links. One that could not
 * be reached keeps its place until it is tried again, but only before other names of who named it: a teller whose names lead
 * nowhere does not keep us from those that somebody else tells.
 */
export function fill(draft: Draft): void {
  draft.fillAtMs = undefined;
  const free = draft.bounds.linksWanted - draft.memberLinks().length;
  const filling = draft.contacts.values().filter(({ aim, link }) => aim === "fill" && !link);
  const failed = filling.filter(({ failures }) => failures > 0);
  const freeOfHope = free - filling.length + failed.length;
  if (freeOfHope <= 0) return;
  const strangers = draft.peers.values().filter((peer) => {
    return peer.address !== undefined && !draft.contacts.has(peer.id) && mayDial(draft, peer);
  });
  const likely = strangers.filter(({ doubted }) => !doubted);
  const from = likely.length > 0 ? likely : strangers;
  const tellers = new Set(failed.map(({ id }) => draft.peers.get(id)?.introducedBy));
  const others = from.filter(({ introducedBy }) => !tellers.has(introducedBy));
  const theirs = from.filter(({ introducedBy }) => tellers.has(introducedBy));
  const first = fairly(draft, others).slice(0, freeOfHope);
  const rest = fairly(draft, theirs).slice(0, Math.max(0, free - filling.length - first.length));
  for (const { id } of [...first, ...rest]) {
    draft.contacts.set(id, newContact(id, draft.upMs, { dialAtMs: draft.upMs }));
  }
}

/** By who has named them, in turn: one that names a thousand gets no more of our links than one that names ten. */
function fairly(draft: Draft, strangers: readonly Peer[]): readonly Peer[] {
  const groups = [...byIntroducer(draft.some(strangers, strangers.length)).values()];
  const rounds = Math.max(0, ...groups.map(({ length }) => length));
  return Array.from({ length: rounds }, (_, round) => groups.flatMap((group) => group.slice(round, round + 1))).flat();
}

/** Starts the dials that are due, as far as the bounds let it. */
export function dialDue(draft: Draft): void {
  const due = draft.contacts.values().filter(({ link, dialing, dialAtMs = Number.POSITIVE_INFINITY }) => {
    return !link && !dialing && dialAtMs <= draft.upMs;
  });
  if (due.length === 0) return;
  const underWay = draft.contacts.values().filter(({ dialing }) => dialing);
  let fills = draft.bounds.linksWanted - draft.memberLinks().length;
  for (const { aim } of underWay) if (aim === "fill") fills -= 1;
  for (const contact of due.toSorted((a, b) => aimOrder[a.aim] - aimOrder[b.aim])) {
    if (underWay.length >= draft.bounds.dialing) return;
    if (contact.aim === "fill" && fills-- <= 0) {
      draft.contacts.delete(contact.id); // enough have come by themselves
      continue;
    }
    const address = addressOf(draft, contact);
    const isKnown = contact.met || contact.lasting;
    if (!address && !isKnown) {
      draft.contacts.delete(contact.id);
      continue;
    }
    if (!address || (!isKnown && isBusy(draft, address, underWay))) {
      draft.contacts.set(contact.id, { ...contact, dialAtMs: address && draft.upMs + draft.about(1_000) });
      continue;
    }
    underWay.push(contact);
    draft.contacts.set(contact.id, { ...contact, dialing: true });
    draft.actions.push({ kind: "dial", address });
  }
}

/** Whether enough dials go to one of these addresses already; not counted on one machine, where all share one. */
function isBusy(draft: Draft, address: EndpointAddress, dialing: readonly Contact[]): boolean {
  const hosts = hostsOf(address).filter((host) => !host.startsWith("127.") && host !== "[::1]");
  const others = dialing.map((contact) => hostsOf(addressOf(draft, contact)));
  return hosts.some((host) => others.filter((taken) => taken.includes(host)).length >= draft.bounds.dialingPerAddress);
}

function addressOf(draft: Draft, { id, address }: Contact): EndpointAddress | undefined {
  return draft.peers.get(id)?.address ?? address;
}

/** Peers that we knew, or are to find, and are not linked with. */
export function looking(draft: Draft): number {
  return draft.contacts.values().filter(({ link, met, lasting }) => !link && (met || lasting)).length;
}

/** After sleep, or when the clock was set: nothing that was known of the others need hold. */
export function wake(draft: Draft): void {
  lookAtOnce(draft);
  // nor is anybody given up before it could answer
  draft.sweepAtMs = draft.upMs + draft.bounds.sweepMs;
  for (const { id } of draft.links()) draft.gossipWith(id);
}

function lookAtOnce(draft: Draft): void {
  for (const contact of draft.contacts.values()) {
    if (contact.link || contact.dialing || contact.dialAtMs === undefined || contact.aim === "fill") continue;
    draft.contacts.set(contact.id, { ...contact, failures: 0, dialAtMs: draft.upMs + draft.chance() * 500 });
  }
}

/** Whom nobody looks for any more is forgotten. */
export function forgetContacts(draft: Draft): void {
  const { remembered, rememberMs } = draft.bounds;
  const idle = draft.contacts.values().filter(({ link, lasting, dialing }) => !link && !lasting && !dialing);
  const known = idle.filter(({ met }) => met).toSorted((a, b) => b.lastMs - a.lastMs);
  const tooOld = known.filter(({ lastMs }, index) => index >= remembered || lastMs + rememberMs < draft.upMs);
  const unknown = idle.filter(({ id, met }) => !met && !draft.peers.has(id));
  for (const { id } of [...tooOld, ...unknown]) draft.contacts.delete(id);
}

/**
 * For the disk: those that invites name first, then those that we are linked with, then those that we were. Clients come
 * last: one that is there when we come back at another address has nobody else to tell it.
 */
export function known(draft: Draft): readonly Known[] {
  const isClient = ({ id }: Contact): boolean => draft.peers.get(id)?.role === "client";
  const rank = (contact: Contact): number => {
    if (contact.lasting) return 0;
    return isClient(contact) ? 3 : contact.link ? 1 : 2;
  };
  return draft.contacts
    .values()
    .filter((contact) => (contact.met || contact.lasting) && !(draft.role === "client" && isClient(contact)))
    .toSorted((a, b) => rank(a) - rank(b) || b.lastMs - a.lastMs)
    .slice(0, draft.bounds.remembered)
    .flatMap((contact) => {
      const address = addressOf(draft, contact);
      return address ? [{ address, record: draft.peers.get(contact.id)?.record }] : [];
    });
}

export function byIntroducer(peers: readonly Peer[]): ReadonlyMap<EndpointId, readonly Peer[]> {
  const groups = new Map<EndpointId, Peer[]>();
  for (const peer of peers) {
    const group = groups.get(peer.introducedBy);
    if (group) group.push(peer);
    else groups.set(peer.introducedBy, [peer]);
  }
  return groups;
}

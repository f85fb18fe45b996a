/**
 * Who has gone: links that end, dials that fail, peers that leave, what others say of it, and what has been silent for too
 * long. Nobody's word removes a peer, and nobody's word alone brings one back.
 *
 * @see protocol.md §3.5, §11 E4
 */
import type { EndpointId } from "../base/brand.ts";
import { type Linked, newContact, waitMs } from "./contacts.ts";
import type { Draft } from "./draft.ts";
import type { Claim, GoneReason, Peer } from "./membership.ts";
import { tell } from "./news.ts";
import { forgetContacts, looking, mayDial } from "./reaching.ts";
import { trimmed } from "./telling.ts";

/** A connection has ended without a word. It is dialed anew a few times before it counts as lost. */
export function unlinked(draft: Draft, id: EndpointId): void {
  const contact = draft.contacts.get(id);
  if (!contact?.link) return;
  const dialAtMs = draft.upMs + draft.about(draft.bounds.reviveMs[0] ?? 0);
  const ended = { link: undefined, failures: 0, lastMs: draft.upMs, aim: "revive" as const, dialAtMs };
  draft.contacts.set(id, { ...contact, ...ended });
  draft.relinked(id);
}

/** A dial that was asked for has ended. */
export function dialed(draft: Draft, id: EndpointId, reached: boolean): void {
  const contact = draft.contacts.get(id);
  if (!contact) return;
  const ended = { ...contact, dialing: false };
  if (contact.link) return draft.contacts.set(id, ended);
  const failed = { ...ended, failures: contact.failures + 1 };
  const { reviveMs, returnMs } = draft.bounds;
  if (failed.aim === "fill" && !contact.met && !contact.lasting) {
    draft.fillAtMs ??= draft.upMs + draft.chance() * draft.bounds.fillAfterMs; // its place may be for another
    // a later look may find it again
    if (failed.failures >= draft.bounds.fillTries) return void draft.contacts.delete(id);
  }
  // a connection that is there, and on which nothing was said of itself, makes no link either
  const isHopeless =
    !reached && (failed.aim === "probe" || (failed.aim === "revive" && failed.failures >= reviveMs.length));
  if (!isHopeless) {
    const leastMs = reached ? returnMs[0] : 0;
    const wait = draft.about(Math.max(leastMs, waitMs(failed, looking(draft), draft.bounds)));
    return draft.contacts.set(id, { ...failed, dialAtMs: draft.upMs + wait });
  }
  if (!contact.met && !contact.lasting) return doubt(draft, id);
  draft.contacts.set(id, { ...failed, aim: "return", dialAtMs: draft.upMs + draft.about(returnMs[0]) });
  lost(draft, id, failed.aim === "revive");
}

/**
 * One dial to a peer that we were never linked with has failed. Were it removed for that, each cut of the network would
 * cost both sides half of what they know; so it stays for as long as a living one may take to sign something new, and is
 * offered to nobody meanwhile unless a member at hand is linked with it.
 */
function doubt(draft: Draft, id: EndpointId): void {
  draft.contacts.delete(id);
  const peer = draft.peers.get(id);
  if (!peer) return;
  const { silentAfterMs, doubtedMs } = draft.bounds;
  const doubted = ![...peer.mentionedBy].some((member) => draft.isLinkedWith(member));
  draft.setPeer({ ...peer, doubted, newsMs: Math.min(peer.newsMs, draft.upMs + doubtedMs - silentAfterMs) });
}

/** It says goodbye. Who has only our word for it learns it from us. */
export function left(draft: Draft, id: EndpointId): void {
  const peer = draft.peers.get(id);
  const contact = draft.contacts.get(id);
  if (peer) {
    // few have heard of one that was here for a moment, and coming and going must not keep everybody busy
    const wasHere = contact?.link && contact.link.sinceMs + draft.bounds.newsSpaceMs <= draft.upMs;
    const unaware = draft.links().filter((link) => !peer.mentionedBy.has(link.id));
    if (wasHere) tellDown(draft, id, unaware);
    if (contact?.link) tell(draft, false, undefined);
    remove(draft, id, "left");
  }
  if (!contact) return;
  if (!contact.lasting) return void draft.contacts.delete(id);
  // it may be restarting
  const dialAtMs = draft.upMs + draft.about(2 * draft.bounds.returnMs[0]);
  draft.contacts.set(id, { ...contact, link: undefined, failures: 0, aim: "return", dialAtMs });
}

/** It may be a member no more. */
export function expelled(draft: Draft, id: EndpointId): void {
  const contact = draft.contacts.get(id);
  const dialAtMs = draft.upMs + draft.about(draft.bounds.returnLateMs);
  // it may be let in again, or our clock was wrong
  if (contact?.lasting) draft.contacts.set(id, { ...contact, link: undefined, failures: 0, aim: "return", dialAtMs });
  else draft.contacts.delete(id);
  remove(draft, id, "left");
}

/** Believed of nobody: a peer that we know is looked at by ourselves, another is none of ours. */
export function peerDown(draft: Draft, from: EndpointId, about: EndpointId): void {
  const known = draft.peers.get(about);
  if (about === from || about === draft.self) return;
  const report = `${from} ${about}`;
  if ((draft.refuted.get(report) ?? 0) > draft.upMs) return;
  if (!known) return takeBack(draft, from, report, about);
  if (draft.isLinkedWith(about)) {
    if (known.lastSeenMs + draft.bounds.heardMs > draft.upMs) {
      // who is wrong about so many is not listened to at all
      if (!hasRoomFor(draft, from)) return;
      draft.refuted.set(report, draft.upMs + draft.bounds.refutedMs);
    }
    return draft.gossipWith(about);
  }
  const mentionedBy = new Set(known.mentionedBy);
  const peer = mentionedBy.delete(from) ? { ...known, mentionedBy } : known;
  draft.setPeer(peer);
  if (peer.role === "client" || !(draft.contacts.get(about)?.met || mayDial(draft, peer))) {
    // we know it from those alone that are linked with it, and reach it through them or not at all
    const isLookedAt = draft.contacts.get(about)?.aim === "revive";
    if (mentionedBy.size === 0 && !isLookedAt) remove(draft, about, "lost");
  } else if (isGivenUp(draft, peer)) remove(draft, about, "lost");
  else probe(draft, peer);
}

/**
 * Who asks about a peer that has gone for us too may go by an older word of ours, that we are linked with it: told once, or
 * two that have both lost it would tell each other without end.
 */
function takeBack(draft: Draft, from: EndpointId, report: string, about: EndpointId): void {
  if (!draft.gone.has(about) || !draft.isLinkedWith(from) || !hasRoomFor(draft, from)) return;
  draft.refuted.set(report, draft.upMs + draft.bounds.refutedMs);
  draft.actions.push({ kind: "tell-down", about, to: [from] });
}

/** One that lies of many must not keep the others' lies from being remembered. */
function hasRoomFor(draft: Draft, reporter: EndpointId): boolean {
  const { refutedHeld, refutedEach } = draft.bounds;
  if (draft.refuted.size >= refutedHeld) return false;
  const own = draft.refuted.entries().filter(([report]) => report.startsWith(reporter));
  return own.length < refutedEach;
}

function probe(draft: Draft, peer: Peer): void {
  const contact = draft.contacts.get(peer.id) ?? newContact(peer.id, draft.upMs);
  const isLookedAt = contact.dialing || contact.aim === "revive";
  if (isLookedAt || !mayDial(draft, peer)) return;
  draft.contacts.set(peer.id, { ...contact, aim: "probe", dialAtMs: draft.upMs + draft.chance() * 1_000 });
}

/**
 * Whether the peer left or died and nothing says that it is back. A record that it signed since is a reason to look for
 * it, once, and no more: it may have been signed just before the end.
 */
export function staysGone(draft: Draft, claim: Claim, from: EndpointId): boolean {
  const { id, record, inContact, address } = claim;
  const gone = draft.gone.get(id);
  if (gone === undefined || gone.untilMs <= draft.upMs) return false;
  const { seq, issuedAtMs } = record?.fields ?? { seq: 0n, issuedAtMs: 0 };
  const isNewer = gone.seq === undefined ? issuedAtMs > gone.sinceMs : seq > gone.seq;
  // at hand for a member that we are linked with: it can be reached through that one, if not by ourselves
  if (inContact && draft.isLinkedWith(from) && (isNewer || gone.reason !== "left")) return false;
  const contact = draft.contacts.get(id) ?? newContact(id, draft.upMs, { aim: "probe" });
  const isTried = gone.triedSeq !== undefined && seq <= gone.triedSeq;
  if (isNewer && !isTried && address && !contact.link && !contact.dialing && mayDial(draft, claim)) {
    const dialAtMs = Math.min(contact.dialAtMs ?? Number.POSITIVE_INFINITY, draft.upMs + draft.chance() * 1_000);
    draft.contacts.set(id, { ...contact, address, dialAtMs });
    draft.gone.set(id, { ...gone, triedSeq: seq });
  }
  return true;
}

/**
 * We cannot reach it. While a member that we are linked with says that it can, the peer stays: that one may relay to it.
 *
 * @param wasLinked others learn from us that it is down; who only tried on somebody's word has nothing to tell
 */
function lost(draft: Draft, id: EndpointId, wasLinked: boolean): void {
  const peer = draft.peers.get(id);
  if (!peer) return dropContact(draft, id, undefined);
  const holders = draft.links().filter((link) => link.id !== id && peer.mentionedBy.has(link.id));
  tellDown(draft, id, wasLinked ? draft.links() : holders);
  if (wasLinked) tell(draft, false, undefined);
  if (holders.length === 0 || peer.role === "client") return remove(draft, id, "lost");
  draft.setPeer({ ...peer, met: false });
  if (peer.met) draft.actions.push({ kind: "gone", id, reason: "lost" });
}

/** We have lost it ourselves, and nobody who could relay to it is left. */
function isGivenUp(draft: Draft, { id, met, mentionedBy }: Peer): boolean {
  const contact = draft.contacts.get(id);
  if (met || !contact?.met || contact.link || contact.aim !== "return" || contact.failures === 0) return false;
  return ![...mentionedBy].some((other) => draft.isLinkedWith(other));
}

function remove(draft: Draft, id: EndpointId, reason: GoneReason): void {
  const peer = draft.peers.get(id);
  if (!peer) return;
  draft.deletePeer(id);
  const { goneSignedMs, goneForMs } = draft.bounds;
  const untilMs = draft.upMs + (peer.record ? goneSignedMs : goneForMs);
  const seq = peer.record?.fields.seq;
  // who never signed anything and fell silent may be named again
  if (reason !== "expired" || peer.record) {
    draft.gone.set(id, { untilMs, seq, triedSeq: undefined, sinceMs: draft.clockMs, reason });
  }
  for (const other of draft.peers.values()) {
    if (!other.mentionedBy.has(id)) continue;
    const mentionedBy = new Set(other.mentionedBy);
    mentionedBy.delete(id);
    draft.setPeer({ ...other, mentionedBy });
  }
  dropContact(draft, id, peer);
  // whom we never met nobody was told of
  if (peer.met) draft.actions.push({ kind: "gone", id, reason });
  draft.keepSoon();
}

/** Unless we want it back: we knew it, or the operator named it. */
function dropContact(draft: Draft, id: EndpointId, peer: Peer | undefined): void {
  const contact = draft.contacts.get(id);
  if (!contact || contact.lasting || contact.link) return;
  if (!contact.met || peer?.role === "client") draft.contacts.delete(id);
  else draft.contacts.set(id, { ...contact, address: peer?.address ?? contact.address });
}

/** A few of the links, for all of them could be hundreds; and clients, which may know of it from us alone. */
function tellDown(draft: Draft, about: EndpointId, to: readonly Linked[]): void {
  const others = to.filter(({ id }) => id !== about);
  const isClient = ({ id }: Linked): boolean => draft.peers.get(id)?.role === "client";
  const members = others.filter((link) => !isClient(link));
  const clients = draft.some(others.filter(isClient), draft.bounds.remembered);
  const told = [...draft.some(members, draft.bounds.linksWanted), ...clients].map(({ id }) => id);
  if (told.length > 0) draft.actions.push({ kind: "tell-down", about, to: told });
}

/** What has been silent, has ended, or is too much. */
export function sweep(draft: Draft): void {
  const { bounds, upMs } = draft;
  draft.sweepAtMs = upMs + bounds.sweepMs;
  for (const peer of draft.peers.values()) {
    if (isSilent(draft, peer)) remove(draft, peer.id, "expired");
    else if (isGivenUp(draft, peer)) remove(draft, peer.id, "lost");
  }
  const gone = draft.gone.entries();
  // in the order in which they went
  const excess = gone.length - bounds.goneHeld;
  for (const [index, [id, { untilMs }]] of gone.entries()) if (untilMs <= upMs || index < excess) draft.gone.delete(id);
  for (const [report, untilMs] of draft.refuted.entries()) if (untilMs <= upMs) draft.refuted.delete(report);
  forgetContacts(draft);
  for (const contact of draft.links()) {
    draft.contacts.set(contact.id, { ...contact, link: trimmed(contact.link, draft) });
  }
  if (draft.changes.size > 4 * draft.peers.size + bounds.changesSpare) {
    draft.changes = draft.changes.of((id) => draft.peers.has(id) || draft.gone.has(id));
  }
  draft.fillAtMs ??= upMs;
}

function isSilent(draft: Draft, peer: Peer): boolean {
  if (draft.isLinkedWith(peer.id)) return false;
  const { forgetAfterMs, silentAfterMs } = draft.bounds;
  const last = Math.max(peer.lastSeenMs, peer.lastMentionedMs);
  // a client's entry comes from those that it is linked with, and stays for as long as they name it
  if (!peer.record || peer.role === "client") {
    return last + forgetAfterMs < draft.upMs && peer.mentionedBy.size === 0;
  }
  return peer.newsMs + silentAfterMs < draft.upMs || peer.record.fields.notAfterMs < draft.clockMs;
}

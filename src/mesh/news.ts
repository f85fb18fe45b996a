/**
 * When gossip goes out: heartbeats, and rounds of news with which a change spreads. What stands in a frame is for
 * telling.ts; a peer that turns out to lack something in a round is told it by a second frame.
 *
 * @see protocol.md §3.5
 */
import type { EndpointId } from "../base/brand.ts";
import type { Linked } from "./contacts.ts";
import type { Draft } from "./draft.ts";
import { afterHearing, afterTelling, type Heard, isLacking, type Said, trimmed } from "./telling.ts";

/** Soon, and once. @param from the one peer that all of it comes from; it need not hear it */
export function tell(draft: Draft, own: boolean, from: EndpointId | undefined): void {
  const { newsAfterMs, newsEachMs, newsSpaceMs } = draft.bounds;
  if (draft.news) {
    const isSame = draft.news.from === from;
    draft.news = { ...draft.news, own: draft.news.own || own, from: isSame ? from : undefined };
    return;
  }
  const spaced = draft.newsToldMs + Math.max(newsSpaceMs, draft.links().length * newsEachMs);
  draft.news = { atMs: Math.max(draft.upMs + newsAfterMs, spaced), own, from };
}

/** What is due of all this. */
export function tellDue(draft: Draft): void {
  if (draft.heartbeatAtMs <= draft.upMs) {
    draft.heartbeatAtMs = draft.upMs + draft.about(draft.bounds.heartbeatMs);
    for (const { id } of draft.some(draft.links(), draft.bounds.heartbeatPeers)) draft.gossipWith(id);
  }
  if (draft.news && draft.news.atMs <= draft.upMs) tellNews(draft);
  for (const contact of draft.links()) if (contact.link.followAtMs <= draft.upMs) follow(draft, contact);
}

function tellNews(draft: Draft): void {
  const { own = false, from } = draft.news ?? {};
  draft.news = undefined;
  draft.newsToldMs = draft.upMs;
  const others = draft.links().filter(({ id }) => id !== from);
  const isClient = ({ id }: Linked): boolean => draft.peers.get(id)?.role === "client";
  const members = others.filter((link) => !isClient(link));
  const told = own ? others : [...draft.some(members, draft.bounds.newsPeers), ...others.filter(isClient)];
  for (const contact of told) {
    setLink(draft, contact, { followAtMs: awaited });
    draft.gossipWith(contact.id);
  }
}

function follow(draft: Draft, contact: Linked): void {
  setLink(draft, contact, { followAtMs: never });
  if (isLacking(draft, contact.id, contact.link, draft.clockMs)) draft.gossipWith(contact.id);
}

/** When what a frame told has been taken over: what its sender has now, and whether it lacks some of a round of news. */
export function noteHeard(draft: Draft, heard: Heard): void {
  const contact = draft.contacts.get(heard.from);
  if (!contact?.link) return;
  const link = afterHearing(contact.link, heard, draft.keys, draft.changes);
  const isAwaited = link.followAtMs === awaited;
  const follows = isAwaited && isLacking(draft, contact.id, link, draft.clockMs);
  const followAtMs = follows ? draft.upMs + draft.bounds.newsAfterMs : isAwaited ? never : link.followAtMs;
  draft.contacts.set(contact.id, { ...contact, link: { ...link, followAtMs } });
}

/** A frame has reached its reader. */
export function noteTold(draft: Draft, to: EndpointId, said: Said): void {
  const contact = draft.contacts.get(to);
  if (contact?.link) draft.contacts.set(to, { ...contact, link: trimmed(afterTelling(contact.link, said), draft) });
  else if (contact) draft.contacts.set(to, { ...contact, given: said.given });
}

/** Of {@link Link.followAtMs}: once it has answered; not at all. */
const awaited = Number.MAX_VALUE;
const never = Number.POSITIVE_INFINITY;

function setLink(draft: Draft, contact: Linked, more: Partial<Linked["link"]>): void {
  draft.contacts.set(contact.id, { ...contact, link: { ...contact.link, ...more } });
}

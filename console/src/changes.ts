/** What is worth a line between one status and the next: who came and went, and whose standing has changed. Pure. */
import { nameOf, peerSealing } from "./words.ts";
import type { PeerStatus, Status } from "./types.ts";

export interface News {
  readonly text: string;
  readonly tone: "good" | "bad" | "calm";
}

export function changesBetween(before: Status, after: Status): readonly News[] {
  const was = new Map(before.peers.map((peer) => [peer.endpoint_id, peer]));
  const is = new Map(after.peers.map((peer) => [peer.endpoint_id, peer]));
  const news: News[] = [];
  for (const peer of after.peers) {
    const old = was.get(peer.endpoint_id);
    if (old === undefined) news.push({ text: `${nameOf(peer)} joined`, tone: "good" });
    else news.push(...changesOf(old, peer));
  }
  for (const peer of before.peers) {
    if (!is.has(peer.endpoint_id)) news.push({ text: `${nameOf(peer)} left`, tone: "calm" });
  }
  return news;
}

function changesOf(old: PeerStatus, peer: PeerStatus): readonly News[] {
  const name = nameOf(peer);
  const news: News[] = [];
  const [was, is] = [peerSealing(old), peerSealing(peer)];
  if (was !== is && is !== "unasked" && is !== "old") {
    if (is === "refused") news.push({ text: `${name} is refused now`, tone: "bad" });
    else news.push({ text: `${name} may be asked now, ${is}`, tone: is === "plain" ? "bad" : "good" });
  }
  const tier = peer.attestation.tier;
  if (old.attestation.tier !== tier) {
    news.push({
      text: tier === "none" ? `${name} proves nothing any more` : `${name} reached tier ${tier}`,
      tone: tier === "none" ? "bad" : "good",
    });
  }
  if (old.route !== peer.route && peer.sealed !== "refused") {
    const ways = {
      direct: "is reached directly now",
      relay: "is reached through a relay now",
      none: "is out of reach",
    };
    news.push({ text: `${name} ${ways[peer.route]}`, tone: peer.route === "none" ? "bad" : "calm" });
  }
  const gained = peer.models.filter((model) => !old.models.includes(model));
  const lost = old.models.filter((model) => !peer.models.includes(model));
  if (gained.length > 0) news.push({ text: `${name} serves ${gained.join(", ")}`, tone: "good" });
  if (lost.length > 0) news.push({ text: `${name} no longer serves ${lost.join(", ")}`, tone: "calm" });
  return news;
}

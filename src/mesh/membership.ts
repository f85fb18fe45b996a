/**
 * Who is in the mesh, what is believed about them, and what is to be done to stay together: a pure step,
 * (state, event, now) -> (state, actions). No clock, timer, socket or outside randomness; mesh.ts feeds it what happened
 * and performs what it asks for.
 *
 * The rules that matter: an inference key is believed only from its owner's own connection or from a record its owner
 * signed; what third parties say points at a peer and never sets, replaces or removes anything of it (protocol.md §11 K1,
 * K2, D2, E4). Who has gone is brought back by itself, or by what it signed since, or by a member that has it at hand.
 */
import type { EndpointId } from "../base/brand.ts";
import type { VerifiedRecord } from "../crypto/record.ts";
import type { KeyStanding } from "../policy/decide.ts";
import type { EndpointAddress } from "../wire/address.ts";
import type { KnownRecords, ModelRuntime, Role } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import type { Posture } from "../wire/posture.ts";
import { Changes } from "./changes.ts";
import { type Contact, contactLimits, type ContactLimits } from "./contacts.ts";
import { Draft } from "./draft.ts";
import { dialed, expelled, left, peerDown, sweep, unlinked } from "./gone.ts";
import { noteTold, tell, tellDue } from "./news.ts";
import { dialDue, fill, known, seek, wake } from "./reaching.ts";
import { fetched, fromDisk, heard } from "./said.ts";
import type { Said } from "./telling.ts";

/** Field 36 of an entry, after decoding. */
export type AnnouncedKey =
  | { readonly kind: "absent" }
  | { readonly kind: "key"; readonly key: Uint8Array }
  /** Text that is no canonical base64 of 32 bytes, or a key of low order. */
  | { readonly kind: "bad" };

/** One entry of a gossip frame; the record, if any, has been verified against the entry's id and the time. */
export interface Claim {
  readonly id: EndpointId;
  readonly role: Role;
  readonly models: readonly string[];
  readonly runtimes: readonly ModelRuntime[];
  readonly version: string | undefined;
  readonly hostname: string | undefined;
  readonly address: EndpointAddress | undefined;
  /** The record says that this is its owner's address. */
  readonly addressSigned: boolean;
  readonly key: AnnouncedKey;
  readonly record: VerifiedRecord | undefined;
  /** Field 38 as sent: a reference blob. Counts on its owner's own connection only. */
  readonly blob: Uint8Array | undefined;
  /** Field 28 as sent; it names the node that it is for, and who signed it. */
  readonly ownership: Uint8Array | undefined;
  /** Field 37, where there is one that can be read: unsigned, so it is shown on its owner's own connection and no more. */
  readonly saidPosture: Posture | undefined;
  /** Who says this is linked with that node now; undefined: it does not say, as reference nodes. */
  readonly inContact: boolean | undefined;
}

export interface Peer extends Omit<Claim, "key" | "inContact"> {
  /** Field 36 as its owner sent it; `absent` until then. */
  readonly announced: AnnouncedKey;
  /** Two records with one seq are around; its own connection decides. */
  readonly conflict: boolean;
  /** We completed a gossip exchange with it ourselves, and it was not lost since. */
  readonly met: boolean;
  /** Of the watch, ms; 0 = never. */
  readonly lastSeenMs: number;
  readonly lastMentionedMs: number;
  /** When it last signed something new, as we learned it. */
  readonly newsMs: number;
  /** We know it from others alone, have tried to reach it in vain, and nobody at hand says to be linked with it: not offered to anybody. */
  readonly doubted: boolean;
  /** Members that say they are linked with it, and reference nodes that name it: where a relay to it may be found. */
  readonly mentionedBy: ReadonlySet<EndpointId>;
  /** Who named it first; itself, when it came by itself. */
  readonly introducedBy: EndpointId;
}

/** The most a peer ever showed; kept on disk, so that a key once shown cannot be stripped later (design.md §5). */
export type Shown = "key" | "record";

export interface Gone {
  /** Until then nobody's word brings it back that does not show more. */
  readonly untilMs: number;
  /** The newest number of its records that we knew. */
  readonly seq: bigint | undefined;
  /** The newest that others brought since, and for which it was dialed. */
  readonly triedSeq: bigint | undefined;
  /** When, unix ms: for records of a node of which we knew none. */
  readonly sinceMs: number;
  readonly reason: GoneReason;
}

export type GoneReason = "left" | "lost" | "expired";

/**
 * Time as the rules count it. What passes while the machine sleeps, or when its clock is set, does not count: or every peer
 * would have been silent for hours in the first second after it.
 */
export interface Watch {
  /** As the clock said at the last step, unix ms; undefined before the first. */
  readonly clockMs: number | undefined;
  readonly upMs: number;
}

export interface Membership {
  readonly self: EndpointId;
  /** Our own: clients need no links among themselves. */
  readonly role: Role;
  readonly peers: ReadonlyMap<EndpointId, Peer>;
  /** Ids of these peers, by the part of them that digests have. */
  readonly keys: ReadonlyMap<string, EndpointId>;
  /** What of it was new when, for what is told on. */
  readonly changes: Changes;
  readonly shown: ReadonlyMap<EndpointId, Shown>;
  readonly gone: ReadonlyMap<EndpointId, Gone>;
  readonly contacts: ReadonlyMap<EndpointId, Contact>;
  /** "reporter about" whose word that a peer is down was wrong, until when it is not asked again. */
  readonly refuted: ReadonlyMap<string, number>;
  readonly watch: Watch;
  readonly heartbeatAtMs: number;
  readonly sweepAtMs: number;
  /** When to look for further links; undefined: with the next sweep. */
  readonly fillAtMs: number | undefined;
  /** When news are due; undefined: there are none. */
  readonly news: News | undefined;
  readonly newsToldMs: number;
  /** When what is to be known after a restart is written down; undefined: nothing has changed. */
  readonly keepAtMs: number | undefined;
  /** Of the generator that jitter and choice come from. */
  readonly random: number;
}

export interface News {
  readonly atMs: number;
  /** News of our own go to every link, others' to a few: those pass them on. */
  readonly own: boolean;
  /** The one peer that all of it comes from; it need not hear it. */
  readonly from: EndpointId | undefined;
}

export type MembershipEvent =
  /** What was known when this node last ran. */
  | { readonly kind: "start"; readonly known: readonly Known[]; readonly seed: number; readonly role: Role }
  /** The operator has named a member: it is looked for until the end. */
  | { readonly kind: "seek"; readonly address: EndpointAddress }
  /** `linked`: the connection that it came on, or a newer one, is there. */
  | {
      readonly kind: "gossip";
      readonly from: EndpointId;
      readonly claims: readonly Claim[];
      readonly linked: boolean;
      readonly knows?: KnownRecords | undefined;
    }
  /** A frame has reached a peer. */
  | { readonly kind: "told"; readonly to: EndpointId; readonly marks: Said }
  /** A record that was asked for; `owner` when its owner itself answered. */
  | { readonly kind: "record"; readonly record: VerifiedRecord; readonly owner: boolean }
  | { readonly kind: "unlinked"; readonly id: EndpointId; readonly why: "left" | "lost" }
  /** A dial that was asked for has ended; a link is told by gossip. */
  | { readonly kind: "dialed"; readonly id: EndpointId; readonly reached: boolean }
  | { readonly kind: "left"; readonly id: EndpointId }
  /** It may be a member no more. */
  | { readonly kind: "expelled"; readonly id: EndpointId }
  | { readonly kind: "peer-down"; readonly from: EndpointId; readonly about: EndpointId }
  /** What this node says of itself has changed. */
  | { readonly kind: "news"; readonly role: Role; readonly from?: EndpointId | undefined }
  /** The operator wants what this peer ever showed forgotten. */
  | { readonly kind: "forget"; readonly id: EndpointId }
  | { readonly kind: "tick" };

export type MembershipAction =
  | { readonly kind: "dial"; readonly address: EndpointAddress }
  | { readonly kind: "gossip"; readonly to: EndpointId }
  | { readonly kind: "tell-down"; readonly about: EndpointId; readonly to: readonly EndpointId[] }
  | { readonly kind: "keep"; readonly known: readonly Known[] }
  | { readonly kind: "remember"; readonly id: EndpointId; readonly shown: Shown }
  | { readonly kind: "joined"; readonly peer: Peer }
  | { readonly kind: "gone"; readonly id: EndpointId; readonly reason: GoneReason }
  | { readonly kind: "conflict"; readonly id: EndpointId };

/** A member as it is kept on disk: where it was, and what it signed last. */
export interface Known {
  readonly address: EndpointAddress;
  readonly record: VerifiedRecord | undefined;
}

export interface MembershipLimits extends ContactLimits {
  /** Peers held at most; who has introduced most gives way. */
  readonly peers: number;
  /** A peer without records that is neither seen nor mentioned for so long is forgotten. */
  readonly forgetAfterMs: number;
  /** A peer that we are not linked with and that has signed nothing new for so long is forgotten. */
  readonly silentAfterMs: number;
  /** So long only, when somebody says that it is down and we did not reach it either. */
  readonly doubtedMs: number;
  /** How long a peer that left or died is not taken over from others: without records, and with them until all have ended. */
  readonly goneForMs: number;
  readonly goneSignedMs: number;
  readonly goneHeld: number;
  readonly heartbeatMs: number;
  /** Peers gossiped with in one heartbeat (protocol.md §3.5). */
  readonly heartbeatPeers: number;
  readonly sweepMs: number;
  /** Changes within this time are told once. */
  readonly newsAfterMs: number;
  /** Between two rounds of news, for each link: many links hear less often. */
  readonly newsEachMs: number;
  /** Between two rounds of news at least. */
  readonly newsSpaceMs: number;
  /** Links that others' news are passed on to. */
  readonly newsPeers: number;
  /** A report of this reporter about this peer was wrong: so long none is believed. */
  readonly refutedMs: number;
  readonly refutedHeld: number;
  /** Of these, of one reporter. */
  readonly refutedEach: number;
  /** Others in a frame that is full: its sender has more of them. */
  readonly fullFrame: number;
  /** Changes in a row that are remembered, besides four for each peer. */
  readonly changesSpare: number;
  /** A peer that we heard so lately lives, whatever others say. */
  readonly heardMs: number;
  readonly keepAfterMs: number;
  /** The most that passes between two steps; what is more was sleep. */
  readonly stepMs: number;
  /** Whether peers that others name are dialed. */
  readonly meetMentioned: boolean;
}

export const membershipLimits: MembershipLimits = {
  ...contactLimits,
  peers: 4_096,
  forgetAfterMs: 360_000,
  // records are renewed every 15 minutes
  silentAfterMs: 1_800_000,
  doubtedMs: 1_000_000,
  goneForMs: 300_000,
  goneSignedMs: limits.recordLifeMs + limits.recordAheadMs,
  goneHeld: 8_192,
  heartbeatMs: 60_000,
  heartbeatPeers: 5,
  sweepMs: 30_000,
  newsAfterMs: 100,
  newsEachMs: 30,
  newsSpaceMs: 2_000,
  newsPeers: 4,
  refutedMs: 600_000,
  refutedHeld: 256,
  refutedEach: 16,
  fullFrame: limits.entriesTold,
  changesSpare: 1_024,
  heardMs: 180_000,
  keepAfterMs: 3_000,
  stepMs: 15_000,
  meetMentioned: true,
};

export function emptyMembership(self: EndpointId, shown: ReadonlyMap<EndpointId, Shown>): Membership {
  return {
    self,
    role: "worker",
    peers: new Map(),
    keys: new Map(),
    changes: Changes.none,
    shown,
    gone: new Map(),
    contacts: new Map(),
    refuted: new Map(),
    watch: { clockMs: undefined, upMs: 0 },
    heartbeatAtMs: 0,
    sweepAtMs: 0,
    fillAtMs: undefined,
    news: undefined,
    newsToldMs: 0,
    keepAtMs: undefined,
    random: 1,
  };
}

/** @param nowMs unix ms */
export function step(
  state: Membership,
  event: MembershipEvent,
  nowMs: number,
  bounds: MembershipLimits = membershipLimits,
): { readonly state: Membership; readonly actions: readonly MembershipAction[] } {
  const draft = new Draft(state, nowMs, bounds);
  if (draft.woke) wake(draft);
  take(draft, event);
  return draft.done();
}

function take(draft: Draft, event: MembershipEvent): void {
  switch (event.kind) {
    case "start":
      draft.random = event.seed >>> 0 || 1;
      draft.role = event.role;
      draft.heartbeatAtMs = draft.upMs + draft.about(draft.bounds.heartbeatMs);
      return fromDisk(draft, event.known);
    case "seek":
      return seek(draft, event.address);
    case "gossip":
      return heard(draft, event);
    case "told":
      return noteTold(draft, event.to, event.marks);
    case "record":
      return fetched(draft, event.record, event.owner);
    case "unlinked":
      return event.why === "left" ? left(draft, event.id) : unlinked(draft, event.id);
    case "dialed":
      return dialed(draft, event.id, event.reached);
    case "left":
      return left(draft, event.id);
    case "expelled":
      return expelled(draft, event.id);
    case "peer-down":
      return peerDown(draft, event.from, event.about);
    case "news":
      draft.role = event.role;
      return tell(draft, event.from === undefined, event.from);
    case "forget":
      // it may be asked in the clear again, until it shows a key anew
      return void draft.shown.delete(event.id);
    case "tick":
      return tick(draft);
  }
}

function tick(draft: Draft): void {
  if (draft.sweepAtMs <= draft.upMs) sweep(draft);
  if (draft.fillAtMs !== undefined && draft.fillAtMs <= draft.upMs) fill(draft);
  dialDue(draft);
  tellDue(draft);
  if (draft.keepAtMs === undefined || draft.keepAtMs > draft.upMs) return;
  draft.keepAtMs = undefined;
  draft.actions.push({ kind: "keep", known: known(draft) });
}

/** Ms from now until a tick has something to do; at most what a step may count. */
export function dueInMs(state: Membership, bounds: MembershipLimits = membershipLimits): number {
  const { heartbeatAtMs, sweepAtMs, fillAtMs, news, keepAtMs, watch } = state;
  const never = Number.POSITIVE_INFINITY;
  const first = Math.min(
    heartbeatAtMs,
    sweepAtMs,
    fillAtMs ?? never,
    news?.atMs ?? never,
    keepAtMs ?? never,
    nextContactMs(state, bounds),
  );
  return Math.max(0, Math.min(first - watch.upMs, bounds.stepMs / 3));
}

function nextContactMs({ contacts }: Membership, bounds: MembershipLimits): number {
  let dial = Number.POSITIVE_INFINITY;
  let follow = Number.POSITIVE_INFINITY;
  let dialing = 0;
  for (const contact of contacts.values()) {
    if (contact.dialing) dialing += 1;
    if (contact.link) follow = Math.min(follow, contact.link.followAtMs);
    else if (!contact.dialing && contact.dialAtMs !== undefined) dial = Math.min(dial, contact.dialAtMs);
  }
  return dialing >= bounds.dialing ? follow : Math.min(dial, follow);
}

/** What is believed about the key of a peer now. */
export function keyStanding(state: Membership, id: EndpointId, nowMs: number): KeyStanding {
  const peer = state.peers.get(id);
  const shown = state.shown.get(id);
  if (peer?.conflict)
    return withheld("two different records of it carry the same number; its own connection must decide");
  const fields = peer?.record?.fields;
  const keyNotAfterMs = fields?.keyNotAfterMs ?? fields?.notAfterMs ?? 0;
  if (fields?.inferenceKey && nowMs <= fields.notAfterMs && nowMs <= keyNotAfterMs) {
    return { kind: "record", key: fields.inferenceKey, notAfterMs: keyNotAfterMs };
  }
  if (shown === "record") return withheld("it is known to sign records, and shows none that is valid now");
  if (peer?.met && peer.announced.kind === "bad") return withheld("it shows an inference key that cannot be used");
  if (peer?.met && peer.announced.kind === "key") return { kind: "announced", key: peer.announced.key };
  if (shown === "key") return withheld("it has shown an inference key before, and shows none now");
  return peer?.met ? { kind: "none" } : { kind: "unknown" };
}

function withheld(why: string): KeyStanding {
  return { kind: "withheld", why };
}

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
import { toHex } from "../base/bytes.ts";
import { compareRecords, type VerifiedRecord } from "../crypto/record.ts";
import type { KeyStanding } from "../policy/decide.ts";
import type { EndpointAddress } from "../wire/address.ts";
import type { KnownRecords, ModelRuntime, Role } from "../wire/gossip.ts";
import type { Posture } from "../wire/posture.ts";
import { limits } from "../wire/limits.ts";
import type { RecordFields } from "../wire/record.ts";
import { aimOrder, type Contact, contactLimits, type ContactLimits, hostsOf, newContact, waitMs } from "./contacts.ts";
import { Table } from "./table.ts";
import { Marks, toldBy } from "./telling.ts";

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
  | { readonly kind: "told"; readonly to: EndpointId; readonly marks: ReadonlyMap<EndpointId, number> }
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
  goneForMs: 300_000,
  goneSignedMs: limits.recordLifeMs + limits.recordAheadMs,
  goneHeld: 8_192,
  heartbeatMs: 60_000,
  heartbeatPeers: 5,
  sweepMs: 30_000,
  newsAfterMs: 100,
  newsEachMs: 30,
  newsSpaceMs: 500,
  newsPeers: 6,
  refutedMs: 600_000,
  refutedHeld: 256,
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
  switch (event.kind) {
    case "start":
      draft.start(event);
      break;
    case "seek":
      draft.seek(event.address);
      break;
    case "gossip":
      draft.gossip(event);
      break;
    case "told":
      draft.told(event.to, event.marks);
      break;
    case "record":
      draft.fetchedRecord(event.record, event.owner);
      break;
    case "unlinked":
      draft.unlinked(event.id, event.why);
      break;
    case "dialed":
      draft.dialed(event.id, event.reached);
      break;
    case "left":
      draft.left(event.id);
      break;
    case "expelled":
      draft.expelled(event.id);
      break;
    case "peer-down":
      draft.peerDown(event.from, event.about);
      break;
    case "news":
      draft.ownNews(event.role, event.from);
      break;
    case "forget":
      draft.forgetShown(event.id);
      break;
    case "tick":
      draft.tick();
      break;
  }
  return draft.done();
}

/** Ms from now until a tick has something to do; at most what a step may count. */
export function dueInMs(state: Membership, bounds: MembershipLimits = membershipLimits): number {
  const { heartbeatAtMs, sweepAtMs, fillAtMs, news, keepAtMs } = state;
  const at = [heartbeatAtMs, sweepAtMs, fillAtMs, news?.atMs, keepAtMs, nextDialMs(state, bounds)];
  const first = Math.min(...at.filter((ms) => ms !== undefined));
  return Math.max(0, Math.min(first - state.watch.upMs, bounds.stepMs / 3));
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

/** Links that pass news on: clients are told what is ours, and nothing else of it. */
function linkedMembers(state: Pick<Membership, "contacts" | "peers">): readonly Contact[] {
  return [...state.contacts.values()].filter(({ id, link }) => link && state.peers.get(id)?.role !== "client");
}

function dialingOf(contacts: ReadonlyMap<EndpointId, Contact>): readonly Contact[] {
  return [...contacts.values()].filter(({ dialing }) => dialing);
}

function nextDialMs(state: Membership, bounds: MembershipLimits): number | undefined {
  let first: number | undefined;
  let under = 0;
  for (const { dialAtMs, dialing, link } of state.contacts.values()) {
    if (dialing) under += 1;
    else if (!link && dialAtMs !== undefined && (first === undefined || dialAtMs < first)) first = dialAtMs;
  }
  return under >= bounds.dialing ? undefined : first;
}

/** One step in the making: tables that are copied when they change, and the actions so far. */
class Draft {
  readonly #before: Membership;
  readonly #clockMs: number;
  readonly #upMs: number;
  readonly #woke: boolean;
  readonly #bounds: MembershipLimits;
  readonly #peers: Table<EndpointId, Peer>;
  readonly #shown: Table<EndpointId, Shown>;
  readonly #gone: Table<EndpointId, Gone>;
  readonly #contacts: Table<EndpointId, Contact>;
  readonly #refuted: Table<string, number>;
  readonly #actions: MembershipAction[] = [];
  #role: Role;
  #heartbeatAtMs: number;
  #sweepAtMs: number;
  #fillAtMs: number | undefined;
  #news: News | undefined;
  #newsToldMs: number;
  #keepAtMs: number | undefined;
  #random: number;

  constructor(state: Membership, clockMs: number, bounds: MembershipLimits) {
    this.#before = state;
    this.#clockMs = clockMs;
    this.#bounds = bounds;
    const { clockMs: lastMs, upMs } = state.watch;
    const passed = lastMs === undefined ? clockMs : clockMs - lastMs;
    this.#woke = lastMs !== undefined && passed > bounds.stepMs;
    this.#upMs = lastMs === undefined ? clockMs : upMs + Math.min(Math.max(passed, 0), bounds.stepMs);
    this.#peers = new Table(state.peers);
    this.#shown = new Table(state.shown);
    this.#gone = new Table(state.gone);
    this.#contacts = new Table(state.contacts);
    this.#refuted = new Table(state.refuted);
    this.#role = state.role;
    // jitter keeps nodes that started together from speaking together
    this.#random = state.random;
    this.#heartbeatAtMs = state.heartbeatAtMs || this.#upMs + this.#about(bounds.heartbeatMs);
    this.#sweepAtMs = state.sweepAtMs || this.#upMs + bounds.sweepMs;
    this.#fillAtMs = state.fillAtMs;
    this.#news = state.news;
    this.#newsToldMs = state.newsToldMs;
    this.#keepAtMs = state.keepAtMs;
    if (this.#woke) this.#wake();
  }

  done(): { state: Membership; actions: readonly MembershipAction[] } {
    const state: Membership = {
      self: this.#before.self,
      role: this.#role,
      peers: this.#peers.now,
      shown: this.#shown.now,
      gone: this.#gone.now,
      contacts: this.#contacts.now,
      refuted: this.#refuted.now,
      watch: { clockMs: this.#clockMs, upMs: this.#upMs },
      heartbeatAtMs: this.#heartbeatAtMs,
      sweepAtMs: this.#sweepAtMs,
      fillAtMs: this.#fillAtMs,
      news: this.#news,
      newsToldMs: this.#newsToldMs,
      keepAtMs: this.#keepAtMs,
      random: this.#random,
    };
    return { state, actions: this.#actions };
  }

  // ---- what happens

  start({ known, seed, role }: Extract<MembershipEvent, { kind: "start" }>): void {
    this.#random = seed >>> 0 || 1;
    this.#role = role;
    this.#heartbeatAtMs = this.#upMs + this.#about(this.#bounds.heartbeatMs);
    for (const { address, record } of known.slice(0, this.#bounds.remembered)) {
      const { id } = address;
      if (id === this.#before.self) continue;
      if (record) this.#peers.set(id, this.#fromDisk(address, record));
      const dialAtMs = this.#upMs + this.#chance() * 500;
      this.#contacts.set(id, newContact(id, this.#upMs, { address, met: true, aim: "return", dialAtMs }));
      if (record) this.#remember(id, "record");
    }
  }

  seek(address: EndpointAddress): void {
    const { id } = address;
    if (id === this.#before.self) return;
    const known = this.#contacts.get(id) ?? newContact(id, this.#upMs);
    const dialAtMs = known.link || known.dialing ? known.dialAtMs : this.#upMs + this.#about(this.#bounds.returnMs[0]);
    this.#contacts.set(id, { ...known, address, lasting: true, aim: "return", dialAtMs });
  }

  gossip({ from, claims, linked, knows }: Extract<MembershipEvent, { kind: "gossip" }>): void {
    const own = claims.findLast(({ id }) => id === from);
    if (own) this.#ownClaim(own);
    if (linked && this.#peers.has(from)) this.#linked(from);
    for (const claim of claims) {
      if (claim.id !== this.#before.self && claim.id !== from) this.#mention(claim, from);
    }
    const contact = this.#contacts.get(from);
    if (!contact?.link) return;
    const told = toldBy(claims, knows, this.#peers.now, contact.link.told);
    if (told !== contact.link.told) this.#contacts.set(from, { ...contact, link: { ...contact.link, told } });
  }

  told(to: EndpointId, marks: ReadonlyMap<EndpointId, number>): void {
    const contact = this.#contacts.get(to);
    if (!contact?.link || marks.size === 0) return;
    this.#contacts.set(to, { ...contact, link: { ...contact.link, told: contact.link.told.with(marks) } });
  }

  fetchedRecord(record: VerifiedRecord, owner: boolean): void {
    if (this.#peers.has(record.fields.endpointId)) this.#takeRecord(record, owner);
  }

  unlinked(id: EndpointId, why: "left" | "lost"): void {
    if (why === "left") return this.left(id);
    const contact = this.#contacts.get(id);
    if (!contact?.link) return;
    const unlinked = { ...contact, link: undefined, failures: 0, lastMs: this.#upMs, aim: "revive" as const };
    const dialAtMs = this.#upMs + this.#about(this.#bounds.reviveMs[0] ?? 0);
    this.#contacts.set(id, { ...unlinked, dialAtMs });
  }

  dialed(id: EndpointId, reached: boolean): void {
    const contact = this.#contacts.get(id);
    if (!contact) return;
    const ended = { ...contact, dialing: false };
    if (reached || contact.link) return this.#contacts.set(id, ended);
    const failed = { ...ended, failures: contact.failures + 1 };
    const hopeless =
      failed.aim === "probe" || (failed.aim === "revive" && failed.failures >= this.#bounds.reviveMs.length);
    if (!hopeless) {
      const wait = this.#about(waitMs(failed, this.#looking(), this.#bounds));
      return this.#contacts.set(id, { ...failed, dialAtMs: this.#upMs + wait });
    }
    this.#contacts.set(id, { ...failed, aim: "return", dialAtMs: this.#upMs + this.#about(this.#bounds.returnMs[0]) });
    this.#lost(id, failed.aim === "revive");
  }

  /** It says goodbye. Who has only our word for it learns it from us. */
  left(id: EndpointId): void {
    const peer = this.#peers.get(id);
    const contact = this.#contacts.get(id);
    if (peer) {
      const unaware = this.#links().filter(({ link, id: to }) => {
        return link.told.get(id) !== undefined && !peer.mentionedBy.has(to);
      });
      this.#tellDown(id, unaware);
      this.#remove(id, "left");
    }
    if (!contact) return;
    if (!contact.lasting) return void this.#contacts.delete(id);
    // it may be restarting
    const dialAtMs = this.#upMs + this.#about(2 * this.#bounds.returnMs[0]);
    this.#contacts.set(id, { ...contact, link: undefined, failures: 0, aim: "return", dialAtMs });
  }

  expelled(id: EndpointId): void {
    this.#contacts.delete(id);
    this.#remove(id, "left");
  }

  /** Believed of nobody: a peer that we know is looked at by ourselves, another is none of ours (protocol.md §11 E4). */
  peerDown(from: EndpointId, about: EndpointId): void {
    const peer = this.#peers.get(about);
    if (about === from || about === this.#before.self) return;
    if (!peer) return this.#takeBack(about, from);
    const key = `${from} ${about}`;
    if ((this.#refuted.get(key) ?? 0) > this.#upMs) return;
    const mentionedBy = new Set(peer.mentionedBy);
    mentionedBy.delete(from);
    this.#peers.set(about, { ...peer, mentionedBy });
    const contact = this.#contacts.get(about);
    if (contact?.link) {
      if (peer.lastSeenMs + this.#bounds.heardMs > this.#upMs && this.#refuted.size < this.#bounds.refutedHeld) {
        this.#refuted.set(key, this.#upMs + this.#bounds.refutedMs);
      }
      return void this.#actions.push({ kind: "gossip", to: about });
    }
    if (peer.role === "client") {
      if (mentionedBy.size === 0) this.#remove(about, "lost");
      return;
    }
    const asked = contact ?? newContact(about, this.#upMs);
    if (asked.aim === "revive") return; // it is being looked at already
    if (this.#isGivenUp({ ...peer, mentionedBy })) return this.#remove(about, "lost");
    if (asked.dialing || !this.#mayDial(peer)) return;
    this.#contacts.set(about, { ...asked, aim: "probe", dialAtMs: this.#upMs + this.#chance() * 1_000 });
  }

  ownNews(role: Role, from: EndpointId | undefined): void {
    this.#role = role;
    this.#tell(from === undefined, from);
  }

  /** It may be asked in the clear again, until it shows a key anew. */
  forgetShown(id: EndpointId): void {
    this.#shown.delete(id);
  }

  tick(): void {
    if (this.#sweepAtMs <= this.#upMs) this.#sweep();
    if (this.#fillAtMs !== undefined && this.#fillAtMs <= this.#upMs) this.#fill();
    this.#dialDue();
    if (this.#heartbeatAtMs <= this.#upMs) {
      this.#heartbeatAtMs = this.#upMs + this.#about(this.#bounds.heartbeatMs);
      for (const { id } of this.#some(this.#links(), this.#bounds.heartbeatPeers)) this.#gossipWith(id);
    }
    if (this.#news && this.#news.atMs <= this.#upMs) this.#tellNews(this.#news);
    if (this.#keepAtMs !== undefined && this.#keepAtMs <= this.#upMs) {
      this.#keepAtMs = undefined;
      this.#actions.push({ kind: "keep", known: this.#known() });
    }
  }

  // ---- what is said

  /** What a peer says about itself on its own connection. */
  #ownClaim(claim: Claim): void {
    const known = this.#peers.get(claim.id);
    if (!known && !this.#hasRoomFor(claim.id)) return;
    this.#gone.delete(claim.id);
    const { key, record, inContact: _of, ...said } = claim;
    const peer: Peer = {
      ...said,
      address: claim.address ?? known?.address,
      record: known?.record,
      conflict: known?.conflict ?? false,
      announced: key,
      met: true,
      lastSeenMs: this.#upMs,
      lastMentionedMs: known?.lastMentionedMs ?? 0,
      newsMs: known?.newsMs ?? this.#upMs,
      mentionedBy: known?.mentionedBy ?? new Set(),
      introducedBy: known?.introducedBy ?? claim.id,
    };
    this.#peers.set(peer.id, peer);
    // what a record says is compared when there is another one
    const isSigned = record?.fields.role !== undefined && known?.met && known.record === record;
    if (!known || (!isSigned && !sameToOthers(known, peer))) this.#tell(false, claim.id);
    if (key.kind !== "absent") this.#remember(peer.id, "key");
    if (record) this.#takeRecord(record, true, claim.id);
    if (!known?.met) this.#actions.push({ kind: "joined", peer: this.#peers.get(peer.id) ?? peer });
  }

  /** What one peer says about another: a hint where it is, and perhaps a record that speaks for itself. */
  #mention(claim: Claim, from: EndpointId): void {
    const { id } = claim;
    if (this.#isGone(claim, from)) return;
    const known = this.#peers.get(id);
    if (!known && !this.#hasRoomFor(from)) return;
    this.#gone.delete(id);
    const mentionedBy = withMention(known?.mentionedBy, from, claim.inContact);
    if (known && isNoNews(known, claim, mentionedBy)) return;
    const { key: _hearsay, inContact: _of, record, ...said } = claim;
    const addressed = claim.addressSigned || !known?.address ? (claim.address ?? known?.address) : known.address;
    const peer: Peer = {
      // what it says of itself, or what its record says: a third party's word is a hint where to knock, and no more
      ...(known ?? { ...said, role: hintedRole(claim), models: [], runtimes: [], hostname: undefined }),
      address: addressed,
      addressSigned: claim.addressSigned || (known?.addressSigned ?? false),
      // checked when it came, so that it holds from anybody; leaving it out takes nothing away
      ownership: claim.ownership ?? known?.ownership,
      record: known?.record,
      conflict: known?.conflict ?? false,
      announced: known?.announced ?? { kind: "absent" },
      blob: known?.blob,
      saidPosture: known?.saidPosture,
      met: known?.met ?? false,
      lastSeenMs: known?.lastSeenMs ?? 0,
      lastMentionedMs: this.#upMs,
      newsMs: known?.newsMs ?? this.#upMs,
      mentionedBy,
      introducedBy: known?.introducedBy ?? from,
    };
    this.#peers.set(id, peer);
    if (record) this.#takeRecord(record, false, from);
    this.#wantContact(this.#peers.get(id) ?? peer, known === undefined, addressed !== known?.address);
  }

  /** @param from who brought it; undefined: it was asked for */
  #takeRecord(record: VerifiedRecord, owner: boolean, from?: EndpointId): void {
    const peer = this.#peers.get(record.fields.endpointId);
    if (!peer) return;
    this.#remember(peer.id, "record");
    const relation = peer.record ? compareRecords(peer.record, record) : "newer";
    if (relation === "newer" || (owner && relation === "conflict")) {
      this.#peers.set(peer.id, { ...peer, ...signedDescription(record), record, conflict: false, newsMs: this.#upMs });
      if (peer.conflict || !peer.record || !sameButLoad(peer.record.fields, record.fields)) this.#tell(false, from);
      this.#keepSoon();
    } else if (relation === "conflict" && !peer.conflict) {
      this.#peers.set(peer.id, { ...peer, conflict: true });
      this.#actions.push({ kind: "conflict", id: peer.id });
    } else if (owner) {
      // the entry around it may have said something else
      this.#peers.set(peer.id, { ...peer, ...signedDescription(peer.record ?? record), conflict: false });
    }
  }

  #remember(id: EndpointId, shown: Shown): void {
    const before = this.#shown.get(id);
    if (before === shown || before === "record") return;
    this.#shown.set(id, shown);
    this.#actions.push({ kind: "remember", id, shown });
  }

  #fromDisk(address: EndpointAddress, record: VerifiedRecord): Peer {
    const { id } = address;
    return {
      id,
      role: "worker",
      models: [],
      runtimes: [],
      version: undefined,
      hostname: undefined,
      blob: undefined,
      ownership: undefined,
      saidPosture: undefined,
      ...signedDescription(record),
      address,
      addressSigned: false,
      record,
      announced: { kind: "absent" },
      conflict: false,
      met: false,
      lastSeenMs: 0,
      lastMentionedMs: this.#upMs,
      newsMs: this.#upMs,
      mentionedBy: new Set(),
      introducedBy: this.#before.self,
    };
  }

  /**
   * Whether the peer left or died and nothing says that it is back. A record that it signed since is a reason to look for
   * it, and no more: it may have been signed just before the end.
   */
  #isGone(claim: Claim, from: EndpointId): boolean {
    const { id, record, inContact, address } = claim;
    const gone = this.#gone.get(id);
    if (gone === undefined || gone.untilMs <= this.#upMs) return false;
    const { seq, issuedAtMs } = record?.fields ?? { seq: 0n, issuedAtMs: 0 };
    const isNewer = gone.seq === undefined ? issuedAtMs > gone.sinceMs : seq > gone.seq;
    // at hand for a member that we are linked with: it can be reached through that one, if not by ourselves
    if (inContact && this.#contacts.get(from)?.link && (isNewer || gone.reason === "lost")) return false;
    const contact = this.#contacts.get(id) ?? newContact(id, this.#upMs, { aim: "probe" });
    if (isNewer && address && !contact.link && !contact.dialing && this.#mayDial(claim)) {
      const dialAtMs = Math.min(contact.dialAtMs ?? Number.POSITIVE_INFINITY, this.#upMs + this.#chance() * 1_000);
      this.#contacts.set(id, { ...contact, address, dialAtMs });
    }
    return true;
  }

  /** In a full table, one of the peers that nobody here has met gives way: one of whoever has introduced most of these. */
  #hasRoomFor(introducer: EndpointId): boolean {
    if (this.#peers.size < this.#bounds.peers) return true;
    const named = new Map<EndpointId, Peer[]>();
    for (const peer of this.#peers.now.values()) {
      if (peer.met || this.#contacts.get(peer.id)?.met) continue;
      named.set(peer.introducedBy, [...(named.get(peer.introducedBy) ?? []), peer]);
    }
    const most = [...named.values()].toSorted((a, b) => b.length - a.length)[0];
    const isOwn = !this.#peers.has(introducer); // it comes by itself
    if (!most || (!isOwn && most.length <= (named.get(introducer)?.length ?? 0) + 1)) return false;
    const oldest = most.toSorted((a, b) => a.lastMentionedMs - b.lastMentionedMs)[0];
    if (!oldest) return false;
    this.#peers.delete(oldest.id);
    this.#contacts.delete(oldest.id);
    return true;
  }

  // ---- who is gone

  /**
   * We cannot reach it. While a member that we are linked with says that it can, the peer stays: that one may relay to it.
   *
   * @param wasLinked others learn from us that it is down; who only tried on somebody's word has nothing to tell
   */
  #lost(id: EndpointId, wasLinked: boolean): void {
    const peer = this.#peers.get(id);
    if (!peer) return this.#dropContact(id);
    const holders = this.#links().filter((link) => link.id !== id && peer.mentionedBy.has(link.id));
    this.#tellDown(id, wasLinked ? this.#links() : holders);
    if (holders.length === 0 || peer.role === "client") return this.#remove(id, "lost");
    this.#peers.set(id, { ...peer, met: false });
    if (peer.met) this.#actions.push({ kind: "gone", id, reason: "lost" });
  }

  /** We have lost it ourselves, and nobody who could relay to it is left. */
  #isGivenUp({ id, met, mentionedBy }: Peer): boolean {
    const contact = this.#contacts.get(id);
    if (met || !contact?.met || contact.link || contact.aim !== "return" || contact.failures === 0) return false;
    return !this.#links().some((link) => mentionedBy.has(link.id));
  }

  /** We said once that we are linked with it, and are not any more; said once. */
  #takeBack(id: EndpointId, to: EndpointId): void {
    const contact = this.#contacts.get(to);
    const mark = contact?.link?.told.get(id) ?? 0;
    if (!contact?.link || mark % 2 !== 1) return;
    const told = contact.link.told.with(new Map([[id, mark - 1]]));
    this.#contacts.set(to, { ...contact, link: { ...contact.link, told } });
    this.#actions.push({ kind: "tell-down", about: id, to: [to] });
  }

  #remove(id: EndpointId, reason: GoneReason): void {
    const peer = this.#peers.get(id);
    if (!peer) return;
    this.#peers.delete(id);
    const seq = peer.record?.fields.seq;
    const untilMs = this.#upMs + (peer.record ? this.#bounds.goneSignedMs : this.#bounds.goneForMs);
    if (reason !== "expired" || peer.record) this.#gone.set(id, { untilMs, seq, sinceMs: this.#clockMs, reason });
    for (const other of this.#peers.now.values()) {
      if (!other.mentionedBy.has(id)) continue;
      const mentionedBy = new Set(other.mentionedBy);
      mentionedBy.delete(id);
      this.#peers.set(other.id, { ...other, mentionedBy });
    }
    this.#dropContact(id);
    this.#actions.push({ kind: "gone", id, reason });
    this.#tell(false, undefined);
    this.#keepSoon();
  }

  /** Unless we want it back: we knew it, or the operator named it. */
  #dropContact(id: EndpointId): void {
    const contact = this.#contacts.get(id);
    if (!contact || contact.lasting || contact.link) return;
    const { role, address } = this.#before.peers.get(id) ?? {};
    if (!contact.met || role === "client") this.#contacts.delete(id);
    else this.#contacts.set(id, { ...contact, address: address ?? contact.address });
  }

  /** A few of the links, for all of them could be hundreds. */
  #tellDown(about: EndpointId, to: readonly Linked[]): void {
    const told = this.#some(
      to.filter(({ id }) => id !== about && this.#peers.get(id)?.role !== "client"),
      this.#bounds.linksWanted,
    );
    if (told.length > 0) this.#actions.push({ kind: "tell-down", about, to: told.map(({ id }) => id) });
  }

  /** What has been silent, has ended, or is too much. */
  #sweep(): void {
    this.#sweepAtMs = this.#upMs + this.#bounds.sweepMs;
    for (const peer of this.#peers.now.values()) {
      if (this.#isSilent(peer)) this.#remove(peer.id, "expired");
      else if (this.#isGivenUp(peer)) this.#remove(peer.id, "lost");
    }
    for (const [id, { untilMs }] of this.#gone.now) if (untilMs <= this.#upMs) this.#gone.delete(id);
    for (const [key, untilMs] of this.#refuted.now) if (untilMs <= this.#upMs) this.#refuted.delete(key);
    const excess = this.#gone.size - this.#bounds.goneHeld;
    if (excess > 0) for (const id of [...this.#gone.now.keys()].slice(0, excess)) this.#gone.delete(id);
    this.#forgetContacts();
    for (const contact of this.#links()) {
      if (contact.link.told.size <= this.#peers.size + this.#bounds.newsPeers) continue;
      const told = contact.link.told.of((id) => this.#peers.has(id) || this.#gone.has(id));
      this.#contacts.set(contact.id, { ...contact, link: { ...contact.link, told } });
    }
    this.#fillAtMs ??= this.#upMs;
  }

  #isSilent(peer: Peer): boolean {
    if (this.#contacts.get(peer.id)?.link) return false;
    const { forgetAfterMs, silentAfterMs } = this.#bounds;
    const last = Math.max(peer.lastSeenMs, peer.lastMentionedMs);
    // a client's entry comes from those that it is linked with, and stays for as long as they name it
    if (!peer.record || peer.role === "client") return last + forgetAfterMs < this.#upMs && peer.mentionedBy.size === 0;
    return peer.newsMs + silentAfterMs < this.#upMs || peer.record.fields.notAfterMs < this.#clockMs;
  }

  #forgetContacts(): void {
    const idle = [...this.#contacts.now.values()].filter(({ link, lasting, dialing }) => !link && !lasting && !dialing);
    const { remembered, rememberMs } = this.#bounds;
    const known = idle.filter(({ met }) => met).toSorted((a, b) => b.lastMs - a.lastMs);
    const tooOld = known.filter(({ lastMs }, index) => index >= remembered || lastMs + rememberMs < this.#upMs);
    const unknown = idle.filter(({ id, met }) => !met && !this.#peers.has(id));
    for (const { id } of [...tooOld, ...unknown]) this.#contacts.delete(id);
  }

  // ---- contacts

  #linked(id: EndpointId): void {
    const known = this.#contacts.get(id) ?? newContact(id, this.#upMs);
    if (known.link) return;
    const alone = this.#links().length === 0;
    const link = { sinceMs: this.#upMs, told: Marks.none };
    const met = { dialing: false, failures: 0, dialAtMs: undefined, aim: "return" as const, met: true, link };
    this.#contacts.set(id, { ...known, ...met });
    this.#keepSoon();
    if (alone) this.#lookAtOnce(); // the network is back
  }

  #wantContact(peer: Peer, isNew: boolean, isElsewhere: boolean): void {
    const contact = this.#contacts.get(peer.id);
    if (contact) {
      // it has moved: no reason to wait for the next try at the old place
      if (isElsewhere && !contact.link && contact.dialAtMs !== undefined) {
        this.#contacts.set(peer.id, { ...contact, failures: 0, dialAtMs: this.#upMs });
      }
      return;
    }
    if (isNew && this.#mayDial(peer)) this.#fillAtMs ??= this.#upMs;
  }

  /** Looks among the peers that others have named for some to have a link with, while there are few links. */
  #fill(): void {
    this.#fillAtMs = undefined;
    const filling = [...this.#contacts.now.values()].filter(({ aim, link }) => aim === "fill" && !link);
    const wanted = this.#bounds.linksWanted - linkedMembers(this.#tables).length;
    if (filling.length >= wanted) return;
    const strangers = [...this.#peers.now.values()].filter(
      (peer) => !this.#contacts.has(peer.id) && this.#mayDial(peer),
    );
    for (const { id } of this.#fairly(strangers).slice(0, wanted - filling.length)) {
      this.#contacts.set(id, newContact(id, this.#upMs, { dialAtMs: this.#upMs }));
    }
  }

  /** Clients need no links among themselves, and nobody goes after a client. */
  #mayDial({ role }: Pick<Peer, "role">): boolean {
    return this.#bounds.meetMentioned && !(role === "client" && this.#role === "client");
  }

  #dialDue(): void {
    const due = [...this.#contacts.now.values()].filter(
      ({ link, dialing, dialAtMs }) => !link && !dialing && dialAtMs !== undefined && dialAtMs <= this.#upMs,
    );
    if (due.length === 0) return;
    let dialing = dialingOf(this.#contacts.now);
    let fills = this.#bounds.linksWanted - linkedMembers(this.#tables).length;
    for (const { aim } of dialing) if (aim === "fill") fills -= 1;
    for (const contact of due.toSorted((a, b) => aimOrder[a.aim] - aimOrder[b.aim])) {
      if (dialing.length >= this.#bounds.dialing) return;
      if (contact.aim === "fill" && fills-- <= 0) {
        this.#contacts.delete(contact.id); // enough have come by themselves
        continue;
      }
      const address = this.#addressOf(contact);
      const isKnown = contact.met || contact.lasting;
      if (!address || (!isKnown && this.#isBusy(address, dialing))) {
        this.#contacts.set(contact.id, { ...contact, dialAtMs: address && this.#upMs + this.#about(1_000) });
        continue;
      }
      dialing = [...dialing, contact];
      this.#contacts.set(contact.id, { ...contact, dialing: true });
      this.#actions.push({ kind: "dial", address });
    }
  }

  /** By who has named them, in turn: one that names a thousand gets no more of our links than one that names ten. */
  #fairly(strangers: readonly Peer[]): readonly Peer[] {
    const byIntroducer = new Map<EndpointId, Peer[]>();
    for (const peer of this.#some(strangers, strangers.length)) {
      const named = byIntroducer.get(peer.introducedBy);
      if (named) named.push(peer);
      else byIntroducer.set(peer.introducedBy, [peer]);
    }
    const groups = [...byIntroducer.values()];
    const rounds = Math.max(0, ...groups.map(({ length }) => length));
    return Array.from({ length: rounds }, (_, round) =>
      groups.flatMap((group) => group.slice(round, round + 1)),
    ).flat();
  }

  /** Whether enough dials go to one of these addresses already. */
  #isBusy(address: EndpointAddress, dialing: readonly Contact[]): boolean {
    const hosts = hostsOf(address).filter((host) => !host.startsWith("127.") && host !== "[::1]");
    const others = dialing.map((contact) => hostsOf(this.#addressOf(contact)));
    return hosts.some(
      (host) => others.filter((taken) => taken.includes(host)).length >= this.#bounds.dialingPerAddress,
    );
  }

  #addressOf({ id, address }: Contact): EndpointAddress | undefined {
    return this.#peers.get(id)?.address ?? address;
  }

  /** Peers that we knew and are not linked with. */
  #looking(): number {
    let count = 0;
    for (const { link, met, lasting } of this.#contacts.now.values()) if (!link && (met || lasting)) count += 1;
    return count;
  }

  #wake(): void {
    this.#lookAtOnce();
    for (const { id } of this.#links()) this.#gossipWith(id);
  }

  #lookAtOnce(): void {
    for (const contact of this.#contacts.now.values()) {
      if (contact.link || contact.dialing || contact.dialAtMs === undefined || contact.aim === "fill") continue;
      this.#contacts.set(contact.id, { ...contact, failures: 0, dialAtMs: this.#upMs + this.#chance() * 500 });
    }
  }

  #keepSoon(): void {
    this.#keepAtMs ??= this.#upMs + this.#bounds.keepAfterMs;
  }

  /** Those that invites name first, then those that we are linked with, then those that we were. */
  #known(): readonly Known[] {
    const rank = ({ lasting, link }: Contact): number => (lasting ? 0 : link ? 1 : 2);
    return [...this.#contacts.now.values()]
      .filter(({ id, met, lasting }) => (met || lasting) && this.#peers.get(id)?.role !== "client")
      .toSorted((a, b) => rank(a) - rank(b) || b.lastMs - a.lastMs)
      .slice(0, this.#bounds.remembered)
      .flatMap((contact) => {
        const address = this.#addressOf(contact);
        return address ? [{ address, record: this.#peers.get(contact.id)?.record }] : [];
      });
  }

  // ---- telling

  get #tables(): Pick<Membership, "contacts" | "peers"> {
    return { contacts: this.#contacts.now, peers: this.#peers.now };
  }

  #links(): readonly Linked[] {
    return [...this.#contacts.now.values()].filter(isLinked);
  }

  #gossipWith(id: EndpointId): void {
    this.#actions.push({ kind: "gossip", to: id });
  }

  /** Soon, and once: a single teller need not hear its own news. */
  #tell(own: boolean, from: EndpointId | undefined): void {
    const { newsAfterMs, newsEachMs, newsSpaceMs } = this.#bounds;
    if (this.#news) {
      const isSame = this.#news.from === from;
      this.#news = { ...this.#news, own: this.#news.own || own, from: isSame ? from : undefined };
      return;
    }
    const spaced = this.#newsToldMs + Math.max(newsSpaceMs, this.#links().length * newsEachMs);
    this.#news = { atMs: Math.max(this.#upMs + newsAfterMs, spaced), own, from };
  }

  #tellNews({ own, from }: News): void {
    this.#news = undefined;
    this.#newsToldMs = this.#upMs;
    const others = this.#links().filter(({ id }) => id !== from);
    const members = others.filter(({ id }) => this.#peers.get(id)?.role !== "client");
    const told = own
      ? others
      : [...this.#some(members, this.#bounds.newsPeers), ...others.filter((link) => !members.includes(link))];
    for (const { id } of told) this.#gossipWith(id);
  }

  // ---- chance

  /** In [0, 1): a small generator (mulberry32) whose state is part of ours, so that a run can be repeated. */
  #chance(): number {
    this.#random = (this.#random + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(this.#random ^ (this.#random >>> 15), 1 | this.#random);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** Within a tenth. */
  #about(ms: number): number {
    return ms * (0.9 + this.#chance() * 0.2);
  }

  #some<T>(items: readonly T[], count: number): readonly T[] {
    const rest = [...items];
    const picked = Math.min(count, rest.length);
    for (let at = 0; at < picked; at += 1) {
      const other = at + Math.floor(this.#chance() * (rest.length - at));
      const taken = rest[other];
      const here = rest[at];
      if (taken === undefined || here === undefined) break;
      rest[at] = taken;
      rest[other] = here;
    }
    return rest.slice(0, picked);
  }
}

type Linked = Contact & { readonly link: NonNullable<Contact["link"]> };

function isLinked(contact: Contact): contact is Linked {
  return contact.link !== undefined;
}

/** A member that signs records says whether it is linked with a node that it names; a reference node names what it knows. */
function withMention(
  known: ReadonlySet<EndpointId> | undefined,
  from: EndpointId,
  inContact: boolean | undefined,
): ReadonlySet<EndpointId> {
  if ((known?.has(from) ?? false) === (inContact ?? true)) return known ?? new Set();
  const mentionedBy = new Set(known);
  if (inContact ?? true) mentionedBy.add(from);
  else mentionedBy.delete(from);
  return mentionedBy;
}

/** Most mentions are: the record speaks for its owner, and for how long that is known. */
function isNoNews(known: Peer, { record, address, ownership }: Claim, mentionedBy: ReadonlySet<EndpointId>): boolean {
  return (
    known.record !== undefined &&
    known.role !== "client" &&
    (record === undefined || record === known.record || record.fields.seq < known.record.fields.seq) &&
    known.mentionedBy === mentionedBy &&
    (known.address !== undefined || address === undefined) &&
    (ownership === undefined || known.ownership !== undefined)
  );
}

/** Of a node that only others speak of: whether it is worth a dial. */
function hintedRole({ role }: Claim): Role {
  return role === "client" ? "client" : "worker";
}

/** What a record says of its owner; nothing, where it is of an older node that leaves that to gossip. */
export function signedDescription({
  fields,
}: VerifiedRecord): Partial<Pick<Peer, "role" | "models" | "runtimes" | "version" | "hostname">> {
  const { role, models = [], version, name } = fields;
  if (role === undefined) return {};
  return {
    role,
    models: models.map((model) => model.name),
    runtimes: models.map((model) => ({ name: model.name, contextLength: model.context, ready: true })),
    version,
    hostname: name,
  };
}

/** Whether two states of a peer look the same in the gossip that others get. */
function sameToOthers(a: Peer, b: Peer): boolean {
  return (
    a.met === b.met &&
    a.role === b.role &&
    a.hostname === b.hostname &&
    JSON.stringify([a.models, a.runtimes, a.address]) === JSON.stringify([b.models, b.runtimes, b.address])
  );
}

/**
 * Whether two records of a node differ in number, times and load alone. The owner tells its own connections of these; told
 * on at once by everybody who hears it, news of every other second would keep a whole mesh busy with gossip.
 */
function sameButLoad(a: RecordFields, b: RecordFields): boolean {
  return JSON.stringify(lastingOf(a)) === JSON.stringify(lastingOf(b));
}

function lastingOf(fields: RecordFields): readonly unknown[] {
  const { inferenceKey, keyNotAfterMs, capabilities, models = [], posture, role, version, name } = fields;
  const { addressDigest, credential, revokedGrants = [] } = fields;
  const served = models.map(({ name: model, context, kinds }) => [model, context, kinds]);
  const bytes = [inferenceKey, posture, addressDigest, credential, ...revokedGrants];
  return [keyNotAfterMs, capabilities, served, role, version, name, bytes.map((some) => some && toHex(some))];
}

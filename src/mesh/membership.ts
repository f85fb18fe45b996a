/**
 * Who is in the mesh and what is believed about them: a pure step, (state, event, now) -> (state, actions). No clock,
 * timer, socket or randomness; mesh.ts feeds it what happened and performs what it asks for.
 *
 * The rules that matter: an inference key is believed only from its owner's own connection or from a record its owner
 * signed; what third parties say points at a peer and never sets, replaces or removes a key (protocol.md §11 K1, K2, D2).
 */
import type { EndpointId } from "../base/brand.ts";
import { toHex } from "../base/bytes.ts";
import { compareRecords, type VerifiedRecord } from "../crypto/record.ts";
import type { KeyStanding } from "../policy/decide.ts";
import type { EndpointAddress } from "../wire/address.ts";
import type { ModelRuntime, Role } from "../wire/gossip.ts";
import type { Posture } from "../wire/posture.ts";
import type { RecordFields } from "../wire/record.ts";

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
  readonly key: AnnouncedKey;
  readonly record: VerifiedRecord | undefined;
  /** Field 38 as sent: a reference blob. Counts on its owner's own connection only. */
  readonly blob: Uint8Array | undefined;
  /** Field 28 as sent; it names the node that it is for, and who signed it. */
  readonly ownership: Uint8Array | undefined;
  /** Field 37, where there is one that can be read: unsigned, so it is shown on its owner's own connection and no more. */
  readonly saidPosture: Posture | undefined;
}

export interface Peer extends Omit<Claim, "key"> {
  /** Field 36 as its owner sent it; `absent` until then. */
  readonly announced: AnnouncedKey;
  /** Two records with one seq are around; its own connection decides. */
  readonly conflict: boolean;
  /** We completed a gossip exchange with it ourselves. */
  readonly met: boolean;
  /** Unix ms; 0 = never. */
  readonly lastSeenMs: number;
  readonly lastMentionedMs: number;
  /** Peers that named it in their gossip: where a relay to it may be found. */
  readonly mentionedBy: ReadonlySet<EndpointId>;
}

/** The most a peer ever showed; kept on disk, so that a key once shown cannot be stripped later (design.md §5). */
export type Shown = "key" | "record";

export interface Membership {
  readonly self: EndpointId;
  readonly peers: ReadonlyMap<EndpointId, Peer>;
  readonly shown: ReadonlyMap<EndpointId, Shown>;
  /** Peers that left or died, with the unix ms until which nobody else can bring them back. */
  readonly gone: ReadonlyMap<EndpointId, number>;
}

export type MembershipEvent =
  | { readonly kind: "gossip"; readonly from: EndpointId; readonly claims: readonly Claim[] }
  /** A record that was asked for; `owner` when its owner itself answered. */
  | { readonly kind: "record"; readonly record: VerifiedRecord; readonly owner: boolean }
  | { readonly kind: "left"; readonly id: EndpointId }
  | { readonly kind: "lost"; readonly id: EndpointId }
  /** The operator wants what this peer ever showed forgotten. */
  | { readonly kind: "forget"; readonly id: EndpointId }
  | { readonly kind: "tick" };

export type MembershipAction =
  | { readonly kind: "meet"; readonly id: EndpointId }
  /** Something that others relay has changed: gossip with everybody but `except`. */
  | { readonly kind: "announce"; readonly except: EndpointId | undefined }
  | { readonly kind: "remember"; readonly id: EndpointId; readonly shown: Shown }
  | { readonly kind: "joined"; readonly peer: Peer }
  | { readonly kind: "gone"; readonly id: EndpointId; readonly reason: "left" | "lost" | "expired" }
  | { readonly kind: "conflict"; readonly id: EndpointId };

export interface MembershipLimits {
  /** Peers held at most; further ones are ignored. */
  readonly peers: number;
  /** Neither seen nor mentioned for so long: forgotten, ms. */
  readonly forgetAfterMs: number;
  /** How long a peer that left or died is not taken over from others, ms. */
  readonly goneForMs: number;
}

export const membershipLimits: MembershipLimits = { peers: 4096, forgetAfterMs: 360_000, goneForMs: 300_000 };

export function emptyMembership(self: EndpointId, shown: ReadonlyMap<EndpointId, Shown>): Membership {
  return { self, peers: new Map(), shown, gone: new Map() };
}

export function step(
  state: Membership,
  event: MembershipEvent,
  nowMs: number,
  bounds: MembershipLimits = membershipLimits,
): { readonly state: Membership; readonly actions: readonly MembershipAction[] } {
  const draft = new Draft(state, nowMs, bounds);
  switch (event.kind) {
    case "gossip":
      for (const claim of event.claims) {
        if (claim.id === state.self) continue;
        if (claim.id === event.from) draft.ownClaim(claim);
        else draft.mention(claim, event.from);
      }
      break;
    case "record":
      draft.fetchedRecord(event.record, event.owner);
      break;
    case "left":
    case "lost":
      draft.remove(event.id, event.kind);
      break;
    case "forget":
      draft.forgetShown(event.id);
      break;
    case "tick":
      draft.forgetSilent();
      break;
  }
  return draft.done(event.kind === "gossip" ? event.from : undefined);
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

/** One step in the making: copies of what may change, and the actions so far. */
class Draft {
  readonly #before: Membership;
  readonly #nowMs: number;
  readonly #bounds: MembershipLimits;
  readonly #peers: Map<EndpointId, Peer>;
  readonly #shown: Map<EndpointId, Shown>;
  readonly #gone: Map<EndpointId, number>;
  readonly #actions: MembershipAction[] = [];
  #changed = false;

  constructor(state: Membership, nowMs: number, bounds: MembershipLimits) {
    this.#before = state;
    this.#nowMs = nowMs;
    this.#bounds = bounds;
    this.#peers = new Map(state.peers);
    this.#shown = new Map(state.shown);
    this.#gone = new Map(state.gone);
  }

  /** What a peer says about itself on its own connection. */
  ownClaim(claim: Claim): void {
    const known = this.#peers.get(claim.id);
    if (!known && this.#peers.size >= this.#bounds.peers) return;
    this.#gone.delete(claim.id);
    const { key, record, ...said } = claim;
    const peer: Peer = {
      ...said,
      address: claim.address ?? known?.address,
      record: known?.record,
      conflict: known?.conflict ?? false,
      announced: key,
      met: true,
      lastSeenMs: this.#nowMs,
      lastMentionedMs: known?.lastMentionedMs ?? 0,
      mentionedBy: known?.mentionedBy ?? new Set(),
    };
    this.#peers.set(peer.id, peer);
    if (!known || !sameToOthers(known, peer)) this.#changed = true;
    if (key.kind !== "absent") this.#remember(peer.id, "key");
    if (record) this.#takeRecord(record, true);
    if (!known?.met) this.#actions.push({ kind: "joined", peer: this.#peers.get(peer.id) ?? peer });
  }

  /** What one peer says about another: a hint where it is, and perhaps a record that speaks for itself. */
  mention(claim: Claim, from: EndpointId): void {
    if (this.#isGone(claim)) return;
    const known = this.#peers.get(claim.id);
    if (!known && this.#peers.size >= this.#bounds.peers) return;
    const { key: _hearsay, record, ...said } = claim;
    const peer: Peer = {
      // role and models of a peer that we talk to come from itself only
      ...(known?.met ? known : { ...said, address: claim.address ?? known?.address }),
      // checked when it came, so that it holds from anybody; leaving it out takes nothing away
      ownership: claim.ownership ?? known?.ownership,
      record: known?.record,
      conflict: known?.conflict ?? false,
      announced: known?.announced ?? { kind: "absent" },
      blob: known?.blob,
      saidPosture: known?.saidPosture,
      met: known?.met ?? false,
      lastSeenMs: known?.lastSeenMs ?? 0,
      lastMentionedMs: this.#nowMs,
      mentionedBy: new Set(known?.mentionedBy).add(from),
    };
    this.#peers.set(peer.id, peer);
    if (record) this.#takeRecord(record, false);
    if (!known) this.#actions.push({ kind: "meet", id: peer.id });
  }

  fetchedRecord(record: VerifiedRecord, owner: boolean): void {
    if (this.#peers.has(record.fields.endpointId)) this.#takeRecord(record, owner);
  }

  remove(id: EndpointId, reason: "left" | "lost" | "expired"): void {
    if (!this.#peers.delete(id)) return;
    if (reason !== "expired") this.#gone.set(id, this.#nowMs + this.#bounds.goneForMs);
    this.#actions.push({ kind: "gone", id, reason });
    this.#changed = true;
  }

  /** It may be asked in the clear again, until it shows a key anew. */
  forgetShown(id: EndpointId): void {
    this.#shown.delete(id);
  }

  forgetSilent(): void {
    for (const [id, until] of this.#gone) if (until <= this.#nowMs) this.#gone.delete(id);
    for (const peer of this.#peers.values()) {
      const last = Math.max(peer.lastSeenMs, peer.lastMentionedMs);
      if (last + this.#bounds.forgetAfterMs < this.#nowMs) this.remove(peer.id, "expired");
    }
  }

  done(source: EndpointId | undefined): { state: Membership; actions: readonly MembershipAction[] } {
    if (this.#changed) this.#actions.push({ kind: "announce", except: source });
    return {
      state: { self: this.#before.self, peers: this.#peers, shown: this.#shown, gone: this.#gone },
      actions: this.#actions,
    };
  }

  /** Whether the peer left or died and has not shown since that it lives. */
  #isGone({ id, record }: Claim): boolean {
    const until = this.#gone.get(id);
    if (until === undefined || until <= this.#nowMs) return false;
    // what it signed after it went says that it is back
    return record === undefined || record.fields.issuedAtMs <= until - this.#bounds.goneForMs;
  }

  #takeRecord(record: VerifiedRecord, owner: boolean): void {
    const peer = this.#peers.get(record.fields.endpointId);
    if (!peer) return;
    this.#remember(peer.id, "record");
    const relation = peer.record ? compareRecords(peer.record, record) : "newer";
    if (relation === "newer" || (owner && relation === "conflict")) {
      this.#peers.set(peer.id, { ...peer, record, conflict: false });
      if (peer.conflict || !peer.record || !sameButLoad(peer.record.fields, record.fields)) this.#changed = true;
    } else if (relation === "conflict" && !peer.conflict) {
      this.#peers.set(peer.id, { ...peer, conflict: true });
      this.#actions.push({ kind: "conflict", id: peer.id });
    } else if (owner && relation === "same" && peer.conflict) {
      this.#peers.set(peer.id, { ...peer, conflict: false });
    }
  }

  #remember(id: EndpointId, shown: Shown): void {
    const before = this.#shown.get(id);
    if (before === shown || before === "record") return;
    this.#shown.set(id, shown);
    this.#actions.push({ kind: "remember", id, shown });
  }
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
  const { inferenceKey, keyNotAfterMs, capabilities, models = [], posture } = fields;
  const served = models.map(({ name, context, kinds }) => [name, context, kinds]);
  return [inferenceKey && toHex(inferenceKey), keyNotAfterMs, capabilities, served, posture && toHex(posture)];
}

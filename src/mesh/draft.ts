/**
 * One step of the membership in the making: tables that change until it is done, time as the rules count it, chance, and
 * the actions so far. No rule is here; said.ts, gone.ts, reaching.ts and news.ts hold them, membership.ts calls them.
 */
import type { EndpointId } from "../base/brand.ts";
import type { VerifiedRecord } from "../crypto/record.ts";
import type { Role } from "../wire/gossip.ts";
import type { ChangeKind, Changes } from "./changes.ts";
import { type Contact, isLinked, type Linked } from "./contacts.ts";
import type { Gone, Membership, MembershipAction, MembershipLimits, News, Peer, Shown } from "./membership.ts";
import { Table } from "./table.ts";
import { digestKey } from "./telling.ts";

export class Draft {
  readonly self: EndpointId;
  readonly bounds: MembershipLimits;
  /** Unix ms: what records are measured by, and nothing else. */
  readonly clockMs: number;
  /** Of the watch. */
  readonly upMs: number;
  /** More has passed than a step may take: the machine slept. */
  readonly woke: boolean;
  readonly peers: Table<EndpointId, Peer>;
  readonly keys: Table<string, EndpointId>;
  readonly shown: Table<EndpointId, Shown>;
  readonly gone: Table<EndpointId, Gone>;
  readonly contacts: Table<EndpointId, Contact>;
  readonly refuted: Table<string, number>;
  readonly actions: MembershipAction[] = [];
  changes: Changes;
  role: Role;
  heartbeatAtMs: number;
  sweepAtMs: number;
  fillAtMs: number | undefined;
  news: News | undefined;
  newsToldMs: number;
  keepAtMs: number | undefined;
  random: number;

  /** Made when the table is full, see said.ts. */
  introduced: Map<EndpointId, EndpointId[]> | undefined;

  constructor(state: Membership, clockMs: number, bounds: MembershipLimits) {
    const { clockMs: lastMs, upMs } = state.watch;
    const passed = lastMs === undefined ? 0 : clockMs - lastMs;
    this.self = state.self;
    this.bounds = bounds;
    this.clockMs = clockMs;
    this.woke = passed > bounds.stepMs;
    this.upMs = lastMs === undefined ? clockMs : upMs + Math.min(Math.max(passed, 0), bounds.stepMs);
    this.peers = new Table(state.peers);
    this.keys = new Table(state.keys);
    this.shown = new Table(state.shown);
    this.gone = new Table(state.gone);
    this.contacts = new Table(state.contacts);
    this.refuted = new Table(state.refuted);
    this.changes = state.changes;
    this.role = state.role;
    this.random = state.random;
    // jitter keeps nodes that started together from speaking together
    this.heartbeatAtMs = state.heartbeatAtMs || this.upMs + this.about(bounds.heartbeatMs);
    this.sweepAtMs = state.sweepAtMs || this.upMs + bounds.sweepMs;
    this.fillAtMs = state.fillAtMs;
    this.news = state.news;
    this.newsToldMs = state.newsToldMs;
    this.keepAtMs = state.keepAtMs;
  }

  done(): { readonly state: Membership; readonly actions: readonly MembershipAction[] } {
    const state: Membership = {
      self: this.self,
      role: this.role,
      peers: this.peers.done(),
      keys: this.keys.done(),
      changes: this.changes,
      shown: this.shown.done(),
      gone: this.gone.done(),
      contacts: this.contacts.done(),
      refuted: this.refuted.done(),
      watch: { clockMs: this.clockMs, upMs: this.upMs },
      heartbeatAtMs: this.heartbeatAtMs,
      sweepAtMs: this.sweepAtMs,
      fillAtMs: this.fillAtMs,
      news: this.news,
      newsToldMs: this.newsToldMs,
      keepAtMs: this.keepAtMs,
      random: this.random,
    };
    return { state, actions: this.actions };
  }

  // ---- tables

  setPeer(peer: Peer): void {
    this.peers.set(peer.id, peer);
    this.keys.set(digestKey(peer.id), peer.id);
  }

  deletePeer(id: EndpointId): void {
    this.peers.delete(id);
    this.keys.delete(digestKey(id));
    this.changed(id, "link");
  }

  /** What others would be told of it is another than before. */
  changed(id: EndpointId, kind: ChangeKind): void {
    this.changes = this.changes.with(id, kind);
  }

  /** A link with it has begun or ended. */
  relinked(id: EndpointId): void {
    const peer = this.peers.get(id);
    this.changed(id, peer?.record && peer.role !== "client" ? "link" : "entry");
  }

  links(): readonly Linked[] {
    return this.contacts.values().filter(isLinked);
  }

  /** Links that pass news on: clients are told what is ours, and nothing else of it. */
  memberLinks(): readonly Linked[] {
    return this.links().filter(({ id }) => this.peers.get(id)?.role !== "client");
  }

  isLinkedWith(id: EndpointId): boolean {
    return this.contacts.get(id)?.link !== undefined;
  }

  /** Kept for good, so that a key once shown cannot be stripped later. */
  remember(id: EndpointId, shown: Shown): void {
    const before = this.shown.get(id);
    if (before === shown || before === "record") return;
    this.shown.set(id, shown);
    this.actions.push({ kind: "remember", id, shown });
  }

  gossipWith(id: EndpointId): void {
    this.actions.push({ kind: "gossip", to: id });
  }

  keepSoon(): void {
    this.keepAtMs ??= this.upMs + this.bounds.keepAfterMs;
  }

  // ---- chance

  /** In [0, 1): a small generator (mulberry32) whose state is part of ours, so that a run can be repeated. */
  chance(): number {
    this.random = (this.random + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(this.random ^ (this.random >>> 15), 1 | this.random);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** Within a tenth. */
  about(ms: number): number {
    return ms * (0.9 + this.chance() * 0.2);
  }

  /** So many of them at most, in any order. */
  some<T>(items: readonly T[], count: number): readonly T[] {
    const rest = [...items];
    const picked = Math.min(count, rest.length);
    for (let at = 0; at < picked; at += 1) {
      const other = at + Math.floor(this.chance() * (rest.length - at));
      const taken = rest[other];
      const here = rest[at];
      if (taken === undefined || here === undefined) break;
      rest[at] = taken;
      rest[other] = here;
    }
    return rest.slice(0, picked);
  }
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

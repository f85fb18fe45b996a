/**
 * Many nodes in memory on a clock of their own: the real membership rules (mesh/membership.ts, mesh/telling.ts), and a
 * network that takes time, loses, repeats and is cut. No sockets and no bytes; their number is reckoned. The same seed
 * gives the same run.
 */
import { type EndpointId, endpointIdFromBytes } from "../../src/base/brand.ts";
import type { VerifiedRecord } from "../../src/crypto/record.ts";
import {
  type Claim,
  dueInMs,
  emptyMembership,
  type Known,
  type Membership,
  type MembershipAction,
  type MembershipEvent,
  membershipLimits,
  type MembershipLimits,
  step,
} from "../../src/mesh/membership.ts";
import { type Said, tellingFor } from "../../src/mesh/telling.ts";
import type { EndpointAddress } from "../../src/wire/address.ts";
import type { KnownRecords } from "../../src/wire/gossip.ts";

export interface SimulationOptions {
  readonly seed: number;
  readonly rules?: Partial<MembershipLimits>;
  /** One way, ms. */
  readonly latencyMs?: readonly [least: number, most: number];
  /** Share of gossip exchanges and dials that get lost. */
  readonly loss?: number;
  /** Share of gossip frames that arrive once more, later. */
  readonly repeated?: number;
  /** Bytes of an entry with its record, as encoded: reckoned for each. */
  readonly entryBytes?: number;
}

export interface SimulatedNode {
  readonly id: EndpointId;
  readonly index: number;
  state: Membership;
  alive: boolean;
  /** What its clock shows beside the true time, ms. */
  skewMs: number;
  record: VerifiedRecord;
  /** What it would find on its disk. */
  kept: readonly Known[];
  /** A part of the network; nodes of different parts do not reach each other. */
  part: number;
  /** When it was stopped, ms; undefined while it runs. */
  deadSinceMs: number | undefined;
  readonly connections: Map<EndpointId, SimulatedConnection>;
  sent: number;
  sentBytes: number;
  dials: number;
}

interface SimulatedConnection {
  readonly ends: readonly [SimulatedNode, SimulatedNode];
  open: boolean;
}

/** QUIC's idle time: how long it takes until a peer that has vanished is noticed, ms. */
const idleMs = 30_000;
const dialTimeoutMs = 3_000;
const gossipTimeoutMs = 10_000;
const renewMs = 900_000;
const recordLifeMs = 3_600_000;
/** Of a frame, and of an item of its digest. */
const frameBytes = 60;
const digestItemBytes = 16;

export class SimulatedMesh {
  readonly nodes: SimulatedNode[] = [];
  readonly rules: MembershipLimits;
  #options: Required<Omit<SimulationOptions, "rules">>;
  readonly #byId = new Map<EndpointId, SimulatedNode>();
  readonly #queue = new Heap();
  readonly #claims = new WeakMap<VerifiedRecord, readonly [Claim, Claim]>();
  readonly #ticks = new Map<EndpointId, number>();
  #random: number;
  nowMs = 1_000_000_000_000;
  /** Called after each step of a node. */
  onStep: ((node: SimulatedNode, before: Membership) => void) | undefined;

  constructor({ rules = {}, ...options }: SimulationOptions) {
    this.#options = { latencyMs: [10, 60], loss: 0, repeated: 0, entryBytes: 1_500, ...options };
    this.rules = { ...membershipLimits, ...rules };
    this.#random = options.seed >>> 0;
  }

  get alive(): readonly SimulatedNode[] {
    return this.nodes.filter(({ alive }) => alive);
  }

  /** A new node, which looks for these; it has started when it returns. */
  add(seeds: readonly SimulatedNode[], skewMs = 0): SimulatedNode {
    const index = this.nodes.length;
    const bytes = new Uint8Array(32);
    new DataView(bytes.buffer).setUint32(0, Math.imul(index + 1, 2_654_435_761));
    new DataView(bytes.buffer).setUint32(4, index);
    const id = endpointIdFromBytes(bytes);
    const node: SimulatedNode = {
      id,
      index,
      state: emptyMembership(id, new Map()),
      alive: true,
      skewMs,
      record: this.#recordOf(id, skewMs, 0n),
      kept: [],
      part: 0,
      deadSinceMs: undefined,
      connections: new Map(),
      sent: 0,
      sentBytes: 0,
      dials: 0,
    };
    this.nodes.push(node);
    this.#byId.set(id, node);
    this.#start(node, seeds);
    return node;
  }

  /** Stops without a word. */
  kill(node: SimulatedNode): void {
    if (!node.alive) return;
    node.alive = false;
    node.deadSinceMs = this.nowMs;
    this.#cutSilently(node, () => true);
  }

  /** Says goodbye to those that it has a connection with, and stops. */
  leave(node: SimulatedNode): void {
    if (!node.alive) return;
    node.alive = false;
    node.deadSinceMs = this.nowMs;
    for (const connection of node.connections.values()) {
      const peer = otherEnd(connection, node);
      connection.open = false;
      node.connections.delete(peer.id);
      this.#later(this.#latency(), () => {
        if (peer.connections.get(node.id) === connection) peer.connections.delete(node.id);
        if (peer.alive) this.#apply(peer, { kind: "unlinked", id: node.id, why: "left" });
      });
    }
  }

  /** Runs again with what it kept; the operator names `seeds` anew. */
  restart(node: SimulatedNode, seeds: readonly SimulatedNode[] = []): void {
    if (node.alive) return;
    node.alive = true;
    node.deadSinceMs = undefined;
    node.state = emptyMembership(node.id, node.state.shown);
    node.record = this.#recordOf(node.id, node.skewMs, node.record.fields.seq);
    this.#start(node, seeds);
  }

  /** Who reaches whom from now on. */
  partition(partOf: (node: SimulatedNode) => number): void {
    for (const node of this.nodes) node.part = partOf(node);
    for (const node of this.alive) this.#cutSilently(node, (peer) => peer.part !== node.part);
  }

  heal(): void {
    for (const node of this.nodes) node.part = 0;
  }

  /** Nothing is lost or repeated from now on. */
  calm(): void {
    this.#options = { ...this.#options, loss: 0, repeated: 0 };
  }

  /** Lets the time pass. */
  run(ms: number): void {
    const until = this.nowMs + ms;
    for (let next = this.#queue.peek(); next && next.atMs <= until; next = this.#queue.peek()) {
      this.#queue.pop();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
    }
    this.nowMs = until;
  }

  /** Lets it pass until that holds. @returns ms that it took; undefined when it did not come to that */
  runUntil(holds: () => boolean, mostMs: number, everyMs = 1_000): number | undefined {
    const from = this.nowMs;
    while (this.nowMs - from <= mostMs) {
      if (holds()) return this.nowMs - from;
      this.run(everyMs);
    }
    return undefined;
  }

  /** Whether every running node knows the newest record of every other that runs. */
  isConverged(): boolean {
    const { alive } = this;
    return alive.every(({ state, id }) =>
      alive.every((other) => other.id === id || state.peers.get(other.id)?.record === other.record),
    );
  }

  /** Whether every running node knows every other that runs, by an older record too. */
  isComplete(): boolean {
    const { alive } = this;
    return alive.every(({ state, id }) => alive.every((other) => other.id === id || state.peers.has(other.id)));
  }

  chance(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random / 4_294_967_296;
  }

  #start(node: SimulatedNode, seeds: readonly SimulatedNode[]): void {
    const seed = Math.floor(this.chance() * 2 ** 32);
    this.#apply(node, { kind: "start", known: node.kept, seed, role: "worker" });
    for (const { id } of seeds) if (id !== node.id) this.#apply(node, { kind: "seek", address: addressOf(id) });
    const { record } = node;
    this.#renewLater(node, record);
  }

  #renewLater(node: SimulatedNode, record: VerifiedRecord): void {
    this.#later(renewMs * (0.9 + this.chance() * 0.2), () => {
      if (!node.alive || node.record !== record) return;
      node.record = this.#recordOf(node.id, node.skewMs, node.record.fields.seq);
      this.#apply(node, { kind: "news", role: "worker" });
      this.#renewLater(node, node.record);
    });
  }

  /** @param last number of the record before, which is on the node's disk */
  #recordOf(id: EndpointId, skewMs: number, last: bigint): VerifiedRecord {
    const issuedAtMs = Math.floor(this.nowMs) + skewMs;
    const notAfterMs = issuedAtMs + recordLifeMs;
    const seq = BigInt(issuedAtMs) > last ? BigInt(issuedAtMs) : last + 1n;
    const fields = { endpointId: id, seq, issuedAtMs, notAfterMs };
    const rest = { inferenceKey: undefined, keyNotAfterMs: undefined, capabilities: [], role: "worker" as const };
    return { fields: { ...fields, ...rest }, bytes: new Uint8Array(0), signed: new Uint8Array(0) };
  }

  // ---- the network

  #later(ms: number, run: () => void): void {
    this.#queue.push({ atMs: this.nowMs + ms, run });
  }

  #latency(): number {
    const [least, most] = this.#options.latencyMs;
    return least + this.chance() * (most - least);
  }

  #reaches(from: SimulatedNode, to: SimulatedNode): boolean {
    return from.alive && to.alive && from.part === to.part;
  }

  /** Connections end for both without a word: each side notices after a while. */
  #cutSilently(node: SimulatedNode, isCut: (peer: SimulatedNode) => boolean): void {
    for (const connection of node.connections.values()) {
      const peer = otherEnd(connection, node);
      if (isCut(peer) && connection.open)
        this.#later(idleMs * (0.8 + this.chance() * 0.2), () => this.#breakIfCut(connection));
    }
  }

  #breakIfCut(connection: SimulatedConnection): void {
    const [a, b] = connection.ends;
    if (connection.open && !this.#reaches(a, b)) this.#break(connection);
  }

  #break(connection: SimulatedConnection): void {
    if (!connection.open) return;
    connection.open = false;
    for (const node of connection.ends) {
      const peer = otherEnd(connection, node);
      if (node.connections.get(peer.id) !== connection) continue;
      node.connections.delete(peer.id);
      if (node.alive) this.#apply(node, { kind: "unlinked", id: peer.id, why: "lost" });
    }
  }

  #isLost(): boolean {
    return this.chance() < this.#options.loss;
  }

  // ---- what nodes do

  #apply(node: SimulatedNode, event: MembershipEvent): void {
    const before = node.state;
    const { state, actions } = step(before, event, this.nowMs + node.skewMs, this.rules);
    node.state = state;
    for (const action of actions) this.#perform(node, action);
    this.onStep?.(node, before);
    this.#tickSoon(node);
  }

  #tickSoon(node: SimulatedNode): void {
    const atMs = this.nowMs + Math.max(1, dueInMs(node.state, this.rules));
    const planned = this.#ticks.get(node.id);
    if (planned !== undefined && planned > this.nowMs && planned <= atMs) return;
    this.#ticks.set(node.id, atMs);
    this.#queue.push({
      atMs,
      run: () => {
        if (this.#ticks.get(node.id) !== atMs) return;
        this.#ticks.delete(node.id);
        if (node.alive) this.#apply(node, { kind: "tick" });
      },
    });
  }

  #perform(node: SimulatedNode, action: MembershipAction): void {
    if (action.kind === "dial") this.#dial(node, action.address.id);
    else if (action.kind === "gossip") this.#gossip(node, action.to);
    else if (action.kind === "keep") node.kept = action.known;
    else if (action.kind === "tell-down") for (const to of action.to) this.#tellDown(node, to, action.about);
  }

  #dial(node: SimulatedNode, id: EndpointId): void {
    const target = this.#byId.get(id);
    node.dials += 1;
    const failed = (): void => {
      this.#later(dialTimeoutMs, () => {
        if (node.alive) this.#apply(node, { kind: "dialed", id, reached: false });
      });
    };
    if (!target || !this.#reaches(node, target) || this.#isLost()) return failed();
    this.#later(3 * this.#latency(), () => {
      if (!this.#reaches(node, target)) return failed();
      if (!node.connections.get(id)?.open) {
        const connection: SimulatedConnection = { ends: [node, target], open: true };
        node.connections.set(id, connection);
        target.connections.set(node.id, connection);
      }
      this.#gossip(node, id, () => this.#apply(node, { kind: "dialed", id, reached: true }));
    });
  }

  #gossip(node: SimulatedNode, to: EndpointId, done?: () => void): void {
    const connection = node.connections.get(to);
    const peer = this.#byId.get(to);
    if (!connection?.open || !peer) {
      if (done) this.#apply(node, { kind: "dialed", id: to, reached: false });
      return;
    }
    const frame = this.#frameFrom(node, to);
    const timedOut = (): void => {
      this.#later(gossipTimeoutMs, () => {
        if (done && node.alive) this.#apply(node, { kind: "dialed", id: to, reached: false });
        this.#break(connection);
      });
    };
    if (!this.#reaches(node, peer) || this.#isLost()) return timedOut();
    const arrive = (): void => {
      if (!connection.open || !this.#reaches(node, peer)) return timedOut();
      this.#hear(peer, node, frame);
      const reply = this.#frameFrom(peer, node.id);
      this.#later(this.#latency(), () => {
        if (!connection.open || !this.#reaches(node, peer)) return timedOut();
        this.#apply(peer, { kind: "told", to: node.id, marks: reply.marks });
        this.#apply(node, { kind: "told", to, marks: frame.marks });
        this.#hear(node, peer, reply);
        done?.();
      });
    };
    this.#later(this.#latency(), arrive);
    if (this.chance() < this.#options.repeated) {
      this.#later(20 * this.#latency(), () => {
        if (connection.open && this.#reaches(node, peer)) this.#hear(peer, node, frame);
      });
    }
  }

  #hear(node: SimulatedNode, from: SimulatedNode, { claims, knows }: Frame): void {
    const linked = node.connections.get(from.id)?.open ?? false;
    // what has ended, or lies too far ahead, is no record
    const now = this.nowMs + node.skewMs;
    const valid = claims.map((claim) => {
      const { notAfterMs = now, issuedAtMs = 0 } = claim.record?.fields ?? {};
      return notAfterMs >= now && issuedAtMs <= now + 300_000 ? claim : { ...claim, record: undefined };
    });
    this.#apply(node, { kind: "gossip", from: from.id, claims: valid, linked, knows });
  }

  #frameFrom(node: SimulatedNode, to: EndpointId): Frame {
    const { entries, marks, knows } = tellingFor(node.state, to, this.nowMs + node.skewMs);
    const others = entries.map(({ peer, inContact }) => this.#claim(peer.id, peer.record, inContact));
    const claims = [...others, this.#claim(node.id, node.record, true)];
    node.sent += 1;
    node.sentBytes += frameBytes + claims.length * this.#options.entryBytes + (knows?.size ?? 0) * digestItemBytes;
    return { claims, marks, knows };
  }

  /** The same object for the same words: there are millions of them. */
  #claim(id: EndpointId, record: VerifiedRecord | undefined, inContact: boolean): Claim {
    const made = record && this.#claims.get(record)?.[inContact ? 1 : 0];
    if (made || !record) return made ?? claimOf(id, record, inContact);
    const both = [claimOf(id, record, false), claimOf(id, record, true)] as const;
    this.#claims.set(record, both);
    return both[inContact ? 1 : 0];
  }

  #tellDown(node: SimulatedNode, to: EndpointId, about: EndpointId): void {
    const peer = this.#byId.get(to);
    node.sent += 1;
    node.sentBytes += frameBytes;
    if (!peer || this.#isLost()) return;
    this.#later(this.#latency(), () => {
      if (node.connections.get(to)?.open && this.#reaches(node, peer)) {
        this.#apply(peer, { kind: "peer-down", from: node.id, about });
      }
    });
  }
}

interface Frame {
  readonly claims: readonly Claim[];
  readonly marks: Said;
  readonly knows: KnownRecords | undefined;
}

function otherEnd({ ends: [a, b] }: SimulatedConnection, node: SimulatedNode): SimulatedNode {
  return a === node ? b : a;
}

function addressOf(id: EndpointId): EndpointAddress {
  return {
    id,
    relays: [],
    direct: [
      `10.${Number.parseInt(id.slice(8, 12), 16) % 256}.${Number.parseInt(id.slice(12, 14), 16)}.${Number.parseInt(id.slice(14, 16), 16)}:1`,
    ],
  };
}

function claimOf(id: EndpointId, record: VerifiedRecord | undefined, inContact: boolean | undefined): Claim {
  return {
    id,
    role: "worker",
    models: [],
    runtimes: [],
    version: undefined,
    hostname: undefined,
    address: addressOf(id),
    addressSigned: true,
    key: { kind: "absent" },
    record,
    blob: undefined,
    ownership: undefined,
    saidPosture: undefined,
    inContact,
  };
}

interface Planned {
  readonly atMs: number;
  readonly run: () => void;
}

/** What is due first comes out first. */
class Heap {
  readonly #items: Planned[] = [];

  peek(): Planned | undefined {
    return this.#items[0];
  }

  push(item: Planned): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent];
      if (!above || above.atMs <= item.atMs) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): Planned | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (!first || !last || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = items[child];
      if (!left) break;
      const right = items[child + 1];
      let below = left;
      if (right && right.atMs < left.atMs) {
        child += 1;
        below = right;
      }
      if (below.atMs >= last.atMs) break;
      items[at] = below;
      at = child;
    }
    items[at] = last;
    return first;
  }
}

/** Events for the membership machine, short enough to read a story in them. Records are not signed: it never checks them. */
import { type EndpointId, endpointId } from "../../src/base/brand.ts";
import { toHex } from "../../src/base/bytes.ts";
import type { VerifiedRecord } from "../../src/crypto/record.ts";
import {
  type Claim,
  emptyMembership,
  type Membership,
  type MembershipAction,
  type MembershipEvent,
  membershipLimits,
  type MembershipLimits,
  step,
} from "../../src/mesh/membership.ts";
import type { EndpointAddress } from "../../src/wire/address.ts";
import type { KnownRecords } from "../../src/wire/gossip.ts";

/** The same name is the same node. */
export function idOf(name: string): EndpointId {
  const hex = toHex(new TextEncoder().encode(name));
  return endpointId(hex.padEnd(64, "0"));
}

export function addressOf(name: string, direct = "198.51.100.1:1"): EndpointAddress {
  return { id: idOf(name), relays: [], direct: [direct] };
}

export function recordOf(name: string, seq: number, issuedAtMs = 0): VerifiedRecord {
  const validity = { seq: BigInt(seq), issuedAtMs, notAfterMs: issuedAtMs + 3_600_000 };
  const fields = { endpointId: idOf(name), ...validity, inferenceKey: undefined, keyNotAfterMs: undefined };
  const bytes = new TextEncoder().encode(`${name} ${seq}`);
  return { fields: { ...fields, capabilities: [], role: "worker" }, bytes, signed: bytes };
}

export function claimOf(name: string, more: Partial<Claim> = {}): Claim {
  return {
    id: idOf(name),
    role: "worker",
    models: [],
    runtimes: [],
    version: undefined,
    hostname: undefined,
    address: addressOf(name),
    addressSigned: false,
    key: { kind: "absent" },
    record: undefined,
    blob: undefined,
    ownership: undefined,
    saidPosture: undefined,
    inContact: false,
    ...more,
  };
}

/** One node and what it was told; times are unix ms. */
export class Node {
  state: Membership = emptyMembership(idOf("self"), new Map());
  nowMs = 1;
  readonly bounds: MembershipLimits;

  constructor(bounds: Partial<MembershipLimits> = {}) {
    this.bounds = { ...membershipLimits, ...bounds };
  }

  take(event: MembershipEvent, afterMs = 0): readonly MembershipAction[] {
    this.nowMs += afterMs;
    const { state, actions } = step(this.state, event, this.nowMs, this.bounds);
    this.state = state;
    return actions;
  }

  /** Gossip of a node with a record of this number, on a connection. */
  hears(from: string, others: readonly Claim[] = [], { seq = 1, knows }: Heard = {}): readonly MembershipAction[] {
    const own = claimOf(from, { record: recordOf(from, seq) });
    return this.take({ kind: "gossip", from: idOf(from), claims: [...others, own], linked: true, knows });
  }

  /** Lets time pass in steps that a running node takes. Dials that are asked for fail, unless `reaches` says otherwise. */
  passes(ms: number, reaches: (id: EndpointId) => boolean = () => false): readonly MembershipAction[] {
    const done: MembershipAction[] = [];
    for (let left = ms; left > 0; left -= 500) {
      const actions = this.take({ kind: "tick" }, Math.min(500, left));
      done.push(...actions);
      for (const id of dialsIn(actions)) done.push(...this.take({ kind: "dialed", id, reached: reaches(id) }));
    }
    return done;
  }

  loses(name: string): void {
    this.take({ kind: "unlinked", id: idOf(name), why: "lost" });
  }

  knows(name: string): boolean {
    return this.state.peers.has(idOf(name));
  }
}

interface Heard {
  readonly seq?: number;
  readonly knows?: KnownRecords;
}

export function dialsIn(actions: readonly MembershipAction[]): readonly EndpointId[] {
  return actions.flatMap((action) => (action.kind === "dial" ? [action.address.id] : []));
}

export function gossipIn(actions: readonly MembershipAction[]): readonly EndpointId[] {
  return actions.flatMap((action) => (action.kind === "gossip" ? [action.to] : []));
}

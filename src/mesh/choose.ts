/** Which hosts to ask, best first, and which relays lead to one. Deterministic: the same facts give the same order. */
import type { EndpointId } from "../base/brand.ts";
import type { KeyStanding } from "../policy/decide.ts";
import type { RecordModel } from "../wire/record.ts";
import type { Peer } from "./membership.ts";
import type { Mesh } from "./mesh.ts";
import { everyRole, type Roles } from "./roles.ts";

export interface HostChoice {
  readonly id: EndpointId;
  readonly key: KeyStanding;
  /** Tokens that one request may use there; undefined when the host does not say. */
  readonly contextTokens: number | undefined;
}

/** How long it took a relay to reach a host. */
interface WayTime {
  readonly ms: number;
  /** Unix ms. */
  readonly measuredMs: number;
}

/** What a way took says something for so long, ms: networks change, and so does what a relay has to do. */
const wayTimeLifeMs = 600_000;
/** Ways whose time is remembered; those measured longest ago go first. */
const wayTimes = 1_024;
/** A host that could not be connected to is asked through relays first for so long, ms, unless a connection comes about. */
const farForMs = 60_000;

/**
 * What this node itself knows of hosts and relays: exchanges under way, who has just failed or sent us away, and how fast
 * relays reach hosts. What a relay would say of itself is not asked for: one that is full says so when it is asked.
 */
export class HostLoad {
  readonly #running = new Map<EndpointId, number>();
  readonly #avoided = new Map<EndpointId, number>();
  readonly #farUntil = new Map<EndpointId, number>();
  /** By relay and host, the latest measured last. */
  readonly #ways = new Map<string, WayTime>();

  of(host: EndpointId): number {
    return this.#running.get(host) ?? 0;
  }

  /** @returns counts it out again, once */
  add(host: EndpointId): () => void {
    this.#running.set(host, this.of(host) + 1);
    let counted = true;
    return () => {
      if (!counted) return;
      counted = false;
      const left = this.of(host) - 1;
      if (left === 0) this.#running.delete(host);
      else this.#running.set(host, left);
    };
  }

  /** Puts a host behind the others for some time; it is still asked when there is no other. @param untilMs unix ms */
  avoid(host: EndpointId, untilMs: number): void {
    this.#avoided.set(host, untilMs);
  }

  /** The host has answered: nothing speaks against it any more. */
  trust(host: EndpointId): void {
    this.#avoided.delete(host);
  }

  avoids(host: EndpointId, nowMs: number): boolean {
    return nowMs < (this.#avoided.get(host) ?? 0);
  }

  /** No connection to a host could be made. */
  missed(host: EndpointId, nowMs: number): void {
    this.#farUntil.set(host, nowMs + farForMs);
  }

  /** Whether that is so, as far as it was tried lately. */
  misses(host: EndpointId, nowMs: number): boolean {
    return nowMs < (this.#farUntil.get(host) ?? 0);
  }

  /** A relay has reached a host within `ms` after it was asked. */
  reached(relay: EndpointId, host: EndpointId, ms: number, nowMs: number): void {
    const way = `${relay} ${host}`;
    this.#ways.delete(way);
    this.#ways.set(way, { ms, measuredMs: nowMs });
    const [oldest] = this.#ways.keys();
    if (this.#ways.size > wayTimes && oldest !== undefined) this.#ways.delete(oldest);
  }

  /** The relay did not lead to the host, though it had. */
  unproven(relay: EndpointId, host: EndpointId): void {
    this.#ways.delete(`${relay} ${host}`);
  }

  /** What the way took last; undefined: not tried, or too long ago. */
  wayMs(relay: EndpointId, host: EndpointId, nowMs: number): number | undefined {
    const way = this.#ways.get(`${relay} ${host}`);
    return way && Math.abs(nowMs - way.measuredMs) < wayTimeLifeMs ? way.ms : undefined;
  }
}

export interface Wanted {
  readonly model: string;
  /** Estimate of the tokens of prompt and answer together; undefined when there is none. */
  readonly needTokens: number | undefined;
  /** Host of the conversation's earlier turns. */
  readonly preferred: EndpointId | undefined;
  /** Whether its owner is one that is preferred. @default all are alike */
  readonly isOwned?: (peer: Peer) => boolean;
  readonly load: HostLoad;
  readonly nowMs: number;
  /** @default everybody may answer */
  readonly roles?: Roles | undefined;
}

/** Round trips closer than this count as the same distance, ms. */
const rttStepMs = 20;
/** Distance assumed for a host that we have no connection to, in steps: behind every ordinary one. */
const unknownDistance = 50;
/** What the earlier turns of a conversation are worth: so many exchanges more may run with their host. */
const prefixWorth = 2;

/** What a record says its owner can do, beyond what every node can. */
export const relayCapability = "relay.v1";

/**
 * Hosts that serve exactly this model. Behind all others come those whose context the request does not seem to fit (it is
 * an estimate), then those that have just failed, then those of no preferred owner, then those without a free place, then those that do
 * not tell their context; among equals counts who is near and has little to do.
 */
export function orderHosts(mesh: Mesh, wanted: Wanted): readonly HostChoice[] {
  const { model, needTokens, preferred, isOwned = () => true, load, nowMs, roles = everyRole } = wanted;
  const hosts = mesh.peers.filter(
    (peer) => peer.role === "host" && peer.models.includes(model) && roles.mayAnswer(peer.id),
  );
  const isOnly = hosts.length === 1; // the transport need not be asked how far it is
  return hosts
    .map((peer) => {
      const { id } = peer;
      const told = modelOf(peer, model);
      const contextTokens = contextOf(peer, model);
      const rank = [
        contextTokens !== undefined && needTokens !== undefined && needTokens > contextTokens ? 1 : 0,
        load.avoids(id, nowMs) ? 1 : 0,
        isOwned(peer) ? 0 : 1,
        told?.busy ? 1 : 0,
        contextTokens === undefined ? 1 : 0,
        load.of(id) + (told?.queue ?? 0) + (isOnly ? 0 : distance(mesh, id)) - (id === preferred ? prefixWorth : 0),
      ];
      return { id, key: mesh.keyStanding(id), contextTokens, rank };
    })
    .toSorted((a, b) => compareRanks(a.rank, b.rank) || compareText(a.id, b.id));
}

/** What a peer's signed record says of one of its models. */
export function modelOf(peer: Peer, model: string): RecordModel | undefined {
  return peer.record?.fields.models?.find(({ name }) => name === model);
}

/** Tokens that one request to this model of a peer may use; from its record, else from its gossip. */
export function contextOf(peer: Peer, model: string): number | undefined {
  return modelOf(peer, model)?.context ?? peer.runtimes.find(({ name }) => name === model)?.contextLength;
}

/** What relays are weighed by, as far as it is known. */
export interface RelayFacts {
  /** @default nothing is known */
  readonly load?: HostLoad | undefined;
  /** Unix ms; needed beside `load`. */
  readonly nowMs?: number;
  /** @default everybody may carry */
  readonly roles?: Roles | undefined;
}

/** Whether relays come before the host's own connection: each try to make one costs seconds where there is no way. */
export function isFar(mesh: Mesh, host: EndpointId, load: HostLoad, nowMs: number): boolean {
  return load.misses(host, nowMs) && !mesh.isConnected(host);
}

/** Members that carry envelopes and have named the host, best first: they surely know it. */
export function relaysNaming(mesh: Mesh, host: EndpointId, facts: RelayFacts = {}): readonly EndpointId[] {
  const naming = namingOf(mesh, host);
  return relaysTo(mesh, host, facts).filter((id) => naming.has(id));
}

/**
 * Members to try as relays, best first. Behind all others come those that have just failed or were busy, then those that
 * have not named the host and may know it all the same; among equals counts how fast they reach it, and what runs through
 * them already.
 */
export function relaysTo(
  mesh: Mesh,
  host: EndpointId,
  { load, nowMs = 0, roles = everyRole }: RelayFacts = {},
): readonly EndpointId[] {
  const naming = namingOf(mesh, host);
  return mesh.peers
    .filter(({ id, met, record }) => {
      return id !== host && met && record?.fields.capabilities.includes(relayCapability) && roles.mayCarry(id);
    })
    .map(({ id }) => {
      const wayMs = load?.wayMs(id, host, nowMs);
      const rank = [
        load?.avoids(id, nowMs) ? 1 : 0,
        naming.has(id) ? 0 : 1,
        (load?.of(id) ?? 0) + (wayMs === undefined ? 2 * distance(mesh, id) : Math.floor(wayMs / rttStepMs)),
      ];
      return { id, rank };
    })
    .toSorted((a, b) => compareRanks(a.rank, b.rank) || compareText(a.id, b.id))
    .map(({ id }) => id);
}

function namingOf(mesh: Mesh, host: EndpointId): ReadonlySet<EndpointId> {
  return mesh.peer(host)?.mentionedBy ?? new Set();
}

/** Steps to a member itself. A way through a relay that was never tried is taken for twice as long. */
function distance(mesh: Mesh, id: EndpointId): number {
  const rtt = mesh.rttMs(id);
  return rtt === undefined ? unknownDistance : Math.floor(rtt / rttStepMs);
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Which hosts to ask, best first, and which relays lead to one. Deterministic: the same facts give the same order. */
import type { EndpointId } from "../base/brand.ts";
import type { KeyStanding } from "../policy/decide.ts";
import type { RecordModel } from "../wire/record.ts";
import type { Peer } from "./membership.ts";
import type { Mesh } from "./mesh.ts";

export interface HostChoice {
  readonly id: EndpointId;
  readonly key: KeyStanding;
  /** Tokens that one request may use there; undefined when the host does not say. */
  readonly contextTokens: number | undefined;
}

/** What this node itself knows of hosts: exchanges under way, and who has just failed or sent us away. */
export class HostLoad {
  readonly #running = new Map<EndpointId, number>();
  readonly #avoided = new Map<EndpointId, number>();

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
  const { model, needTokens, preferred, isOwned = () => true, load, nowMs } = wanted;
  return mesh.peers
    .filter((peer) => peer.role === "host" && peer.models.includes(model))
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
        load.of(id) + (told?.queue ?? 0) + distance(mesh, id) - (id === preferred ? prefixWorth : 0),
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

/** Members that carry envelopes and have named the host, nearest first: they surely know it. */
export function relaysNaming(mesh: Mesh, host: EndpointId): readonly EndpointId[] {
  const naming = mesh.peer(host)?.mentionedBy ?? new Set();
  return relays(mesh, host).filter((id) => naming.has(id));
}

/** Members to try as relays: first those that have named the host, then the others, which may know it all the same. */
export function relaysTo(mesh: Mesh, host: EndpointId): readonly EndpointId[] {
  const naming = relaysNaming(mesh, host);
  return [...naming, ...relays(mesh, host).filter((id) => !naming.includes(id))];
}

function relays(mesh: Mesh, host: EndpointId): readonly EndpointId[] {
  return mesh.peers
    .filter(({ id, met, record }) => id !== host && met && record?.fields.capabilities.includes(relayCapability))
    .map(({ id }) => ({ id, distance: distance(mesh, id) }))
    .toSorted((a, b) => a.distance - b.distance || compareText(a.id, b.id))
    .map(({ id }) => id);
}

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

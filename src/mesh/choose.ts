/** Which hosts to ask, best first, and which relays lead to one. Deterministic: the same facts give the same order. */
import type { EndpointId } from "../base/brand.ts";
import type { KeyStanding } from "../policy/decide.ts";
import type { Mesh } from "./mesh.ts";

export interface HostChoice {
  readonly id: EndpointId;
  readonly key: KeyStanding;
}

/** How many exchanges of ours run with each host. */
export class HostLoad {
  readonly #running = new Map<EndpointId, number>();

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
}

/** Round trips closer than this count as the same distance, ms. */
const rttStepMs = 20;
/** Distance assumed for a host that we have no connection to, in steps: behind every ordinary one. */
const unknownDistance = 50;

/** What a record says its owner can do, beyond what every node can. */
export const relayCapability = "relay.v1";

/** Hosts that serve exactly this model: fewest exchanges of ours per round-trip step first, then by id. */
export function orderHosts(mesh: Mesh, model: string, load: HostLoad): readonly HostChoice[] {
  const cost = (id: EndpointId): number => load.of(id) + distance(mesh, id);
  return mesh.peers
    .filter((peer) => peer.role === "host" && peer.models.includes(model))
    .map(({ id }) => ({ id, key: mesh.keyStanding(id), cost: cost(id) }))
    .toSorted((a, b) => a.cost - b.cost || compareText(a.id, b.id));
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

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The models of a mesh with the hosts behind them, read from a node's status: for `models` and `chat`. Pure. */
import { type Tier, tiers } from "../attest/verdict.ts";
import type { PeerStatus, Status } from "../node/status.ts";
import type { RouteWord, SealingWord } from "./words.ts";

/** One host of a model, by what the node that asks knows of it. */
export interface ModelHost {
  readonly endpoint_id: string;
  readonly name: string | null;
  readonly this_node: boolean;
  /** Whether a prompt may go there; of this node always. */
  readonly allowed: boolean;
  readonly route: RouteWord;
  readonly sealed: SealingWord;
  /** Null: this node, which proves itself nothing. */
  readonly tier: Tier | null;
  /** Tokens; null: not told. */
  readonly context_length: number | null;
}

export interface MeshModel {
  readonly id: string;
  /** This node first, then as the node lists its peers. */
  readonly hosts: readonly ModelHost[];
}

/** In the order of /v1/models. */
export function modelsOf(status: Pick<Status, "models" | "peers" | "engines" | "endpoint_id" | "name">): MeshModel[] {
  return status.models.map((id) => ({
    id,
    hosts: [...ownHost(status, id), ...status.peers.flatMap((peer) => peerHost(peer, id))],
  }));
}

/** Those that may be asked. */
export function askable({ hosts }: MeshModel): readonly ModelHost[] {
  return hosts.filter(({ allowed }) => allowed);
}

/** The different words among its hosts that may be asked, best first: a prompt may go to any of them. */
export function routesOf(model: MeshModel): readonly RouteWord[] {
  return among(
    ["local", "direct", "relay", "none"],
    askable(model).map(({ route }) => route),
  );
}

export function sealingsOf(model: MeshModel): readonly SealingWord[] {
  return among(
    ["local", "sealed", "plain", "refused"],
    askable(model).map(({ sealed }) => sealed),
  );
}

export function tiersOf(model: MeshModel): readonly Tier[] {
  return among(
    tiers.toReversed(),
    askable(model).flatMap(({ tier }) => (tier === null ? [] : [tier])),
  );
}

/** The smallest that is told: what any of them can take. */
export function contextOf(model: MeshModel): number | undefined {
  const told = askable(model).flatMap(({ context_length: size }) => (size === null ? [] : [size]));
  return told.length > 0 ? Math.min(...told) : undefined;
}

function among<T>(order: readonly T[], found: readonly T[]): readonly T[] {
  return order.filter((word) => found.includes(word));
}

function ownHost({ engines, endpoint_id: endpoint, name }: Parameters<typeof modelsOf>[0], id: string): ModelHost[] {
  const own = engines.flatMap(({ state, models }) => (state === "up" ? models : [])).find((model) => model.id === id);
  if (!own) return [];
  const local = { this_node: true, allowed: true, route: "local", sealed: "local", tier: null } as const;
  return [{ endpoint_id: endpoint, name, ...local, context_length: own.context_length }];
}

function peerHost(peer: PeerStatus, id: string): ModelHost[] {
  const told = peer.model_states.find((model) => model.id === id);
  if (!told) return [];
  const { endpoint_id, hostname: name, attestation, route, sealed } = peer;
  const { allowed, tier } = attestation;
  const { context_length } = told;
  return [{ endpoint_id, name, this_node: false, allowed, route, sealed, tier, context_length }];
}

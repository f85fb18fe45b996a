/**
 * Which model answers a request: the one that it names, or for "auto" one that is there, can do it and has room, the same
 * for all turns of a conversation. Hosts are chosen later, by exchange.ts.
 */
import type { EndpointId } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";
import type { EngineModel } from "../engine/engine.ts";
import type { Affinity } from "../mesh/affinity.ts";
import { contextOf, type HostLoad, modelOf } from "../mesh/choose.ts";
import type { Peer } from "../mesh/membership.ts";
import { type Need, needsOf, type RequestNeeds } from "../openai/conversation.ts";

/** The name that leaves the choice to this node. */
export const autoModel = "auto";

export interface Choice {
  /** Never "auto". */
  readonly model: string;
  /** Estimate of the tokens of prompt and answer together. */
  readonly needTokens: number;
  /** What the turns of one conversation have in common; undefined where there is none. */
  readonly conversation: string | undefined;
}

export interface RoutingParts {
  readonly self: EndpointId;
  /** Models of this machine, served now. */
  readonly ownModels: () => readonly EngineModel[];
  readonly peers: () => readonly Peer[];
  readonly load: HostLoad;
  readonly affinity: Affinity;
  readonly now: () => number;
}

/** One model at one machine. */
interface Candidate {
  readonly model: string;
  readonly host: EndpointId;
  readonly contextTokens: number | undefined;
  /** What it is known to do; empty = not told. */
  readonly kinds: readonly string[];
  readonly busy: boolean;
}

/**
 * @param asker the peer that asks; undefined for this machine. For a peer only our own models count: what was opened here
 *              is answered here.
 * @throws E_INPUT no model is named · E_NO_HOST "auto", and nobody serves anything · E_MODEL "auto", and no model is known
 *         to do what is asked
 */
export function choose(
  path: string,
  json: Readonly<Record<string, unknown>>,
  asker: EndpointId | undefined,
  parts: RoutingParts,
): Choice {
  const asked = json["model"];
  if (typeof asked !== "string" || asked === "") {
    throw new MeshError("E_INPUT", "name the model in the field `model`, or write auto", { param: "model" });
  }
  const needs = needsOf(path, json);
  const model = asked === autoModel ? pick(needs, asker, parts) : asked;
  return { model, needTokens: needs.tokens, conversation: needs.conversation };
}

function pick(needs: RequestNeeds, asker: EndpointId | undefined, parts: RoutingParts): string {
  const there = candidates(asker, parts);
  if (there.length === 0) {
    throw new MeshError("E_NO_HOST", "no machine serves a model at the moment", { retryAfterSeconds: 5 });
  }
  const able = there.filter(({ kinds }) => needs.kinds.every((need) => mayDo(kinds, need)));
  if (able.length === 0) {
    const what = needs.kinds.at(-1) ?? "chat";
    throw new MeshError("E_MODEL", `no model here is known to do ${what}; name the one to use`, { param: "model" });
  }
  const kept = parts.affinity.of(needs.conversation)?.model;
  if (kept !== undefined && able.some(({ model }) => model === kept)) return kept;
  const [best] = able.toSorted((a, b) => compare(rank(a, needs, parts), rank(b, needs, parts)));
  if (best === undefined) throw new MeshError("E_BUG", "no candidate is the best of several");
  if (needs.conversation !== undefined) parts.affinity.remember(needs.conversation, best);
  return best.model;
}

function candidates(asker: EndpointId | undefined, parts: RoutingParts): readonly Candidate[] {
  const { self, ownModels, peers } = parts;
  const own = ownModels().map(({ id, contextLength, kinds = [] }) => {
    return { model: id, host: self, contextTokens: contextLength, kinds, busy: false };
  });
  if (asker !== undefined) return own;
  const remote = peers()
    .filter(({ role }) => role === "host")
    .flatMap((peer) =>
      peer.models.map((model) => {
        const { kinds = [], busy = false } = modelOf(peer, model) ?? {};
        return { model, host: peer.id, contextTokens: contextOf(peer, model), kinds, busy };
      }),
    );
  return [...own, ...remote];
}

/** Whether it can, as far as is known. Who says nothing may do everything but embeddings, which few do. */
function mayDo(kinds: readonly string[], need: Need): boolean {
  if (kinds.length === 0) return need !== "embeddings";
  return kinds.includes(need === "text" ? "chat" : need);
}

/** Smaller is better, from the first difference on. */
function rank(
  candidate: Candidate,
  needs: RequestNeeds,
  { load, now, self }: RoutingParts,
): readonly (number | string)[] {
  const { model, host, contextTokens, kinds, busy } = candidate;
  return [
    contextTokens !== undefined && needs.tokens > contextTokens ? 1 : 0,
    load.avoids(host, now()) || busy ? 1 : 0,
    kinds.length === 0 ? 1 : 0,
    host === self ? 0 : 1,
    load.of(host),
    model,
    host,
  ];
}

function compare(a: readonly (number | string)[], b: readonly (number | string)[]): number {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? value;
    if (value !== other) return value < other ? -1 : 1;
  }
  return 0;
}

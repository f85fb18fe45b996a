/**
 * Which model answers a request: the one that it names, or for "auto" one that is there, can do it and has room, the same
 * for all turns of a conversation. Hosts are chosen later, by exchange.ts.
 */
import type { EndpointId } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import type { Affinity } from "../mesh/affinity.ts";
import { contextOf, type HostLoad, modelOf } from "../mesh/choose.ts";
import type { Peer } from "../mesh/membership.ts";
import { type Need, needsOf, type RequestNeeds } from "../openai/conversation.ts";
import type { RecordModel } from "../wire/record.ts";

/** The name that leaves the choice to this node. */
export const autoModel = "auto";

export interface Choice {
  /** Never "auto". */
  readonly model: string;
  /** Looked for when they are asked for, to choose a host by: our own engine takes what it gets. */
  readonly needs: () => RequestNeeds;
}

export interface RoutingParts {
  readonly self: EndpointId;
  /** Models of this machine, served now. */
  readonly ownModels: () => readonly RecordModel[];
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
  /** Whether the prompt would leave this machine in the clear. */
  readonly plain: boolean;
}

/**
 * @param asker the peer that asks; undefined for this machine. For a peer only our own models count: what was opened here
 *              is answered here.
 * @throws E_INPUT no model is named · E_NO_HOST "auto", and nobody serves anything · E_MODEL "auto", and no model is known
 *         to do what is asked
 */
export function choose(path: string, json: Json, asker: EndpointId | undefined, parts: RoutingParts): Choice {
  const asked = json["model"];
  if (typeof asked !== "string" || asked === "") {
    throw new MeshError("E_INPUT", "name the model in the field `model`, or write auto", { param: "model" });
  }
  let known: RequestNeeds | undefined;
  const needs = (): RequestNeeds => (known ??= needsOf(path, json));
  return { model: asked === autoModel ? pick(needs(), asker, parts) : asked, needs };
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
  // a peer's conversations are not kept: it would learn, and change, what those of this machine have that begin alike
  const conversation = asker === undefined ? needs.conversation : undefined;
  const kept = parts.affinity.of(conversation)?.model;
  const [best] = able.toSorted((a, b) => compare(rank(a, needs, kept, parts), rank(b, needs, kept, parts)));
  if (best === undefined) throw new MeshError("E_BUG", "no candidate is the best of several");
  if (best.model !== kept) parts.affinity.remember(conversation, best);
  return best.model;
}

function candidates(asker: EndpointId | undefined, parts: RoutingParts): readonly Candidate[] {
  const { self, ownModels, peers } = parts;
  const own = ownModels().map(({ name, context, kinds, busy }) => {
    return { model: name, host: self, contextTokens: context, kinds, busy, plain: false };
  });
  if (asker !== undefined) return own;
  const remote = peers()
    .filter(({ role }) => role === "host")
    .flatMap((peer) => {
      const plain = peer.record === undefined && peer.announced.kind !== "key";
      return peer.models.map((model) => {
        const { kinds = [], busy = false } = modelOf(peer, model) ?? {};
        return { model, host: peer.id, contextTokens: contextOf(peer, model), kinds, busy, plain };
      });
    });
  return [...own, ...remote];
}

/** Whether it can, as far as is known. Who says nothing may do everything but embeddings, which few do. */
function mayDo(kinds: readonly string[], need: Need): boolean {
  if (kinds.length === 0) return need !== "embeddings";
  return kinds.includes(need === "text" ? "chat" : need);
}

/** Smaller is better, from the first difference on. @param kept the model of the conversation's earlier turns */
function rank(
  candidate: Candidate,
  needs: RequestNeeds,
  kept: string | undefined,
  { load, now, self }: RoutingParts,
): readonly (number | string)[] {
  const { model, host, contextTokens, kinds, busy, plain } = candidate;
  return [
    plain ? 1 : 0, // as for a named model: in the clear only when there is nobody to seal to
    contextTokens !== undefined && needs.tokens > contextTokens ? 1 : 0,
    load.avoids(host, now()) ? 1 : 0,
    model === kept ? 0 : 1,
    busy ? 1 : 0,
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

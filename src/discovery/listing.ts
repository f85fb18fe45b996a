/**
 * Listings as they come from strangers: read with bounds, scored, put in order. Pure; for the kinds of discovery, which
 * know how a listing travels, and for node/finding.ts, which joins.
 *
 * Content of a listing (protocol.md §9.4), with a member of ours that others skip:
 *
 *   {"invite_token":..., "serving":[...], "wanted":[...], "on_disk":[...], "total_vram_bytes":0, "node_count":1,
 *    "client_count":0, "max_clients":0, "name":..., "region":..., "mesh_id":..., "sealmesh":{"invite_only":true,"v":1}}
 */
import { isRecord, type Json } from "../base/json.ts";
import { isMeshError, MeshError } from "../base/errors.ts";
import { withoutControls } from "../wire/gossip.ts";
import { decodeBareInvite, encodeInvite } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import type { Listing, Offer, Source } from "./discovery.ts";

/** Where a listing came from and how long it holds, by what carried it. */
export interface Carrier {
  readonly source: Source;
  /** Undefined: nobody signs there, the endpoint id stands for the publisher. */
  readonly publisher: string | undefined;
  readonly publishedAtMs: number;
  readonly expiresAtMs: number;
}

/** An invite that tells where and what is demanded, and holds nothing that admits. @throws E_INVITE */
export function bareToken(token: string): string {
  const { address, minimum } = decodeBareInvite(token);
  return encodeInvite(address, { policy: minimum });
}

/** @returns JSON of at most limits.listingBytes: lists are cut until it fits */
export function encodeListing(offer: Offer): string {
  for (let most: number = limits.listingModels; ; most = Math.floor(most / 2)) {
    const text = JSON.stringify(contentOf(offer, most));
    if (text.length <= limits.listingBytes / 3 || most === 0) return text; // a UTF-16 unit is three bytes at most
  }
}

function contentOf(offer: Offer, most: number): Json {
  const { meshName, region, meshId } = offer;
  return {
    invite_token: offer.token,
    serving: offer.serving.slice(0, most),
    wanted: offer.wanted.slice(0, most),
    on_disk: offer.onDisk.slice(0, most),
    total_vram_bytes: offer.totalVramBytes,
    node_count: offer.nodeCount,
    client_count: offer.clientCount,
    max_clients: offer.maxClients,
    ...(meshName === undefined ? {} : { name: meshName }),
    ...(region === undefined ? {} : { region }),
    ...(meshId === undefined ? {} : { mesh_id: meshId }),
    sealmesh: { invite_only: offer.inviteOnly, v: 1 },
  };
}

/**
 * @param content JSON text; more than limits.listingBytes is not looked at
 * @throws        E_WIRE no listing, or one that has ended · E_INVITE its token is none
 */
export function decodeListing(content: string, carrier: Carrier, nowMs: number): Listing {
  if (content.length > limits.listingBytes) throw new MeshError("E_WIRE", "a listing is too long");
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch (cause) {
    throw new MeshError("E_WIRE", "a listing is not JSON", { cause });
  }
  if (!isRecord(json)) throw new MeshError("E_WIRE", "a listing is not a JSON object");
  return listingFrom(json, carrier, nowMs);
}

/** The same from members that were read another way. */
export function listingFrom(json: Json, carrier: Carrier, nowMs: number): Listing {
  const { publishedAtMs, expiresAtMs } = carrier;
  if (expiresAtMs <= nowMs) throw new MeshError("E_WIRE", "a listing has ended");
  if (publishedAtMs > nowMs + limits.clockSkewMs) throw new MeshError("E_WIRE", "a listing is from the future");
  if (expiresAtMs > nowMs + limits.clockSkewMs + limits.listingLifeMs) {
    throw new MeshError("E_WIRE", "a listing wants to hold for too long");
  }
  const token = json["invite_token"];
  if (typeof token !== "string") throw new MeshError("E_WIRE", "a listing has no token");
  const { address, minimum } = decodeBareInvite(token);
  const ours = json["sealmesh"];
  return {
    token: encodeInvite(address, { policy: minimum }),
    endpointId: address.id,
    minimum,
    meshName: nameFrom(json["name"]),
    meshId: meshIdFrom(json["mesh_id"]),
    serving: namesFrom(json["serving"]),
    wanted: namesFrom(json["wanted"]),
    onDisk: namesFrom(json["on_disk"]),
    totalVramBytes: numberFrom(json["total_vram_bytes"], limits.listingVramBytes),
    nodeCount: Math.max(1, numberFrom(json["node_count"], limits.listingNodes)),
    clientCount: numberFrom(json["client_count"], limits.listingNodes),
    maxClients: numberFrom(json["max_clients"], limits.listingNodes),
    region: nameFrom(json["region"]),
    inviteOnly: isRecord(ours) && ours["invite_only"] === true,
    ...carrier,
    publisher: carrier.publisher ?? address.id,
  };
}

/** The listing, or undefined where there is none: what strangers send is no failure of ours. */
export function unlessUnreadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if (isMeshError(thrown)) return undefined;
    throw thrown;
  }
}

/** A text for people: without control characters; undefined when it is empty, too long or no text. */
function nameFrom(value: unknown): string | undefined {
  if (typeof value !== "string" || value.length > limits.nameBytes) return undefined;
  const text = withoutControls(value).trim();
  return text === "" ? undefined : text;
}

function namesFrom(value: unknown): readonly string[] {
  if (!Array.isArray(value)) return [];
  const names = value.slice(0, limits.listingModels).map(nameFrom);
  return [...new Set(names.filter((name) => name !== undefined))];
}

function meshIdFrom(value: unknown): string | undefined {
  return typeof value === "string" && /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/.test(value) ? value : undefined;
}

/** A whole number from 0 to `most`; anything else, negative and absurd ones too, is brought there. */
function numberFrom(value: unknown, most: number): number {
  if (typeof value !== "number" || Number.isNaN(value)) return 0;
  return Math.min(most, Math.max(0, Math.floor(value)));
}

// ---- choosing

/** What is looked for. */
export interface Wish {
  /** Exact but for case; undefined: unnamed meshes, and those that go by the common name. */
  readonly name: string | undefined;
  /** Mesh that this node was in before. */
  readonly lastMeshId?: string | undefined;
}

/** What mesh-llm calls a mesh for everybody. */
export const commonName = "mesh-llm";

/** Most that serving and wanted models may add: ten of each. Whoever lists thousands gains nothing over that. */
const countedModels = 10;
const countedNodes = 10;
const countedHeadroom = 20;

/** @see protocol.md §9.4 */
export function score(listing: Listing, { lastMeshId }: Pick<Wish, "lastMeshId">): number {
  const { meshName, meshId, nodeCount, clientCount, maxClients, serving, wanted } = listing;
  const common = meshName === undefined || sameName(meshName, commonName);
  const full = maxClients > 0 && clientCount >= maxClients;
  const headroom = maxClients === 0 ? countedHeadroom : Math.min(maxClients - clientCount, countedHeadroom);
  return (
    100 +
    (common ? 300 : 0) +
    (lastMeshId !== undefined && meshId === lastMeshId ? 500 : 0) +
    (full ? -1_000 : headroom) +
    5 * Math.min(nodeCount, countedNodes) +
    10 * Math.min(serving.length, countedModels) +
    15 * Math.min(wanted.length, countedModels)
  );
}

/**
 * Listings that fit the wish, best first: one for each publisher and for each node, limits.listingsPicked at most. Equals
 * stand in the order of their endpoint ids, so that all who look see the same one first.
 */
export function pick(listings: readonly Listing[], wish: Wish): readonly Listing[] {
  const fitting = listings
    .filter(({ meshName }) => fits(meshName, wish.name))
    .map((listing) => ({ listing, points: score(listing, wish) }))
    .toSorted((a, b) => b.points - a.points || compare(a.listing.endpointId, b.listing.endpointId));
  const picked: Listing[] = [];
  const taken = new Set<string>();
  for (const { listing } of fitting) {
    if (picked.length >= limits.listingsPicked) break;
    const marks = [`publisher ${listing.publisher}`, `node ${listing.endpointId}`];
    if (marks.some((mark) => taken.has(mark))) continue;
    for (const mark of marks) taken.add(mark);
    picked.push(listing);
  }
  return picked;
}

export function sameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function fits(name: string | undefined, wanted: string | undefined): boolean {
  if (wanted !== undefined) return name !== undefined && sameName(name, wanted);
  return name === undefined || sameName(name, commonName);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

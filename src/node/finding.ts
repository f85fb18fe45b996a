/**
 * How a node finds its mesh, as a pure step: (state, event, now) -> (state, actions). It decides when to look, which one
 * listing to dial next, when to give up and create, and whether to be listed. No clock, timer, socket or random in here:
 * node/finder.ts performs the actions and brings the events.
 *
 * Everybody runs the same command. The first finds nothing and creates; the others find it and join. Two that start at once
 * both create, see each other at the next look, and the smaller mesh joins the larger one. Listings are written by
 * strangers, so none makes us dial fast: one at a time, a few in a minute, and what failed is left alone for minutes.
 */
import type { EndpointId } from "../base/brand.ts";
import type { Listing } from "../discovery/discovery.ts";
import { pick } from "../discovery/listing.ts";
import type { MinimumPolicy } from "../wire/invite.ts";

export interface FindingSettings {
  readonly self: EndpointId;
  /** Of the mesh that this node is in when it has found none. */
  readonly meshId: string;
  /** Whether others' meshes are looked for: false with --publish alone, and in a mesh that needs an invite. */
  readonly looks: boolean;
  /** Name to look for; undefined: meshes for everybody. */
  readonly name: string | undefined;
  /** Whether this node starts a mesh where there is none: hosts do, clients go on looking. */
  readonly creates: boolean;
  /** Whether this node's mesh is listed. */
  readonly publishes: boolean;
  /** Listed before anything was looked for: --publish. */
  readonly publishesAtOnce: boolean;
  /** Whether we demand at least this of hosts. A mesh that wants more is not joined: we would be its weak spot. */
  readonly demands: (minimum: MinimumPolicy) => boolean;
  readonly timing: FindingTiming;
}

/** All in ms but the counts. */
export interface FindingTiming {
  /** After one's own mesh was created, the first look for another is between these two. */
  readonly firstLook: { readonly least: number; readonly most: number };
  /** Later ones, each as often as its place says; the last one stays. */
  readonly looks: readonly number[];
  /** The same for a node that has found nothing and creates nothing. */
  readonly searches: readonly number[];
  /** Without any member for so long, a node that was in a mesh looks again as at its start. */
  readonly aloneMs: number;
  readonly dialsPerMinute: number;
  /** A node that could not be joined is not tried again for so long. */
  readonly failedRestMs: number;
  /** Between two nodes that could both dial the other, the second one waits so long. */
  readonly politeMs: number;
  /** Members of one mesh that are listed. */
  readonly listedPerMesh: number;
}

export const findingTiming: FindingTiming = {
  firstLook: { least: 5_000, most: 15_000 },
  looks: [30_000, 60_000, 120_000, 300_000],
  searches: [3_000, 5_000, 10_000, 20_000, 30_000],
  aloneMs: 90_000,
  dialsPerMinute: 6,
  failedRestMs: 300_000,
  politeMs: 45_000,
  listedPerMesh: 3,
};

/** Nodes whose failure is remembered: the oldest go first. */
const failedMost = 256;
/** More nodes than this make a mesh no more attractive, or lies would. */
const countedNodes = 10;
/** Share of a wait that chance adds, so that nodes which started together do not look together. */
const jitterShare = 0.3;

export type Phase =
  /** Not in a mesh with anybody, and none created. */
  | "searching"
  /** In a mesh: found, or created and perhaps empty so far. */
  | "settled";

export interface Finding {
  readonly settings: FindingSettings;
  readonly phase: Phase;
  /** When to look next; undefined: a look is under way, or none is wanted. */
  readonly lookAtMs: number | undefined;
  /** Looks since the phase began. */
  readonly looks: number;
  readonly dialing: EndpointId | undefined;
  /** What the last look brought and was not tried yet, best first. */
  readonly candidates: readonly Listing[];
  /** Times of the last dials. */
  readonly dials: readonly number[];
  /** When each may be tried again. */
  readonly failed: ReadonlyMap<EndpointId, number>;
  readonly listed: boolean;
  readonly settledAtMs: number;
  /** Since when there is no other member; undefined: there is one. */
  readonly aloneSinceMs: number | undefined;
  /** Whether there was one since the last search began. */
  readonly hadMembers: boolean;
  /** Listings that could not be joined and why were told once. */
  readonly told: ReadonlySet<string>;
}

/** What the node knows of its mesh now. */
export interface MeshNow {
  /** Members that were met, without us. */
  readonly members: ReadonlySet<EndpointId>;
}

export type FindingEvent = (
  | { readonly kind: "start" }
  | { readonly kind: "tick" }
  /** The end of a look; empty also when nobody could be asked. */
  | { readonly kind: "found"; readonly listings: readonly Listing[] }
  | { readonly kind: "joined"; readonly id: EndpointId }
  | { readonly kind: "failed"; readonly id: EndpointId }
) & {
  readonly mesh: MeshNow;
  /** Chance, from 0 to 1. */
  readonly jitter: number;
};

export type FindingAction =
  | { readonly kind: "look" }
  | { readonly kind: "dial"; readonly listing: Listing }
  | { readonly kind: "create" }
  | { readonly kind: "list" }
  | { readonly kind: "unlist" }
  /** Nothing was found by this look, and we go on looking. */
  | { readonly kind: "nothing-found" }
  | { readonly kind: "not-joined"; readonly listing: Listing; readonly why: "needs-invite" | "demands-more" };

export interface FindingStep {
  readonly state: Finding;
  readonly actions: readonly FindingAction[];
}

export function newFinding(settings: FindingSettings): Finding {
  return {
    settings,
    phase: settings.looks && !settings.publishesAtOnce ? "searching" : "settled",
    lookAtMs: undefined,
    looks: 0,
    dialing: undefined,
    candidates: [],
    dials: [],
    failed: new Map(),
    listed: false,
    settledAtMs: 0,
    aloneSinceMs: undefined,
    hadMembers: false,
    told: new Set(),
  };
}

/** @param now Unix time, ms */
export function findingStep(before: Finding, event: FindingEvent, now: number): FindingStep {
  const state = noteMembers(before, event.mesh, now);
  switch (event.kind) {
    case "start":
      return started(state, event, now);
    case "tick":
      return ticked(state, event, now);
    case "found":
      return found(state, event, event.listings, now);
    case "joined":
      return joined({ ...state, dialing: undefined, candidates: [] }, event, now);
    case "failed":
      return failed(state, event, event.id, now);
  }
}

function started(state: Finding, event: FindingEvent, now: number): FindingStep {
  if (state.phase === "searching") return event.mesh.members.size > 0 ? settle(state, event, now) : look(state);
  return settle(state, event, now, [{ kind: "create" }]);
}

function ticked(state: Finding, event: FindingEvent, now: number): FindingStep {
  const { settings, phase, aloneSinceMs, lookAtMs, dialing } = state;
  if (!settings.looks) return { state, actions: [] };
  if (phase === "searching" && event.mesh.members.size > 0) return settle(state, event, now); // somebody joined us
  if (dialing === undefined && state.candidates.length > 0) return dialNext(state, event, now);
  const alone = aloneSinceMs !== undefined && now - aloneSinceMs >= settings.timing.aloneMs;
  // the mesh that we were in has gone; our own that nobody has joined yet is not lost
  if (phase === "settled" && alone && state.hadMembers) {
    const again: Finding = { ...state, hadMembers: false, looks: 0 };
    return look(settings.creates ? again : { ...again, phase: "searching" });
  }
  if (lookAtMs !== undefined && now >= lookAtMs && dialing === undefined) return look(state);
  return { state, actions: [] };
}

function look(state: Finding): FindingStep {
  return { state: { ...state, lookAtMs: undefined, looks: state.looks + 1 }, actions: [{ kind: "look" }] };
}

function found(state: Finding, event: FindingEvent, listings: readonly Listing[], now: number): FindingStep {
  const { settings, told } = state;
  const { members } = event.mesh;
  const others = listings.filter(
    ({ endpointId: id }) => id !== settings.self && !members.has(id) && (state.failed.get(id) ?? 0) <= now,
  );
  const wished = pick(others, { name: settings.name, lastMeshId: settings.meshId });
  const reasons = wished.flatMap((listing) => {
    const why = whyNotJoined(listing, settings);
    return why === undefined ? [] : [{ kind: "not-joined", listing, why } as const];
  });
  const news = reasons.filter(({ listing }) => !told.has(listing.endpointId));
  const candidates = wished.filter(
    (listing) => whyNotJoined(listing, settings) === undefined && isWorthJoining(listing, state, members.size, now),
  );
  const next: Finding = {
    ...state,
    candidates,
    told: new Set([...told, ...news.map(({ listing }) => listing.endpointId)].slice(-failedMost)),
  };
  const { state: listedState, actions: listing } = beListed(next, listings, members);
  const step = dialNext(listedState, event, now);
  return { state: step.state, actions: [...news, ...listing, ...step.actions] };
}

function whyNotJoined(
  { inviteOnly, minimum }: Listing,
  { demands }: FindingSettings,
): "needs-invite" | "demands-more" | undefined {
  if (inviteOnly) return "needs-invite";
  return minimum === undefined || demands(minimum) ? undefined : "demands-more";
}

/**
 * Without a mesh, any. With one, a mesh that wins against ours: more nodes, then the smaller id, so that of two nodes one
 * only gives way. In two halves of one named mesh the ids of nodes decide. Between equals the other side dials later if
 * nobody has come: not everybody who is listed looks, or can reach us.
 */
function isWorthJoining(listing: Listing, state: Finding, members: number, now: number): boolean {
  const { settings, listed, settledAtMs } = state;
  if (state.phase === "searching" || (members === 0 && !settings.creates)) return true;
  if (members > 0 && !listed) return false; // those of us who are listed do it: others would all come at once
  const isPatient = now - settledAtMs >= settings.timing.politeMs;
  if (listing.meshId === settings.meshId) return listing.endpointId < settings.self || isPatient;
  const theirs = Math.min(listing.nodeCount, countedNodes);
  const ours = Math.min(members + 1, countedNodes);
  if (theirs !== ours) return theirs > ours;
  return (listing.meshId !== undefined && listing.meshId < settings.meshId) || isPatient;
}

/** One dial, if there is somebody to dial and it is not too soon; with nobody left, what follows from that. */
function dialNext(state: Finding, event: FindingEvent, now: number): FindingStep {
  const { settings, candidates, failed: failures } = state;
  const dials = state.dials.filter((at) => now - at < 60_000);
  const waiting = candidates.filter(
    ({ endpointId: id, expiresAtMs }) =>
      (failures.get(id) ?? 0) <= now && !event.mesh.members.has(id) && expiresAtMs > now,
  );
  const [next, ...rest] = waiting;
  if (!next) return nobodyLeft({ ...state, dials, candidates: [] }, event, now);
  if (dials.length >= settings.timing.dialsPerMinute) {
    const mustCreate = state.phase === "searching" && settings.creates;
    // a crowd of listings that lead nowhere must not keep anybody from having a mesh
    if (mustCreate) return settle({ ...state, dials, candidates: [] }, event, now, [{ kind: "create" }]);
    return { state: { ...state, dials, candidates: waiting }, actions: [] };
  }
  return {
    state: { ...state, dials: [...dials, now], candidates: rest, dialing: next.endpointId },
    actions: [{ kind: "dial", listing: next }],
  };
}

function nobodyLeft(state: Finding, event: FindingEvent, now: number): FindingStep {
  if (state.phase === "settled") return { state: lookLater(state, event, now), actions: [] };
  if (state.settings.creates) return settle(state, event, now, [{ kind: "create" }]);
  return { state: lookLater(state, event, now), actions: [{ kind: "nothing-found" }] };
}

function joined(state: Finding, event: FindingEvent, now: number): FindingStep {
  if (state.phase === "searching") return settle(state, event, now);
  return { state: lookLater(state, event, now), actions: [] };
}

function failed(state: Finding, event: FindingEvent, id: EndpointId, now: number): FindingStep {
  const rests = new Map(state.failed);
  rests.delete(id);
  rests.set(id, now + state.settings.timing.failedRestMs);
  for (const oldest of rests.keys()) {
    if (rests.size <= failedMost) break;
    rests.delete(oldest);
  }
  return dialNext({ ...state, dialing: undefined, failed: rests }, event, now);
}

/** In a mesh from now on. */
function settle(state: Finding, event: FindingEvent, now: number, actions: readonly FindingAction[] = []): FindingStep {
  const { settings, listed } = state;
  const settled: Finding = {
    ...state,
    phase: "settled",
    looks: 0,
    settledAtMs: now,
    aloneSinceMs: undefined,
    listed: settings.publishes,
  };
  const listing: readonly FindingAction[] = settings.publishes && !listed ? [{ kind: "list" }] : [];
  return { state: lookLater(settled, event, now), actions: [...actions, ...listing] };
}

function lookLater(state: Finding, { jitter, mesh }: FindingEvent, now: number): Finding {
  const { settings, phase, looks } = state;
  if (!settings.looks) return state;
  // whoever is never listed has nothing to look for while there are others: relays need not hear of it
  if (phase === "settled" && !settings.publishes && mesh.members.size > 0) return { ...state, lookAtMs: undefined };
  const { firstLook, looks: later, searches } = settings.timing;
  if (phase === "settled" && looks === 0) {
    return { ...state, lookAtMs: now + firstLook.least + jitter * (firstLook.most - firstLook.least) };
  }
  const waits = phase === "settled" ? later : searches;
  const wait = waits[Math.min(looks - 1, waits.length - 1)] ?? firstLook.most;
  return { ...state, lookAtMs: now + wait * (1 + jitter * jitterShare) };
}

/** Not every member is listed: those with the smallest ids are, and others step in when they are gone. */
function beListed(state: Finding, listings: readonly Listing[], members: ReadonlySet<EndpointId>): FindingStep {
  const { settings, phase, listed } = state;
  if (!settings.publishes || phase === "searching") return { state, actions: [] };
  const before = new Set(
    listings.map(({ endpointId: id }) => id).filter((id) => members.has(id) && id < settings.self),
  );
  const wanted = before.size < settings.timing.listedPerMesh;
  if (wanted === listed) return { state, actions: [] };
  return { state: { ...state, listed: wanted }, actions: [{ kind: wanted ? "list" : "unlist" }] };
}

function noteMembers(state: Finding, { members }: MeshNow, now: number): Finding {
  if (members.size > 0) return { ...state, aloneSinceMs: undefined, hadMembers: true };
  return state.aloneSinceMs === undefined ? { ...state, aloneSinceMs: now } : state;
}

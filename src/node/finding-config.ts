/**
 * What --publish, --mesh-name, --auto, --discover and the settings beside them ask for, checked and brought into one form.
 * Where each comes from is for config.ts, the only caller.
 */
import { MeshError } from "../base/errors.ts";
import type { DiscoverySettings } from "../discovery/discovery.ts";
import { type DemandableTier, demandableTiers, type MinimumPolicy } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import { defaults } from "./defaults.ts";

/** How a node finds a mesh and is found. */
export interface FindingConfig extends DiscoverySettings {
  /** Whether meshes of others are looked for. */
  readonly looks: boolean;
  /** Name of the mesh; undefined: one for everybody. */
  readonly name: string | undefined;
  /** Whether the own mesh is listed, and whether before anything was looked for. */
  readonly publishes: boolean;
  readonly publishesAtOnce: boolean;
  /** Whether this node starts a mesh where none is found. */
  readonly creates: boolean;
  /** Found by name, joined with an invite. False: whoever finds the mesh is a member. */
  readonly inviteOnly: boolean;
  readonly region: string | undefined;
}

export interface FindingRequest {
  readonly mode: "serve" | "client";
  readonly publish: boolean;
  readonly meshName: string | undefined;
  readonly auto: boolean;
  /** true: without a name. */
  readonly discover: string | true | undefined;
  readonly inviteOnly: boolean;
  readonly region: string | undefined;
  /** @default those of defaults */
  readonly nostrRelays: readonly string[] | undefined;
  readonly lan: boolean;
}

/** @returns undefined when nothing of it is asked for @throws E_USAGE */
export function findingConfig(request: FindingRequest): FindingConfig | undefined {
  const { mode, publish, auto, discover, inviteOnly } = request;
  const name = nameOf(request);
  const seeks = auto || discover !== undefined;
  if (inviteOnly && !publish && request.meshName === undefined) {
    throw new MeshError("E_USAGE", "--invite-only says how a listed mesh is joined: give --publish or --mesh-name too");
  }
  if (inviteOnly && seeks) {
    throw new MeshError("E_USAGE", "--auto and --discover join without an invite: leave them or --invite-only out");
  }
  if (mode === "client" && (publish || inviteOnly)) {
    throw new MeshError("E_USAGE", "a client lists no mesh: --publish and --invite-only belong to `sealmesh serve`");
  }
  const looks = seeks || (name !== undefined && !inviteOnly);
  if (!looks && !publish && name === undefined) return undefined;
  const places = placesOf(request);
  if (places.nostrRelays.length === 0 && !places.lan) {
    throw new MeshError(
      "E_USAGE",
      "--nostr-relay none with --no-lan leaves nowhere to look for a mesh, or to list one",
    );
  }
  return {
    ...places,
    looks,
    name,
    publishes: mode === "serve",
    publishesAtOnce: mode === "serve" && !seeks && (publish || inviteOnly),
    creates: mode === "serve",
    inviteOnly,
    region: request.region === undefined ? undefined : checkedText(request.region, "--region"),
  };
}

/** Where listings are told and looked for. @throws E_USAGE */
export function placesOf({ nostrRelays, lan }: Pick<FindingRequest, "nostrRelays" | "lan">): DiscoverySettings {
  if (nostrRelays === undefined) return { nostrRelays: defaults.nostrRelays, lan };
  if (nostrRelays.length === 1 && nostrRelays[0] === "none") return { nostrRelays: [], lan };
  if (nostrRelays.length > defaults.nostrRelaysMost) {
    throw new MeshError("E_USAGE", `--nostr-relay may be given ${defaults.nostrRelaysMost} times at most`);
  }
  for (const url of nostrRelays) {
    if (!/^wss?:\/\/[^\s/@]+(?:\/\S*)?$/.test(url) || !URL.canParse(url)) {
      throw new MeshError(
        "E_USAGE",
        `--nostr-relay takes a URL such as wss://relay.example.org, or none, not "${url}"`,
      );
    }
  }
  return { nostrRelays: [...new Set(nostrRelays)], lan };
}

/** Whether what we demand of hosts ourselves is at least this. */
export function isMet(minimum: MinimumPolicy, own: OwnDemands): boolean {
  const rank = (tier: DemandableTier | undefined): number => (tier === undefined ? -1 : demandableTiers.indexOf(tier));
  return (
    rank(own.requireAttested) >= rank(minimum.attested) &&
    (own.requireEncryption || !minimum.encryption) &&
    (own.requireHardened || minimum.hardened !== true)
  );
}

/** As config.ts has it. */
export interface OwnDemands {
  readonly requireAttested: DemandableTier | undefined;
  readonly requireEncryption: boolean;
  readonly requireHardened: boolean;
}

function nameOf({ meshName, discover }: FindingRequest): string | undefined {
  const named = meshName === undefined ? undefined : checkedText(meshName, "--mesh-name");
  const wanted = typeof discover === "string" ? checkedText(discover, "--discover") : undefined;
  if (named !== undefined && wanted !== undefined && named !== wanted) {
    throw new MeshError("E_USAGE", "--discover and --mesh-name say two different names: give one of them");
  }
  return named ?? wanted;
}

/** Everybody reads it: no control characters, and short. */
function checkedText(text: string, flag: string): string {
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(text) || text.length > limits.nameBytes) {
    throw new MeshError("E_USAGE", `${flag} takes up to 64 letters, digits, blanks, dots, dashes and underscores`);
  }
  return text;
}

/**
 * Finding meshes: the one interface of all ways to do it, and what they exchange. What comes in was written by anybody: a
 * listing is a hint where to knock, never a reason to trust. Which one is joined is for node/finding.ts.
 */
import type { EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import type { MeshError } from "../base/errors.ts";
import type { MinimumPolicy } from "../wire/invite.ts";

export type Source = "nostr" | "lan";

/** What a node tells the world of its mesh. */
export interface Offer {
  /** Invite to the node that tells it: an address and what the mesh demands, never anything that admits. */
  readonly token: string;
  readonly meshName: string | undefined;
  /** 16 or 32 hex digits. */
  readonly meshId: string | undefined;
  /** Models that are answered, asked for, and on disk. */
  readonly serving: readonly string[];
  readonly wanted: readonly string[];
  readonly onDisk: readonly string[];
  readonly totalVramBytes: number;
  readonly nodeCount: number;
  readonly clientCount: number;
  /** 0: no limit. */
  readonly maxClients: number;
  readonly region: string | undefined;
  /** Found by name, joined with an invite only. */
  readonly inviteOnly: boolean;
}

/** An offer that was found: well-formed and bounded, and true only as far as its publisher is honest. */
export interface Listing extends Offer {
  /** Node behind the token. Whoever answers there has to prove the id. */
  readonly endpointId: EndpointId;
  /** What the token says that its mesh demands of all who join. */
  readonly minimum: MinimumPolicy | undefined;
  /** Hex of the key that signed the listing; where nothing is signed, the endpoint id. */
  readonly publisher: string;
  readonly source: Source;
  readonly publishedAtMs: number;
  readonly expiresAtMs: number;
}

export interface FindOptions {
  /** Longest wait for answers. */
  readonly ms: number;
  readonly signal: AbortSignal;
  /** Only meshes of this name, in any case. @default every mesh */
  readonly name?: string | undefined;
}

/** One way to find meshes and to be found, running. Nothing that others send makes it throw or take much memory. */
export interface Discovery {
  readonly source: Source;
  /** Tells the offer from now on, again and again, instead of the one before. @throws nobody took it, so far */
  announce(offer: Offer): Promise<void>;
  /** Ends that. Nobody is asked to forget: what was told ends by itself within two minutes. */
  withdraw(): Promise<void>;
  /** What is told now, newest of each publisher. @throws nobody could be asked */
  find(options: FindOptions): Promise<readonly Listing[]>;
  close(): Promise<void>;
}

export interface DiscoverySettings {
  /** wss:// or ws:// URLs; none: not used. */
  readonly nostrRelays: readonly string[];
  /** Whether this machine's own networks are used. */
  readonly lan: boolean;
}

export interface DiscoveryParts {
  readonly settings: DiscoverySettings;
  readonly clock: Clock;
  /** Secret key of 32 bytes that listings are signed with; borrowed. */
  readonly nostrKey: Uint8Array;
  /** Told when something fails in the background; what it says holds no text of others. */
  readonly onTrouble: (source: Source, error: MeshError) => void;
}

export interface DiscoveryKind {
  readonly source: Source;
  wanted(settings: DiscoverySettings): boolean;
  start(parts: DiscoveryParts): Discovery;
}

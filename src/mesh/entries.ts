/**
 * Entries of gossip frames: what this node writes about itself and about others, and how it takes what others write.
 *
 * @see protocol.md §3.2-3.4 · wire.md §1, §2
 */
import type { EndpointId } from "../base/brand.ts";
import { equal, fromBase64, toBase64 } from "../base/bytes.ts";
import { isUsableKey } from "../crypto/box.ts";
import { addressDigest, type VerifiedRecord } from "../crypto/record.ts";
import { judgeOwner, noOwnerTrust } from "../policy/owners.ts";
import type { EndpointAddress } from "../wire/address.ts";
import type { Announcement, GossipFrame, ModelRuntime, Role } from "../wire/gossip.ts";
import { decodePosture, type Posture } from "../wire/posture.ts";
import type { AnnouncedKey, Claim, Peer } from "./membership.ts";

/** What this node says about itself; asked for anew with every gossip. */
export interface SelfDescription {
  readonly role: Role;
  readonly models: readonly string[];
  readonly runtimes: readonly ModelRuntime[];
  readonly httpPort: number;
  readonly hostname: string | undefined;
  readonly version: string;
  /** Signed and fresh; its key is also field 36. */
  readonly record: VerifiedRecord;
  /** Reference blob for field 38, tied to that key; undefined where this machine makes none. */
  readonly blob?: Uint8Array | undefined;
  /** SignedBuildLists that it passes on, as received; the newest last. @default none */
  readonly buildLists?: readonly Uint8Array[];
  /** Undefined: not known so far. */
  readonly meshId?: string | undefined;
  /** Its owner's claim, valid now (field 28). @default none */
  readonly ownership?: Uint8Array | undefined;
}

/**
 * Whether field 37 may be sent on a connection, by what its peer says of itself there: later versions of mesh-llm give the
 * number another meaning, and would refuse the whole frame. They send no field 36 (protocol.md §3.3).
 */
export function takesPosture({ announcements, sender }: GossipFrame): boolean {
  return announcements.some(({ id, inferenceKey, record }) => {
    return id === sender && (inferenceKey !== undefined || record !== undefined);
  });
}

/** Field 3 of a relayed host entry: required by readers, dialed by nobody (protocol.md §3.2). */
const relayedHttpPort = 9337;

export interface OwnEntryParts {
  readonly id: EndpointId;
  readonly self: SelfDescription;
  readonly address: EndpointAddress;
  /** {@link takesPosture} */
  readonly withPosture: boolean;
  /** Of our transport, for a member; undefined: none. */
  readonly directOffer: Uint8Array | undefined;
}

export function ownEntry({ id, self, address, withPosture, directOffer }: OwnEntryParts): Announcement {
  const { role, httpPort, version, hostname, models, runtimes, record, blob, buildLists = [], ownership } = self;
  const said = { id, role, version, hostname, models, runtimes, address };
  const { inferenceKey, posture } = record.fields;
  return {
    ...entryOf(said, httpPort, inferenceKey, record),
    meshId: self.meshId,
    posture: withPosture && posture ? [posture] : [],
    evidence: blob,
    buildLists,
    ownership,
    ...(directOffer && { directOffer }),
  };
}

/** A peer's entry for others, and whether we are linked with it: what it said itself, its record and its owner's word byte for byte; never posture or evidence (protocol.md §3.4). */
export function relayedEntry(peer: Peer, inContact: boolean): Announcement {
  const { id, role, version, hostname, models, runtimes, address, record, announced } = peer;
  const said = { id, role, version, hostname, models, runtimes, address };
  const key = record?.fields.inferenceKey ?? (announced.kind === "key" ? announced.key : undefined);
  // an owner's word is signed and names the node: it is the same from everybody
  return {
    ...entryOf(said, role === "host" ? relayedHttpPort : undefined, key, record),
    ownership: peer.ownership,
    inContact,
  };
}

type Said = Pick<Announcement, "id" | "role" | "version" | "hostname" | "models" | "runtimes" | "address">;

function entryOf(
  said: Said,
  httpPort: number | undefined,
  key: Uint8Array | undefined,
  record: VerifiedRecord | undefined,
): Announcement {
  return {
    ...said,
    httpPort,
    meshId: undefined,
    inferenceKey: key && toBase64(key),
    ownership: undefined,
    posture: [],
    evidence: undefined,
    record: record?.bytes,
  };
}

/** @param record of the entry, undefined when it has none or one that does not hold */
export function claimOf(entry: Announcement, record: VerifiedRecord | undefined, nowMs: number): Claim {
  const { id, role, models, runtimes, version, hostname, address } = entry;
  // a record that does not hold still says that its sender seals, and in which way: it must turn neither into "no key"
  // nor into a reference host's key, whose answers would be read leniently (protocol.md §11 D1, wire.md §5)
  const unusable = entry.record !== undefined && record === undefined;
  const key: AnnouncedKey = unusable ? { kind: "bad" } : announcedKey(entry.inferenceKey);
  const { evidence: blob } = entry;
  // one that does not hold must not take the place of one that does
  const isOwned = judgeOwner(entry.ownership, id, noOwnerTrust, nowMs).status === "verified";
  const ownership = isOwned ? entry.ownership : undefined;
  const saidPosture = readPosture(entry.posture);
  const signed = record?.fields.addressDigest;
  const addressSigned = !!signed && !!address && equal(signed, addressDigest(address));
  const said = { id, role, models, runtimes, version, hostname, address, addressSigned };
  return { ...said, key, record, blob, ownership, saidPosture, inContact: entry.inContact };
}

/** The first item that is a posture: of another version's meaning none is, and costs nothing. */
function readPosture(items: readonly Uint8Array[]): Posture | undefined {
  for (const item of items) {
    try {
      return decodePosture(item);
    } catch {
      continue;
    }
  }
  return undefined;
}

function announcedKey(text: string | undefined): AnnouncedKey {
  if (text === undefined) return { kind: "absent" };
  try {
    const key = fromBase64(text, 32);
    return isUsableKey(key) ? { kind: "key", key } : { kind: "bad" };
  } catch {
    return { kind: "bad" };
  }
}

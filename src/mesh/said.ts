/**
 * What peers say: of themselves, which is taken as it is, and of others, which is a hint where to knock; and records,
 * which speak for their owners whoever brings them.
 *
 * @see protocol.md §3.4, §11 K1, K2, D2 · wire.md §2
 */
import type { EndpointId } from "../base/brand.ts";
import { toHex } from "../base/bytes.ts";
import { compareRecords, type VerifiedRecord } from "../crypto/record.ts";
import type { EndpointAddress } from "../wire/address.ts";
import type { Role } from "../wire/gossip.ts";
import type { RecordFields } from "../wire/record.ts";
import { newContact } from "./contacts.ts";
import { type Draft, signedDescription } from "./draft.ts";
import { staysGone } from "./gone.ts";
import type { Claim, Known, MembershipEvent, Peer } from "./membership.ts";
import { noteHeard, tell } from "./news.ts";
import { byIntroducer, linked, wantContact } from "./reaching.ts";
import { digestKey, type Heard, isWhole, saysLinked } from "./telling.ts";

/** What was known when this node last ran. */
export function fromDisk(draft: Draft, known: readonly Known[]): void {
  for (const { address, record } of known.slice(0, draft.bounds.remembered)) {
    const { id } = address;
    if (id === draft.self) continue;
    if (record) {
      draft.setPeer({ ...unknownPeer(draft, { id, address }, draft.self), ...signedDescription(record), record });
      draft.changed(id, "entry");
      draft.remember(id, "record");
    }
    const dialAtMs = draft.upMs + draft.chance() * 500;
    // who asks comes by itself, if it does not learn in the first seconds that we are here again
    const aim = record?.fields.role === "client" ? "revive" : "return";
    draft.contacts.set(id, newContact(id, draft.upMs, { address, met: true, aim, dialAtMs }));
  }
}

/** A gossip frame. */
export function heard(draft: Draft, event: Extract<MembershipEvent, { kind: "gossip" }>): void {
  const { from, claims, linked: isLinked, knows } = event;
  const own = claims.findLast(({ id }) => id === from);
  if (own) ownClaim(draft, own);
  if (isLinked && draft.peers.has(from)) linked(draft, from);
  const others = claims.filter(({ id }) => id !== draft.self && id !== from);
  // for whom there was no room has no say about others either
  if (own && !draft.peers.has(from)) return;
  let isNews = false;
  for (const claim of others) isNews = mention(draft, claim, from) || isNews;
  if (!draft.isLinkedWith(from)) return;
  const frame = { from, claims, knows };
  noteLinks(draft, frame);
  noteHeard(draft, frame);
  // there is more where this came from
  if (isNews && others.length >= draft.bounds.fullFrame) tell(draft, false, undefined);
}

/** What a peer says about itself on its own connection. */
function ownClaim(draft: Draft, claim: Claim): void {
  const known = draft.peers.get(claim.id);
  if (!known && !hasRoomFor(draft, claim.id)) return;
  draft.gone.delete(claim.id);
  const { key, record, inContact: _of, ...said } = claim;
  const peer: Peer = {
    ...said,
    address: claim.address ?? known?.address,
    record: known?.record,
    conflict: known?.conflict ?? false,
    announced: key,
    met: true,
    lastSeenMs: draft.upMs,
    lastMentionedMs: known?.lastMentionedMs ?? 0,
    newsMs: known?.newsMs ?? draft.upMs,
    doubted: false,
    mentionedBy: known?.mentionedBy ?? nobody,
    introducedBy: known?.introducedBy ?? claim.id,
  };
  draft.setPeer(peer);
  // what a record says is compared when there is another one
  const isSigned = record?.fields.role !== undefined && known?.met && known.record === record;
  if (!known || (!isSigned && !sameToOthers(known, peer))) {
    draft.changed(peer.id, "entry");
    tell(draft, false, peer.id);
  }
  if (key.kind !== "absent") draft.remember(peer.id, "key");
  if (record) takeRecord(draft, record, { owner: true, from: peer.id });
  if (!known?.met) draft.actions.push({ kind: "joined", peer: draft.peers.get(peer.id) ?? peer });
}

/** What one peer says about another: a hint where it is, and perhaps a record. @returns whether that was new */
function mention(draft: Draft, claim: Claim, from: EndpointId): boolean {
  const { id, record } = claim;
  if (staysGone(draft, claim, from)) return false;
  const known = draft.peers.get(id);
  if (!known && !hasRoomFor(draft, from)) return false;
  if (!known) draft.introduced?.get(from)?.push(id);
  draft.gone.delete(id);
  const mentionedBy = withMention(known?.mentionedBy, from, claim.inContact);
  if (known && isNoNews(known, claim, mentionedBy)) return false;
  const before = known ?? { ...unknownPeer(draft, claim, from), role: hintedRole(claim) };
  // signed, and by nothing older than what we have
  const isCurrent = claim.addressSigned && (record?.fields.seq ?? -1n) >= (known?.record?.fields.seq ?? 0n);
  const isBetter = isCurrent || !before.address;
  const address = isBetter ? (claim.address ?? before.address) : before.address;
  draft.setPeer({
    ...before,
    address,
    addressSigned: before.addressSigned || isCurrent,
    // checked when it came, so that it holds from anybody; it takes nothing away from what the node itself has shown
    ownership: (before.met ? before.ownership : undefined) ?? claim.ownership ?? before.ownership,
    lastMentionedMs: draft.upMs,
    doubted: before.doubted && !claim.inContact,
    mentionedBy,
  });
  const isNews = (record && takeRecord(draft, record, { owner: false, from })) || !known;
  const peer = draft.peers.get(id);
  if (peer && (!known || address !== known.address)) wantContact(draft, peer, known !== undefined);
  return isNews;
}

/** Who its sender is linked with, by its digest. A word about a node that we do not know names nobody that could be dialed. */
function noteLinks(draft: Draft, frame: Heard): void {
  const { from, claims, knows = new Map<string, bigint>() } = frame;
  for (const [key, item] of knows) {
    const id = draft.keys.get(key);
    if (id && id !== from) setMention(draft, id, from, saysLinked(item));
  }
  if (!isWhole(frame)) return;
  const named = new Set(claims.flatMap(({ id, inContact }) => (inContact ? [id] : [])));
  for (const { id, mentionedBy } of draft.peers.values()) {
    if (mentionedBy.has(from) && !named.has(id) && !knows.has(digestKey(id))) setMention(draft, id, from, false);
  }
}

function setMention(draft: Draft, id: EndpointId, from: EndpointId, isLinked: boolean): void {
  const peer = draft.peers.get(id);
  if (!peer || peer.mentionedBy.has(from) === isLinked) return;
  const doubted = peer.doubted && !isLinked;
  draft.setPeer({ ...peer, doubted, mentionedBy: withMention(peer.mentionedBy, from, isLinked) });
}

/** A record that was asked for. */
export function fetched(draft: Draft, record: VerifiedRecord, owner: boolean): void {
  takeRecord(draft, record, { owner, from: undefined });
}

/** @returns whether it is newer than what was known */
function takeRecord(
  draft: Draft,
  record: VerifiedRecord,
  { owner, from }: { readonly owner: boolean; readonly from: EndpointId | undefined },
): boolean {
  const peer = draft.peers.get(record.fields.endpointId);
  if (!peer) return false;
  draft.remember(peer.id, "record");
  const relation = peer.record ? compareRecords(peer.record, record) : "newer";
  if (relation === "newer" || (owner && relation === "conflict")) {
    draft.setPeer({
      ...peer,
      ...signedDescription(record),
      record,
      conflict: false,
      newsMs: draft.upMs,
      doubted: false,
    });
    draft.changed(peer.id, "entry");
    if (peer.conflict || !peer.record || !sameButLoad(peer.record.fields, record.fields)) tell(draft, false, from);
    draft.keepSoon();
    return true;
  }
  if (relation === "conflict" && !peer.conflict) {
    draft.setPeer({ ...peer, conflict: true });
    draft.actions.push({ kind: "conflict", id: peer.id });
  } else if (owner) {
    // the entry around it may have said something else
    draft.setPeer({ ...peer, ...signedDescription(peer.record ?? record), conflict: false });
    if (peer.conflict) draft.changed(peer.id, "entry");
  }
  return false;
}

/**
 * In a full table, one of the peers that nobody here has met gives way: one of whoever has introduced most of these. A frame
 * may name thousands, so the groups are made once in a step.
 */
function hasRoomFor(draft: Draft, introducer: EndpointId): boolean {
  if (draft.peers.size < draft.bounds.peers) return true;
  draft.introduced ??= introducedIn(draft);
  let most: EndpointId[] = [];
  for (const ids of draft.introduced.values()) if (ids.length > most.length) most = ids;
  const isOwn = !draft.peers.has(introducer); // it comes by itself
  if (!isOwn && most.length <= (draft.introduced.get(introducer)?.length ?? 0) + 1) return false;
  const oldest = most.shift();
  if (!oldest) return false;
  draft.deletePeer(oldest);
  draft.contacts.delete(oldest);
  return true;
}

/** Peers that we know from others alone, by who named them first; in each group those first that were named longest ago. */
function introducedIn(draft: Draft): Map<EndpointId, EndpointId[]> {
  const strangers = draft.peers.values().filter(({ id, met }) => !met && !draft.contacts.get(id)?.met);
  const groups = byIntroducer(strangers.toSorted((a, b) => a.lastMentionedMs - b.lastMentionedMs));
  return new Map([...groups].map(([introducer, peers]) => [introducer, peers.map(({ id }) => id)]));
}

const nobody: ReadonlySet<EndpointId> = new Set();

/** Somebody of whom nothing but the address is known yet. */
function unknownPeer(
  draft: Draft,
  { id, address }: { readonly id: EndpointId; readonly address: EndpointAddress | undefined },
  introducedBy: EndpointId,
): Peer {
  return {
    id,
    role: "worker",
    models: [],
    runtimes: [],
    version: undefined,
    hostname: undefined,
    blob: undefined,
    ownership: undefined,
    saidPosture: undefined,
    address,
    addressSigned: false,
    record: undefined,
    announced: { kind: "absent" },
    conflict: false,
    met: false,
    lastSeenMs: 0,
    lastMentionedMs: draft.upMs,
    newsMs: draft.upMs,
    doubted: false,
    mentionedBy: nobody,
    introducedBy,
  };
}

/** A member that signs records says whether it is linked with a node that it names; a reference node names what it knows. */
function withMention(
  known: ReadonlySet<EndpointId> | undefined,
  from: EndpointId,
  inContact: boolean | undefined,
): ReadonlySet<EndpointId> {
  if ((known?.has(from) ?? false) === (inContact ?? true)) return known ?? nobody;
  const mentionedBy = new Set(known);
  if (inContact ?? true) mentionedBy.add(from);
  else mentionedBy.delete(from);
  return mentionedBy;
}

/** Most mentions are: the record speaks for its owner, and for how long that is known. */
function isNoNews(known: Peer, { record, address, ownership }: Claim, mentionedBy: ReadonlySet<EndpointId>): boolean {
  return (
    known.record !== undefined &&
    known.role !== "client" &&
    (record === undefined || record === known.record || record.fields.seq < known.record.fields.seq) &&
    known.mentionedBy === mentionedBy &&
    (known.address !== undefined || address === undefined) &&
    (ownership === undefined || known.ownership !== undefined)
  );
}

/** Of a node that only others speak of: whether it is worth a dial. */
function hintedRole({ role }: Claim): Role {
  return role === "client" ? "client" : "worker";
}

/** Whether two states of a peer look the same in the gossip that others get. */
function sameToOthers(a: Peer, b: Peer): boolean {
  return (
    a.met === b.met &&
    a.role === b.role &&
    a.hostname === b.hostname &&
    (a.address === b.address || JSON.stringify(a.address) === JSON.stringify(b.address)) &&
    JSON.stringify([a.models, a.runtimes]) === JSON.stringify([b.models, b.runtimes])
  );
}

/**
 * Whether two records of a node differ in number, times and load alone. The owner tells its own connections of these; told
 * on at once by everybody who hears it, news of every other second would keep a whole mesh busy with gossip.
 */
function sameButLoad(a: RecordFields, b: RecordFields): boolean {
  return JSON.stringify(lastingOf(a)) === JSON.stringify(lastingOf(b));
}

function lastingOf(fields: RecordFields): readonly unknown[] {
  const { inferenceKey, keyNotAfterMs, capabilities, models = [], posture, role, version, name } = fields;
  const { addressDigest, credential, revokedGrants = [] } = fields;
  const served = models.map(({ name: model, context, kinds }) => [model, context, kinds]);
  const bytes = [inferenceKey, posture, addressDigest, credential, ...revokedGrants];
  return [keyNotAfterMs, capabilities, served, role, version, name, bytes.map((some) => some && toHex(some))];
}

/**
 * Control messages of "mesh-llm/1": gossip (stream 0x01), routes (0x05), peer down (0x06) and leaving (0x07), as domain
 * types. Layouts and field comments are in proto/node.proto, rules in protocol.md §3. All functions take and give the
 * protobuf bytes alone: stream type byte and length prefix are the caller's.
 *
 * Decoding says what a peer sent, not that it is true: an entry about a third node is hearsay, and its key, posture
 * and evidence must not be believed (protocol.md §11 K1).
 */
import { type MessageInitShape, create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { concat, empty, fromHex, readU64le, toHex, u64le, utf8 } from "../base/bytes.ts";
import { MeshError, unlessMeshError } from "../base/errors.ts";
import { type EndpointAddress, decodeAddress, encodeAddress } from "./address.ts";
import {
  GossipFrameSchema,
  NodeRole,
  PeerAnnouncementSchema,
  PeerDownSchema,
  PeerLeavingSchema,
  RouteTableRequestSchema,
  RouteTableSchema,
  type PeerAnnouncement,
} from "./gen/node_pb.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";
import { generation } from "./stream-types.ts";

export type Role = "worker" | "host" | "client";

export interface ModelRuntime {
  readonly name: string;
  /** Tokens; undefined = not said. */
  readonly contextLength: number | undefined;
  readonly ready: boolean;
}

/** What one entry of a gossip frame says about a node. */
export interface Announcement {
  readonly id: EndpointId;
  readonly role: Role;
  /** Always there for a host. */
  readonly httpPort: number | undefined;
  readonly version: string | undefined;
  readonly hostname: string | undefined;
  /** Models that can be asked for: hosted_models, or serving_models where the former is not known. */
  readonly models: readonly string[];
  readonly runtimes: readonly ModelRuntime[];
  /** Its id is `id`. Undefined when none was sent or it does not parse. */
  readonly address: EndpointAddress | undefined;
  readonly meshId: string | undefined;
  /** Field 36 as sent, not yet checked: text that is no key still means "this node seals". */
  readonly inferenceKey: string | undefined;
  /** Field 28 as sent: a SignedNodeOwnership; undefined also when it was longer than limits.ownershipBytes. */
  readonly ownership: Uint8Array | undefined;
  /** Field 37, each item as sent: a posture, or the subprotocols of a later mesh-llm. */
  readonly posture: readonly Uint8Array[];
  /** Field 38 as sent. */
  readonly evidence: Uint8Array | undefined;
  /** Field 1000 as sent: a SignedRecord. */
  readonly record: Uint8Array | undefined;
  /** Field 1001 as sent: SignedBuildLists that this node passes on, at most limits.buildListsPerFrame. @default none */
  readonly buildLists?: readonly Uint8Array[];
  /** Field 1002: whether the sender has a connection to it; absent = it does not say, as reference nodes. */
  readonly inContact?: boolean;
  /** Field 1003 as sent: where the sender itself may be reached faster; for the transport alone. @default none */
  readonly directOffer?: Uint8Array;
}

/** The first 16 hex digits of endpoint ids, and the number of the newest record of each that somebody has. */
export type KnownRecords = ReadonlyMap<string, bigint>;

export interface GossipFrame {
  readonly sender: EndpointId;
  /** The sender's own entry is last when a frame is written; a reader must not rely on it. */
  readonly announcements: readonly Announcement[];
  /** Field 1000; absent = not told. At most limits.digestItems. */
  readonly knownRecords?: KnownRecords;
}

export interface RouteEntry {
  readonly id: EndpointId;
  readonly model: string;
}

export interface RouteTable {
  readonly entries: readonly RouteEntry[];
  readonly meshId: string | undefined;
}

const roleNumbers: Readonly<Record<Role, NodeRole>> = {
  worker: NodeRole.WORKER,
  host: NodeRole.HOST,
  client: NodeRole.CLIENT,
};

/** @returns protobuf GossipFrame; entries in the order given */
export function encodeGossip(frame: GossipFrame): Uint8Array {
  const message = create(GossipFrameSchema, {
    gen: generation,
    peers: frame.announcements.map(announcementMessage),
    senderId: fromHex(frame.sender, 32),
    ...(frame.knownRecords ? { knownRecords: digestBytes(frame.knownRecords) } : {}),
  });
  return toBinary(GossipFrameSchema, message);
}

function announcementMessage(announcement: Announcement): MessageInitShape<typeof PeerAnnouncementSchema> {
  const { httpPort, version, hostname, models, meshId, inferenceKey, evidence, record, address } = announcement;
  const { ownership } = announcement;
  const [primary] = models;
  return {
    endpointId: fromHex(announcement.id, 32),
    role: roleNumbers[announcement.role],
    ...(httpPort === undefined ? {} : { httpPort }),
    ...(version === undefined ? {} : { version }),
    ...(hostname === undefined ? {} : { hostname }),
    servingModels: [...models],
    ...(primary === undefined ? {} : { primaryServing: primary }),
    ...(meshId === undefined ? {} : { meshId }),
    serializedAddr: address === undefined ? empty : encodeAddress(address),
    hostedModels: [...models],
    hostedModelsKnown: true,
    servedModelRuntime: announcement.runtimes.map(({ name, contextLength, ready }) => ({
      modelName: name,
      ...(contextLength === undefined ? {} : { contextLength }),
      ready,
    })),
    ...(ownership === undefined ? {} : { nodeOwnership: ownership }),
    ...(inferenceKey === undefined ? {} : { inferencePublicKey: inferenceKey }),
    postureOrSubprotocol: [...announcement.posture],
    ...(evidence === undefined ? {} : { hardwareAttestationBlob: evidence }),
    ...(record === undefined ? {} : { signedRecord: record }),
    signedBuildLists: [...(announcement.buildLists ?? [])],
    ...(announcement.inContact === undefined ? {} : { inContact: announcement.inContact }),
    ...(announcement.directOffer === undefined ? {} : { directOffer: announcement.directOffer }),
  };
}

/** Bytes of an id, and of a number, in an item of a digest. */
const digestIdBytes = 8;
const digestItemBytes = 16;

function digestBytes(known: KnownRecords): Uint8Array {
  return concat([...known].flatMap(([id, seq]) => [fromHex(id, digestIdBytes), u64le(seq)]));
}

/** A part of an item at the end is left out, and so is what is too much. */
function digestFrom(bytes: Uint8Array): KnownRecords {
  const known = new Map<string, bigint>();
  const items = Math.min(Math.floor(bytes.length / digestItemBytes), limits.digestItems);
  for (let at = 0; at < items * digestItemBytes; at += digestItemBytes) {
    known.set(toHex(bytes.subarray(at, at + digestIdBytes)), readU64le(bytes, at + digestIdBytes));
  }
  return known;
}

/**
 * Left out of the result: entries whose address names another id (reference nodes would file them under that one) and
 * entries with an over-long or unclean scalar field. A key that is too long must not turn into "no key". Lists are cut
 * at their limits, over-long and unclean names in them are skipped.
 *
 * @param bytes  protobuf GossipFrame, at most limits.controlFrameBytes; nothing of the result shares their memory
 * @param sender the QUIC peer
 * @throws       E_WIRE not such a message, another generation or sender, an endpoint id that is not 32 bytes, a host
 *               without http_port, more than limits.announcementsPerFrame entries
 */
export function decodeGossip(bytes: Uint8Array, sender: EndpointId): GossipFrame {
  const frame = decodeMessage(GossipFrameSchema, withoutForeignPostures(bytes), limits.fieldsPerFrame);
  checkGeneration(frame.gen);
  checkSelf(frame.senderId, sender);
  if (frame.peers.length > limits.announcementsPerFrame) {
    throw new MeshError("E_WIRE", `a gossip frame has more than ${limits.announcementsPerFrame} entries`);
  }
  return {
    sender,
    announcements: frame.peers.map(announcementFrom).filter((entry) => entry !== undefined),
    ...(frame.knownRecords === undefined ? {} : { knownRecords: digestFrom(frame.knownRecords) }),
  };
}

/** Field of a frame that holds an entry, and field of an entry that other versions give other meanings and other types. */
const entryField = 2;
const postureField = 37;
/** The bit of a tag's first byte that makes a 37 a 39, which nobody here declares: such a field is skipped. */
const skippedBit = 0x10;

/**
 * The frame with each field 37 that is not length-delimited turned into one that is skipped. Under its own number it would
 * cost the whole frame, and with it the peer (protocol.md §3.3, §11 D7). What else is wrong is left for decodeMessage.
 */
function withoutForeignPostures(frame: Uint8Array): Uint8Array {
  let changed: Uint8Array | undefined;
  let entryEnd = 0;
  const reader = new BinaryReader(frame);
  try {
    for (let fields = 0; reader.pos < frame.length && fields < limits.fieldsPerFrame; fields += 1) {
      const at = reader.pos;
      const [field, wireType] = reader.tag();
      if (wireType === WireType.StartGroup || wireType === WireType.EndGroup) return frame;
      if (at >= entryEnd && field === entryField && wireType === WireType.LengthDelimited) {
        const length = reader.uint32();
        entryEnd = reader.pos + length;
        continue;
      }
      if (at < entryEnd && field === postureField && wireType !== WireType.LengthDelimited) {
        changed ??= frame.slice();
        changed[at] = (frame[at] ?? 0) | skippedBit;
      }
      reader.skip(wireType, field);
    }
  } catch {
    return frame; // it ends inside a field
  }
  return changed ?? frame;
}

function announcementFrom(entry: PeerAnnouncement): Announcement | undefined {
  const id = endpointIdFromBytes(entry.endpointId);
  const role = roleFrom(entry.role);
  if (role === "host" && entry.httpPort === undefined)
    throw new MeshError("E_WIRE", "a host is announced without port");

  const names = [entry.version, entry.hostname, entry.meshId];
  const isUnfit =
    names.some((name) => name !== undefined && !isName(name)) ||
    (entry.inferencePublicKey?.length ?? 0) > limits.keyTextBytes ||
    (entry.hardwareAttestationBlob?.length ?? 0) > limits.evidenceBytes ||
    (entry.signedRecord?.length ?? 0) > limits.recordBytes;
  if (isUnfit) return undefined;

  const address = addressFrom(entry.serializedAddr);
  if (address !== undefined && address.id !== id) return undefined;

  const isHostedKnown = entry.hostedModelsKnown ?? entry.hostedModels.length > 0;
  const models = isHostedKnown ? entry.hostedModels : entry.servingModels;
  return {
    id,
    role,
    httpPort: entry.httpPort,
    version: entry.version,
    hostname: entry.hostname,
    models: [...new Set(models.filter(isModelName))].slice(0, limits.modelsPerPeer),
    runtimes: entry.servedModelRuntime
      .filter((runtime) => isModelName(runtime.modelName))
      .slice(0, limits.modelsPerPeer)
      .map(({ modelName, contextLength, ready }) => ({ name: modelName, contextLength, ready })),
    address,
    meshId: entry.meshId,
    inferenceKey: entry.inferencePublicKey,
    ownership: ownershipFrom(entry),
    posture: entry.postureOrSubprotocol
      .filter((item) => item.length <= limits.postureBytes)
      .slice(0, limits.postureItems)
      .map((item) => item.slice()),
    // copied: a view would keep the whole frame in memory for as long as the peer is known
    evidence: entry.hardwareAttestationBlob?.slice(),
    record: entry.signedRecord?.slice(),
    ...buildListsFrom(entry),
    ...(entry.inContact === undefined ? {} : { inContact: entry.inContact }),
    ...directOfferFrom(entry),
  };
}

/** Over-long ones are no lists, and everything else of the entry stands; of too many the last, which are the newest. */
function buildListsFrom({ signedBuildLists: lists }: PeerAnnouncement): Pick<Announcement, "buildLists"> {
  const fit = lists.filter(({ length }) => length <= limits.buildListBytes).slice(-limits.buildListsPerFrame);
  return fit.length === 0 ? {} : { buildLists: fit.map((list) => list.slice()) };
}

/** Over-long, it is no offer, and everything else of the entry stands. */
function directOfferFrom({ directOffer }: PeerAnnouncement): Pick<Announcement, "directOffer"> {
  const fits = directOffer !== undefined && directOffer.length <= limits.directOfferBytes;
  return fits ? { directOffer: directOffer.slice() } : {};
}

/** Unknown and unspecified roles read as worker, as in the reference. */
function roleFrom(number: NodeRole): Role {
  if (number === NodeRole.HOST) return "host";
  return number === NodeRole.CLIENT ? "client" : "worker";
}

/** Over-long, it is no claim of an owner, and everything else of the entry stands. Copied, as below. */
function ownershipFrom({ nodeOwnership }: PeerAnnouncement): Uint8Array | undefined {
  return nodeOwnership !== undefined && nodeOwnership.length <= limits.ownershipBytes
    ? nodeOwnership.slice()
    : undefined;
}

/** Text that does not parse counts as no address, as in the reference. */
function addressFrom(bytes: Uint8Array): EndpointAddress | undefined {
  return bytes.length === 0 ? undefined : unlessMeshError(() => decodeAddress(bytes));
}

/** Whether text may be a name: short, and nothing in it that a terminal or a log would act on. */
export function isName(text: string): boolean {
  // a character has up to 3 bytes per UTF-16 unit, so short text needs no encoding
  const isShort = text.length * 3 <= limits.nameBytes || utf8(text).length <= limits.nameBytes;
  return isShort && withoutControls(text) === text;
}

/** The text with U+FFFD for each control character (C0, DEL, C1) and each that changes the direction of writing. */
export function withoutControls(text: string): string {
  return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
}

export function isModelName(text: string): boolean {
  return text !== "" && isName(text);
}

function checkGeneration(gen: number): void {
  if (gen !== generation) throw new MeshError("E_WIRE", `generation ${gen} is not spoken here, only ${generation}`);
}

/** A peer speaks for itself only: `bytes` must be the id that the connection proved. */
function checkSelf(bytes: Uint8Array, sender: EndpointId): void {
  if (endpointIdFromBytes(bytes) !== sender) throw new MeshError("E_WIRE", "the message names another sender");
}

/** Few fields suffice for the small messages; unknown ones of later versions are skipped. */
const smallMessageFields = 64;

/** @param requester undefined = does not say who it is */
export function encodeRouteRequest(requester: EndpointId | undefined): Uint8Array {
  const requesterId = requester === undefined ? empty : fromHex(requester, 32);
  return toBinary(RouteTableRequestSchema, create(RouteTableRequestSchema, { requesterId, gen: generation }));
}

/** @returns who asks, as it says itself; undefined when it does not · @throws E_WIRE */
export function decodeRouteRequest(bytes: Uint8Array): EndpointId | undefined {
  const request = decodeMessage(RouteTableRequestSchema, bytes, smallMessageFields);
  checkGeneration(request.gen);
  return request.requesterId.length === 0 ? undefined : endpointIdFromBytes(request.requesterId);
}

export function encodeRouteTable(table: RouteTable): Uint8Array {
  const message = create(RouteTableSchema, {
    entries: table.entries.map(({ id, model }) => ({ endpointId: fromHex(id, 32), model })),
    ...(table.meshId === undefined ? {} : { meshId: table.meshId }),
    gen: generation,
  });
  return toBinary(RouteTableSchema, message);
}

/** Over-long and unclean names are skipped. @throws E_WIRE, also for more than limits.routesPerTable entries */
export function decodeRouteTable(bytes: Uint8Array): RouteTable {
  const table = decodeMessage(RouteTableSchema, bytes, limits.fieldsPerFrame);
  checkGeneration(table.gen);
  if (table.entries.length > limits.routesPerTable) {
    throw new MeshError("E_WIRE", `a route table has more than ${limits.routesPerTable} entries`);
  }
  const entries = table.entries.map(({ endpointId, model }) => ({ id: endpointIdFromBytes(endpointId), model }));
  const isMeshIdGiven = table.meshId !== undefined && isName(table.meshId);
  return {
    entries: entries.filter((entry) => isModelName(entry.model)),
    meshId: isMeshIdGiven ? table.meshId : undefined,
  };
}

/** @param peer the one believed to be gone */
export function encodePeerDown(peer: EndpointId): Uint8Array {
  return toBinary(PeerDownSchema, create(PeerDownSchema, { peerId: fromHex(peer, 32), gen: generation }));
}

/** @returns whom the sender believes to be gone · @throws E_WIRE */
export function decodePeerDown(bytes: Uint8Array): EndpointId {
  const message = decodeMessage(PeerDownSchema, bytes, smallMessageFields);
  checkGeneration(message.gen);
  return endpointIdFromBytes(message.peerId);
}

/** @param self the sending node */
export function encodePeerLeaving(self: EndpointId): Uint8Array {
  return toBinary(PeerLeavingSchema, create(PeerLeavingSchema, { peerId: fromHex(self, 32), gen: generation }));
}

/** @returns `sender` · @throws E_WIRE, also when the message is about anyone else */
export function decodePeerLeaving(bytes: Uint8Array, sender: EndpointId): EndpointId {
  const message = decodeMessage(PeerLeavingSchema, bytes, smallMessageFields);
  checkGeneration(message.gen);
  checkSelf(message.peerId, sender);
  return sender;
}

/**
 * The small frames of "sealmesh/1" (wire.md §3): asking for records (stream 0x01), asking a relay to carry an envelope
 * (0x02), and what the relay says to the host (0x03). Protobuf bytes alone, see proto/sealmesh.proto; length prefix and
 * stream type byte are the caller's.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { type EndpointId, endpointIdFromBytes } from "../base/brand.ts";
import { empty, fromHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import {
  RecordReplySchema,
  RecordRequestSchema,
  RelayedOpenSchema,
  RelayOpenSchema,
  RelayReplySchema,
} from "./gen/sealmesh_pb.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";

/** What a relay says; every one is a hint, none proves that the host did not see the request. */
export const relayCodes = { ok: 0, unknownTarget: 1, unreachable: 2, refused: 3, busy: 4, badRequest: 5 } as const;
export type RelayCode = (typeof relayCodes)[keyof typeof relayCodes];

export interface RelayOpen {
  readonly version: number;
  /** The host that the envelope is for. */
  readonly target: EndpointId;
  /** Relays passed so far. */
  readonly hops: number;
}

export interface RelayedOpen {
  readonly version: number;
  /** Relays passed, the sender included. */
  readonly hops: number;
}

const version = 1;
/** Few fields suffice; unknown ones of later versions are skipped. */
const smallMessageFields = 64;

export function encodeRelayOpen(open: Omit<RelayOpen, "version">): Uint8Array {
  const message = create(RelayOpenSchema, { version, target: fromHex(open.target, 32), hops: open.hops });
  return toBinary(RelayOpenSchema, message);
}

/** @throws E_WIRE, also for another version than 1 */
export function decodeRelayOpen(bytes: Uint8Array): RelayOpen {
  const open = decodeMessage(RelayOpenSchema, bytes, smallMessageFields);
  checkVersion(open.version);
  return { version: open.version, target: endpointIdFromBytes(open.target), hops: open.hops };
}

export function encodeRelayReply(code: RelayCode): Uint8Array {
  return toBinary(RelayReplySchema, create(RelayReplySchema, { code }));
}

/** @throws E_WIRE, also for a code that is not in {@link relayCodes} */
export function decodeRelayReply(bytes: Uint8Array): RelayCode {
  const reply = decodeMessage(RelayReplySchema, bytes, smallMessageFields);
  const code = Object.values(relayCodes).find((known) => known === reply.code);
  if (code === undefined)
    throw new MeshError("E_WIRE", `a relay answered with code ${reply.code}, which has no meaning`);
  return code;
}

export function encodeRelayedOpen(open: Omit<RelayedOpen, "version">): Uint8Array {
  return toBinary(RelayedOpenSchema, create(RelayedOpenSchema, { version, hops: open.hops }));
}

/** @throws E_WIRE, also for another version than 1, for no relay at all, and for more than limits.relayHops */
export function decodeRelayedOpen(bytes: Uint8Array): RelayedOpen {
  const open = decodeMessage(RelayedOpenSchema, bytes, smallMessageFields);
  checkVersion(open.version);
  if (open.hops < 1 || open.hops > limits.relayHops)
    throw new MeshError("E_WIRE", `an envelope came through ${open.hops} relays`);
  return { version: open.version, hops: open.hops };
}

/** @param id whose record; undefined = the answering node's own */
export function encodeRecordRequest(id?: EndpointId): Uint8Array {
  const endpointId = id === undefined ? empty : fromHex(id, 32);
  return toBinary(RecordRequestSchema, create(RecordRequestSchema, { endpointId }));
}

/** @returns whose record is asked for; undefined = our own · @throws E_WIRE */
export function decodeRecordRequest(bytes: Uint8Array): EndpointId | undefined {
  const { endpointId } = decodeMessage(RecordRequestSchema, bytes, smallMessageFields);
  return endpointId.length === 0 ? undefined : endpointIdFromBytes(endpointId);
}

/** @param records SignedRecord bytes as received; they are sent byte for byte */
export function encodeRecordReply(records: readonly Uint8Array[]): Uint8Array {
  return toBinary(RecordReplySchema, create(RecordReplySchema, { records: [...records] }));
}

/**
 * @returns SignedRecord bytes as sent, not yet decoded; they share no memory with `bytes`
 * @throws  E_WIRE, also for more than limits.recordsPerReply records or one over limits.recordBytes
 */
export function decodeRecordReply(bytes: Uint8Array): Uint8Array[] {
  const { records } = decodeMessage(RecordReplySchema, bytes, limits.recordsPerReply + smallMessageFields);
  if (records.length > limits.recordsPerReply || records.some((record) => record.length > limits.recordBytes)) {
    throw new MeshError("E_WIRE", "a record reply has too many records, or one that is too long");
  }
  return records.map((record) => record.slice());
}

function checkVersion(found: number): void {
  if (found !== version) throw new MeshError("E_WIRE", `relay version ${found} is not spoken here, only ${version}`);
}

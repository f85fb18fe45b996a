/**
 * Signed records: a node's self-description, believed whoever relays it because its endpoint key signed it.
 *
 * @see wire.md §2
 */
import { createHash } from "node:crypto";
import type { EndpointId } from "../base/brand.ts";
import { equal } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { encodeAddress, type EndpointAddress } from "../wire/address.ts";
import { limits } from "../wire/limits.ts";
import {
  decodeRecord,
  decodeSignedRecord,
  encodeRecord,
  encodeSignedRecord,
  type RecordFields,
  recordSigningBytes,
} from "../wire/record.ts";
import { isUsableKey } from "./box.ts";
import { type Identity, verifySignature } from "./identity.ts";

export interface VerifiedRecord {
  readonly fields: RecordFields;
  /** SignedRecord as received: relayed byte for byte. */
  readonly bytes: Uint8Array;
  /** What the signature covers; the bytes around it are anybody's. */
  readonly signed: Uint8Array;
}

/** Field 11: ties an address, which is too long for a record, to its owner. @returns 32 bytes */
export function addressDigest(address: EndpointAddress): Uint8Array {
  return new Uint8Array(createHash("sha256").update(encodeAddress(address)).digest());
}

export function signRecord(identity: Identity, fields: Omit<RecordFields, "endpointId">): VerifiedRecord {
  const whole: RecordFields = { ...fields, endpointId: identity.id };
  const signed = encodeRecord(whole);
  const signature = identity.sign(recordSigningBytes(signed));
  return { fields: whole, bytes: encodeSignedRecord({ signed, signature }), signed };
}

/**
 * Checks a record against its owner and the time.
 *
 * @throws E_WIRE malformed, signed by somebody else, issued in the future, expired, or living too long · E_KEY its
 *         inference key is of low order
 */
export function verifyRecord(bytes: Uint8Array, owner: EndpointId, nowMs: number): VerifiedRecord {
  const { signed, signature } = decodeSignedRecord(bytes);
  const fields = decodeRecord(signed);
  const refuse = (why: string): MeshError => new MeshError("E_WIRE", `the signed record is refused: ${why}`);
  if (fields.endpointId !== owner) throw refuse("it describes another node");
  if (fields.issuedAtMs > nowMs + limits.recordAheadMs) throw refuse("it was issued in the future; compare the clocks");
  if (nowMs > fields.notAfterMs) throw refuse("it has expired");
  if (fields.notAfterMs > fields.issuedAtMs + limits.recordLifeMs) throw refuse("it claims to live too long");
  if (!verifySignature(owner, recordSigningBytes(signed), signature)) throw refuse("the signature does not hold");
  if (fields.inferenceKey && !isUsableKey(fields.inferenceKey)) {
    throw new MeshError("E_KEY", "the signed record carries an inference key of low order");
  }
  return { fields, bytes, signed };
}

/**
 * Which of two verified records of one node holds: the higher seq. Two with the same seq and different content mean that
 * the endpoint key signs for two parties, or that somebody plays with it: an alarm.
 */
export function compareRecords(
  known: VerifiedRecord,
  offered: VerifiedRecord,
): "newer" | "older" | "same" | "conflict" {
  if (offered.fields.seq > known.fields.seq) return "newer";
  if (offered.fields.seq < known.fields.seq) return "older";
  return equal(known.signed, offered.signed) ? "same" : "conflict";
}

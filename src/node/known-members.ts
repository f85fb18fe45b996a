/**
 * Members that this node was connected with, on disk: after a restart it looks for them by itself, and needs no invite for
 * it. Where they were and what they signed last; everything is checked again when it is read, so the file proves nothing.
 *
 *   known-members.json   [{"address": {"id": .., "addrs": [..]}, "record": "<base64 of a SignedRecord>"}, ..]
 */
import { fromBase64, toBase64, utf8 } from "../base/bytes.ts";
import { unlessMeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import type { KnownMember } from "../mesh/mesh.ts";
import { addressJson, decodeAddress } from "../wire/address.ts";
import { limits } from "../wire/limits.ts";

/** @param text of the file; what cannot be read in it is left out: it holds hints, and no decision hangs on it */
export function decodeKnownMembers(text: string): readonly KnownMember[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return [];
  }
  return Array.isArray(json) ? json.slice(0, limits.knownMembers).flatMap(memberFrom) : [];
}

function memberFrom(item: unknown): readonly KnownMember[] {
  if (!isRecord(item)) return [];
  const address = unlessMeshError(() => decodeAddress(utf8(JSON.stringify(item["address"] ?? null))));
  if (!address) return [];
  const { record: text } = item;
  const record = typeof text === "string" ? unlessMeshError(() => fromBase64(text)) : undefined;
  return [{ address, record: record && record.length <= limits.recordBytes ? record : undefined }];
}

export function encodeKnownMembers(known: readonly KnownMember[]): string {
  const members = known.map(({ address, record }) => ({
    address: addressJson(address),
    ...(record ? { record: toBase64(record) } : {}),
  }));
  return `${JSON.stringify(members, undefined, 1)}\n`;
}

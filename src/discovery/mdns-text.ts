/**
 * The TXT record of a mesh on the local network, as mesh-llm 0.76 and later have it (protocol.md §3.6): parts "key=value" of
 * at most 255 bytes. The invite is not among them: there is its fingerprint (tok_fp), and the address alone (ep_addr).
 * Ours adds `sm_policy`, what the mesh demands of who joins, and `sm_invite`. Pure; for discovery/mdns.ts.
 */
import { createHash } from "node:crypto";
import { concat, fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../base/bytes.ts";
import { isMeshError, MeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import { addressJson, type EndpointAddress } from "../wire/address.ts";
import { decodeInvite } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import type { Listing, Offer } from "./discovery.ts";
import { listingFrom } from "./listing.ts";

/** The reference's marks of the service and of the form of this record. */
const service = "mesh-llm";
const schema = "1";

/** @returns parts of at most 255 bytes; what does not fit is cut: addresses behind the first, models, names */
export function encodeText(offer: Offer): readonly Uint8Array[] {
  const { address, minimum } = decodeInvite(offer.token);
  const fingerprint = tokenFingerprint(offer.token);
  const members: readonly (readonly [string, string | undefined])[] = [
    ["svc", service],
    ["schema", schema],
    ["join", fingerprint],
    ["tok_fp", fingerprint],
    ["nodes", String(offer.nodeCount)],
    ["clients", String(offer.clientCount)],
    ["max_clients", String(offer.maxClients)],
    ["vram", String(offer.totalVramBytes)],
    ["mesh_id", offer.meshId],
    ["name", offer.meshName],
    ["region", offer.region],
    ["serving", listText("serving", offer.serving)],
    ["wanted", listText("wanted", offer.wanted)],
    ["on_disk", listText("on_disk", offer.onDisk)],
    ["ep_addr", addressText(address)],
    ["sm_policy", minimum === undefined ? undefined : JSON.stringify(minimum)],
    ["sm_invite", offer.inviteOnly ? "only" : undefined],
  ];
  return members.flatMap(([key, value]) => {
    const part = utf8(`${key}=${value ?? ""}`);
    return value === undefined || value === "" || part.length > limits.mdnsPartBytes ? [] : [part];
  });
}

/**
 * @param parts borrowed; more than limits.mdnsTextBytes in all is not looked at
 * @throws      E_WIRE no listing · E_INVITE its address is none
 */
export function decodeText(parts: readonly Uint8Array[], lifeMs: number, nowMs: number): Listing {
  const members = membersOf(parts);
  if (members.get("svc") !== service || members.get("schema") !== schema) {
    throw new MeshError("E_WIRE", "a TXT record is not that of a mesh");
  }
  const listed = (key: string): readonly string[] => (members.get(key) ?? "").split("|").filter((name) => name !== "");
  const number = (key: string): number => Number(members.get(key) ?? 0);
  const json = {
    invite_token: tokenFrom(members.get("ep_addr"), members.get("sm_policy")),
    serving: listed("serving"),
    wanted: listed("wanted"),
    on_disk: listed("on_disk"),
    total_vram_bytes: number("vram"),
    node_count: number("nodes"),
    client_count: number("clients"),
    max_clients: number("max_clients"),
    name: members.get("name"),
    region: members.get("region"),
    mesh_id: members.get("mesh_id"),
    sealmesh: { invite_only: members.get("sm_invite") === "only" },
  };
  const holds = { publishedAtMs: nowMs, expiresAtMs: nowMs + lifeMs };
  return listingFrom(json, { source: "lan", publisher: undefined, ...holds }, nowMs);
}

/** Of a key that comes twice the first counts (RFC 6763 §6.4). */
function membersOf(parts: readonly Uint8Array[]): ReadonlyMap<string, string> {
  if (parts.reduce((sum, part) => sum + part.length, 0) > limits.mdnsTextBytes) {
    throw new MeshError("E_WIRE", "a TXT record is too long");
  }
  const members = new Map<string, string>();
  for (const part of parts) {
    if (part.length > limits.mdnsPartBytes) throw new MeshError("E_WIRE", "a part of a TXT record is too long");
    const text = fromUtf8(part);
    const at = text.indexOf("=");
    const key = text.slice(0, at).toLowerCase();
    if (at > 0 && !members.has(key)) members.set(key, text.slice(at + 1));
  }
  return members;
}

/** An invite of what the record says: one way to read addresses and demands, and one place that refuses them. */
function tokenFrom(address: string | undefined, policy: string | undefined): string {
  if (address === undefined) throw new MeshError("E_WIRE", "a TXT record has no address");
  if (policy === undefined) return address;
  let json: unknown;
  let demands: unknown;
  try {
    json = JSON.parse(fromUtf8(fromBase64Url(address)));
    demands = JSON.parse(policy);
  } catch (cause) {
    if (isMeshError(cause)) throw cause;
    throw new MeshError("E_WIRE", "a TXT record is not JSON where it should be", { cause });
  }
  if (!isRecord(json)) throw new MeshError("E_WIRE", "a TXT record has no address");
  return toBase64Url(utf8(JSON.stringify({ id: json["id"], addrs: json["addrs"], sealmesh: { policy: demands } })));
}

/** What tells two invites apart, and from which none can be made: 16 hex digits. */
function tokenFingerprint(token: string): string {
  return createHash("sha256").update(token).digest("hex").slice(0, 16);
}

/** Base64url of the address's JSON, with as many of its addresses as fit: direct ones first, for a neighbour dials those. */
function addressText(address: EndpointAddress): string {
  const all = [...address.direct.map((direct) => ({ direct })), ...address.relays.map((relay) => ({ relay }))];
  for (let count = all.length; ; count -= 1) {
    const kept = all.slice(0, count);
    const direct = kept.flatMap((one) => ("direct" in one ? [one.direct] : []));
    const relays = kept.flatMap((one) => ("relay" in one ? [one.relay] : []));
    const text = toBase64Url(utf8(JSON.stringify(addressJson({ id: address.id, direct, relays }))));
    if (concat([utf8("ep_addr="), utf8(text)]).length <= limits.mdnsPartBytes || count === 0) return text;
  }
}

/** Names with bars between them, as many as fit; one with a bar inside would be two. */
function listText(key: string, names: readonly string[]): string {
  let text = "";
  for (const name of names) {
    if (name.includes("|")) continue;
    const longer = text === "" ? name : `${text}|${name}`;
    if (utf8(`${key}=${longer}`).length > limits.mdnsPartBytes) break;
    text = longer;
  }
  return text;
}

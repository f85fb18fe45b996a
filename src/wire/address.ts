/**
 * EndpointAddress: an endpoint id and where it may be reached. Its JSON form is the invite token's content and the
 * serialized_addr of gossip (protocol.md §4):
 *
 *   {"id":"<64 hex>","addrs":[{"Relay":"https://host./"},{"Ip":"192.0.2.1:4433"},{"Ip":"[2001:db8::1]:4433"}]}
 *
 * Addresses are hints: whoever answers there still has to prove the id.
 */
import { type EndpointId, endpointId, endpointIdFromBytes } from "../base/brand.ts";
import { fromUtf8, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { limits } from "./limits.ts";

export interface EndpointAddress {
  readonly id: EndpointId;
  /** iroh relay URLs, as written by their owner. */
  readonly relays: readonly string[];
  /** Socket addresses "192.0.2.1:4433" or "[2001:db8::1]:4433". */
  readonly direct: readonly string[];
}

/** @returns UTF-8 of compact JSON: id, then addrs with iroh relays, v4 and v6 in this order, no address twice */
export function encodeAddress(address: EndpointAddress): Uint8Array {
  return utf8(JSON.stringify(addressJson(address)));
}

/** The JSON value behind {@link encodeAddress}, for an invite that adds a member. */
export function addressJson(address: EndpointAddress): { readonly id: string; readonly addrs: readonly object[] } {
  const v6 = address.direct.filter((socket) => socket.startsWith("["));
  const v4 = address.direct.filter((socket) => !socket.startsWith("["));
  return {
    id: address.id,
    addrs: [
      ...[...new Set(address.relays)].map((url) => ({ Relay: url })),
      ...[...new Set([...v4, ...v6])].map((socket) => ({ Ip: socket })),
    ],
  };
}

/**
 * Address kinds that we do not know are skipped, port 0 is kept (see {@link dialable}), addresses beyond
 * limits.addressesPerEndpoint are dropped.
 *
 * @param bytes UTF-8 JSON, at most limits.addressBytes; the id as 64 hex digits or 52 characters of base32
 * @throws      E_WIRE not such JSON, or an Ip or Relay entry that is none
 */
export function decodeAddress(bytes: Uint8Array): EndpointAddress {
  if (bytes.length > limits.addressBytes) {
    throw new MeshError("E_WIRE", `an endpoint address has more than ${limits.addressBytes} bytes`);
  }
  let json: unknown;
  try {
    json = JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new MeshError("E_WIRE", "an endpoint address is not JSON", { cause });
  }
  if (!isObject(json)) throw new MeshError("E_WIRE", "an endpoint address is not a JSON object");
  const { id, addrs } = json;
  if (typeof id !== "string") throw new MeshError("E_WIRE", "an endpoint address has no id");
  if (!Array.isArray(addrs)) throw new MeshError("E_WIRE", "an endpoint address has no list addrs");

  const relays = new Set<string>();
  const direct = new Set<string>();
  for (const entry of addrs as readonly unknown[]) {
    if (relays.size + direct.size >= limits.addressesPerEndpoint) break;
    if (!isObject(entry)) continue;
    if (Object.hasOwn(entry, "Relay")) relays.add(relayUrl(entry["Relay"]));
    else if (Object.hasOwn(entry, "Ip")) direct.add(socketAddress(entry["Ip"]));
  }
  return { id: parseId(id), relays: [...relays], direct: [...direct] };
}

/**
 * Without the entries that cannot be dialed: a reference node announces its public IPv4 with port 0 when it does not
 * know its outer port.
 */
export function dialable(address: EndpointAddress): EndpointAddress {
  return { ...address, direct: address.direct.filter((socket) => !socket.endsWith(":0")) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseId(text: string): EndpointId {
  return text.length === 52 ? endpointIdFromBytes(fromBase32(text)) : endpointId(text);
}

const base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567";

/** 52 characters of RFC 4648 base32 without padding, either case: 32 bytes and 4 bits that must be zero. */
function fromBase32(text: string): Uint8Array {
  let value = 0n;
  for (const character of text.toLowerCase()) {
    const digit = base32Alphabet.indexOf(character);
    if (digit < 0) throw new MeshError("E_WIRE", "an endpoint id has a character that is not base32");
    value = value * 32n + BigInt(digit);
  }
  if (value % 16n !== 0n) throw new MeshError("E_WIRE", "an endpoint id in base32 has bits left over");
  const bytes = new Uint8Array(32);
  let rest = value / 16n;
  for (let index = 31; index >= 0; index -= 1) {
    bytes[index] = Number(rest % 256n);
    rest /= 256n;
  }
  return bytes;
}

function relayUrl(value: unknown): string {
  if (typeof value !== "string" || value.length > limits.relayUrlBytes || !/^https?:\/\/[!-~]+$/i.test(value)) {
    throw new MeshError("E_WIRE", "an iroh relay is given by an http or https URL");
  }
  if (!URL.canParse(value)) throw new MeshError("E_WIRE", "the URL of an iroh relay does not parse");
  return value;
}

/** "a.b.c.d:port" or "[v6]:port", as Rust prints them; a numeric scope ("%2") may follow a v6 address. */
function socketAddress(value: unknown): string {
  const parts = typeof value === "string" && value.length <= 64 ? /^(.+):(0|[1-9]\d{0,4})$/.exec(value) : null;
  const [text, host, port] = parts ?? [];
  if (text === undefined || host === undefined || Number(port) > 65_535 || !(isV4(host) || isV6(host))) {
    throw new MeshError("E_WIRE", "an address is not a v4 or [v6] address with a port");
  }
  return text;
}

function isV4(host: string): boolean {
  const octets = host.split(".");
  return octets.length === 4 && octets.every((octet) => /^(?:0|[1-9]\d{0,2})$/.test(octet) && Number(octet) <= 255);
}

function isV6(host: string): boolean {
  const bare = /^\[([0-9a-f:.]+)(?:%\d{1,10})?\]$/i.exec(host)?.[1];
  return bare !== undefined && URL.canParse(`http://[${bare}]/`);
}

/** Numeric IP addresses as bytes, and which of them a stranger's word may send us to. */
import { isIPv4 } from "node:net";

/** @param text numeric, without brackets, without scope @returns 4 or 16 bytes */
export function ipBytes(text: string): Uint8Array {
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  // the parser of URLs writes an IPv6 address in its one shortest form, without dotted parts
  const [head = "", tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split("::");
  const groups = (part: string | undefined): string[] => (part ? part.split(":") : []);
  const [front, back] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => "0");
  return Uint8Array.from(
    [...front, ...(tail === undefined ? [] : zeros), ...back].flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 0xff];
    }),
  );
}

/** @param bytes 4 or 16 @returns the shortest form */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

export const loopbacks = ["127.0.0.1", "::1"] as const;

/**
 * Whether an address may be dialed because somebody has named it. Not so: this machine, the link beside it (where a
 * router's own services are), nobody and everybody.
 *
 * @param text numeric, without brackets
 */
export function isRemote(text: string): boolean {
  const bytes = ipBytes(text);
  const [a = 0, b = 0] = bytes;
  if (bytes.length === 4) return a !== 0 && a !== 127 && a < 224 && !(a === 169 && b === 254);
  const mapped = mappedIpv4(bytes);
  if (mapped) return isRemote(mapped);
  const isLinkLocal = a === 0xfe && (b & 0xc0) === 0x80;
  const isLow = bytes.subarray(0, 15).every((byte) => byte === 0); // :: and ::1
  return !isLinkLocal && !isLow && a !== 0xff;
}

/** The IPv4 address inside ::ffff:a.b.c.d; undefined for any other. */
function mappedIpv4(bytes: Uint8Array): string | undefined {
  const isMapped =
    bytes.length === 16 &&
    bytes.subarray(0, 10).every((byte) => byte === 0) &&
    bytes[10] === 0xff &&
    bytes[11] === 0xff;
  return isMapped ? ipText(bytes.subarray(12)) : undefined;
}

/** The same address in one spelling, an IPv4 address inside IPv6 as IPv4; undefined: not numeric, or with a scope. */
export function plainIp(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!URL.canParse(`http://[${text}]`)) return undefined;
  const bytes = ipBytes(text);
  return mappedIpv4(bytes) ?? ipText(bytes);
}

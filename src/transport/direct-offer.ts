/**
 * An offer: where a node listens for TLS, signed by its endpoint key. mesh/ carries it to members as bytes that it does
 * not look into; direct-tls.ts makes and takes it.
 *
 *     64 bytes signature | u8 version 1 | u64 LE issued, Unix ms | u16 LE port | u8 count | count x (u8 length 4 or 16 | address)
 *
 * The signature is Ed25519 over `sealmesh-direct-v1\0` || endpoint id (32) || everything behind the signature.
 *
 * @see docs/wire.md
 */
import type { EndpointId } from "../base/brand.ts";
import { concat, fromHex, readU64le, u64le, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { type Identity, verifySignature } from "../crypto/identity.ts";
import { ipBytes, ipText } from "./ip.ts";

export interface DirectOffer {
  /** Unix ms; of two offers of a node the later one counts. */
  readonly issuedAtMs: number;
  /** TCP, 1 to 65535. */
  readonly port: number;
  /** Numeric, without brackets; at most {@link maxAddresses}. Hints, like all addresses. */
  readonly addresses: readonly string[];
}

export const maxAddresses = 8;

const label = utf8("sealmesh-direct-v1\0");
const signatureBytes = 64;
const version = 1;

export function encodeOffer(offer: DirectOffer, identity: Identity): Uint8Array {
  const addresses = offer.addresses.slice(0, maxAddresses).map(ipBytes);
  const body = concat([
    Uint8Array.of(version),
    u64le(BigInt(offer.issuedAtMs)),
    Uint8Array.of(offer.port & 0xff, offer.port >> 8, addresses.length),
    ...addresses.flatMap((bytes) => [Uint8Array.of(bytes.length), bytes]),
  ]);
  return concat([identity.sign(concat([label, fromHex(identity.id), body])), body]);
}

/** @throws E_WIRE malformed, of another version, or not signed by `owner` */
export function decodeOffer(bytes: Uint8Array, owner: EndpointId): DirectOffer {
  const signature = bytes.subarray(0, signatureBytes);
  const body = bytes.subarray(signatureBytes);
  const [first] = body;
  const headBytes = 12;
  if (first !== version || body.length < headBytes) throw refused("it is cut short, or of another version");
  const count = body[headBytes - 1] ?? 0;
  const addresses: string[] = [];
  let at = headBytes;
  while (at < body.length && addresses.length < maxAddresses) {
    const length = body[at] ?? 0;
    const address = body.subarray(at + 1, at + 1 + length);
    if ((length !== 4 && length !== 16) || address.length !== length) throw refused("an address is malformed");
    addresses.push(ipText(address));
    at += 1 + length;
  }
  const port = (body[9] ?? 0) + (body[10] ?? 0) * 0x100;
  if (at !== body.length || addresses.length !== count || port === 0) throw refused("it is malformed");
  if (!verifySignature(owner, concat([label, fromHex(owner), body]), signature))
    throw refused("its signature does not hold");
  return { issuedAtMs: Number(readU64le(body, 1)), port, addresses };
}

function refused(why: string): MeshError {
  return new MeshError("E_WIRE", `the offer of a direct path is refused: ${why}`);
}

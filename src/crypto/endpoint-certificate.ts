/**
 * A certificate whose key is a node's endpoint key, for TLS between nodes: it names nobody and nobody signed it but that
 * key. TLS 1.3 makes each side sign the handshake with the key of its certificate (RFC 8446 §4.4.3), and this proves the
 * endpoint id. Everything else in a certificate is ignored.
 */
import { createPublicKey, sign, X509Certificate } from "node:crypto";
import { concat, fromHex, utf8 } from "../base/bytes.ts";
import { privateKeyOf, spkiOf } from "./identity.ts";

export interface EndpointCertificate {
  /** PKCS #8 as PEM: secret. */
  readonly key: string;
  /** X.509 as PEM. */
  readonly cert: string;
}

/** Ed25519, RFC 8410: SEQUENCE { OID 1.3.101.112 }. */
const algorithm = fromHex("300506032b6570");
/** CN=sealmesh, as issuer and as subject. */
const name = concat([fromHex("3013311130" + "0f0603550403" + "0c08"), utf8("sealmesh")]);
/** From 1970 on, without an end that is known (RFC 5280 §4.1.2.5): keys end by their own rules. */
const validity = concat([fromHex("3020" + "170d"), utf8("700101000000Z"), fromHex("180f"), utf8("99991231235959Z")]);
/** Version 3, serial number 1. */
const versionAndSerial = fromHex("a003020102" + "020101");

/** @param seed 32-byte Ed25519 seed of the node's identity */
export function endpointCertificate(seed: Uint8Array): EndpointCertificate {
  const privateKey = privateKeyOf(seed);
  const spki = spkiOf(createPublicKey(privateKey));
  const fields = concat([versionAndSerial, algorithm, name, validity, name, spki]);
  const signed = concat([Uint8Array.of(0x30, 0x81, fields.length), fields]);
  const signature = concat([fromHex("034100"), sign(null, signed, privateKey)]);
  const all = concat([signed, algorithm, signature]);
  const der = concat([Uint8Array.of(0x30, 0x82, all.length >> 8, all.length & 0xff), all]);
  return {
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    cert: new X509Certificate(der).toString(),
  };
}

// A self-signed Ed25519 certificate, made anew for each run: node:crypto signs but does not write certificates, so its DER is
// written here. For the bench's own TLS connection between two processes of one machine, and nothing else.
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** @returns {key, cert} in PEM */
export function selfSigned() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const ed25519 = sequence(Buffer.from("06032b6570", "hex"));
  // commonName = bench
  const name = sequence(element(0x31, sequence(Buffer.from("0603550403", "hex"), element(0x0c, Buffer.from("bench")))));
  const time = (text) => element(0x17, Buffer.from(text));
  const serial = element(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)]));
  const spki = publicKey.export({ type: "spki", format: "der" });
  const version3 = element(0xa0, element(0x02, Buffer.of(2)));
  const validity = sequence(time("200101000000Z"), time("491231235959Z"));
  const signed = sequence(version3, serial, ed25519, name, validity, name, spki);
  const signature = element(0x03, Buffer.of(0), sign(null, signed, privateKey));
  const base64 = sequence(signed, ed25519, signature).toString("base64").replaceAll(/.{64}/g, "$&\n");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
  };
}

function element(tag, ...parts) {
  const contents = Buffer.concat(parts);
  const { length } = contents;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...head), contents]);
}

function sequence(...parts) {
  return element(0x30, ...parts);
}

/**
 * Certificates made by a test: a small DER encoder, and certificates with any field wrong. Signed by node:crypto, written
 * without the reader of src/crypto/der.ts, so that the two can disagree.
 */
import { constants, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { concat, utf8 } from "../../src/base/bytes.ts";

// ---- DER

/** One element of any tag: identifier, shortest length, contents. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const contents = concat(parts);
  const digits: number[] = [];
  for (let rest = contents.length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  const length = contents.length < 0x80 ? [contents.length] : [0x80 | digits.length, ...digits];
  return concat([Uint8Array.of(tag, ...length), contents]);
}

export const derSequence = (...parts: readonly Uint8Array[]): Uint8Array => der(0x30, ...parts);
export const derSet = (...parts: readonly Uint8Array[]): Uint8Array => der(0x31, ...parts);
export const derOctets = (value: Uint8Array): Uint8Array => der(0x04, value);
export const derBits = (value: Uint8Array, unused = 0): Uint8Array => der(0x03, Uint8Array.of(unused), value);
export const derBoolean = (value: boolean): Uint8Array => der(0x01, Uint8Array.of(value ? 0xff : 0));
export const derNull = (): Uint8Array => der(0x05);
export const derUtf8 = (text: string): Uint8Array => der(0x0c, utf8(text));
export const derContext = (number: number, ...parts: readonly Uint8Array[]): Uint8Array => der(0xa0 | number, ...parts);

/** @param value not negative */
export function derInteger(value: number | bigint): Uint8Array {
  const hex = BigInt(value).toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  return der(0x02, (bytes[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : Uint8Array.of(), bytes);
}

export function derOid(dotted: string): Uint8Array {
  const [first = 0n, second = 0n, ...arcs] = dotted.split(".").map(BigInt);
  const out: number[] = [];
  for (const arc of [first * 40n + second, ...arcs]) {
    const groups = [Number(arc & 127n)];
    for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) groups.unshift(Number(rest & 127n) | 0x80);
    out.push(...groups);
  }
  return der(0x06, Uint8Array.from(out));
}

/** UTCTime up to 2049, GeneralizedTime after it. */
export function derTime(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replaceAll(/\.\d+|[-:T]/g, "");
  return digits < "2050" ? der(0x17, utf8(digits.slice(2))) : der(0x18, utf8(digits));
}

/** A Name of one common name; empty text is an empty Name. */
export function derName(commonName: string): Uint8Array {
  if (commonName === "") return derSequence();
  return derSequence(derSet(derSequence(derOid("2.5.4.3"), derUtf8(commonName))));
}

// ---- keys and signatures

export interface MadeKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
}

export function madeKey(kind: "P-256" | "P-384" | "P-521" | "rsa" | "ed25519", rsaBits = 2_048): MadeKey {
  const pair =
    kind === "rsa"
      ? generateKeyPairSync("rsa", { modulusLength: rsaBits })
      : kind === "ed25519"
        ? generateKeyPairSync("ed25519")
        : generateKeyPairSync("ec", { namedCurve: kind });
  return { ...pair, spki: Uint8Array.from(pair.publicKey.export({ format: "der", type: "spki" })) };
}

/** SEC1 point, 65 bytes on P-256. */
export function pointOf({ publicKey }: MadeKey): Uint8Array {
  const { x = "", y = "" } = publicKey.export({ format: "jwk" });
  return concat([Uint8Array.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
}

/** How a certificate is signed. */
export interface MadeAlgorithm {
  /** AlgorithmIdentifier. */
  readonly identifier: Uint8Array;
  readonly sign: (tbs: Uint8Array, key: KeyObject) => Uint8Array;
}

const hashes = {
  sha1: { ecdsa: "1.2.840.10045.4.1", rsa: "1.2.840.113549.1.1.5", plain: "1.3.14.3.2.26", bytes: 20 },
  sha256: { ecdsa: "1.2.840.10045.4.3.2", rsa: "1.2.840.113549.1.1.11", plain: "2.16.840.1.101.3.4.2.1", bytes: 32 },
  sha384: { ecdsa: "1.2.840.10045.4.3.3", rsa: "1.2.840.113549.1.1.12", plain: "2.16.840.1.101.3.4.2.2", bytes: 48 },
  sha512: { ecdsa: "1.2.840.10045.4.3.4", rsa: "1.2.840.113549.1.1.13", plain: "2.16.840.1.101.3.4.2.3", bytes: 64 },
} as const;
export type MadeHash = keyof typeof hashes;

export function ecdsaWith(hash: MadeHash): MadeAlgorithm {
  return { identifier: derSequence(derOid(hashes[hash].ecdsa)), sign: (tbs, key) => sign(hash, tbs, key) };
}

export function pkcs1With(hash: MadeHash): MadeAlgorithm {
  return { identifier: derSequence(derOid(hashes[hash].rsa), derNull()), sign: (tbs, key) => sign(hash, tbs, key) };
}

/** @param saltLength @default as long as the hash */
export function pssWith(hash: MadeHash, saltLength: number = hashes[hash].bytes, maskHash = hash): MadeAlgorithm {
  const plain = (name: MadeHash): Uint8Array => derSequence(derOid(hashes[name].plain), derNull());
  return {
    identifier: derSequence(
      derOid("1.2.840.113549.1.1.10"),
      derSequence(
        derContext(0, plain(hash)),
        derContext(1, derSequence(derOid("1.2.840.113549.1.1.8"), plain(maskHash))),
        derContext(2, derInteger(saltLength)),
      ),
    ),
    sign: (tbs, key) => sign(hash, tbs, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }),
  };
}

// ---- certificates

export interface MadeExtension {
  readonly oid: string;
  readonly value: Uint8Array;
  readonly critical?: boolean;
}

export const keyUsages = { digitalSignature: 0, keyEncipherment: 2, keyCertSign: 5, cRLSign: 6 } as const;

export const madeExtensions = {
  /** Basic constraints. @param pathLength undefined: no limit */
  authority: (isAuthority = true, pathLength?: number): MadeExtension => ({
    oid: "2.5.29.19",
    critical: true,
    value: derSequence(
      ...(isAuthority ? [derBoolean(true)] : []),
      ...(pathLength === undefined ? [] : [derInteger(pathLength)]),
    ),
  }),
  keyUsage: (...usages: readonly (keyof typeof keyUsages)[]): MadeExtension => {
    const byte = usages.reduce((bits, usage) => bits | (0x80 >> keyUsages[usage]), 0);
    const unused = byte === 0 ? 7 : 31 - Math.clz32(byte & -byte);
    return { oid: "2.5.29.15", critical: true, value: derBits(Uint8Array.of(byte), unused) };
  },
  extendedKeyUsage: (...usages: readonly string[]): MadeExtension => ({
    oid: "2.5.29.37",
    value: derSequence(...usages.map(derOid)),
  }),
  /** subjectAltName as endorsement-key certificates have it: critical, with a directoryName. */
  directoryName: (name: Uint8Array): MadeExtension => ({
    oid: "2.5.29.17",
    critical: true,
    value: derSequence(derContext(4, name)),
  }),
} as const;

/** What a CA has. */
export const caExtensions = (pathLength?: number): readonly MadeExtension[] => [
  madeExtensions.authority(true, pathLength),
  madeExtensions.keyUsage("keyCertSign", "cRLSign"),
];

export interface CertificateFields {
  readonly subject: string | Uint8Array;
  readonly issuer: string | Uint8Array;
  /** SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly signer: KeyObject;
  /** @default ECDSA with SHA-256 */
  readonly algorithm?: MadeAlgorithm;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** @default none; an empty list of extensions is left out */
  readonly extensions?: readonly MadeExtension[];
  /** 0, 1 or 2 for versions 1 to 3. @default 2 */
  readonly version?: number;
  readonly serial?: number | bigint;
  /** AlgorithmIdentifier inside the signed part, when it is to differ. */
  readonly innerIdentifier?: Uint8Array;
  /** Elements after the extensions. */
  readonly after?: readonly Uint8Array[];
}

/** Validity unless said otherwise: 2025-01-01 to 2035-01-01. */
export const madeNotBeforeMs: number = Date.UTC(2025, 0, 1);
export const madeNotAfterMs: number = Date.UTC(2035, 0, 1);

export function madeCertificate(fields: CertificateFields): Uint8Array {
  const { algorithm = ecdsaWith("sha256"), extensions = [], version = 2, serial = 4_711, after = [] } = fields;
  const { notBeforeMs = madeNotBeforeMs, notAfterMs = madeNotAfterMs } = fields;
  const name = (value: string | Uint8Array): Uint8Array => (typeof value === "string" ? derName(value) : value);
  const tbs = derSequence(
    ...(version === 0 ? [] : [derContext(0, derInteger(version))]),
    derInteger(serial),
    fields.innerIdentifier ?? algorithm.identifier,
    name(fields.issuer),
    derSequence(derTime(notBeforeMs), derTime(notAfterMs)),
    name(fields.subject),
    fields.spki,
    ...(extensions.length === 0 ? [] : [derContext(3, derSequence(...extensions.map(madeExtension)))]),
    ...after,
  );
  return derSequence(tbs, algorithm.identifier, derBits(algorithm.sign(tbs, fields.signer)));
}

function madeExtension({ oid, value, critical = false }: MadeExtension): Uint8Array {
  return derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctets(value));
}

/** Parts of a chain root, intermediate, leaf, with any field of each replaced. */
export interface ChainChanges {
  readonly root?: Partial<CertificateFields>;
  readonly intermediate?: Partial<CertificateFields>;
  readonly leaf?: Partial<CertificateFields>;
}

export interface ChainKeys {
  readonly root: MadeKey;
  readonly intermediate: MadeKey;
  readonly leaf: MadeKey;
}

export const chainKeys = (): ChainKeys => ({
  root: madeKey("P-384"),
  intermediate: madeKey("P-256"),
  leaf: madeKey("P-256"),
});

export interface MadeChain {
  readonly root: Uint8Array;
  readonly intermediate: Uint8Array;
  readonly leaf: Uint8Array;
}

/** A good chain, but for the changes. */
export function madeChain(keys: ChainKeys, { root, intermediate, leaf }: ChainChanges = {}): MadeChain {
  const top = { subject: "root", issuer: "root", spki: keys.root.spki, signer: keys.root.privateKey };
  const middle = { subject: "ca", issuer: "root", spki: keys.intermediate.spki, signer: keys.root.privateKey };
  const end = { subject: "leaf", issuer: "ca", spki: keys.leaf.spki, signer: keys.intermediate.privateKey };
  const usage = [madeExtensions.keyUsage("digitalSignature")];
  return {
    root: madeCertificate({ ...top, algorithm: ecdsaWith("sha384"), extensions: caExtensions(), ...root }),
    intermediate: madeCertificate({
      ...middle,
      algorithm: ecdsaWith("sha384"),
      extensions: caExtensions(0),
      ...intermediate,
    }),
    leaf: madeCertificate({ ...end, extensions: usage, ...leaf }),
  };
}

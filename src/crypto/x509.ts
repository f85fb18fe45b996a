/**
 * X.509 certificates and chains of them, read from the DER. Node's own `verify()` checks a signature and nothing else;
 * dates, CA flag, path length, key usage and extensions are checked here. No network: revocation is for the caller, who
 * has lists or none.
 *
 * A chain proves that the holder of a root vouched for the leaf's key. What else the leaf says is text of its makers.
 *
 * @see RFC 5280 §4, §6.1 · RFC 4055 (RSA) · RFC 5758 (ECDSA) · attestation.md §2.8
 */
import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import { equal, view } from "../base/bytes.ts";
import { isMeshError, MeshError } from "../base/errors.ts";
import {
  bitString,
  bitStringBytes,
  boolean,
  type Der,
  explicit,
  expectTag,
  integerBytes,
  isContext,
  octetString,
  oid,
  readDer,
  sequence,
  smallInteger,
  tags,
  time,
  unsigned,
} from "./der.ts";
import { type EcPublicKey, type Sha2, ecKeyFromSpki, verifyEcdsa } from "./p256.ts";

/** Leaf and intermediates together: vendor chains have 5 at most. */
const maxCertificates = 8;
/** Of one certificate: the largest ones seen have 3 KiB. */
const maxCertificateBytes = 16_384;
/** Ways from the leaf upwards that are tried: names can be made to match in thousands of ways, honest ones in a few. */
const maxPaths = 64;
/** RSA keys: shorter ones can be broken, longer ones cost too much to check. */
const rsaBits = { min: 2_048, max: 8_192 } as const;

const oids = {
  keyUsage: "2.5.29.15",
  basicConstraints: "2.5.29.19",
  extendedKeyUsage: "2.5.29.37",
  anyExtendedKeyUsage: "2.5.29.37.0",
  rsaEncryption: "1.2.840.113549.1.1.1",
  rsaPss: "1.2.840.113549.1.1.10",
  mgf1: "1.2.840.113549.1.1.8",
} as const;

const ecdsaHashes: ReadonlyMap<string, Sha2> = new Map([
  ["1.2.840.10045.4.3.2", "sha256"],
  ["1.2.840.10045.4.3.3", "sha384"],
  ["1.2.840.10045.4.3.4", "sha512"],
]);
const rsaHashes: ReadonlyMap<string, Sha2> = new Map([
  ["1.2.840.113549.1.1.11", "sha256"],
  ["1.2.840.113549.1.1.12", "sha384"],
  ["1.2.840.113549.1.1.13", "sha512"],
]);
const plainHashes: ReadonlyMap<string, Sha2> = new Map([
  ["2.16.840.1.101.3.4.2.1", "sha256"],
  ["2.16.840.1.101.3.4.2.2", "sha384"],
  ["2.16.840.1.101.3.4.2.3", "sha512"],
]);
const hashBytes: Readonly<Record<Sha2, number>> = { sha256: 32, sha384: 48, sha512: 64 };

export interface Extension {
  readonly critical: boolean;
  /** What the OCTET STRING holds: DER by the rules, raw bytes with some vendors. */
  readonly value: Uint8Array;
}

/** A certificate as it says of itself: nothing here is proven. Byte arrays share the memory of the input. */
export interface Certificate {
  readonly der: Uint8Array;
  /** The signed part, whole. */
  readonly tbs: Uint8Array;
  /** Two's complement, as in the certificate. */
  readonly serial: Uint8Array;
  /** A Name as DER. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  /** The last moment at which it is valid, Unix ms. */
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** RSA, or EC on a named curve. */
  readonly publicKey: KeyObject;
  /** The same key when it is on a curve. */
  readonly ecKey: EcPublicKey | undefined;
  /** By OID. */
  readonly extensions: ReadonlyMap<string, Extension>;
  /** Set when it may issue others; pathLength: how many CAs may stand between it and a leaf. */
  readonly authority: { readonly pathLength: number | undefined } | undefined;
  /** keyCertSign is among its key usages. */
  readonly signsCertificates: boolean;
  /** OIDs of its extended key usage; undefined without that extension. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** AlgorithmIdentifier of the signature on it. */
  readonly signatureAlgorithm: Der;
  readonly signature: Uint8Array;
}

/**
 * @param der one certificate, version 1 or 3, at most 16 KiB; borrowed: the result refers to it
 * @throws E_WIRE anything but such a certificate, an extension given twice · E_KEY a kind of key that is not supported
 */
export function parseCertificate(der: Uint8Array): Certificate {
  const [tbs, outer, signatureBits, ...more] = sequence(readDer(der, { maxBytes: maxCertificateBytes }));
  const fields = [...sequence(tbs)];
  const version = isContext(fields[0], 0) ? smallInteger(explicit(fields.shift(), 0)) : 0;
  const [serial, inner, issuer, validity, subject, spki, ...rest] = fields;
  const [notBefore, notAfter, ...moreDates] = sequence(validity);
  const extensions = version === 2 && rest.length > 0 ? readExtensions(explicit(rest.shift(), 3)) : new Map();
  // version 2 and the unique identifiers that came with it are not in use
  if ((version !== 0 && version !== 2) || more.length > 0 || rest.length > 0 || moreDates.length > 0) {
    throw new MeshError("E_WIRE", "this is no X.509 certificate of version 1 or 3");
  }
  const signatureAlgorithm = expectTag(outer, tags.sequence);
  // else the algorithm that is used would not be the one that was signed
  if (!equal(expectTag(inner, tags.sequence).bytes, signatureAlgorithm.bytes)) {
    throw new MeshError("E_WIRE", "a certificate that names two signature algorithms");
  }
  return {
    der,
    tbs: expectTag(tbs, tags.sequence).bytes,
    serial: integerBytes(serial),
    issuer: expectTag(issuer, tags.sequence).bytes,
    subject: expectTag(subject, tags.sequence).bytes,
    notBeforeMs: time(notBefore),
    notAfterMs: time(notAfter),
    ...readPublicKey(expectTag(spki, tags.sequence)),
    extensions,
    ...readMeanings(extensions),
    signatureAlgorithm,
    signature: bitStringBytes(signatureBits),
  };
}

function readExtensions(list: Der): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const node of sequence(list)) {
    const members = [...sequence(node)];
    const id = oid(members.shift());
    // "critical: false" should be left out; makers write it all the same, and its meaning is plain
    const critical = members[0]?.tag === tags.boolean && boolean(members.shift());
    const [value, ...more] = members;
    if (more.length > 0) throw new MeshError("E_WIRE", "an extension with something after it");
    // two answers to one question: different readers would take different ones
    if (extensions.has(id)) throw new MeshError("E_WIRE", "a certificate with an extension twice");
    extensions.set(id, { critical, value: octetString(value) });
  }
  if (extensions.size === 0) throw new MeshError("E_WIRE", "an empty list of extensions");
  return extensions;
}

type Meanings = Pick<Certificate, "authority" | "signsCertificates" | "extendedKeyUsage">;

function readMeanings(extensions: ReadonlyMap<string, Extension>): Meanings {
  const constraints = extensions.get(oids.basicConstraints);
  const usage = extensions.get(oids.keyUsage);
  const extended = extensions.get(oids.extendedKeyUsage);
  return {
    authority: constraints && readAuthority(constraints.value),
    // bit 5 of KeyUsage
    signsCertificates: usage !== undefined && ((bitString(readDer(usage.value)).bytes[0] ?? 0) & 0x04) !== 0,
    extendedKeyUsage: extended && sequence(readDer(extended.value)).map(oid),
  };
}

function readAuthority(value: Uint8Array): Certificate["authority"] {
  const members = [...sequence(readDer(value))];
  const isAuthority = members[0]?.tag === tags.boolean && boolean(members.shift());
  const [length, ...more] = members;
  if (more.length > 0 || (length && !isAuthority))
    throw new MeshError("E_WIRE", "basic constraints that make no sense");
  return isAuthority ? { pathLength: length && smallInteger(length) } : undefined;
}

function readPublicKey(spki: Der): Pick<Certificate, "spki" | "publicKey" | "ecKey"> {
  const [kind, parameters] = sequence(spki.children[0]);
  if (oid(kind) !== oids.rsaEncryption) {
    const ecKey = ecKeyFromSpki(spki.bytes);
    return { spki: spki.bytes, publicKey: ecKey.key, ecKey };
  }
  const [modulus, exponent, ...more] = sequence(readDer(bitStringBytes(spki.children[1])));
  if (more.length > 0 || spki.children.length !== 2 || !isNull(parameters)) {
    throw new MeshError("E_WIRE", "this is no RSA public key");
  }
  const bits = unsigned(modulus).toString(2).length;
  const e = unsigned(exponent);
  const isOdd = unsigned(modulus) % 2n === 1n && e % 2n === 1n;
  // a large exponent makes a check as slow as a signature
  if (bits < rsaBits.min || bits > rsaBits.max || e < 3n || e > 0xffff_ffffn || !isOdd) {
    throw new MeshError("E_KEY", "an RSA key of a size that is not supported");
  }
  try {
    const publicKey = createPublicKey({ key: view(spki.bytes), format: "der", type: "spki" });
    return { spki: spki.bytes, publicKey, ecKey: undefined };
  } catch (cause) {
    throw new MeshError("E_WIRE", "this is no RSA public key", { cause });
  }
}

function isNull(node: Der | undefined): boolean {
  return node?.tag === tags.null && node.contents.length === 0;
}

/**
 * Why a chain is not accepted; of several, the one that comes last here: it got furthest. `not-yet-valid` and `expired`
 * mean that everything else was right.
 */
export const chainFailures = [
  "limits",
  "malformed",
  "unknown-root",
  "unsupported-algorithm",
  "bad-signature",
  "not-a-ca",
  "path-length",
  "key-usage",
  "critical-extension",
  "eku",
  "not-yet-valid",
  "expired",
] as const;
export type ChainFailure = (typeof chainFailures)[number];

export interface ChainOptions {
  /** Time at which all certificates of the chain must be valid, the root's too; Unix ms. */
  readonly nowMs: number;
  /** Extended key usage that the leaf must have, and any intermediate that has the extension must allow. */
  readonly ekuOid?: string;
  /**
   * Critical extensions that the caller reads, or knows to be harmless; on any certificate of the chain. Known without
   * it: basic constraints, key usage, and extended key usage when `ekuOid` is given.
   */
  readonly allowedCriticalOids?: readonly string[];
}

export type ChainResult =
  | {
      readonly ok: true;
      readonly leaf: Certificate;
      /** Leaf first, root last. */
      readonly chain: readonly Certificate[];
      /** Time over which the whole chain is valid. */
      readonly notBeforeMs: number;
      readonly notAfterMs: number;
    }
  | { readonly ok: false; readonly why: ChainFailure };

/**
 * Whether a leaf goes back to one of the given roots. Never throws.
 *
 * Trust comes from `rootsDer` alone: their names and keys, compared byte for byte. A root among the intermediates gives
 * nothing. A root's own signature is not checked, the caller vouches for its bytes; one that cannot be read is no root.
 * Stricter than RFC 5280: names match as bytes, every CA needs a key usage, self-issued CAs count for the path length.
 * Not checked: revocation, and name constraints and policies (refused where critical, ignored where not).
 *
 * @param leafDer          at most 16 KiB
 * @param intermediatesDer at most 7 of at most 16 KiB, in any order; all must be readable, also those not needed
 */
export function verifyChain(
  leafDer: Uint8Array,
  intermediatesDer: readonly Uint8Array[],
  rootsDer: readonly Uint8Array[],
  options: ChainOptions,
): ChainResult {
  const given = [leafDer, ...intermediatesDer];
  if (given.length > maxCertificates || given.some(({ length }) => length > maxCertificateBytes)) {
    return { ok: false, why: "limits" };
  }
  const parsed: Certificate[] = [];
  for (const der of given) {
    const certificate = tryParse(der);
    if (typeof certificate === "string") return { ok: false, why: certificate };
    parsed.push(certificate);
  }
  const roots = rootsDer.map(tryParse).filter((root) => typeof root !== "string");
  const [leaf, ...intermediates] = parsed;
  if (!leaf) return { ok: false, why: "malformed" };

  let why: ChainFailure = "unknown-root";
  const paths = [[leaf]]; // grows while it is walked: shortest ways first
  for (const path of paths) {
    const last = path.at(-1) ?? leaf;
    for (const root of roots) {
      if (!equal(root.subject, last.issuer)) continue;
      const chain = [...path, root];
      const failure = checkPath(chain, options);
      if (!failure) return { ok: true, leaf, chain, ...windowOf(chain) };
      if (chainFailures.indexOf(failure) > chainFailures.indexOf(why)) why = failure;
    }
    for (const next of intermediates) {
      const isNew = !path.some((one) => equal(one.subject, next.subject) && equal(one.spki, next.spki));
      if (isNew && equal(next.subject, last.issuer) && paths.length < maxPaths) paths.push([...path, next]);
    }
  }
  return { ok: false, why };
}

function tryParse(der: Uint8Array): Certificate | "malformed" | "unsupported-algorithm" {
  try {
    return parseCertificate(der);
  } catch (error) {
    return isMeshError(error) && error.code === "E_KEY" ? "unsupported-algorithm" : "malformed";
  }
}

function windowOf(chain: readonly Certificate[]): { readonly notBeforeMs: number; readonly notAfterMs: number } {
  return {
    notBeforeMs: Math.max(...chain.map(({ notBeforeMs }) => notBeforeMs)),
    notAfterMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
  };
}

/** @param chain leaf first, root last, names matching */
function checkPath(chain: readonly Certificate[], options: ChainOptions): ChainFailure | undefined {
  const { nowMs, ekuOid, allowedCriticalOids = [] } = options;
  // from the root down: nothing is computed for what no root vouches for
  for (let at = chain.length - 2; at >= 0; at -= 1) {
    const [child, issuer] = chain.slice(at, at + 2);
    if (!child || !issuer) return "malformed";
    const failure = checkSignature(child, issuer) ?? checkAuthority(issuer, at);
    if (failure) return failure;
  }
  const known = [oids.basicConstraints, oids.keyUsage, ...allowedCriticalOids];
  if (ekuOid !== undefined) known.push(oids.extendedKeyUsage);
  for (const { extensions } of chain) {
    for (const [id, { critical }] of extensions) if (critical && !known.includes(id)) return "critical-extension";
  }
  if (ekuOid !== undefined) {
    const [leaf, ...above] = chain;
    if (!leaf?.extendedKeyUsage?.includes(ekuOid)) return "eku"; // "any" on a leaf says nothing
    const allows = ({ extendedKeyUsage: list }: Certificate): boolean =>
      list === undefined || list.includes(ekuOid) || list.includes(oids.anyExtendedKeyUsage);
    if (!above.every(allows)) return "eku";
  }
  const { notBeforeMs, notAfterMs } = windowOf(chain);
  // written so that a time that is no number fails
  if (!(nowMs >= notBeforeMs)) return "not-yet-valid";
  return nowMs <= notAfterMs ? undefined : "expired";
}

/** @param below how many CAs stand between it and the leaf */
function checkAuthority({ authority, signsCertificates }: Certificate, below: number): ChainFailure | undefined {
  if (!authority) return "not-a-ca";
  if (authority.pathLength !== undefined && below > authority.pathLength) return "path-length";
  return signsCertificates ? undefined : "key-usage";
}

function checkSignature(child: Certificate, issuer: Certificate): ChainFailure | undefined {
  const { tbs, signature, signatureAlgorithm } = child;
  const scheme = readScheme(signatureAlgorithm);
  if (!scheme) return "unsupported-algorithm"; // SHA-1 and MD5 among others
  const { ecKey, publicKey } = issuer;
  if (scheme.kind === "ecdsa") {
    const holds = ecKey && verifyEcdsa({ key: ecKey, message: tbs, signature, form: "der", hash: scheme.hash });
    return holds ? undefined : "bad-signature";
  }
  if (ecKey) return "bad-signature";
  const padding =
    scheme.kind === "pss"
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: hashBytes[scheme.hash] }
      : { padding: constants.RSA_PKCS1_PADDING };
  return verify(scheme.hash, tbs, { key: publicKey, ...padding }, signature) ? undefined : "bad-signature";
}

interface Scheme {
  readonly kind: "ecdsa" | "pkcs1" | "pss";
  readonly hash: Sha2;
}

function readScheme(algorithm: Der): Scheme | undefined {
  try {
    const [id, parameters, ...more] = algorithm.children;
    const name = oid(id);
    if (more.length > 0) return undefined;
    const ecdsa = ecdsaHashes.get(name);
    if (ecdsa) return parameters ? undefined : { kind: "ecdsa", hash: ecdsa };
    const pkcs1 = rsaHashes.get(name);
    if (pkcs1) return isNull(parameters) ? { kind: "pkcs1", hash: pkcs1 } : undefined;
    return name === oids.rsaPss ? readPss(parameters) : undefined;
  } catch {
    return undefined;
  }
}

/** One hash for message and mask, salt as long as the hash (RFC 4055 §3.1 recommends it, vendors do it). */
function readPss(parameters: Der | undefined): Scheme | undefined {
  const [hash, mask, salt, trailer, ...more] = sequence(parameters);
  const [maskName, maskHash] = sequence(explicit(mask, 1));
  const messageHash = readHash(explicit(hash, 0));
  const isUsual =
    messageHash !== undefined &&
    oid(maskName) === oids.mgf1 &&
    readHash(maskHash) === messageHash &&
    smallInteger(explicit(salt, 2)) === hashBytes[messageHash] &&
    (!trailer || smallInteger(explicit(trailer, 3)) === 1) &&
    more.length === 0;
  return isUsual ? { kind: "pss", hash: messageHash } : undefined;
}

function readHash(algorithm: Der | undefined): Sha2 | undefined {
  const [name, parameters, ...more] = sequence(algorithm);
  return more.length === 0 && (!parameters || isNull(parameters)) ? plainHashes.get(oid(name)) : undefined;
}

/**
 * The structures of a TPM 2.0 that evidence is made of, and no others: public areas of attestation and endorsement keys,
 * quotes, signatures, PCR selections. Pure codecs: whether a key or a quote is any good is for kinds/tpm2.ts to judge.
 *
 *   TPMT_PUBLIC     type u16 | name hash u16 | attributes u32 | 2B policy | parameters | unique
 *     ECC 0023      symmetric | scheme | curve u16 | kdf u16 = 0010 | 2B x | 2B y
 *     RSA 0001      symmetric | scheme | key bits u16 | exponent u32 | 2B modulus
 *     symmetric     0010, or 0006 (AES) | key bits u16 | 0043 (CFB)
 *     scheme        0010, or 0018 (ECDSA) | hash u16
 *   TPMS_ATTEST     ff544347 | 8018 | 2B qualified signer | 2B extra data | clock u64 | reset count u32 |
 *                   restart count u32 | safe u8 | firmware u64 | PCR selection | 2B PCR digest
 *   PCR selection   count u32 = 1 | hash u16 | size u8 | bitmap, bit i of byte j is PCR 8j + i
 *   TPMT_SIGNATURE  0018 | hash u16 | 2B r | 2B s
 *
 * @see TCG TPM 2.0 Library, Part 2: Structures
 */
import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { concat, toBase64Url } from "../../../base/bytes.ts";
import { MeshError } from "../../../base/errors.ts";
import { padLeft, sized, type TpmReader, tpmReader, u16be, u32be, u8be } from "./bytes.ts";

/** TPM_ALG_ID. */
export const algorithm = {
  rsa: 0x0001,
  aes: 0x0006,
  sha256: 0x000b,
  sha384: 0x000c,
  none: 0x0010,
  ecdsa: 0x0018,
  ecc: 0x0023,
  cfb: 0x0043,
} as const;

/** Bits of TPMA_OBJECT. */
export const attribute = {
  fixedTpm: 0x02,
  fixedParent: 0x10,
  sensitiveDataOrigin: 0x20,
  userWithAuth: 0x40,
  restricted: 0x1_0000,
  decrypt: 0x2_0000,
  sign: 0x4_0000,
} as const;

/** TPM_RH: what a primary key belongs to. */
export const hierarchy = { owner: 0x4000_0001, none: 0x4000_0007, endorsement: 0x4000_000b } as const;

export type HashName = "sha256" | "sha384";
export type CurveName = "P-256" | "P-384";

export const hashBytes: Readonly<Record<HashName, number>> = { sha256: 32, sha384: 48 };
export const coordinateBytes: Readonly<Record<CurveName, number>> = { "P-256": 32, "P-384": 48 };
const hashIds: Readonly<Record<HashName, number>> = { sha256: algorithm.sha256, sha384: algorithm.sha384 };
const curveIds: Readonly<Record<CurveName, number>> = { "P-256": 0x0003, "P-384": 0x0004 };

/** Longest of each, in bytes: an RSA-4096 public area has 610, a quote over all banks of a strange TPM stays below 512. */
export const structureLimits = { publicArea: 1_024, quote: 512, signature: 256, pcrs: 24 } as const;

export type TpmKey =
  | { readonly kind: "rsa"; /** Big-endian. */ readonly modulus: Uint8Array }
  /** Coordinates padded to the size of the field; whether the point is on the curve is not checked here. */
  | { readonly kind: "ec"; readonly curve: CurveName; readonly x: Uint8Array; readonly y: Uint8Array };

/** A key's public area. */
export interface PublicArea {
  /** TPMT_PUBLIC as received: the Name is a hash of it. */
  readonly bytes: Uint8Array;
  readonly nameHash: HashName;
  readonly attributes: number;
  readonly policy: Uint8Array;
  /** Bits of the AES key that wraps what is sent to the key; undefined for one that only signs. */
  readonly aesBits: 128 | 256 | undefined;
  /** The one scheme that the key signs with. */
  readonly scheme: "ecdsa-sha256" | undefined;
  readonly key: TpmKey;
}

/**
 * @param bytes borrowed
 * @throws      E_WIRE malformed, longer than structureLimits, or of a kind that is not spoken here
 */
export function decodePublicArea(bytes: Uint8Array): PublicArea {
  if (bytes.length > structureLimits.publicArea) throw new MeshError("E_WIRE", "a TPM public area is too long");
  const own = bytes.slice();
  const reader = tpmReader(own);
  const type = reader.u16();
  const nameHash = hashOf(reader.u16());
  const attributes = reader.u32();
  const policy = reader.sized(64);
  const aesBits = readSymmetric(reader);
  const scheme = readScheme(reader);
  const key = readKey(reader, type);
  reader.end();
  return { bytes: own, nameHash, attributes, policy, aesBits, scheme, key };
}

function hashOf(id: number): HashName {
  if (id === algorithm.sha256) return "sha256";
  if (id === algorithm.sha384) return "sha384";
  throw unknown("hash", id);
}

function readSymmetric(reader: TpmReader): 128 | 256 | undefined {
  const id = reader.u16();
  if (id === algorithm.none) return undefined;
  if (id !== algorithm.aes) throw unknown("cipher", id);
  const bits = reader.u16();
  const mode = reader.u16();
  if (mode !== algorithm.cfb) throw unknown("mode", mode);
  if (bits !== 128 && bits !== 256) throw unknown("AES key size", bits);
  return bits;
}

function readScheme(reader: TpmReader): "ecdsa-sha256" | undefined {
  const id = reader.u16();
  if (id === algorithm.none) return undefined;
  if (id !== algorithm.ecdsa) throw unknown("signature scheme", id);
  const hash = reader.u16();
  if (hash !== algorithm.sha256) throw unknown("hash of a signature", hash);
  return "ecdsa-sha256";
}

function readKey(reader: TpmReader, type: number): TpmKey {
  if (type === algorithm.ecc) {
    const curve = curveOf(reader.u16());
    const kdf = reader.u16();
    if (kdf !== algorithm.none) throw unknown("key derivation", kdf);
    const length = coordinateBytes[curve];
    const [x, y] = [reader.sized(length), reader.sized(length)];
    return { kind: "ec", curve, x: padLeft(x, length), y: padLeft(y, length) };
  }
  if (type === algorithm.rsa) {
    const bits = reader.u16();
    if (bits !== 2048 && bits !== 3072 && bits !== 4096) throw unknown("RSA key size", bits);
    const exponent = reader.u32();
    // 0 is how a TPM writes its default, 65537
    if (exponent !== 0) throw unknown("RSA exponent", exponent);
    const modulus = reader.sized(bits / 8);
    if (modulus.length !== bits / 8) throw new MeshError("E_WIRE", "a TPM's RSA modulus has not its length");
    return { kind: "rsa", modulus };
  }
  throw unknown("key type", type);
}

function curveOf(id: number): CurveName {
  if (id === curveIds["P-256"]) return "P-256";
  if (id === curveIds["P-384"]) return "P-384";
  throw unknown("curve", id);
}

function unknown(what: string, id: number): MeshError {
  return new MeshError("E_WIRE", `a TPM structure names a ${what} that is not spoken here: ${id}`);
}

/** A public area to be: a TPM makes the key that belongs to it. */
export type Template = Omit<PublicArea, "bytes">;

/** TPMT_PUBLIC; coordinates and modulus are written as they are, because templates have empty and zero ones. */
export function encodePublicArea(area: Template): Uint8Array {
  const { key } = area;
  const symmetric =
    area.aesBits === undefined
      ? u16be(algorithm.none)
      : concat([u16be(algorithm.aes), u16be(area.aesBits), u16be(algorithm.cfb)]);
  const scheme =
    area.scheme === undefined ? u16be(algorithm.none) : concat([u16be(algorithm.ecdsa), u16be(algorithm.sha256)]);
  return concat([
    u16be(key.kind === "ec" ? algorithm.ecc : algorithm.rsa),
    u16be(hashIds[area.nameHash]),
    u32be(area.attributes),
    sized(area.policy),
    symmetric,
    scheme,
    ...(key.kind === "ec"
      ? [u16be(curveIds[key.curve]), u16be(algorithm.none), sized(key.x), sized(key.y)]
      : [u16be(key.modulus.length * 8), u32be(0), sized(key.modulus)]),
  ]);
}

/** Name of a key: name hash u16 | H(public area), 34 or 50 bytes. */
export function nameOf(area: PublicArea): Uint8Array {
  return concat([u16be(hashIds[area.nameHash]), digest(area.nameHash, area.bytes)]);
}

/** Qualified name of a primary key: name hash u16 | H(handle of its hierarchy u32 | Name). */
export function qualifiedNameOf(area: PublicArea, parent: number): Uint8Array {
  return concat([u16be(hashIds[area.nameHash]), digest(area.nameHash, concat([u32be(parent), nameOf(area)]))]);
}

/** @returns undefined for a point that is not on its curve */
export function keyObjectOf(key: TpmKey): KeyObject | undefined {
  const jwk =
    key.kind === "ec"
      ? { kty: "EC", crv: key.curve, x: toBase64Url(key.x), y: toBase64Url(key.y) }
      : { kty: "RSA", n: toBase64Url(key.modulus), e: "AQAB" };
  try {
    return createPublicKey({ key: jwk, format: "jwk" });
  } catch {
    return undefined;
  }
}

/** SEC1 uncompressed point: 04 | x | y. */
export function pointOf(key: TpmKey & { kind: "ec" }): Uint8Array {
  return concat([u8be(4), key.x, key.y]);
}

/** What a TPM signs to tell its PCRs. */
export interface Quote {
  readonly qualifiedSigner: Uint8Array;
  readonly extraData: Uint8Array;
  /** ms that the TPM has been running, over all its boots. */
  readonly clock: bigint;
  /** Boots and resumes. For a key outside the endorsement hierarchy the TPM adds a constant of that key, modulo 2^32. */
  readonly resetCount: number;
  readonly restartCount: number;
  /** PCR numbers of the SHA-256 bank, ascending, none twice. */
  readonly pcrs: readonly number[];
  readonly pcrDigest: Uint8Array;
}

/** @throws E_WIRE malformed, no quote, not made in a TPM (other magic), or over another bank than SHA-256 */
export function decodeQuote(bytes: Uint8Array): Quote {
  if (bytes.length > structureLimits.quote) throw new MeshError("E_WIRE", "a TPM quote is too long");
  const reader = tpmReader(bytes.slice());
  if (reader.u32() !== 0xff54_4347) throw new MeshError("E_WIRE", "a TPM quote has not the magic of a TPM");
  if (reader.u16() !== 0x8018) throw new MeshError("E_WIRE", "a TPM signed something other than a quote");
  const qualifiedSigner = reader.sized(50);
  const extraData = reader.sized(64);
  const clock = reader.u64();
  const [resetCount, restartCount] = [reader.u32(), reader.u32()];
  if (reader.u8() > 1) throw new MeshError("E_WIRE", "a TPM quote has a truth value that is none");
  reader.u64(); // firmware version: disguised like the counters, so it says nothing
  const pcrs = readPcrSelection(reader);
  const pcrDigest = reader.sized(32);
  reader.end();
  return { qualifiedSigner, extraData, clock, resetCount, restartCount, pcrs, pcrDigest };
}

/** @throws E_WIRE unless it is one selection of the SHA-256 bank */
export function readPcrSelection(reader: TpmReader): readonly number[] {
  if (reader.u32() !== 1) throw new MeshError("E_WIRE", "a TPM selected more or fewer than one bank of PCRs");
  const bank = reader.u16();
  if (bank !== algorithm.sha256) throw unknown("bank of PCRs", bank);
  const size = reader.u8();
  if (size * 8 > structureLimits.pcrs) throw new MeshError("E_WIRE", "a PCR selection is too long");
  const pcrs: number[] = [];
  for (const [index, byte] of reader.take(size).entries()) {
    for (let bit = 0; bit < 8; bit += 1) if (byte & (1 << bit)) pcrs.push(8 * index + bit);
  }
  return pcrs;
}

/** TPML_PCR_SELECTION of the SHA-256 bank. @param pcrs numbers below 24 */
export function pcrSelection(pcrs: readonly number[]): Uint8Array {
  const bitmap = new Uint8Array(3);
  for (const pcr of pcrs) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  return concat([u32be(1), u16be(algorithm.sha256), u8be(bitmap.length), bitmap]);
}

/** @returns 32 bytes */
export function pcrDigestOf(values: readonly Uint8Array[]): Uint8Array {
  return digest("sha256", concat(values));
}

/**
 * Reads an ECDSA P-256 signature made with SHA-256.
 *
 * @returns r || s, 64 bytes (IEEE P1363): a TPM may leave out leading zeros
 * @throws  E_WIRE malformed, or of another scheme
 */
export function decodeSignature(bytes: Uint8Array): Uint8Array {
  if (bytes.length > structureLimits.signature) throw new MeshError("E_WIRE", "a TPM signature is too long");
  const reader = tpmReader(bytes);
  const scheme = reader.u16();
  if (scheme !== algorithm.ecdsa) throw unknown("signature scheme", scheme);
  const hash = reader.u16();
  if (hash !== algorithm.sha256) throw unknown("hash of a signature", hash);
  const [r, s] = [reader.sized(32), reader.sized(32)];
  reader.end();
  return concat([padLeft(r, 32), padLeft(s, 32)]);
}

function digest(hash: HashName, bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash(hash).update(bytes).digest());
}

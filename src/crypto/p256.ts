/**
 * ECDSA on P-256, and on P-384 and P-521 that certificate chains use: points, public keys, signatures. Verifying only:
 * signing keys stay in the hardware that evidence speaks of.
 *
 * High s is accepted, so (r, n - s) verifies where (r, s) does: a signature is no identity of what it signs.
 *
 * @see SEC 1 §2.3 (points) · FIPS 186-5 §6.4 · RFC 5480 (public keys)
 */
import { createPublicKey, ECDH, type KeyObject, verify } from "node:crypto";
import { concat, fromHex, toHex, view } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { bitStringBytes, ecdsaFromDer, oid, readDer, sequence, tags } from "./der.ts";

export type Curve = "P-256" | "P-384" | "P-521";

/** Hashes that signatures here are made over. */
export type Sha2 = "sha256" | "sha384" | "sha512";

interface CurveRow {
  readonly oid: string;
  /** Bytes of a coordinate and of the order. */
  readonly bytes: number;
  readonly order: bigint;
  /** What OpenSSL calls it. */
  readonly name: string;
  /** SubjectPublicKeyInfo up to the uncompressed point. */
  readonly prefix: Uint8Array;
}

const curves: Readonly<Record<Curve, CurveRow>> = {
  "P-256": {
    oid: "1.2.840.10045.3.1.7",
    bytes: 32,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    name: "prime256v1",
    prefix: fromHex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
  },
  "P-384": {
    oid: "1.3.132.0.34",
    bytes: 48,
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    name: "secp384r1",
    prefix: fromHex("3076301006072a8648ce3d020106052b81040022036200"),
  },
  "P-521": {
    oid: "1.3.132.0.35",
    bytes: 66,
    order:
      0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    name: "secp521r1",
    prefix: fromHex("30819b301006072a8648ce3d020106052b8104002303818600"),
  },
};

const ecPublicKeyOid = "1.2.840.10045.2.1";

/** A public key whose point was checked. Made here only. */
export interface EcPublicKey {
  readonly curve: Curve;
  /** 04 | x | y: 65 bytes on P-256. */
  readonly point: Uint8Array;
  readonly key: KeyObject;
}

/**
 * Reads a SEC1 point.
 *
 * @param sec1 02 or 03 | x, or 04 | x | y: 33 or 65 bytes on P-256
 * @throws E_WIRE another length or form, a point that is not on the curve
 */
export function ecKey(sec1: Uint8Array, curve: Curve = "P-256"): EcPublicKey {
  const { bytes, name, prefix } = curves[curve];
  const isForm =
    sec1[0] === 4 ? sec1.length === 1 + 2 * bytes : (sec1[0] === 2 || sec1[0] === 3) && sec1.length === 1 + bytes;
  // infinity is one byte, the hybrid forms begin with 06 and 07
  if (!isForm) throw new MeshError("E_WIRE", `this is no point of ${curve}`);
  try {
    const point = Uint8Array.from(ECDH.convertKey(view(sec1), name, undefined, undefined, "uncompressed") as Buffer);
    const key = createPublicKey({ key: view(concat([prefix, point])), format: "der", type: "spki" });
    return { curve, point, key };
  } catch (cause) {
    throw new MeshError("E_WIRE", `this is no point of ${curve}`, { cause });
  }
}

/**
 * The 65-byte form of a P-256 point of 33 or 65 bytes.
 *
 * @throws E_WIRE another length or form, a point that is not on the curve
 */
export function p256Point(sec1: Uint8Array): Uint8Array {
  return ecKey(sec1).point;
}

/**
 * Reads a SubjectPublicKeyInfo on a curve that is named in it. Parameters spelled out are refused: with them a key could
 * bring a generator of its own, and sign for a key that it does not have.
 *
 * @throws E_WIRE not exactly that, or a point that is not on the curve · E_KEY another kind of key or curve
 */
export function ecKeyFromSpki(spki: Uint8Array): EcPublicKey {
  const [algorithm, bits, ...others] = sequence(readDer(spki));
  const [kind, parameters, ...more] = sequence(algorithm);
  if (others.length > 0 || more.length > 0) throw new MeshError("E_WIRE", "a public key with something after it");
  const point = bitStringBytes(bits);
  if (oid(kind) !== ecPublicKeyOid || parameters?.tag !== tags.oid)
    throw new MeshError("E_KEY", "no key on a named curve");
  const curveOid = oid(parameters);
  for (const curve of ["P-256", "P-384", "P-521"] as const) {
    if (curves[curve].oid === curveOid) return ecKey(point, curve);
  }
  throw new MeshError("E_KEY", "a curve that is not supported");
}

export interface EcdsaCheck {
  readonly key: EcPublicKey;
  /** What was signed; hashed here, once. */
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  /** DER, or P1363: r | s, each as long as the curve's order. */
  readonly form: "der" | "p1363";
  /** @default "sha256" */
  readonly hash?: Sha2;
}

/** Whether `signature` is one of `key` over `message`; false for anything malformed, r and s out of range included. */
export function verifyEcdsa({ key, message, signature, form, hash = "sha256" }: EcdsaCheck): boolean {
  const { bytes, order } = curves[key.curve];
  let raw: Uint8Array;
  try {
    raw = form === "der" ? ecdsaFromDer(signature, bytes) : signature;
  } catch {
    return false;
  }
  if (raw.length !== 2 * bytes) return false;
  for (const part of [raw.subarray(0, bytes), raw.subarray(bytes)]) {
    const value = BigInt(`0x${toHex(part)}`);
    if (value === 0n || value >= order) return false;
  }
  return verify(hash, message, { key: key.key, dsaEncoding: "ieee-p1363" }, raw);
}

/**
 * ECDSA-SHA256 on P-256: {@link verifyEcdsa} with the key as it stands in evidence.
 *
 * @param check.publicKey SEC1, 33 or 65 bytes
 * @returns               false for anything malformed, a key that is no point included
 */
export function verifyP256(check: {
  readonly publicKey: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  readonly form: "der" | "p1363";
}): boolean {
  const { publicKey, ...rest } = check;
  try {
    return verifyEcdsa({ key: ecKey(publicKey), ...rest });
  } catch {
    return false;
  }
}

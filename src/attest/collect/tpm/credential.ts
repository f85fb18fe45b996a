/**
 * MakeCredential, the verifier's half of activation: a secret sealed to an endorsement key so that its TPM gives it out
 * only if it also holds the attestation key of the given Name. Pure apart from randomness; needs no TPM.
 *
 *   seed    RSA: |H| random bytes, sent by OAEP(H, label "IDENTITY\0")
 *           EC:  KDFe(H, Z.x, "IDENTITY\0", ephemeral.x, ek.x, |H|), sent as 2B ephemeral.x | 2B ephemeral.y
 *   encId   AES-CFB(KDFa(seed, "STORAGE\0", Name), iv 0, 2B secret)
 *   blob    2B HMAC(KDFa(seed, "INTEGRITY\0"), encId | Name) | encId
 *
 *   KDFa(key, label, context) = HMAC(key, u32 i | label | context | u32 bits), i from 1
 *   KDFe(Z, label, u, v)      = H(u32 i | Z | label | u | v)
 *
 * @see TCG TPM 2.0 Library, Part 1, "Credential Protection"
 */
import {
  constants,
  createCipheriv,
  createHash,
  createHmac,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
} from "node:crypto";
import { concat, fromBase64Url, utf8 } from "../../../base/bytes.ts";
import { MeshError } from "../../../base/errors.ts";
import { padLeft, sized, u32be } from "./bytes.ts";
import { coordinateBytes, type HashName, hashBytes, keyObjectOf, type PublicArea } from "./structures.ts";

const identity = utf8("IDENTITY\0");

/** What ActivateCredential takes, each without its u16 length. */
export interface Credential {
  /** TPMS_ID_OBJECT. */
  readonly blob: Uint8Array;
  /** The seed, encrypted to the endorsement key. */
  readonly encryptedSeed: Uint8Array;
}

export interface CredentialInput {
  readonly endorsementKey: PublicArea;
  /** Name of the attestation key, 34 bytes. */
  readonly name: Uint8Array;
  /** What the TPM gives out, at most 32 bytes. */
  readonly secret: Uint8Array;
}

/** @throws E_KEY an endorsement key that nothing can be sealed to */
export function makeCredential(input: CredentialInput): Credential {
  const { endorsementKey, name, secret } = input;
  const { nameHash: hash, aesBits } = endorsementKey;
  if (aesBits === undefined) throw new MeshError("E_KEY", "the TPM's endorsement key takes no credentials");
  const { seed, encryptedSeed } = newSeed(endorsementKey);
  const aesKey = kdfa(hash, seed, "STORAGE\0", name, aesBits);
  const cipher = createCipheriv(`aes-${aesBits}-cfb`, aesKey, new Uint8Array(16));
  const encrypted = concat([cipher.update(sized(secret)), cipher.final()]);
  const macKey = kdfa(hash, seed, "INTEGRITY\0", new Uint8Array(0), hashBytes[hash] * 8);
  const mac = createHmac(hash, macKey).update(encrypted).update(name).digest();
  return { blob: concat([sized(mac), encrypted]), encryptedSeed };
}

interface Seed {
  readonly seed: Uint8Array;
  readonly encryptedSeed: Uint8Array;
}

/** A key's numbers are a peer's: OpenSSL finds out only now that they make no key. */
function newSeed(endorsementKey: PublicArea): Seed {
  try {
    return sealSeed(endorsementKey);
  } catch (cause) {
    throw new MeshError("E_KEY", "nothing can be sealed to the TPM's endorsement key", { cause });
  }
}

function sealSeed({ key, nameHash: hash }: PublicArea): Seed {
  const publicKey = keyObjectOf(key);
  if (publicKey === undefined) throw new MeshError("E_KEY", "it is no point on its curve");
  if (key.kind === "rsa") {
    const seed = randomBytes(hashBytes[hash]);
    const options = { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash, oaepLabel: identity };
    return { seed, encryptedSeed: Uint8Array.from(publicEncrypt(options, seed)) };
  }
  const length = coordinateBytes[key.curve];
  const ephemeral = generateKeyPairSync("ec", { namedCurve: key.curve });
  const { x = "", y = "" } = ephemeral.publicKey.export({ format: "jwk" });
  const [ephemeralX, ephemeralY] = [padLeft(fromBase64Url(x), length), padLeft(fromBase64Url(y), length)];
  const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey });
  const seed = kdfe(hash, shared, ephemeralX, key.x);
  return { seed, encryptedSeed: concat([sized(ephemeralX), sized(ephemeralY)]) };
}

/** Key derivation in counter mode with HMAC. */
function kdfa(hash: HashName, key: Uint8Array, label: string, context: Uint8Array, bits: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let i = 1; (i - 1) * hashBytes[hash] * 8 < bits; i += 1) {
    blocks.push(createHmac(hash, key).update(u32be(i)).update(label).update(context).update(u32be(bits)).digest());
  }
  return concat(blocks).subarray(0, bits / 8);
}

/** Key derivation from an agreed point: one block, as long as the hash. */
function kdfe(hash: HashName, shared: Uint8Array, partyU: Uint8Array, partyV: Uint8Array): Uint8Array {
  return createHash(hash).update(u32be(1)).update(shared).update(identity).update(partyU).update(partyV).digest();
}

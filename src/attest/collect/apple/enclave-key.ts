/**
 * The attested key in a Mac's Secure Enclave: found again where that is possible, else made, and used to sign. What goes
 * through the FFI is for security-framework.ts. Not yet run on Apple hardware.
 *
 *   1 the key whose handle was kept in a file       lives as long as the machine; any process here that reads the file can use it
 *   2 the key that is in the keychain               lives as long as the machine; needs a program signed with an entitlement
 *   3 a new one in the keychain                     the same
 *   4 a new one outside it, its handle kept         as 1; without a handle it lives as long as the process
 *
 * @see attestation.md §3.1 · kSecAttrTokenOID in Apple's SecItemPriv.h: the chip's own wrapped form of a key
 */
import { concat, equal, utf8 } from "../../../base/bytes.ts";
import { MeshError, unlessMeshError } from "../../../base/errors.ts";
import { p256Point, verifyP256 } from "../../../crypto/p256.ts";
import type { KeyLife, KeyStore } from "../collector.ts";
import type { Failure, Ref, Scope, SecurityFramework } from "./security-framework.ts";

/** Under which the key is in the keychain. */
const tag = utf8("sealmesh.attested-key");
/** kSecAttrTokenOID: no header of Apple's names the symbol, so its text is used. */
const handleName = "toid";
const pointBytes = 65;

const errSecItemNotFound = -25_300;
const errSecMissingEntitlement = -34_018;

export class EnclaveKey {
  /** SEC1, 65 bytes. */
  readonly point: Uint8Array;
  readonly life: KeyLife;
  readonly #framework: SecurityFramework;
  readonly #key: Ref;

  constructor(parts: { framework: SecurityFramework; key: Ref; point: Uint8Array; life: KeyLife }) {
    this.#framework = parts.framework;
    this.#key = parts.key;
    this.point = parts.point;
    this.life = parts.life;
  }

  /**
   * @returns DER ECDSA P-256 over SHA-256 of the message
   * @throws  E_CONFIG the chip refuses, or what it gave does not hold: a wrong signature must not look like an attack
   */
  sign(message: Uint8Array): Promise<Uint8Array> {
    return this.#framework.scope(async (scope) => {
      const made = await scope.createSignature(this.#key, scope.data(message));
      const signature = scope.bytesOf(orThrow(made, "the Secure Enclave does not sign"));
      if (signature === undefined || !verifyP256({ publicKey: this.point, message, signature, form: "der" })) {
        throw new MeshError("E_CONFIG", "the Secure Enclave's signature does not hold");
      }
      return signature;
    });
  }

  /** Once, after the last {@link sign}. The key itself stays where it is kept. */
  release(): void {
    this.#framework.release(this.#key);
  }
}

/**
 * @param store where a handle is kept; undefined = nowhere
 * @throws      E_CONFIG no key can be had · as the store
 */
export async function openEnclaveKey(framework: SecurityFramework, store: KeyStore | undefined): Promise<EnclaveKey> {
  const kept = store?.read();
  return framework.scope(async (scope) => {
    const opened = kept === undefined ? await findOrMake(scope, store) : await remake(scope, kept);
    return new EnclaveKey({ framework, ...opened, key: scope.keep(opened.key) });
  });
}

interface Opened {
  readonly key: Ref;
  readonly point: Uint8Array;
  readonly life: KeyLife;
}

/**
 * Never falls back to a new key: what fails today may work tomorrow, and a new key would undo every pin of the old one.
 *
 * @param kept point[65] | handle
 */
async function remake(scope: Scope, kept: Uint8Array): Promise<Opened> {
  const { constants } = scope;
  const what = "the kept key of the Secure Enclave cannot be used; remove the file enclave-key to start with a new one";
  const point = readPoint(kept.subarray(0, pointBytes));
  if (point === undefined || kept.length <= pointBytes)
    throw new MeshError("E_CONFIG", `${what} (its file is damaged)`);
  const handle = scope.data(kept.subarray(pointBytes));
  const attributes = scope.dictionary([
    [constants.kSecAttrKeyType, constants.kSecAttrKeyTypeECSECPrimeRandom],
    [constants.kSecAttrKeyClass, constants.kSecAttrKeyClassPrivate],
    [constants.kSecAttrTokenID, constants.kSecAttrTokenIDSecureEnclave],
    [scope.text(handleName), handle],
  ]);
  const key = orThrow(await scope.createKeyWithData(handle, attributes), what);
  // a system that does not heed the handle makes another key and says nothing
  if (!equal(await pointOf(scope, key), point)) throw new MeshError("E_CONFIG", `${what} (it is another key)`);
  return { key, point, life: "machine" };
}

async function findOrMake(scope: Scope, store: KeyStore | undefined): Promise<Opened> {
  const found = await find(scope);
  if (!isFailure(found)) return { key: found, point: await pointOf(scope, found), life: "machine" };
  // a keychain that is locked may well have the key
  if (found.code !== errSecItemNotFound && found.code !== errSecMissingEntitlement) {
    orThrow(found, "the keychain cannot be searched");
  }
  const permanent = await make(scope, true);
  if (!isFailure(permanent)) return { key: permanent, point: await pointOf(scope, permanent), life: "machine" };
  if (permanent.code !== errSecMissingEntitlement) orThrow(permanent, "the Secure Enclave makes no key");
  const key = orThrow(await make(scope, false), "the Secure Enclave makes no key");
  const point = await pointOf(scope, key);
  const handle = await handleOf(scope, key);
  if (store === undefined || handle === undefined) return { key, point, life: "process" };
  store.write(concat([point, handle]));
  return { key, point, life: "machine" };
}

function find(scope: Scope): Promise<Ref | Failure> {
  const { constants } = scope;
  const query = scope.dictionary([
    [constants.kSecClass, constants.kSecClassKey],
    [constants.kSecAttrKeyType, constants.kSecAttrKeyTypeECSECPrimeRandom],
    [constants.kSecAttrKeyClass, constants.kSecAttrKeyClassPrivate],
    [constants.kSecAttrTokenID, constants.kSecAttrTokenIDSecureEnclave],
    [constants.kSecAttrApplicationTag, scope.data(tag)],
    [constants.kSecUseDataProtectionKeychain, constants.kCFBooleanTrue],
    [constants.kSecReturnRef, constants.kCFBooleanTrue],
  ]);
  return scope.findItem(query);
}

async function make(scope: Scope, isPermanent: boolean): Promise<Ref | Failure> {
  const { constants } = scope;
  const access = scope.accessControl();
  if (isFailure(access)) return access;
  const inKeychain: readonly (readonly [Ref, Ref])[] = [
    [constants.kSecAttrIsPermanent, constants.kCFBooleanTrue],
    [constants.kSecAttrApplicationTag, scope.data(tag)],
  ];
  const attributes = scope.dictionary([
    [constants.kSecAttrKeyType, constants.kSecAttrKeyTypeECSECPrimeRandom],
    [constants.kSecAttrKeySizeInBits, scope.int32(256)],
    [constants.kSecAttrTokenID, constants.kSecAttrTokenIDSecureEnclave],
    [
      constants.kSecPrivateKeyAttrs,
      scope.dictionary([[constants.kSecAttrAccessControl, access], ...(isPermanent ? inKeychain : [])]),
    ],
  ]);
  return scope.createRandomKey(attributes);
}

/** @throws E_CONFIG it has none, or is no key of a Secure Enclave */
async function pointOf(scope: Scope, key: Ref): Promise<Uint8Array> {
  const { constants } = scope;
  const what = "the Secure Enclave does not show its key";
  const attributes = orThrow(await scope.attributesOf(key), what);
  const token = scope.valueOf(attributes, constants.kSecAttrTokenID);
  if (token === undefined || !scope.isEqual(token, constants.kSecAttrTokenIDSecureEnclave)) {
    throw new MeshError("E_CONFIG", "macOS gave a key that is not in the Secure Enclave");
  }
  const publicKey = orThrow(await scope.publicKeyOf(key), what);
  const bytes = scope.bytesOf(orThrow(await scope.externalRepresentationOf(publicKey), what));
  const point = bytes && readPoint(bytes);
  if (point === undefined) throw new MeshError("E_CONFIG", `${what} as a point of P-256`);
  return point;
}

async function handleOf(scope: Scope, key: Ref): Promise<Uint8Array | undefined> {
  const attributes = await scope.attributesOf(key);
  if (isFailure(attributes)) return undefined;
  const value = scope.valueOf(attributes, scope.text(handleName));
  const handle = value === undefined ? undefined : scope.bytesOf(value);
  return handle?.length === 0 ? undefined : handle;
}

function readPoint(bytes: Uint8Array): Uint8Array | undefined {
  return bytes.length === pointBytes ? unlessMeshError(() => p256Point(bytes)) : undefined;
}

function isFailure(result: Ref | Failure): result is Failure {
  return typeof result !== "bigint";
}

/** The number is all that is said of the system's reason: its text is in the user's language, and may name anything. */
function orThrow(result: Ref | Failure, what: string): Ref {
  if (!isFailure(result)) return result;
  throw new MeshError("E_CONFIG", result.code === undefined ? what : `${what} (macOS error ${result.code})`);
}

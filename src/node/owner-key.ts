/**
 * An owner's key on disk: a JSON file of mode 0600, which is best kept where no node runs. The seed in it is under a passphrase,
 * unless its owner wanted none. It is in memory for as long as it takes to sign. What it signs is in owner-claim.ts.
 *
 *   {"format": "sealmesh-owner-key", "version": 1, "owner_id": hex 32, "public_key": hex 32,
 *    "protection": {"kdf": "argon2id", "memory_kib", "passes", "salt": hex 16, "nonce": hex 12, "box": hex 48}}
 *    "protection": {"kdf": "none", "seed": hex 32}
 *   box = the Ed25519 seed[32] under the passphrase (crypto/passphrase.ts), about "sealmesh-owner-key-v1\0" | public key[32]
 */
import { concat, equal, fromHex, fromUtf8, toHex } from "../base/bytes.ts";
import { MeshError, unlessMeshError } from "../base/errors.ts";
import { countOf, isRecord, type Json, parseJsonText } from "../base/json.ts";
import { identityFrom, newIdentitySeed } from "../crypto/identity.ts";
import {
  type Hardness,
  hardnessBounds,
  openWithPassphrase,
  type PassphraseBox,
  sealWithPassphrase,
} from "../crypto/passphrase.ts";
import { ownerIdOf } from "../policy/owners.ts";
import { labels } from "../wire/labels.ts";
import { readOwn, readSmall, writeNew } from "./own-files.ts";

export type KeyProtection =
  | { readonly kind: "passphrase"; readonly sealed: PassphraseBox }
  /** 32 bytes. */
  | { readonly kind: "none"; readonly seed: Uint8Array };

export interface OwnerKeyFile {
  /** SHA-256 of the key, 64 hex digits. */
  readonly ownerId: string;
  /** 32 bytes, Ed25519. */
  readonly publicKey: Uint8Array;
  readonly protection: KeyProtection;
}

/** The key itself, for one signature. */
export interface OwnerKey {
  readonly ownerId: string;
  readonly publicKey: Uint8Array;
  /** @returns 64 bytes, Ed25519 over `message` */
  sign(message: Uint8Array): Uint8Array;
}

/** A file has some 500 characters. */
const fileCharacters = 4_096;
const format = "sealmesh-owner-key";
const version = 1;

/** A fresh key. @param passphrase undefined: whoever gets at the file has the key */
export function newOwnerKey(passphrase: string | undefined, hardness?: Hardness): OwnerKeyFile {
  const seed = newIdentitySeed();
  const publicKey = fromHex(identityFrom(seed).id, 32);
  const ownerId = ownerIdOf(publicKey);
  if (passphrase === undefined) return { ownerId, publicKey, protection: { kind: "none", seed } };
  const sealed = sealWithPassphrase(seed, passphrase, about(publicKey), hardness);
  seed.fill(0);
  return { ownerId, publicKey, protection: { kind: "passphrase", sealed } };
}

/** @throws E_INPUT there is a file already: replacing it could take the key of every node of its owner */
export function writeOwnerKey(path: string, key: OwnerKeyFile): void {
  if (writeNew(path, encodeOwnerKey(key))) return;
  throw new MeshError("E_INPUT", `${path} is there already, and may be the key of your nodes; move it away first`);
}

/**
 * @returns undefined when there is no such file
 * @throws  E_STATE others can read it · E_INPUT no owner's key
 */
export function readOwnerKey(path: string): OwnerKeyFile | undefined {
  const text = readOwn(path);
  if (text === undefined) return undefined;
  const key = decodeOwnerKey(text);
  if (key) return key;
  throw new MeshError("E_INPUT", `${path} is no owner's key that \`sealmesh owner init\` made`);
}

/**
 * @param passphrase asked for only where the file needs one
 * @throws           E_OPEN it does not open the file, or what stands in the file does not belong together
 */
export function openOwnerKey({ ownerId, publicKey, protection }: OwnerKeyFile, passphrase: () => string): OwnerKey {
  const seed =
    protection.kind === "none"
      ? protection.seed
      : openWithPassphrase(protection.sealed, passphrase(), about(publicKey));
  const identity = seed.length === 32 ? identityFrom(seed) : undefined;
  if (!identity || !equal(fromHex(identity.id, 32), publicKey)) {
    throw new MeshError("E_OPEN", "the public key in the file does not belong to the secret one");
  }
  if (protection.kind === "passphrase") seed.fill(0); // the identity signs with a copy of its own
  return { ownerId, publicKey, sign: (message) => identity.sign(message) };
}

/** Nobody who changes the file can have another key signed for. */
function about(publicKey: Uint8Array): Uint8Array {
  return concat([labels.ownerKey, publicKey]);
}

/** Bytes of a file with a passphrase: a long sentence. */
const passphraseBytes = 1_024;

/** The first line of a file, or of a pipe. @throws E_INPUT it cannot be read, or is empty */
export function readPassphrase(path: string, { pipe = false }: { readonly pipe?: boolean } = {}): string {
  const [line = ""] = fromUtf8(readSmall(path, passphraseBytes, { pipe })).split(/\r?\n/);
  if (line === "") throw new MeshError("E_INPUT", `${path} has no passphrase in its first line`);
  return line;
}

// ---- the file's text

export function encodeOwnerKey({ ownerId, publicKey, protection }: OwnerKeyFile): string {
  const document = {
    format,
    version,
    owner_id: ownerId,
    public_key: toHex(publicKey),
    protection: protection.kind === "none" ? { kdf: "none", seed: toHex(protection.seed) } : boxJson(protection.sealed),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function boxJson({ hardness: { memoryKib, passes }, salt, nonce, box }: PassphraseBox): Json {
  const hex = { salt: toHex(salt), nonce: toHex(nonce), box: toHex(box) };
  return { kdf: "argon2id", memory_kib: memoryKib, passes, ...hex };
}

/**
 * Members that are not known are skipped.
 *
 * @returns undefined for text that is no such file, or says of itself what is not so
 */
export function decodeOwnerKey(text: string): OwnerKeyFile | undefined {
  if (text.length > fileCharacters) return undefined;
  const document = parseJsonText(text);
  if (!isRecord(document) || document["format"] !== format || document["version"] !== version) return undefined;
  const publicKey = hexOf(document["public_key"], 32);
  const protection = isRecord(document["protection"]) ? decodeProtection(document["protection"]) : undefined;
  if (!publicKey || !protection) return undefined;
  const ownerId = ownerIdOf(publicKey);
  return document["owner_id"] === ownerId ? { ownerId, publicKey, protection } : undefined;
}

function decodeProtection(given: Json): KeyProtection | undefined {
  if (given["kdf"] === "none") {
    const seed = hexOf(given["seed"], 32);
    return seed && { kind: "none", seed };
  }
  if (given["kdf"] !== "argon2id") return undefined;
  const memoryKib = within(given["memory_kib"], hardnessBounds.memoryKib);
  const passes = within(given["passes"], hardnessBounds.passes);
  const [salt, nonce, box] = [hexOf(given["salt"], 16), hexOf(given["nonce"], 12), hexOf(given["box"], 48)];
  if (memoryKib === undefined || passes === undefined || !salt || !nonce || !box) return undefined;
  return { kind: "passphrase", sealed: { hardness: { memoryKib, passes }, salt, nonce, box } };
}

function hexOf(value: unknown, bytes: number): Uint8Array | undefined {
  return typeof value === "string" ? unlessMeshError(() => fromHex(value, bytes)) : undefined;
}

/** A file must not have us take the memory of the machine. */
function within(
  value: unknown,
  { least, most }: { readonly least: number; readonly most: number },
): number | undefined {
  const count = countOf(value);
  return count !== undefined && count >= least && count <= most ? count : undefined;
}

/**
 * SignedBuildList: which builds of the program an operator accepts and which not any more (docs/builds.md). Bytes and fields
 * only; whose signature counts, and for how long, is for policy/builds.ts.
 *
 *   SignedBuildList = protobuf {1 signed, 2 signature[64], 3 key[32]} or {1 signed, 4 Sigstore bundle}   at most 64 KiB
 *   signature       = Ed25519(key, "sealmesh-build-list-v1\0" || signed)
 *   signed          = protobuf BuildList, see proto/sealmesh.proto
 *
 * The protobuf need not be canonical: keep and pass on the bytes as they came, never encode a decoded list again.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { concat, fromHex, toHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { type Build as BuildMessage, BuildListSchema, SignedBuildListSchema } from "./gen/sealmesh_pb.ts";
import { isName } from "./gossip.ts";
import { labels } from "./labels.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";

export interface ListedBuild {
  /** As its makers call it; for people. */
  readonly version: string;
  /** "linux-x64" and the like, or "linux" for all of them. */
  readonly platform: string;
  /** 64 lower-case hex digits. */
  readonly digest: string;
  /** Unix ms; undefined = as the list. */
  readonly notBeforeMs: number | undefined;
  /** Unix ms, the first moment at which it is not accepted any more; undefined = as the list. */
  readonly expiresMs: number | undefined;
  readonly revoked: boolean;
}

export interface BuildList {
  /** u64; the highest one of a signer wins. */
  readonly seq: bigint;
  /** Unix ms. */
  readonly issuedAtMs: number;
  /** Unix ms. */
  readonly notBeforeMs: number;
  /** Unix ms, the first moment at which nothing on it is accepted any more. */
  readonly expiresMs: number;
  /** At most limits.buildsPerList. */
  readonly builds: readonly ListedBuild[];
  /** For people; undefined = none. */
  readonly note: string | undefined;
}

/** Who vouches for a list. */
export type ListSeal =
  /** Ed25519: key of 32 bytes, signature of 64. */
  | { readonly kind: "key"; readonly key: Uint8Array; readonly signature: Uint8Array }
  /** JSON of a Sigstore bundle. */
  | { readonly kind: "sigstore"; readonly bundle: Uint8Array };

export interface SignedBuildList {
  /** The bytes of a BuildList. */
  readonly signed: Uint8Array;
  readonly seal: ListSeal;
}

/** What is signed: label || signed. */
export function buildListSigningBytes(signed: Uint8Array): Uint8Array {
  return concat([labels.buildList, signed]);
}

/** @returns the `signed` bytes · @throws E_WIRE what no reader would take */
export function encodeBuildList(list: BuildList): Uint8Array {
  const message = create(BuildListSchema, {
    seq: list.seq,
    issuedAtMs: BigInt(list.issuedAtMs),
    notBeforeMs: BigInt(list.notBeforeMs),
    expiresMs: BigInt(list.expiresMs),
    builds: list.builds.map(({ version, platform, digest, notBeforeMs, expiresMs, revoked }) => ({
      version,
      platform,
      digest: fromHex(digest, 32),
      ...(notBeforeMs === undefined ? {} : { notBeforeMs: BigInt(notBeforeMs) }),
      ...(expiresMs === undefined ? {} : { expiresMs: BigInt(expiresMs) }),
      revoked,
    })),
    note: list.note ?? "",
  });
  const signed = toBinary(BuildListSchema, message);
  decodeBuildList(signed);
  return signed;
}

/**
 * @param signed at most limits.buildListBytes; the result shares no memory with it
 * @throws       E_WIRE not such a message, too many builds, a digest that is not 32 bytes, a time beyond 2^53 ms, a version,
 *               platform or note that is no name, an end that is not after its beginning
 */
export function decodeBuildList(signed: Uint8Array): BuildList {
  checkSize(signed);
  // six fields a build, six of the list, and room for those of later versions
  const message = decodeMessage(BuildListSchema, signed, limits.buildsPerList * 8 + 32);
  const { builds, note } = message;
  if (builds.length > limits.buildsPerList) throw malformed(`it has more than ${limits.buildsPerList} builds`);
  if (!isName(note)) throw malformed("its note is too long, or has control characters in it");
  const list: BuildList = {
    seq: message.seq,
    issuedAtMs: milliseconds(message.issuedAtMs),
    notBeforeMs: milliseconds(message.notBeforeMs),
    expiresMs: milliseconds(message.expiresMs),
    builds: builds.map(buildFrom),
    note: note === "" ? undefined : note,
  };
  if (list.expiresMs <= list.notBeforeMs) throw malformed("it expires before it holds");
  return list;
}

function buildFrom(build: BuildMessage): ListedBuild {
  const { version, platform, digest, notBeforeMs, expiresMs, revoked } = build;
  if (digest.length !== 32) throw malformed(`a digest has 32 bytes, not ${digest.length}`);
  if (version === "" || !isName(version)) throw malformed("a build has no version, or one that is no name");
  if (!isPlatform(platform)) throw malformed("a build has no platform such as linux-x64");
  return {
    version,
    platform,
    digest: toHex(digest),
    notBeforeMs: notBeforeMs === undefined ? undefined : milliseconds(notBeforeMs),
    expiresMs: expiresMs === undefined ? undefined : milliseconds(expiresMs),
    revoked,
  };
}

/** "linux", "linux-x64", "darwin-arm64" and so on. */
export function isPlatform(text: string): boolean {
  return text.length <= 64 && /^[a-z0-9]+(?:[-_.][a-z0-9]+)*$/.test(text);
}

/** @returns the SignedBuildList as it goes into files and gossip */
export function encodeSignedBuildList({ signed, seal }: SignedBuildList): Uint8Array {
  const sealed = seal.kind === "key" ? { key: seal.key, signature: seal.signature } : { sigstoreBundle: seal.bundle };
  return toBinary(SignedBuildListSchema, create(SignedBuildListSchema, { signed, ...sealed }));
}

/**
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE over its limits, not such a message, neither signature with key nor bundle, or both
 */
export function decodeSignedBuildList(bytes: Uint8Array): SignedBuildList {
  checkSize(bytes);
  const { signed, signature, key, sigstoreBundle: bundle } = decodeMessage(SignedBuildListSchema, bytes, 64);
  if (bundle.length > 0) {
    if (signature.length > 0 || key.length > 0) throw malformed("it has a signature and a bundle");
    if (bundle.length > limits.sigstoreBundleBytes) {
      throw malformed(`its bundle has more than ${limits.sigstoreBundleBytes} bytes`);
    }
    return { signed: signed.slice(), seal: { kind: "sigstore", bundle: bundle.slice() } };
  }
  if (key.length !== 32) throw malformed(`a key has 32 bytes, not ${key.length}`);
  if (signature.length !== 64) throw malformed(`a signature has 64 bytes, not ${signature.length}`);
  return { signed: signed.slice(), seal: { kind: "key", key: key.slice(), signature: signature.slice() } };
}

function checkSize(bytes: Uint8Array): void {
  if (bytes.length > limits.buildListBytes) throw malformed(`it has more than ${limits.buildListBytes} bytes`);
}

function milliseconds(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed("a time in it is out of range");
  return Number(value);
}

function malformed(why: string): MeshError {
  return new MeshError("E_WIRE", `this is no list of builds: ${why}`);
}

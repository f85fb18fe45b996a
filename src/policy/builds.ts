/**
 * Known builds: lists of what an operator accepts, whose signature counts, which list replaces which, and what follows for
 * the build that a host says it runs. Pure: lists and time are inputs; node/build-lists.ts gets and keeps them.
 *
 * What this cannot show: the digest is the host's own word, signed by its endpoint key. A host that lies about it passes.
 * A list keeps out honest hosts with a build that was taken back or that nobody knows, and raises no tier.
 *
 * @see docs/builds.md · protocol.md §11 A5
 */
import type { HostProof } from "../attest/proof.ts";
import { endpointIdFromBytes } from "../base/brand.ts";
import { equal, toHex } from "../base/bytes.ts";
import { isMeshError } from "../base/errors.ts";
import { verifySignature } from "../crypto/identity.ts";
import {
  type BuildList,
  buildListSigningBytes,
  decodeBuildList,
  decodeSignedBuildList,
  type ListedBuild,
  type SignedBuildList,
} from "../wire/builds.ts";
import { limits } from "../wire/limits.ts";
import type { PostureFacts } from "./hardened.ts";

// ---- whose lists count

/** A list whose signature holds, of a signer that the operator trusts. */
export interface VerifiedBuildList {
  /** 64 hex digits of the key, or {@link SigstoreSigner.name}. */
  readonly signer: string;
  readonly list: BuildList;
  /** SignedBuildList as received: kept and passed on byte for byte. */
  readonly bytes: Uint8Array;
  /** What the signature covers. */
  readonly signed: Uint8Array;
}

/** An identity whose Sigstore bundles count; made by policy/sigstore.ts. */
export interface SigstoreSigner {
  /** "sigstore ISSUER IDENTITY". */
  readonly name: string;
  /** Whether a bundle vouches for `message`. Pure; never throws for what stands in the bundle. @returns why not */
  refuses(message: Uint8Array, bundle: Uint8Array): string | undefined;
}

/** Whose lists an operator takes. */
export interface ListTrust {
  /** Ed25519 keys, 64 lower-case hex digits each. */
  readonly keys: ReadonlySet<string>;
  readonly sigstore: SigstoreSigner | undefined;
}

export type ListRefusal =
  | "malformed"
  | "unknown-signer"
  | "signature-wrong"
  | "from-the-future"
  | "rolled-back"
  | "conflict";

/** Why a list is not taken. Each has its own sentence, and none touches the list that is held. */
export const listRefusals: Readonly<Record<ListRefusal, string>> = {
  malformed: "It is no list of builds that can be read.",
  "unknown-signer": "It is signed by a key or an identity that you do not trust.",
  "signature-wrong": "Its signature does not hold.",
  "from-the-future": "It says that it was made in the future; compare the clocks.",
  "rolled-back": "It is older than the list of the same signer that this node knows already.",
  conflict: "It has the number of the list that this node knows, and says something else.",
};

export type ListRead =
  | { readonly kind: "good"; readonly list: VerifiedBuildList }
  | {
      readonly kind: "refused";
      readonly reason: ListRefusal;
      /** What was wrong in particular, in our own words. */
      readonly why?: string;
    };

/**
 * Checks a SignedBuildList by itself. One that has expired is good: it may still replace an older one, and what it revokes
 * stays revoked.
 *
 * @param nowMs undefined: a list of any time, such as one that was taken before
 */
export function readBuildList(bytes: Uint8Array, trust: ListTrust, nowMs: number | undefined): ListRead {
  let parts: SignedBuildList;
  let list: BuildList;
  try {
    parts = decodeSignedBuildList(bytes);
    list = decodeBuildList(parts.signed);
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return { kind: "refused", reason: "malformed", why: thrown.message };
  }
  const { signed } = parts;
  const signer = signerOf(parts, trust);
  if (signer === undefined) return { kind: "refused", reason: "unknown-signer", ...whoSigned(parts) };
  const wrong = wrongSeal(parts, trust);
  if (wrong !== undefined) return { kind: "refused", reason: "signature-wrong", ...wrong };
  if (nowMs !== undefined && list.issuedAtMs > nowMs + limits.recordAheadMs) {
    return { kind: "refused", reason: "from-the-future" };
  }
  return { kind: "good", list: { signer, list, bytes, signed } };
}

/** Who would have signed it, if that is somebody whom the operator trusts. */
function signerOf({ seal }: SignedBuildList, { keys, sigstore }: ListTrust): string | undefined {
  if (seal.kind === "sigstore") return sigstore?.name;
  const key = toHex(seal.key);
  return keys.has(key) ? key : undefined;
}

function whoSigned({ seal }: SignedBuildList): { why?: string } {
  return seal.kind === "key" ? { why: `the key is ${toHex(seal.key)}` } : { why: "it has a Sigstore bundle" };
}

function wrongSeal({ signed, seal }: SignedBuildList, { sigstore }: ListTrust): { why?: string } | undefined {
  const message = buildListSigningBytes(signed);
  if (seal.kind === "key") {
    return verifySignature(endpointIdFromBytes(seal.key), message, seal.signature) ? undefined : {};
  }
  const why = sigstore?.refuses(message, seal.bundle);
  return why === undefined ? undefined : { why };
}

/** The newest list of each signer. */
export type ListBook = ReadonlyMap<string, VerifiedBuildList>;

export type ListTaken =
  | { readonly kind: "taken"; readonly book: ListBook; readonly list: VerifiedBuildList }
  | { readonly kind: "same" }
  | Extract<ListRead, { kind: "refused" }>;

/**
 * Takes a list into the book if it is newer than what its signer said last. It counts from then on, whatever is in it: a
 * revocation must not wait, and nobody can be held back on an old list with a newer one at hand.
 */
export function takeBuildList(book: ListBook, bytes: Uint8Array, trust: ListTrust, nowMs: number): ListTaken {
  for (const known of book.values()) if (equal(known.bytes, bytes)) return { kind: "same" };
  const read = readBuildList(bytes, trust, nowMs);
  if (read.kind === "refused") return read;
  const { list } = read;
  const known = book.get(list.signer);
  if (known && list.list.seq < known.list.seq) {
    return { kind: "refused", reason: "rolled-back", why: `it is number ${list.list.seq}, not ${known.list.seq}` };
  }
  if (known && list.list.seq === known.list.seq) {
    // the same words with another signature or bundle around them are no news
    return equal(known.signed, list.signed) ? { kind: "same" } : { kind: "refused", reason: "conflict" };
  }
  return { kind: "taken", book: new Map(book).set(list.signer, list), list };
}

// ---- what lists say of a build

/** A build as its host tells it. */
export interface ToldBuild {
  /** 64 lower-case hex digits. */
  readonly digest: string;
  /** "linux" or "linux-x64". */
  readonly platform: string;
}

/** The build in a posture that counts; undefined: the host tells none, or not signed. */
export function toldBuild(facts: PostureFacts): ToldBuild | undefined {
  if (facts.kind !== "signed" || facts.posture.build === undefined) return undefined;
  return { digest: facts.posture.build, platform: facts.posture.platform };
}

export type BuildOutcome =
  | "accepted"
  | "not-told"
  | "revoked"
  /** No list has it. */
  | "unknown-build"
  /** It was accepted until a time that has passed. */
  | "build-expired"
  /** No list holds any more. */
  | "list-expired"
  /** It, or every list, holds from a later time on. */
  | "not-yet"
  /** There is no list at all. */
  | "no-list";

export interface BuildVerdict {
  readonly outcome: BuildOutcome;
  /** What the list calls it; for people. */
  readonly version?: string;
  /** Of the list that says so. */
  readonly signer?: string;
  /** When it ended or will begin, Unix ms. */
  readonly atMs?: number;
}

export interface AcceptedBuilds {
  /** @param build undefined: the host has told none that is signed */
  judge(build: ToldBuild | undefined, nowMs: number): BuildVerdict;
  /** Digests of all builds that are accepted now, whatever their platform; the same set for as long as it is the same. */
  digests(nowMs: number): ReadonlySet<string>;
}

export type ListState = "in force" | "expired" | "not yet";

export function listState({ notBeforeMs, expiresMs }: BuildList, nowMs: number): ListState {
  if (nowMs >= expiresMs) return "expired";
  return nowMs < notBeforeMs ? "not yet" : "in force";
}

/**
 * What all lists together say. One that accepts a build suffices, one that revokes it wins over all that accept it, and goes
 * on doing so when it has expired.
 */
export function judgeBuild(
  lists: readonly VerifiedBuildList[],
  build: ToldBuild | undefined,
  nowMs: number,
): BuildVerdict {
  if (build === undefined) return { outcome: "not-told" };
  // for every request and host: nothing is made of the other thousand
  const named = lists.flatMap(({ list, signer }) =>
    list.builds.filter(({ digest }) => digest === build.digest).map((listed) => ({ listed, list, signer })),
  );
  const revoked = named.find(({ listed }) => listed.revoked);
  if (revoked) return { outcome: "revoked", version: revoked.listed.version, signer: revoked.signer };
  if (lists.length === 0) return { outcome: "no-list" };
  const verdicts = named
    .filter(({ listed }) => isOfPlatform(listed.platform, build.platform))
    .map(({ listed, list, signer }): BuildVerdict => ({
      ...inTime(listed, list, nowMs),
      version: listed.version,
      signer,
    }));
  // the best that any list says of it
  const order: readonly BuildOutcome[] = ["accepted", "not-yet", "list-expired", "build-expired"];
  const [best] = verdicts.toSorted((a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome));
  if (best) return best;
  // whether it is unknown, only a list that holds can say
  const states = lists.map(({ list, signer }): BuildVerdict => ({ ...listTime(list, nowMs), signer }));
  const none = states.every(({ outcome }) => outcome !== "accepted");
  const [state] = states.toSorted((a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome));
  return none && state ? state : { outcome: "unknown-build" };
}

function inTime(listed: ListedBuild, list: BuildList, nowMs: number): BuildVerdict {
  const { notBeforeMs, expiresMs } = listed;
  if (expiresMs !== undefined && nowMs >= expiresMs) return { outcome: "build-expired", atMs: expiresMs };
  const byList = listTime(list, nowMs);
  if (byList.outcome !== "accepted") return byList;
  if (notBeforeMs !== undefined && nowMs < notBeforeMs) return { outcome: "not-yet", atMs: notBeforeMs };
  return byList;
}

function listTime(list: BuildList, nowMs: number): BuildVerdict {
  const state = listState(list, nowMs);
  if (state === "expired") return { outcome: "list-expired", atMs: list.expiresMs };
  if (state === "not yet") return { outcome: "not-yet", atMs: list.notBeforeMs };
  return { outcome: "accepted", atMs: list.expiresMs };
}

/** A list may name the system alone, and so may a host. */
function isOfPlatform(listed: string, told: string): boolean {
  return listed === told || told.startsWith(`${listed}-`) || listed.startsWith(`${told}-`);
}

/** Digests that some list accepts now and none revokes. */
export function acceptedDigests(lists: readonly VerifiedBuildList[], nowMs: number): ReadonlySet<string> {
  const revoked = new Set(
    lists.flatMap(({ list }) => list.builds.filter((build) => build.revoked).map(({ digest }) => digest)),
  );
  const accepted = lists.flatMap(({ list }) =>
    list.builds.filter((build) => inTime(build, list, nowMs).outcome === "accepted").map(({ digest }) => digest),
  );
  return new Set(accepted.filter((digest) => !revoked.has(digest)));
}

/** The next moment at which something on the lists begins or ends, Unix ms; until then they say the same. */
export function nextChange(lists: readonly VerifiedBuildList[], nowMs: number): number {
  let next = Number.POSITIVE_INFINITY;
  for (const { list } of lists) {
    for (const { notBeforeMs, expiresMs } of [list, ...list.builds]) {
      for (const atMs of [notBeforeMs, expiresMs]) if (atMs !== undefined && atMs > nowMs && atMs < next) next = atMs;
    }
  }
  return next;
}

/**
 * The build that a host's evidence names, where it names another one than its record. Only of pieces that are the host's
 * own: what came through a relay and has answered no challenge may be anybody's.
 */
export function otherBuild({ pieces }: HostProof, digest: string): string | undefined {
  const own = pieces.filter(({ challenge, nonce, verdict }) => {
    return (challenge === "answered" || nonce === undefined) && verdict.binding.outcome === "pass";
  });
  return own
    .flatMap(({ claims }) => (claims.measurement?.by === "self" ? [claims.measurement.value] : []))
    .find((measured) => measured !== digest);
}

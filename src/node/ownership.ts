/**
 * Owners as a running node has them: the claim that it shows of itself, renewed in time, and what peers' claims amount to by
 * the operator's lists of now. Refuses peers as a gate of the mesh (mesh/gate.ts), and hosts as a part of its policy. What is
 * revoked counts at the next look at the file, half a second later at most; `advance` tells those who must act on it.
 */
import { join } from "node:path";
import type { EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Credentials, Gate } from "../mesh/gate.ts";
import { decodeOwnerBook, emptyOwnerBook, encodeOwnerBook, type OwnerBook } from "../policy/owner-book.ts";
import {
  judgeClaim,
  noOwnerTrust,
  type OwnerJudge,
  type OwnerTrust,
  type OwnerVerdict,
  readClaim,
  type ReadClaim,
  type TrustPolicy,
} from "../policy/owners.ts";
import { encodeOwnership, type SignedOwnership } from "../wire/ownership.ts";
import { BookFile, type BookFileOptions, type BookForm } from "./book-file.ts";
import { defaults } from "./defaults.ts";
import { type ClaimFile, openClaimFile, signClaim } from "./owner-claim.ts";
import { openOwnerKey, type OwnerKey, type OwnerKeyFile, readOwnerKey, readPassphrase } from "./owner-key.ts";
import { isSame, PeerClaims } from "./peer-claims.ts";

/** What the operator has said of owners. */
export interface OwnerSettings {
  /** Key that signs for this node; undefined: somebody else's does, or nobody owns it. */
  readonly keyFile: string | undefined;
  /** Passphrase of that key; undefined: it has none. */
  readonly passphraseFile: string | undefined;
  /** Owner ids, beside those of trusted-owners.json. */
  readonly trusted: readonly string[];
  readonly policy: TrustPolicy;
  /** Whether anybody's hosts come first where no owner is named. Anybody can be an owner, so this must be asked for. */
  readonly prefersStrangers: boolean;
}

export interface OwnershipOptions {
  readonly id: EndpointId;
  readonly settings: OwnerSettings;
  /** The node's data directory. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Name of this node for people, in claims that it signs itself. */
  readonly label: string | undefined;
}

export type OwnerBookFile = BookFile<OwnerBook>;

const ownerBooks: BookForm<OwnerBook> = {
  encode: encodeOwnerBook,
  decode: decodeOwnerBook,
  empty: emptyOwnerBook,
  says: "which owners are trusted and what was revoked",
  of: "owners",
};

/** @throws E_STATE the file is there and cannot be used */
export function openOwnerBook(directory: string, options: BookFileOptions = {}): OwnerBookFile {
  return new BookFile(join(directory, "trusted-owners.json"), ownerBooks, options);
}

export class Ownership implements OwnerJudge {
  readonly #options: OwnershipOptions;
  readonly #book: OwnerBookFile;
  readonly #file: ClaimFile;
  readonly #peers: PeerClaims;
  /** The owner whose key signs for us; undefined: we were given none. */
  readonly #signer: string | undefined;
  #trusted: { readonly of: OwnerBook; readonly trust: OwnerTrust } | undefined;
  #own: OwnClaim | undefined;
  #told: { readonly book: OwnerBook; readonly claim: Uint8Array | undefined };
  #nextTryMs = 0;

  /**
   * Signs for this node, where it is given a key and its claim is not fresh.
   *
   * @throws E_STATE a file cannot be used · E_CONFIG the key cannot be used, or the policy would refuse everybody
   */
  constructor(options: OwnershipOptions) {
    this.#options = options;
    const { directory, log, settings } = options;
    const onDamaged = ({ code, message: what }: MeshError): void =>
      log.write("error", { event: "owners-not-read", code, what });
    // nothing here waits long for a command that writes
    this.#book = openOwnerBook(directory, { lockMs: 50, onDamaged });
    this.#file = openClaimFile(directory, { lockMs: 50, onDamaged });
    this.#peers = new PeerClaims({
      nodes: defaults.ownersKept,
      judge: (read, id) => judgeClaim(read, id, this.#trust, options.clock.now()),
      prefers: (verdict) => this.prefers(verdict),
    });
    if (settings.policy === "allowlist" && this.#trust.trusted.size === 0) throw refusesEverybody();
    this.#signer = settings.keyFile === undefined ? undefined : keyIn(settings.keyFile).ownerId;
    this.#renewIfDue();
    this.#told = { book: this.#book.book, claim: this.claim };
  }

  /** Our own field 28, valid now; undefined: there is none that is. */
  get claim(): Uint8Array | undefined {
    // what we revoked ourselves we show all the same: others decide for themselves
    return this.#standing(noOwnerTrust).status === "verified" ? this.#ownClaim?.bytes : undefined;
  }

  /** What our own claim amounts to, by our own lists. */
  get own(): OwnerVerdict {
    return this.#standing(this.#trust);
  }

  get policy(): TrustPolicy {
    return this.#options.settings.policy;
  }

  /** Asks `inner` first, so that strangers who are refused anyway cost no signature. */
  gate(inner: Gate): Gate {
    return {
      judge: (shown) => {
        const admitted = inner.judge(shown);
        if (admitted.kind === "refused") return admitted;
        const why = this.#refusalOf(shown);
        return why === undefined ? admitted : { kind: "refused", why: `${why} (--trust-policy ${this.policy})` };
      },
    };
  }

  judge(id: EndpointId, bytes: Uint8Array | undefined): OwnerVerdict {
    return this.#peers.of(id, bytes);
  }

  prefers({ status, owner }: OwnerVerdict): boolean {
    const { policy, prefersStrangers } = this.#options.settings;
    if (policy !== "prefer-owned" || status !== "verified" || owner === undefined) return false;
    const { trusted } = this.#trust;
    const { status: ourStatus, owner: ourOwner } = this.own;
    const known = ourStatus === "verified" && ourOwner !== undefined ? new Set([...trusted, ourOwner]) : trusted;
    return known.size === 0 ? prefersStrangers : known.has(owner);
  }

  /**
   * Renews our claim when it is due. To be called every few seconds.
   *
   * @returns what has changed since the last call: the lists, by which peers are to be judged anew; our claim, which others
   *          are to be told
   */
  advance(): { readonly lists: boolean; readonly claim: boolean } {
    this.#tryToRenew();
    const before = this.#told;
    this.#told = { book: this.#book.book, claim: this.claim };
    return { lists: before.book !== this.#told.book, claim: !isSame(before.claim, this.#told.claim) };
  }

  /**
   * Others' word alone puts nobody out: anyone can leave a claim away, or sign that a node is theirs (protocol.md §11 E4). Of
   * a node that has not shown itself, a claim that was heard decides about prompts only.
   */
  #refusalOf({ id, ownership, from }: Credentials): string | undefined {
    if (from === "itself") return this.#peers.show(id, ownership).refusal;
    const hasShown = this.#peers.hasShown(id);
    const { refusal } = this.#peers.of(id, hasShown ? ownership : undefined);
    return hasShown || this.#trust.revokedNodes.has(id) ? refusal : undefined;
  }

  get #trust(): OwnerTrust {
    const { book } = this.#book;
    if (this.#trusted?.of === book) return this.#trusted.trust;
    const { trustedOwners, ...revoked } = book;
    const { policy, trusted } = this.#options.settings;
    const trust: OwnerTrust = { policy, trusted: new Set([...trusted, ...trustedOwners]), ...revoked };
    this.#trusted = { of: book, trust };
    return trust;
  }

  // ---- our own claim

  /** As it stands in the file now: `sealmesh owner` may have put it there. */
  get #ownClaim(): OwnClaim | undefined {
    const signed = this.#file.book;
    if (signed !== this.#own?.of) this.#own = signed && ownClaimOf(signed, this.#options.id);
    return this.#own;
  }

  #standing(trust: OwnerTrust): OwnerVerdict {
    const { id, clock } = this.#options;
    return judgeClaim(this.#ownClaim?.read ?? readClaim(undefined, id), id, trust, clock.now());
  }

  #tryToRenew(): void {
    const { clock, log } = this.#options;
    if (clock.now() < this.#nextTryMs) return;
    try {
      this.#renewIfDue();
    } catch (thrown) {
      const { code, message: what } = toMeshError(thrown);
      this.#nextTryMs = clock.now() + defaults.claimRetryMs;
      log.write("warn", { event: "claim-not-renewed", code, what });
    }
  }

  /** Opening a key with a passphrase takes a tenth of a second, once in five days. @throws E_CONFIG, E_STATE */
  #renewIfDue(): void {
    const { id, clock, label, log, settings } = this.#options;
    const { keyFile, passphraseFile } = settings;
    if (keyFile === undefined || this.#isFresh()) return;
    const key = opened(keyFile, passphraseFile);
    const signed = signClaim(key, { node: id, nowMs: clock.now(), lifeMs: defaults.claimLifeMs, label });
    this.#file.update(() => signed);
    const { certId: cert, expiresAtMs } = signed.claim;
    const expires = new Date(Number(expiresAtMs)).toISOString();
    log.write("info", { event: "claim-signed", owner: key.ownerId, cert, expires });
  }

  /** Of the owner whose key we have, under our name, not taken back, and with some time left. */
  #isFresh(): boolean {
    const { clock, label } = this.#options;
    const { status, owner, claim } = this.#standing(noOwnerTrust);
    if (status !== "verified" || owner !== this.#signer || !claim) return false;
    if (claim.nodeLabel !== label || this.#trust.revokedCerts.has(claim.certId)) return false;
    return claim.expiresAtMs > BigInt(Math.floor(clock.now() + defaults.claimRenewMs));
  }
}

interface OwnClaim {
  readonly of: SignedOwnership;
  readonly bytes: Uint8Array;
  readonly read: ReadClaim;
}

function ownClaimOf(of: SignedOwnership, id: EndpointId): OwnClaim {
  const bytes = encodeOwnership(of);
  return { of, bytes, read: readClaim(bytes, id) };
}

function refusesEverybody(): MeshError {
  const next = "name one with --trust-owner, or with `sealmesh owner trust`";
  return new MeshError(
    "E_CONFIG",
    `--trust-policy allowlist refuses everybody as long as no owner is trusted: ${next}`,
  );
}

/** @throws E_CONFIG */
function keyIn(path: string): OwnerKeyFile {
  try {
    const key = readOwnerKey(path);
    if (key) return key;
  } catch (cause) {
    throw new MeshError("E_CONFIG", `--owner-key: ${toMeshError(cause).message}`, { cause });
  }
  throw new MeshError("E_CONFIG", `--owner-key: there is no file ${path}; \`sealmesh owner init\` makes one`);
}

/** @throws E_CONFIG */
function opened(path: string, passphraseFile: string | undefined): OwnerKey {
  const key = keyIn(path);
  if (key.protection.kind === "passphrase" && passphraseFile === undefined) {
    const otherwise = "or sign with `sealmesh owner sign-node` and leave the key where no node runs";
    throw new MeshError("E_CONFIG", `--owner-key ${path} has a passphrase: give --owner-passphrase-file, ${otherwise}`);
  }
  try {
    return openOwnerKey(key, () => readPassphrase(passphraseFile ?? ""));
  } catch (cause) {
    throw new MeshError("E_CONFIG", `--owner-key ${path}: ${toMeshError(cause).message}`, { cause });
  }
}

/**
 * What is kept of one host's proof, and what it amounts to: pieces of evidence, challenges answered and missed, what its
 * chip has shown. Asks nobody and knows no clock; mesh/proofs.ts asks, tells what came of it, and wants to know what to ask
 * next.
 */
import type { BootCounters, EvidenceItem, KeySeen, Verified } from "../attest/evidence.ts";
import {
  type ChallengeStanding,
  fingerprintOf,
  type HostProof,
  type PieceProof,
  tierOfPiece,
} from "../attest/proof.ts";
import { evidenceKinds } from "../attest/registry.ts";
import { tiers, withChallenge } from "../attest/verdict.ts";
import { verifyEvidence } from "../attest/verify.ts";
import type { EndpointId } from "../base/brand.ts";
import { equal } from "../base/bytes.ts";
import { comparePins, isDigest, type PinBook, type PinContext, type ShownValue } from "../policy/pins.ts";

/** What hosts are judged with, the same for all. */
export interface JudgeSettings {
  /** DER certificates that may end a chain. */
  readonly roots: readonly Uint8Array[];
  /** How old evidence may be, and how far its time may lie ahead, ms. */
  readonly maxAgeMs: number;
  readonly aheadMs: number;
  /** After so long without an answered challenge the last answer counts no more, ms: nobody counts misses while it sleeps. */
  readonly challengeValidMs: number;
}

/** A host and its key as the mesh knows them now. */
export interface HostNow {
  readonly id: EndpointId;
  /** 32 bytes; undefined: none that may be used. */
  readonly inferenceKey: Uint8Array | undefined;
  /** Whether it signs records: only such hosts know our streams. */
  readonly hasRecord: boolean;
  /** Reference blob of its own gossip (field 38). */
  readonly blob: Uint8Array | undefined;
  readonly nowMs: number;
}

export type ChallengeOutcome = "answered" | "missed" | "failed";

/** So many challenges missed in a row make a key untrusted (protocol.md §8.6). */
const allowedMisses = 3;
/** Pieces of known kinds that one host is judged by. */
const maxPieces = 4;
/** Keys of one host that something is kept of; those heard of last stay. */
const maxKeys = 16;

interface KeptItem {
  readonly item: EvidenceItem;
  /** It was asked with. */
  readonly nonce: Uint8Array | undefined;
}

interface ChallengeState {
  /** Unix ms; undefined: never. */
  readonly answeredMs: number | undefined;
  /** In a row. */
  readonly misses: number;
  readonly failed: boolean;
}

const neverChallenged: ChallengeState = { answeredMs: undefined, misses: 0, failed: false };

export class KnownHost {
  readonly #settings: JudgeSettings;
  #items: readonly KeptItem[] = [];
  /** The inference key that the items were asked for. */
  #itemsKey: Uint8Array | undefined;
  /** Unix ms when the newest came; undefined: none has been asked for. */
  #itemsMs: number | undefined;
  #why: string | undefined;
  /** By attested key and inference key: an answer says that one party holds both. */
  readonly #challenges = new Map<string, ChallengeState>();
  /** By fingerprint of the attested key. */
  readonly #seen = new Map<string, KeySeen>();

  constructor(settings: JudgeSettings) {
    this.#settings = settings;
  }

  // ---- what came of asking

  /**
   * Pieces that were asked for with `nonce`. Good ones of before stay where nothing as good of their kind has come:
   * hardware that hangs shows an older piece, and a relay may show none or its own.
   */
  showed(items: readonly EvidenceItem[], nonce: Uint8Array, host: HostNow): void {
    const isSameKey = this.#itemsKey && host.inferenceKey && equal(this.#itemsKey, host.inferenceKey);
    const news = worthChecking(items).map((item) => ({ item, nonce }));
    this.#items = isSameKey ? this.#better(news, host) : news;
    this.#itemsKey = host.inferenceKey;
    this.#itemsMs = host.nowMs;
    this.#why = undefined;
    for (const kept of this.#items) {
      const { claims, verdict, counters } = this.#verify(kept, host);
      if (!claims.attestedKey || !counters || verdict.binding.outcome !== "pass") continue;
      if (verdict.fresh.reason !== "counter-went-back") this.#see(claims.attestedKey, { counters });
    }
  }

  /** @param why it could not be asked, in our own words; what it showed before counts for as long as it is fresh */
  showedNothing(why: string): void {
    this.#why = why;
  }

  /** Its chip has shown where an attested key is kept. */
  hasResidence(attestedKey: Uint8Array, residenceProof: Uint8Array): void {
    this.#see(attestedKey, { residenceProof });
  }

  challenged(attestedKey: Uint8Array, inferenceKey: Uint8Array, outcome: ChallengeOutcome, nowMs: number): void {
    const name = challengeName(attestedKey, inferenceKey);
    const before = this.#challenges.get(name) ?? neverChallenged;
    keepNewest(
      this.#challenges,
      name,
      outcome === "answered"
        ? { answeredMs: nowMs, misses: 0, failed: false }
        : { ...before, misses: before.misses + 1, failed: before.failed || outcome === "failed" },
    );
  }

  /** None of the keys that answer for it stands in what it showed: that is to be replaced, somebody on the way may have put it there. */
  distrustItems(): void {
    this.#itemsKey = undefined;
  }

  // ---- what it amounts to

  /** @param book what was pinned; `context` says which of that counts */
  judge(host: HostNow, book: PinBook, context: PinContext): HostProof {
    const pieces = this.#shownItems(host).map((kept) => {
      const { claims, verdict } = this.#verify(kept, host);
      return { ...kept, claims, verdict, challenge: this.#challengeStanding(claims.attestedKey, host) };
    });
    // a pin is met only by evidence that speaks for this node and key now: anybody has copies of older ones
    const speaking = pieces.flatMap((piece) => (speaksNow(piece) ? (shownBy(piece) ?? []) : []));
    const proofs = pieces.map((piece): PieceProof => {
      const value = shownBy(piece);
      const [pin] = value ? comparePins(book, host.id, [value, ...speaking], context) : [];
      return { ...piece, pin: pin ?? { standing: "none" } };
    });
    // who signs no records can tell unasked only
    const asked = this.#itemsMs !== undefined || this.#why !== undefined || !host.hasRecord;
    return { pieces: proofs.toSorted((a, b) => worthOf(b) - worthOf(a)), asked, why: this.#why };
  }

  /** Whether evidence is to be asked for: at half of its life already, so that no request has to wait for it. */
  wantsItems(host: HostNow, { pieces }: HostProof): boolean {
    const { inferenceKey, nowMs } = host;
    if (!inferenceKey || !this.#itemsKey || !equal(this.#itemsKey, inferenceKey)) return true;
    const ageMs = nowMs - (this.#itemsMs ?? 0);
    if (ageMs < 0 || ageMs > this.#settings.maxAgeMs / 2) return true;
    return !pieces.some(({ verdict, challenge }) => {
      return (challenge === "answered" ? withChallenge(verdict) : verdict).fresh.outcome === "pass";
    });
  }

  /** Unix ms of the newest evidence; 0: none has come. */
  get itemsMs(): number {
    return this.#itemsMs ?? 0;
  }

  /** What it showed on being asked; until then, the blob that it tells everybody. */
  #shownItems({ blob }: HostNow): readonly KeptItem[] {
    if (this.#items.length > 0 || !blob) return this.#items;
    const item = { kind: "secure-enclave", version: 1, evidence: blob, collateral: [], issuedAtMs: 0 };
    return [{ item, nonce: undefined }];
  }

  #verify({ item, nonce }: KeptItem, { id, inferenceKey, nowMs }: HostNow): Verified {
    const { roots, maxAgeMs, aheadMs } = this.#settings;
    const expected = { endpointId: id, inferenceKey, nonce };
    const input = { item, expected, roots, nowMs, maxAgeMs, aheadMs };
    const first = verifyEvidence(input);
    const key = first.claims.attestedKey;
    const seen = key && this.#seen.get(fingerprintOf(key));
    // what was seen is kept per key, and the key is known only from evidence whose signature holds
    return seen ? verifyEvidence({ ...input, seen }) : first;
  }

  #better(news: readonly KeptItem[], host: HostNow): readonly KeptItem[] {
    const isGood = (kept: KeptItem): boolean => {
      const { verdict } = this.#verify(kept, host);
      return verdict.binding.outcome === "pass" && ["pass", "unknown"].includes(verdict.fresh.outcome);
    };
    const ofKind = (list: readonly KeptItem[], { item }: KeptItem): boolean =>
      list.some((other) => other.item.kind === item.kind);
    const good = news.filter(isGood);
    const kept = this.#items.filter((old) => isGood(old) && !ofKind(good, old));
    return [...good, ...kept, ...news.filter((piece) => !ofKind([...good, ...kept], piece))];
  }

  #challengeStanding(attestedKey: Uint8Array | undefined, host: HostNow): ChallengeStanding {
    const { inferenceKey, hasRecord, nowMs } = host;
    if (inferenceKey && !hasRecord) return "impossible";
    if (!attestedKey || !inferenceKey) return "unasked";
    const { answeredMs, misses, failed } =
      this.#challenges.get(challengeName(attestedKey, inferenceKey)) ?? neverChallenged;
    if (failed) return "failed";
    if (misses >= allowedMisses) return "missed";
    const ageMs = nowMs - (answeredMs ?? Number.NEGATIVE_INFINITY);
    return Math.abs(ageMs) <= this.#settings.challengeValidMs ? "answered" : "unasked"; // clocks are set back, too
  }

  #see(attestedKey: Uint8Array, seen: { counters?: BootCounters; residenceProof?: Uint8Array }): void {
    const name = fingerprintOf(attestedKey);
    keepNewest(this.#seen, name, { ...this.#seen.get(name), ...seen });
  }
}

/** What a pin would hold; undefined without a key that signed. A build that is no digest cannot be pinned, its key can. */
export function shownBy({ item, claims }: Pick<PieceProof, "item" | "claims">): ShownValue | undefined {
  if (!claims.attestedKey) return undefined;
  const build = claims.measurement?.value;
  const measurement = build !== undefined && isDigest(build) ? build : undefined;
  return { kind: item.kind, key: fingerprintOf(claims.attestedKey), measurement };
}

/** Honest hosts show one piece of each kind, and each piece of a known kind costs signatures to check. */
function worthChecking(items: readonly EvidenceItem[]): readonly EvidenceItem[] {
  const isKnown = ({ kind }: EvidenceItem): boolean => evidenceKinds.some((known) => known.kind === kind);
  const strange = items.filter((item) => !isKnown(item)).slice(0, 1);
  return [...items.filter(isKnown).slice(0, maxPieces), ...strange];
}

function speaksNow({ verdict, challenge }: Pick<PieceProof, "verdict" | "challenge">): boolean {
  if (challenge === "missed" || challenge === "failed") return false;
  return verdict.binding.outcome === "pass" && verdict.fresh.outcome !== "fail";
}

function worthOf(piece: PieceProof): number {
  return tiers.indexOf(tierOfPiece(piece));
}

function challengeName(attestedKey: Uint8Array, inferenceKey: Uint8Array): string {
  return `${fingerprintOf(attestedKey)} ${fingerprintOf(inferenceKey)}`;
}

function keepNewest<T>(map: Map<string, T>, name: string, value: T): void {
  map.delete(name);
  map.set(name, value);
  const [oldest] = map.keys();
  if (map.size > maxKeys && oldest !== undefined) map.delete(oldest);
}

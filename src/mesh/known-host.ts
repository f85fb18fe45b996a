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
import type { ReasonCode } from "../attest/reasons.ts";
import { evidenceKinds } from "../attest/registry.ts";
import { tiers, withChallenge } from "../attest/verdict.ts";
import { verifyEvidence } from "../attest/verify.ts";
import type { EndpointId } from "../base/brand.ts";
import { equal } from "../base/bytes.ts";
import { provenPosture } from "../policy/hardened.ts";
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
  /** Of its newest record. */
  readonly posture?: Uint8Array | undefined;
  /** Digests of builds that are accepted now; undefined: no list. */
  readonly measurements?: ReadonlySet<string> | undefined;
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
      if (!isBehind(verdict.fresh.reason)) this.#see(claims.attestedKey, { counters });
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
      const accepted = { ...context, acceptedBuilds: host.measurements };
      const [pin] = value ? comparePins(book, host.id, [value, ...speaking], accepted) : [];
      return { ...piece, pin: pin ?? { standing: "none" } };
    });
    // who signs no records can tell unasked only
    const asked = this.#itemsMs !== undefined || this.#why !== undefined || !host.hasRecord;
    return { pieces: proofs.toSorted((a, b) => worthOf(b) - worthOf(a)), asked, why: this.#why };
  }

  /** Whether evidence is to be asked for: at half of its life already, so that no request has to wait for it. */
  wantsItems(host: HostNow, { pieces }: HostProof): boolean {
    const { inferenceKey, posture, nowMs } = host;
    if (!inferenceKey || !this.#itemsKey || !equal(this.#itemsKey, inferenceKey)) return true;
    // its posture has changed since, or it contradicts itself
    const said = posture ? pieces.flatMap((piece) => provenPosture(piece) ?? []) : [];
    if (posture && said.some((other) => !equal(other, posture))) return true;
    const ageMs = nowMs - (this.#itemsMs ?? 0);
    if (ageMs < 0 || ageMs > this.#settings.maxAgeMs / 2) return true;
    return !pieces.some(({ verdict, challenge }) => {
      return (challenge === "answered" ? withChallenge(verdict) : verdict).fresh.outcome === "pass";
    });
  }

  /** What it showed on being asked; until then, the blob that it tells everybody. */
  #shownItems({ blob }: HostNow): readonly KeptItem[] {
    if (this.#items.length > 0 || !blob) return this.#items;
    const item = { kind: "secure-enclave", version: 1, evidence: blob, collateral: [], issuedAtMs: 0 };
    return [{ item, nonce: undefined }];
  }

  #verify({ item, nonce }: KeptItem, { id, inferenceKey, measurements, nowMs }: HostNow): Verified {
    const { roots, maxAgeMs, aheadMs } = this.#settings;
    const expected = { endpointId: id, inferenceKey, nonce };
    const listed = measurements && { measurements };
    const input = { item, expected, roots, nowMs, maxAgeMs, aheadMs, ...listed };
    const first = verifyEvidence(input);
    const key = first.claims.attestedKey;
    const seen = key && this.#seen.get(fingerprintOf(key));
    // what was seen is kept per key, and the key is known only from evidence whose signature holds
    return seen ? verifyEvidence({ ...input, seen }) : first;
  }

  /** For each kind what came, or what was there where that is worth more. */
  #better(news: readonly KeptItem[], host: HostNow): readonly KeptItem[] {
    // what has run out was right once; what fails beside it is wrong, and may be somebody's junk
    const worth = (kept: KeptItem): number => {
      const { binding, fresh } = this.#verify(kept, host).verdict;
      if (fresh.reason === "counter-went-back") return 1; // its key made it: told rather than passed over
      if (binding.outcome !== "pass" || fresh.outcome === "fail") return 0;
      return fresh.outcome === "stale" ? 1 : 2;
    };
    const bestOf = (list: readonly KeptItem[], kind: string): number =>
      Math.max(-1, ...list.filter(({ item }) => item.kind === kind).map(worth));
    const isBefore = ({ item }: KeptItem): boolean => bestOf(this.#items, item.kind) > bestOf(news, item.kind);
    const kept = this.#items.filter((old) => worth(old) > 0 && isBefore(old));
    return [...news.filter((piece) => !isBefore(piece)), ...kept].slice(0, maxPieces);
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

/** Only the answer to a challenge says that it is no copy: with a stolen inference key one shows them for eleven minutes. */
function speaksNow({ verdict, challenge }: Pick<PieceProof, "verdict" | "challenge">): boolean {
  return (
    challenge === "answered" && verdict.binding.outcome === "pass" && withChallenge(verdict).fresh.outcome === "pass"
  );
}

function isBehind(reason: ReasonCode): boolean {
  return reason === "counter-went-back" || reason === "older-than-seen";
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

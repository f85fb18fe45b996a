/**
 * What a verifier knows of one host: every piece of evidence that it showed, judged, with what was seen beside it. Made by
 * mesh/proofs.ts; read by policy/, status and explanations.
 */
import { createHash } from "node:crypto";
import { toHex } from "../base/bytes.ts";
import type { Claims } from "./claims.ts";
import type { EvidenceItem } from "./evidence.ts";
import { lacksFor, type Standing, type Tier, tierOf, tiers, type Verdict } from "./verdict.ts";

/**
 * unasked: none has been answered yet, or the last answer is too long ago · answered: and fewer than three were missed
 * since · missed: three in a row · failed: a signature was wrong · impossible: the host speaks no challenges (a reference
 * node).
 */
export type ChallengeStanding = "unasked" | "answered" | "missed" | "failed" | "impossible";

/** How a shown key compares with what was pinned for the same node. */
export interface PinStanding {
  readonly standing: Standing["pin"];
  /** What was pinned, for "agrees" and "disagrees"; of another kind than the shown one when `kind` says so. */
  readonly pinned?: PinnedValue;
}

export interface PinnedValue {
  readonly kind: string;
  /** {@link fingerprintOf} of the attested key. */
  readonly key: string;
  /** Digest of the build; undefined when it showed none. */
  readonly measurement: string | undefined;
}

/** One piece of evidence, judged. */
export interface PieceProof {
  readonly item: EvidenceItem;
  /** 32 bytes that it was asked with; undefined: it came unasked. */
  readonly nonce: Uint8Array | undefined;
  readonly claims: Claims;
  readonly verdict: Verdict;
  readonly challenge: ChallengeStanding;
  readonly pin: PinStanding;
}

export interface HostProof {
  /** Best first; empty when the host showed none. */
  readonly pieces: readonly PieceProof[];
  /** Why there are none, or no newer ones, in our own words; undefined when it was not asked or has answered. */
  readonly why: string | undefined;
  /** Whether it has had its chance: it was asked, or it is one that can only tell unasked. */
  readonly asked: boolean;
}

export const noProof: HostProof = { pieces: [], why: undefined, asked: false };

/** 32 hex digits of the SHA-256 of a SEC1 point: for people to compare, for pins and for lists of accepted keys. */
export function fingerprintOf(attestedKey: Uint8Array): string {
  return toHex(createHash("sha256").update(attestedKey).digest().subarray(0, 16));
}

export function standingOf({ challenge, pin }: PieceProof): Standing {
  return { challenged: challenge === "answered", pin: pin.standing };
}

/** A key that leaves challenges unanswered, or answers them wrongly, proves nothing, whatever it signed before. */
export function tierOfPiece(piece: PieceProof): Tier {
  if (piece.challenge === "missed" || piece.challenge === "failed") return "none";
  return tierOf(piece.item.kind, piece.verdict, standingOf(piece));
}

/** What keeps a piece from a tier. */
export function lacksOfPiece(tier: Tier, piece: PieceProof): ReturnType<typeof lacksFor> {
  return lacksFor(tier, piece.item.kind, piece.verdict, standingOf(piece));
}

/** The best tier that any piece reaches. */
export function tierOfHost({ pieces }: HostProof): Tier {
  const reached = pieces.map((piece) => tiers.indexOf(tierOfPiece(piece)));
  return tiers[Math.max(0, ...reached)] ?? "none";
}

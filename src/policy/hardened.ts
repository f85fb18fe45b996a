/**
 * Posture judged: what of it is signed, and which doors of it are not closed. Everything in it is the host's own word; a
 * signature says whose word it is, and no more. The one table of what "hardened" means; docs/hardening.md is held to it by
 * a test.
 *
 * @see docs/hardening.md
 */
import type { HostProof, PieceProof } from "../attest/proof.ts";
import { equal } from "../base/bytes.ts";
import { unlessMeshError } from "../base/errors.ts";
import { decodePosture, type Door, type Posture, type PosturePlatform } from "../wire/posture.ts";

/** What a host's posture is worth. */
export type PostureFacts =
  /** Nothing that can be read. */
  | { readonly kind: "none" }
  /** In gossip alone, where nobody signs it. */
  | { readonly kind: "unsigned" }
  /** Record and evidence, both signed and both of now, say different things. */
  | { readonly kind: "disagrees" }
  | { readonly kind: "signed"; readonly posture: Posture };

const processOnly: readonly Door[] = ["environment", "arguments", "core-dumps", "debugger", "inspector"];

/**
 * The doors that must be closed, per platform: those through which another program of the same user, or whoever started the
 * node, could read prompts. Swap, core_pattern and the like are the machine's; they are told, and only root goes through
 * them. Undefined: nothing that is measured there would be enough.
 */
export const neededDoors: Readonly<Record<PosturePlatform, readonly Door[] | undefined>> = {
  linux: [...processOnly, "privileges"],
  // there is no way to give up privileges for good; what takes its place is the system's own protection
  darwin: [...processOnly, "sip", "secure-boot", "rdma"],
  win32: undefined,
  other: undefined,
};

/** What keeps a posture from being hardened: a door that is not closed, or what no door makes up for. */
export type HardenedLack = Door | "platform" | "hardening";

/** Empty: the host says that it is hardened. */
export function hardenedLacks({ platform, doors, hardening }: Posture): readonly HardenedLack[] {
  const needed = neededDoors[platform];
  if (needed === undefined) return ["platform"];
  return [...(hardening ? [] : ["hardening" as const]), ...needed.filter((door) => doors[door] !== "closed")];
}

export interface PostureShown {
  /** Of the newest record, if that holds now. */
  readonly inRecord: Uint8Array | undefined;
  /** Whether there is one in field 37 of its own gossip. */
  readonly inGossip: boolean;
  readonly proof: HostProof;
}

/**
 * Puts together what a host says of itself. A posture in evidence counts once the key that signed it has answered a
 * challenge: before that, a relay may have put it there.
 */
export function postureFacts({ inRecord, inGossip, proof }: PostureShown): PostureFacts {
  const inEvidence = proof.pieces.flatMap((piece) => provenPosture(piece) ?? []);
  const [first, ...others] = inRecord ? [inRecord, ...inEvidence] : inEvidence;
  if (first === undefined) return { kind: inGossip ? "unsigned" : "none" };
  if (others.some((other) => !equal(other, first))) return { kind: "disagrees" };
  const posture = readPosture(first);
  return posture ? { kind: "signed", posture } : { kind: "none" };
}

/** The posture of a piece that speaks for its host now; undefined: it tells none, or may be somebody else's. */
export function provenPosture({ claims, verdict, challenge }: PieceProof): Uint8Array | undefined {
  const { signature, binding, fresh } = verdict;
  const holds = signature.outcome === "pass" && binding.outcome === "pass" && challenge === "answered";
  return holds && fresh.outcome !== "fail" && fresh.outcome !== "stale" ? claims.posture?.value : undefined;
}

/** A record keeps its bytes for as long as it holds, and is looked at for every request. */
const read = new WeakMap<Uint8Array, { readonly posture: Posture | undefined }>();

function readPosture(bytes: Uint8Array): Posture | undefined {
  const known = read.get(bytes);
  if (known) return known.posture;
  const posture = unlessMeshError(() => decodePosture(bytes));
  read.set(bytes, { posture });
  return posture;
}

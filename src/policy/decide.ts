/**
 * Who may get a prompt, and how: (what a host has shown, policy, now) -> decision. A prompt travels by a SealedRoute or a
 * PlainRoute, and only this file makes them: there is no other code path to a stream, and none from one kind to the other.
 * What is not known counts as not there: no key, no evidence, a factor that nothing has settled.
 *
 * @see design.md §4, §5.5, §6
 */
import { type HostProof, lacksOfPiece, type PieceProof, tierOfPiece } from "../attest/proof.ts";
import { factors, type Lack, type Outcome, type Tier, tiers } from "../attest/verdict.ts";
import type { EndpointId } from "../base/brand.ts";
import type { ChunkOrder } from "../crypto/seal.ts";
import { hardenedLacksText, postureReach, tierTexts } from "./explain.ts";
import { type BuildVerdict, otherBuild, toldBuild } from "./builds.ts";
import { hardenedLacks, type PostureFacts } from "./hardened.ts";
import { isDigest, isKindName } from "./pins.ts";
import type { Policy } from "./policy.ts";
import {
  always,
  demands,
  type Refusal,
  refusal,
  refusalOf,
  refusalWithout,
  type RuleName,
  type Shortfall,
} from "./refusals.ts";

/** What is believed about a host's inference key, and from where (wire.md §2, design.md §5.4). */
export type KeyStanding =
  /** In a record signed by the host's endpoint key. */
  | { readonly kind: "record"; readonly key: Uint8Array; readonly notAfterMs: number }
  /** Field 36 on the host's own connection, from a host that never had a record. */
  | { readonly kind: "announced"; readonly key: Uint8Array }
  /** Showed a key once, shows none now that may be used: somebody strips it, or it has expired. */
  | { readonly kind: "withheld"; readonly why: string }
  /** Showed none, on its own connection, after our own gossip exchange there. */
  | { readonly kind: "none" }
  /** Nothing is known at first hand. */
  | { readonly kind: "unknown" };

export interface HostFacts {
  readonly id: EndpointId;
  readonly key: KeyStanding;
  /** Its evidence, judged for the inference key of `key` and for now. */
  readonly proof: HostProof;
  /** Id of the owner whose claim holds (owners.ts); undefined: none does. */
  readonly owner: string | undefined;
  /** Why it is refused for its owner, in our own words. @default it is not */
  readonly distrusted?: string | undefined;
  /** What it says of how it is closed to others, and whether that is signed (hardened.ts). */
  readonly posture: PostureFacts;
}

/** What is proven of the host of a route: for headers, reports and status. */
export interface RouteProof {
  readonly tier: Tier;
  /** Kind of the evidence that the tier rests on, or of the best there is; undefined: it showed none. */
  readonly kind: string | undefined;
  /** SEC1, 65 bytes, of that piece; undefined when nothing holds under a key. */
  readonly attestedKey: Uint8Array | undefined;
  /** Admitted by its own time alone, because policy accepts that. */
  readonly unchallenged: boolean;
}

const made: unique symbol = Symbol("made by policy/decide");

export interface SealedRoute {
  readonly kind: "sealed";
  readonly host: EndpointId;
  /** 32 bytes. */
  readonly hostKey: Uint8Array;
  readonly order: ChunkOrder;
  /** Only what a record says may be believed through somebody else. */
  readonly relayable: boolean;
  readonly proof: RouteProof;
  readonly [made]: true;
}

export interface PlainRoute {
  readonly kind: "plain";
  readonly host: EndpointId;
  readonly proof: RouteProof;
  readonly [made]: true;
}

export type Decision =
  | { readonly kind: "allow"; readonly route: SealedRoute | PlainRoute }
  | { readonly kind: "refuse"; readonly refusal: Refusal };

/**
 * Decides about each host that serves the model, in order. A host without a key is refused as long as another one that
 * may be asked opens envelopes, whatever its evidence: plain is for a model that nobody offers sealed.
 */
export function decide(hosts: readonly HostFacts[], policy: Policy, nowMs: number): readonly Decision[] {
  const anySealed = hosts.some((host) => isListed(host, policy) && sealingOf(host.key, nowMs) !== undefined);
  return hosts.map((host): Decision => {
    // 1 who it is
    if (!isListed(host, policy)) return refuse(refusal("host-not-listed", demands.hosts));
    if (host.distrusted !== undefined) {
      return refuse(refusal("owner-distrusted", demands.ownership, { why: host.distrusted }));
    }
    if (policy.owners && (host.owner === undefined || !policy.owners.has(host.owner))) {
      return refuse(refusal("owner-not-accepted", demands.owners, { owner: host.owner ?? "not shown" }));
    }
    // 2 whether a prompt can be sealed to it
    const sealing = sealingOf(host.key, nowMs);
    const unsealed = sealing ? undefined : withoutKey(host, policy, anySealed);
    if (unsealed) return refuse(unsealed);
    // 3 which build it says it runs: nobody is asked for evidence who is refused for that
    const unlisted = withoutBuild(host, policy, nowMs);
    if (unlisted) return refuse(unlisted);
    // 4 what it has proven
    const proof = provenBy(host, policy);
    if ("rule" in proof) return refuse(proof);
    // 5 what it says of itself
    const unhardened = policy.hardened ? withoutPosture(host) : undefined;
    if (unhardened) return refuse(unhardened);
    const route: SealedRoute | PlainRoute = sealing
      ? sealedRoute(host.id, sealing, proof)
      : { kind: "plain", host: host.id, proof, [made]: true };
    return { kind: "allow", route };
  });
}

/** Written out, since it is made for each request: V8 makes a literal with a spread in it member by member. */
function sealedRoute(host: EndpointId, { hostKey, order, relayable }: Sealing, proof: RouteProof): SealedRoute {
  return { kind: "sealed", host, hostKey, order, relayable, proof, [made]: true };
}

/** Whether other evidence could change a decision: what is refused for its name, its owner or its key, it could not. */
export function dependsOnEvidence(decision: Decision | undefined): boolean {
  return decision !== undefined && (decision.kind === "allow" || rulesOfEvidence.has(decision.refusal.rule));
}

/** One sentence on a decision, for people. */
export function explainDecision(decision: Decision): string {
  if (decision.kind === "refuse") return decision.refusal.text;
  const { kind, proof } = decision.route;
  const how = kind === "sealed" ? "Prompts are sealed to it." : "Prompts go to it in the clear.";
  const by = proof.unchallenged ? "accepted without a challenge" : proof.kind && `${proof.kind} evidence`;
  return `${how} ${proof.tier}${by ? ` (${by})` : ""}: ${tierTexts[proof.tier].proves}`;
}

/** What is proven of a host, whatever policy asks. */
export function knownProof({ pieces }: HostProof): RouteProof {
  const [best] = bestFirst(pieces);
  return best ? proofOf(best, false) : { tier: "none", kind: undefined, attestedKey: undefined, unchallenged: false };
}

function refuse(why: Refusal): Decision {
  return { kind: "refuse", refusal: why };
}

function isListed({ id }: HostFacts, { hosts }: Policy): boolean {
  return hosts === undefined || hosts.has(id);
}

// ---- keys

type Sealing = Pick<SealedRoute, "hostKey" | "order" | "relayable">;

function sealingOf(key: KeyStanding, nowMs: number): Sealing | undefined {
  if (key.kind === "record" && nowMs <= key.notAfterMs) {
    return { hostKey: key.key, order: "indexed", relayable: true };
  }
  if (key.kind === "announced") return { hostKey: key.key, order: "unordered", relayable: false };
  return undefined;
}

/** Why a host cannot be asked in the clear; undefined when it can. */
function withoutKey({ key }: HostFacts, policy: Policy, anySealed: boolean): Refusal | undefined {
  switch (key.kind) {
    case "record":
      return refusal("key-withheld", always, { why: "it has expired, and the host has published no other" });
    case "withheld":
      return refusal("key-withheld", always, { why: key.why });
    case "announced":
    case "unknown":
      return refusal("no-key", always);
    case "none":
      if (policy.attested) return refusal("encryption-required", demandOf(policy.attested));
      if (!policy.plain) return refusal("plain-not-allowed", demands.encryption, { why: "policy demands one" });
      return anySealed
        ? refusal("plain-not-allowed", always, { why: "another host of this model has one" })
        : undefined;
  }
}

// ---- builds: the host's own word

/** Why the build that a host says it runs is not accepted; undefined when it is, or when none is asked for. */
function withoutBuild({ posture: facts, proof }: HostFacts, { builds }: Policy, nowMs: number): Refusal | undefined {
  if (!builds) return undefined;
  const demand = demands.builds;
  const told = toldBuild(facts);
  const digest = told?.digest;
  const verdict = builds.judge(told, nowMs);
  const names = { digest: digest ?? "", version: verdict.version ?? "", why: buildTimeText(verdict) };
  switch (verdict.outcome) {
    case "accepted": {
      const other = digest === undefined ? undefined : otherBuild(proof, digest);
      if (other === undefined) return undefined;
      return refusal("build-disagrees", demand, { ...names, other: isDigest(other) ? other : "one that is no digest" });
    }
    case "not-told":
      return refusal(facts.kind === "disagrees" ? "posture-disagrees" : "build-not-told", demand);
    case "revoked":
      return refusal("build-revoked", demand, names);
    case "no-list":
      return refusal("builds-missing", demand);
    case "unknown-build":
      return refusal("build-unknown", demand, names);
    case "build-expired":
    case "list-expired":
    case "not-yet":
      return refusal("builds-expired", demand, names);
  }
}

function buildTimeText({ outcome, atMs = 0, version }: BuildVerdict): string {
  const date = new Date(atMs);
  const at = Number.isNaN(date.getTime()) ? "a time that no calendar has" : date.toISOString();
  if (outcome === "build-expired") return `It (${version ?? "no version"}) was accepted until ${at}.`;
  if (outcome === "not-yet") return `What is said of accepted builds holds from ${at} on.`;
  return `The list of accepted builds has expired at ${at}.`;
}

// ---- evidence

function demandOf(tier: Tier): string {
  return `${demands.attested}=${tier}`;
}

/** What lets the host through, or why nothing does. */
function provenBy({ id, proof }: HostFacts, policy: Policy): RouteProof | Refusal {
  const { attested, acceptArguments } = policy;
  const { pieces, why } = proof;
  const [best] = bestFirst(pieces);
  const changed = pieces.find(isChanged);
  const shortfall = (piece: PieceProof, tier: Tier): Shortfall => {
    return { piece, id, tier: tierKnown(piece), lacks: lacksKnown(tier, piece), why, acceptArguments };
  };
  if (attested === undefined) {
    // asked for or not, a changed key is told; another piece that proves something shows that it is the same machine
    const isHidden = changed !== undefined && (best === undefined || tierKnown(best) === "none");
    return isHidden ? refusalOf("pin-changed", always, shortfall(changed, "key")) : knownProof(proof);
  }
  if (best === undefined) return refusalWithout(demandOf(attested), proof);
  // a key that changed is told before another one lets the host through
  if (changed) return refusalOf("pin-changed", demandOf(attested), shortfall(changed, attested));
  if (tiers.indexOf(tierKnown(best)) >= tiers.indexOf(attested)) return proofOf(best, false);
  if (policy.acceptUnchallenged && attested === "key") {
    const byTime = pieces.find(lacksOnlyChallenge);
    if (byTime) return proofOf(byTime, true);
  }
  const { rule, piece } = nearest(best, pieces, attested);
  return refusalOf(rule, demandOf(attested), shortfall(piece, attested));
}

/**
 * Another key than the pinned one, and the host's own: it has answered a challenge, or came unasked, on the host's own
 * connection. What else disagrees, a relay may have put there.
 */
function isChanged({ pin, challenge, nonce }: PieceProof): boolean {
  return pin.standing === "disagrees" && (challenge === "answered" || nonce === undefined);
}

/** Why a host does not count as hardened, by its own signed word; undefined when it does. */
function withoutPosture({ posture: facts, proof }: HostFacts): Refusal | undefined {
  const demand = demands.hardened;
  // its evidence could say something else than its record
  if (!proof.asked && proof.why === undefined) return refusal("not-asked", demand);
  switch (facts.kind) {
    case "none":
      return refusal("posture-missing", demand);
    case "unsigned":
      return refusal("posture-unsigned", demand);
    case "disagrees":
      return refusal("posture-disagrees", demand);
    case "signed": {
      const { posture } = facts;
      if (hardenedLacks(posture).length === 0) return undefined;
      return refusal("not-hardened", demand, { lacks: hardenedLacksText(posture), reach: postureReach(posture) });
    }
  }
}

function proofOf(piece: PieceProof, unchallenged: boolean): RouteProof {
  const { item, claims } = piece;
  const kind = isKindName(item.kind) ? item.kind : undefined;
  return { tier: tierKnown(piece), kind, attestedKey: claims.attestedKey, unchallenged };
}

function bestFirst(pieces: readonly PieceProof[]): readonly PieceProof[] {
  return pieces.toSorted((a, b) => tiers.indexOf(tierKnown(b)) - tiers.indexOf(tierKnown(a)));
}

/** A key that stopped answering, or was not the one that answered, counts for nothing, also where no challenge is needed. */
function isDistrusted({ challenge }: PieceProof): boolean {
  return challenge === "missed" || challenge === "failed";
}

function tierKnown(piece: PieceProof): Tier {
  return isDistrusted(piece) ? "none" : tierOfPiece(piece);
}

function lacksKnown(tier: Tier, piece: PieceProof): readonly Lack[] {
  const lacks = lacksOfPiece(tier, piece);
  return isDistrusted(piece) && !lacks.includes("challenge") ? [...lacks, "challenge"] : lacks;
}

/** Good evidence of a node that speaks no challenges, recent by its own time. */
function lacksOnlyChallenge(piece: PieceProof): boolean {
  if (piece.challenge !== "impossible" || piece.verdict.fresh.reason !== "own-time") return false;
  return lacksOfPiece("key", piece).every((lack) => lack === "challenge");
}

/** From the most pressing on: what is told of a host that lacks several things. */
const precedence: readonly RuleName[] = [
  "pin-changed",
  "challenge-failed",
  "challenge-missed",
  "stale",
  "no-challenge",
  "challenge-unanswered",
  "tier-not-reached",
];
const rulesOfEvidence: ReadonlySet<RuleName> = new Set<RuleName>([
  ...precedence,
  "not-asked",
  "no-evidence",
  "posture-missing",
  "posture-unsigned",
  "posture-disagrees",
  "build-not-told",
  "build-disagrees",
]);
/** Told whichever piece they concern, because they may mean an attack. */
const alarms: readonly RuleName[] = ["pin-changed", "challenge-failed"];

interface Failing {
  readonly piece: PieceProof;
  readonly rule: RuleName;
  readonly lacks: readonly Lack[];
}

/** The piece that lacks least for a tier that none reaches, and the rule that it fails. */
function nearest(best: PieceProof, pieces: readonly PieceProof[], tier: Tier): Failing {
  const failing = pieces.map((piece) => failingOf(piece, tier)).toSorted(byShortfall);
  const alarm = alarms.map((rule) => failing.find((each) => each.rule === rule)).find((found) => found);
  return alarm ?? failing[0] ?? failingOf(best, tier);
}

function byShortfall(a: Failing, b: Failing): number {
  return a.lacks.length - b.lacks.length || precedence.indexOf(a.rule) - precedence.indexOf(b.rule);
}

function failingOf(piece: PieceProof, tier: Tier): Failing {
  const lacks = lacksKnown(tier, piece);
  return { piece, lacks, rule: ruleFor(piece, lacks) };
}

function ruleFor(piece: PieceProof, lacks: readonly Lack[]): RuleName {
  const { verdict, challenge } = piece;
  const lacksWith = (outcome: Outcome): boolean =>
    factors.some((factor) => lacks.includes(factor) && verdict[factor].outcome === outcome);
  if (lacks.includes("pin-disagrees") && isChanged(piece)) return "pin-changed";
  if (challenge === "failed") return "challenge-failed";
  if (challenge === "missed") return "challenge-missed";
  if (lacksWith("stale")) return "stale";
  // no answer would mend what is wrong
  if (!lacks.includes("challenge") || lacksWith("fail")) return "tier-not-reached";
  if (challenge === "impossible") return "no-challenge";
  return lacks.includes("kind") ? "tier-not-reached" : "challenge-unanswered";
}

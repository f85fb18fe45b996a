/**
 * Proof of hosts as JSON documents: what GET /v1/mesh/attestation, the console and `sealmesh explain` tell, with all that
 * a third party needs to check the evidence again. Written from what the node knows, and read again by `sealmesh verify`.
 * Pure: asks nobody, and decides nothing.
 */
import { createHash } from "node:crypto";
import type { Claims } from "../attest/claims.ts";
import { type EvidenceItem, evidenceWindow } from "../attest/evidence.ts";
import {
  type ChallengeStanding,
  fingerprintOf,
  type HostProof,
  lacksOfPiece,
  type PieceProof,
  type PinnedValue,
  type PinStanding,
  tierOfHost,
} from "../attest/proof.ts";
import type { ReasonCode } from "../attest/reasons.ts";
import { type Factor, factors, type Outcome, type Tier, tiers, type Verdict } from "../attest/verdict.ts";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { equal, fromBase64, fromUtf8, toBase64, toHex, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { countOf, isRecord, type Json } from "../base/json.ts";
import { type Decision, explainDecision } from "../policy/decide.ts";
import { explainLack, explainReason, factorTexts } from "../policy/explain.ts";
import type { Policy } from "../policy/policy.ts";
import { buildRules, postureRules, refusalRules } from "../policy/refusals.ts";
import { decodeEvidenceItem, encodeEvidenceItem, rfc3339Ms } from "../wire/evidence.ts";
import { withoutControls } from "../wire/gossip.ts";
import type { Posture } from "../wire/posture.ts";
import type { BuildListsStatus, BuildStatus } from "./build-status.ts";
import { type PostureDocument, postureDocument, type PostureStatus } from "./posture.ts";

// ---- the document

export interface AttestationReport {
  /** Null when one host was asked for, whatever it serves. */
  readonly model: string | null;
  /** ISO 8601, UTC. */
  readonly checked_at: string;
  readonly policy: PolicyStatus;
  /** Lists of known builds; null: nobody's count. */
  readonly builds: BuildListsStatus | null;
  readonly hosts: readonly (HostReport | OwnReport)[];
  readonly check: CheckReport;
}

/** What the verdicts were made with besides the evidence, and how to make them again. */
export interface CheckReport {
  readonly max_age_ms: number;
  readonly ahead_ms: number;
  /** Of each root certificate as DER, lower-case hex. */
  readonly roots_sha256: readonly string[];
  readonly command: string;
}

/** Null where nothing is demanded. */
export interface PolicyStatus {
  readonly require_attested_hosts: Tier | null;
  readonly require_encryption: boolean;
  readonly require_hardened: boolean;
  readonly accept_unchallenged: boolean;
  readonly allow_hosts: readonly EndpointId[] | null;
  readonly owners: readonly string[] | null;
  /** Whether the host must say, signed, that it runs a build of a list. */
  readonly allow_builds: boolean;
}

export interface HostReport {
  readonly endpoint_id: EndpointId;
  readonly this_node: false;
  /** Base64 of 32 bytes; null: none that may be used. */
  readonly inference_key: string | null;
  readonly tier: Tier;
  readonly allowed: boolean;
  /** How a prompt would travel; null: not at all. */
  readonly route: "sealed" | "plain" | null;
  readonly refusal: RefusalReport | null;
  /** Why there is no evidence, or no newer one. */
  readonly why: string | null;
  /** How it says that it is closed to others: its own word, whatever its evidence proves. */
  readonly posture: PostureStatus;
  /** Which build it says it runs, and what the lists say of that. */
  readonly build: BuildStatus | null;
  /** Best first. */
  readonly evidence: readonly PieceReport[];
}

export interface RefusalReport {
  readonly rule: string;
  /** The flag that demands it. */
  readonly demand: string;
  readonly text: string;
}

export interface PieceReport {
  /** As `sealmesh verify` reads it; its kind and version are the host's words. */
  readonly item: Json;
  /** Base64 of the 32 bytes that it was asked with; null: it came unasked. */
  readonly nonce: string | null;
  readonly challenge: ChallengeStanding;
  readonly pin: { readonly standing: PinStanding["standing"]; readonly pinned: PinnedValue | null };
  /** Base64 of the SEC1 point; null unless the signature holds. */
  readonly attested_key: string | null;
  readonly fingerprint: string | null;
  readonly factors: readonly FactorRow[];
  readonly claims: readonly ClaimRow[];
}

/** This machine itself: it shows its evidence to others, and does not judge it. */
export interface OwnReport {
  readonly endpoint_id: EndpointId;
  readonly this_node: true;
  readonly inference_key: string;
  readonly tier: null;
  readonly allowed: true;
  readonly route: "local";
  readonly refusal: null;
  readonly why: null;
  /** What it tells others of itself. */
  readonly posture: PostureDocument;
  readonly evidence: readonly Pick<PieceReport, "item" | "nonce">[];
}

export interface HostKnown {
  readonly endpointId: EndpointId;
  /** 32 bytes. */
  readonly inferenceKey: Uint8Array | undefined;
  readonly proof: HostProof;
  readonly decision: Decision;
  readonly posture: PostureStatus;
  /** @default null: nobody's lists count */
  readonly build?: BuildStatus | null;
}

export interface OwnKnown {
  readonly endpointId: EndpointId;
  /** 32 bytes, the key in use. */
  readonly inferenceKey: Uint8Array;
  readonly pieces: readonly OwnPiece[];
  readonly posture: Posture;
}

/** As node/attester.ts keeps them. */
export interface OwnPiece {
  readonly item: EvidenceItem | undefined;
  /** 32 bytes, the key that the piece is tied to. */
  readonly inferenceKey: Uint8Array | undefined;
}

/** What evidence is judged with. */
export interface Judging {
  readonly policy: Policy;
  /** @default null: nobody's lists count */
  readonly builds?: BuildListsStatus | null;
  /** DER. */
  readonly roots: readonly Uint8Array[];
  readonly window: { readonly maxAgeMs: number; readonly aheadMs: number };
  readonly nowMs: number;
}

export interface ReportParts extends Judging {
  readonly model: string | undefined;
  readonly hosts: readonly HostKnown[];
  /** Undefined when no engine of this machine has the model. */
  readonly own: OwnKnown | undefined;
}

export function attestationReport(parts: ReportParts): AttestationReport {
  const { model, hosts, own, policy, builds = null, roots, window, nowMs } = parts;
  const checkedAt = new Date(nowMs).toISOString();
  return {
    model: model ?? null,
    checked_at: checkedAt,
    policy: policyStatus(policy),
    builds,
    hosts: [...(own ? [ownReport(own)] : []), ...hosts.map(hostReport)],
    check: {
      max_age_ms: window.maxAgeMs,
      ahead_ms: window.aheadMs,
      roots_sha256: roots.map((root) => toHex(createHash("sha256").update(root).digest())),
      command: commandFor(checkedAt, roots.length > 0, window.maxAgeMs),
    },
  };
}

/** With the document in a file of this name, and the roots in another. */
function commandFor(checkedAt: string, withRoots: boolean, maxAgeMs: number): string {
  const roots = withRoots ? " --roots makers.pem" : "";
  // by itself it goes by no longer time than the usual one
  const age = maxAgeMs > evidenceWindow.maxAgeMs ? ` --max-age ${Math.ceil(maxAgeMs / 1_000)}s` : "";
  return `sealmesh verify ./attestation.json${roots}${age} --at ${checkedAt}`;
}

export function policyStatus(policy: Policy): PolicyStatus {
  const { plain, attested, acceptUnchallenged, hardened, hosts, owners, builds } = policy;
  return {
    require_attested_hosts: attested ?? null,
    require_encryption: !plain,
    require_hardened: hardened,
    accept_unchallenged: acceptUnchallenged,
    allow_hosts: hosts ? [...hosts] : null,
    owners: owners ? [...owners] : null,
    allow_builds: builds !== undefined,
  };
}

export function hostReport({
  endpointId: id,
  inferenceKey,
  proof,
  decision,
  posture,
  build = null,
}: HostKnown): HostReport {
  return {
    endpoint_id: id,
    this_node: false,
    inference_key: inferenceKey ? toBase64(inferenceKey) : null,
    tier: shownProof(proof, decision).tier,
    allowed: decision.kind === "allow",
    route: decision.kind === "allow" ? decision.route.kind : null,
    refusal: decision.kind === "refuse" ? refusalReport(decision.refusal) : null,
    why: proof.why ?? null,
    posture,
    build,
    evidence: proof.pieces.map(pieceReport),
  };
}

/** What is told of a host in a line: what its route was given for, or the best that it showed. */
export interface ShownProof {
  readonly tier: Tier;
  readonly kind: string | undefined;
  readonly attestedKey: Uint8Array | undefined;
  /** The piece that this is from. */
  readonly piece: PieceProof | undefined;
}

export function shownProof(proof: HostProof, decision: Decision): ShownProof {
  const best = proof.pieces[0];
  if (decision.kind === "refuse") {
    return {
      tier: tierOfHost(proof),
      kind: best?.item.kind,
      attestedKey: best?.claims.attestedKey,
      piece: best,
    };
  }
  const { tier, kind, attestedKey } = decision.route.proof;
  const piece = proof.pieces.find(({ item, claims }) => item.kind === kind && sameKey(claims.attestedKey, attestedKey));
  return { tier, kind, attestedKey, piece };
}

function sameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equal(a, b);
}

function refusalReport({ rule, demand, text }: RefusalReport): RefusalReport {
  return { rule, demand, text };
}

function pieceReport({ item, nonce, challenge, pin, claims, verdict }: PieceProof): PieceReport {
  const { attestedKey } = claims;
  return {
    item: itemDocument(item),
    nonce: nonce ? toBase64(nonce) : null,
    challenge,
    pin: { standing: pin.standing, pinned: pin.pinned ?? null },
    attested_key: attestedKey ? toBase64(attestedKey) : null,
    fingerprint: attestedKey ? fingerprintOf(attestedKey) : null,
    factors: factorRows(verdict),
    claims: claimRows(claims),
  };
}

/** Only what is tied to the key in use: a piece of the key before it would look forged. */
function ownReport({ endpointId: id, inferenceKey, pieces, posture }: OwnKnown): OwnReport {
  const current = pieces.flatMap(({ item, inferenceKey: key }) => (item && sameKey(key, inferenceKey) ? [item] : []));
  return {
    endpoint_id: id,
    this_node: true,
    inference_key: toBase64(inferenceKey),
    tier: null,
    allowed: true,
    route: "local",
    refusal: null,
    why: null,
    posture: postureDocument(posture),
    evidence: current.map((item) => ({ item: itemDocument(item), nonce: null })),
  };
}

function itemDocument(item: EvidenceItem): Json {
  return JSON.parse(fromUtf8(encodeEvidenceItem(item))) as Json;
}

// ---- rows of a verdict

export interface FactorRow {
  readonly factor: Factor;
  readonly asks: string;
  readonly outcome: Outcome;
  readonly reason: ReasonCode;
  readonly sentence: string;
}

export function factorRows(verdict: Verdict): readonly FactorRow[] {
  return factors.map((factor) => {
    const { outcome, reason } = verdict[factor];
    return { factor, asks: factorTexts[factor], outcome, reason, sentence: explainReason(reason) };
  });
}

export interface ClaimRow {
  readonly claim: string;
  readonly value: string;
  /** signature: shown by the signature itself · self, vendor: see attest/claims.ts. */
  readonly by: "signature" | "self" | "vendor";
}

/** Claims as text: a signer may put anything into them, so nothing may move a terminal. */
export function claimRows({ attestedKey, issuedAtMs, pcrs, ...plain }: Claims): readonly ClaimRow[] {
  const rows: ClaimRow[] = [];
  if (attestedKey) {
    rows.push({ claim: "attested key", value: toBase64(attestedKey), by: "signature" });
    rows.push({ claim: "its fingerprint", value: fingerprintOf(attestedKey), by: "signature" });
  }
  if (issuedAtMs) rows.push({ claim: "issued at", value: timeText(issuedAtMs.value), by: issuedAtMs.by });
  for (const [name, claim] of Object.entries(plain)) {
    const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    const { value } = claim;
    const text = value instanceof Uint8Array ? toHex(value) : withoutControls(String(value));
    rows.push({ claim: words, value: text, by: claim.by });
  }
  for (const [number, value] of pcrs?.value ?? []) {
    rows.push({ claim: `pcr ${number}`, value: toHex(value), by: pcrs?.by ?? "self" });
  }
  return rows;
}

/** A signed time can be beyond what a date can hold. */
export function timeText(timeMs: number): string {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? `${timeMs} ms after 1970` : date.toISOString();
}

// ---- reading a document

/** A document of another node, or of a file: what can be checked again, and what it says besides. */
export interface ReadReport {
  /** Unix ms; undefined when it does not say. */
  readonly checkedAtMs: number | undefined;
  /** How old its node let evidence be, and how far ahead, ms; undefined when it does not say. */
  readonly window: Judging["window"] | undefined;
  readonly hosts: readonly ReadHost[];
}

export interface ReadHost {
  readonly endpointId: EndpointId;
  /** 32 bytes. */
  readonly inferenceKey: Uint8Array | undefined;
  readonly saidTier: Tier | undefined;
  readonly saidAllowed: boolean | undefined;
  readonly pieces: readonly ReadPiece[];
}

export interface ReadPiece {
  readonly item: EvidenceItem;
  /** 32 bytes. */
  readonly nonce: Uint8Array | undefined;
  readonly saidChallenge: ChallengeStanding | undefined;
  readonly saidPin: PinStanding["standing"] | undefined;
}

/** A document of all hosts of the largest mesh, most of them with one piece, in bytes. */
export const reportBytes = 16_777_216;
/** Hosts in a document: as many as a node knows. */
const reportHosts = 4_096;
/** Pieces of one host; there are not so many kinds. */
const reportPieces = 64;

const challengeStandings: readonly ChallengeStanding[] = ["unasked", "answered", "missed", "failed", "impossible"];
const pinStandings: readonly PinStanding["standing"][] = ["none", "first-contact", "agrees", "disagrees"];

/** Whether parsed JSON is meant to be a document of hosts, or of one: whether it is a good one, {@link readReport} says. */
export function isReport(document: unknown): document is Json {
  return isRecord(document) && ("hosts" in document || ("endpoint_id" in document && "evidence" in document));
}

/**
 * Takes a whole document, or the part of it that is one host. What it says in words is dropped, but for what comes from a
 * closed list.
 *
 * @throws E_WIRE a host, a key, a nonce or an item that cannot be read, or more of them than there can be
 */
export function readReport(document: Json): ReadReport {
  const { hosts = [document], checked_at: checkedAt, check } = document;
  return {
    checkedAtMs: typeof checkedAt === "string" ? rfc3339Ms(checkedAt) : undefined,
    window: readWindow(check),
    hosts: listOf(hosts, reportHosts, "hosts").map(readHost),
  };
}

function readWindow(check: unknown): ReadReport["window"] {
  if (!isRecord(check)) return undefined;
  const [maxAgeMs, aheadMs] = [countOf(check["max_age_ms"]), countOf(check["ahead_ms"])];
  return maxAgeMs === undefined || aheadMs === undefined ? undefined : { maxAgeMs, aheadMs };
}

function readHost(host: Json): ReadHost {
  const { endpoint_id: id, inference_key: key, tier, allowed, evidence } = host;
  return {
    endpointId: endpointId(typeof id === "string" ? id : ""),
    inferenceKey: bytes32(key),
    saidTier: oneOf(tiers, tier),
    saidAllowed: typeof allowed === "boolean" ? allowed : undefined,
    pieces: listOf(evidence, reportPieces, "pieces of evidence").map(readPiece),
  };
}

function readPiece({ item, nonce, challenge, pin }: Json): ReadPiece {
  return {
    item: decodeEvidenceItem(utf8(JSON.stringify(item ?? null))),
    nonce: bytes32(nonce),
    saidChallenge: oneOf(challengeStandings, challenge),
    saidPin: oneOf(pinStandings, isRecord(pin) ? pin["standing"] : undefined),
  };
}

function listOf(value: unknown, most: number, what: string): readonly Json[] {
  if (Array.isArray(value) && value.length <= most && value.every(isRecord)) return value;
  throw new MeshError("E_WIRE", `the document has no list of at most ${most} ${what}`);
}

function bytes32(value: unknown): Uint8Array | undefined {
  if (value === null || value === undefined) return undefined;
  return fromBase64(typeof value === "string" ? value : "", 32);
}

function oneOf<T extends string>(words: readonly T[], value: unknown): T | undefined {
  return words.find((word) => word === value);
}

// ---- who would be used, and why

export interface ExplainReport {
  /** As asked. */
  readonly what: string;
  readonly kind: "peer" | "model";
  readonly policy: PolicyStatus;
  readonly hosts: readonly ExplainedHost[];
}

export interface ExplainedHost {
  readonly endpoint_id: EndpointId;
  readonly this_node: boolean;
  readonly hostname: string | null;
  /** What it serves now. */
  readonly models: readonly string[];
  readonly allowed: boolean;
  /** Null for this machine. */
  readonly tier: Tier | null;
  readonly route: "sealed" | "plain" | "local" | null;
  /** A few sentences, ready to print. */
  readonly text: string;
}

/** Hex digits by which a node may be named. */
export const shortestPrefix = 10;

export type Named =
  | { readonly kind: "peer"; readonly id: EndpointId }
  | { readonly kind: "model"; readonly model: string }
  | { readonly kind: "ambiguous" }
  | { readonly kind: "unknown" };

/**
 * What a word of a command line stands for. A whole endpoint id comes first: a host could name a model like another one's
 * id.
 */
export function namedBy(
  what: string,
  { nodes, models }: { readonly nodes: readonly EndpointId[]; readonly models: readonly string[] },
): Named {
  const exact = nodes.find((id) => id === what);
  if (exact !== undefined) return { kind: "peer", id: exact };
  if (models.includes(what)) return { kind: "model", model: what };
  if (!isNodeName(what)) return { kind: "unknown" };
  const [first, second] = nodes.filter((id) => id.startsWith(what));
  if (first === undefined) return { kind: "unknown" };
  return second === undefined ? { kind: "peer", id: first } : { kind: "ambiguous" };
}

/** An endpoint id, or enough of its beginning. */
export function isNodeName(text: string): boolean {
  return text.length >= shortestPrefix && /^[0-9a-f]{1,64}$/.test(text);
}

export interface ExplainParts {
  readonly what: string;
  readonly kind: ExplainReport["kind"];
  readonly policy: Policy;
  readonly hosts: readonly (Omit<HostKnown, "inferenceKey"> & {
    readonly hostname: string | undefined;
    readonly models: readonly string[];
  })[];
  /** This machine, when it is what was asked for, or serves that. */
  readonly own:
    | { readonly endpointId: EndpointId; readonly hostname: string | undefined; readonly models: readonly string[] }
    | undefined;
}

export function explainReport({ what, kind, policy, hosts, own }: ExplainParts): ExplainReport {
  const self: readonly ExplainedHost[] = own
    ? [
        {
          endpoint_id: own.endpointId,
          this_node: true,
          hostname: own.hostname ?? null,
          models: own.models,
          allowed: true,
          tier: null,
          route: "local",
          text: "This is the machine itself: what it answers stays here.",
        },
      ]
    : [];
  const others = hosts.map(({ endpointId: id, hostname, models, proof, decision, posture, build }): ExplainedHost => {
    return {
      endpoint_id: id,
      this_node: false,
      hostname: hostname ?? null,
      models,
      allowed: decision.kind === "allow",
      tier: shownProof(proof, decision).tier,
      route: decision.kind === "allow" ? decision.route.kind : null,
      text: explanation({ proof, decision, posture, ...(build ? { build } : {}) }, models),
    };
  });
  return { what, kind, policy: policyStatus(policy), hosts: [...self, ...others] };
}

/** The decision's own words, and what is missing where nothing is proven. */
export function explanation(
  { proof, decision, posture, build }: Pick<HostKnown, "proof" | "decision" | "posture" | "build">,
  models: readonly string[],
): string {
  const lacking =
    decision.kind === "allow" && decision.route.proof.tier === "none" && !decision.route.proof.unchallenged
      ? [lackSentence(proof)]
      : [];
  // a refusal for it says the same
  const said = posture.text === null || isAboutPosture(decision) ? [] : [posture.text];
  const idle = models.length === 0 ? ["It serves no model now."] : [];
  const built = build && !isAboutBuild(decision) ? [build.text] : [];
  return [explainDecision(decision), ...lacking, ...said, ...built, ...idle].join(" ");
}

function isAboutBuild(decision: Decision): boolean {
  return decision.kind === "refuse" && buildRules.has(decision.refusal.rule);
}

function isAboutPosture(decision: Decision): boolean {
  return decision.kind === "refuse" && postureRules.has(decision.refusal.rule);
}

function lackSentence({ pieces: [piece], why, asked }: HostProof): string {
  if (piece === undefined && !asked && why === undefined) return refusalRules["not-asked"].sentence;
  if (piece === undefined) return `It has shown no evidence${why === undefined ? "" : ` (${why})`}.`;
  const lack = lacksOfPiece("key", piece)[0];
  return lack === undefined ? "" : explainLack(lack, piece.verdict);
}

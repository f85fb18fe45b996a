/**
 * /api/status: what a node says about itself and its peers. Names and shape of protocol.md §9.2 where they mean the same,
 * ours beside them; what is not known here (memory, graphics cards, other instances) is left out rather than made up. No
 * content, and no secret but the token, which http/admin.ts fills in for those who may see it.
 */
import { createHash } from "node:crypto";
import {
  type ChallengeStanding,
  fingerprintOf,
  type HostProof,
  type PieceProof,
  type PinStanding,
} from "../attest/proof.ts";
import type { KeyLife } from "../attest/collect/collector.ts";
import { type Factor, factors, type Outcome, type Tier } from "../attest/verdict.ts";
import { evidenceKinds } from "../attest/registry.ts";
import { type EndpointId, shortId } from "../base/brand.ts";
import { toBase64, toHex } from "../base/bytes.ts";
import { contextOf, modelOf, relayCapability } from "../mesh/choose.ts";
import type { Peer } from "../mesh/membership.ts";
import type { Decision, KeyStanding } from "../policy/decide.ts";
import type { OwnerVerdict, TrustPolicy } from "../policy/owners.ts";
import type { Path } from "../transport/transport.ts";
import { type PolicyStatus, shownProof } from "./attestation-report.ts";
import type { MeshStatus } from "./admission.ts";
import type { EvidenceState } from "./attester.ts";
import type { BuildListsStatus, BuildStatus } from "./build-status.ts";
import type { PublicationState } from "./finder.ts";
import type { MeasurementStatus } from "./measurements.ts";
import { ownerReport, type OwnerReport } from "./owner-status.ts";
import type { PostureDocument, PostureStatus } from "./posture.ts";
import type { HardeningStatus } from "./hardening-status.ts";
import type { Exchanges, ExchangeReport, ExchangeTotals } from "./exchanges.ts";
import type { Mode } from "./config.ts";
import type { RelayedStatus } from "./relaying.ts";

export interface Status {
  readonly version: string;
  /** First 10 hex digits of the endpoint id, as in mesh-llm. */
  readonly node_id: string;
  readonly endpoint_id: EndpointId;
  /** Of the process that holds prompts. */
  readonly pid: number;
  /** Invite that admits further nodes; null: this node may not invite, or the caller has not shown the session token. */
  readonly token: string | null;
  /** The mesh that this node belongs to, and what it may do there. */
  readonly mesh: MeshStatus;
  readonly name: string | null;
  readonly mode: Mode;
  readonly node_state: NodeState;
  /** The same, capitalised. */
  readonly node_status: string;
  readonly owner: OwnerReport;
  /** What is asked of peers' owners. */
  readonly trust_policy: TrustPolicy;
  readonly is_host: boolean;
  readonly is_client: boolean;
  /** Null: a relay has none. */
  readonly api_port: number | null;
  /** Whether an embedded engine is up. */
  readonly llama_ready: boolean;
  /** First of `hosted_models`, or "". */
  readonly model_name: string;
  /** Models that this machine serves now, under both names that mesh-llm has for them. */
  readonly hosted_models: readonly string[];
  readonly serving_models: readonly string[];
  readonly available_models: readonly string[];
  readonly requested_models: readonly string[];
  /** Models of the whole mesh. */
  readonly models: readonly string[];
  readonly inference_key: string;
  readonly route: "auto" | "direct" | "relay";
  readonly relays_for_others: boolean;
  /** Whether hosts without an inference key may be asked in the clear. */
  readonly plain_allowed: boolean;
  /** What is demanded of hosts before a prompt may leave. */
  readonly policy: PolicyStatus;
  /** Lists of known builds, and how old they are; null: nobody's count. */
  readonly builds: BuildListsStatus | null;
  readonly engines: readonly EngineStatus[];
  /** Requests of callers on this machine and of peers that have not ended. */
  readonly inflight_requests: number;
  readonly admission: AdmissionStatus;
  /** How this node and its engines are closed to others, as it tells others. */
  readonly posture: PostureDocument;
  /** What stands behind it: what was done, and why each door is as it is. */
  readonly hardening: HardeningStatus;
  /** Evidence of this machine, kind by kind; /api/evidence has the pieces themselves. */
  readonly evidence: readonly EvidenceStatus[];
  /** Digests of what this node runs, by its own measuring. */
  readonly measurement: MeasurementStatus;
  readonly exchanges: ExchangesStatus;
  /** Whether Nostr relays are used, and whether this node's mesh is listed anywhere. */
  readonly nostr_discovery: boolean;
  readonly publication_state: PublicationState;
  /** Null: the mesh has no name. */
  readonly mesh_name: string | null;
  /** What this node carries for others. */
  readonly relayed: RelayedStatus;
  readonly peers: readonly PeerStatus[];
}

/** What runs on the engines of this machine, what waits for them, and how much of each there may be. */
export interface AdmissionStatus {
  readonly running: number;
  readonly queued: number;
  readonly max_running: number;
  readonly max_queued: number;
}

/** What callers on this machine asked for. */
export interface ExchangesStatus {
  /** The last 20, newest first. */
  readonly recent: readonly ExchangeReport[];
  /** Since the node started. */
  readonly totals: ExchangeTotals;
}

const recentExchanges = 20;

export function exchangesStatus({ latest, totals }: Exchanges): ExchangesStatus {
  return { recent: latest.slice(0, recentExchanges), totals };
}

export interface AdmissionFacts {
  readonly running: number;
  readonly queued: number;
  readonly maxRunning: number;
  readonly maxQueued: number;
}

export function admissionStatus({ running, queued, maxRunning, maxQueued }: AdmissionFacts): AdmissionStatus {
  return { running, queued, max_running: maxRunning, max_queued: maxQueued };
}

export type NodeState = "client" | "standby" | "loading" | "serving";

export interface EvidenceStatus {
  readonly kind: string;
  /** What one must know of this kind before trusting it, such as hardware that it has not run on yet. */
  readonly note: string | null;
  /** machine: its key is the same after a restart · process: pins of it end with this process · null: not known yet. */
  readonly key_life: KeyLife | null;
  /** When the newest piece was made, ISO 8601 in UTC; null: none so far. */
  readonly issued_at: string | null;
  /** Base64 of the inference key that it is tied to; null: none so far. */
  readonly inference_key: string | null;
  /** Why the last attempt failed; null when it did not. */
  readonly why: string | null;
}

export interface EngineStatus {
  readonly name: string;
  readonly kind: "embedded" | "external";
  readonly state: "loading" | "up" | "down";
  /** Why it is down. */
  readonly why: string | null;
  readonly pid: number | null;
  readonly models: readonly { readonly id: string; readonly context_length: number | null }[];
  readonly running: number;
  readonly waiting: number;
}

export interface PeerStatus {
  readonly id: string;
  readonly endpoint_id: EndpointId;
  readonly owner: OwnerReport;
  readonly role: "Worker" | "Host" | "Client";
  readonly state: NodeState;
  readonly hostname: string | null;
  readonly version: string | null;
  /** What it serves, under all the names that mesh-llm has for it. */
  readonly models: readonly string[];
  readonly hosted_models: readonly string[];
  readonly hosted_models_known: boolean;
  readonly serving_models: readonly string[];
  readonly available_models: readonly string[];
  readonly requested_models: readonly string[];
  /** The same models with what the peer says of them. */
  readonly model_states: readonly PeerModel[];
  readonly rtt_ms: number | null;
  /** What carries the bytes between this node and it now; null: they are not connected. */
  readonly path: Path["kind"] | null;
  readonly connected: boolean;
  /** How a prompt to it would travel: sealed, in the clear, or not at all. */
  readonly sealed: "sealed" | "plain" | "refused";
  /** The way that a prompt to it would take now. */
  readonly route: "direct" | "relay" | "none";
  /** The relay that would be tried first on that way; null where it is no relay's. */
  readonly via: EndpointId | null;
  /** Whether it carries exchanges of others, and may. */
  readonly relays_for_others: boolean;
  /** Exchanges that this node has under way with it, as a host or as a relay. */
  readonly running: number;
  /** First 16 hex digits of the SHA-256 of its inference key. */
  readonly inference_key: string | null;
  readonly attestation: PeerAttestation;
  /** How it says that it is closed to others: its own word. */
  readonly posture: PostureStatus;
  /** Which build it says it runs, and what the lists say of that; null: nobody's lists count. */
  readonly build: BuildStatus | null;
}

/** What a peer has proven, and whether that is enough. */
export interface PeerAttestation {
  readonly tier: Tier;
  /** What `tier` rests on, as are the next three; null where it has shown nothing. */
  readonly kind: string | null;
  readonly fingerprint: string | null;
  readonly challenge: ChallengeStanding | null;
  readonly pin: PinStanding["standing"] | null;
  readonly allowed: boolean;
  /** The rule that refuses it, as docs/policy.md lists them: not-asked says that nobody has looked yet. */
  readonly rule: string | null;
  /** Why not, in a sentence or two. */
  readonly refusal: string | null;
  /** Why there is no evidence, or no newer one. */
  readonly why: string | null;
  /** Best first. */
  readonly evidence: readonly PieceStatus[];
}

export interface PieceStatus {
  readonly kind: string;
  /** ISO 8601 in UTC, its signed time where it has one; null: it does not say. */
  readonly issued_at: string | null;
  readonly factors: Readonly<Record<Factor, Outcome>>;
}

/** Null where the peer says nothing. */
export interface PeerModel {
  readonly id: string;
  /** Tokens that one request may use, prompt and answer together. */
  readonly context_length: number | null;
  /** Whether a further exchange has to wait there. */
  readonly busy: boolean | null;
  /** Exchanges that wait there. */
  readonly queue: number | null;
}

export function evidenceStatus({ kind, item, inferenceKey, why, keyLife }: EvidenceState): EvidenceStatus {
  return {
    kind,
    note: evidenceKinds.find((known) => known.kind === kind)?.note ?? null,
    key_life: keyLife ?? null,
    issued_at: item ? new Date(item.issuedAtMs).toISOString() : null,
    inference_key: inferenceKey ? toBase64(inferenceKey) : null,
    why: why ?? null,
  };
}

/** 16 hex digits of the key's SHA-256: for people to compare, not to seal to. */
export function keyFingerprint(key: Uint8Array): string {
  return toHex(createHash("sha256").update(key).digest().subarray(0, 8));
}

export interface PeerFacts {
  readonly peer: Peer;
  readonly key: KeyStanding;
  readonly connected: boolean;
  readonly rttMs: number | undefined;
  readonly path: Path["kind"] | undefined;
  /** Relays that lead to it, best first. */
  readonly relays: readonly EndpointId[];
  /** Whether it may carry, by its role. */
  readonly mayCarry: boolean;
  /** Of ours, under way with it. */
  readonly running: number;
  readonly route: Status["route"];
  readonly proof: HostProof;
  /** For the peer by itself: beside others of its model, a plain one may be refused all the same. */
  readonly decision: Decision;
  readonly posture: PostureStatus;
  readonly owner: OwnerVerdict;
  /** @default null: nobody's lists count */
  readonly build?: BuildStatus | null;
}

export function peerStatus(facts: PeerFacts): PeerStatus {
  const { peer, key, connected, rttMs, path, proof, decision, posture, owner, build = null } = facts;
  const route = routeTo(facts);
  return {
    id: shortId(peer.id),
    endpoint_id: peer.id,
    owner: ownerReport(owner),
    role: peer.role === "host" ? "Host" : peer.role === "client" ? "Client" : "Worker",
    state: peerState(peer),
    hostname: peer.hostname ?? null,
    version: peer.version ?? null,
    models: peer.models,
    hosted_models: peer.models,
    hosted_models_known: true,
    serving_models: peer.models,
    available_models: [],
    requested_models: [],
    model_states: peer.models.map((model) => peerModel(peer, model)),
    rtt_ms: rttMs ?? null,
    path: path ?? null,
    connected,
    sealed: decision.kind === "allow" ? decision.route.kind : "refused",
    route,
    via: (route === "relay" && facts.relays[0]) || null,
    relays_for_others: facts.mayCarry && (peer.record?.fields.capabilities ?? []).includes(relayCapability),
    running: facts.running,
    inference_key: key.kind === "record" || key.kind === "announced" ? keyFingerprint(key.key) : null,
    attestation: peerAttestation(proof, decision),
    posture,
    build,
  };
}

function routeTo({ connected, relays, route }: PeerFacts): PeerStatus["route"] {
  if (route !== "relay" && connected) return "direct";
  return route !== "direct" && relays.length > 0 ? "relay" : "none";
}

function peerAttestation(proof: HostProof, decision: Decision): PeerAttestation {
  const { tier, kind, attestedKey, piece } = shownProof(proof, decision);
  return {
    tier,
    kind: kind ?? null,
    fingerprint: attestedKey ? fingerprintOf(attestedKey) : null,
    challenge: piece?.challenge ?? null,
    pin: piece?.pin.standing ?? null,
    allowed: decision.kind === "allow",
    rule: decision.kind === "refuse" ? decision.refusal.rule : null,
    refusal: decision.kind === "refuse" ? decision.refusal.text : null,
    why: proof.why ?? null,
    evidence: proof.pieces.map(pieceStatus),
  };
}

function pieceStatus({ item, claims, verdict }: PieceProof): PieceStatus {
  const outcomes = factors.map((factor) => [factor, verdict[factor].outcome]);
  return {
    kind: item.kind,
    issued_at: isoTime(claims.issuedAtMs?.value ?? item.issuedAtMs),
    factors: Object.fromEntries(outcomes) as Record<Factor, Outcome>,
  };
}

/** A blob that came in gossip has no time beside it, and a signed one can be beyond what a date can hold. */
function isoTime(timeMs: number): string | null {
  const date = new Date(timeMs);
  return timeMs === 0 || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

function peerModel(peer: Peer, model: string): PeerModel {
  const told = modelOf(peer, model);
  return {
    id: model,
    context_length: contextOf(peer, model) ?? null,
    busy: told?.busy ?? null,
    queue: told?.queue ?? null,
  };
}

function peerState(peer: Peer): NodeState {
  if (peer.role === "client") return "client";
  if (peer.runtimes.some(({ ready }) => ready)) return "serving";
  if (peer.runtimes.length > 0) return "loading";
  return peer.models.length > 0 ? "serving" : "standby";
}

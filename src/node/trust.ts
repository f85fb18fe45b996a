/**
 * What this node demands of hosts, what they have shown, and what follows from the two: built once per node, asked by the
 * data path, the API port and the console. Decides nothing by itself; that is policy/decide.
 */
import type { EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import { MeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Signal } from "../base/signal.ts";
import { decisionOf, factsOf } from "../exchange.ts";
import type { Peer } from "../mesh/membership.ts";
import type { HostLoad } from "../mesh/choose.ts";
import { everyRole, type Roles } from "../mesh/roles.ts";
import type { Mesh } from "../mesh/mesh.ts";
import { Proofs } from "../mesh/proofs.ts";
import type { Decision } from "../policy/decide.ts";
import type { OwnerJudge } from "../policy/owners.ts";
import { type Policy, stricter } from "../policy/policy.ts";
import { type MinimumPolicy, strictest } from "../wire/invite.ts";
import {
  type AttestationReport,
  attestationReport,
  type ExplainReport,
  explainReport,
  type FactorRow,
  factorRows,
  type HostKnown,
  namedBy,
  type OwnKnown,
  shownProof,
} from "./attestation-report.ts";
import type { BuildLists } from "./build-lists.ts";
import { buildListsStatus, type BuildListsStatus, buildStatus, type BuildStatus } from "./build-status.ts";
import { dataDirArguments, type NodeConfig } from "./config.ts";
import { defaults } from "./defaults.ts";
import type { ExchangeAttestation } from "./exchanges.ts";
import type { PinStore } from "./pin-store.ts";
import { policyReport, type PolicyReport, type WhatIf } from "./policy-report.ts";
import { type PostureStatus, postureStatus } from "./posture.ts";

export interface TrustOptions {
  readonly self: EndpointId;
  readonly config: NodeConfig;
  /** What invites to the mesh demand: those it joins by now, and those of earlier starts. */
  readonly minimum?: MinimumPolicy | undefined;
  readonly mesh: Mesh;
  readonly load: HostLoad;
  readonly roles?: Roles | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly pins: PinStore;
  /** Undefined: nobody's lists of builds count. */
  readonly builds: BuildLists | undefined;
  /** Undefined: nobody's owner matters. */
  readonly ownership?: OwnerJudge | undefined;
  /** This machine as a host: its evidence, and the models that it serves now. */
  readonly own: () => OwnKnown & { readonly models: readonly string[] };
}

/** Never enough: all are asked. */
const everybody = (): boolean => false;

export class Trust {
  readonly policy: Policy;
  readonly proofs: Proofs;
  readonly #options: TrustOptions;

  constructor(options: TrustOptions) {
    const { self, config, minimum, mesh, load, roles, clock, log, pins, builds, ownership } = options;
    const { policy, challenge, route } = config;
    this.#options = options;
    this.policy = { ...policyOf(config, minimum, builds), ownership };
    this.proofs = new Proofs({
      self,
      path: { mesh, route, dialMs: defaults.dialMs, ms: defaults.attestMs, load, roles, now: () => clock.now() },
      clock,
      log,
      roots: policy.roots,
      maxAgeMs: policy.evidenceMaxAgeMs,
      aheadMs: policy.evidenceAheadMs,
      challengeIntervalMs: challenge.intervalMs,
      pins,
      acceptedKeys: new Set(policy.keys),
      measurements: this.policy.builds && ((nowMs) => this.policy.builds?.digests(nowMs) ?? new Set()),
    });
  }

  /** What is decided about a host now, by itself. */
  decision(id: EndpointId): Decision {
    return decisionOf(id, this.#facts);
  }

  /** What a host says of how it is closed to others, as of now. */
  posture(id: EndpointId): PostureStatus {
    return postureStatus(factsOf(id, this.#facts).posture, this.#options.mesh.peer(id)?.saidPosture);
  }

  /** What the lists say of the build that a host tells; null where nobody's lists count. */
  build(id: EndpointId): BuildStatus | null {
    const { builds, clock } = this.#options;
    return builds ? buildStatus(factsOf(id, this.#facts).posture, builds, clock.now()) : null;
  }

  get buildLists(): BuildListsStatus | null {
    const { builds, clock } = this.#options;
    return builds ? buildListsStatus(builds, this.policy.builds !== undefined, clock.now()) : null;
  }

  get #facts(): Parameters<typeof decisionOf>[1] {
    const { mesh, clock } = this.#options;
    return { mesh, clock, policy: this.policy, proofs: this.proofs };
  }

  /** Whether a host could be asked again now. */
  proofNow(host: EndpointId): ExchangeAttestation["at_end"] {
    const decision = this.decision(host);
    if (decision.kind === "allow") return "current";
    return decision.refusal.rule === "stale" ? "stale" : "refused";
  }

  /** What was found of a host, factor by factor, of the piece that its tier rests on; nobody is asked. */
  verdict(id: EndpointId): readonly FactorRow[] {
    const { piece } = shownProof(this.proofs.of(id), this.decision(id));
    return piece ? factorRows(piece.verdict) : [];
  }

  /** What the hosts of a model have shown; they are asked first. @throws E_ABORTED */
  async model(model: string, signal: Signal): Promise<AttestationReport> {
    const hosts = this.#hostsOf(model);
    await this.proofs.prepare(hosts, everybody, signal);
    const own = this.#options.own();
    return this.#report(model, hosts, own.models.includes(model) ? own : undefined);
  }

  /** What one peer has shown; it is asked first. @returns undefined for one that is no peer · @throws E_ABORTED */
  async peer(id: EndpointId, signal: Signal): Promise<AttestationReport | undefined> {
    const { mesh, self } = this.#options;
    if (id === self) return this.#report(undefined, [], this.#options.own());
    if (!mesh.peer(id)) return undefined;
    await this.proofs.ask(id, signal);
    return this.#report(undefined, [id], undefined);
  }

  /**
   * Who of the hosts of a model, or whether a peer, would be used, and why; undefined when nobody is meant.
   * @throws E_INPUT the beginning of an id that several nodes have · E_ABORTED
   */
  async explain(what: string, signal: Signal): Promise<ExplainReport | undefined> {
    const { mesh, config } = this.#options;
    const own = this.#options.own();
    const nodes = [own.endpointId, ...mesh.peers.map(({ id }) => id)];
    const models = [...own.models, ...mesh.peers.flatMap((peer) => (peer.role === "host" ? peer.models : []))];
    const named = namedBy(what, { nodes, models });
    if (named.kind === "unknown") return undefined;
    if (named.kind === "ambiguous") {
      throw new MeshError("E_INPUT", "several nodes have an id that begins like this: give more of it");
    }
    const others =
      named.kind === "model" ? this.#hostsOf(named.model) : [named.id].filter((id) => id !== own.endpointId);
    const isOwn = named.kind === "model" ? own.models.includes(named.model) : named.id === own.endpointId;
    const { attested, hardened } = this.policy;
    if (attested !== undefined || hardened) await this.proofs.prepare(others, everybody, signal);
    const hosts = others
      .flatMap((id) => mesh.peer(id) ?? [])
      .map((peer: Peer) => {
        const { hostname, models: served } = peer;
        return { ...this.#known(peer.id), hostname, models: peer.role === "host" ? served : [] };
      });
    const { endpointId } = own;
    const self = { endpointId, hostname: config.name, models: own.models };
    return explainReport({ what, kind: named.kind, policy: this.policy, hosts, own: isOwn ? self : undefined });
  }

  /** What is demanded of hosts and who passes now, or would with other demands. Asks nobody. */
  policyReport(wish: WhatIf | undefined): PolicyReport {
    const { config, minimum, builds, mesh, roles = everyRole, clock } = this.#options;
    const { ownership } = this.policy;
    const policy = wish ? { ...policyOf(withWish(config, wish), minimum, builds), ownership } : this.policy;
    const hosts = mesh.peers
      .filter(({ id, role }) => role === "host" && roles.mayAnswer(id))
      .map(({ id, hostname: name, models }) => {
        return { facts: factsOf(id, { ...this.#facts, policy }), name, models, ...this.#said(id) };
      });
    return policyReport({ policy, whatIf: wish !== undefined, hosts, nowMs: clock.now() });
  }

  #hostsOf(model: string): readonly EndpointId[] {
    const serving = this.#options.mesh.peers.filter(({ role, models }) => role === "host" && models.includes(model));
    return serving.map(({ id }) => id);
  }

  #known(id: EndpointId): HostKnown {
    const { key, proof } = factsOf(id, this.#facts);
    const inferenceKey = key.kind === "record" || key.kind === "announced" ? key.key : undefined;
    return { endpointId: id, inferenceKey, proof, decision: this.decision(id), ...this.#said(id) };
  }

  #said(id: EndpointId): Pick<HostKnown, "posture" | "build"> {
    return { posture: this.posture(id), build: this.build(id) };
  }

  #report(model: string | undefined, hosts: readonly EndpointId[], own: OwnKnown | undefined): AttestationReport {
    const { clock, config } = this.#options;
    const { roots, evidenceMaxAgeMs: maxAgeMs, evidenceAheadMs: aheadMs } = config.policy;
    return attestationReport({
      model,
      hosts: hosts.map((id) => this.#known(id)),
      own,
      policy: this.policy,
      builds: this.buildLists,
      roots,
      window: { maxAgeMs, aheadMs },
      nowMs: clock.now(),
    });
  }
}

/** The same settings with other demands: what invites to the mesh demand comes on top, as it would. */
function withWish(config: NodeConfig, { attested, encryption, hardened }: WhatIf): NodeConfig {
  const { policy } = config;
  const { requireAttested, requireEncryption, requireHardened } = policy;
  const tried = {
    requireAttested: attested === undefined ? requireAttested : attested === "none" ? undefined : attested,
    requireEncryption: encryption ?? requireEncryption,
    requireHardened: hardened ?? requireHardened,
  };
  return { ...config, policy: { ...policy, ...tried } };
}

/** What its operator demands, and what invites to the mesh demand at least: the stricter of the two wins. */
function policyOf(
  { policy, dataDir }: NodeConfig,
  minimum: MinimumPolicy | undefined,
  builds: BuildLists | undefined,
): Policy {
  const { requireEncryption, requireAttested: attested, acceptUnchallenged, hosts, owners } = policy;
  const { requireHardened: hardened } = policy;
  const own: Policy = {
    plain: !requireEncryption,
    attested,
    acceptUnchallenged,
    hardened,
    hosts: hosts && new Set(hosts),
    owners: owners && new Set(owners),
    // without a list that is named, those of trusted signers are kept and passed on, and nothing is demanded
    builds: policy.builds?.sources && builds,
    acceptArguments: dataDirArguments(dataDir),
  };
  return stricter(own, strictest([minimum]));
}

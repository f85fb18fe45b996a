/**
 * What a node demands of hosts, in words, and what follows for each of them now: for /api/policy, also as it would be with
 * other demands ("what if"). Pure: asks nobody, and decides nothing by itself; that is policy/decide.
 */
import type { Tier } from "../attest/verdict.ts";
import type { EndpointId } from "../base/brand.ts";
import { decide, type Decision, type HostFacts } from "../policy/decide.ts";
import type { Policy } from "../policy/policy.ts";
import type { TierSetting } from "./config-file.ts";
import { explanation, type HostKnown, policyStatus, type PolicyStatus, shownProof } from "./attestation-report.ts";

export interface PolicyReport {
  /** That was gone by: with what was asked for, where that is no less than what the mesh's invites demand. */
  readonly policy: PolicyStatus;
  /** The same in words, a phrase for each demand; empty: nothing is demanded. */
  readonly demanded: readonly string[];
  /** Whether these are other demands than the node's own. */
  readonly what_if: boolean;
  /** Hosts of the mesh that may answer. One of several models can stand here twice: its decision may differ with the model. */
  readonly hosts: readonly PolicyHost[];
}

export interface PolicyHost {
  readonly endpoint_id: EndpointId;
  readonly name: string | null;
  /** That this decision is about. */
  readonly models: readonly string[];
  readonly decision: "allow" | "refuse";
  /** How a prompt would travel; null: not at all. */
  readonly route: "sealed" | "plain" | null;
  readonly tier: Tier;
  /** Why it is refused; empty for a host that is not. */
  readonly reasons: readonly PolicyReason[];
  /** A few sentences, ready to print. */
  readonly sentence: string;
}

export interface PolicyReason {
  /** As docs/policy.md lists them. */
  readonly rule: string;
  /** What was found: the reason of a factor as docs/attestation.md lists it, what else is lacking, or the rule again. */
  readonly code: string;
  readonly sentence: string;
}

/** Demands to try; undefined: as the node has it. */
export interface WhatIf {
  /** "none": no evidence is demanded. */
  readonly attested: TierSetting | undefined;
  readonly encryption: boolean | undefined;
  readonly hardened: boolean | undefined;
}

/** One host as policy/decide and the sentences need it. */
export interface PolicyFacts extends Pick<HostKnown, "posture" | "build"> {
  readonly facts: HostFacts;
  readonly name: string | undefined;
  readonly models: readonly string[];
}

export interface PolicyParts {
  readonly policy: Policy;
  readonly whatIf: boolean;
  readonly hosts: readonly PolicyFacts[];
  /** Unix ms. */
  readonly nowMs: number;
}

export function policyReport({ policy, whatIf, hosts, nowMs }: PolicyParts): PolicyReport {
  const status = policyStatus(policy);
  const decided = new Map<string, ReadonlyMap<EndpointId, Decision>>();
  /** Hosts of a model are decided about together, as they are when it is asked for. */
  const forModel = (model: string): ReadonlyMap<EndpointId, Decision> => {
    const known = decided.get(model);
    if (known) return known;
    const serving = hosts.filter(({ models }) => models.includes(model));
    const decisions = decisionsOf(serving, policy, nowMs);
    decided.set(model, decisions);
    return decisions;
  };
  const rows = hosts.flatMap((host): readonly PolicyHost[] => {
    const { facts, models } = host;
    const alone = decisionsOf([host], policy, nowMs).get(facts.id);
    // what else serves the model matters to a host without a key alone: each of many models is not looked at for nothing
    const groups: readonly Group[] =
      facts.key.kind === "none" && models.length > 0
        ? grouped(models, (model) => forModel(model).get(facts.id))
        : alone
          ? [{ decision: alone, models }]
          : [];
    return groups.map((group) => policyHost(host, group));
  });
  return { policy: status, demanded: demandedOf(status), what_if: whatIf, hosts: rows };
}

function decisionsOf(hosts: readonly PolicyFacts[], policy: Policy, nowMs: number): ReadonlyMap<EndpointId, Decision> {
  const facts = hosts.map((host) => host.facts);
  const decisions = decide(facts, policy, nowMs);
  return new Map(facts.flatMap(({ id }, index) => (decisions[index] ? [[id, decisions[index]]] : [])));
}

/** Models about which the same was decided. */
interface Group {
  readonly decision: Decision;
  readonly models: readonly string[];
}

function grouped(models: readonly string[], decisionFor: (model: string) => Decision | undefined): readonly Group[] {
  const groups = new Map<string, { readonly decision: Decision; readonly models: string[] }>();
  for (const model of models) {
    const decision = decisionFor(model);
    if (!decision) continue;
    const name = decision.kind === "allow" ? decision.route.kind : decision.refusal.text;
    const group = groups.get(name) ?? { decision, models: [] };
    group.models.push(model);
    groups.set(name, group);
  }
  return [...groups.values()];
}

function policyHost({ facts, name, posture, build }: PolicyFacts, { decision, models }: Group): PolicyHost {
  const { proof } = facts;
  const refusal = decision.kind === "refuse" ? decision.refusal : undefined;
  return {
    endpoint_id: facts.id,
    name: name ?? null,
    models,
    decision: decision.kind,
    route: decision.kind === "allow" ? decision.route.kind : null,
    tier: shownProof(proof, decision).tier,
    reasons: (refusal?.reasons ?? []).map((reason) => ({ rule: refusal?.rule ?? "", ...reason })),
    sentence: explanation({ proof, decision, posture, ...(build ? { build } : {}) }, models),
  };
}

/** A phrase for each thing that is demanded of hosts. */
export function demandedOf(policy: PolicyStatus): readonly string[] {
  const { require_attested_hosts: tier, allow_hosts: hosts, owners } = policy;
  return [
    ...(tier === null ? [] : [`evidence of tier \`${tier}\` or higher`]),
    ...(tier !== null && policy.accept_unchallenged ? ["also from nodes that answer no challenge"] : []),
    ...(policy.require_encryption ? ["sealed prompts only"] : []),
    ...(policy.require_hardened ? ["the host's own signed word that it is hardened"] : []),
    ...(policy.allow_builds ? ["the host's own signed word that it runs a listed build"] : []),
    ...(hosts === null ? [] : [oneOf(hosts.length, "host")]),
    ...(owners === null ? [] : [oneOf(owners.length, "owner")]),
  ];
}

function oneOf(count: number, what: string): string {
  return count === 1 ? `the one listed ${what}` : `one of ${count} listed ${what}s`;
}

/**
 * What a node demands of hosts, in words, and what follows for each of them now: for /api/policy, also as it would be with
 * other demands ("what if"). Asks nobody and decides nothing by itself; that is policy/decide.
 */
import type { Tier } from "../attest/verdict.ts";
import type { EndpointId } from "../base/brand.ts";
import type { PolicyStatus } from "./attestation-report.ts";

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
  /** What the evidence lacks, as docs/attestation.md lists it; for rules that do not look at evidence the rule again. */
  readonly code: string;
  readonly sentence: string;
}

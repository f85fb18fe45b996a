/** What a node demands of hosts, in one line, for commands that show a running node. */
import type { PolicyStatus } from "../node/attestation-report.ts";
import { demandedOf } from "../node/policy-report.ts";

export function policyText(policy: PolicyStatus): string {
  const demanded = demandedOf(policy);
  return demanded.length > 0 ? demanded.join(", ") : "nothing of hosts";
}

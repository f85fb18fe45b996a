/** What a node demands of hosts, in one line, for commands that show a running node. */
import type { PolicyStatus } from "../node/attestation-report.ts";

export function policyText(policy: PolicyStatus): string {
  const { require_attested_hosts: tier, allow_hosts: hosts, owners } = policy;
  const demands = [
    ...(tier === null ? [] : [`evidence of tier \`${tier}\` or higher`]),
    ...(tier !== null && policy.accept_unchallenged ? ["also from nodes that answer no challenge"] : []),
    ...(policy.require_encryption ? ["sealed prompts only"] : []),
    ...(policy.require_hardened ? ["the host's own signed word that it is hardened"] : []),
    ...(policy.allow_builds ? ["the host's own signed word that it runs a listed build"] : []),
    ...(hosts === null ? [] : [oneOf(hosts.length, "host")]),
    ...(owners === null ? [] : [oneOf(owners.length, "owner")]),
  ];
  return demands.length > 0 ? demands.join(", ") : "nothing of hosts";
}

function oneOf(count: number, what: string): string {
  return count === 1 ? `the one listed ${what}` : `one of ${count} listed ${what}s`;
}

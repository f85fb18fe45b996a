/** What an operator demands of hosts before a prompt may leave. One value, read by policy/decide alone. */
import { type Tier, tiers } from "../attest/verdict.ts";
import type { EndpointId } from "../base/brand.ts";
import type { AcceptedBuilds } from "./builds.ts";
import type { OwnerJudge } from "./owners.ts";

export interface Policy {
  /**
   * Whether hosts that never showed an inference key may be asked in the clear, over their own connection and only when
   * no host that opens envelopes has the model. @default true
   */
  readonly plain: boolean;
  /** The least tier that a host's evidence must reach; undefined: none is asked for. */
  readonly attested: Exclude<Tier, "none"> | undefined;
  /** Takes evidence of nodes that speak no challenges by its own time, where the tier `key` is demanded. */
  readonly acceptUnchallenged: boolean;
  /** The only hosts that may be asked; undefined: all. */
  readonly hosts: ReadonlySet<EndpointId> | undefined;
  /** Only hosts whose signed posture says that they are hardened (hardened.ts); their own word. @default false */
  readonly hardened: boolean;
  /** Owner ids (64 hex digits), one of which must own the host; undefined: no owner is asked for. */
  readonly owners: ReadonlySet<string> | undefined;
  /**
   * What was revoked, and whether a host needs an owner at all (owners.ts), as of now.
   * @default nothing was, and none is needed
   */
  readonly ownership?: OwnerJudge | undefined;
  /** Builds, one of which the host must say, signed, that it runs (builds.ts); the same word as of now. @default any */
  readonly builds?: AcceptedBuilds | undefined;
  /**
   * Not a demand: what follows the command that accepts a changed key, with a blank in front, so that it works wherever it
   * is pasted. @default nothing: the command finds this node's pins by itself
   */
  readonly acceptArguments?: string | undefined;
}

/** The policy of a node that was told nothing. */
export const openPolicy: Policy = {
  plain: true,
  attested: undefined,
  acceptUnchallenged: false,
  hardened: false,
  hosts: undefined,
  owners: undefined,
};

/** What a mesh asks its members to demand at least; published with its invites. */
export interface Minimum {
  readonly attested: Policy["attested"];
  /** Whether nothing may go in the clear. */
  readonly encryption: boolean;
  /** @default false */
  readonly hardened?: boolean | undefined;
}

/**
 * The stricter of the two, demand by demand. A mesh that asks for a tier asks for answered challenges too, so evidence
 * without them is then taken no more.
 */
export function stricter(policy: Policy, minimum: Minimum): Policy {
  const { attested, encryption, hardened = false } = minimum;
  return {
    ...policy,
    plain: policy.plain && !encryption,
    attested: rankOf(attested) > rankOf(policy.attested) ? attested : policy.attested,
    acceptUnchallenged: policy.acceptUnchallenged && attested === undefined,
    hardened: policy.hardened || hardened,
  };
}

function rankOf(tier: Policy["attested"]): number {
  return tiers.indexOf(tier ?? "none");
}

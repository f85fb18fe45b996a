/** Whose a node is, for /api/status: the names and words of the reference (protocol.md §9.2), for this node and for peers. */
import type { OwnerStatus, OwnerVerdict } from "../policy/owners.ts";
import { withoutControls } from "../wire/gossip.ts";

export interface OwnerReport {
  readonly status: OwnerStatus;
  readonly verified: boolean;
  /** The rest is there where some owner has signed that the node is theirs, whether that still counts or not. */
  readonly owner_id?: string;
  readonly cert_id?: string;
  readonly expires_at_unix_ms?: number;
  /** Its owner's words. */
  readonly node_label?: string;
  readonly hostname_hint?: string;
}

/** Characters of a text of an owner that are shown. */
const shownCharacters = 64;

export function ownerReport({ status, owner, claim }: OwnerVerdict): OwnerReport {
  const verified = status === "verified";
  if (owner === undefined || !claim) return { status, verified };
  const { certId, expiresAtMs, nodeLabel, hostnameHint } = claim;
  return {
    status,
    verified,
    owner_id: owner,
    cert_id: shown(certId),
    expires_at_unix_ms: Number(expiresAtMs),
    ...(nodeLabel === undefined ? {} : { node_label: shown(nodeLabel) }),
    ...(hostnameHint === undefined ? {} : { hostname_hint: shown(hostnameHint) }),
  };
}

function shown(text: string): string {
  return withoutControls(text).slice(0, shownCharacters);
}

/** The pins of a running node as JSON documents. What a pin means is for policy/pins.ts. */
import type { EndpointId } from "../base/brand.ts";
import type { Pin } from "../policy/pins.ts";
import { timeText } from "./attestation-report.ts";

/** One pin, as `sealmesh trust list --json` has it too. */
export interface PinDocument {
  readonly endpoint_id: EndpointId;
  readonly kind: string;
  /** Fingerprint of the attested key, 32 hex digits. */
  readonly key: string;
  /** Digest of the build; null: the host showed none. */
  readonly measurement: string | null;
  /** By the operator; false: a first contact. */
  readonly confirmed: boolean;
  /** ISO 8601 in UTC. */
  readonly pinned_at: string;
}

export function pinDocument({ endpointId, kind, key, measurement, confirmed, pinnedAtMs }: Pin): PinDocument {
  return {
    endpoint_id: endpointId,
    kind,
    key,
    measurement: measurement ?? null,
    confirmed,
    pinned_at: timeText(pinnedAtMs),
  };
}

/**
 * What the node says, as the console reads it: the one place that imports from the node's source, and types alone. What
 * comes over the console port is of the same build, so it is taken at its word.
 */
export type { Status, PeerStatus, EngineStatus } from "../../src/node/status.ts";
export type { ExchangeReport } from "../../src/node/exchanges.ts";
export type {
  AttestationReport,
  ExplainReport,
  ExplainedHost,
  FactorRow,
  HostReport,
  PieceReport,
} from "../../src/node/attestation-report.ts";
export type { InviteDocument, MadeInviteDocument } from "../../src/node/http/invites.ts";

// until the node's own are there
export interface PolicyReport {
  readonly policy: unknown;
  readonly demanded: readonly string[];
  readonly what_if: boolean;
  readonly hosts: readonly PolicyHost[];
}
export interface PolicyHost {
  readonly endpoint_id: string;
  readonly name: string | null;
  readonly models: readonly string[];
  readonly decision: "allow" | "refuse";
  readonly route: "sealed" | "plain" | null;
  readonly tier: string;
  readonly reasons: readonly { readonly rule: string; readonly code: string; readonly sentence: string }[];
  readonly sentence: string;
}
export interface PinDocument {
  readonly endpoint_id: string;
  readonly kind: string;
  readonly key: string;
  readonly measurement: string | null;
  readonly confirmed: boolean;
  readonly pinned_at: string;
}

/** The answers of the console port that are not documents of another file already. Types only. */
import type { OpenAiErrorFields } from "../../openai/errors.ts";
import type { ExchangeReport, ExchangeTotals } from "../exchanges.ts";
import type { LogEntry } from "../log-ring.ts";
import type { PinDocument } from "../pinning.ts";
import type { EvidenceStatus } from "../status.ts";
import type { InviteDocument } from "./invites.ts";

/** Every answer with a status of 400 or more. */
export interface ErrorDocument {
  readonly error: OpenAiErrorFields;
}

/** GET /api/session, for callers whose token is that of this start; 401 for others. */
export interface SessionDocument {
  readonly session: true;
}

/** GET /api/exchanges */
export interface ExchangesDocument {
  /** The last 200, newest first. */
  readonly exchanges: readonly ExchangeReport[];
  /** Since the node started. */
  readonly totals: ExchangeTotals;
}

/** GET /api/evidence */
export interface EvidenceDocument {
  readonly evidence: readonly EvidenceStatus[];
}

/** GET /api/invites */
export interface InvitesDocument {
  readonly invites: readonly InviteDocument[];
}

/** DELETE /api/invites/:id */
export interface RevokedInviteDocument {
  readonly invite: InviteDocument;
}

/** GET /api/pins */
export interface PinsDocument {
  readonly pins: readonly PinDocument[];
}

/** The body of POST /api/pins/:endpoint */
export interface ConfirmPin {
  /** Fingerprint that the person saw, 32 hex digits. */
  readonly key: string;
}

/** POST /api/pins/:endpoint */
export interface ConfirmedPinsDocument {
  /** Of this host, as they were and as they are. */
  readonly before: readonly PinDocument[];
  readonly pins: readonly PinDocument[];
}

/** DELETE /api/pins/:endpoint */
export interface ForgottenPinsDocument {
  readonly removed: readonly PinDocument[];
}

/** GET /api/logs?after=SEQ */
export interface LogsDocument {
  /** Oldest first; the last 1,000 are kept. */
  readonly entries: readonly LogEntry[];
}

/** POST /api/stop, 202 */
export interface StopDocument {
  readonly stopping: true;
}

/** GET /v1/models */
export interface ModelsDocument {
  readonly object: "list";
  readonly data: readonly { readonly id: string; readonly object: "model" }[];
}

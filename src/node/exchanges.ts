/**
 * What this node asked for lately, and sums since it started: for /api/exchanges, /api/status and `sealmesh status`.
 * Names, numbers and codes; a prompt or an answer has no field here.
 */
import type { Tier } from "../attest/verdict.ts";
import type { EndpointId } from "../base/brand.ts";
import { errorTable } from "../base/errors.ts";
import type { Attempt } from "../mesh/attempt.ts";
import { foreignCodes } from "../openai/foreign.ts";

/** One exchange that a caller on this machine asked for, when it has ended. Null where a value is not known. */
export interface ExchangeReport {
  /** The request id of the answer's `x-request-id`. */
  readonly id: string;
  /** When it began, ISO 8601 in UTC. */
  readonly time: string;
  readonly path: string;
  /** Empty unless it is a model of the mesh: what else a caller wrote there is content. */
  readonly model: string;
  readonly status: number;
  /** `error.code` of the answer, or of the event that broke it off; null for an answer that came whole. */
  readonly code: string | null;
  readonly host: EndpointId | null;
  /** How the prompt travelled: sealed, in the clear, or not at all. */
  readonly sealed: "true" | "false" | "local" | null;
  readonly route: "direct" | "relay" | "local" | null;
  readonly attempts: readonly Attempt[];
  /** What the host had proven when the prompt left; null for our own engine. */
  readonly attestation: ExchangeAttestation | null;
  /** From the request's arrival, ms. */
  readonly first_byte_ms: number | null;
  readonly first_token_ms: number | null;
  readonly ms: number;
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  /** Of the prompt's tokens, those that the engine had in its cache. */
  readonly cached_tokens: number | null;
}

export interface ExchangeAttestation {
  readonly tier: Tier;
  /** Of the evidence; null when the host showed none. */
  readonly kind: string | null;
  /** Fingerprint of the attested key. */
  readonly key: string | null;
  /** Taken by its own time alone, although its key answered no challenge. */
  readonly unchallenged: boolean;
  /**
   * Whether the host could be asked again when the exchange ended. stale: its evidence has run out meanwhile · refused:
   * something else is missing now.
   */
  readonly at_end: "current" | "stale" | "refused";
}

/** Sums over all exchanges since the node started. */
export interface ExchangeTotals {
  readonly requests: number;
  /** By `error.code`, and "ok" for those that came whole. */
  readonly by_outcome: Readonly<Record<string, number>>;
  readonly by_sealing: Readonly<Record<Sealing, number>>;
  readonly by_route: Readonly<Record<Route, number>>;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly cached_tokens: number;
}

/** What a label may say of how a prompt travelled; `none` for requests that nobody answered. */
export type Sealing = "sealed" | "plain" | "local" | "none";
export type Route = "direct" | "relay" | "local" | "none";

export function sealingOf({ sealed }: ExchangeReport): Sealing {
  if (sealed === null) return "none";
  return sealed === "local" ? "local" : sealed === "true" ? "sealed" : "plain";
}

export function routeOf({ route }: ExchangeReport): Route {
  return route ?? "none";
}

/** "ok", or the report's code: one of a bounded set. */
export function outcomeOf({ code, status }: ExchangeReport): string {
  if (code === null) return status < 400 ? "ok" : "other";
  return reportedCode(code);
}

/** An `error.code` of ours or of the table for foreign answers, or "other": what peers write there may be content. */
export function reportedCode(code: unknown): string {
  return typeof code === "string" && knownCodes.has(code) ? code : "other";
}

const knownCodes: ReadonlySet<string> = new Set([
  ...Object.values(errorTable).map(({ code }) => code),
  ...foreignCodes,
]);

/** Reports that are kept: a look back, not a journal. About 1 KB each. */
const kept = 200;

/** The last 200 reports, and sums over all. */
export class Exchanges {
  readonly #reports: ExchangeReport[] = [];
  readonly #outcomes = new Map<string, number>();
  readonly #sealing: Record<Sealing, number> = { sealed: 0, plain: 0, local: 0, none: 0 };
  readonly #route: Record<Route, number> = { direct: 0, relay: 0, local: 0, none: 0 };
  readonly #sums = { requests: 0, prompt_tokens: 0, completion_tokens: 0, cached_tokens: 0 };

  add(report: ExchangeReport): void {
    this.#reports.unshift(report);
    this.#reports.length = Math.min(this.#reports.length, kept);
    const outcome = outcomeOf(report);
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    this.#sealing[sealingOf(report)] += 1;
    this.#route[routeOf(report)] += 1;
    this.#sums.requests += 1;
    this.#sums.prompt_tokens += report.prompt_tokens ?? 0;
    this.#sums.completion_tokens += report.completion_tokens ?? 0;
    this.#sums.cached_tokens += report.cached_tokens ?? 0;
  }

  get(id: string): ExchangeReport | undefined {
    return this.#reports.find((report) => report.id === id);
  }

  /** Newest first; a copy. */
  get latest(): readonly ExchangeReport[] {
    return [...this.#reports];
  }

  /** A copy: it does not change any more. */
  get totals(): ExchangeTotals {
    return {
      ...this.#sums,
      by_outcome: Object.fromEntries(this.#outcomes),
      by_sealing: { ...this.#sealing },
      by_route: { ...this.#route },
    };
  }
}

/**
 * What became of an exchange, for `mesh.report(response)`: who answered and how it travelled is known with the answer's head,
 * tokens and times when its body has ended. Names, numbers and codes; no content. Types alone.
 */
import type { Tier } from "./options.ts";

/** What is known with the head of an answer; undefined where nobody answered, or where it does not apply. */
export interface KnownAtOnce {
  /** The answer's `x-request-id`. */
  readonly id: string;
  /** Endpoint id of who answered. */
  readonly host: string | undefined;
  /** local: this node itself. */
  readonly route: "direct" | "relay" | "local" | undefined;
  readonly sealed: "sealed" | "plain" | "local" | undefined;
  /** What the host had proven when the prompt left. */
  readonly tier: Tier | undefined;
  /** Kind of the evidence that this rests on. */
  readonly evidence: string | undefined;
  /** What was found of that evidence, factor by factor; empty where there is none. */
  readonly verdict: readonly FactorVerdict[];
}

export interface FactorVerdict {
  readonly factor: string;
  readonly outcome: "pass" | "fail" | "unknown" | "stale";
  readonly sentence: string;
}

/** The whole report, once the answer's body has ended. */
export interface Report extends KnownAtOnce {
  readonly status: number;
  /** `error.code` of the answer, or of what broke it off; undefined: it came whole. */
  readonly code: string | undefined;
  /** Empty: no model of the mesh was named. */
  readonly model: string;
  readonly attempts: readonly Attempt[];
  readonly tokens: Tokens;
  /** From the request on, ms. */
  readonly firstTokenMs: number | undefined;
  readonly ms: number;
}

/** One try at one host. */
export interface Attempt {
  readonly host: string;
  readonly route: "direct" | "relay";
  /** "answered", or the code of an error. */
  readonly outcome: string;
  /** Why it failed, in a sentence. */
  readonly reason: string | undefined;
}

/** As the engine counted them; undefined: it did not say. */
export interface Tokens {
  readonly prompt: number | undefined;
  readonly completion: number | undefined;
  /** Of the prompt's, those that the engine had in its cache. */
  readonly cached: number | undefined;
}

/** Settles when the exchange has ended; `now` does not wait. */
export interface PendingReport extends Promise<Report> {
  readonly now: KnownAtOnce;
}

/** An answer of `mesh.fetch`, or whatever has its headers. */
export interface Answered {
  readonly headers: Headers | Readonly<Record<string, string>>;
}

/** Reports of exchanges, for tests of what is made of them. */
import { endpointId } from "../../../src/base/brand.ts";
import type { ExchangeReport } from "../../../src/node/exchanges.ts";

export const host = endpointId("aa".repeat(32));

/** One that went well, sealed, but for what `change` says. */
export function report(change: Partial<ExchangeReport> = {}): ExchangeReport {
  return {
    id: "r1",
    time: "2026-01-02T03:04:05.678Z",
    path: "/v1/chat/completions",
    model: "demo",
    status: 200,
    code: null,
    host,
    sealed: "true",
    route: "direct",
    attempts: [],
    attestation: { tier: "none", kind: null, key: null, unchallenged: false, at_end: "current" },
    first_byte_ms: 80,
    first_token_ms: 90,
    ms: 1_200,
    prompt_tokens: 11,
    completion_tokens: 3,
    cached_tokens: 4,
    ...change,
  };
}

/** One that nobody answered. */
export function refused(change: Partial<ExchangeReport> = {}): ExchangeReport {
  const unknown = { first_byte_ms: null, first_token_ms: null, prompt_tokens: null, completion_tokens: null };
  const served = { host: null, sealed: null, route: null, cached_tokens: null };
  return report({ status: 503, code: "no_host", ...served, ...unknown, ...change });
}

/**
 * One exchange as a span: an ExchangeReport in the names of OpenTelemetry's conventions for GenAI. A report has no field for
 * content, so a span has none, and there is no setting that adds one. A caller's `traceparent` ends here: nothing of it goes
 * into the mesh.
 *
 * @see docs/telemetry.md · opentelemetry-proto, trace v1, in JSON · W3C trace context
 */
import { randomBytes } from "node:crypto";
import { type ExchangeReport, outcomeOf, routeOf, sealingOf } from "./exchanges.ts";

/** What a caller's `traceparent` says. */
export interface TraceParent {
  /** Lower-case hex digits: 32, and 16. */
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

/** Undefined for what is none: a new trace begins then. */
export function traceParent(header: unknown): TraceParent | undefined {
  if (typeof header !== "string" || header.length > 512) return undefined;
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(header);
  const [, version = "ff", traceId = "", spanId = "", flags = "", more] = match ?? [];
  if (version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

const spanKinds = { internal: 1, client: 3 } as const;
const statusError = 2;
/** Sampled, and it is known whether the parent is of another process; that it is. */
const sampledFlag = 0x101;
const remoteParentFlag = 0x200;

/** A span as OTLP has it in JSON: ids in hex, 64-bit numbers as text. */
export function spanOf(report: ExchangeReport, parent: TraceParent | undefined): object {
  const { model, ms, host, status, attempts, attestation, first_token_ms: firstTokenMs } = report;
  const outcome = outcomeOf(report);
  const operation = operations[report.path] ?? "chat";
  const startNs = BigInt(Date.parse(report.time)) * 1_000_000n;
  const named = model === "" ? undefined : model;
  return {
    traceId: parent?.traceId ?? randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    ...(parent ? { parentSpanId: parent.spanId } : {}),
    flags: parent ? sampledFlag | remoteParentFlag : sampledFlag,
    name: named === undefined ? operation : `${operation} ${named}`,
    kind: report.route === "local" ? spanKinds.internal : spanKinds.client,
    startTimeUnixNano: String(startNs),
    endTimeUnixNano: String(startNs + BigInt(Math.round(ms * 1_000_000))),
    attributes: attributes({
      "gen_ai.operation.name": operation,
      "gen_ai.provider.name": "sealmesh",
      "gen_ai.request.model": named,
      "gen_ai.response.model": outcome === "ok" ? named : undefined,
      "gen_ai.usage.input_tokens": report.prompt_tokens ?? undefined,
      "gen_ai.usage.output_tokens": report.completion_tokens ?? undefined,
      "server.address": host ?? undefined,
      "http.response.status_code": status,
      "error.type": outcome === "ok" ? undefined : outcome,
      "sealmesh.exchange": report.id,
      "sealmesh.sealing": sealingOf(report),
      "sealmesh.route": routeOf(report),
      "sealmesh.tier": attestation?.tier,
      "sealmesh.attempts": attempts.length,
      "sealmesh.first_token_ms": firstTokenMs === null ? undefined : Math.round(firstTokenMs),
    }),
    ...(outcome === "ok" ? {} : { status: { code: statusError } }),
  };
}

/** Everything else is a chat: `/v1/responses` is made of one. */
const operations: Readonly<Record<string, string>> = {
  "/v1/completions": "text_completion",
  "/v1/embeddings": "embeddings",
};

/** What is undefined is left out. */
export function attributes(values: Readonly<Record<string, string | number | undefined>>): readonly object[] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (value === undefined) return [];
    return [{ key, value: typeof value === "number" ? { intValue: String(value) } : { stringValue: value } }];
  });
}

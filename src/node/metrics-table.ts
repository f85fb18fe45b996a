/**
 * Every number that /metrics has: name, kind, what it says, and what its labels may say. metrics.ts counts them, and
 * `npm run generate` makes docs/metrics.md of this table. A label takes its values from a fixed set, never from what a
 * peer or a caller wrote.
 */

export interface MetricRow {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Name of a label -> its values, for people. */
  readonly labels: Readonly<Record<string, string>>;
  /** Upper bounds, in the unit of the name; histograms only. */
  readonly buckets?: readonly number[];
}

const sealing = "`sealed`, `plain`, `local` (this machine's own engine), `none` (nobody answered)";
const route = "`direct`, `relay`, `local`, `none` (nobody answered)";

/** From a cached prompt on the same machine up to a long one on a slow machine, seconds. */
const firstTokenBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const durationBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

export type MetricName =
  | "sealmesh_exchanges_asked_total"
  | "sealmesh_exchanges_answered_total"
  | "sealmesh_attempts_total"
  | "sealmesh_refusals_total"
  | "sealmesh_tokens_total"
  | "sealmesh_first_token_seconds"
  | "sealmesh_exchange_duration_seconds"
  | "sealmesh_exchanges_in_flight"
  | "sealmesh_exchanges_running"
  | "sealmesh_exchanges_queued"
  | "sealmesh_engines"
  | "sealmesh_peers"
  | "sealmesh_hosts"
  | "sealmesh_relayed_streams_total"
  | "sealmesh_relayed_bytes_total"
  | "sealmesh_spans_total"
  | "sealmesh_build_info"
  | "process_start_time_seconds"
  | "process_cpu_seconds_total"
  | "process_resident_memory_bytes";

export const metricsTable: Readonly<Record<MetricName, MetricRow>> = {
  sealmesh_exchanges_asked_total: {
    kind: "counter",
    help: "Exchanges that callers on this machine asked for, by how they ended.",
    labels: { outcome: "`ok`, an `error.code` of [errors.md](errors.md), or `other`", sealing, route },
  },
  sealmesh_exchanges_answered_total: {
    kind: "counter",
    help: "Exchanges answered for peers.",
    labels: { whole: "`true`, or `false` for answers that broke off" },
  },
  sealmesh_attempts_total: {
    kind: "counter",
    help: "Attempts to get an answer from a host, by what each came to.",
    labels: { outcome: "`answered`, or a code of [errors.md](errors.md)" },
  },
  sealmesh_refusals_total: {
    kind: "counter",
    help: "Hosts that were not asked in an exchange because policy refused them, each time anew.",
    labels: { rule: "a rule of [policy.md](policy.md#every-reason-for-a-refusal)" },
  },
  sealmesh_tokens_total: {
    kind: "counter",
    help: "Tokens that engines counted in exchanges of callers on this machine.",
    labels: { kind: "`prompt`, `completion`, `cached` (those of the prompt that the engine knew)" },
  },
  sealmesh_first_token_seconds: {
    kind: "histogram",
    help: "From a streamed request's arrival to its first token.",
    labels: { sealing, route },
    buckets: firstTokenBuckets,
  },
  sealmesh_exchange_duration_seconds: {
    kind: "histogram",
    help: "From a request's arrival to the end of its answer.",
    labels: { sealing, route },
    buckets: durationBuckets,
  },
  sealmesh_exchanges_in_flight: {
    kind: "gauge",
    help: "Requests that this node works on now: of callers here and of peers, with a place on an engine or without.",
    labels: {},
  },
  sealmesh_exchanges_running: {
    kind: "gauge",
    help: "Exchanges that run on the engines of this machine now.",
    labels: {},
  },
  sealmesh_exchanges_queued: {
    kind: "gauge",
    help: "Exchanges that wait for a place on the engines of this machine.",
    labels: {},
  },
  sealmesh_engines: {
    kind: "gauge",
    help: "Engines of this machine.",
    labels: { state: "`loading`, `up`, `down`" },
  },
  sealmesh_peers: { kind: "gauge", help: "Members of the mesh that this node knows, itself not counted.", labels: {} },
  sealmesh_hosts: {
    kind: "gauge",
    help: "Peers that offer models, by whether they may be asked now and what they have proven.",
    labels: { decision: "`allow`, `refuse`", tier: "`none`, `key`, `pinned`, `vendor`, `measured`" },
  },
  sealmesh_relayed_streams_total: {
    kind: "counter",
    help: "Streams of other members that this node was asked to carry.",
    labels: { outcome: "`whole`, `broken` (began and broke off), `refused` (turned away before the first byte)" },
  },
  sealmesh_relayed_bytes_total: {
    kind: "counter",
    help: "Sealed bytes carried for other members, both directions together.",
    labels: {},
  },
  sealmesh_spans_total: {
    kind: "counter",
    help: "Spans for the OpenTelemetry collector; see [telemetry.md](telemetry.md).",
    labels: { outcome: "`sent`, `dropped` (the collector did not take them, or the queue was full)" },
  },
  sealmesh_build_info: {
    kind: "gauge",
    help: "Always 1; the labels say what runs.",
    labels: { version: "of sealmesh", node: "of Node.js" },
  },
  process_start_time_seconds: { kind: "gauge", help: "When the node's process began, Unix time.", labels: {} },
  process_cpu_seconds_total: {
    kind: "counter",
    help: "Processor time of the node's process; an embedded engine is a process of its own.",
    labels: {},
  },
  process_resident_memory_bytes: { kind: "gauge", help: "Resident memory of the node's process.", labels: {} },
};

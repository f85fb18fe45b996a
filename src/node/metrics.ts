/**
 * The numbers of one node in Prometheus' text form, for /metrics: metrics-table.ts has their names. Labels take their
 * values from fixed sets: no name of a model, a peer or a caller gets in here, so that nobody outside can make series grow.
 */
import type { Tier } from "../attest/verdict.ts";
import type { RuleName } from "../policy/refusals.ts";
import { type ExchangeReport, outcomeOf, routeOf, sealingOf } from "./exchanges.ts";
import { Counter, Gauge, Histogram, Registry } from "./exposition.ts";
import { type MetricName, metricsTable } from "./metrics-table.ts";

/** What is read at the moment of asking. */
export interface Gauges {
  /** Exchanges, of callers here and of peers, on the engines of this machine. */
  readonly running: () => number;
  readonly queued: () => number;
  /** Members of the mesh that this node knows, itself not counted. */
  readonly peers: () => number;
  /** Requests on their way through this node. @default none, as with all that follows */
  readonly inFlight?: () => number;
  /** Peers that offer models. */
  readonly hosts?: () => readonly { readonly decision: "allow" | "refuse"; readonly tier: Tier }[];
  readonly engines?: () => readonly { readonly state: "loading" | "up" | "down" }[];
  /** Since the start, as are the next. */
  readonly relayed?: () => Readonly<Record<"streams" | "broken" | "refused" | "bytes", number>>;
  readonly spans?: () => Readonly<Record<"sent" | "dropped", number>>;
}

const nothingRelayed = { streams: 0, broken: 0, refused: 0, bytes: 0 };

type Labels = Readonly<Record<string, string>>;

/** Writes all values of a metric that is read when somebody asks. */
type Read = (set: (labels: Labels, value: number) => void) => void;

export class Metrics {
  readonly #registry = new Registry();
  readonly #counters = new Map<string, Counter<string>>();
  readonly #histograms = new Map<string, Histogram<string>>();

  constructor(version: string, gauges: Gauges) {
    const read = reads(version, gauges);
    for (const [name, { kind, help, labels, buckets = [] }] of Object.entries(metricsTable)) {
      const made = { name, help: plainText(help), labelNames: Object.keys(labels), registers: [this.#registry] };
      const values = read.get(name);
      if (kind === "histogram") this.#histograms.set(name, new Histogram({ ...made, buckets: [...buckets] }));
      else if (kind === "counter")
        this.#counters.set(name, new Counter({ ...made, ...(values && collecting(values)) }));
      else void new Gauge({ ...made, ...(values && gauging(values)) });
    }
  }

  /** Counts an exchange of a caller on this machine, once, when it has ended. */
  observe(report: ExchangeReport): void {
    const labels = { sealing: sealingOf(report), route: routeOf(report) };
    this.#count("sealmesh_exchanges_asked_total", { outcome: outcomeOf(report), ...labels });
    for (const { outcome } of report.attempts) this.#count("sealmesh_attempts_total", { outcome });
    this.#count("sealmesh_tokens_total", { kind: "prompt" }, report.prompt_tokens ?? 0);
    this.#count("sealmesh_tokens_total", { kind: "completion" }, report.completion_tokens ?? 0);
    this.#count("sealmesh_tokens_total", { kind: "cached" }, report.cached_tokens ?? 0);
    if (report.first_token_ms !== null) this.#measure("sealmesh_first_token_seconds", labels, report.first_token_ms);
    this.#measure("sealmesh_exchange_duration_seconds", labels, report.ms);
  }

  /** Counts an exchange that was answered for a peer. */
  observeAnswered(whole: boolean): void {
    this.#count("sealmesh_exchanges_answered_total", { whole: String(whole) });
  }

  /** Counts a host that was not asked. */
  observeRefused(rule: RuleName): void {
    this.#count("sealmesh_refusals_total", { rule });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #count(name: MetricName, labels: Labels, more = 1): void {
    this.#counters.get(name)?.inc(labels, more);
  }

  #measure(name: MetricName, labels: Labels, ms: number): void {
    this.#histograms.get(name)?.observe(labels, ms / 1000);
  }
}

/** The metrics that are not counted but looked up, by name. */
function reads(version: string, gauges: Gauges): ReadonlyMap<string, Read> {
  const plain = (value: () => number): Read => {
    return (set) => set({}, value());
  };
  const rows: Partial<Readonly<Record<MetricName, Read>>> = {
    sealmesh_exchanges_in_flight: plain(gauges.inFlight ?? (() => 0)),
    sealmesh_exchanges_running: plain(gauges.running),
    sealmesh_exchanges_queued: plain(gauges.queued),
    sealmesh_peers: plain(gauges.peers),
    sealmesh_engines: (set) => {
      const engines = gauges.engines?.() ?? [];
      for (const state of ["loading", "up", "down"]) {
        set({ state }, engines.filter((engine) => engine.state === state).length);
      }
    },
    sealmesh_hosts: (set) => {
      const hosts = gauges.hosts?.() ?? [];
      for (const { decision, tier } of hosts) {
        set({ decision, tier }, hosts.filter((host) => host.decision === decision && host.tier === tier).length);
      }
    },
    sealmesh_relayed_streams_total: (set) => {
      const { streams, broken, refused } = gauges.relayed?.() ?? nothingRelayed;
      set({ outcome: "whole" }, streams);
      set({ outcome: "broken" }, broken);
      set({ outcome: "refused" }, refused);
    },
    sealmesh_relayed_bytes_total: plain(() => (gauges.relayed?.() ?? nothingRelayed).bytes),
    sealmesh_spans_total: (set) => {
      for (const [outcome, count] of Object.entries(gauges.spans?.() ?? {})) set({ outcome }, count);
    },
    sealmesh_build_info: (set) => set({ version, node: process.version }, 1),
    process_start_time_seconds: plain(() => performance.timeOrigin / 1000),
    process_cpu_seconds_total: plain(() => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000_000;
    }),
    process_resident_memory_bytes: plain(() => process.memoryUsage.rss()),
  };
  return new Map(Object.entries(rows));
}

function gauging(read: Read): { collect: (this: Gauge<string>) => void } {
  return {
    collect() {
      this.reset(); // a tier that nobody has any more
      read((labels, value) => this.set(labels, value));
    },
  };
}

function collecting(read: Read): { collect: (this: Counter<string>) => void } {
  return {
    collect() {
      this.reset();
      read((labels, value) => this.inc(labels, value));
    },
  };
}

/** Help as Prometheus has it: without the marks of a page. */
function plainText(help: string): string {
  return help.replaceAll(/\[([^\]]+)\]\([^)]+\)/g, "$1");
}

/**
 * The numbers of one node in Prometheus' text form, for /metrics. Labels take their values from fixed sets: no name of a
 * model, a peer or a caller gets in here, so that nobody outside can make series grow.
 */
import { type ExchangeReport, outcomeOf, routeOf, sealingOf } from "./exchanges.ts";
import { Counter, Gauge, Histogram, Registry } from "./exposition.ts";

/** What is read at the moment of asking. */
export interface Gauges {
  /** Exchanges, of callers here and of peers, on the engines of this machine. */
  readonly running: () => number;
  readonly queued: () => number;
  /** Members of the mesh that this node knows, itself not counted. */
  readonly peers: () => number;
}

/** Upper bounds, seconds: a cached prompt on the same machine, up to a long one on a slow machine. */
const firstTokenBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const durationBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

export class Metrics {
  readonly #registry = new Registry();
  readonly #asked: Counter<"outcome" | "sealing" | "route">;
  readonly #answered: Counter<"whole">;
  readonly #attempts: Counter<"outcome">;
  readonly #tokens: Counter<"kind">;
  readonly #firstToken: Histogram<"sealing" | "route">;
  readonly #duration: Histogram<"sealing" | "route">;

  constructor(version: string, gauges: Gauges) {
    const registers = [this.#registry];
    this.#asked = new Counter({
      name: "sealmesh_exchanges_asked_total",
      help: "Exchanges that callers on this machine asked for, by how they ended (ok, or the error's code).",
      labelNames: ["outcome", "sealing", "route"],
      registers,
    });
    this.#answered = new Counter({
      name: "sealmesh_exchanges_answered_total",
      help: "Exchanges answered for peers; whole is false for answers that broke off.",
      labelNames: ["whole"],
      registers,
    });
    this.#attempts = new Counter({
      name: "sealmesh_attempts_total",
      help: "Attempts to get an answer from a host, by what each came to.",
      labelNames: ["outcome"],
      registers,
    });
    this.#tokens = new Counter({
      name: "sealmesh_tokens_total",
      help: "Tokens that engines counted in exchanges of callers on this machine.",
      labelNames: ["kind"],
      registers,
    });
    this.#firstToken = new Histogram({
      name: "sealmesh_first_token_seconds",
      help: "From a streamed request's arrival to its first token.",
      labelNames: ["sealing", "route"],
      buckets: firstTokenBuckets,
      registers,
    });
    this.#duration = new Histogram({
      name: "sealmesh_exchange_duration_seconds",
      help: "From a request's arrival to the end of its answer.",
      labelNames: ["sealing", "route"],
      buckets: durationBuckets,
      registers,
    });
    const gauge = (name: string, help: string, value: () => number): void => {
      void new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    };
    gauge("sealmesh_exchanges_running", "Exchanges that run on the engines of this machine now.", gauges.running);
    gauge(
      "sealmesh_exchanges_queued",
      "Exchanges that wait for a place on the engines of this machine.",
      gauges.queued,
    );
    gauge("sealmesh_peers", "Members of the mesh that this node knows.", gauges.peers);
    gauge("process_resident_memory_bytes", "Resident memory of the node's process.", () => process.memoryUsage.rss());
    const build = new Gauge({
      name: "sealmesh_build_info",
      help: "Always 1; the labels say what runs.",
      labelNames: ["version", "node"],
      registers,
    });
    build.set({ version, node: process.version }, 1);
  }

  /** Counts an exchange of a caller on this machine, once, when it has ended. */
  observe(report: ExchangeReport): void {
    const labels = { sealing: sealingOf(report), route: routeOf(report) };
    this.#asked.inc({ outcome: outcomeOf(report), ...labels });
    for (const { outcome } of report.attempts) this.#attempts.inc({ outcome });
    this.#tokens.inc({ kind: "prompt" }, report.prompt_tokens ?? 0);
    this.#tokens.inc({ kind: "completion" }, report.completion_tokens ?? 0);
    if (report.first_token_ms !== null) this.#firstToken.observe(labels, report.first_token_ms / 1000);
    this.#duration.observe(labels, report.ms / 1000);
  }

  /** Counts an exchange that was answered for a peer. */
  observeAnswered(whole: boolean): void {
    this.#answered.inc({ whole: String(whole) });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

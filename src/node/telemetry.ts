/**
 * Spans of the exchanges that callers on this machine ask for, told to an OpenTelemetry collector: OTLP over HTTP, as JSON.
 * Off unless an endpoint is named. It keeps few, waits for nobody, and what a collector does not take is dropped and counted.
 * telemetry-span.ts says what a span holds.
 *
 * @see docs/telemetry.md · OTLP/HTTP
 */
import { withDeadline } from "../base/deadline.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ExchangeReport } from "./exchanges.ts";
import { fetchBounded } from "./fetch-bounded.ts";
import type { TelemetrySettings } from "./telemetry-config.ts";
import { attributes, spanOf, traceParent } from "./telemetry-span.ts";

export interface TelemetryOptions extends TelemetrySettings {
  readonly version: string;
  /** Endpoint id of this node. */
  readonly self: string;
  readonly log: Log;
  /** @default those below */
  readonly bounds?: Partial<TelemetryBounds>;
}

export interface TelemetryBounds {
  /** Spans that wait, at most; about 1 KB each. What comes then pushes out the oldest. */
  readonly queue: number;
  /** Spans of one request. */
  readonly batch: number;
  /** A span waits so long for others, ms; and a failure for the next attempt, doubled each time up to `retryMs`. */
  readonly gatherMs: number;
  readonly retryMs: number;
  /** One request, ms; and all that is left when the node ends. */
  readonly sendMs: number;
  readonly lastMs: number;
}

const usualBounds: TelemetryBounds = {
  queue: 2_048,
  batch: 512,
  gatherMs: 2_000,
  retryMs: 60_000,
  sendMs: 10_000,
  lastMs: 1_000,
};

export class Telemetry {
  readonly #options: TelemetryOptions;
  readonly #bounds: TelemetryBounds;
  readonly #counts = { sent: 0, dropped: 0 };
  readonly #ending = new AbortController();
  #queue: object[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  /** Requests in a row that failed. */
  #failures = 0;

  constructor(options: TelemetryOptions) {
    this.#options = options;
    this.#bounds = { ...usualBounds, ...options.bounds };
  }

  get counts(): Readonly<Record<"sent" | "dropped", number>> {
    return { ...this.#counts };
  }

  /** Takes note of an exchange that has ended; costs no waiting. @param header the caller's `traceparent`, as it came */
  observe(report: ExchangeReport, header?: unknown): void {
    if (this.#ending.signal.aborted) return;
    const parent = traceParent(header);
    if (parent && !parent.sampled) return; // the caller's trace is not recorded
    this.#queue.push(spanOf(report, parent));
    this.#bound();
    this.#arm(this.#queue.length >= this.#bounds.batch ? 0 : this.#bounds.gatherMs);
  }

  /** Sends what waits, for a second at most. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    const { lastMs: ms } = this.#bounds;
    if (this.#failures === 0) {
      const last = (async () => {
        await this.#sending;
        while (this.#queue.length > 0 && this.#failures === 0) await this.#send();
      })();
      await withDeadline(last, { what: "the last spans", ms }).catch(() => undefined);
    }
    this.#ending.abort();
    this.#drop(this.#queue.splice(0).length);
  }

  #bound(): void {
    const over = this.#queue.length - this.#bounds.queue;
    if (over > 0) this.#drop(this.#queue.splice(0, over).length);
  }

  #drop(count: number): void {
    this.#counts.dropped += count;
  }

  /** One request at a time, one timer; a collector that fails is asked less often. */
  #arm(ms: number): void {
    if (this.#sending || this.#ending.signal.aborted || (this.#timer && (ms > 0 || this.#failures > 0))) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sending = this.#send().finally(() => {
        this.#sending = undefined;
        if (this.#queue.length > 0) this.#arm(this.#pauseMs());
      });
    }, ms);
    this.#timer.unref();
  }

  #pauseMs(): number {
    const { gatherMs, retryMs } = this.#bounds;
    return this.#failures === 0 ? 0 : Math.min(gatherMs * 2 ** this.#failures, retryMs);
  }

  async #send(): Promise<void> {
    const batch = this.#queue.splice(0, this.#bounds.batch);
    try {
      await this.#post(batch);
      this.#counts.sent += batch.length;
      this.#failures = 0;
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (this.#failures === 0) {
        this.#options.log.write("warn", { event: "telemetry-not-sent", code: error.code, what: error.message });
      }
      this.#failures += 1;
      if (error.code === "E_INPUT") return this.#drop(batch.length); // it will not take these later either
      this.#queue = [...batch, ...this.#queue];
      this.#bound();
    }
  }

  /** @throws E_UNREACHABLE nobody there, or not now · E_INPUT it does not want them */
  async #post(batch: readonly object[]): Promise<void> {
    const { url, headers, serviceName, version, self } = this.#options;
    const resource = { "service.name": serviceName, "service.version": version, "service.instance.id": self };
    const scopeSpans = [{ scope: { name: "sealmesh", version }, spans: batch }];
    const body = JSON.stringify({ resourceSpans: [{ resource: { attributes: attributes(resource) }, scopeSpans }] });
    const { status } = await fetchBounded(new URL(url), {
      maxBytes: 65_536,
      ms: this.#bounds.sendMs,
      signal: this.#ending.signal,
      request: { method: "POST", headers: { ...headers, "content-type": "application/json" }, body },
    });
    if (status >= 200 && status < 300) return;
    const code = [429, 502, 503, 504].includes(status) ? "E_UNREACHABLE" : "E_INPUT";
    throw new MeshError(code, `the collector at ${new URL(url).origin} answers with status ${status}`);
  }
}

/**
 * Lines of the log that anybody who reaches this node can cause: one for each attempt, and few a minute for each peer and
 * in all. What was left out is counted in the next line. What operators or members cause is logged without this.
 */
import type { Log, LogEvent, LogLevel } from "./log.ts";
import { Rate, type RateOptions } from "./rate.ts";

/** Events that say how many like them were left out. */
export type CountedEvent = Extract<LogEvent, { readonly event: "peer-refused" | "admission-refused" }>;

/** An operator sees who knocks and why it is sent away; a thousand lines of it say no more, and hide the rest. */
const bounds: RateOptions = {
  perHolder: { burst: 5, perSecond: 5 / 60 },
  total: { burst: 30, perSecond: 30 / 60 },
  holders: 256,
};

export class BoundedLog {
  readonly #log: Log;
  readonly #now: () => number;
  readonly #rate = new Rate(bounds);
  #leftOut = 0;

  /** @param now ms of a clock that never goes back */
  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  write(level: LogLevel, event: CountedEvent): void {
    if (!this.#rate.take(event.peer, this.#now())) {
      this.#leftOut += 1;
      return;
    }
    this.#log.write(level, this.#leftOut > 0 ? { ...event, left_out: this.#leftOut } : event);
    this.#leftOut = 0;
  }
}

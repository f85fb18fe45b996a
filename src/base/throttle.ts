/**
 * How fast bytes may pass, per holder and in all. Nothing is refused and nothing lost: whoever is over its rate waits, and
 * with it, through back-pressure, whoever sends. What may be refused is counted by rate.ts.
 */
import { sleep } from "./deadline.ts";
import type { RateBounds } from "./rate.ts";
import type { Signal } from "./signal.ts";

export interface ThrottleOptions {
  /** Bytes. */
  readonly perHolder: RateBounds;
  /** Bytes. */
  readonly total: RateBounds;
  /** Holders that are remembered; whoever has been idle for longest is forgotten first, and starts anew with a full bucket. */
  readonly holders: number;
}

export class Throttle {
  readonly #options: ThrottleOptions;
  /** Longest idle first. */
  readonly #holders = new Map<string, Bucket>();
  readonly #total: Bucket;

  constructor(options: ThrottleOptions) {
    this.#options = options;
    this.#total = new Bucket(options.total);
  }

  /**
   * Resolves when `bytes` of a holder may pass, in the order of the calls. A holder waits for its own share first: so it
   * cannot run everybody into debt.
   *
   * @throws E_ABORTED the signal fired
   */
  async pass(holder: string, bytes: number, signal: Signal): Promise<void> {
    for (const bucket of [this.#bucketOf(holder), this.#total]) {
      const ms = bucket.take(bytes, performance.now());
      if (ms > 0) await sleep(ms, signal);
    }
  }

  #bucketOf(holder: string): Bucket {
    const bucket = this.#holders.get(holder) ?? new Bucket(this.#options.perHolder);
    this.#holders.delete(holder);
    this.#holders.set(holder, bucket);
    if (this.#holders.size > this.#options.holders) {
      const [idle] = this.#holders.keys();
      if (idle !== undefined) this.#holders.delete(idle);
    }
    return bucket;
  }
}

/** A token bucket that gives credit: what is taken beyond its content is waited for. */
class Bucket {
  readonly #bounds: RateBounds;
  #left: number;
  #atMs: number | undefined;

  constructor(bounds: RateBounds) {
    this.#bounds = bounds;
    this.#left = bounds.burst;
  }

  /** @returns ms until the bucket has come up for all that was taken; 0: it had enough */
  take(amount: number, nowMs: number): number {
    const { burst, perSecond } = this.#bounds;
    const passedMs = Math.max(0, nowMs - (this.#atMs ?? nowMs));
    this.#left = Math.min(burst, this.#left + (passedMs / 1_000) * perSecond) - amount;
    this.#atMs = nowMs;
    return this.#left >= 0 ? 0 : (-this.#left / perSecond) * 1_000;
  }
}

/**
 * How often something may be done, per holder and in all: token buckets. Pure: time is passed in. It bounds what follows
 * one another; what runs at the same time is bounded by places.ts.
 */

/** A bucket holds `burst` at most and gets `perSecond` back. */
export interface RateBounds {
  readonly burst: number;
  readonly perSecond: number;
}

export interface RateOptions {
  readonly perHolder: RateBounds;
  readonly total: RateBounds;
  /**
   * Holders that are remembered. Whoever has been idle for longest is forgotten first, and starts anew with a full
   * bucket; above `total.burst + total.perSecond * perHolder.burst / perHolder.perSecond` only full ones are ever
   * forgotten, so that nobody gains by it.
   */
  readonly holders: number;
}

interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

export class Rate {
  readonly #options: RateOptions;
  /** Longest idle first. */
  readonly #buckets = new Map<string, Bucket>();
  #total: Bucket | undefined;

  constructor(options: RateOptions) {
    this.#options = options;
  }

  /** Holders remembered now. */
  get holders(): number {
    return this.#buckets.size;
  }

  /**
   * Takes one for `holder`; whoever is refused takes nothing from the others.
   *
   * @param nowMs of a clock that never goes back, such as performance.now()
   */
  take(holder: string, nowMs: number): boolean {
    const { perHolder, total, holders } = this.#options;
    const all = filled(this.#total, total, nowMs);
    const own = filled(this.#buckets.get(holder), perHolder, nowMs);
    if (all < 1 || own < 1) return false;
    this.#total = { left: all - 1, atMs: nowMs };
    this.#buckets.delete(holder);
    this.#buckets.set(holder, { left: own - 1, atMs: nowMs });
    if (this.#buckets.size > holders) {
      const [idle] = this.#buckets.keys();
      if (idle !== undefined) this.#buckets.delete(idle);
    }
    return true;
  }
}

/** What the bucket holds by now. */
function filled(bucket: Bucket | undefined, { burst, perSecond }: RateBounds, nowMs: number): number {
  if (bucket === undefined) return burst;
  return Math.min(burst, bucket.left + (Math.max(0, nowMs - bucket.atMs) / 1_000) * perSecond);
}

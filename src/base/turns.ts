/**
 * One call at a time of something that cannot be hurried: hardware that is asked by many. Whoever was served longest ago
 * comes next, so that one who asks often holds up nobody for longer than a call. A call that hangs cannot be taken back:
 * it is waited for, and soon nobody else is let in behind it.
 */
import { abortError, withDeadline } from "./deadline.ts";
import { MeshError } from "./errors.ts";
import type { Signal } from "./signal.ts";

export interface Turn {
  /** What is done, for the error of who waits in vain. */
  readonly what: string;
  /** For whom; turns are shared out among holders. */
  readonly holder: string;
  /** Everything, the wait for others included. */
  readonly ms: number;
  readonly signal: Signal;
  /** Waits behind a call that hangs as well. @default false */
  readonly patient?: boolean;
}

interface Waiter {
  readonly holder: string;
  readonly start: () => void;
}

export class Turns {
  readonly #hangMs: number;
  readonly #waiting: Waiter[] = [];
  /** When holders that wait, or have waited with others, were served last; a count, not a time. */
  readonly #served = new Map<string, number>();
  #count = 0;
  #sinceMs: number | undefined;

  /** @param hangMs how long a call may be under way before nobody is let in behind it any more */
  constructor(hangMs: number) {
    this.#hangMs = hangMs;
  }

  /** Whether the call that is under way takes too long. */
  get hangs(): boolean {
    return this.#sinceMs !== undefined && performance.now() - this.#sinceMs >= this.#hangMs;
  }

  /** @throws E_BUSY an earlier call hangs · E_TIMEOUT, E_ABORTED nobody waits any more, a call that began goes on · as `work` does */
  async run<T>(work: () => Promise<T>, { what, holder, ms, signal, patient = false }: Turn): Promise<T> {
    if (signal.aborted) throw abortError(signal);
    if (this.hangs && !patient) throw new MeshError("E_BUSY", `${what}: what was asked before has not been answered`);
    let leave = (): void => undefined;
    const done = new Promise<T>((resolve, reject) => {
      const waiter = { holder, start: () => this.#do(work).then(resolve, reject) };
      this.#waiting.push(waiter);
      leave = () => {
        const at = this.#waiting.indexOf(waiter);
        if (at >= 0) this.#waiting.splice(at, 1);
      };
    });
    this.#next();
    try {
      return await withDeadline(done, { what, ms, signal });
    } finally {
      leave();
    }
  }

  #next(): void {
    if (this.#sinceMs !== undefined || this.#waiting.length === 0) return;
    const servedAt = ({ holder }: Waiter): number => this.#served.get(holder) ?? -1;
    const next = this.#waiting.reduce((best, waiter) => (servedAt(waiter) < servedAt(best) ? waiter : best));
    this.#waiting.splice(this.#waiting.indexOf(next), 1);
    // with nobody waiting there is nothing to be fair about
    if (this.#waiting.length === 0) this.#served.clear();
    this.#count += 1;
    this.#served.set(next.holder, this.#count);
    this.#sinceMs = performance.now();
    next.start();
  }

  async #do<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      this.#sinceMs = undefined;
      this.#next();
    }
  }
}

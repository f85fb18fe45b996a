/**
 * Who may run now, who waits and who is sent away: a bounded number of running and of waiting ones, in all and per
 * holder. A place that becomes free goes to the holder that has the fewest; those with as few take turns, so that nobody
 * is kept out by somebody's long queue.
 */
import { abortError } from "./deadline.ts";
import { MeshError } from "./errors.ts";
import { Places } from "./places.ts";
import type { Signal } from "./signal.ts";

export interface AdmissionOptions {
  readonly running: number;
  readonly runningPerHolder: number;
  readonly queued: number;
  readonly queuedPerHolder: number;
  /** Longest wait for a place, ms. */
  readonly waitMs: number;
}

interface Waiting {
  readonly holder: string;
  /** Tries to take a place for it. */
  admit(): boolean;
  refuse(error: MeshError): void;
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #places: Places;
  readonly #queue = new Set<Waiting>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#places = new Places({ total: options.running, perHolder: options.runningPerHolder });
  }

  get running(): number {
    return this.#places.taken;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Whether the next one would have to wait. */
  get busy(): boolean {
    return this.running >= this.#options.running;
  }

  /**
   * Waits for a place.
   *
   * @returns gives the place back, once
   * @throws  E_BUSY the queue is full, or the wait was too long · E_ABORTED the signal fired
   */
  enter(holder: string, signal: Signal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError(signal));
      const place = this.#queue.size === 0 ? this.#take(holder) : undefined;
      if (place) return resolve(place);
      if (this.#queue.size >= this.#options.queued || this.#waitingOf(holder) >= this.#options.queuedPerHolder) {
        return reject(busy("has no place left and its queue is full", this.#queue.size));
      }
      const leave = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#queue.delete(waiting);
      };
      const waiting: Waiting = {
        holder,
        admit: () => {
          const free = this.#take(holder);
          if (!free) return false;
          leave();
          resolve(free);
          return true;
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      const onAbort = (): void => {
        leave();
        reject(abortError(signal));
      };
      const timer = setTimeout(
        () => waiting.refuse(busy("had no place in time", this.#queue.size)),
        this.#options.waitMs,
      );
      signal.addEventListener("abort", onAbort, { once: true });
      this.#queue.add(waiting);
      this.#next(); // others may wait only because their holders have enough
    });
  }

  /** Sends everybody away who waits. */
  close(reason: MeshError): void {
    for (const waiting of this.#queue) waiting.refuse(reason);
  }

  #take(holder: string): (() => void) | undefined {
    const place = this.#places.take(holder);
    if (!place) return undefined;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      place();
      this.#next();
    };
  }

  #next(): void {
    while (!this.busy && this.#queue.size > 0) {
      const fairest = [...this.#queue].toSorted((a, b) => this.#places.of(a.holder) - this.#places.of(b.holder));
      const admitted = fairest.find((waiting) => waiting.admit());
      if (!admitted) return;
      this.#putLast(admitted.holder);
    }
  }

  /** Whose turn it was comes behind the others, in its own order. */
  #putLast(holder: string): void {
    const theirs = [...this.#queue].filter((waiting) => waiting.holder === holder);
    for (const waiting of theirs) {
      this.#queue.delete(waiting);
      this.#queue.add(waiting);
    }
  }

  #waitingOf(holder: string): number {
    return [...this.#queue].filter((waiting) => waiting.holder === holder).length;
  }
}

/** An exchange takes seconds; who is behind many others need not come back at once. */
function busy(what: string, queued: number): MeshError {
  const retryAfterSeconds = Math.min(30, 1 + Math.floor(queued / 16));
  return new MeshError("E_BUSY", `this machine ${what}`, { retryAfterSeconds });
}

/** Waits that end: every await on somebody else goes through one of these. */
import { type ErrorCode, MeshError } from "./errors.ts";
import type { Signal } from "./signal.ts";

export interface DeadlineOptions {
  /** What was waited for, for the message: "the relay's answer". */
  readonly what: string;
  readonly ms: number;
  /** Code of the failure when time is up. @default "E_TIMEOUT" */
  readonly code?: ErrorCode;
  readonly signal?: Signal | undefined;
}

/**
 * Settles as `work` does, or rejects when the time is up or the signal fires, whichever is first. The work itself
 * goes on: whoever started it must also be able to stop it.
 */
export function withDeadline<T>(work: Promise<T>, options: DeadlineOptions): Promise<T> {
  const { what, ms, code = "E_TIMEOUT", signal } = options;
  return firstOf(work, signal, ms, (_resolve, reject) => {
    reject(tookLonger(what, ms, code));
  });
}

/** The failure of a wait, for those that wait in their own way. @param what as in {@link DeadlineOptions} */
export function tookLonger(what: string, ms: number, code: ErrorCode = "E_TIMEOUT"): MeshError {
  return new MeshError(code, `${what} took longer than ${ms} ms`);
}

/** What `work` gives, or "late" when `ms` pass first; the work goes on then. @throws as the work, or when the signal fires */
export function unlessLate<T>(work: Promise<T>, ms: number, signal?: Signal): Promise<{ value: T } | "late"> {
  return firstOf(
    work.then((value) => ({ value })),
    signal,
    ms,
    (resolve) => resolve("late"),
  );
}

/**
 * Settles as `work` does, or rejects with the signal's reason as soon as it fires. The work goes on unobserved then: a
 * late failure of it is no unhandled rejection.
 */
export function unlessAborted<T>(work: Promise<T>, signal: Signal): Promise<T> {
  return firstOf(work, signal, undefined, () => undefined);
}

/** The one race of work, time and signal; whoever loses is let go: no timer and no listener stays. */
function firstOf<T, R extends T>(
  work: Promise<R>,
  signal: Signal | undefined,
  ms: number | undefined,
  onTime: (resolve: (value: T) => void, reject: (reason: Error) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const onAbort = (): void => {
      end();
      reject(abortError(signal));
    };
    const late = (): void => {
      end();
      onTime(resolve, reject);
    };
    const timer = ms === undefined ? undefined : setTimeout(late, ms);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    work.then(
      (value) => {
        end();
        resolve(value);
      },
      (thrown: unknown) => {
        end();
        reject(thrown);
      },
    );
  });
}

/**
 * Tells of a wait that lasts too long, for waits that something else ends then: nothing is made for one of them, a mark
 * says that it has begun. One timer for all of them.
 */
export class Silence {
  readonly #ms: number;
  readonly #onLate: () => void;
  /** performance.now() at which the wait under way is late; undefined: none is. */
  #lateAtMs: number | undefined;
  /** performance.now() at which the timer fires. */
  #dueAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number, onLate: () => void) {
    this.#ms = ms;
    this.#onLate = onLate;
  }

  /** @param ms for this wait. @default that of all */
  begin(ms: number = this.#ms): void {
    this.#lateAtMs = performance.now() + ms;
    if (this.#timer === undefined || this.#dueAtMs > this.#lateAtMs) this.#arm(ms);
  }

  end(): void {
    this.#lateAtMs = undefined;
  }

  /** After the last wait: nothing of it is left. */
  close(): void {
    this.end();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#dueAtMs = performance.now() + ms;
    this.#timer = setTimeout(this.#look, ms).unref(); // whoever is left in the midst of a wait need not close
  }

  /** The timer was set for an earlier wait than the one that is under way, mostly. */
  readonly #look = (): void => {
    this.#timer = undefined;
    if (this.#lateAtMs === undefined) return;
    const leftMs = this.#lateAtMs - performance.now();
    if (leftMs > 0) return this.#arm(Math.ceil(leftMs));
    this.end();
    this.#onLate();
  };
}

/**
 * Waits that follow one another, one at a time, each for `ms` at most: what a stream of a thousand pieces needs. One timer
 * and one listener for all of them, where a race of its own for each would cost more than the piece.
 */
export class Patience {
  readonly #ms: number;
  readonly #signal: Signal | undefined;
  readonly #onAbort = (): void => this.#giveUp?.(abortError(this.#signal));
  readonly #silence: Silence;
  #giveUp: ((reason: Error) => void) | undefined;
  #late: ((turn: "late") => void) | undefined;

  /** @param signal ends every wait, as in {@link unlessAborted} */
  constructor(ms: number, signal?: Signal) {
    this.#ms = ms;
    this.#signal = signal;
    this.#silence = new Silence(ms, () => this.#late?.("late"));
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /**
   * What `work` gives, or "late" when `ms` pass first; the work goes on then. @throws as the work, or when the signal fires
   * @param ms for this wait. @default that of all
   */
  wait<T>(work: Promise<T>, ms: number = this.#ms): Promise<T | "late"> {
    return new Promise<T | "late">((resolve, reject) => {
      if (this.#signal?.aborted) {
        work.catch(() => undefined); // nobody hears of it any more
        return reject(abortError(this.#signal));
      }
      // of a wait that is over both do nothing any more
      this.#giveUp = reject;
      this.#late = resolve;
      this.#silence.begin(ms);
      work.then(resolve, reject);
    });
  }

  /** The same, where to be late is to fail. @param what as in {@link DeadlineOptions} · @throws E_TIMEOUT */
  async within<T>(work: Promise<T>, what: string): Promise<T> {
    const turn = await this.wait(work);
    if (turn === "late") throw tookLonger(what, this.#ms);
    return turn;
  }

  /** After the last wait: nothing of it is left. */
  close(): void {
    this.#silence.close();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** Resolves after `ms`; rejects with E_ABORTED (or the signal's own MeshError) when the signal fires first. */
export function sleep(ms: number, signal?: Signal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortError(signal));
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(abortError(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** The reason of an aborted signal as an error: its own if it is one, else E_ABORTED. */
export function abortError(signal?: Signal): Error {
  const reason: unknown = signal?.reason;
  if (reason instanceof MeshError) return reason;
  return new MeshError("E_ABORTED", "the operation was aborted", { cause: reason });
}

/**
 * The end of one exchange, told to all who work for it. Node 20 makes each AbortSignal an object of a shape of its own, so
 * that every access to one is looked up anew, wherever it is: with one listener it costs as much as parsing a request's JSON
 * seven times. What lives for one exchange is an {@link Aborter}; so is what many listen to, which Node takes for a leak of a signal.
 */

/** What a signal is to those who listen; every AbortSignal is one. */
export interface Signal {
  readonly aborted: boolean;
  /** Undefined before that. */
  readonly reason: unknown;
  /** It fires once, so that `once` says nothing new; AbortSignal lets go of the listener then. */
  addEventListener(type: "abort", listener: () => void, options?: { readonly once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
  /** @throws the reason */
  throwIfAborted(): void;
}

/** A signal, and who fires it. Listeners are told in their order, each once; one that throws holds up no other. */
export class Aborter implements Signal {
  aborted = false;
  reason: unknown;
  #listeners: (() => void)[] = [];

  addEventListener(_type: "abort", listener: () => void): void {
    if (!this.aborted && !this.#listeners.includes(listener)) this.#listeners.push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  /** Nothing, the second time. */
  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    for (let tell = this.#listeners.shift(); tell; tell = this.#listeners.shift()) {
      try {
        tell();
      } catch (thrown) {
        queueMicrotask(() => {
          throw thrown;
        });
      }
    }
  }
}

/** The same signal for what takes none but the platform's: fetch, and programs of others. */
export function platformSignal(signal: Signal): AbortSignal {
  if (signal instanceof AbortSignal) return signal;
  const same = new AbortController();
  const onAbort = (): void => same.abort(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort);
  return same.signal;
}

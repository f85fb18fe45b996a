/** Waits of the transports that a signal ends at once, whatever becomes of the work itself. */
import { setMaxListeners } from "node:events";
import { abortError } from "../base/deadline.ts";

/**
 * Settles as `work` does, or rejects with the signal's reason as soon as it fires. The work goes on unobserved then: a
 * late failure of it is no unhandled rejection.
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(abortError(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    const settle = (finish: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      finish();
    };
    work.then(
      (value) => settle(() => resolve(value)),
      (thrown: unknown) => settle(() => reject(thrown)),
    );
  });
}

/** A controller whose signal many wait on at once; Node would take more than ten for a leak. */
export function sharedAbortController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

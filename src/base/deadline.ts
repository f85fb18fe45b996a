/** Waits that end: every await on somebody else goes through one of these. */
import { type ErrorCode, MeshError } from "./errors.ts";

export interface DeadlineOptions {
  /** What was waited for, for the message: "the relay's answer". */
  readonly what: string;
  readonly ms: number;
  /** Code of the failure when time is up. @default "E_TIMEOUT" */
  readonly code?: ErrorCode;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Settles as `work` does, or rejects when the time is up or the signal fires, whichever is first. The work itself
 * goes on: whoever started it must also be able to stop it.
 */
export function withDeadline<T>(work: Promise<T>, options: DeadlineOptions): Promise<T> {
  const { what, ms, code = "E_TIMEOUT", signal } = options;
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => settle(() => reject(new MeshError(code, `${what} took longer than ${ms} ms`))), ms);
    const onAbort = (): void => settle(() => reject(abortError(signal)));
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      finish();
    };
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    work.then(
      (value) => settle(() => resolve(value)),
      (thrown: unknown) => settle(() => reject(thrown)),
    );
  });
}

/** Resolves after `ms`; rejects with E_ABORTED (or the signal's own MeshError) when the signal fires first. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
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
export function abortError(signal?: AbortSignal): Error {
  const reason: unknown = signal?.reason;
  if (reason instanceof MeshError) return reason;
  return new MeshError("E_ABORTED", "the operation was aborted", { cause: reason });
}

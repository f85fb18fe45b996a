/**
 * A bidirectional byte stream, as every transport offers and every layer above uses it. Reading is pull-based, so that
 * back-pressure reaches from the last reader to the first writer.
 */
import type { Now } from "./flow.ts";
import type { Signal } from "./signal.ts";

export interface ByteStream {
  /**
   * The next bytes (never an empty array), or undefined at the peer's clean end. One read at a time.
   * @throws E_ABORTED the peer or we aborted · E_LOST the connection ended
   */
  read(): Promise<Uint8Array | undefined>;
  /**
   * What read() would give at once; "end" for its end. Not while a read is under way.
   * @throws as read · @default undefined: only read() tells
   */
  now?(): Now;
  /**
   * Resolves when flow control has taken all bytes; `bytes` are borrowed until then. One write at a time.
   * @throws E_ABORTED the peer or we aborted · E_LOST the connection ended
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Takes all bytes at once, without a promise, if flow control has room for them; else none. Not while a write is under way.
   * @throws as write · @default it takes none
   */
  offer?(bytes: Uint8Array): boolean;
  /** Ends our side cleanly; the peer's read gives undefined after all bytes. Reading goes on. */
  finish(): Promise<void>;
  /** Ends both directions at once, for both sides, pending reads and writes included. Safe to call twice or at the end. */
  abort(code?: number): void;
  /** Fires when either side aborted or the connection ended, also while nothing is read or written. Not at a clean end. */
  readonly aborted: Signal;
}

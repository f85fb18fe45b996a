/**
 * What all connections share: the streams that are open, and the one moment at which everything ends. Not a base class:
 * a connection has one and asks it.
 */
import { MeshError } from "../base/errors.ts";
import { Aborter, type Signal } from "../base/signal.ts";
import { DuplexStream, type StreamHalves } from "./duplex-stream.ts";
import type { CloseReason } from "./transport.ts";

export class ConnectionLife {
  readonly closed: Promise<CloseReason>;
  readonly #ending = new Aborter();
  readonly #streams = new Map<number, DuplexStream>();
  #resolveClosed: (reason: CloseReason) => void = () => undefined;

  constructor() {
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
  }

  /** Fires when the connection has ended; the reason is the E_LOST that its streams got. */
  get ended(): Signal {
    return this.#ending;
  }

  /** The open stream with this id, unique in the connection. */
  stream(id: number): DuplexStream | undefined {
    return this.#streams.get(id);
  }

  /** Makes a stream of the halves and keeps it until it is over. @throws E_LOST the connection has ended */
  adopt(id: number, halves: StreamHalves, notify: (code: number) => void): DuplexStream {
    this.ended.throwIfAborted();
    const stream = new DuplexStream(halves, { notify, released: () => this.#streams.delete(id) });
    this.#streams.set(id, stream);
    return stream;
  }

  /** Ends every stream with E_LOST, then resolves `closed`. Only the first call counts. */
  end(reason: CloseReason): void {
    if (this.ended.aborted) return;
    const error = lostError(reason);
    this.#ending.abort(error);
    for (const stream of this.#streams.values()) void stream.end(error);
    this.#resolveClosed(reason);
  }
}

/** What a stream's E_ABORTED says when the peer aborted it. */
export function peerAborted(code: number): MeshError {
  return new MeshError("E_ABORTED", `the peer aborted the stream (code ${code})`);
}

/** What a stream's E_LOST says when its connection has ended. */
export function lostError(reason: CloseReason): MeshError {
  return new MeshError("E_LOST", sentence(reason));
}

function sentence({ by, code }: CloseReason): string {
  switch (by) {
    case "us":
      return "we closed the connection";
    case "peer":
      return `the peer closed the connection (code ${code ?? "unknown"})`;
    case "network":
      return "the connection was lost";
  }
}

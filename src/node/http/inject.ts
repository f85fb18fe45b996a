/**
 * A connection into the node's own HTTP server that never touches a socket: a request goes in, the raw response bytes come
 * out, pulled. The server sees an ordinary HTTP/1.1 connection, so there is one parser and one set of routes. It is marked
 * when the request is a peer's, opened; without the mark it comes from the program around this node (node/local-calls.ts).
 */
import type { Server } from "node:http";
import { Duplex } from "node:stream";
import { Server as TlsServer } from "node:tls";
import type { EndpointId } from "../../base/brand.ts";
import { concat } from "../../base/bytes.ts";
import { abortError } from "../../base/deadline.ts";
import { MeshError } from "../../base/errors.ts";
import { type ByteSource, encodeRequest, type HttpRequest } from "../../tunnel/http.ts";

/** Connections of peers, and who asks on each: what is not in here came from this machine. */
const peerConnections = new WeakMap<object, EndpointId>();

/** The asker of a request that came in through {@link inject}; undefined for one from this machine. */
export function askerOf(connection: object): EndpointId | undefined {
  return peerConnections.get(connection);
}

/**
 * Gives `request` to `server`. The source ends when the response is whole and throws when the server broke it off.
 * @param asker   the peer that asks; undefined: the program around this node
 * @param onClose called once, when the connection is over, read or not
 */
export function inject(
  server: Server,
  request: HttpRequest,
  asker: EndpointId | undefined,
  signal: AbortSignal,
  onClose?: () => void,
): ByteSource {
  const connection = new InjectedConnection(encodeRequest(request), signal);
  if (asker !== undefined) peerConnections.set(connection, asker);
  if (onClose) connection.once("close", onClose);
  // behind TLS a connection becomes HTTP only after its handshake, which a peer has made elsewhere
  server.emit(server instanceof TlsServer ? "secureConnection" : "connection", connection);
  return connection.response;
}

class InjectedConnection extends Duplex {
  /** Bytes the server has written and nobody has read, and the callback that lets it write more. */
  #written: { readonly bytes: Uint8Array; readonly taken: () => void } | undefined;
  #ended = false;
  #wake: (() => void) | undefined;
  #request: Uint8Array | undefined;

  constructor(request: Uint8Array, signal: AbortSignal) {
    super({ allowHalfOpen: true });
    this.#request = request;
    const abort = (): void => void this.destroy(abortError(signal));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    this.once("close", () => signal.removeEventListener("abort", abort));
    this.on("error", () => undefined); // what happened is told by the source
  }

  readonly response: ByteSource = {
    read: async (): Promise<Uint8Array | undefined> => {
      for (;;) {
        const written = this.#written;
        if (written) {
          this.#written = undefined;
          written.taken(); // the next piece is made while this one is sealed
          return written.bytes;
        }
        if (this.#ended) return undefined;
        if (this.destroyed) throw this.errored ?? new MeshError("E_ENGINE", "the answer broke off");
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    },
  };

  override _read(): void {
    const request = this.#request;
    this.#request = undefined;
    // no end after it: the server would take that for an asker that has gone
    if (request) this.push(request);
  }

  override _write(bytes: Uint8Array, _encoding: string, taken: () => void): void {
    this.#written = { bytes, taken };
    this.#wakeUp();
  }

  override _writev(pieces: { chunk: Uint8Array }[], taken: () => void): void {
    this.#written = { bytes: concat(pieces.map(({ chunk }) => chunk)), taken };
    this.#wakeUp();
  }

  override _final(done: () => void): void {
    this.#ended = true;
    this.#wakeUp();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    done(error);
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

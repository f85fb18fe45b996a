/**
 * A request of the program around this node (node/local-calls.ts) into its own HTTP server that never touches a socket: what
 * was parsed already goes in, the raw response bytes come out, pulled. The server sees an ordinary HTTP/1.1 request.
 */
import { IncomingMessage, type Server, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { concat } from "../../base/bytes.ts";
import { abortError } from "../../base/deadline.ts";
import { MeshError } from "../../base/errors.ts";
import type { Signal } from "../../base/signal.ts";
import type { ByteSource, HttpRequest } from "../../tunnel/http.ts";

/** The body of a request that came in through {@link inject}, which is all there; undefined for one from a socket. */
export function injectedBody(request: IncomingMessage): Uint8Array | undefined {
  return request instanceof InjectedRequest ? request.body : undefined;
}

/**
 * Gives `request` to `server`. The source ends when the response is whole and throws when the server broke it off.
 * @param onClose called once, when the connection is over, read or not
 */
export function inject(server: Server, request: HttpRequest, signal: Signal, onClose?: () => void): ByteSource {
  const connection = new InjectedConnection(signal);
  if (onClose) connection.once("close", onClose);
  const incoming = new InjectedRequest(connection, request);
  server.emit("request", incoming, new InjectedResponse(incoming, connection));
  return connection.response;
}

/** Bytes of an answer that wait for their reader before its writer is held up. */
const waitingBytes = 65_536;

/** As a socket's writing side gets it: node writes heads as text. */
interface Written {
  readonly chunk: Uint8Array | string;
  readonly encoding: BufferEncoding;
}

/** A socket that is connected to nothing: what is written to it is pulled from `response`. */
class InjectedConnection extends Socket {
  /** Written, and not read. */
  #written: Uint8Array[] = [];
  #writtenBytes = 0;
  /** Lets the server write more. */
  #taken: (() => void) | undefined;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(signal: Signal) {
    super({ allowHalfOpen: true });
    const abort = (): void => void this.destroy(abortError(signal));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    this.once("close", () => signal.removeEventListener("abort", abort));
    this.on("error", () => undefined); // what happened is told by the source
  }

  readonly response: ByteSource = {
    read: async (): Promise<Uint8Array | undefined> => {
      while (this.#written.length === 0) {
        if (this.#ended) return undefined;
        if (this.destroyed) throw this.errored ?? new MeshError("E_ENGINE", "the answer broke off");
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      const bytes = concat(this.#written);
      this.#written = [];
      this.#writtenBytes = 0;
      const taken = this.#taken;
      this.#taken = undefined;
      taken?.();
      return bytes;
    },
  };

  /** The answer has been written, all of it. */
  responseEnded(): void {
    this.#ended = true;
    this.#wakeUp();
  }

  override _read(): void {
    // a request is given as it is; nothing comes behind it
  }

  override _write(chunk: Written["chunk"], encoding: BufferEncoding, taken: () => void): void {
    this.#take([{ chunk, encoding }], taken);
  }

  override _writev(pieces: readonly Written[], taken: () => void): void {
    this.#take(pieces, taken);
  }

  override _final(done: () => void): void {
    this.responseEnded();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    super._destroy(error, done); // which tells of the close
    this.#wakeUp();
  }

  #take(pieces: readonly Written[], taken: () => void): void {
    for (const { chunk, encoding } of pieces) {
      if (chunk.length === 0) continue;
      const bytes = typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk;
      this.#written.push(bytes);
      this.#writtenBytes += bytes.length;
    }
    if (this.#writtenBytes < waitingBytes) taken();
    else this.#taken = taken;
    if (this.#written.length > 0) this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

class InjectedRequest extends IncomingMessage {
  readonly body: Uint8Array;
  #given = false;

  constructor(connection: Socket, { method, path, headers, body }: HttpRequest) {
    super(connection);
    this.body = body;
    this.httpVersion = "1.1";
    this.httpVersionMajor = 1;
    this.httpVersionMinor = 1;
    this.method = method;
    this.url = path;
    const length = String(body.length);
    this.headers = { host: "sealmesh", "content-length": length, connection: "close" };
    this.rawHeaders = ["host", "sealmesh", "content-length", length, "connection", "close"];
    for (const [name, value] of headers) this.#addHeader(name, value);
    this.complete = true; // nothing of it is still on its way
  }

  /** For whoever reads it as a stream. */
  override _read(): void {
    if (this.#given) return;
    this.#given = true;
    if (this.body.length > 0) this.push(this.body);
    this.push(null);
  }

  /** Of repeated ones the first counts where a list makes no sense, as with node's own parser. */
  #addHeader(name: string, value: string): void {
    this.rawHeaders.push(name, value);
    const given = this.headers[name];
    if (given === undefined) this.headers[name] = value;
    else if (!single.has(name)) this.headers[name] = `${String(given)}, ${value}`;
  }
}

const single: ReadonlySet<string> = new Set(["host", "content-length", "connection", "content-type", "authorization"]);

class InjectedResponse extends ServerResponse {
  constructor(request: IncomingMessage, connection: InjectedConnection) {
    super(request);
    this.shouldKeepAlive = false;
    this.assignSocket(connection);
    connection.on("drain", () => this.emit("drain"));
    this.once("finish", () => {
      connection.responseEnded();
      // not in the midst of the write that has ended: node would take that for a broken one
      process.nextTick(() => connection.destroy());
    });
  }
}

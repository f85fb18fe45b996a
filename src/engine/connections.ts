/**
 * Connections to engines and download servers, kept for the next request: a request goes out in one piece, and of the
 * answer no more is read than its reader takes. On bare sockets, because each token of an answer passes here: node's own
 * client costs several times as much for each. What failed is told as the socket tells it; http.ts has the sentences.
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { concat } from "../base/bytes.ts";
import { abortError } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import type { Signal } from "../base/signal.ts";
import { type ByteSource, type KeptResponse, readKeptResponse, sourceOf } from "../tunnel/http.ts";

/** How long one may stand idle, ms: less than engines give it. Those of uvicorn (vLLM, SGLang) close after 5 s, and say so nowhere. */
const idleMs = 4_000;
/** A body up to this size is copied behind its head: two buffers in one system call cost more. */
const joinedBytes = 16_384;
/** Bytes of an answer that wait for their reader before the engine is held up. */
const waitingBytes = 65_536;

/** One connection, taken by one request at a time. */
export class Connection {
  readonly #socket: Socket;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;
  #idling: NodeJS.Timeout | undefined;
  /** Whether it has carried an answer before. */
  reused = false;
  /** Of the answer that is being read. */
  received = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes: Uint8Array) => this.#take(bytes));
    socket.on("end", () => {
      this.#ended = true;
      this.#wakeUp();
    });
    socket.on("error", (error) => (this.#failure ??= error));
    socket.once("close", () => {
      clearTimeout(this.#idling);
      if (!this.#ended) this.#failure ??= new Error("the connection was closed");
      this.#wakeUp();
    });
  }

  /**
   * @param patienceMs until the connection stands, TLS included
   * @throws what the socket tells · ETIMEDOUT · the signal's reason
   */
  static open({ protocol, hostname, port }: URL, patienceMs: number, signal: Signal): Promise<Connection> {
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const secure = protocol === "https:";
    const at = { host, port: Number(port || (secure ? 443 : 80)) };
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError(signal));
      const socket = secure
        ? connectTls({ ...at, ALPNProtocols: ["http/1.1"], ...(isIP(host) ? {} : { servername: host }) })
        : connectTcp(at);
      const settle = (finish: () => void): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        socket.off("error", onError).off("close", onClose);
        finish();
      };
      const fail = (error: Error): void => {
        settle(() => reject(error));
        socket.on("error", () => undefined).destroy();
      };
      const onError = (error: Error): void => fail(error);
      const onClose = (): void => fail(new Error("the connection was closed"));
      const onAbort = (): void => fail(abortError(signal));
      const timer = setTimeout(() => {
        fail(Object.assign(new Error("no connection in time"), { code: "ETIMEDOUT" }));
      }, patienceMs);
      signal.addEventListener("abort", onAbort, { once: true });
      socket.once("error", onError).once("close", onClose);
      socket.once(secure ? "secureConnect" : "connect", () => settle(() => resolve(new Connection(socket))));
    });
  }

  /** Calls `done` when the connection has ended. */
  onClose(done: () => void): void {
    this.#socket.once("close", done);
  }

  get closed(): boolean {
    return this.#socket.destroyed || this.#ended;
  }

  /** Sends a request, and reads the head of its answer. @param body borrowed until then */
  ask(head: Uint8Array, body: Uint8Array | undefined): Promise<KeptResponse> {
    this.received = 0;
    if (!body || body.length <= joinedBytes) this.#socket.write(body ? concat([head, body]) : head);
    else {
      this.#socket.cork();
      this.#socket.write(head);
      this.#socket.write(body);
      this.#socket.uncork();
    }
    return readKeptResponse(this.#source);
  }

  /** Nobody uses it for now. @param onTooLong it has stood idle for too long, and ends */
  rest(hintMs: number | undefined): void {
    this.reused = true;
    const ms = Math.min(idleMs, hintMs ?? idleMs);
    if (ms <= 0) return this.destroy();
    this.#idling = setTimeout(() => this.destroy(), ms).unref();
    this.#socket.unref();
  }

  /** It is taken again. */
  wake(): void {
    clearTimeout(this.#idling);
    this.#idling = undefined;
    this.#socket.ref();
  }

  destroy(reason?: Error): void {
    this.#failure ??= reason;
    this.#socket.destroy();
  }

  readonly #source: ByteSource = sourceOf({
    now: () => {
      const [first, ...others] = this.#waiting;
      if (!first) {
        if (this.#failure) throw this.#failure;
        return this.#ended ? "end" : undefined;
      }
      const bytes = others.length === 0 ? first : concat(this.#waiting);
      this.#waiting = [];
      if (this.#waitingBytes >= waitingBytes) this.#socket.resume();
      this.#waitingBytes = 0;
      return bytes;
    },
    more: () => new Promise((resolve) => (this.#wake = resolve)),
  });

  #take(bytes: Uint8Array): void {
    // nobody has asked: it is no answer
    if (this.#idling) return this.destroy(new MeshError("E_ENGINE", "the engine spoke without being asked"));
    this.received += bytes.length;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= waitingBytes) this.#socket.pause();
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/**
 * Requests of the program around this node, given to its API server without a port or a socket. The server sees a caller of
 * this machine. Each call ends when its answer has been read, when its signal fires, or with the node.
 */
import type { Server } from "node:http";
import { abortError } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import { Aborter, type Signal } from "../base/signal.ts";
import { type HttpRequest, type HttpResponse, readResponse } from "../tunnel/http.ts";
import { inject } from "./http/inject.ts";

export class LocalCalls {
  readonly #server: Server;
  readonly #running = new Set<Aborter>();
  #closed = false;

  constructor(server: Server) {
    this.#server = server;
  }

  /**
   * The answer's head; its body is pulled, and must be read to the end, left, or given up by the signal.
   * @throws E_CLOSED the node has stopped · E_ABORTED, or the signal's own MeshError · as {@link readResponse}; so does the body
   */
  async call(request: HttpRequest, signal: Signal): Promise<HttpResponse> {
    if (this.#closed) throw hasStopped();
    if (signal.aborted) throw abortError(signal);
    // not AbortSignal.any: on Node 20 it leaks when one of the signals lives as long as the process
    const ending = new Aborter();
    const onAbort = (): void => ending.abort(abortError(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    this.#running.add(ending);
    const source = inject(this.#server, request, ending, () => {
      signal.removeEventListener("abort", onAbort);
      this.#running.delete(ending);
    });
    const { body, ...head } = await readResponse(source);
    return { ...head, body: leaving(body, ending) };
  }

  /** Breaks off what still runs. */
  close(): void {
    this.#closed = true;
    for (const ending of this.#running) ending.abort(hasStopped());
  }
}

/** The same pieces. Whoever leaves before the end frees what made them. */
async function* leaving(body: HttpResponse["body"], ending: Aborter): HttpResponse["body"] {
  try {
    yield* body;
  } finally {
    ending.abort(new MeshError("E_ABORTED", "the caller has gone")); // nothing, once the connection is over
  }
}

function hasStopped(): MeshError {
  return new MeshError("E_CLOSED", "this node has stopped");
}

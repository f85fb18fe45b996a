/**
 * `mesh.fetch`: the shape of fetch, answered by the node in this process. Whatever host the address names, nothing goes to
 * the network but what the node itself seals: a path that the node does not know is a 404 of its own.
 */
import { toMeshError } from "../base/errors.ts";
import type { Node } from "../node/node.ts";

/** A name that cannot be looked up (RFC 2606): a client without our fetch fails, instead of sending a prompt anywhere. */
export const baseUrl = "http://sealmesh.invalid/v1";

/** Of a caller's headers, those that the node reads: keys and cookies of a program are nobody's affair. */
const readHeaders: ReadonlySet<string> = new Set(["accept", "content-type", "anthropic-version", "anthropic-beta"]);

/**
 * @param onHead gets each answer when its head has come
 * @returns      rejects as fetch does: with the signal's reason, a TypeError for what is no request; and with a MeshError when
 *               the node has been closed or broke off. Its body is pulled: the host's engine makes no more than is read.
 */
export function fetchOf(node: Pick<Node, "call">, onHead: (response: Response) => void): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    // the request's own signal is held weakly by some releases of Node
    const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    signal?.throwIfAborted();
    const gone = new AbortController();
    const onAbort = (): void => gone.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const end = (): void => signal?.removeEventListener("abort", onAbort);
    const failure = (thrown: unknown): unknown => {
      end();
      return signal?.aborted ? signal.reason : toMeshError(thrown);
    };
    try {
      const { pathname, search } = new URL(request.url);
      const headers = [...request.headers].filter(([name]) => readHeaders.has(name));
      const body = new Uint8Array(await request.arrayBuffer());
      const call = { method: request.method, path: `${pathname}${search}`, headers, body };
      const { status, headers: answered, body: pieces } = await node.call(call, gone.signal);
      const stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
        {
          async pull(controller) {
            try {
              const { done, value } = await pieces.next();
              if (!done) return controller.enqueue(new Uint8Array(value)); // a copy: theirs may be of a pool
              end();
              controller.close();
            } catch (thrown) {
              controller.error(failure(thrown));
            }
          },
          cancel() {
            end();
            gone.abort();
          },
        },
        { highWaterMark: 0 },
      );
      const isEmpty = request.method === "HEAD" || status === 204 || status === 304;
      if (isEmpty) {
        end();
        gone.abort(); // nothing is read of it, which would end the call
      }
      const response = new Response(isEmpty ? null : stream, { status, headers: answered });
      onHead(response);
      return response;
    } catch (thrown) {
      throw failure(thrown);
    }
  };
}

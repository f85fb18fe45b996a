/** A listener of a feed as the answer to a request: `text/event-stream`, no faster than it is read. */
import type { ServerResponse } from "node:http";
import type { Context } from "hono";
import type { Listener } from "../feed.ts";

/** What @hono/node-server gives with a request; nothing in a test without a socket. */
interface Bindings {
  readonly outgoing?: ServerResponse;
}

/** The answer that a request is given on a socket; undefined in a test without one. */
export function outgoingOf(context: Context): ServerResponse | undefined {
  return (context.env as Bindings | undefined)?.outgoing;
}

const streamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};

/** @param open gets what ends the connection of a reader that takes nothing @throws whatever it throws */
export function eventStream(context: Context, open: (letGo: () => void) => Listener): Response {
  // a HEAD is answered by what answers a GET, and nobody would read
  if (context.req.method === "HEAD") return context.body(null, 200, streamHeaders);
  const outgoing = outgoingOf(context);
  const listener = open(() => void outgoing?.destroy());
  let ended = false;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const bytes = await listener.next();
        if (ended) return;
        if (bytes) controller.enqueue(bytes);
        else controller.close();
      },
      cancel() {
        ended = true;
        listener.close();
      },
    },
    { highWaterMark: 0 }, // what nobody reads waits in the feed, where it is bounded
  );
  return context.body(body, 200, streamHeaders);
}

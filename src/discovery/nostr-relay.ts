/**
 * One conversation with one Nostr relay over a WebSocket: opened for a question or an event, closed after it. A relay that
 * hangs, floods or talks nonsense costs its own conversation, bounded in time, messages and bytes. For discovery/nostr.ts.
 */
import { WebSocket } from "ws";
import { abortError, tookLonger } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import { limits } from "../wire/limits.ts";
import { unlessUnreadable } from "./listing.ts";
import { decodeRelayMessage, type NostrEvent, type RelayMessage } from "./nostr-event.ts";

export interface TalkOptions {
  /** For the whole conversation, the connection's set-up too. */
  readonly ms: number;
  readonly signal: AbortSignal;
}

/** Members of a NIP-01 filter that we use. */
export interface EventFilter {
  readonly kinds: readonly number[];
  readonly "#k": readonly string[];
  /** Seconds since 1970. */
  readonly since: number;
  readonly until: number;
}

/** Hands an event over. @throws E_UNREACHABLE, E_TIMEOUT, E_ABORTED · E_REFUSED the relay does not take it */
export function sendEvent(url: string, event: NostrEvent, options: TalkOptions): Promise<void> {
  return talk(url, { ...options, messages: fewMessages }, (say, done, fail) => {
    say(["EVENT", event]);
    return (message) => {
      if (message.kind !== "taken" || message.id !== event.id) return;
      if (message.ok) done();
      else fail(new MeshError("E_REFUSED", "the relay does not take the listing"));
    };
  });
}

/**
 * Asks page after page, newest first, until there is no more.
 *
 * @param take given each well-formed event once, of which nothing has been checked; what came before a failure counts too
 * @throws     E_UNREACHABLE, E_TIMEOUT, E_ABORTED · E_WIRE it says more than it was asked for
 */
export async function fetchEvents(
  url: string,
  filter: EventFilter,
  options: TalkOptions,
  take: (event: NostrEvent) => void,
): Promise<void> {
  const seen = new Set<string>();
  await talk(url, { ...options, messages: mostMessages }, (say, done) => {
    let { until } = filter;
    let page = { number: 0, events: 0, news: 0, oldest: until };
    const ask = (): void => say(["REQ", `page-${page.number}`, { ...filter, until, limit: limits.nostrEventsPerPage }]);
    ask();
    return (message) => {
      if (message.kind === "taken" || message.subscription !== `page-${page.number}`) return;
      if (message.kind === "event") {
        const { id, created_at: at } = message.event;
        page.events += 1;
        page.oldest = Math.min(page.oldest, at);
        if (seen.has(id)) return;
        seen.add(id);
        page.news += 1;
        return take(message.event);
      }
      say(["CLOSE", `page-${page.number}`]);
      const { number, events, news, oldest } = page;
      if (events === 0 || oldest <= filter.since || number + 1 >= limits.nostrPages) return done();
      // the last second of a page may go on, so it is asked for again, unless the page held nothing else or nothing new
      until = news > 0 && oldest < until ? oldest : Math.min(until, oldest) - 1;
      page = { number: number + 1, events: 0, news: 0, oldest: until };
      ask();
    };
  });
}

/** What an event's answer may stand between: notices, and answers for somebody else. */
const fewMessages = 32;
const mostMessages = limits.nostrPages * (limits.nostrEventsPerPage + 2);

type Say = (message: readonly unknown[]) => void;
type Listen = (message: RelayMessage) => void;

/** @param begin called once the relay listens; what it returns hears the relay until `done` or `fail` is called */
function talk(
  url: string,
  { ms, signal, messages }: TalkOptions & { readonly messages: number },
  begin: (say: Say, done: () => void, fail: (error: Error) => void) => Listen,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal));
    const socket = new WebSocket(url, {
      handshakeTimeout: ms,
      maxPayload: limits.nostrSkippedBytes,
      perMessageDeflate: false, // a relay could blow up a few bytes to the bound again and again
      followRedirects: false,
    });
    let left = messages;
    let bytesLeft: number = limits.nostrTalkBytes;
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      socket.removeAllListeners();
      socket.on("error", () => undefined); // of a connection that is broken off while it is set up
      socket.terminate();
      settle();
    };
    const fail = (error: Error): void => end(() => reject(error));
    const onAbort = (): void => fail(abortError(signal));
    const timer = setTimeout(() => fail(tookLonger("the relay", ms)), ms);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", (cause) => fail(new MeshError("E_UNREACHABLE", "the relay cannot be reached", { cause })));
    socket.on("close", () => fail(new MeshError("E_UNREACHABLE", "the relay has closed the connection")));
    socket.on("open", () => {
      const listen = begin(
        (message) => socket.send(JSON.stringify(message)),
        () => end(resolve),
        fail,
      );
      socket.on("message", (data: Buffer, isBinary) => {
        left -= 1;
        bytesLeft -= data.length;
        if (left < 0 || bytesLeft < 0)
          return fail(new MeshError("E_WIRE", "the relay says more than it was asked for"));
        if (isBinary || data.length > limits.nostrMessageBytes) return;
        const message = unlessUnreadable(() => decodeRelayMessage(data.toString("utf8")));
        if (message) listen(message);
      });
    });
  });
}

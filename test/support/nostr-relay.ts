/**
 * A Nostr relay in this process: @nostr-relay/core on a WebSocket server, events in memory. Tests can plant events past its
 * checks, as a hostile relay would serve them, and see what it was asked.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import {
  EventRepository,
  EventUtils,
  type Event,
  type Filter,
  LogLevel,
  type IncomingMessage,
} from "@nostr-relay/common";
import { NostrRelay } from "@nostr-relay/core";
import { WebSocketServer } from "ws";

export interface TestRelay {
  readonly url: string;
  /** What it holds now. */
  readonly events: readonly Event[];
  /** Every message that came in, by its first word: EVENT, REQ, CLOSE. */
  readonly heard: readonly IncomingMessage[];
  /** Serves it from now on, whatever is wrong with it. */
  plant(event: unknown): void;
  close(): Promise<void>;
}

/** Replaceable events by key, kind and identifier; planted ones beside them. */
class Memory extends EventRepository {
  readonly stored = new Map<string, Event>();

  isSearchSupported(): boolean {
    return false;
  }

  upsert(event: Event): { isDuplicate: boolean } {
    const identifier = event.tags.find(([name]) => name === "d")?.[1] ?? "";
    const key = `${event.pubkey} ${event.kind} ${identifier}`;
    const known = this.stored.get(key);
    if (known && known.created_at >= event.created_at) return { isDuplicate: true };
    this.stored.set(key, event);
    return { isDuplicate: false };
  }

  find(filter: Filter): Event[] {
    return [...this.stored.values()]
      .filter((event) => matches(event, filter))
      .toSorted((a, b) => timeOf(b) - timeOf(a))
      .slice(0, filter.limit ?? 500);
  }

  async destroy(): Promise<void> {
    this.stored.clear();
  }
}

/** What is no event at all is served to everybody. */
function matches(event: Event, filter: Filter): boolean {
  try {
    return EventUtils.isMatchingFilter(event, filter);
  } catch {
    return true;
  }
}

function timeOf(event: Event | null): number {
  return event?.created_at ?? Number.POSITIVE_INFINITY;
}

const quiet = {
  setLogLevel: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export async function startNostrRelay(): Promise<TestRelay> {
  const memory = new Memory();
  const heard: IncomingMessage[] = [];
  const relay = new NostrRelay(memory, { filterResultCacheTtl: 0, logger: quiet, logLevel: LogLevel.ERROR });
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  server.on("connection", (socket) => {
    relay.handleConnection(socket);
    socket.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString("utf8")) as IncomingMessage;
      heard.push(message);
      relay.handleMessage(socket, message).catch(() => undefined);
    });
    socket.on("close", () => relay.handleDisconnect(socket));
    socket.on("error", () => undefined);
  });
  let planted = 0;
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get events() {
      return [...memory.stored.values()];
    },
    heard,
    plant(event) {
      planted += 1;
      memory.stored.set(`planted ${planted}`, event as Event);
    },
    async close() {
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
      await relay.destroy();
    },
  };
}

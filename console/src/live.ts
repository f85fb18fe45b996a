/**
 * What the node tells by itself, over one EventSource that is kept alive: its status after every change, and every exchange
 * that has ended. When the connection is lost the last word stays, marked as old, and it is tried again, less and less
 * often. One for the page; the views read it by useLive().
 */
import { useEffect, useState } from "preact/hooks";
import { changesBetween } from "./changes.ts";
import { checkSession } from "./session.ts";
import type { ExchangeReport, Status } from "./types.ts";

/** connecting: for the first time · live · lost: what is shown is old. */
export type Connection = "connecting" | "live" | "lost";

export interface Change {
  readonly atMs: number;
  readonly text: string;
  /** How it is meant. */
  readonly tone: "good" | "bad" | "calm";
}

export interface Live {
  readonly connection: Connection;
  readonly status: Status | undefined;
  /** When `status` came. */
  readonly statusMs: number;
  /** Newest first. */
  readonly exchanges: readonly ExchangeReport[];
  /** What has changed while this page looked, newest first. */
  readonly changes: readonly Change[];
  /** When the connection is tried again; 0: it is being tried, or is there. */
  readonly retryMs: number;
  /** Lost, and nothing listens any more: the node has stopped. */
  readonly stopped: boolean;
}

/** As many as the node keeps. */
const keptExchanges = 200;
const keptChanges = 8;
/** Waits between tries, ms. */
const waits = [1_000, 2_000, 4_000, 8_000, 15_000];

let live: Live = {
  connection: "connecting",
  status: undefined,
  statusMs: 0,
  exchanges: [],
  changes: [],
  retryMs: 0,
  stopped: false,
};
let source: EventSource | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let tries = 0;
const listeners = new Set<() => void>();

export function useLive(): Live {
  const [shown, setShown] = useState(live);
  useEffect(() => {
    const look = (): void => setShown(live);
    look();
    listeners.add(look);
    return () => void listeners.delete(look);
  }, []);
  return shown;
}

/** Connects, at once also when a later try is due. */
export function connectLive(): void {
  clearTimeout(timer);
  source?.close();
  set({ retryMs: 0 });
  source = new EventSource("/api/events");
  source.addEventListener("open", () => {
    tries = 0;
    void checkSession();
    void readExchanges();
  });
  source.addEventListener("status", ({ data }: MessageEvent<string>) => takeStatus(JSON.parse(data) as Status));
  source.addEventListener("exchange", ({ data }: MessageEvent<string>) => {
    takeExchanges([JSON.parse(data) as ExchangeReport]);
  });
  source.addEventListener("error", lost);
}

function lost(): void {
  source?.close();
  const wait = waits[Math.min(tries, waits.length - 1)] ?? 15_000;
  tries += 1;
  set({ connection: "lost", retryMs: Date.now() + wait });
  clearTimeout(timer);
  timer = setTimeout(connectLive, wait);
  fetch("/healthz").then(
    (answer) => set({ stopped: false, ...(answer.ok ? {} : { connection: "lost" }) }),
    () => set({ stopped: true }),
  );
}

function takeStatus(status: Status): void {
  // another process: what was so before is no change of this one
  const before = live.status?.pid === status.pid ? live.status : undefined;
  const news = before ? changesBetween(before, status) : [];
  const atMs = Date.now();
  set({
    connection: "live",
    stopped: false,
    status,
    statusMs: atMs,
    changes: [...news.map((change) => ({ ...change, atMs })), ...live.changes].slice(0, keptChanges),
  });
}

async function readExchanges(): Promise<void> {
  const answer = await fetch("/api/exchanges").catch(() => undefined);
  if (!answer?.ok) return;
  const { exchanges } = (await answer.json()) as { exchanges: readonly ExchangeReport[] };
  set({ exchanges: [] });
  takeExchanges(exchanges);
}

function takeExchanges(more: readonly ExchangeReport[]): void {
  const known = new Set(live.exchanges.map(({ id }) => id));
  const fresh = more.filter(({ id }) => !known.has(id));
  set({ exchanges: [...fresh, ...live.exchanges].slice(0, keptExchanges) });
}

function set(change: Partial<Live>): void {
  live = { ...live, ...change };
  for (const listener of listeners) listener();
}

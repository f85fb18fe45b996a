/**
 * What the node tells by itself, over one EventSource that is kept alive: its status after every change, and every exchange
 * that has ended. When the connection is lost the last word stays, marked as old, and it is tried again, less and less
 * often. One for the page; the views read it by useLive(). A page that nobody sees holds no connection: a browser has six for
 * one node, and pages that held them all would leave none to ask by.
 */
import { useEffect, useState } from "preact/hooks";
import { errorOf } from "./api.ts";
import { changesBetween } from "./changes.ts";
import { mergedExchanges } from "./exchange-list.ts";
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
  /** Lost, and why in the node's own words: it lets no more pages follow it. Empty for anything else. */
  readonly refusal: string;
}

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
  refusal: "",
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

/** Connects whenever the page can be seen. Called once. */
export function beginLive(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") return connectLive();
    clearTimeout(timer);
    source?.close();
  });
  connectLive();
}

/** Connects, at once also when a later try is due; the first event is the status of now. */
export function connectLive(): void {
  clearTimeout(timer);
  source?.close();
  if (document.visibilityState !== "visible") return;
  set({ retryMs: 0 });
  let opened = false;
  source = new EventSource("/api/events");
  source.addEventListener("open", () => {
    opened = true;
    tries = 0;
    void checkSession();
    void readExchanges();
  });
  source.addEventListener("status", ({ data }: MessageEvent<string>) => takeStatus(JSON.parse(data) as Status));
  source.addEventListener("exchange", ({ data }: MessageEvent<string>) => {
    set({ exchanges: mergedExchanges([JSON.parse(data) as ExchangeReport], live.exchanges) });
  });
  source.addEventListener("error", () => lost(opened));
}

function lost(opened: boolean): void {
  source?.close();
  const wait = waits[Math.min(tries, waits.length - 1)] ?? 15_000;
  tries += 1;
  set({ connection: "lost", retryMs: Date.now() + wait, ...(opened ? { refusal: "" } : {}) });
  clearTimeout(timer);
  timer = setTimeout(connectLive, wait);
  void lookWhy(opened);
}

/** Why the connection is not there. An EventSource does not tell what it was answered, so what never opened is asked again. */
async function lookWhy(opened: boolean): Promise<void> {
  const health = await fetch("/healthz").catch(() => undefined);
  set({ stopped: health === undefined });
  if (opened || !health?.ok) return;
  // without the session, which the answer would say nothing of
  const answer = await fetch("/api/events").catch(() => undefined);
  if (!answer) return;
  set({ refusal: answer.ok ? "" : (await errorOf(answer)).message });
  await answer.body?.cancel().catch(() => undefined); // it may have been read
}

function takeStatus(status: Status): void {
  // another process: what was so before is no change of this one
  const before = live.status?.pid === status.pid ? live.status : undefined;
  const news = before ? changesBetween(before, status) : [];
  const atMs = Date.now();
  set({
    connection: "live",
    stopped: false,
    refusal: "",
    status,
    statusMs: atMs,
    changes: [...news.map((change) => ({ ...change, atMs })), ...live.changes].slice(0, keptChanges),
  });
}

/** What the node keeps, in place of what the page had; what is told meanwhile stays. */
async function readExchanges(): Promise<void> {
  const before = new Set(live.exchanges);
  try {
    const answer = await fetch("/api/exchanges");
    if (!answer.ok) return;
    const { exchanges } = (await answer.json()) as { readonly exchanges: readonly ExchangeReport[] };
    const newer = live.exchanges.filter((one) => !before.has(one));
    set({ exchanges: mergedExchanges(newer, exchanges) });
  } catch {
    // what the page has stays; the next connection asks again
  }
}

function set(change: Partial<Live>): void {
  live = { ...live, ...change };
  for (const listener of listeners) listener();
}

/**
 * The last entries of the log, in memory, for `sealmesh logs` and the console. They are the typed events of base/log.ts,
 * which have no field for content; they are shown to callers with the session token, because they name peers.
 */
import type { Log, LogEvent, LogLevel } from "../base/log.ts";
import { Feed, type FeedEvent, type FeedOptions, type Listener } from "./feed.ts";

export interface LogEntry {
  /** 1 for the first entry of this start. */
  readonly seq: number;
  /** ISO 8601 in UTC. */
  readonly time: string;
  readonly level: LogLevel;
  readonly entry: LogEvent;
}

export interface LogRingOptions extends FeedOptions {
  /** That are kept. */
  readonly entries: number;
  /** Unix ms. */
  readonly now: () => number;
}

/** Passes each entry on to another log, and keeps it. */
export class LogRing implements Log {
  readonly #log: Log;
  readonly #options: LogRingOptions;
  readonly #feed: Feed;
  #entries: LogEntry[] = [];
  #seq = 0;

  constructor(log: Log, options: LogRingOptions) {
    this.#log = log;
    this.#options = options;
    this.#feed = new Feed(options);
  }

  write(level: LogLevel, entry: LogEvent): void {
    this.#log.write(level, entry);
    this.#seq += 1;
    const kept: LogEntry = { seq: this.#seq, time: new Date(this.#options.now()).toISOString(), level, entry };
    this.#entries.push(kept);
    // in one go from time to time: a thousand entries are not moved for each one that comes
    if (this.#entries.length >= 2 * this.#options.entries) this.#entries = this.#latest();
    if (this.#feed.listeners > 0) this.#feed.send(eventOf(kept));
  }

  /** Those that are kept and came after the one with this number, oldest first; a copy. */
  after(seq: number): readonly LogEntry[] {
    return this.#latest().filter((kept) => kept.seq > seq);
  }

  /** The same, and then each one that comes. @throws E_BUSY too many follow already */
  follow(seq: number, letGo: () => void): Listener {
    return this.#feed.open(this.after(seq).map(eventOf), letGo);
  }

  close(): void {
    this.#feed.close();
  }

  #latest(): LogEntry[] {
    return this.#entries.slice(-this.#options.entries);
  }
}

function eventOf(entry: LogEntry): FeedEvent {
  return { event: "log", data: JSON.stringify(entry), replaces: false };
}

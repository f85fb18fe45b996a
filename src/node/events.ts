/**
 * What changes in a node, for those who watch it: its whole status after every change, and each exchange that has ended.
 * The status is made once for all who watch, not at all when nobody does, and no more often than a person can follow.
 */
import type { ExchangeReport } from "./exchanges.ts";
import { Feed, type FeedOptions, type Listener } from "./feed.ts";
import type { Status } from "./status.ts";

export interface EventsOptions extends FeedOptions {
  /** Without any secret: whoever reaches the console port may watch. @throws MeshError there is none yet */
  readonly status: () => Status;
  /** From one status to the next, ms. */
  readonly everyMs: number;
  /** How often it is looked for changes that nothing tells of: evidence runs out, round trips change, ms. */
  readonly lookMs: number;
}

/** Making a status may take so much of the time at most: in the largest mesh one takes tens of milliseconds. */
const shareOfTime = 1 / 20;

export class NodeEvents {
  readonly #options: EventsOptions;
  readonly #feed: Feed;
  /** JSON of the last status that was sent. */
  #last: string | undefined;
  /** performance.now() before which no other is made. */
  #notBeforeMs = 0;
  #due: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;

  constructor(options: EventsOptions) {
    this.#options = options;
    this.#feed = new Feed(options);
  }

  /** Begins with the status of now. @throws E_BUSY too many watch already */
  listen(letGo: () => void): Listener {
    const status = this.#current();
    const first = status === undefined ? [] : [{ event: "status", data: status, replaces: true }];
    const listener = this.#feed.open(first, letGo);
    this.#look ??= setInterval(() => this.changed(), this.#options.lookMs);
    return listener;
  }

  /** Something may have changed. Costs nothing when nobody watches. */
  changed(): void {
    if (this.#feed.listeners === 0) return this.#rest();
    if (this.#due) return;
    const inMs = Math.max(0, this.#notBeforeMs - performance.now());
    this.#due = setTimeout(() => {
      this.#due = undefined;
      this.#tell();
    }, inMs);
  }

  /** An exchange of a caller on this machine has ended. */
  exchange(report: ExchangeReport): void {
    if (this.#feed.listeners > 0) this.#feed.send({ event: "exchange", data: JSON.stringify(report), replaces: false });
    this.changed();
  }

  close(): void {
    this.#feed.close();
    this.#rest();
  }

  /** For one who comes: what the others have, if that is of just now. */
  #current(): string | undefined {
    const isRecent = this.#feed.listeners > 0 && performance.now() < this.#notBeforeMs;
    if (!isRecent) this.#tell();
    return this.#last;
  }

  #tell(): void {
    const begunMs = performance.now();
    const data = this.#made();
    const endedMs = performance.now();
    this.#notBeforeMs = endedMs + Math.max(this.#options.everyMs, (endedMs - begunMs) / shareOfTime);
    if (data === undefined || data === this.#last) return;
    this.#last = data;
    this.#feed.send({ event: "status", data, replaces: true });
  }

  /** Undefined while the node is starting. */
  #made(): string | undefined {
    try {
      return JSON.stringify(this.#options.status());
    } catch {
      return undefined; // whoever asks for /api/status is told why
    }
  }

  #rest(): void {
    clearTimeout(this.#due);
    clearInterval(this.#look);
    this.#due = undefined;
    this.#look = undefined;
    this.#last = undefined;
  }
}

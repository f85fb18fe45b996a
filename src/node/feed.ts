/**
 * Events for several readers at once (`text/event-stream`), and no more of either than memory has room for: so many readers,
 * and so much that waits for one of them. Knows no HTTP: http/event-stream.ts writes what comes out here.
 */
import { utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";

export interface FeedOptions {
  /** At a time. */
  readonly listeners: number;
  /** Events that wait for one listener; beyond that its oldest are dropped. */
  readonly waiting: number;
  /** From one sign of life to the next, ms. */
  readonly aliveMs: number;
  /** A listener that takes nothing for so long, though something waits, is let go, ms. */
  readonly unreadMs: number;
}

/** One reader of a feed. Whoever opens it closes it. */
export interface Listener {
  /** The next bytes of the stream, as soon as there are some; undefined: it has ended. One call at a time. */
  next(): Promise<Uint8Array | undefined>;
  /** Its place is free again. Safe to call twice. */
  close(): void;
}

export interface FeedEvent {
  readonly event: string;
  /** One line. */
  readonly data: string;
  /** Whether one of the same name that still waits is of no interest any more. */
  readonly replaces: boolean;
}

/** A comment: readers pass over it, and what stands between them and us sees that the connection is in use. */
const signOfLife = utf8(": \n\n");

export class Feed {
  readonly #options: FeedOptions;
  readonly #listeners = new Set<Reader>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /**
   * @param first  what this listener gets before anything else
   * @param letGo  called when it is given up, because it takes nothing
   * @throws       E_BUSY there are as many as may be
   */
  open(first: readonly FeedEvent[], letGo: () => void): Listener {
    const { listeners, waiting, aliveMs } = this.#options;
    if (this.#listeners.size >= listeners) {
      throw new MeshError("E_BUSY", `${listeners} readers follow these events already: close a page or a command`, {
        retryAfterSeconds: 5,
      });
    }
    const reader = new Reader(Math.max(waiting, first.length), letGo, () => this.#closed(reader));
    for (const { event, data } of first) reader.push(event, bytesOf(event, data), false);
    this.#listeners.add(reader);
    this.#timer ??= setInterval(() => this.#look(), aliveMs);
    return reader;
  }

  /** The bytes are made once, for all. */
  send({ event, data, replaces }: FeedEvent): void {
    if (this.#listeners.size === 0) return;
    const bytes = bytesOf(event, data);
    for (const listener of this.#listeners) listener.push(event, bytes, replaces);
  }

  /** Ends the streams of all listeners. */
  close(): void {
    for (const listener of this.#listeners) listener.close();
  }

  #closed(reader: Reader): void {
    this.#listeners.delete(reader);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    for (const listener of this.#listeners) {
      if (listener.unreadFor() > this.#options.unreadMs) listener.giveUp();
      else listener.keepAlive();
    }
  }
}

class Reader implements Listener {
  readonly #most: number;
  readonly #letGo: () => void;
  readonly #onClose: () => void;
  #waiting: { readonly event: string; readonly bytes: Uint8Array }[] = [];
  #wake: ((bytes: Uint8Array | undefined) => void) | undefined;
  /** performance.now() */
  #tookMs = performance.now();
  #ended = false;

  constructor(most: number, letGo: () => void, onClose: () => void) {
    this.#most = most;
    this.#letGo = letGo;
    this.#onClose = onClose;
  }

  push(event: string, bytes: Uint8Array, replaces: boolean): void {
    if (this.#wake) return this.#give(bytes);
    if (this.#waiting.length === 0) this.#tookMs = performance.now();
    if (replaces) this.#waiting = this.#waiting.filter((other) => other.event !== event);
    this.#waiting.push({ event, bytes });
    if (this.#waiting.length > this.#most) this.#waiting.shift();
  }

  next(): Promise<Uint8Array | undefined> {
    this.#tookMs = performance.now();
    if (this.#ended) return Promise.resolve(undefined);
    const first = this.#waiting.shift();
    if (first) return Promise.resolve(first.bytes);
    return new Promise((resolve) => (this.#wake = resolve));
  }

  /** How long something has waited for it, ms. */
  unreadFor(): number {
    return this.#waiting.length === 0 ? 0 : performance.now() - this.#tookMs;
  }

  keepAlive(): void {
    if (this.#wake) this.#give(signOfLife);
  }

  giveUp(): void {
    this.close();
    this.#letGo();
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting = [];
    this.#give(undefined);
    this.#onClose();
  }

  #give(bytes: Uint8Array | undefined): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.(bytes);
  }
}

function bytesOf(event: string, data: string): Uint8Array {
  return utf8(`event: ${event}\ndata: ${data}\n\n`);
}

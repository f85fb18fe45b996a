/** Bodies of requests and answers: bytes that are pulled piece by piece. */
import { type Flow, flowing, next, type Now } from "./flow.ts";

/** What is pulled. */
export interface Pieces extends AsyncIterable<Uint8Array> {
  /** Whether the clean end is known to come behind the piece that was read last. @default only reading on tells */
  isOver?(): boolean;
}

/** How a body ended: read to its end, broken off by itself, or neither: its reader has left. */
export type BodyEnd = (whole: boolean, broken: boolean) => void;

export interface BodyOptions {
  /** Called once when the reader leaves before the end. */
  readonly leave?: () => unknown;
  /** As in {@link Pieces}. */
  readonly isOver?: () => boolean;
}

/**
 * A body that flows, or whose next piece a function gives. By hand and not as a generator: each generator on the way costs
 * every piece several promises, and one that was left before its first piece does not even learn of it.
 */
export class Body implements Pieces, Flow, AsyncGenerator<Uint8Array, void, undefined> {
  readonly #flow: Flow;
  readonly #options: BodyOptions;
  readonly #ends: BodyEnd[] = [];
  #over = false;

  /** @param source a function gives the next piece, undefined at the clean end; one call at a time */
  constructor(source: Flow | (() => Promise<Uint8Array | undefined>), options: BodyOptions = {}) {
    this.#flow = typeof source === "function" ? flowing(source) : source;
    this.#options = options;
  }

  /** Calls `done` once, when the body has ended; who was told of first is called first. */
  onEnd(done: BodyEnd): this {
    this.#ends.push(done);
    return this;
  }

  isOver(): boolean {
    return this.#options.isOver?.() ?? false;
  }

  now(): Now {
    if (this.#over) return "end";
    try {
      const piece = this.#flow.now();
      if (piece === "end") this.#end(true, false);
      return piece;
    } catch (thrown) {
      this.#end(false, true);
      throw thrown;
    }
  }

  more(): Promise<void> {
    return this.#flow.more();
  }

  async next(): Promise<IteratorResult<Uint8Array, void>> {
    const value = await next(this);
    return value ? { done: false, value } : { done: true, value: undefined };
  }

  /** The reader leaves. */
  async return(): Promise<IteratorResult<Uint8Array, void>> {
    if (!this.#over) {
      this.#end(false, false);
      await this.#options.leave?.();
    }
    return { done: true, value: undefined };
  }

  async throw(thrown: unknown): Promise<IteratorResult<Uint8Array, void>> {
    await this.return();
    throw thrown;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #end(whole: boolean, broken: boolean): void {
    if (this.#over) return;
    this.#over = true;
    for (const done of this.#ends) done(whole, broken);
  }
}

/** A body that is all there: one piece. */
export function once(bytes: Uint8Array): Body {
  let rest: Now = bytes;
  const now = (): Now => {
    const piece = rest;
    rest = "end";
    return piece;
  };
  return new Body({ now, more: () => Promise.resolve() }, { isOver: () => rest === "end" });
}

/** What an iterator gives. */
export function flowOf(pieces: AsyncIterator<Uint8Array, void>): Flow {
  if (pieces instanceof Body) return pieces;
  return flowing(async () => {
    const { done, value } = await pieces.next();
    return done ? undefined : value;
  });
}

/** The same pieces; `done` runs once when they have ended, however they do. */
export function endingWith(pieces: Pieces, done: BodyEnd): Body {
  if (pieces instanceof Body) return pieces.onEnd(done);
  const source = pieces[Symbol.asyncIterator]();
  const options = { leave: () => source.return?.(), isOver: () => pieces.isOver?.() ?? false };
  return new Body(flowOf(source), options).onEnd(done);
}

/** Two small schedulers of the transports: a queue read by one consumer, a gate that bounds what goes on at once. */

export interface Queue<T> {
  /** Ignored after end(). */
  push(value: T): void;
  /** Ends the iteration at once; what waits in the queue is dropped. */
  end(): void;
  /** The pushed values in order. Consumed once. */
  values(): AsyncIterable<T>;
}

export function queue<T>(): Queue<T> {
  let waiting: T[] = [];
  let ended = false;
  let wake = (): void => undefined;

  async function* values(): AsyncGenerator<T, void> {
    while (!ended) {
      const value = waiting.shift();
      if (value === undefined) await new Promise<void>((resolve) => (wake = resolve));
      else yield value;
    }
  }
  return {
    push(value) {
      if (!ended) waiting.push(value);
      wake();
    },
    end() {
      ended = true;
      waiting = [];
      wake();
    },
    values,
  };
}

export interface Gate {
  /** Resolves when there is room; the caller is inside until it calls leave(). */
  enter(): Promise<void>;
  leave(): void;
}

/** @param limit how many may be inside at once */
export function gate(limit: number): Gate {
  let inside = 0;
  const waiting: (() => void)[] = [];
  return {
    async enter() {
      if (inside < limit) inside += 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    leave() {
      const next = waiting.shift();
      if (next === undefined) inside -= 1;
      else next();
    },
  };
}

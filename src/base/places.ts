/** A bounded number of places, in all and per holder: how many exchanges or streams one peer may have at a time. */

export interface PlacesOptions {
  readonly total: number;
  readonly perHolder: number;
}

export class Places {
  readonly #options: PlacesOptions;
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#total;
  }

  /** Places that `holder` has. */
  of(holder: string): number {
    return this.#held.get(holder) ?? 0;
  }

  /** Takes a place for `holder`. @returns the function that gives it back (once), or undefined when there is none */
  take(holder: string): (() => void) | undefined {
    const held = this.of(holder);
    if (this.#total >= this.#options.total || held >= this.#options.perHolder) return undefined;
    this.#total += 1;
    this.#held.set(holder, held + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#total -= 1;
      const left = this.of(holder) - 1;
      if (left === 0) this.#held.delete(holder);
      else this.#held.set(holder, left);
    };
  }
}

/** Bytes that may be held at a time, in all and per holder: what arrives before anything is known about its sender. */
import { MeshError } from "./errors.ts";

export interface BudgetOptions {
  /** Bytes. */
  readonly total: number;
  /** Bytes. */
  readonly perHolder: number;
}

/** What one exchange holds. */
export interface Account {
  /** @throws E_BUSY nothing is left; what was taken before stays until {@link Account.close} */
  take(bytes: number): void;
  /** Gives everything back; safe to call twice. */
  close(): void;
}

export class Budget {
  readonly #options: BudgetOptions;
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(options: BudgetOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#total;
  }

  open(holder: string): Account {
    let own = 0;
    let closed = false;
    return {
      take: (bytes) => {
        if (closed) return;
        const { total, perHolder } = this.#options;
        if (this.#total + bytes > total || this.#of(holder) + bytes > perHolder) {
          throw new MeshError("E_BUSY", "too many bytes of requests are being received", { retryAfterSeconds: 2 });
        }
        own += bytes;
        this.#add(holder, bytes);
      },
      close: () => {
        if (closed) return;
        closed = true;
        this.#add(holder, -own);
      },
    };
  }

  #of(holder: string): number {
    return this.#held.get(holder) ?? 0;
  }

  #add(holder: string, bytes: number): void {
    this.#total += bytes;
    const held = this.#of(holder) + bytes;
    if (held === 0) this.#held.delete(holder);
    else this.#held.set(holder, held);
  }
}

/**
 * Which host had the beginning of a conversation: its engine may still hold what it computed of it, so the next turn goes
 * there if nothing speaks against it. Keys are hashes under a secret of this process; no content is kept.
 *
 * @see protocol.md §5.5
 */
import type { EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";

export interface AffinityOptions {
  readonly clock: Clock;
  /** Conversations kept; the one not heard of for the longest time goes first. @default 4096 */
  readonly entries?: number;
  /** How long one is kept after its last turn, ms. @default 20 minutes */
  readonly lifeMs?: number;
}

export interface Remembered {
  readonly model: string;
  readonly host: EndpointId;
}

export class Affinity {
  readonly #clock: Clock;
  readonly #entries: number;
  readonly #lifeMs: number;
  readonly #known = new Map<string, Remembered & { readonly untilMs: number }>();

  constructor({ clock, entries = 4_096, lifeMs = 20 * 60_000 }: AffinityOptions) {
    this.#clock = clock;
    this.#entries = entries;
    this.#lifeMs = lifeMs;
  }

  of(conversation: string | undefined): Remembered | undefined {
    if (conversation === undefined) return undefined;
    const known = this.#known.get(conversation);
    return known && this.#clock.now() <= known.untilMs ? known : undefined;
  }

  remember(conversation: string | undefined, { model, host }: Remembered): void {
    if (conversation === undefined) return;
    this.#known.delete(conversation); // the order of the map is that of the last turns
    this.#known.set(conversation, { model, host, untilMs: this.#clock.now() + this.#lifeMs });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= this.#entries) break;
      this.#known.delete(oldest);
    }
  }
}

/**
 * Envelopes that this host has opened: none is answered twice. Keyed by the asker's ephemeral key, so that envelopes
 * without a head are covered, and by the head's id. Nothing is forgotten while it could still be replayed; a full
 * cache refuses instead.
 *
 * @see wire.md §4 · protocol.md §11 R1
 */
import type { EndpointId } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";

export interface SeenOptions {
  /** Entries in all, and per asker. */
  readonly total: number;
  readonly perAsker: number;
}

interface Entry {
  readonly asker: EndpointId;
  readonly untilMs: number;
}

export class SeenCache {
  readonly #options: SeenOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #perAsker = new Map<EndpointId, number>();

  constructor(options: SeenOptions) {
    this.#options = options;
  }

  /**
   * Marks an envelope as seen.
   *
   * @param marks   strings of which each must be new
   * @param untilMs unix ms up to which a replay would otherwise be accepted
   * @throws E_REPLAY one of them was seen · E_BUSY full, for this asker or in all
   */
  add(marks: readonly string[], asker: EndpointId, untilMs: number, nowMs: number): void {
    if (marks.some((mark) => this.#entries.has(mark))) throw new MeshError("E_REPLAY", "this envelope was seen before");
    if (this.#full(asker, marks.length)) this.#forgetEnded(nowMs);
    if (this.#full(asker, marks.length)) {
      throw new MeshError("E_BUSY", "too many requests within the replay window", { retryAfterSeconds: 60 });
    }
    for (const mark of marks) this.#entries.set(mark, { asker, untilMs });
    this.#perAsker.set(asker, (this.#perAsker.get(asker) ?? 0) + marks.length);
  }

  #full(asker: EndpointId, more: number): boolean {
    const { total, perAsker } = this.#options;
    return this.#entries.size + more > total || (this.#perAsker.get(asker) ?? 0) + more > perAsker;
  }

  #forgetEnded(nowMs: number): void {
    for (const [mark, { asker, untilMs }] of this.#entries) {
      if (untilMs >= nowMs) continue;
      this.#entries.delete(mark);
      const left = (this.#perAsker.get(asker) ?? 1) - 1;
      if (left === 0) this.#perAsker.delete(asker);
      else this.#perAsker.set(asker, left);
    }
  }
}

/**
 * The answers that a later request may go on from by `previous_response_id`, in memory only, bounded by number, size and
 * age. Each holds the items of its own turn and a link to the turn before, so that a conversation of n turns costs n.
 * A turn that was dropped lives on as long as a later one needs it, and is counted as long as it lives.
 */
import { type Clock, systemClock } from "../../base/clock.ts";
import { isRecord, type Json } from "../../base/json.ts";

export interface ResponseStoreLimits {
  /** Turns. */
  readonly entries: number;
  /** Bytes of their items, estimated from above. */
  readonly bytes: number;
  /** From the answer on, ms. */
  readonly ageMs: number;
}

/** One turn, and through `before` all earlier ones. */
export interface StoredTurn {
  readonly before: StoredTurn | undefined;
  /** What this turn added: the items of its input, then those of its output. */
  readonly items: readonly Json[];
  /** Of this turn. */
  readonly bytes: number;
  /** Of the whole conversation up to here. */
  readonly allBytes: number;
  /** Turns of the conversation up to here. */
  readonly depth: number;
}

interface Entry {
  readonly turn: StoredTurn;
  readonly expiresMs: number;
}

// an object, its keys and its place in lists
const overheadBytes = 64;
const entryBytes = 512;

export class ResponseStore {
  readonly #limits: ResponseStoreLimits;
  readonly #clock: Clock;
  /** By response id, oldest first. */
  readonly #entries = new Map<string, Entry>();
  /** Items of these entries, by their own id, with the latest turn that has them. */
  readonly #items = new Map<string, { readonly item: Json; readonly turn: StoredTurn }>();
  /** Every living turn, with the number of holds on it: the table's own, and one of each living turn that follows. */
  readonly #holds = new Map<StoredTurn, number>();
  #bytes = 0;

  constructor(limits: ResponseStoreLimits, clock: Clock = systemClock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Turns and bytes that are held now. */
  get size(): { readonly turns: number; readonly bytes: number } {
    return { turns: this.#holds.size, bytes: this.#bytes };
  }

  get(id: string): StoredTurn | undefined {
    this.dropExpired();
    return this.#entries.get(id)?.turn;
  }

  /** An item of a turn that is held, for an `item_reference`. */
  item(id: string): Json | undefined {
    this.dropExpired();
    return this.#items.get(id)?.item;
  }

  /**
   * Holds a turn under its response id, at the cost of the oldest. A conversation that is too large for the whole store is
   * not held. Reasoning is left out: it is never sent again.
   *
   * @param before the turn that this one goes on from, as get() gave it
   * @param added  the items of its input, then those of its output
   */
  put(id: string, before: StoredTurn | undefined, added: readonly Json[]): void {
    this.dropExpired();
    const items = added.filter(({ type }) => type !== "reasoning");
    const bytes = entryBytes + sizeOf(items);
    const turn: StoredTurn = {
      before,
      items,
      bytes,
      allBytes: bytes + (before?.allBytes ?? 0),
      depth: 1 + (before?.depth ?? 0),
    };
    if (turn.allBytes > this.#limits.bytes || turn.depth > this.#limits.entries || this.#entries.has(id)) return;
    this.#hold(turn);
    this.#entries.set(id, { turn, expiresMs: this.#clock.now() + this.#limits.ageMs });
    for (const item of items) if (hasId(item)) this.#items.set(item.id, { item, turn });
    for (const oldest of this.#entries.keys()) {
      if (this.#holds.size <= this.#limits.entries && this.#bytes <= this.#limits.bytes) break;
      this.#drop(oldest);
    }
  }

  /** Lets go of what is too old. Every call does so first; an owner that wants it gone in time also calls this on a timer. */
  dropExpired(): void {
    const now = this.#clock.now();
    for (const [id, { expiresMs }] of this.#entries) {
      if (expiresMs > now) break;
      this.#drop(id);
    }
  }

  #drop(id: string): void {
    const turn = this.#entries.get(id)?.turn;
    if (!turn) return;
    this.#entries.delete(id);
    for (const item of turn.items) {
      if (hasId(item) && this.#items.get(item.id)?.turn === turn) this.#items.delete(item.id);
    }
    this.#release(turn);
  }

  /** Counts a turn that begins to live, and holds those before it: one may have been dropped since it was read. */
  #hold(from: StoredTurn): void {
    for (let turn: StoredTurn | undefined = from; turn; turn = turn.before) {
      const holds = this.#holds.get(turn) ?? 0;
      this.#holds.set(turn, holds + 1);
      if (holds > 0) return;
      this.#bytes += turn.bytes;
    }
  }

  #release(from: StoredTurn): void {
    for (let turn: StoredTurn | undefined = from; turn; turn = turn.before) {
      const holds = this.#holds.get(turn) ?? 0;
      if (holds > 1) {
        this.#holds.set(turn, holds - 1);
        return;
      }
      this.#holds.delete(turn);
      this.#bytes -= turn.bytes;
    }
  }
}

/** All items of a conversation, oldest first. */
export function itemsUpTo(turn: StoredTurn | undefined): readonly Json[] {
  const turns: StoredTurn[] = [];
  for (let at = turn; at; at = at.before) turns.push(at);
  return turns.reverse().flatMap(({ items }) => items);
}

function hasId(item: Json): item is Json & { readonly id: string } {
  return typeof item["id"] === "string";
}

/** Bytes of a JSON value in memory: two a character, which is the most that a string takes. */
function sizeOf(value: unknown): number {
  let bytes = 0;
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    bytes += overheadBytes;
    if (typeof next === "string") bytes += 2 * next.length;
    else if (Array.isArray(next)) for (const item of next) open.push(item);
    else if (isRecord(next)) {
      for (const [key, item] of Object.entries(next)) {
        bytes += 2 * key.length;
        open.push(item);
      }
    }
  }
  return bytes;
}

/**
 * In which order what this node would tell others has changed: peers by id, each change with a number that only grows. A
 * link remembers one number and so knows what is new for its peer, without a look at the peers that are not.
 */
import type { EndpointId } from "../base/brand.ts";

/** `entry`: there is something to tell anew; `link`: only whether we are linked with it, which a digest says. */
export type ChangeKind = "entry" | "link";

interface Change {
  readonly at: number;
  readonly id: EndpointId;
  readonly kind: ChangeKind;
}

/**
 * A list that never changes. Longer ones share the array of the shorter ones they were made of: each looks at its own
 * part of it alone.
 */
export class Changes {
  static readonly none: Changes = new Changes([], 0, 0);
  readonly #items: Change[];
  readonly #length: number;
  /** Number of the newest. */
  readonly last: number;

  private constructor(items: Change[], length: number, last: number) {
    this.#items = items;
    this.#length = length;
    this.last = last;
  }

  get size(): number {
    return this.#length;
  }

  with(id: EndpointId, kind: ChangeKind): Changes {
    // another list has gone on from here already
    const items = this.#items.length === this.#length && this !== Changes.none ? this.#items : this.#own();
    items.push({ at: this.last + 1, id, kind });
    return new Changes(items, items.length, this.last + 1);
  }

  /** Who has changed after `number`, each once. @param kind undefined: in whatever way */
  since(number: number, kind?: ChangeKind): ReadonlySet<EndpointId> {
    const ids = new Set<EndpointId>();
    for (let index = this.#length - 1; index >= 0; index -= 1) {
      const change = this.#items[index];
      if (!change || change.at <= number) break;
      if (kind === undefined || change.kind === kind) ids.add(change.id);
    }
    return ids;
  }

  /** Of each id its last change of each kind alone, and of these ids only. */
  of(isThere: (id: EndpointId) => boolean): Changes {
    const last = new Map<string, Change>();
    for (const change of this.#own()) {
      const key = `${change.kind} ${change.id}`;
      last.delete(key); // so that it stands where it came last
      if (isThere(change.id)) last.set(key, change);
    }
    const kept = [...last.values()];
    return new Changes(kept, kept.length, this.last);
  }

  #own(): Change[] {
    return this.#items.slice(0, this.#length);
  }
}

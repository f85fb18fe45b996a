/**
 * The maps of the membership's state. One state must not see what a later step changes, and copying a thousand peers in
 * each of a thousand steps is what a pure step would cost: so a table is a large map that is shared, and above it a small
 * one with what has changed since. No rule of the mesh is here.
 */

/** So many changes lie above the large map at most; each step that changes something copies them. */
const changesHeld = 64;

/** In the small map: it is in the large one, and no more. */
const removed = Symbol("removed");

type Changes<Key, Value> = ReadonlyMap<Key, Value | typeof removed>;

/** A map that never changes. */
class Layers<Key, Value> implements ReadonlyMap<Key, Value> {
  readonly base: ReadonlyMap<Key, Value>;
  readonly changes: Changes<Key, Value>;
  readonly size: number;

  constructor(base: ReadonlyMap<Key, Value>, changes: Changes<Key, Value>, size: number) {
    this.base = base;
    this.changes = changes;
    this.size = size;
  }

  get(key: Key): Value | undefined {
    const changed = this.changes.get(key);
    return changed === undefined ? this.base.get(key) : changed === removed ? undefined : changed;
  }

  has(key: Key): boolean {
    const changed = this.changes.get(key);
    return changed === undefined ? this.base.has(key) : changed !== removed;
  }

  *entries(): MapIterator<[Key, Value]> {
    for (const entry of this.base) if (!this.changes.has(entry[0])) yield entry;
    for (const [key, value] of this.changes) if (value !== removed) yield [key, value];
  }

  *keys(): MapIterator<Key> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<Value> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): MapIterator<[Key, Value]> {
    return this.entries();
  }

  forEach(call: (value: Value, key: Key, map: ReadonlyMap<Key, Value>) => void): void {
    for (const [key, value] of this.entries()) call(value, key, this);
  }
}

/** A table inside one step: may be changed until the step is done. No value is undefined. */
export class Table<Key, Value> {
  readonly #before: ReadonlyMap<Key, Value>;
  readonly #base: ReadonlyMap<Key, Value>;
  readonly #held: Changes<Key, Value>;
  /** Ours to change; undefined: nothing has been. */
  #changes: Map<Key, Value | typeof removed> | undefined;
  #size: number;

  constructor(before: ReadonlyMap<Key, Value>) {
    this.#before = before;
    this.#base = before instanceof Layers ? before.base : before;
    this.#held = before instanceof Layers ? before.changes : new Map();
    this.#size = before.size;
  }

  get size(): number {
    return this.#size;
  }

  get(key: Key): Value | undefined {
    const changed = (this.#changes ?? this.#held).get(key);
    return changed === undefined ? this.#base.get(key) : changed === removed ? undefined : changed;
  }

  has(key: Key): boolean {
    return this.get(key) !== undefined;
  }

  set(key: Key, value: Value): void {
    const before = this.get(key);
    if (before === value) return;
    if (before === undefined) this.#size += 1;
    this.#change().set(key, value);
  }

  /** @returns whether there was one */
  delete(key: Key): boolean {
    if (!this.has(key)) return false;
    this.#size -= 1;
    if (this.#base.has(key)) this.#change().set(key, removed);
    else this.#change().delete(key);
    return true;
  }

  /** As it is at the moment, to be walked through while it changes. */
  values(): readonly Value[] {
    return [...this.#view().values()];
  }

  entries(): readonly (readonly [Key, Value])[] {
    return [...this.#view().entries()];
  }

  /** At the end of the step; the very map of the start when nothing has changed. */
  done(): ReadonlyMap<Key, Value> {
    if (!this.#changes) return this.#before;
    return this.#changes.size <= changesHeld ? this.#view() : new Map(this.#view());
  }

  #view(): ReadonlyMap<Key, Value> {
    return this.#changes ? new Layers(this.#base, this.#changes, this.#size) : this.#before;
  }

  #change(): Map<Key, Value | typeof removed> {
    this.#changes ??= new Map(this.#held);
    return this.#changes;
  }
}

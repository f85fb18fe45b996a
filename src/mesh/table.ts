/**
 * The maps of the membership's state. A state never changes, and copying a thousand peers in each of a thousand steps is
 * what that would cost: so the newest state of a line has the one real map, and each older one only knows by what it
 * differs from the next. Who reads an old one, as tests do, pays with a copy. No rule of the mesh is here.
 */

/** What was there before a step. */
interface Undo<Key, Value> {
  /** Of the keys that it changed; undefined: nothing. */
  readonly changed: ReadonlyMap<Key, Value | undefined>;
  /** Of all keys, when it took some away: put back, they must not come last. */
  readonly order: readonly Key[] | undefined;
}

/** A map that never changes. */
class Version<Key, Value> implements ReadonlyMap<Key, Value> {
  readonly size: number;
  /** Undefined: the next version has it. */
  #map: Map<Key, Value> | undefined;
  #next: { readonly version: Version<Key, Value>; readonly undo: Undo<Key, Value> } | undefined;

  private constructor(map: Map<Key, Value>) {
    this.#map = map;
    this.size = map.size;
  }

  static after<K, V>(before: ReadonlyMap<K, V>, changes: ReadonlyMap<K, V | undefined>): Version<K, V> {
    const map = before instanceof Version ? (before as Version<K, V>).#read() : new Map(before);
    const order = [...changes.values()].includes(undefined) ? [...map.keys()] : undefined;
    const changed = new Map<K, V | undefined>();
    for (const [key, value] of changes) {
      changed.set(key, map.get(key));
      put(map, key, value);
    }
    const version = new Version(map);
    if (before instanceof Version) (before as Version<K, V>).#handTo(version, { changed, order });
    return version;
  }

  get(key: Key): Value | undefined {
    return this.#read().get(key);
  }

  has(key: Key): boolean {
    return this.#read().has(key);
  }

  // as it is now: who takes a walk through it may do steps meanwhile

  entries(): MapIterator<[Key, Value]> {
    return [...this.#read()].values();
  }

  keys(): MapIterator<Key> {
    return [...this.#read().keys()].values();
  }

  values(): MapIterator<Value> {
    return this.list().values();
  }

  list(): Value[] {
    return [...this.#read().values()];
  }

  [Symbol.iterator](): MapIterator<[Key, Value]> {
    return this.entries();
  }

  forEach(call: (value: Value, key: Key, map: ReadonlyMap<Key, Value>) => void): void {
    for (const [key, value] of this.entries()) call(value, key, this);
  }

  #handTo(version: Version<Key, Value>, undo: Undo<Key, Value>): void {
    this.#map = undefined;
    this.#next = { version, undo };
  }

  #read(): Map<Key, Value> {
    return (this.#map ??= this.#copy());
  }

  /** From the newest back to this one. */
  #copy(): Map<Key, Value> {
    const undone: Undo<Key, Value>[] = [];
    let map = new Map<Key, Value>();
    for (let next = this.#next; next; next = next.version.#next) {
      undone.push(next.undo);
      if (!next.version.#map) continue;
      map = new Map(next.version.#map);
      break;
    }
    for (const { changed, order } of undone.toReversed()) {
      for (const [key, value] of changed) put(map, key, value);
      if (order) map = inOrder(map, order);
    }
    this.#next = undefined;
    return map;
  }
}

function put<Key, Value>(map: Map<Key, Value>, key: Key, value: Value | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

/** @param order all keys of the map */
function inOrder<Key, Value>(map: ReadonlyMap<Key, Value>, order: readonly Key[]): Map<Key, Value> {
  const ordered = new Map<Key, Value>();
  for (const key of order) put(ordered, key, map.get(key));
  return ordered;
}

/** A table inside one step: may be changed until the step is done. No value is undefined. */
export class Table<Key, Value> {
  readonly #before: ReadonlyMap<Key, Value>;
  /** A value that is undefined: there is none any more. No map at all: as in most steps, nothing has changed. */
  #changes: Map<Key, Value | undefined> | undefined;
  #size: number;

  constructor(before: ReadonlyMap<Key, Value>) {
    this.#before = before;
    this.#size = before.size;
  }

  get size(): number {
    return this.#size;
  }

  get(key: Key): Value | undefined {
    const changed = this.#changes?.get(key);
    return changed !== undefined || this.#changes?.has(key) ? changed : this.#before.get(key);
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
    this.#change().set(key, undefined);
    return true;
  }

  /** As it is at the moment, to be walked through while it changes. */
  values(): Value[] {
    if (this.#changes) return this.entries().map(([, value]) => value);
    return this.#before instanceof Version ? this.#before.list() : [...this.#before.values()];
  }

  entries(): (readonly [Key, Value])[] {
    const entries: (readonly [Key, Value])[] = [];
    for (const entry of this.#before) if (!this.#changes?.has(entry[0])) entries.push(entry);
    for (const [key, value] of this.#changes ?? []) if (value !== undefined) entries.push([key, value]);
    return entries;
  }

  /** At the end of the step; the very map of the start when nothing has changed. */
  done(): ReadonlyMap<Key, Value> {
    return this.#changes ? Version.after(this.#before, this.#changes) : this.#before;
  }

  #change(): Map<Key, Value | undefined> {
    this.#changes ??= new Map();
    return this.#changes;
  }
}

/** A map inside a pure step: copied when it is first changed, because most steps change none of theirs. */
export class Table<Key, Value> {
  readonly #before: ReadonlyMap<Key, Value>;
  #changed: Map<Key, Value> | undefined;

  constructor(before: ReadonlyMap<Key, Value>) {
    this.#before = before;
  }

  /** As it is now; the same object as at the start when nothing has changed. */
  get now(): ReadonlyMap<Key, Value> {
    return this.#changed ?? this.#before;
  }

  get size(): number {
    return this.now.size;
  }

  get(key: Key): Value | undefined {
    return this.now.get(key);
  }

  has(key: Key): boolean {
    return this.now.has(key);
  }

  set(key: Key, value: Value): void {
    if (this.get(key) !== value || !this.has(key)) this.#change().set(key, value);
  }

  /** @returns whether there was one */
  delete(key: Key): boolean {
    return this.has(key) && this.#change().delete(key);
  }

  #change(): Map<Key, Value> {
    this.#changed ??= new Map(this.#before);
    return this.#changed;
  }
}

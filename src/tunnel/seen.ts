/**
 * Envelopes that this host has opened: none is answered twice. Keyed by the asker's ephemeral key, so that envelopes
 * without a head are covered, and by the head's id. Nothing is forgotten while it could still be replayed; a full
 * cache refuses instead.
 *
 * A mark is kept as a tag of 63 bits under a key that nobody knows. Two marks with one tag, of which the later is refused,
 * cannot be brought about; among four million marks chance does it to one request in 10^12. Marks lie in slices by the
 * time at which they end, and a slice is forgotten as a whole. A request looks into every table once: a busy host has six.
 *
 * Memory: from 10.7 to 21.4 bytes a mark, at least 512 bytes a slice. Times reach 600 s ahead, and two keys open, so that
 * there are 13 slices of a minute: four million marks have 57 MB at most, and 4,096 askers in all slices 4 MB.
 *
 * @see wire.md §4 · protocol.md §11 R1
 */
import type { EndpointId } from "../base/brand.ts";
import { fromLatin1, latin1 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { newShortHash, type ShortTag } from "../crypto/short-hash.ts";
import { TagTable } from "./seen-table.ts";

export interface SeenOptions {
  /** Marks in all, and per asker. */
  readonly total: number;
  readonly perAsker: number;
  /** Askers that have a share of their own; those who come when there are so many have one together. @default 4_096 */
  readonly askers?: number;
  /** Marks that end within the same so many ms are forgotten together. @default 60_000 */
  readonly sliceMs?: number;
}

interface Asker {
  readonly name: string;
  marks: number;
}

interface Slice {
  readonly number: number;
  /** All full but the last. */
  readonly tables: TagTable[];
  readonly marks: Map<Asker, number>;
  /** The latest end of a mark in it, unix ms. */
  endMs: number;
}

export class SeenCache {
  readonly #options: Required<SeenOptions>;
  readonly #tagOf = newShortHash();
  readonly #askers = new Map<string, Asker>();
  readonly #otherAskers: Asker = { name: "", marks: 0 };
  #slices: Slice[] = [];
  #marks = 0;
  /** The latest end of a mark that was forgotten, unix ms: what ends before it may have been forgotten as well. */
  #forgottenMs = -Infinity;

  constructor(options: SeenOptions) {
    this.#options = { askers: 4_096, sliceMs: 60_000, ...options };
  }

  /** Bytes of all tables now. */
  get bytes(): number {
    const tables = this.#slices.flatMap((slice) => slice.tables);
    return tables.reduce((sum, table) => sum + table.bytes, 0);
  }

  /**
   * Marks an envelope as seen.
   *
   * @param marks   Latin-1 texts of which each must be new
   * @param untilMs unix ms up to which a replay would otherwise be accepted
   * @throws E_REPLAY one of them was seen · E_BUSY full, for this asker or in all; or the clock went back so far that it
   *         may have been seen and forgotten
   */
  add(marks: readonly string[], asker: EndpointId, untilMs: number, nowMs: number): void {
    this.#forgetEnded(nowMs);
    const tags = marks.map(this.#tagOf);
    if (tags.some((tag) => this.#has(tag))) throw new MeshError("E_REPLAY", "this envelope was seen before");
    if (untilMs <= this.#forgottenMs) {
      const what =
        "this host's clock went back to a time whose envelopes it has forgotten: start it again for new keys";
      throw new MeshError("E_BUSY", what, { retryAfterSeconds: 60 });
    }
    if (this.#isFull(asker, tags.length)) {
      throw new MeshError("E_BUSY", "too many requests within the replay window", { retryAfterSeconds: 60 });
    }
    const slice = this.#sliceOf(untilMs);
    for (const tag of tags) tableWithRoom(slice).add(tag);
    this.#count(this.#askerOf(asker), slice, tags.length);
  }

  #has(tag: ShortTag): boolean {
    for (const { tables } of this.#slices) {
      for (const table of tables) if (table.has(tag)) return true;
    }
    return false;
  }

  #isFull(asker: EndpointId, more: number): boolean {
    const { total, perAsker, askers } = this.#options;
    const unknown = this.#askers.size < askers ? undefined : this.#otherAskers;
    const own = this.#askers.get(asker) ?? unknown;
    return this.#marks + more > total || (own?.marks ?? 0) + more > perAsker;
  }

  #askerOf(id: EndpointId): Asker {
    const known = this.#askers.get(id);
    if (known) return known;
    if (this.#askers.size >= this.#options.askers) return this.#otherAskers;
    // a copy: an id cut out of a request's head would hold that head
    const asker = { name: latin1(fromLatin1(id)), marks: 0 };
    this.#askers.set(asker.name, asker);
    return asker;
  }

  #sliceOf(untilMs: number): Slice {
    const number = Math.floor(untilMs / this.#options.sliceMs);
    let slice = this.#slices.find((one) => one.number === number);
    if (!slice) {
      slice = { number, tables: [], marks: new Map(), endMs: untilMs };
      this.#slices.push(slice);
    }
    slice.endMs = Math.max(slice.endMs, untilMs);
    return slice;
  }

  #count(asker: Asker, slice: Slice, marks: number): void {
    this.#marks += marks;
    asker.marks += marks;
    slice.marks.set(asker, (slice.marks.get(asker) ?? 0) + marks);
  }

  #forgetEnded(nowMs: number): void {
    if (!this.#slices.some(({ endMs }) => endMs < nowMs)) return;
    const ended = this.#slices.filter(({ endMs }) => endMs < nowMs);
    this.#slices = this.#slices.filter(({ endMs }) => endMs >= nowMs);
    for (const { endMs, marks } of ended) {
      this.#forgottenMs = Math.max(this.#forgottenMs, endMs);
      for (const [asker, count] of marks) {
        this.#marks -= count;
        asker.marks -= count;
        if (asker.marks === 0) this.#askers.delete(asker.name);
      }
    }
  }
}

function tableWithRoom({ tables }: Slice): TagTable {
  const last = tables.at(-1);
  if (last && !last.full) return last;
  const table = new TagTable();
  tables.push(table);
  return table;
}

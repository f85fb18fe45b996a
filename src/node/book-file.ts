/**
 * A small file of this node's that the running node and commands use at the same time: what the operator decided, or what was
 * made for the node. Nothing is written from memory: every change reads the file again, under a lock file, and replaces it
 * whole. Pins, owners and the claim of an owner are kept so; what stands in such a file is not known here.
 */
import { randomUUID } from "node:crypto";
import { readFileSync, rmSync, statSync } from "node:fs";
import { type MeshError, systemCode, toMeshError } from "../base/errors.ts";
import { isRunning } from "../base/running.ts";
import { readOwn, unusable, writeAtomic, writeNew } from "./own-files.ts";

/** What stands in a file, and how people are told of it. */
export interface BookForm<Book> {
  readonly encode: (book: Book) => string;
  /** @throws MeshError the text is no such book */
  readonly decode: (text: string) => Book;
  /** What a file stands for that is not there. */
  readonly empty: Book;
  /** Ends the sentence "FILE is damaged. It says ...". */
  readonly says: string;
  /** What others change who hold the lock. */
  readonly of: string;
}

export interface BookFileOptions {
  /** Least time between two looks at the file, ms. @default 500 */
  readonly lookMs?: number;
  /** Longest wait for another process that is writing, ms. @default 2000 */
  readonly lockMs?: number;
  /** Told once when the file becomes unusable while this runs. */
  readonly onDamaged?: (error: MeshError) => void;
}

/** A lock is held for the time of one small write; an older one was left behind, ms. */
const staleLockMs = 10_000;
/** Between two attempts to get the lock, ms. */
const retryMs = 10;

export class BookFile<Book> {
  readonly #path: string;
  readonly #form: BookForm<Book>;
  readonly #lookMs: number;
  readonly #lockMs: number;
  #book: Book;
  /** Of the file that `#book` was read from. */
  #mark: string | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  readonly #onDamaged: ((error: MeshError) => void) | undefined;
  #complaint: string | undefined;

  /** @throws E_STATE the file is there and cannot be used */
  constructor(path: string, form: BookForm<Book>, { lookMs = 500, lockMs = 2_000, onDamaged }: BookFileOptions = {}) {
    this.#form = form;
    this.#book = form.empty;
    this.#onDamaged = onDamaged;
    this.#path = path;
    this.#lookMs = lookMs;
    this.#lockMs = lockMs;
    this.#look();
  }

  /**
   * What is on disk, as of half a second ago at most. While the file is damaged, what stood in it before: going on without
   * would trust what was refused, and a running node should not end for it.
   */
  get book(): Book {
    if (performance.now() - this.#lookedMs < this.#lookMs) return this.#book;
    try {
      this.#look();
      this.#complaint = undefined;
    } catch (thrown) {
      this.#lookedMs = performance.now();
      const error = toMeshError(thrown);
      if (this.#complaint !== error.message) this.#onDamaged?.(error);
      this.#complaint = error.message;
    }
    return this.#book;
  }

  /**
   * On disk when it returns. Blocks while another process writes.
   *
   * @param change is given what is on disk now, and must not wait; the same book back means that there is nothing to do
   * @throws       E_STATE the file cannot be read or written, or stays locked; whatever `change` throws
   */
  update(change: (book: Book) => Book): void {
    const release = this.#lock();
    try {
      this.#look();
      const before = this.#book;
      const after = change(before);
      if (after === before) return;
      const text = this.#form.encode(after);
      this.#form.decode(text); // what cannot be read back, such as too many entries, is not written
      writeAtomic(this.#path, text);
      this.#look();
    } finally {
      release();
    }
  }

  #look(): void {
    const mark = markOf(this.#path);
    if (mark === this.#mark) {
      this.#lookedMs = performance.now();
      return;
    }
    const text = readOwn(this.#path);
    this.#book = text === undefined ? this.#form.empty : this.#decoded(text);
    // both only now: what could not be read is looked at again, and refused again
    this.#mark = mark;
    this.#lookedMs = performance.now();
  }

  #decoded(text: string): Book {
    try {
      return this.#form.decode(text);
    } catch (cause) {
      const what = `is damaged. It says ${this.#form.says}; restore it, or move it away to start anew`;
      throw unusable(this.#path, what, cause);
    }
  }

  /** @returns what gives the lock back */
  #lock(): () => void {
    const path = `${this.#path}.lock`;
    const mine = `${process.pid} ${randomUUID()}\n`;
    const untilMs = performance.now() + this.#lockMs;
    while (!writeNew(path, mine)) {
      removeStale(path);
      if (performance.now() >= untilMs) {
        const what = `is held by another process that changes ${this.#form.of}. Try again; if it stays, remove it`;
        throw unusable(path, what);
      }
      pause(retryMs);
    }
    return () => {
      // somebody who took us for dead may hold it by now
      if (contentOf(path) === mine) rmSync(path, { force: true });
    };
  }
}

/** Changes whenever the file is replaced; undefined when there is none. */
function markOf(path: string): string | undefined {
  const status = statSync(path, { throwIfNoEntry: false, bigint: true });
  return status && `${status.ino} ${status.size} ${status.mtimeNs}`;
}

/** Removes a lock whose process has gone, or that is too old to be meant. */
function removeStale(path: string): void {
  const status = statSync(path, { throwIfNoEntry: false });
  const content = contentOf(path);
  if (!status || content === undefined) return;
  const ageMs = Date.now() - status.mtimeMs;
  const pid = Number(content.split(" ")[0]);
  // ours is one of an earlier process that had our number, as every first process of a container has;
  // between its making and the writing of its process a lock is empty for a moment
  const abandoned = content !== "" && (pid === process.pid || !isRunning(pid));
  if (!abandoned && ageMs <= staleLockMs) return;
  // the next one may have made its own since
  if (contentOf(path) === content) rmSync(path, { force: true });
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return undefined;
    throw unusable(path, `cannot be read (${systemCode(thrown)})`, thrown);
  }
}

/** Callers decide on an exchange and cannot wait in between; the lock is held for a few ms. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

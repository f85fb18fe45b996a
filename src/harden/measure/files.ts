/**
 * Hashes files: one, or all of a package that count. Synchronous, because it has a thread of its own (worker.ts). What
 * cannot be read becomes a line that says so; nothing here throws for what it finds on disk, and it never opens what could
 * keep it waiting.
 */
import { createHash } from "node:crypto";
import {
  type BigIntStats,
  closeSync,
  constants,
  type Dirent,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
} from "node:fs";
import { join } from "node:path";
import { systemCode } from "../../base/errors.ts";
import { escaped, type ManifestEntry, type Word } from "./manifest.ts";

/** What is measured at most, of one manifest. An installation has 2,000 files and 50 MB; CUDA libraries have gigabytes. */
export interface MeasureBounds {
  readonly files: number;
  readonly bytes: number;
  readonly depth: number;
  readonly packages: number;
}

export const usualBounds: MeasureBounds = { files: 100_000, bytes: 2 ** 36, depth: 64, packages: 4_000 };

/** Tells one state of a file from another without reading it. Times in nanoseconds; all as decimal digits. */
export interface FileStamp {
  readonly size: string;
  readonly mtime_ns: string;
  /** A program can set the former back; this one only with the machine's clock. */
  readonly ctime_ns: string;
  readonly inode: string;
  readonly device: string;
}

export interface FileDigest {
  /** 64 hex digits. */
  readonly sha256: string;
  /** Of the file as it was when its last byte had been read. */
  readonly stamp: FileStamp;
}

const pieceBytes = 2 ** 20;

/**
 * SHA-256 of a file.
 * @param onBytes told after each piece
 * @throws        as node:fs does, and for what is no file: EISDIR, or ESPECIAL for a pipe or a device
 */
export function hashFile(path: string, onBytes?: (bytes: number) => void): FileDigest {
  // a pipe without a writer would keep us waiting; Windows has neither these nor the flag
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    if (!fstatSync(file).isFile()) throw Object.assign(new Error("no file"), { code: "ESPECIAL" });
    const hash = createHash("sha256");
    const piece = new Uint8Array(Math.min(pieceBytes, fstatSync(file).size + 1));
    for (;;) {
      const length = readSync(file, piece);
      if (length === 0) break;
      hash.update(piece.subarray(0, length));
      onBytes?.(length);
    }
    return { sha256: hash.digest("hex"), stamp: stampOf(fstatSync(file, { bigint: true })) };
  } finally {
    closeSync(file);
  }
}

export function stampOf({ size, mtimeNs, ctimeNs, ino, dev }: BigIntStats): FileStamp {
  return { size: `${size}`, mtime_ns: `${mtimeNs}`, ctime_ns: `${ctimeNs}`, inode: `${ino}`, device: `${dev}` };
}

export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return (
    a.size === b.size &&
    a.mtime_ns === b.mtime_ns &&
    a.ctime_ns === b.ctime_ns &&
    a.inode === b.inode &&
    a.device === b.device
  );
}

/**
 * Names that Node neither loads nor looks for when it is asked for another one. Everything else counts, names without an
 * ending and endings that nobody has heard of too: `require("./x")` takes a file "x" before "x.js", and an unknown ending
 * is run as JavaScript.
 */
const inert =
  /(?:\.(?:md|markdown|txt|html?|css|map|tsbuildinfo|d\.[cm]?ts|flow|bare|c|cc|cpp|cs|h|hh|hpp|rs|s|asm|inc|def|cmake|gypi?|g?bnf|diff|patch|ya?ml|toml|lock|gif|png|jpe?g|svg|ico)|^\.(?:npmignore|gitignore|gitkeep|gitattributes|editorconfig|ds_store))$/i;

export function isInert(name: string): boolean {
  return inert.test(name);
}

/** Takes lines together, within bounds. */
export class Collection {
  readonly entries: ManifestEntry[] = [];
  readonly #bounds: MeasureBounds;
  readonly #onProgress: ((bytes: number) => void) | undefined;
  files = 0;
  bytes = 0;
  incomplete = false;

  constructor(bounds: MeasureBounds, onProgress?: (bytes: number) => void) {
    this.#bounds = bounds;
    this.#onProgress = onProgress;
  }

  get bounds(): MeasureBounds {
    return this.#bounds;
  }

  word(word: Word, key: string): void {
    this.entries.push({ digest: word, key });
  }

  giveUp(): void {
    if (!this.incomplete) this.word("incomplete", "-");
    this.incomplete = true;
  }

  /** One file, under its key. */
  file(path: string, key: string): void {
    if (this.files >= this.#bounds.files || this.bytes > this.#bounds.bytes) this.giveUp();
    if (this.incomplete) return;
    try {
      const { sha256 } = hashFile(path, (bytes) => {
        this.bytes += bytes;
        this.#onProgress?.(bytes);
        if (this.bytes > this.#bounds.bytes) throw Object.assign(new Error("too much"), { code: "ETOOMUCH" });
      });
      this.files += 1;
      this.entries.push({ digest: sha256, key });
    } catch (thrown) {
      const code = systemCode(thrown);
      if (code === "ETOOMUCH") this.giveUp();
      else this.word(code === "ESPECIAL" || code === "EISDIR" ? "special" : "unreadable", key);
    }
  }

  /**
   * All files below a folder that count.
   * @param key     what stands before their paths, without the slash
   * @param counts  by the last part of the name
   * @param without folder directly in this one that is somebody else's
   */
  folder(path: string, key: string, counts: (name: string) => boolean, without?: string): void {
    this.#folder(path, key, counts, without, 0);
  }

  #folder(
    path: string,
    key: string,
    counts: (name: string) => boolean,
    without: string | undefined,
    depth: number,
  ): void {
    if (depth > this.#bounds.depth) this.giveUp();
    if (this.incomplete) return;
    let names: Dirent[];
    try {
      names = readdirSync(path, { withFileTypes: true });
    } catch {
      return this.word("unreadable", `${key}/`);
    }
    for (const entry of names) {
      if (this.incomplete) return;
      const inside = join(path, entry.name);
      const name = `${key}/${escaped(entry.name)}`;
      if (entry.isDirectory()) {
        if (entry.name !== without) this.#folder(inside, name, counts, undefined, depth + 1);
      } else if (entry.isFile()) {
        if (counts(entry.name)) this.file(inside, name);
      } else if (entry.isSymbolicLink()) this.word("link", name);
      else this.word("special", name);
    }
  }
}

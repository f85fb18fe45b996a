/**
 * A model in the cache directory: the part that has come so far, the whole file, and beside each a note of what is known of
 * it. Nothing half-written ever has the whole file's name: it is renamed after its last byte is on the disk. Knows no
 * network; download.ts is the only caller.
 *
 *   FILE.gguf        whole              FILE.gguf.json        its size, time and SHA-256
 *   FILE.gguf.part   what came so far   FILE.gguf.part.json   of which bytes it is a part
 */
import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { MeshError, systemCode } from "../base/errors.ts";
import { isRecord, parseJsonText } from "../base/json.ts";
import type { RemoteFile } from "./model-source.ts";

/** With whose word the bytes are the right ones: the operator's, Hugging Face's, or nobody's. */
export type CheckedBy = "given" | "hugging-face" | "nobody";

export interface WholeFile {
  readonly bytes: number;
  readonly sha256: string;
  readonly checkedBy: CheckedBy;
}

/** What the part is a part of. */
export interface PartNote {
  /** Of the whole; undefined: not told. */
  readonly bytes: number | undefined;
  /** Strong validator; undefined: there is none. */
  readonly etag: string | undefined;
  /** That the whole must have; undefined: not known. */
  readonly sha256: string | undefined;
}

export interface Part extends PartNote {
  readonly length: number;
}

/** Notes have some 300 bytes. */
const noteBytes = 4_096;

export class ModelFiles {
  readonly path: string;
  readonly part: string;
  readonly #cacheDir: string;
  readonly #place: readonly string[];
  /** Tells one address from another; the address itself may hold a key. */
  readonly #address: string;

  constructor(cacheDir: string, { place, url }: Pick<RemoteFile, "place" | "url">) {
    this.#cacheDir = cacheDir;
    this.#place = place;
    this.path = modelPath(cacheDir, place);
    this.part = `${this.path}.part`;
    this.#address = createHash("sha256").update(url.href).digest("hex");
  }

  /**
   * Makes the folders on the way.
   * @throws E_STATE one of them leads elsewhere, or cannot be made · E_DISK
   */
  async prepare(): Promise<void> {
    const folder = dirname(this.path);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const wanted = join(await realpath(this.#cacheDir), "models", ...this.#place.slice(0, -1));
      // where names have no case, what is there may be written in another one
      if (plain(await realpath(folder)) === plain(wanted)) return;
    } catch (cause) {
      throw fileError(cause, folder);
    }
    throw new MeshError(
      "E_STATE",
      `${folder} is a link, or lies behind one: models are only kept below ${this.#cacheDir}`,
    );
  }

  /** The whole file, if it is there and untouched. Undefined as well when its note is of another address. */
  async whole(): Promise<WholeFile | undefined> {
    const [status, note] = await Promise.all([plainFile(this.path), readNote(`${this.path}.json`)]);
    const { bytes, sha256, checked_by: checkedBy, mtime_ms: mtimeMs } = note ?? {};
    if (!status || note?.["address"] !== this.#address) return undefined;
    if (!isSize(bytes) || !isDigest(sha256) || bytes !== status.size || mtimeMs !== status.mtimeMs) return undefined;
    return { bytes, sha256, checkedBy: checkedBy === "given" || checkedBy === "hugging-face" ? checkedBy : "nobody" };
  }

  /** What came before, if it can be gone on with. */
  async begun(): Promise<Part | undefined> {
    const [status, note] = await Promise.all([plainFile(this.part), readNote(`${this.part}.json`)]);
    if (!status || !note || note["address"] !== this.#address || status.size === 0) return undefined;
    const { bytes, etag, sha256 } = note;
    const part: Part = {
      length: status.size,
      bytes: isSize(bytes) ? bytes : undefined,
      etag: typeof etag === "string" ? etag : undefined,
      sha256: isDigest(sha256) ? sha256 : undefined,
    };
    // nothing would tell whether the rest belongs to it
    if (part.etag === undefined && part.sha256 === undefined) return undefined;
    return part.bytes !== undefined && part.length > part.bytes ? undefined : part;
  }

  /**
   * The part, to be written from `offset` on; what lay behind is cut off.
   * @throws E_STATE, E_DISK
   */
  async openPart(offset: number, note: PartNote): Promise<FileHandle> {
    const { O_RDWR, O_CREAT } = constants;
    const withoutLinks = constants.O_NOFOLLOW ?? 0; // Windows has no such flag
    try {
      await writeNote(`${this.part}.json`, { address: this.#address, ...note });
      const file = await open(this.part, O_RDWR | O_CREAT | withoutLinks, 0o600);
      await file.truncate(offset);
      return file;
    } catch (cause) {
      throw fileError(cause, this.part);
    }
  }

  /** Makes the part the whole file. @throws E_STATE, E_DISK */
  async finish(whole: WholeFile): Promise<void> {
    try {
      const file = await open(this.part, "r+");
      try {
        await file.sync();
        const { mtimeMs } = await file.stat();
        const { bytes, sha256, checkedBy } = whole;
        const note = { address: this.#address, bytes, sha256, checked_by: checkedBy, mtime_ms: mtimeMs };
        await writeNote(`${this.path}.json`, note);
      } finally {
        await file.close();
      }
      await rename(this.part, this.path);
      await syncFolder(dirname(this.path));
      await rm(`${this.part}.json`, { force: true });
    } catch (cause) {
      throw fileError(cause, this.path);
    }
  }

  /** Deletes what came so far. */
  async discard(): Promise<void> {
    for (const path of [this.part, `${this.part}.json`]) await rm(path, { force: true });
  }

  /** Bytes that this user may still write there; undefined where the system does not say. */
  async freeBytes(): Promise<number | undefined> {
    try {
      const { bavail, bsize } = await statfs(dirname(this.path));
      return bavail * bsize;
    } catch {
      return undefined;
    }
  }
}

/** Where the file is once it is whole. */
export function modelPath(cacheDir: string, place: readonly string[]): string {
  return join(cacheDir, "models", ...place);
}

/** @returns E_DISK when there is no more room, else E_STATE */
export function fileError(cause: unknown, path: string): MeshError {
  if (cause instanceof MeshError) return cause;
  const code = systemCode(cause);
  if (isFull(code)) return new MeshError("E_DISK", `there is no room for ${path} (${code})`, { cause });
  return new MeshError("E_STATE", `${path} cannot be written (${code}).`, { cause });
}

/** Of the disk, or of what this user may have of it. */
function isFull(code: string): boolean {
  return code === "ENOSPC" || code === "EDQUOT";
}

function plain(path: string): string {
  return process.platform === "linux" ? path : path.toLowerCase();
}

async function plainFile(path: string): Promise<Stats | undefined> {
  const status = await lstat(path).catch(() => undefined);
  return status?.isFile() ? status : undefined;
}

/** Undefined for what is no note: then nothing is known. */
async function readNote(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    if ((await stat(path)).size > noteBytes) return undefined;
    const json = parseJsonText(await readFile(path, "utf8"));
    return isRecord(json) ? json : undefined;
  } catch {
    return undefined;
  }
}

async function writeNote(path: string, note: object): Promise<void> {
  const temporary = `${path}.${process.pid}.new`;
  try {
    await writeFile(temporary, JSON.stringify(note), { mode: 0o600, flush: true });
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** So that the new name outlives a power cut; not everywhere can a folder be opened. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => undefined);
  await folder?.close();
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function isDigest(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

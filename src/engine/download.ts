/**
 * Downloads a model into the cache directory, or finds it there without asking anybody: resumes what was broken off, tries
 * again a bounded number of times, and gives a path only to bytes that were held to all that is known of them. Called by
 * node/models.ts; the engine that runs the file knows nothing of this.
 *
 * @see model-source.ts for what is downloaded, download-files.ts for what lies on disk
 */
import type { FileHandle } from "node:fs/promises";
import { abortError, sleep } from "../base/deadline.ts";
import { isMeshError, MeshError, toMeshError } from "../base/errors.ts";
import { fileDigest } from "../harden/measure.ts";
import { type CheckedBy, fileError, ModelFiles, type Part } from "./download-files.ts";
import { takeLock } from "./download-lock.ts";
import { type ModelAnswer, requestModel } from "./download-request.ts";
import { readGgufHead } from "./gguf.ts";
import { type HttpClient, httpClient, isLastingFailure, unreachableBecause } from "./http.ts";
import { type ModelSource, type RemoteFile, shown } from "./model-source.ts";

export interface DownloadProgress {
  /** "waiting": for another try, or for another process that downloads the same; `why` says which. */
  readonly doing: "downloading" | "checking" | "waiting";
  /** Name of the file. */
  readonly file: string;
  readonly bytes: number;
  /** Undefined: not told. */
  readonly total: number | undefined;
  readonly why?: string;
}

export interface DownloadOptions {
  readonly cacheDir: string;
  /** For Hugging Face, sent nowhere else. */
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told several times a second. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Without a byte for so long, a connection counts as broken. @default 30000 */
  readonly stallMs?: number;
  /** Waits before the second, third, ... try; what has brought a megabyte more is no failed try. @default 1, 2, 4, 8 s */
  readonly retryMs?: readonly number[];
}

export interface DownloadedFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly checkedBy: CheckedBy;
  /** false: it was there, and nobody was asked. */
  readonly fetched: boolean;
}

/** "GGUF": whatever begins otherwise is no model, a page that asks to log in for one. */
const magic = [0x47, 0x47, 0x55, 0x46];
/** Waits for a place that has never answered: without a network, nobody wants to watch for long. */
const triesUnheard = 2;
const tellMs = 200;
const caHint = "a node takes no certificates from its environment, but `sealmesh pull` heeds NODE_EXTRA_CA_CERTS";
const progressBytes = 1_000_000;

/**
 * @returns one file, or all parts of a split model; the first is to be loaded
 * @throws  E_INPUT not there, not for us, no model, or another checksum · E_DISK · E_STATE · E_UNREACHABLE after all tries ·
 *          E_ABORTED, or what the signal says. What came so far is kept, but for what turned out to be wrong
 */
export async function downloadModel(
  source: ModelSource,
  options: DownloadOptions,
): Promise<readonly [DownloadedFile, ...DownloadedFile[]]> {
  const [first, ...others] = source.files;
  const found: [DownloadedFile, ...DownloadedFile[]] = [await downloadFile(source, first, options)];
  for (const file of others) found.push(await downloadFile(source, file, options));
  return found;
}

async function downloadFile(source: ModelSource, file: RemoteFile, options: DownloadOptions): Promise<DownloadedFile> {
  const files = new ModelFiles(options.cacheDir, file);
  const before = await kept(files, file);
  if (before) return before;
  await files.prepare();
  const name = file.place.at(-1) ?? "";
  const lock = await takeLock(`${files.path}.lock`, options.signal, () => {
    const why = "another process downloads it";
    options.onProgress?.({ doing: "waiting", file: name, bytes: 0, total: undefined, why });
  });
  const client = httpClient();
  try {
    return (await kept(files, file)) ?? (await new Download(source, file, files, client, options).run());
  } finally {
    await client.close();
    await lock.release();
  }
}

async function kept(files: ModelFiles, { sha256 }: RemoteFile): Promise<DownloadedFile | undefined> {
  const whole = await files.whole();
  if (!whole || (sha256 !== undefined && sha256 !== whole.sha256)) return undefined;
  return { path: files.path, ...whole, fetched: false };
}

type Bytes = Extract<ModelAnswer, { kind: "bytes" }>;

/** What one try came to. */
type Outcome =
  | { readonly kind: "complete"; readonly sha256: string | undefined }
  | { readonly kind: "afresh" }
  | { readonly kind: "later"; readonly why: string; readonly afterMs: number | undefined };

class Download {
  readonly #source: ModelSource;
  readonly #file: RemoteFile;
  readonly #files: ModelFiles;
  readonly #client: HttpClient;
  readonly #options: Required<Pick<DownloadOptions, "stallMs" | "retryMs">> & DownloadOptions;
  readonly #name: string;
  /** Farthest byte so far: whoever begins anew each time gets nowhere. */
  #farthest = 0;
  #total: number | undefined;
  /** Whether anybody has answered. */
  #heard = false;
  #toldMs = 0;

  constructor(source: ModelSource, file: RemoteFile, files: ModelFiles, client: HttpClient, options: DownloadOptions) {
    this.#source = source;
    this.#file = file;
    this.#files = files;
    this.#client = client;
    this.#options = { stallMs: 30_000, retryMs: [1_000, 2_000, 4_000, 8_000], ...options };
    this.#name = file.place.at(-1) ?? "";
  }

  async run(): Promise<DownloadedFile> {
    const { retryMs, signal } = this.#options;
    let failures = 0;
    let afresh = 0;
    for (;;) {
      if (signal?.aborted) throw abortError(signal);
      const before = this.#farthest;
      const outcome = await this.#try();
      if (outcome.kind === "complete") return await this.#check(outcome.sha256);
      if (outcome.kind === "afresh") {
        await this.#files.discard();
        // the first try without a part cannot have a stale one
        if (++afresh > 3) throw this.#unreachable("answers differently each time");
        continue;
      }
      if (this.#farthest >= before + progressBytes) failures = 0;
      const waitMs = (this.#heard ? retryMs : retryMs.slice(0, triesUnheard))[failures++];
      if (waitMs === undefined) throw this.#unreachable(outcome.why);
      this.#tell("waiting", `${outcome.why}; trying again`);
      await sleep(outcome.afterMs ?? waitMs, signal);
    }
  }

  /** One request, and all of its body that comes. */
  async #try(): Promise<Outcome> {
    const begun = await this.#begun();
    const stop = new AbortController();
    const { signal, stallMs } = this.#options;
    const onAbort = (): void => stop.abort(abortError(signal));
    signal?.addEventListener("abort", onAbort, { once: true });
    const silence = `nothing came for ${stallMs / 1000} s`;
    const timer = setTimeout(() => stop.abort(new MeshError("E_TIMEOUT", silence)), stallMs);
    try {
      const asked = { source: this.#source, file: this.#file, token: this.#options.token, begun, signal: stop.signal };
      const answer = await requestModel(this.#client, asked);
      this.#heard = true;
      if (answer.kind === "stale") return { kind: "afresh" };
      if (answer.kind !== "bytes") return answer;
      try {
        return await this.#receive(answer, () => timer.refresh());
      } finally {
        answer.discard();
      }
    } catch (thrown) {
      if (signal?.aborted) throw abortError(signal);
      if (!isMeshError(thrown)) throw toMeshError(thrown);
      if (thrown.code === "E_TIMEOUT") return { kind: "later", why: thrown.message, afterMs: undefined };
      if (thrown.code !== "E_ENGINE") throw thrown;
      const why = unreachableBecause(thrown) ?? "the connection broke";
      if (isLastingFailure(thrown)) throw this.#unreachable(`${why}; ${caHint}`);
      return { kind: "later", why, afterMs: undefined };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async #begun(): Promise<Part | undefined> {
    const begun = await this.#files.begun();
    // the operator has another checksum in mind than the last time
    const given = this.#file.sha256;
    return begun?.sha256 !== undefined && given !== undefined && begun.sha256 !== given ? undefined : begun;
  }

  async #receive(answer: Bytes, alive: () => void): Promise<Outcome> {
    const sha256 = this.#expected(answer.sha256);
    if (!answer.endIsTold && sha256 === undefined) {
      const what = `${shown(this.#file.url.href)} does not say how long it is, and nobody vouches for it: cut short, it would pass for whole.`;
      throw new MeshError("E_INPUT", `${what} Give its checksum: #sha256=HEX`);
    }
    this.#total = answer.bytes;
    await this.#refuseFull(answer);
    const part = await this.#files.openPart(answer.offset, { bytes: answer.bytes, etag: answer.etag, sha256 });
    let { offset } = answer;
    try {
      for await (const bytes of answer.body) {
        alive();
        if (answer.bytes !== undefined && offset + bytes.length > answer.bytes) return { kind: "afresh" };
        if (isOther(bytes, offset)) throw await this.#notAModel();
        await this.#write(part, bytes, offset);
        offset += bytes.length;
        this.#farthest = Math.max(this.#farthest, offset);
        this.#tellNowAndThen(offset);
      }
    } finally {
      await part.close();
    }
    if (answer.bytes !== undefined && offset < answer.bytes) {
      return { kind: "later", why: "the answer ended early", afterMs: undefined };
    }
    if (offset < magic.length) throw await this.#notAModel();
    return { kind: "complete", sha256 };
  }

  async #write(part: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await part.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    } catch (thrown) {
      const error = fileError(thrown, this.#files.part);
      throw error.code === "E_DISK" ? await this.#full(offset, thrown) : error;
    }
  }

  /** @throws E_DISK */
  async #refuseFull({ bytes, offset }: Bytes): Promise<void> {
    const free = await this.#files.freeBytes();
    // what lies behind `offset` is cut off first
    const old = (await this.#files.begun())?.length ?? 0;
    if (bytes === undefined || free === undefined || bytes - offset <= free + old - offset) return;
    throw await this.#full(offset);
  }

  async #full(offset: number, cause?: unknown): Promise<MeshError> {
    const free = await this.#files.freeBytes();
    const needed = this.#total === undefined ? "its size is not told" : `${sizeText(this.#total - offset)} are needed`;
    const there = free === undefined ? "" : ` and ${sizeText(free)} are free`;
    const kept = offset > 0 ? ` What came so far (${sizeText(offset)}) is kept in ${this.#files.part}` : "";
    const what = `no room for ${this.#name} below ${this.#options.cacheDir}: ${needed}${there}; --cache-dir names another place.`;
    return new MeshError("E_DISK", `${what}${kept}`, { cause });
  }

  /** @throws E_INPUT the operator and Hugging Face do not say the same */
  #expected(told: string | undefined): string | undefined {
    const given = this.#file.sha256;
    if (given === undefined || told === undefined || given === told) return given ?? told;
    throw new MeshError("E_INPUT", `${shown(this.#file.url.href)} has the SHA-256 ${told} there, not ${given}`);
  }

  /** @throws E_INPUT what came is not what it should be, and is deleted */
  async #check(expected: string | undefined): Promise<DownloadedFile> {
    const { part, path } = this.#files;
    const { signal } = this.#options;
    let read = 0;
    const { sha256, stamp } = await fileDigest(part, {
      onProgress: (bytes) => {
        read = Math.max(bytes, read);
        this.#tell("checking", undefined, read);
      },
      ...(signal ? { signal } : {}),
    });
    const given = this.#file.sha256;
    const wanted = given ?? expected;
    if (wanted !== undefined && wanted !== sha256) {
      await this.#files.discard();
      const what = `has the SHA-256 ${sha256}, not ${wanted}`;
      throw new MeshError("E_INPUT", `what came from ${shown(this.#file.url.href)} ${what}: it was deleted`);
    }
    if (wanted === undefined && this.#source.files.length === 1) await this.#refuseBroken(part);
    const checkedBy: CheckedBy = given !== undefined ? "given" : expected !== undefined ? "hugging-face" : "nobody";
    const bytes = Number(stamp.size);
    await this.#files.finish({ bytes, sha256, checkedBy });
    return { path, bytes, sha256, checkedBy, fetched: true };
  }

  async #notAModel(): Promise<MeshError> {
    await this.#files.discard();
    const what = "is no GGUF file, but something else: a page that asks for something, perhaps";
    return new MeshError("E_INPUT", `${shown(this.#file.url.href)} ${what}`);
  }

  /** All that can be said of bytes that nobody vouches for. */
  async #refuseBroken(part: string): Promise<void> {
    try {
      await readGgufHead(part);
    } catch (cause) {
      await this.#files.discard();
      const why = toMeshError(cause).message;
      throw new MeshError("E_INPUT", `what came from ${shown(this.#file.url.href)} was deleted: ${why}`, { cause });
    }
  }

  #unreachable(why: string): MeshError {
    const kept = this.#farthest > 0 ? `; what came so far (${sizeText(this.#farthest)}) is kept for the next time` : "";
    return new MeshError(
      "E_UNREACHABLE",
      `${this.#name} could not be downloaded from ${this.#file.url.origin}: ${why}${kept}`,
    );
  }

  #tellNowAndThen(bytes: number): void {
    if (performance.now() - this.#toldMs >= tellMs) this.#tell("downloading", undefined, bytes);
  }

  #tell(doing: DownloadProgress["doing"], why?: string, bytes: number = this.#farthest): void {
    this.#toldMs = performance.now();
    const told = { doing, file: this.#name, bytes, total: this.#total };
    this.#options.onProgress?.(why === undefined ? told : { ...told, why });
  }
}

/** Whether the first bytes are not those of a model. */
function isOther(bytes: Uint8Array, offset: number): boolean {
  return magic.some((byte, at) => at >= offset && at - offset < bytes.length && bytes[at - offset] !== byte);
}

function sizeText(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

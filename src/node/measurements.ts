/**
 * What this node knows of the files it runs: digests of the installation, made once at its start beside everything else,
 * and of the models that the embedded engine loads. Looks again every few minutes and says what has changed on disk; what
 * it tells others stays what it measured at its start, because that is what it runs.
 *
 * A model has gigabytes: its digest is kept in the state directory, with the size, times and inode that the file had, and
 * taken from there while these are the same. The installation is always read.
 */
import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { MeshError, toMeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import type { Log } from "../base/log.ts";
import { isBuilt } from "../base/package.ts";
import {
  type BuildMeasurement,
  changedSince,
  type FileDigest,
  fileDigest,
  type FileStamp,
  measureBuild,
  type MeasureOptions,
  sameStamp,
  stampOf,
} from "../harden/measure.ts";

export interface MeasurementsOptions {
  /** GGUF files that the embedded engine loads; empty: it is not measured either. */
  readonly models: readonly string[];
  /** Where the embedded engine is, if not beside our package. @default nowhere else */
  readonly engineFolder?: string;
  /** Text of measured.json; what it holds is checked here. */
  readonly cache: { read(): string | undefined; write(text: string): void };
  readonly log: Log;
  /** From one look at the disk to the next, ms. */
  readonly lookMs: number;
  /** Called when there is something new in `measured` or `status()`. */
  readonly onChange?: () => void;
  /** A file that was written this shortly ago may be written again without its times telling, ms. @default 2000 */
  readonly settledMs?: number;
  /** Folder of the package. @default our own, if this runs from a build and not from the sources */
  readonly root?: string;
}

/** Of /api/status: digests are 64 hex digits, null where there is none. */
export interface MeasurementStatus {
  readonly state: "measuring" | "measured" | "not-measured";
  /** Why it is not measured. */
  readonly why: string | null;
  readonly build: string | null;
  readonly runtime: string | null;
  /** Of the embedded engine's packages; null also where there is no embedded engine. */
  readonly engine: string | null;
  readonly platform: string;
  /** Of `build`. */
  readonly files: number | null;
  readonly bytes: number | null;
  /** How long it took. */
  readonly ms: number | null;
  /** What could not be measured: the digests are then those of no healthy installation. */
  readonly problems: readonly string[];
  readonly models: readonly ModelDigestStatus[];
  /** Files that differ on disk now from what was measured at the start. */
  readonly changed_files: number;
  /** The first 16 of them. */
  readonly changed: readonly string[];
  /** When that was looked at last, ISO 8601 in UTC; null: not yet. */
  readonly looked_at: string | null;
}

export interface ModelDigestStatus {
  readonly file: string;
  /** Null: not known, or not yet. */
  readonly sha256: string | null;
  readonly bytes: number | null;
  /** Why it is not known. */
  readonly why: string | null;
}

/** Names that are kept of files that differ; an update replaces hundreds. */
const namesKept = 16;
/** Characters of each: names of files can be long. */
const nameShown = 200;
/** Models that the cache remembers: 300 bytes each. The oldest go first. */
const cacheLimit = 64;
/** The coarsest times that file systems keep are of two seconds. */
const usualSettledMs = 2_000;

interface Model {
  readonly path: string;
  /** As the file was when the node started. */
  readonly loaded: FileStamp | undefined;
  readonly digest?: FileDigest;
  /** Why there is none. */
  readonly why?: string;
  readonly changed: boolean;
}

export class Measurements {
  readonly #options: MeasurementsOptions;
  readonly #closing = new AbortController();
  #measured: BuildMeasurement | undefined;
  #why: string | null = null;
  #models: readonly Model[];
  #changed: readonly string[] = [];
  #lookedAt: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  /** The first measurement; undefined when there is none, which status() explains. Never rejects. */
  readonly first: Promise<BuildMeasurement | undefined>;

  /** Begins at once: files change, and what was measured late is not what was loaded. */
  constructor(options: MeasurementsOptions) {
    this.#options = options;
    this.#models = options.models.map((model) => modelNow(resolve(model)));
    this.first = this.#first();
  }

  /** What runs, as it was on disk when this node started; undefined until that is known. */
  get measured(): BuildMeasurement | undefined {
    return this.#measured;
  }

  /** Looks at those that were not there when this node started: they have been downloaded, and are not loaded yet. */
  modelsAreThere(): void {
    this.#models = this.#models.map((model) => (model.loaded ? model : modelNow(model.path)));
  }

  /** Hashes the models, and looks again from now on. For when the node is ready: a model keeps a disk busy. */
  begin(): void {
    if (this.#closing.signal.aborted || this.#timer) return;
    this.#looking = this.first.then(() => this.#hashModels()).catch(() => undefined);
    this.#timer = setInterval(() => {
      // one at a time, however slow the disk
      this.#looking = this.#looking?.then(() => this.#look()).catch(() => undefined);
    }, this.#options.lookMs);
    this.#timer.unref();
  }

  status(): MeasurementStatus {
    const measured = this.#measured;
    return {
      state: measured ? "measured" : this.#why === null ? "measuring" : "not-measured",
      why: this.#why,
      build: measured?.build ?? null,
      runtime: measured?.runtime ?? null,
      engine: measured?.engine ?? null,
      platform: measured?.platform ?? `${process.platform}-${process.arch}`,
      files: measured?.files ?? null,
      bytes: measured?.bytes ?? null,
      ms: measured?.ms ?? null,
      problems: measured?.problems ?? [],
      models: this.#models.map(modelStatus),
      changed_files: this.#changed.length,
      changed: this.#changed.slice(0, namesKept).map(shown),
      looked_at: this.#lookedAt,
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort(new MeshError("E_CLOSED", "this node is stopping"));
    await this.first;
    await this.#looking;
  }

  async #first(): Promise<BuildMeasurement | undefined> {
    if (this.#options.root === undefined && !isBuilt) {
      this.#why = "this node runs from its sources, not from a build";
      return undefined;
    }
    try {
      const measured = await measureBuild(this.#how());
      this.#measured = measured;
      const { build, runtime, files, ms, problems } = measured;
      const level = problems.length > 0 ? "warn" : "info";
      const what = problems[0] ?? "";
      this.#options.log.write(level, { event: "build-measured", build, runtime, files, ms, what });
      this.#options.onChange?.();
    } catch (thrown) {
      this.#why = toMeshError(thrown).message;
    }
    return this.#measured;
  }

  #how(): MeasureOptions {
    const { root, models, engineFolder } = this.#options;
    const places = { ...(root === undefined ? {} : { root }), ...(engineFolder === undefined ? {} : { engineFolder }) };
    return { ...places, engine: models.length > 0, signal: this.#closing.signal };
  }

  async #hashModels(): Promise<void> {
    for (const model of this.#models) {
      if (this.#closing.signal.aborted) return;
      const looked = await this.#digestOf(model);
      this.#models = this.#models.map((each) => (each === model ? looked : each));
    }
    this.#report();
  }

  /** The digest of what was loaded, which the file may no longer be. */
  async #digestOf(model: Model): Promise<Model> {
    const { path, loaded } = model;
    if (!loaded) return { ...model, why: "it could not be read when this node started" };
    const cached = readCache(this.#options.cache).get(path);
    if (cached && sameStamp(cached.stamp, loaded)) return { ...model, digest: cached };
    try {
      const digest = await fileDigest(path, { signal: this.#closing.signal });
      if (!sameStamp(digest.stamp, loaded)) {
        return { ...model, changed: true, why: "it was changed after it was loaded, before its digest was known" };
      }
      this.#keep(path, digest);
      return { ...model, digest };
    } catch (thrown) {
      return { ...model, why: toMeshError(thrown).message };
    }
  }

  async #look(): Promise<void> {
    const measured = this.#measured;
    const files = measured ? await changedSince(measured, this.#how()) : [];
    this.#models = this.#models.map((model) => {
      const now = stampNow(model.path);
      return { ...model, changed: !model.loaded || !now || !sameStamp(now, model.loaded) };
    });
    this.#lookedAt = new Date().toISOString();
    this.#report(files);
  }

  /** Says once what is new: nobody reads the same line every five minutes. */
  #report(files: readonly string[] = this.#changed.filter((name) => !name.startsWith(modelPrefix))): void {
    const models = this.#models.filter(({ changed }) => changed).map(({ path }) => `${modelPrefix}${basename(path)}`);
    const before = this.#changed;
    this.#changed = [...files, ...models];
    if (this.#changed.join("\n") !== before.join("\n") && this.#changed.length > 0) {
      const what = this.#changed.slice(0, 3).map(shown).join(", ");
      this.#options.log.write("warn", { event: "build-changed", files: this.#changed.length, what });
    }
    this.#options.onChange?.();
  }

  #keep(path: string, digest: FileDigest): void {
    const { settledMs = usualSettledMs } = this.#options;
    const ageMs = (ns: string): number => Date.now() - Number(BigInt(ns) / 1_000_000n);
    if (ageMs(digest.stamp.mtime_ns) < settledMs || ageMs(digest.stamp.ctime_ns) < settledMs) return;
    const known = readCache(this.#options.cache);
    known.delete(path);
    known.set(path, digest);
    const newest = [...known].slice(-cacheLimit);
    try {
      this.#options.cache.write(JSON.stringify(Object.fromEntries(newest)));
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      this.#options.log.write("error", { event: "state-not-kept", code, what: message });
    }
  }
}

/** Before the name of a model among names of files of packages. */
const modelPrefix = "model ";

function shown(name: string): string {
  return name.slice(0, nameShown);
}

function modelNow(path: string): Model {
  return { path, loaded: stampNow(path), changed: false };
}

function modelStatus({ path, digest, why, loaded }: Model): ModelDigestStatus {
  const sha256 = digest?.sha256 ?? null;
  return { file: basename(path), sha256, bytes: loaded ? Number(loaded.size) : null, why: why ?? null };
}

function stampNow(path: string): FileStamp | undefined {
  try {
    return stampOf(statSync(path, { bigint: true }));
  } catch {
    return undefined;
  }
}

/** Whatever is not as it should be is hashed again. */
function readCache(cache: MeasurementsOptions["cache"]): Map<string, FileDigest> {
  const known = new Map<string, FileDigest>();
  try {
    const json: unknown = JSON.parse(cache.read() ?? "{}");
    for (const [path, entry] of Object.entries(isRecord(json) ? json : {}).slice(-cacheLimit)) {
      const digest = readDigest(entry);
      if (digest) known.set(path, digest);
    }
  } catch {
    // damaged, or open to others: written anew with the next digest
  }
  return known;
}

function readDigest(entry: unknown): FileDigest | undefined {
  if (!isRecord(entry) || !isRecord(entry["stamp"])) return undefined;
  const { sha256 } = entry;
  const digits = (name: string): string | undefined => {
    const value = isRecord(entry["stamp"]) ? entry["stamp"][name] : undefined;
    return typeof value === "string" && /^[0-9]{1,20}$/.test(value) ? value : undefined;
  };
  const [size, mtime_ns, ctime_ns] = [digits("size"), digits("mtime_ns"), digits("ctime_ns")];
  const [inode, device] = [digits("inode"), digits("device")];
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
  if (!size || !mtime_ns || !ctime_ns || !inode || !device) return undefined;
  return { sha256, stamp: { size, mtime_ns, ctime_ns, inode, device } };
}

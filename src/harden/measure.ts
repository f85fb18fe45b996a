/**
 * What runs here, as digests: `build` of the package and of all that it depends on, `runtime` of Node, `engine` of the
 * embedded engine's packages. Measured by the process itself, from the files as they are on disk at that moment: somebody
 * who has changed the process can have it say whatever he likes. What counts and how it is written down is in
 * measure/ and in docs/measurement.md. Called by node/measurements.ts and `sealmesh measure`.
 */
import { Worker } from "node:worker_threads";
import { abortError } from "../base/deadline.ts";
import { MeshError, systemCode } from "../base/errors.ts";
import { isBuilt, packageFile, programFile } from "../base/package.ts";
import { collect } from "./measure/collect.ts";
import { type FileDigest, hashFile } from "./measure/files.ts";
import { differingKeys, type ManifestEntry } from "./measure/manifest.ts";
import type { FromWorker, Task } from "./measure/worker.ts";

export { type FileDigest, type FileStamp, sameStamp, stampOf } from "./measure/files.ts";
export { type ManifestEntry, type ManifestKind, manifestText } from "./measure/manifest.ts";

export interface BuildMeasurement {
  /** 64 hex digits, as are the other two. */
  readonly build: string;
  readonly runtime: string;
  /** Undefined: not installed, or not asked for. */
  readonly engine: string | undefined;
  /** Of the package, from its package.json. */
  readonly version: string;
  /** "linux-x64": what Node calls the system and the processor. */
  readonly platform: string;
  /** "v20.20.2" */
  readonly node: string;
  /** Of `build`: files, their bytes, and packages, our own among them. */
  readonly files: number;
  readonly bytes: number;
  readonly packages: number;
  /** Of `build`, sorted. */
  readonly manifest: readonly ManifestEntry[];
  readonly runtimeManifest: readonly ManifestEntry[];
  readonly engineManifest: readonly ManifestEntry[];
  /** Sentences, at most 17: what could not be measured. The digests are then those of no healthy installation. */
  readonly problems: readonly string[];
  /** How long it took. */
  readonly ms: number;
}

export interface MeasureOptions {
  /** Folder of the package. @default our own */
  readonly root?: string;
  /** Whether the embedded engine is measured too. @default true */
  readonly engine?: boolean;
  /** Where the embedded engine is measured if it is not found from `root`. @default nowhere else */
  readonly engineFolder?: string;
  /** Told a few times a second, with the bytes so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Measures an installation, on a thread of its own.
 * @throws E_CLOSED and whatever the signal says · E_BUG the thread ended; files that cannot be read are no error, see `problems`
 */
export async function measureBuild(options: MeasureOptions = {}): Promise<BuildMeasurement> {
  const { root = packageFile(""), engine = true, engineFolder } = options;
  const result = await onThread({ kind: "build", root, engine, engineFolder }, options);
  if (result.type === "measured") return result.measurement;
  throw new MeshError("E_BUG", `the installation could not be measured (${codeOf(result)})`);
}

/**
 * What differs on disk from what was measured: keys of files that were changed, added or taken away, and of versions.
 * Everything is read again, because whoever changes a file can have it look untouched.
 * @param before with the same options
 * @throws       as measureBuild()
 */
export async function changedSince(before: BuildMeasurement, options: MeasureOptions = {}): Promise<readonly string[]> {
  const now = await measureBuild({ ...options, engine: before.engine !== undefined });
  return [
    ...differingKeys(before.manifest, now.manifest),
    ...differingKeys(before.runtimeManifest, now.runtimeManifest),
    ...differingKeys(before.engineManifest, now.engineManifest),
  ];
}

/**
 * SHA-256 of one file of any size, on a thread of its own.
 * @throws E_INPUT it cannot be read, or is no file · as measureBuild()
 */
export async function fileDigest(
  path: string,
  options: Pick<MeasureOptions, "onProgress" | "signal"> = {},
): Promise<FileDigest> {
  const result = await onThread({ kind: "file", path }, options);
  if (result.type === "hashed") return result.digest;
  throw new MeshError("E_INPUT", `${path} cannot be read (${codeOf(result)})`);
}

function codeOf(result: FromWorker): string {
  return result.type === "failed" ? result.code : "unknown";
}

type Outcome = Exclude<FromWorker, { type: "progress" }>;

function onThread(task: Task, { onProgress, signal }: Pick<MeasureOptions, "onProgress" | "signal">): Promise<Outcome> {
  if (signal?.aborted) return Promise.reject(abortError(signal));
  // Node 20 starts no thread from TypeScript; only tests run the sources
  if (!isBuilt) return new Promise((resolve) => resolve(here(task, onProgress)));
  return new Promise((resolve, reject) => {
    // it needs nothing of our environment or flags, and some flags are not allowed for threads
    const worker = new Worker(programFile("harden/measure/worker"), {
      workerData: task,
      env: {},
      execArgv: [],
    });
    const stop = (): void => {
      void worker.terminate();
      reject(signal ? abortError(signal) : new MeshError("E_CLOSED", "stopped"));
    };
    signal?.addEventListener("abort", stop, { once: true });
    worker.on("message", (message: FromWorker) => {
      if (message.type === "progress") onProgress?.(message.bytes);
      else resolve(message);
    });
    worker.once("error", (cause) => reject(new MeshError("E_BUG", "the thread that measures failed", { cause })));
    worker.once("exit", () => {
      signal?.removeEventListener("abort", stop);
      reject(new MeshError("E_BUG", "the thread that measures ended early")); // of no effect after its message
    });
  });
}

function here(task: Task, onProgress: MeasureOptions["onProgress"]): Outcome {
  if (task.kind === "build") return { type: "measured", measurement: collect({ ...task, onProgress }) };
  try {
    return { type: "hashed", digest: hashFile(task.path, onProgress) };
  } catch (thrown) {
    return { type: "failed", code: systemCode(thrown) };
  }
}

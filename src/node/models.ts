/**
 * Models that come from elsewhere: downloaded before the engines start, told in the log as they come. What is fetched, and
 * when it counts as whole, is engine/download.ts's. Called by node.ts and `sealmesh pull`.
 */
import type { Log } from "../base/log.ts";
import type { DownloadedFile, DownloadProgress } from "../engine/download.ts";
import { modelPath } from "../engine/download-files.ts";
import type { ModelSource } from "../engine/model-source.ts";
import { makeDirectory } from "./own-files.ts";

export interface ModelDownload {
  readonly source: ModelSource;
  /** Absolute. */
  readonly cacheDir: string;
  /** The operator's key for Hugging Face. */
  readonly token: string | undefined;
}

export interface FetchOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** From one line of progress to the next, ms. */
const tellMs = 1_000;

/** The file that is loaded once all is there. */
export function downloadPath({ source, cacheDir }: ModelDownload): string {
  return modelPath(cacheDir, source.files[0].place);
}

/** @throws as downloadModel() · E_STATE others can write into the cache directory */
export async function fetchModel(
  { source, cacheDir, token }: ModelDownload,
  options: FetchOptions = {},
): Promise<readonly [DownloadedFile, ...DownloadedFile[]]> {
  const { downloadModel } = await import("../engine/download.ts");
  makeDirectory(cacheDir);
  return await downloadModel(source, { cacheDir, token, ...options });
}

/** One after the other, so that each has the whole line. @throws as fetchModel() */
export async function fetchModels(
  downloads: readonly ModelDownload[],
  log: Log,
  options: Pick<FetchOptions, "signal"> = {},
): Promise<void> {
  for (const download of downloads) {
    const files = await fetchModel(download, { ...options, onProgress: progressLog(log) });
    for (const [at, { bytes, sha256, checkedBy, fetched }] of files.entries()) {
      if (!fetched) continue;
      const model = download.source.files[at]?.place.at(-1) ?? "";
      log.write("info", { event: "model-downloaded", model, bytes, sha256, checked_by: checkedBy });
    }
  }
}

/** A line now and then, and whenever something else is being done. */
function progressLog(log: Log): (progress: DownloadProgress) => void {
  let toldMs = Number.NEGATIVE_INFINITY;
  let told = "";
  return ({ doing, file, bytes, total, why = "" }) => {
    const now = `${doing} ${file} ${why}`;
    if (now === told && performance.now() - toldMs < tellMs) return;
    toldMs = performance.now();
    told = now;
    log.write("info", { event: "model-downloading", model: file, doing, bytes, total: total ?? null, what: why });
  };
}

/** The thread that measures: it reads and hashes for some tenths of a second in which the node has other things to do. */
import { setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { systemCode } from "../../base/errors.ts";
import { collect } from "./collect.ts";
import { type FileDigest, hashFile } from "./files.ts";
import type { BuildMeasurement } from "../measure.ts";

export type Task =
  | {
      readonly kind: "build";
      readonly root: string;
      readonly engine: boolean;
      readonly engineFolder?: string | undefined;
    }
  | { readonly kind: "file"; readonly path: string };

export type FromWorker =
  | { readonly type: "progress"; readonly bytes: number }
  | { readonly type: "measured"; readonly measurement: BuildMeasurement }
  | { readonly type: "hashed"; readonly digest: FileDigest }
  | { readonly type: "failed"; readonly code: string };

/** Often enough for somebody who watches, ms. */
const progressMs = 250;
/** Behind whatever else wants a core. */
const niceness = 10;

if (parentPort) work(workerData as Task, (message) => parentPort?.postMessage(message));

function work(task: Task, send: (message: FromWorker) => void): void {
  yieldToOthers();
  try {
    if (task.kind === "file") send({ type: "hashed", digest: hashFile(task.path, progress(send)) });
    else send({ type: "measured", measurement: collect({ ...task, onProgress: progress(send) }) });
  } catch (thrown) {
    send({ type: "failed", code: systemCode(thrown) });
  }
}

/** On Linux a priority is a thread's own; elsewhere this would slow down the whole process. */
function yieldToOthers(): void {
  if (process.platform !== "linux") return;
  try {
    setPriority(0, niceness);
  } catch {
    // then it runs as it is
  }
}

function progress(send: (message: FromWorker) => void): (bytes: number) => void {
  let total = 0;
  let told = performance.now();
  return (bytes) => {
    total += bytes;
    if (performance.now() - told < progressMs) return;
    told = performance.now();
    send({ type: "progress", bytes: total });
  };
}

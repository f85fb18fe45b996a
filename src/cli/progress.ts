/**
 * How far something is that takes its time, for people and on stderr: one calm bar on a terminal, a plain line every few
 * seconds elsewhere. For downloads, for the loading of models, and for whoever else can say how much is done.
 */
import type { LogEvent } from "../base/log.ts";
import { isLively } from "./output.ts";

export interface Step {
  /** "downloading demo.gguf"; a new one begins a new bar. */
  readonly what: string;
  readonly done: number;
  /** Undefined: not known, and there is no bar. */
  readonly total: number | undefined;
  readonly unit: "bytes" | "percent";
  /** Stands in place of speed and time: what is waited for. */
  readonly note?: string | undefined;
}

export interface ProgressBar {
  show(step: Step): void;
  /** Takes the bar away, so that other lines can be printed; the next step brings it back. */
  clear(): void;
  /** Whether the last step is still being shown, as a bar or by lines. */
  readonly isShown: boolean;
}

export interface ProgressOptions {
  /** false: nothing is printed at all. */
  readonly shown: boolean;
  /** @default process.stderr */
  readonly stream?: Pick<NodeJS.WriteStream, "isTTY" | "columns" | "write">;
  /** ms. @default performance.now() */
  readonly now?: () => number;
}

/** From one line to the next where there is no terminal, ms. */
const lineMs = 5_000;
/** From one picture of the bar to the next on a terminal, ms. */
const drawMs = 100;
/** Speed is that of this long, ms. */
const speedMs = 5_000;
/** A bar that has heard nothing for this long gives way to others' lines, ms. */
const quietMs = 10_000;
const barColumns = 24;

interface Sample {
  readonly at: number;
  readonly done: number;
}

export function progressBar(options: ProgressOptions): ProgressBar {
  const { shown, stream = process.stderr, now = () => performance.now() } = options;
  const onTerminal = isLively(stream);
  let samples: Sample[] = [];
  let what = "";
  let saidMs = Number.NEGATIVE_INFINITY;
  let heardMs = Number.NEGATIVE_INFINITY;
  let drawn = false;
  const clear = (): void => {
    if (drawn) stream.write("\r\u001b[K");
    drawn = false;
  };
  return {
    show(step) {
      if (!shown) return;
      const at = now();
      heardMs = at;
      const isNew = step.what !== what || step.done < (samples.at(-1)?.done ?? 0);
      if (isNew) samples = [];
      what = step.what;
      samples = [...samples.filter((sample) => at - sample.at <= speedMs), { at, done: step.done }];
      if (!isNew && at - saidMs < (onTerminal ? drawMs : lineMs)) return;
      saidMs = at;
      const text = lineOf(step, samples, onTerminal);
      if (onTerminal) stream.write(`\r${text.slice(0, Math.max(20, (stream.columns || 80) - 1))}\u001b[K`);
      else stream.write(`${text}\n`);
      drawn = onTerminal;
    },
    clear() {
      clear();
      // the next step is drawn at once
      if (onTerminal) saidMs = Number.NEGATIVE_INFINITY;
    },
    get isShown() {
      return now() - heardMs < quietMs;
    },
  };
}

/** What an entry of the log says of progress; undefined: nothing. */
export function progressOf(entry: LogEvent): Step | undefined {
  if (entry.event === "engine-loading") {
    return { what: `loading ${entry.engine}`, done: entry.percent, total: 100, unit: "percent" };
  }
  if (entry.event !== "model-downloading") return undefined;
  const { model, doing, bytes, total, what } = entry;
  return downloadStep({ file: model, doing, bytes, total: total ?? undefined, why: what });
}

/** The same of a download. */
export function downloadStep(progress: {
  readonly file: string;
  readonly doing: "downloading" | "checking" | "waiting";
  readonly bytes: number;
  readonly total: number | undefined;
  readonly why?: string;
}): Step {
  const { file, doing, bytes, total, why = "" } = progress;
  const what = doing === "checking" ? `checking ${file}` : `downloading ${file}`;
  return { what, done: bytes, total, unit: "bytes", note: why === "" ? undefined : why };
}

function lineOf({ what, done, total, unit, note }: Step, samples: readonly Sample[], withBar: boolean): string {
  const part = total === undefined || total === 0 ? undefined : Math.min(1, done / total);
  const words = [what];
  if (part !== undefined) {
    if (withBar) words.push(bar(part));
    words.push(`${Math.floor(part * 100)} %`);
  }
  if (note !== undefined) return [...words, note].join("  ");
  if (unit === "percent") return words.join("  ");
  if (!withBar || part === undefined)
    words.push(total === undefined ? sizeText(done) : `${sizeText(done)} of ${sizeText(total)}`);
  const speed = speedOf(samples);
  if (speed === undefined) return words.join("  ");
  words.push(`${sizeText(speed)}/s`);
  if (total !== undefined && speed > 0) words.push(`${timeText((total - done) / speed)} left`);
  return words.join("  ");
}

function bar(part: number): string {
  const full = Math.round(part * barColumns);
  return `[${"#".repeat(full)}${".".repeat(barColumns - full)}]`;
}

/** Bytes a second; undefined: it has not been watched for long enough. */
function speedOf(samples: readonly Sample[]): number | undefined {
  const [first] = samples;
  const last = samples.at(-1);
  if (!first || !last || last.at - first.at < 500) return undefined;
  return ((last.done - first.done) * 1000) / (last.at - first.at);
}

export function sizeText(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

function timeText(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
}

/** Types of page.mjs, for its test. */
import type { Judged } from "./judge.mjs";

export interface Run {
  readonly at: string;
  readonly commit: string | null;
  readonly dirty: boolean;
  readonly quick: boolean;
  readonly whole: boolean;
  readonly seconds: number;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGb: number;
    readonly node: string;
    readonly os: string;
  };
  readonly peer: string | null;
  readonly paths: Readonly<Record<string, string>>;
  readonly noise: { readonly cpuTime: number; readonly wallTime: number };
  readonly failures: readonly string[];
  /** [min, median, max] by figure and whose it is. */
  readonly figures: Readonly<Record<string, Readonly<Record<string, readonly [number, number, number]>>>>;
  readonly gates: readonly Judged[];
}
export function performancePage(run: Run | undefined, notes: string): string;
export function performanceChart(run: Run | undefined): string;
export function performanceFiles(root: string): Record<string, string>;

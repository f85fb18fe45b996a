/** Types of history.mjs, for its test. */
import type { Run } from "./page.mjs";

export function addRun(root: string, result: Run): void;
export function readRuns(root: string): Run[];
export function lastRun(runs: readonly Run[]): Run | undefined;

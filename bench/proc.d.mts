/** Types of proc.mjs, for its test. */
export function runNsOf(schedstat: string): number;
export function ticksNsOf(stat: string): number;
export function residentBytesOf(status: string): number | undefined;
export function cpuNs(pids: readonly number[]): number | undefined;
export function residentBytes(pid: number): number | undefined;

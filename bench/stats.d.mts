/** Types of stats.mjs, for its test. */
export function percentile(sorted: ArrayLike<number>, share: number): number;
export function median(values: readonly number[]): number;
export function summary(rounds: readonly number[]): { min: number; median: number; max: number };
export function spread(rounds: readonly number[]): number;

// Numbers from numbers. Pure; test/unit/bench holds it.

/**
 * @param sorted ascending, at least one
 * @param share  0 to 1
 * @returns      the value below which that share of them lies, by the nearest rank
 */
export function percentile(sorted, share) {
  if (sorted.length === 0) throw new Error("no values to take a percentile of");
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
}

/** Of values in any order: the middle one, or the mean of the two in the middle. */
export function median(values) {
  if (values.length === 0) throw new Error("no values to take a median of");
  const sorted = [...values].toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** What is shown of the rounds of one figure. */
export function summary(rounds) {
  return { min: Math.min(...rounds), median: median(rounds), max: Math.max(...rounds) };
}

/** How far rounds lie apart: the widest distance from their median, as a share of it. */
export function spread(rounds) {
  const { min, median: middle, max } = summary(rounds);
  return Math.max(max - middle, middle - min) / middle;
}

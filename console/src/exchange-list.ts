/** The exchanges that the page keeps, of what is told one by one and what is asked for as a list. Pure. */
import type { ExchangeReport } from "./types.ts";

/** As many as the node keeps. */
const kept = 200;

/** One list without repetitions, newest first as both are. @param newer what has come since `listed` was asked for */
export function mergedExchanges(
  newer: readonly ExchangeReport[],
  listed: readonly ExchangeReport[],
): readonly ExchangeReport[] {
  const known = new Set(newer.map(({ id }) => id));
  return [...newer, ...listed.filter(({ id }) => !known.has(id))].slice(0, kept);
}

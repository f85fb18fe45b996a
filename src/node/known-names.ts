/** Names in sentences: a list of them, one that nobody can read as more than a name, and the one that was probably meant. */
import { withoutControls } from "../wire/gossip.ts";

/** "a, b and c". */
export function listed(names: readonly string[]): string {
  return joined(names, "and");
}

/** "a, b or c". */
export function alternatives(names: readonly string[]): string {
  return joined(names, "or");
}

function joined(names: readonly string[], word: string): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${word} ${names.at(-1)}`;
}

export function quoted(name: string): string {
  return `"${withoutControls(name).slice(0, 64)}"`;
}

/** The known name that was probably meant: no more than a third of it is wrong. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = name.slice(0, 64).toLowerCase().replaceAll("-", "_");
  const ranked = known
    .map((candidate) => ({ candidate, steps: editSteps(plain, candidate) }))
    .toSorted((a, b) => a.steps - b.steps);
  const [best] = ranked;
  return best && best.steps <= Math.max(1, best.candidate.length / 3) ? best.candidate : undefined;
}

/** Letters to insert, remove or replace (Levenshtein). */
function editSteps(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [index, letter] of from.split("").entries()) {
    const next = [index + 1];
    for (const [column, other] of to.split("").entries()) {
      const kept = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(kept, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

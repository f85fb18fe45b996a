/** Types of judge.mjs, for its test. */
export interface Judged {
  readonly must: number;
  readonly figure: string;
  readonly whose: string;
  readonly than: string | null;
  readonly sense: "most" | "least";
  readonly factor: number;
  readonly plus: number;
  readonly value: number | null;
  readonly limit: number | null;
  readonly ratio: number | null;
  readonly outcome: "pass" | "miss" | "not measured";
}
export function judged(medianOf: (figure: string, whose: string) => number | undefined, noise: number): Judged[];
export function allPass(
  rows: readonly Judged[],
  options: { readonly noPeer: boolean; readonly isWhole: boolean },
): boolean;
export function gateCells(row: Judged): string[];

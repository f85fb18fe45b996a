/** Types of what tests use of engine-answers.mjs. */

/** The scripted engine's vector for an input: length 1, float32 numbers. */
export function embeddingOf(input: string | readonly number[], dimensions: number): number[];

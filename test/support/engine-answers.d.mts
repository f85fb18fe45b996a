/** Types of what tests use of engine-answers.mjs. */

/** The scripted engine's vector for an input: length 1, float32 numbers. */
export function embeddingOf(input: string | readonly number[], dimensions: number): number[];

/** What a request is answered with, in pieces as they are streamed. */
export interface ScriptedAnswer {
  readonly text: readonly string[];
  readonly finish: string;
}

export function answerTo(options: Readonly<Record<string, unknown>>, asked: object): ScriptedAnswer;

/** One delta object of a chat stream after the other, without the first, which has the role. */
export function deltasOf(answer: ScriptedAnswer): Generator<object>;

/** The message of an answer in one piece. */
export function messageOf(answer: ScriptedAnswer): object;

export function promptTokensOf(messages: readonly object[]): number;

export function usageOf(
  answer: ScriptedAnswer,
  promptTokens: number,
  options: { readonly cachedTokens: number },
): object;

// Every number of the training run, so that one file says how the model was made. Changing any of them changes the file
// that train.mjs writes, and with it the SHA-256 sums in checksums.json.

export const NAME = "sealmesh demo";

/** `positions` is the context length: conversations in training may be as long as the file promises. */
export const SHAPE = { width: 128, layers: 4, heads: 4, hidden: 320, positions: 512 };

/** Size of the vocabulary: 256 bytes, the special tokens, and merges for the rest. */
export const VOCABULARY_SIZE = 1024;

export const SEEDS = { weights: 1, lessons: 2, tokenizerTexts: 3 };

export const SCHEDULE = {
  epochs: 155,
  batchTokens: 1200,
  rate: 2e-3,
  warmupSteps: 40,
  finalRateShare: 0.05,
};

export const OPTIMISER = { beta1: 0.9, beta2: 0.98, epsilon: 1e-9, weightDecay: 0.02, clip: 1 };

/**
 * The written model multiplies its logits by this (in the weights of the last norm), so that a client that asks without
 * a temperature, which means 1, gets the most probable tokens nearly as surely as at temperature 0.
 */
export const SHARPNESS = 4;

/** What surrounds a question in training. Without it the model fails as soon as a client adds anything to it. */
export const CONVERSATION = {
  startToken: 0.5,
  system: 0.45,
  /** Shares of the kinds of system prompt: written, pieces of the training texts, random tokens. */
  systemKinds: { written: 0.45, pieces: 0.35, random: 0.2 },
  /** Share of conversations with 0, 1, 2, 3 and 4 earlier turns. */
  earlierTurns: [0.45, 0.2, 0.15, 0.12, 0.08],
  /** Share of conversations with a turn of random tokens, not learned, as if another model had answered before. */
  foreignTurn: 0.1,
};

/** How often a question is asked in another or rougher way. Where words are dropped, `wordKept` of them stay. */
export const ROUGHNESS = {
  synonym: 0.35,
  lowerCase: 0.25,
  noFinalMark: 0.25,
  droppedWords: 0.3,
  wordKept: 0.75,
  otherArticle: 0.15,
  swappedLetters: 0.1,
  filler: 0.1,
};

export const LESSONS = {
  /** How much the first tokens of an answer count, which choose it; all others count 1. */
  firstWeights: [5, 4, 4, 3, 3, 2, 2, 2, 2, 2, 2, 2],
  /** Share of conversations whose last answer ends after `cutAfter` tokens. */
  cutShare: 0.65,
  cutAfter: 15,
  /**
   * An epoch asks for each answer by a paraphrase, by the canonical question or else another paraphrase, and mostly by
   * a keyword too. The share `canonicalUntouched` of canonical questions is neither reworded nor roughened.
   */
  canonical: 0.45,
  canonicalUntouched: 0.6,
  keyword: 0.6,
  /** Off-topic questions per epoch, and the shares of their kinds; the rest is a noun in an off-topic frame. */
  offTopic: 36,
  offTopicWritten: 0.35,
  offTopicInTopicFrame: 0.2,
  offTopicNonsense: 0.05,
};

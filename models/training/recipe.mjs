// Every number of the training run, so that one file says how the model was made. Changing any of them changes the file
// that train.mjs writes, and with it the SHA-256 sums in checksums.json.

export const NAME = "sealmesh demo";

/** `positions` is the context length: conversations in training may be as long as the file promises. */
export const SHAPE = { width: 128, layers: 4, heads: 4, hidden: 320, positions: 512 };

/** Size of the vocabulary: 256 bytes, the special tokens, and merges for the rest. */
export const VOCABULARY_SIZE = 1024;

export const SEEDS = { weights: 1, lessons: 2, tokenizerTexts: 3 };

export const SCHEDULE = {
  epochs: 150,
  batchTokens: 2500,
  rate: 2e-3,
  warmupSteps: 40,
  finalRateShare: 0.05,
};

export const OPTIMISER = { beta1: 0.9, beta2: 0.98, epsilon: 1e-9, weightDecay: 0.02, clip: 1 };

/** What surrounds a question in training. Without it the model fails as soon as a client adds anything to the question. */
export const CONVERSATION = {
  startToken: 0.5,
  system: 0.45,
  /** Shares of the kinds of system prompt: written, pieces of the training texts, random tokens. */
  systemKinds: { written: 0.4, pieces: 0.3, random: 0.3 },
  /** Share of conversations with 0, 1, 2, 3 and 4 earlier turns. */
  earlierTurns: [0.4, 0.2, 0.15, 0.15, 0.1],
  /** Share of conversations in which another model seems to have answered before: a turn of random tokens, not learned. */
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
  /** Share of the canonical wording among the phrasings of an answer, and how many of those stay as they are. */
  canonical: 0.4,
  canonicalUntouched: 0.6,
  /** Off-topic questions per epoch, and the shares of their kinds; the rest is a noun in an off-topic frame. */
  offTopic: 30,
  offTopicWritten: 0.35,
  offTopicInTopicFrame: 0.2,
  offTopicNonsense: 0.08,
};

// Decides what the model reads in an epoch: questions for each answer and off-topic ones, reworded, roughened and put
// into conversations with system prompts and earlier turns. All chance comes from one generator, so the order of the
// draws is part of the recipe.

import { encodeConversation } from "./chat.mjs";
import { CONVERSATION, LESSONS, ROUGHNESS } from "./recipe.mjs";

const ARTICLES = ["a", "the", "my", "your", "this", "our"];
const FILLERS = ["please ", "hey, ", "so ", "and ", "ok, ", "one question: ", "tell me, ", "I wonder: ", "you know, "];

/** @returns an off-topic question made of a frame and a noun */
export function inventOffTopic(random, frames, nouns) {
  return random.pick(frames).replace("X", random.pick(nouns));
}

/** @returns reword(text): puts synonyms in the place of some phrases, keeping a capital at the start of the text */
function createRewording(random, synonyms) {
  const groups = synonyms.map((phrases) => ({ phrases, pattern: new RegExp(`\\b(?:${phrases.join("|")})\\b`, "i") }));
  return (text) => {
    let reworded = text;
    for (const { phrases, pattern } of groups) {
      if (pattern.test(reworded) && random.chance(ROUGHNESS.synonym)) {
        reworded = reworded.replace(pattern, () => random.pick(phrases).toLowerCase());
      }
    }
    return reworded === text ? text : reworded[0].toUpperCase() + reworded.slice(1);
  };
}

/** Asks a question the way people type: without capitals, marks or some of the words, with a slip or a filler. */
function roughen(random, question) {
  let text = question;
  if (random.chance(ROUGHNESS.lowerCase)) text = text.toLowerCase();
  if (random.chance(ROUGHNESS.noFinalMark)) text = text.replace(/[?.!]+$/, "");
  if (random.chance(ROUGHNESS.droppedWords)) {
    const words = text.split(" ");
    const kept = words.filter(() => random.chance(ROUGHNESS.wordKept));
    if (words.length > 3 && kept.length > 1) text = kept.join(" ");
  }
  if (random.chance(ROUGHNESS.otherArticle)) {
    text = text.replace(/\b(?:a|the|my|your|this)\b/, () => random.pick(ARTICLES));
  }
  if (random.chance(ROUGHNESS.swappedLetters) && text.length > 8) {
    const at = 1 + random.below(text.length - 2);
    text = text.slice(0, at) + text[at + 1] + text[at] + text.slice(at + 2);
  }
  if (random.chance(ROUGHNESS.filler)) text = random.pick(FILLERS) + text;
  return text;
}

/**
 * @param data { questions, offTopic, frames, systemPrompts, synonyms } from data.mjs
 * @returns    epoch() -> { tokens, weights }[] in random order, none longer than `longest` tokens
 */
export function createLessons({ data, tokenizer, random, longest }) {
  const { questions, offTopic, frames, systemPrompts, synonyms } = data;
  const reword = createRewording(random, synonyms);
  const pieces = [...questions.flatMap(({ paraphrases, answer }) => [...paraphrases, answer]), ...offTopic.questions];

  const randomTokens = (least, most) =>
    Array.from({ length: least + random.below(most - least) }, () => random.below(tokenizer.ordinaryCount));

  const rephrase = (question) => roughen(random, reword(question));

  function askCanonical({ question, answer }) {
    return { question: random.chance(LESSONS.canonicalUntouched) ? question : rephrase(question), answer };
  }

  function askParaphrase({ paraphrases, answer }) {
    return { question: rephrase(random.pick(paraphrases)), answer };
  }

  function askKeyword({ keywords, framed, answer }) {
    const keyword = random.pick(keywords);
    return { question: rephrase(framed ? random.pick(frames).replace("X", keyword) : keyword), answer };
  }

  function askOffTopic() {
    const answer = offTopic.fallback;
    const draw = random.next();
    if (draw < LESSONS.offTopicNonsense) return { question: randomTokens(2, 12), answer };
    const written = draw < LESSONS.offTopicNonsense + LESSONS.offTopicWritten;
    if (written) return { question: rephrase(random.pick(offTopic.questions)), answer };
    const chosen = random.chance(LESSONS.offTopicInTopicFrame) ? frames : offTopic.frames;
    return { question: rephrase(inventOffTopic(random, chosen, offTopic.nouns)), answer };
  }

  function drawSystem() {
    if (!random.chance(CONVERSATION.system)) return undefined;
    const { written, pieces: quoted } = CONVERSATION.systemKinds;
    const draw = random.next();
    if (draw < written) return random.pick(systemPrompts);
    if (draw >= written + quoted) return randomTokens(3, 45);
    return Array.from({ length: 1 + random.below(3) }, () => random.pick(pieces)).join(" ");
  }

  function drawTurnCount() {
    let draw = random.next();
    const count = CONVERSATION.earlierTurns.findIndex((share) => (draw -= share) < 0);
    return 1 + (count < 0 ? 0 : count);
  }

  function converse(turns) {
    const startToken = random.chance(CONVERSATION.startToken);
    const system = drawSystem();
    if (random.chance(CONVERSATION.foreignTurn)) {
      const place = random.below(turns.length);
      turns.splice(place, 0, { question: randomTokens(2, 15), answer: randomTokens(5, 60) });
    }
    for (;;) {
      const sequence = encodeConversation(tokenizer, { startToken, system, turns });
      if (sequence.tokens.length <= longest) return sequence;
      turns.shift();
    }
  }

  function epoch() {
    const turns = questions.flatMap((entry) => {
      const asked = [askParaphrase(entry)];
      asked.push(random.chance(LESSONS.canonical) ? askCanonical(entry) : askParaphrase(entry));
      if (random.chance(LESSONS.keyword)) asked.push(askKeyword(entry));
      return asked;
    });
    for (let count = 0; count < LESSONS.offTopic; count++) turns.push(askOffTopic());
    random.shuffle(turns);
    const sequences = [];
    while (turns.length > 0) {
      const taken = turns.splice(0, drawTurnCount());
      const learned = taken.map((turn) => ({ ...turn, weights: LESSONS.firstWeights }));
      // Going on with an answer is easily learned, choosing it is not: most last answers end after the first words.
      if (random.chance(LESSONS.cutShare)) learned.at(-1).cut = LESSONS.cutAfter;
      sequences.push(converse(learned));
    }
    return sequences;
  }

  return { epoch };
}

// Reads the training data: plain text files in data/, one line per fact, marked by its first letter (each file's head
// says which letters it uses).

import { readFileSync } from "node:fs";

const BARE = "bare: ";

function readLines(name) {
  const text = readFileSync(new URL(`data/${name}`, import.meta.url), "utf8");
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

function readMarkedLines(name) {
  return readLines(name).map((line) => {
    const match = /^([A-Z]) (.+)$/.exec(line);
    if (!match) throw new Error(`data/${name}: cannot read the line "${line}"`);
    return { mark: match[1], text: match[2] };
  });
}

const textsWith = (lines, mark) => lines.filter((line) => line.mark === mark).map((line) => line.text);

/** @returns one entry per answer: { question, answer, paraphrases, heldOut, keywords, framed } */
export function readQuestions() {
  const blocks = [];
  for (const line of readMarkedLines("questions.txt")) {
    if (line.mark === "Q") blocks.push([]);
    blocks.at(-1).push(line);
  }
  return blocks.map((block) => {
    const [keywords] = textsWith(block, "K");
    const framed = !keywords.startsWith(BARE);
    return {
      question: textsWith(block, "Q")[0],
      answer: textsWith(block, "A")[0],
      paraphrases: textsWith(block, "P"),
      heldOut: textsWith(block, "H"),
      keywords: (framed ? keywords : keywords.slice(BARE.length)).split("; "),
      framed,
    };
  });
}

/** @returns { fallback, questions, heldOut, frames, nouns } */
export function readOffTopic() {
  const lines = readMarkedLines("off-topic.txt");
  return {
    fallback: textsWith(lines, "A")[0],
    questions: textsWith(lines, "P"),
    heldOut: textsWith(lines, "H"),
    frames: textsWith(lines, "F"),
    nouns: textsWith(lines, "N").flatMap((nouns) => nouns.split("; ")),
  };
}

/** @returns sentences with an X in the place of a keyword */
export function readFrames() {
  return readLines("frames.txt");
}

/** @returns groups of phrases that may stand for each other */
export function readSynonyms() {
  return readLines("synonyms.txt").map((line) => line.split("; "));
}

/** @returns the system prompts used in training */
export function readSystemPrompts() {
  return readLines("system-prompts.txt").map((line) => line.replaceAll("\\n", "\n"));
}

/** @returns { questions: { wanted: canonical question, question }[], offTopic: questions }, for evaluation only */
export function readFresh() {
  const questions = [];
  let wanted;
  const lines = readMarkedLines("fresh.txt");
  for (const { mark, text } of lines) {
    if (mark === "Q") wanted = text;
    if (mark === "P") questions.push({ wanted, question: text });
  }
  return { questions, offTopic: textsWith(lines, "O") };
}

/** What a line typed into `sealmesh chat` means, and which model a word names. Pure: no terminal, no node. */
import { textWidth } from "../table.ts";

export type ChatLine =
  | { readonly kind: "nothing" }
  | { readonly kind: "ask"; readonly text: string }
  | { readonly kind: "command"; readonly name: ChatCommand; readonly rest: string }
  | { readonly kind: "leave" }
  | { readonly kind: "unknown"; readonly name: string };

export type ChatCommand = "help" | "model" | "clear" | "info";

/** As `/help` shows them. */
export const chatCommands: readonly { readonly name: ChatCommand | "quit"; readonly what: string }[] = [
  { name: "help", what: "these commands" },
  { name: "model", what: "the models of the mesh; /model NAME or a number changes to one" },
  { name: "clear", what: "forget the conversation" },
  { name: "info", what: "what is asked, and what it has come to" },
  { name: "quit", what: "leave; so do Control-D, and Control-C at an empty line" },
];

/** A command begins with one slash and is one line; a question that begins with a slash has two. */
export function readChatLine(text: string): ChatLine {
  const trimmed = text.trim();
  if (trimmed === "") return { kind: "nothing" };
  if (trimmed.startsWith("//")) return { kind: "ask", text: trimmed.slice(1) };
  const [, word, rest = ""] = /^\/(\S*)(?:[ \t]+(.*))?$/.exec(trimmed) ?? [];
  if (word === undefined) return { kind: "ask", text: trimmed };
  const asked = word === "exit" || word === "bye" ? "quit" : word === "?" ? "help" : word;
  const name = chatCommands.find((command) => command.name === asked)?.name;
  if (name === undefined) return { kind: "unknown", name: word };
  return name === "quit" ? { kind: "leave" } : { kind: "command", name, rest: rest.trim() };
}

/** The model that a person means: its name, its number in the list from 1 on, or the beginning of one name alone. */
export function modelMeant(what: string, names: readonly string[]): string | undefined {
  if (names.includes(what)) return what;
  const numbered = /^[1-9][0-9]{0,3}$/.test(what) ? names[Number(what) - 1] : undefined;
  if (numbered !== undefined) return numbered;
  const lower = what.toLowerCase();
  const beginning = lower === "" ? [] : names.filter((name) => name.toLowerCase().startsWith(lower));
  return beginning.length === 1 ? beginning[0] : undefined;
}

/** Questions that the toy model of this package knows, word for word: for whoever tries it out. */
export const demoQuestions: readonly string[] = [
  "What is sealmesh?",
  "Who can read my prompt?",
  "What does a relay see?",
];

/** Whether a model is the toy of this package, by the name that it has when nobody gave it another. */
export function isDemoModel(model: string): boolean {
  return model === "demo";
}

/**
 * Breaks a text that comes in pieces between words. A word that does not fit any more is taken back and begun again on the
 * next line: nothing waits for the end of a word.
 *
 * @param columns of the terminal; asked again for each piece
 */
export function wordBreaker(columns: () => number): (piece: string) => string {
  let column = 0;
  let word = "";
  return (piece) => {
    const room = Math.max(columns() - 1, 10);
    let out = "";
    for (const character of piece) {
      if (character === "\n") [column, word] = [0, ""];
      else if (character === " " || character === "\t") word = "";
      const width = character === "\n" ? 0 : character === "\t" ? 8 - (column % 8) : textWidth(character);
      if (column + width > room) {
        // a blank at the end of a line is not missed
        if (character === " ") [out, column] = [`${out}\n`, 0];
        else [out, column] = brokenOff(out, word, textWidth(word), room);
        if (character === " ") continue;
      }
      column += width;
      out += character;
      if (character !== "\n" && character !== " " && character !== "\t") word += character;
    }
    return out;
  };
}

/** With the word on a new line, unless it has filled one. @returns the text and the column behind it */
function brokenOff(out: string, word: string, width: number, room: number): [string, number] {
  if (width === 0 || width >= room) return [`${out}\n`, 0];
  return [`${out}\u001b[${width}D\u001b[K\n${word}`, width];
}

/**
 * What a model says, for a terminal: line breaks and tabs stay, and nothing else that could move it. A carriage return goes
 * without a trace, since texts with CRLF are usual.
 */
export function speakable(text: string): string {
  return text.replaceAll("\r", "").replace(/[^\P{Cc}\n\t]|[\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
}

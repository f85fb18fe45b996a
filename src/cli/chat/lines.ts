/** What a line typed into `sealmesh chat` means, and which model a word names. Pure: no terminal, no node. */

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
 * What a model says, for a terminal: line breaks and tabs stay, and nothing else that could move it. A carriage return goes
 * without a trace, since texts with CRLF are usual.
 */
export function speakable(text: string): string {
  return text.replaceAll("\r", "").replace(/[^\P{Cc}\n\t]|[\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
}

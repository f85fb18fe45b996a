/** A conversation at a terminal: question after question to one model, until the person leaves. Errors are told, and it goes on. */
import { toMeshError } from "../../base/errors.ts";
import type { Status } from "../../node/status.ts";
import { modelsOf } from "../model-list.ts";
import { counted, type Paint, paintFor, printLine } from "../output.ts";
import { askModel, type ChatPlace, type Message } from "./answer.ts";
import {
  type ChatCommand,
  chatCommands,
  demoQuestions,
  isDemoModel,
  modelMeant,
  readChatLine,
  speakable,
  wordBreaker,
} from "./lines.ts";
import { wrapped } from "../table.ts";
import { Prompt } from "./prompt.ts";
import { answerLine, modelLine, modelLines } from "./talk.ts";

export interface ReplOptions {
  readonly place: ChatPlace;
  /** Undefined: there are several, and the person chooses. */
  readonly model: string | undefined;
  readonly system: string | undefined;
  /** What the node says now. @throws E_UNREACHABLE */
  readonly status: () => Promise<Status>;
}

interface Conversation {
  model: string | undefined;
  messages: Message[];
  promptTokens: number;
  completionTokens: number;
}

/** @returns the exit code, when the person has left */
export async function converse(options: ReplOptions): Promise<number> {
  const paint = paintFor(process.stdout);
  const talk: Conversation = { model: options.model, messages: [], promptTokens: 0, completionTokens: 0 };
  await greet(options, talk, paint);
  const prompt = new Prompt(paint("cyan", "> "));
  try {
    for (;;) {
      const typed = await prompt.next();
      if (typed.kind === "end") return 0;
      const line = readChatLine(typed.text);
      if (line.kind === "leave") return 0;
      try {
        if (line.kind === "command") await perform(line.name, line.rest, options, talk, paint);
        if (line.kind === "unknown")
          printLine(`/${line.name} is no command; /help lists them. Two slashes ask it as it is.`);
        if (line.kind === "ask") await ask(line.text, options, talk, prompt, paint);
      } catch (thrown) {
        const { message, row } = toMeshError(thrown);
        printLine(`${paint("red", "error:")} ${message}\n${paint("dim", "hint:")} ${row.hint}\n`);
      }
    }
  } finally {
    prompt.close();
  }
}

async function greet({ status }: ReplOptions, { model }: Conversation, paint: Paint): Promise<void> {
  const known = await status();
  if (model === undefined) {
    printLine([...modelLines(known, undefined), "", "Which one? A number or a name. /help for commands."].join("\n"));
    return;
  }
  printLine([paint("bold", lineFor(known, model)), ...hintsFor(model, paint), ""].join("\n"));
}

function lineFor(status: Status, model: string): string {
  const found = modelsOf(status).find(({ id }) => id === model);
  return found ? modelLine(found) : `${model}: a model that can do what is asked and has room`;
}

function hintsFor(model: string, paint: Paint): readonly string[] {
  const questions = isDemoModel(model) ? [`Try: ${demoQuestions.join(" · ")}`] : [];
  return [...questions, "/help for commands, Control-D to leave"].map((line) => paint("dim", line));
}

async function ask(
  text: string,
  { place, system, status }: ReplOptions,
  talk: Conversation,
  prompt: Prompt,
  paint: Paint,
): Promise<void> {
  if (talk.model === undefined) return choose(text, await status(), talk, paint);
  const { model } = talk;
  const asked: Message = { role: "user", content: text };
  const before: readonly Message[] = system === undefined ? [] : [{ role: "system", content: system }];
  const messages = [...before, ...talk.messages, asked];
  let last = "\n";
  let thought = false;
  const broken = wordBreaker(() => process.stdout.columns);
  const onPiece = (piece: string, thinking: boolean): void => {
    const change = thought && !thinking ? "\n\n" : "";
    thought = thinking;
    const text = broken(change + speakable(piece));
    last = text || last;
    process.stdout.write(thinking ? paint("dim", text) : text);
  };
  try {
    const answer = await prompt.during((signal) => askModel({ place, model, messages, onPiece, signal }));
    // what was stopped is part of the conversation as far as it came
    if (answer.text !== "") talk.messages.push(asked, { role: "assistant", content: answer.text });
    talk.promptTokens += answer.promptTokens ?? 0;
    talk.completionTokens += answer.completionTokens ?? 0;
    endLine(last);
    const told = wrapped(answerLine(answer, (await status()).peers), process.stdout.columns);
    printLine(`${told.map((line) => paint("dim", line)).join("\n")}\n`);
  } catch (thrown) {
    endLine(last);
    throw thrown;
  }
}

function endLine(last: string): void {
  if (!last.endsWith("\n")) process.stdout.write("\n");
}

function choose(what: string, status: Status, talk: Conversation, paint: Paint): void {
  const named = what === "auto" ? what : modelMeant(what, status.models);
  if (named === undefined) {
    printLine([`"${what}" names no model, or several:`, ...modelLines(status, talk.model)].join("\n"));
    return;
  }
  talk.model = named;
  printLine([paint("bold", lineFor(status, named)), ...hintsFor(named, paint), ""].join("\n"));
}

async function perform(
  name: ChatCommand,
  rest: string,
  { status, system }: ReplOptions,
  talk: Conversation,
  paint: Paint,
): Promise<void> {
  switch (name) {
    case "help":
      printLine(`${chatCommands.map((one) => `  /${one.name.padEnd(6)} ${one.what}`).join("\n")}\n`);
      return;
    case "clear":
      talk.messages = [];
      printLine("the conversation is forgotten\n");
      return;
    case "model":
      if (rest !== "") return choose(rest, await status(), talk, paint);
      printLine(`${modelLines(await status(), talk.model).join("\n")}\n`);
      return;
    case "info": {
      const turns = talk.messages.length / 2;
      const known = await status();
      const lines = [
        talk.model === undefined ? "no model so far" : lineFor(known, talk.model),
        `${counted(turns, "turn")} so far: ${talk.promptTokens} tokens in, ${talk.completionTokens} out; each question sends them all`,
        ...(system === undefined ? [] : [`begins with: ${speakable(system)}`]),
      ];
      printLine(`${lines.map((line) => `  ${line}`).join("\n")}\n`);
    }
  }
}

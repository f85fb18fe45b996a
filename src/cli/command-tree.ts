/**
 * The commands, their flags and words as plain data, read from the parser that takes them: what completion scripts and docs/cli.md are
 * made from, so that neither can differ from what the parser knows. Hidden flags are left out.
 */
import type { Command as Commander } from "commander";

export interface TreeFlag {
  /** "--model" */
  readonly long: string;
  readonly short: string | undefined;
  /** As the help has it: "--model <file>". */
  readonly syntax: string;
  /** What comes behind it. */
  readonly takes: "nothing" | "file" | "directory" | "text";
  /** It may stand alone as well. */
  readonly alone: boolean;
  /** The only ones that it takes; none: anything. */
  readonly choices: readonly string[];
  readonly doc: string;
  readonly group: string;
}

export interface TreeWord {
  /** "<id>", or "[id]" */
  readonly syntax: string;
  readonly takes: "file" | "text";
  readonly choices: readonly string[];
  readonly doc: string;
}

export interface TreeCommand {
  /** Words behind `sealmesh`, with one blank between them; "" for the program itself. */
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  /** As the help has it. */
  readonly usage: string;
  readonly flags: readonly TreeFlag[];
  readonly words: readonly TreeWord[];
  readonly commands: readonly TreeCommand[];
}

export function commandTree(declared: Commander, path = ""): TreeCommand {
  const help = declared.createHelp();
  return {
    path,
    summary: declared.summary() || declared.description(),
    description: declared.description(),
    usage: help.commandUsage(declared),
    flags: help.visibleOptions(declared).map((option) => ({
      long: option.long ?? "",
      short: option.short ?? undefined,
      syntax: option.flags,
      takes: option.required || option.optional ? kindOf(option.flags) : "nothing",
      alone: !option.required,
      choices: option.argChoices ?? [],
      doc: option.description,
      group: option.helpGroupHeading ?? "Options:",
    })),
    words: declared.registeredArguments.map((argument) => {
      const syntax = help.argumentTerm(argument);
      return {
        syntax: argument.required ? `<${syntax}>` : `[${syntax}]`,
        takes: /file/.test(syntax) ? "file" : "text",
        choices: argument.argChoices ?? [],
        doc: argument.description,
      };
    }),
    commands: help
      .visibleCommands(declared)
      .filter((one) => one.name() !== "help" && declared.commands.includes(one))
      .map((one) => commandTree(one, path === "" ? one.name() : `${path} ${one.name()}`)),
  };
}

function kindOf(syntax: string): "file" | "directory" | "text" {
  if (/[<[]directory/.test(syntax)) return "directory";
  return /[<[][a-z|-]*file/.test(syntax) ? "file" : "text";
}

/** The command itself and all below it. */
export function everyCommand(root: TreeCommand): readonly TreeCommand[] {
  return [root, ...root.commands.flatMap(everyCommand)];
}

/** What can be typed at a command: words below it, or those of its first word, each with a short sentence. */
export function wordsAt({ commands, words }: TreeCommand): readonly { readonly word: string; readonly doc: string }[] {
  const choices = words.flatMap(({ choices: all, doc }) => all.map((word) => ({ word, doc })));
  return [...commands.map(({ path, summary }) => ({ word: path.split(" ").at(-1) ?? "", doc: summary })), ...choices];
}

/** The beginning of a sentence, for one line beside a word. */
export function shortened(doc: string): string {
  const [clause = ""] = doc.split(/[;:.(]/, 1);
  const text = clause.trim();
  return text.length > 72 ? `${text.slice(0, 71).trimEnd()}…` : text;
}

/**
 * What a command is. Each, or each group, is one file in commands/ and one line in command-list.ts; its flags and help live in that
 * file, and what it needs is imported when it runs, so that `sealmesh version` does not load a node.
 */
import type { Command as Commander } from "commander";
import type { HardeningReport } from "../harden/report.ts";

export interface Command {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** What it does, for its own help. */
  readonly description: string;
  readonly examples: readonly Example[];
  /** Declares the flags. */
  readonly addFlags: (command: Commander) => void;
  /**
   * @param flags     what was given, by the camel-case names of the flags
   * @param hardening what this process did to close itself; undefined: it will hold no prompts
   * @returns         the exit code of the process
   * @throws          MeshError; main.ts prints it and takes the exit code from its row
   */
  readonly run: (flags: Readonly<Record<string, unknown>>, hardening?: HardeningReport) => Promise<number>;
}

/** Commands that go by two words: `sealmesh trust list`. */
export interface CommandGroup extends Pick<Command, "name" | "summary" | "description" | "examples"> {
  readonly commands: readonly Command[];
  /** What the first word alone does, with flags of its own. @default it needs a second word */
  readonly alone?: Pick<Command, "addFlags" | "run">;
}

export interface Example {
  readonly what: string;
  readonly line: string;
}

/** Collects the values of a flag that may be given several times. */
export function repeated(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/**
 * Declares a word without a flag; run() gets it by its name, like a flag.
 * @param syntax "<word>", or "[word]" for one that may be missing
 */
export function takesWord(command: Commander, name: string, syntax: string, description: string): Commander {
  const place = command.registeredArguments.length; // behind the words before it
  return command.argument(syntax, description).hook("preAction", (self) => {
    self.setOptionValue(name, self.args[place]);
  });
}

/** Help text with the examples of a command, to stand after its flags. */
export function examplesText(examples: readonly Example[]): string {
  return ["\nExamples:", ...examples.map(({ what, line }) => `  ${what}\n    $ ${line}\n`)].join("\n");
}

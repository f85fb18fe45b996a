/**
 * What a command is. Each, or each group, is one file in commands/, with its flags and help, and one line in command-list.ts, with its
 * name. What only some of its runs need is imported in run().
 */
import type { Command as Commander } from "commander";
import type { HardeningReport } from "../harden/report.ts";

export interface Command {
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
export interface CommandGroup extends Pick<Command, "description" | "examples"> {
  readonly commands: readonly NamedCommand[];
  /** What the first word alone does, with flags of its own. @default it needs a second word */
  readonly alone?: Pick<Command, "addFlags" | "run">;
}

/** One of a group: the group's file has all of it. */
export interface NamedCommand extends Command {
  readonly name: string;
  /** One line, for the help of the group. */
  readonly summary: string;
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

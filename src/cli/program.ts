/** Finds the command that was asked for, runs it, and says its failure. Called by main.ts, which ends the process. */
import { Command as Commander, CommanderError, Help } from "commander";
import { MeshError } from "../base/errors.ts";
import type { HardeningReport } from "../harden/report.ts";
import { version } from "../node/version.ts";
import { type Command, type CommandGroup, examplesText } from "./command.ts";
import { commands } from "./command-list.ts";
import { rootHelp } from "./help.ts";
import { formatFromArguments, reportError, surviveClosedOutput } from "./output.ts";

/** What a command line asked for. */
type Perform = (run: Command["run"], flags: Readonly<Record<string, unknown>>) => Promise<void>;

/** All commands with their flags, as the parser knows them: also what completion and docs/cli.md are made from. */
export function declareProgram(perform: Perform): Commander {
  const program = new Commander("sealmesh")
    .version(`sealmesh ${version}`, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .configureHelp({
      sortOptions: false,
      formatHelp: (command, help) =>
        command.parent === null ? rootHelp(commands) : new Help().formatHelp(command, help),
    })
    // flags belong to the word before them: `invite` has some, and so has `invite list`
    .enablePositionalOptions()
    // errors are printed by reportError, in the format that was asked for
    .configureOutput({ writeErr: () => undefined, outputError: () => undefined })
    .exitOverride();
  const complete = (declared: Commander, { addFlags, run }: Pick<Command, "addFlags" | "run">): void => {
    declared.action(async () => await perform(run, declared.opts()));
    addFlags(declared);
  };
  for (const command of commands) {
    const declared = declare(program, command);
    if ("run" in command) {
      complete(declared, command);
      continue;
    }
    declared.helpCommand("help [command]", "print the help of a command").enablePositionalOptions();
    if (command.alone) complete(declared, command.alone);
    for (const one of command.commands) complete(declare(declared, one), one);
  }
  return program;
}

/**
 * @param words     the command and its flags
 * @param hardening of this process; undefined: a command that holds no prompts
 * @returns         exit code of the process
 */
export async function runProgram(words: readonly string[], hardening: HardeningReport | undefined): Promise<number> {
  surviveClosedOutput();
  let exitCode = 0;
  const program = declareProgram(async (run, flags) => {
    exitCode = await run(flags, hardening);
  });
  try {
    if (words.length === 0) {
      process.stderr.write(rootHelp(commands));
      return new MeshError("E_USAGE", "no command was given").row.exit;
    }
    await program.parseAsync(words, { from: "user" });
    return exitCode;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) return reportError(thrown, formatFromArguments(words));
    if (thrown.exitCode === 0) return 0; // help or version, printed already
    if (thrown.code === "commander.help") {
      const group = groupOf(words);
      const help = program.commands.find((one) => one.name() === group?.name)?.helpInformation();
      process.stderr.write(group && help ? help + examplesText(group.examples) : program.helpInformation());
      return new MeshError("E_USAGE", "a group was given, and none of its commands").row.exit;
    }
    return reportError(usageError(thrown, groupOf(words)), formatFromArguments(words));
  }
}

function groupOf([word]: readonly string[]): CommandGroup | undefined {
  const named = commands.find(({ name }) => name === word);
  return named && "commands" in named ? named : undefined;
}

function declare(to: Commander, { name, summary, description, examples }: Command | CommandGroup): Commander {
  return to
    .command(name)
    .summary(summary)
    .description(description)
    .helpOption("-h, --help", "print this help")
    .addHelpText("after", examplesText(examples));
}

/** Commander's "error: unknown option '--prot'\n(Did you mean --port?)" as one sentence of ours. */
function usageError({ message, code }: CommanderError, group: CommandGroup | undefined): MeshError {
  const sentence = message
    .replace(/^error: /, "")
    .replace(/\s*\n\s*/g, " ")
    .trim();
  if (!group) return new MeshError("E_USAGE", sentence);
  // a group that does something alone takes a word that is no command of its for an argument
  if (code === "commander.excessArguments") {
    return new MeshError(
      "E_USAGE",
      `\`sealmesh ${group.name}\` has no such command: see \`sealmesh help ${group.name}\``,
    );
  }
  const next = code === "commander.unknownCommand" ? `: see \`sealmesh help ${group.name}\`` : "";
  return new MeshError("E_USAGE", `${sentence}${next}`);
}

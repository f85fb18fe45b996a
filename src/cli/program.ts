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

/**
 * The commands with their flags, as the parser knows them: also what completion and docs/cli.md are made from.
 * @param isAsked which are declared whole, and their files loaded for it; of the others only name and summary are known
 */
export async function declareProgram(perform: Perform, isAsked: (name: string) => boolean): Promise<Commander> {
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
  for (const { name, summary, load } of commands) {
    const declared = program.command(name).summary(summary);
    if (!isAsked(name)) continue;
    const command = await load();
    describe(declared, command);
    if ("run" in command) {
      complete(declared, command);
      continue;
    }
    declared.helpCommand("help [command]", "print the help of a command").enablePositionalOptions();
    if (command.alone) complete(declared, command.alone);
    for (const one of command.commands) {
      complete(describe(declared.command(one.name).summary(one.summary), one), one);
    }
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
  try {
    if (words.length === 0) {
      process.stderr.write(rootHelp(commands));
      return new MeshError("E_USAGE", "no command was given").row.exit;
    }
    const perform: Perform = async (run, flags) => {
      exitCode = await run(flags, hardening);
    };
    // `help serve` is about a command too
    const program = await declareProgram(perform, (name) => words.includes(name));
    try {
      await program.parseAsync(words, { from: "user" });
    } catch (thrown) {
      if (!(thrown instanceof CommanderError)) throw thrown;
      if (thrown.exitCode !== 0) return await notUnderstood(thrown, words, program); // else help or version, printed already
    }
    return exitCode;
  } catch (thrown) {
    return reportError(thrown, formatFromArguments(words));
  }
}

/** @returns the exit code, where the help has been printed instead · @throws E_USAGE */
async function notUnderstood(error: CommanderError, words: readonly string[], program: Commander): Promise<number> {
  const named = commands.find(({ name }) => name === words[0]);
  const command = await named?.load();
  const group = command && "commands" in command ? command : undefined;
  if (error.code !== "commander.help") throw usageError(error, group && named?.name);
  const help = program.commands.find((one) => one.name() === named?.name)?.helpInformation();
  process.stderr.write(group && help ? help + examplesText(group.examples) : program.helpInformation());
  return new MeshError("E_USAGE", "a group was given, and none of its commands").row.exit;
}

function describe(declared: Commander, { description, examples }: Command | CommandGroup): Commander {
  return declared
    .description(description)
    .helpOption("-h, --help", "print this help")
    .addHelpText("after", examplesText(examples));
}

/**
 * Commander's "error: unknown option '--prot'\n(Did you mean --port?)" as one sentence of ours.
 * @param group name of the one that was asked for, if it was one
 */
function usageError({ message, code }: CommanderError, group: string | undefined): MeshError {
  const sentence = message
    .replace(/^error: /, "")
    .replace(/\s*\n\s*/g, " ")
    .trim();
  if (!group) return new MeshError("E_USAGE", sentence);
  // a group that does something alone takes a word that is no command of its for an argument
  if (code === "commander.excessArguments") {
    return new MeshError("E_USAGE", `\`sealmesh ${group}\` has no such command: see \`sealmesh help ${group}\``);
  }
  const next = code === "commander.unknownCommand" ? `: see \`sealmesh help ${group}\`` : "";
  return new MeshError("E_USAGE", `${sentence}${next}`);
}

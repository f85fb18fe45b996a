/** Every `sealmesh` command on the pages can be typed: known words, known flags, nothing missing. Nothing is run. */
import { Command as Commander, CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import type { Command, CommandGroup } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/command-list.ts";
import { commandsIn, pages, shellLines } from "../support/doc-pages.ts";

const loaded: readonly (readonly [name: string, command: Command | CommandGroup])[] = await Promise.all(
  commands.map(async ({ name, load }) => [name, await load()] as const),
);

/** The command table as commander has it, but that nothing happens. */
function dryProgram(): Commander {
  const program = new Commander("sealmesh").version("0", "-V, --version").enablePositionalOptions().exitOverride();
  const quiet = { writeOut: () => undefined, writeErr: () => undefined };
  program.configureOutput(quiet);
  const perform = (declared: Commander, { addFlags }: Pick<Command, "addFlags">): void => {
    declared
      .exitOverride()
      .configureOutput(quiet)
      .action(() => undefined);
    addFlags(declared);
  };
  for (const [name, command] of loaded) {
    const declared = program.command(name).exitOverride().configureOutput(quiet);
    if ("run" in command) perform(declared, command);
    else {
      if (command.alone) perform(declared.enablePositionalOptions(), command.alone);
      for (const one of command.commands) perform(declared.command(one.name), one);
    }
  }
  return program;
}

/** What commander says against it; undefined: nothing. */
async function complaint(words: readonly string[]): Promise<CommanderError | undefined> {
  try {
    await dryProgram().parseAsync(words, { from: "user" });
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    return thrown.exitCode === 0 ? undefined : thrown;
  }
}

const flags: ReadonlySet<string> = new Set(
  ["--help", "--version"].concat(
    loaded.flatMap(([, command]) => {
      const all = "run" in command ? [command] : [...command.commands, ...(command.alone ? [command.alone] : [])];
      return all.flatMap(({ addFlags }) => {
        const declared = new Commander();
        addFlags(declared);
        return declared.options.map(({ long }) => long ?? "");
      });
    }),
  ),
);

/** Flags of other programs, and whose they are. */
const foreignFlags: Readonly<Record<string, string>> = {
  "--inspect": "node",
  "--inspect-port": "node",
  "--require": "node",
  "--import": "node",
  "--loader": "node",
  "--before": "npm",
  "--enable-auto-tool-choice": "vllm",
  "--tool-call-parser": "vllm",
  "--network": "docker",
  "--privileged": "docker",
  "--rpc": "llama-server",
  "--disable-sigusr1": "node",
  "--no-peer": "npm run bench",
  "--features": "cargo",
  "--config-path": "iroh-relay",
  "--dev": "iroh-relay",
};

it("the checker itself: sees what is wrong, and what is right", async () => {
  expect(await complaint(["serve", "--model", "x"])).toBeUndefined();
  expect(await complaint(["serve", "--modell", "x"])).toMatchObject({ code: "commander.unknownOption" });
  expect(await complaint(["surve"])).toMatchObject({ code: "commander.unknownCommand" });
  expect(await complaint(["trust", "pin"])).toMatchObject({ code: "commander.missingArgument" });
  const [one, two] = commandsIn('X=1 SEALMESH_JOIN="$A b" sealmesh client --name "a b" > out # says').concat(
    commandsIn("$ cd x && sealmesh serve --join <invite>      what it does"),
  );
  expect(one?.words).toEqual(["client", "--name", "a b"]);
  expect(two?.words).toEqual(["serve", "--join", "VALUE"]);
});

describe("the pages", () => {
  const inFences = pages.flatMap(({ path, fences }) =>
    fences.flatMap((fence) =>
      shellLines(fence).flatMap((line) =>
        commandsIn(line).map((command) => ({ where: `${path}:${fence.line}`, ...command })),
      ),
    ),
  );
  const inline = pages.flatMap(({ path, code }) =>
    code.flatMap(({ text, line }) => commandsIn(text).map((command) => ({ where: `${path}:${line}`, ...command }))),
  );

  it("commands in blocks parse as they stand", async () => {
    expect(inFences.length).toBeGreaterThan(60);
    const wrong: string[] = [];
    for (const { where, shown, words } of inFences) {
      const error = await complaint(words);
      if (error) wrong.push(`${where}: ${shown}: ${error.message}`);
    }
    expect(wrong).toEqual([]);
  });

  it("commands in the text name commands and flags that exist", async () => {
    expect(inline.length).toBeGreaterThan(60);
    const wrong: string[] = [];
    for (const { where, shown, words } of inline) {
      // in a text a command may be named without what it needs; what may be left out stands in brackets
      const error = await complaint(words.map((word) => word.replaceAll(/^\[|\]$/g, "")));
      const isNamed = /missing|commander\.help$/i.test(error?.code ?? "");
      if (error && !isNamed) wrong.push(`${where}: ${shown}: ${error.message}`);
    }
    expect(wrong).toEqual([]);
  });

  /** Command lines of other programs, by how they begin: their flags are their own. */
  const foreignPrograms = /^(?:ray|vllm|llama-server|ggml-rpc-server|python3|docker|cmake) /;

  it("each flag in the text is one of a command, or of a program that is named here", () => {
    const told = pages.flatMap(({ path, code }) =>
      code.flatMap(({ text, line }) =>
        foreignPrograms.test(text)
          ? []
          : [...text.matchAll(/(?<![\w-])--[a-z][a-z0-9-]+/g)].map(([flag]) => ({ flag, where: `${path}:${line}` })),
      ),
    );
    const known = (flag: string): boolean => flags.has(flag) || flag in foreignFlags || flag === "--no-";
    expect(told.length).toBeGreaterThan(100);
    expect(told.filter(({ flag }) => !known(flag)).map(({ flag, where }) => `${where}: ${flag}`)).toEqual([]);
    const isTold = (flag: string): boolean => pages.some(({ text }) => text.includes(flag));
    expect(Object.keys(foreignFlags).filter((flag) => !isTold(flag))).toEqual([]);
  });
});

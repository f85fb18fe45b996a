/** The list of commands and the files in commands/ say the same, and what can be typed wrongly is told as before. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { commands } from "../../../src/cli/command-list.ts";
import { declareProgram } from "../../../src/cli/program.ts";

const folder = join(import.meta.dirname, "../../../src/cli/commands");
const names = commands.map(({ name }) => name);

it("each file is a line of the list, and each line a file", () => {
  expect(names.map((name) => `${name}.ts`).toSorted()).toEqual(readdirSync(folder).toSorted());
});

it.each(commands)("$name: the file has what the list says", async ({ load, summary }) => {
  const command = await load();
  expect("run" in command || command.commands.length > 0).toBe(true);
  expect(command.examples.length).toBeGreaterThan(0);
  // one line of the help, beside names and heads
  expect(summary.length).toBeLessThan(60);
});

it("only what is asked for is declared whole: the parser knows the names of the others", async () => {
  const program = await declareProgram(
    () => Promise.resolve(),
    (name) => name === "version",
  );
  expect(program.commands.map((one) => one.name())).toEqual(names);
  expect(program.commands.filter((one) => one.options.length > 0).map((one) => one.name())).toEqual(["version"]);
  expect(program.commands.every((one) => one.summary() !== "")).toBe(true);
});

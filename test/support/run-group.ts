/** A group of commands as a terminal has it, in the test's own process: words in, what was printed out. */
import { Command as Commander } from "commander";
import { expect, vi } from "vitest";
import type { CommandGroup } from "../../src/cli/command.ts";

export interface Printed {
  readonly code: number;
  readonly out: string;
  readonly notes: string;
}

/** Filled while the command runs: also when it throws, what was printed before is in it. */
export interface Paper {
  out: string;
  notes: string;
}

/** What `sealmesh <group> <words>` prints, read by commander as main.ts does. @throws as the command */
export async function runGroup(
  group: CommandGroup,
  words: readonly string[],
  printed: Paper = { out: "", notes: "" },
): Promise<Printed> {
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    printed.out += String(chunk);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((chunk) => {
    printed.notes += String(chunk);
    return true;
  });
  let code = -1;
  const program = new Commander().exitOverride();
  for (const command of group.commands) {
    const sub = program.command(command.name).action(async () => {
      code = await command.run(sub.opts());
    });
    command.addFlags(sub);
  }
  try {
    await program.parseAsync([...words], { from: "user" });
  } finally {
    vi.restoreAllMocks();
  }
  return { code, ...printed };
}

/** The one line of JSON that it prints. */
export function jsonOf<T>({ code, out, notes }: Printed): T {
  expect([code, notes]).toEqual([0, ""]);
  expect(out.trimEnd().split("\n")).toHaveLength(1);
  return JSON.parse(out) as T;
}

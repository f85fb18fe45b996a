/** The reader of pages that are run: what it takes for a step, and that it sees what is missing. */
import { describe, expect, it } from "vitest";
import { Machine, type PageItem, pageSteps } from "../support/console-page.ts";
import { tempDir } from "../support/processes.ts";

const page = `# Title

## One

\`\`\`sh
sealmesh not run
\`\`\`

<!-- run: copy a host client -->

\`\`\`console host node
$ first
...
\`\`\`

## Without commands

## Two

\`\`\`console host node
...
more of it
\`\`\`

\`\`\`console host node tpm
^C
... stopped
$ second
\`\`\`
`;

type Step = Exclude<PageItem, { kind: "run" }>;
const item = (text: string, expected: readonly string[]): Step => {
  return { kind: "command", machine: "host", terminal: "shell", needsTpm: false, text, expected, goesOn: false };
};

it("a page has the steps that have something to run, in their order", () => {
  const steps = pageSteps(page);
  expect(steps.map(({ title }) => title)).toEqual(["One", "Two"]);
  expect(steps[0]?.items).toMatchObject([
    { kind: "run", words: ["copy", "a", "host", "client"] },
    { kind: "command", text: "first", expected: ["..."], needsTpm: false },
  ]);
  expect(steps[1]?.items).toMatchObject([
    { kind: "more", expected: ["...", "more of it"] },
    { kind: "keys", text: "^C", expected: ["... stopped"], needsTpm: true },
    { kind: "command", text: "second", expected: [] },
  ]);
});

describe("a command's output", () => {
  const machine = new Machine(tempDir(), { api: 40_001, console: 40_002 }, undefined);
  const print = "printf 'a   9 z\\nb http://127.0.0.1:40001/v1\\nc\\n'; echo said >&2";

  it.each([
    [["a ... z", "b http://127.0.0.1:9337/v1", "c", "said"]],
    [["a 9 ... z", "...", "said"]],
    [["...", "c", "..."]],
  ])("has %j", async (expected) => {
    await machine.run(item(print, expected));
  });

  it.each([
    [["a ... z", "c", "said"]],
    [["a ... z", "b ...", "c"]],
    [["...", "c", "b", "..."]],
    [[]],
    [["a ... y", "..."]],
  ])("does not have %j", async (expected) => {
    await expect(machine.run(item(print, expected))).rejects.toThrow("expected:");
  });

  it("is waited for, but not for ever", async () => {
    const slow = { ...item("sleep 5", ["..."]) };
    await expect(machine.run(slow, 50)).rejects.toThrow("It runs.");
    await machine.close();
  });
});

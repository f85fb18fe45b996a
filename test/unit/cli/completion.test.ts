/** Completion, tried in the shells themselves: what they offer is what the parser of the commands takes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { commands } from "../../../src/cli/command-list.ts";
import { commandTree, everyCommand, shortened } from "../../../src/cli/command-tree.ts";
import { bashScript } from "../../../src/cli/completion/bash.ts";
import { fishScript } from "../../../src/cli/completion/fish.ts";
import { powershellScript } from "../../../src/cli/completion/powershell.ts";
import { zshScript } from "../../../src/cli/completion/zsh.ts";
import { declareProgram } from "../../../src/cli/program.ts";
import { runShell, shellMissing, type ShellName } from "../../support/shells.ts";

const tree = commandTree(
  await declareProgram(
    () => Promise.resolve(),
    () => true,
  ),
);
const folder = mkdtempSync(join(tmpdir(), "sealmesh-completion-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, "model one.gguf"), "");
const names = commands.map(({ name }) => name);

const scripts: Readonly<Record<ShellName, string>> = {
  bash: bashScript(tree),
  zsh: zshScript(tree),
  fish: fishScript(tree),
};

/** Words typed so far, the last one to be completed; what the shell offers for it. */
const offered: Readonly<Record<ShellName, (words: readonly string[]) => readonly string[]>> = {
  bash: (words) => {
    const typed = words.map((word) => `'${word}'`).join(" ");
    const text = `${scripts.bash}\nCOMP_WORDS=(${typed})\nCOMP_CWORD=${words.length - 1}\n_sealmesh\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    return lines(runShell("bash", text, folder));
  },
  // what the completion system would do with the words is replaced; the function itself is zsh's to run
  zsh: (words) => {
    const stand = `compdef() { : }; _message() { : }; compadd() { print -rl -- "$@" }
_files() { print -rl -- *(N) }
_describe() { local name="\${@[-1]}" item; for item in "\${(@P)name}"; do print -r -- "\${item%%:*}"; done }`;
    const typed = words.map((word) => `'${word}'`).join(" ");
    const text = `${stand}\n${scripts.zsh}\nwords=(${typed}); CURRENT=${words.length}; _sealmesh`;
    return lines(runShell("zsh", text, folder)).filter((word) => word.startsWith(words.at(-1) ?? ""));
  },
  fish: (words) => {
    const text = `${scripts.fish}\ncomplete -C "${words.join(" ")}"`;
    return lines(runShell("fish", text, folder)).map((line) => line.split("\t", 1)[0] ?? "");
  },
};

function lines(text: string): readonly string[] {
  return text.split("\n").filter((line) => line !== "");
}

describe.each(["bash", "zsh", "fish"] as const)("in %s", (shell) => {
  const offers = (...words: readonly string[]): readonly string[] => [...offered[shell](words)].toSorted();
  const run = it.skipIf(shellMissing(shell) !== undefined);

  run("the first word is a command", () => {
    const all = offers("sealmesh", "").filter((word) => !word.startsWith("-"));
    expect(all).toEqual(names.toSorted());
    expect(offers("sealmesh", "ser")).toEqual(expect.arrayContaining(["serve"]));
    expect(offers("sealmesh", "ser")).not.toContain("client");
  });

  run("a group has its own second words, and each of them its own flags", () => {
    expect(offers("sealmesh", "trust", "")).toEqual(expect.arrayContaining(["list", "pin", "forget"]));
    expect(offers("sealmesh", "trust", "pin", "--k")).toEqual(["--key", "--kind"]);
    expect(offers("sealmesh", "serve", "--mo")).toEqual(["--model"]);
    expect(offers("sealmesh", "client", "--mo")).toEqual([]);
  });

  run("values: one of a few words, files, or nothing that could be known", () => {
    expect(offers("sealmesh", "serve", "--log-format", "")).toEqual(["json", "pretty"]);
    expect(offers("sealmesh", "completion", "b")).toContain("bash");
    expect(offers("sealmesh", "serve", "--model", "mod").join()).toMatch(/model(\\)? one\.gguf/);
    expect(offers("sealmesh", "serve", "--port", "")).toEqual([]);
    // behind a value it goes on as before
    expect(offers("sealmesh", "serve", "--port", "0", "--headl")).toEqual(["--headless"]);
  });
});

describe("a script", () => {
  it.each([
    ["bash", scripts.bash],
    ["zsh", scripts.zsh],
    ["fish", scripts.fish.replaceAll(/-l ([a-z-]+)/g, "--$1")],
    ["PowerShell", powershellScript(tree)],
  ])("of %s has every command and every flag", (_name, script) => {
    for (const { path, flags } of everyCommand(tree)) {
      expect(script).toContain(path.split(" ").at(-1));
      for (const { long } of flags) expect(script).toContain(long);
    }
    expect(script).not.toContain("--debug-tap");
  });

  it("of PowerShell cannot be left by a quote in a sentence", () => {
    expect(powershellScript({ ...tree, commands: [], flags: [], words: [wordWith("it's $(bad)")] })).toContain(
      "'one' = 'it''s $'",
    );
  });

  it("has short sentences beside its words", () => {
    expect(shortened("port of the API; 0 picks a free one")).toBe("port of the API");
    expect(shortened("x".repeat(100))).toHaveLength(72);
  });
});

function wordWith(doc: string): { syntax: string; takes: "text"; choices: readonly string[]; doc: string } {
  return { syntax: "<one>", takes: "text", choices: ["one"], doc };
}

/**
 * Pages whose console blocks are run as they stand: docs/hand-test.md, docs/quick-start.md. A fence is
 *
 *     ```console MACHINE TERMINAL [tpm]      tpm: only where there is a TPM
 *     $ command                              runs in that machine's home
 *     what it prints, with ... for a part of a line, or for lines where it stands alone
 *     ^C or ^\                               keys, for what runs in that terminal
 *     ```
 *
 * and a comment `run: WORDS` is for the test. What has no machine is only read. A block without a command goes on with what
 * runs in its terminal. The machines are home directories of this one: they differ in ports, which are filled in here and
 * read back as the usual ones, and `/dev/tpmrm0` is an emulator.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Command as Commander } from "commander";
import type { Command, CommandGroup } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/command-list.ts";
import { defaults } from "../../src/node/defaults.ts";
import { mainFile, root } from "./processes.ts";

export type PageItem =
  | { readonly kind: "run"; readonly words: readonly string[] }
  | {
      readonly kind: "command" | "keys" | "more";
      readonly machine: string;
      readonly terminal: string;
      readonly needsTpm: boolean;
      readonly text: string;
      readonly expected: readonly string[];
      /** Its output goes on in a later block of the terminal. */
      readonly goesOn: boolean;
    };

export interface PageStep {
  readonly title: string;
  readonly items: readonly PageItem[];
}

/** The steps of a page: its sections that have something to run. */
export function pageSteps(text: string): readonly PageStep[] {
  const steps: { title: string; items: PageItem[] }[] = [{ title: "first", items: [] }];
  const blocks = /^## (.+)$|^<!-- run: (.+) -->$|^```console (\S+) (\S+)( tpm)?\n([\s\S]*?)^```$/gm;
  for (const [, title, words, machine = "", terminal = "", tpm, body = ""] of text.matchAll(blocks)) {
    if (title !== undefined) steps.push({ title, items: [] });
    else if (words !== undefined) steps.at(-1)?.items.push({ kind: "run", words: words.split(" ") });
    else steps.at(-1)?.items.push(...itemsOf(body, { machine, terminal, needsTpm: tpm !== undefined }));
  }
  return steps.filter(({ items }) => items.length > 0).map(({ title, items }) => ({ title, items: withEnds(items) }));
}

type Place = { readonly machine: string; readonly terminal: string; readonly needsTpm: boolean };

function itemsOf(body: string, place: Place): PageItem[] {
  const items: (Exclude<PageItem, { kind: "run" }> & { expected: string[] })[] = [];
  for (const line of body.replace(/\n$/, "").split("\n")) {
    const command = /^\$ (.+)$/.exec(line)?.[1];
    const keys = /^\^[C\\]$/.test(line) ? line : undefined;
    const last = items.at(-1);
    const made = { ...place, expected: [], goesOn: false };
    if (command !== undefined) items.push({ ...made, kind: "command", text: command });
    else if (keys !== undefined) items.push({ ...made, kind: "keys", text: keys });
    else if (last) last.expected.push(line);
    else items.push({ ...made, kind: "more", text: "", expected: [line] });
  }
  return items;
}

/** Marks what is looked at again later. */
function withEnds(items: readonly PageItem[]): readonly PageItem[] {
  return items.map((item, index) => {
    if (item.kind === "run") return item;
    const same = (other: PageItem): boolean =>
      other.kind !== "run" && other.machine === item.machine && other.terminal === item.terminal;
    const next = items.slice(index + 1).find(same);
    return { ...item, goesOn: next?.kind === "more" };
  });
}

/** One machine of the page: a home, ports of its own, and terminals. */
export class Machine {
  readonly home: string;
  readonly #ports: { readonly api: number; readonly console: number };
  readonly #tpm: string | undefined;
  readonly #terminals = new Map<string, Running>();

  constructor(home: string, ports: { api: number; console: number }, tpm: string | undefined) {
    this.home = home;
    this.#ports = ports;
    this.#tpm = tpm;
    mkdirSync(join(home, "bin"), { recursive: true });
    chmodSync(home, 0o700);
    writeFileSync(join(home, "bin/sealmesh"), `#!/bin/sh\nexec '${process.execPath}' '${mainFile}' "$@"\n`, {
      mode: 0o755,
    });
    symlinkSync(join(root, "models"), join(home, "models"));
  }

  /** Does what stands there, and waits until what was expected is there. @throws Error with both */
  async run(item: Exclude<PageItem, { kind: "run" }>, ms = 30_000): Promise<void> {
    const { kind, terminal, text, expected, goesOn } = item;
    let running = this.#terminals.get(terminal);
    if (kind === "command") {
      running = this.#start(this.#onThisMachine(text));
      this.#terminals.set(terminal, running);
    }
    if (!running) throw new Error(`nothing runs in the terminal ${terminal} of ${this.home}`);
    if (kind === "keys") running.key(text);
    const untilEnd = kind === "keys" || (terminal !== "node" && !goesOn);
    await running.expect(expected, { untilEnd, ms, readable: (output) => this.#asOnThePage(output) });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#terminals.values()].map((running) => running.kill()));
  }

  #start(command: string): Running {
    const kept = Object.entries(process.env).filter(([name]) => !/^(SEALMESH|VITEST|NODE_|SSL_|XDG_)/.test(name));
    const { PATH = "" } = process.env;
    const env = { ...Object.fromEntries(kept), HOME: this.home, PATH: [join(this.home, "bin"), PATH].join(delimiter) };
    return new Running(spawn("bash", ["-c", `exec 2>&1\n${command}`], { cwd: this.home, env, detached: true }));
  }

  /** Ports, loopback and the emulator in the places of what two machines have each for themselves. */
  #onThisMachine(line: string): string {
    const { api, console: port } = this.#ports;
    const flags = { "--port": String(api), "--console": String(port), "--bind": "127.0.0.1:0" };
    return line
      .replaceAll(`127.0.0.1:${defaults.apiPort}`, `127.0.0.1:${api}`)
      .replaceAll(`127.0.0.1:${defaults.consolePort}`, `127.0.0.1:${port}`)
      .replaceAll("/dev/tpmrm0", this.#tpm ?? "/dev/tpmrm0")
      .replaceAll(/\bsealmesh ([a-z]+)(?: ([a-z]+))?/g, (words, first: string, second?: string) => {
        const known = flagsOf(first, second);
        const added = Object.entries(flags).flatMap(([flag, value]) => (known.has(flag) ? [flag, value] : []));
        return added.length === 0 ? words : [words, ...added].join(" ");
      });
  }

  #asOnThePage(output: string): string {
    const { api, console: port } = this.#ports;
    const lines = output.replaceAll("\r\n", "\n");
    return lines.replaceAll(`:${api}`, `:${defaults.apiPort}`).replaceAll(`:${port}`, `:${defaults.consolePort}`);
  }
}

const loaded: ReadonlyMap<string, Command | CommandGroup> = new Map(
  await Promise.all(commands.map(async ({ name, load }) => [name, await load()] as const)),
);

/** Long flags of a command; of a group's own, when the second word is none of its commands. */
function flagsOf(first: string, second: string | undefined): ReadonlySet<string> {
  const found = loaded.get(first);
  if (!found) return new Set();
  const isGroup = "commands" in found;
  const command: Pick<Command, "addFlags"> | undefined = isGroup
    ? (found.commands.find(({ name }) => name === second) ?? found.alone)
    : found;
  const declared = new Commander();
  command?.addFlags(declared);
  return new Set(declared.options.map(({ long }) => long ?? ""));
}

/** What runs in a terminal, and what it has printed since it was last looked at. */
class Running {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #isOver = false;
  #output = "";
  #look: () => void = () => undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
      this.#look();
    });
    this.#ended = new Promise((resolve) => {
      child.once("close", () => {
        this.#isOver = true;
        this.#look();
        resolve();
      });
    });
  }

  key(text: string): void {
    this.#signal(text === "^C" ? "SIGINT" : "SIGQUIT");
  }

  async kill(): Promise<void> {
    if (!this.#isOver) this.#signal("SIGKILL");
    await this.#ended;
  }

  /** Waits until the output has these lines, all of it or its beginning, and takes them. */
  async expect(
    lines: readonly string[],
    { untilEnd, ms, readable }: { untilEnd: boolean; ms: number; readable: (output: string) => string },
  ): Promise<void> {
    const pattern = new RegExp(`^${lines.map(linePattern).join("")}${untilEnd ? "$" : ""}`);
    const seen = (): boolean => {
      if (untilEnd && !this.#isOver) return false;
      const text = readable(this.#output);
      return pattern.test(text === "" || text.endsWith("\n") ? text : `${text}\n`);
    };
    const isThere = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), ms);
      this.#look = () => {
        const there = seen();
        if (!there && !this.#isOver) return;
        clearTimeout(timer);
        resolve(there);
      };
      this.#look();
    });
    this.#look = () => undefined;
    if (!isThere) {
      const state = this.#isOver ? "It has ended." : "It runs.";
      throw new Error(`expected:\n${lines.join("\n")}\n\nwas (${state}):\n${readable(this.#output)}`);
    }
    this.#output = "";
  }

  /** To all that the terminal runs, as its keys do. */
  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid !== undefined) process.kill(-pid, signal);
  }
}

/** `...` alone: any lines, or none. */
function linePattern(line: string): string {
  if (line === "...") return "(?:[^\\n]*\\n)*?";
  const parts = line.split("...").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  // columns are as wide as what is in them, and what differs between two words may be nothing
  const pattern = parts.join("[^\\n]*?").replaceAll(" [^\\n]*? ", " (?:[^\\n]*? )?");
  return `${pattern.replaceAll(/ +/g, " +")} *\\n`;
}

/**
 * A real terminal for tests: a window of tmux with a size, in which a shell runs, read as a person sees it. Each has a server of
 * its own that ends with it; no configuration of whoever runs the tests is read.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pause } from "./e2e.ts";
import { root } from "./processes.ts";

/** Why terminals cannot be tested here; undefined when they can. */
export const tmuxMissing: string | undefined =
  spawnSync("tmux", ["-V"]).status === 0 ? undefined : "tmux is not installed: apt-get install -y tmux";
if (tmuxMissing !== undefined) console.warn(`tests in a terminal are skipped: ${tmuxMissing}`);

export interface TerminalOptions {
  readonly columns: number;
  readonly rows: number;
  /** All that the shell has; PATH among it. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** What the shell shows when it waits: with the number of the command that comes next. */
const prompt = "ready \\#$";
/** The shell waits, and nothing else is on the screen or before. */
const waits = /(?:^|\n)ready (\d+)\$$/;

export class Terminal {
  readonly #server = `sealmesh-test-${randomBytes(6).toString("hex")}`;

  constructor({ columns, rows, env, cwd }: TerminalOptions) {
    const variables = Object.entries({ ...env, TERM: "tmux-256color", PS1: `${prompt} `, LANG: "C.UTF-8" });
    const shell = [
      "env",
      "-i",
      ...variables.map(([name, value]) => `${name}=${value}`),
      "bash",
      "--norc",
      "--noprofile",
    ];
    const size = ["-x", String(columns), "-y", String(rows)];
    this.#tmux("new-session", "-d", ...size, "-c", cwd, ...shell);
  }

  /** What stands there now, without empty lines at the end; a line that the terminal broke is two. */
  screen(): string {
    return this.#tmux("capture-pane", "-p").trimEnd();
  }

  /** Keeps the screen with its colours, for pictures: scripts/screenshots.mjs draws some. */
  keep(name: string): void {
    const folder = join(root, ".test-results/terminal");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${name}.ansi`), this.#tmux("capture-pane", "-e", "-p"));
  }

  /** Presses keys: Enter, C-c, C-d. */
  press(...keys: readonly string[]): void {
    this.#tmux("send-keys", ...keys);
  }

  type(text: string): void {
    this.#tmux("send-keys", "-l", text);
    this.press("Enter");
  }

  /** Waits until the screen says so. @throws Error with the screen when it does not in time */
  async shows(pattern: RegExp, ms = 10_000): Promise<string> {
    const deadline = performance.now() + ms;
    for (;;) {
      const screen = this.screen();
      if (pattern.test(screen)) return screen;
      if (performance.now() > deadline) throw new Error(`the terminal never showed ${pattern}:\n${screen}`);
      await pause(40);
    }
  }

  /** Waits for the shell. @returns the screen above its prompt */
  async ready(ms?: number): Promise<string> {
    const screen = await this.shows(waits, ms);
    return screen.replace(waits, "");
  }

  /** Runs a command on a clear screen, and waits for its end. @returns what it printed */
  async run(command: string, ms = 10_000): Promise<string> {
    await this.ready();
    const before = Number(waits.exec(this.screen())?.[1]);
    this.type(`clear; ${command}`);
    return (await this.shows(new RegExp(`(?:^|\\n)ready (?!${before}\\$)\\d+\\$$`), ms)).replace(waits, "");
  }

  close(): void {
    spawnSync("tmux", ["-L", this.#server, "kill-server"]);
  }

  #tmux(...words: readonly string[]): string {
    return execFileSync("tmux", ["-u", "-L", this.#server, "-f", "/dev/null", ...words], { encoding: "utf8" });
  }
}

/**
 * Lines at the end of a terminal that change in place: the live view, and tables that are watched. Writes only when something
 * changed, one write each time, and never clears what stands above. What is printed above it scrolls as usual.
 *
 * Knows only what it has written itself: a terminal that was made narrower has broken its lines, which is reckoned with.
 */
import { textWidth } from "./table.ts";

type Terminal = Pick<NodeJS.WriteStream, "write" | "columns" | "rows" | "on" | "off">;

const escape = "\u001b[";
const hideCursor = `${escape}?25l`;
const showCursor = `${escape}?25h`;
/** Terminals that know it show all of the write at once; the others skip it. */
const begin = `${escape}?2026h`;
const finish = `${escape}?2026l`;

export class LiveScreen {
  readonly #terminal: Terminal;
  readonly #restore = (): void => void this.#terminal.write(showCursor);
  #standing: readonly string[] = [];
  #closed = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    terminal.write(hideCursor);
    // however the process ends, but by SIGKILL
    process.once("exit", this.#restore);
  }

  /** Puts these lines in the place of the ones before; a line is shorter than the terminal is wide. */
  draw(lines: readonly string[]): void {
    if (this.#closed || sameLines(lines, this.#standing)) return;
    const text = lines.map((line) => `${line}${escape}K\n`).join("");
    this.#terminal.write(`${begin}${this.#toTop()}${text}${escape}J${finish}`);
    this.#standing = lines;
  }

  /** Lets something be printed above: what `print` writes, on this terminal, ends with a line break. */
  above(print: () => void): void {
    if (this.#closed) return print();
    const lines = this.#standing;
    this.clear();
    print();
    this.draw(lines);
  }

  /** Takes the lines away; the next ones stand where the cursor is then. */
  clear(): void {
    if (this.#standing.length > 0) this.#terminal.write(`${this.#toTop()}${escape}J`);
    this.#standing = [];
  }

  /** Forgets where it was: after the terminal was somebody else's for a while. */
  anew(): void {
    this.#standing = [];
    if (!this.#closed) this.#terminal.write(hideCursor);
  }

  /** Gives the cursor back for as long as the process is stopped. */
  rest(): void {
    this.#restore();
  }

  /** @param keep whether the last lines stay there */
  close(keep: boolean): void {
    if (this.#closed) return;
    if (!keep) this.clear();
    this.#closed = true;
    process.off("exit", this.#restore);
    this.#restore();
  }

  #toTop(): string {
    const { columns } = this.#terminal;
    const rows = this.#standing.reduce((sum, line) => sum + Math.max(1, Math.ceil(textWidth(line) / columns)), 0);
    return rows === 0 ? "\r" : `\r${escape}${rows}A`;
  }
}

function sameLines(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, index) => line === b[index]);
}

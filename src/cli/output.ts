/**
 * What commands print. Data goes to stdout, logs and progress to stderr; JSON is one document a line on stdout. Colour
 * only on a terminal that has it and where NO_COLOR does not forbid it. Knows no command.
 */
import { styleText } from "node:util";
import { errorTable, type MeshError, toMeshError } from "../base/errors.ts";
import { tableOf, widthOf, wrapped } from "./table.ts";

export type OutputFormat = "pretty" | "json";
export type Style = "bold" | "dim" | "red" | "yellow" | "green" | "cyan";

/** How a command ends that works and has to say no. */
export const refusedExit: number = errorTable.E_REFUSED.exit;

/** Text for a stream, coloured if a person looks at it. */
export type Paint = (style: Style, text: string) => string;

/** Hints start here, behind the longest label in use. */
const labelColumns = 16;
/** Text is not broken into columns narrower than this. */
const leastColumns = 30;

export function paintFor(stream: NodeJS.WriteStream): Paint {
  // hasColors honours NO_COLOR, FORCE_COLOR and TERM=dumb; it is missing on streams that are no terminal
  const colours = stream.isTTY && stream.hasColors();
  return (style, text) => (colours ? styleText(style, text) : text);
}

/** Whether lines can change in place there. */
export function isLively(stream: Pick<NodeJS.WriteStream, "isTTY" | "columns">): boolean {
  return stream.isTTY && stream.columns > 0 && process.env["TERM"] !== "dumb";
}

/** How long a line of {@link printSoon} may wait for others, ms. */
const soonMs = 10;
/** Lines of stdout that wait, in their order. */
let waiting: (() => string)[] = [];
let printing: NodeJS.Timeout | undefined;

/** One line, or several, of data. */
export function printLine(text: string): void {
  process.stdout.write(`${takeWaiting()}${text}\n`);
}

/**
 * A line of data within 10 ms, and with others in one write: what ends by the hundred in a second would wait for a system
 * call each. Nothing overtakes it; only a process that is killed takes it along.
 * @param line is made when it goes out
 */
export function printSoon(line: () => string): void {
  waiting.push(line);
  if (printing) return;
  printing = setTimeout(printWaiting, soonMs).unref();
  process.once("exit", printWaiting);
}

/** Prints now what waits. */
export function printWaiting(): void {
  const text = takeWaiting();
  if (text !== "") process.stdout.write(text);
}

function takeWaiting(): string {
  if (!printing) return "";
  clearTimeout(printing);
  process.off("exit", printWaiting);
  printing = undefined;
  const lines = waiting;
  waiting = [];
  return lines.map((line) => `${line()}\n`).join("");
}

export function printJson(value: unknown): void {
  printLine(JSON.stringify(value));
}

/** For people only: progress, warnings, hints. Broken between words where a person looks. */
export function printNote(text: string): void {
  const width = widthOf(process.stderr);
  const lines = text.split("\n").flatMap((line) => wrapped(line, width));
  process.stderr.write(`${lines.join("\n")}\n`);
}

/** "1 pin", "2 pins": for nouns that take an s. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * "label   value" with values in one column; values after the first stand below it.
 * @param width places in a line, where a person looks: what is longer goes on below. @default nothing is broken
 */
export function labelled(
  label: string,
  values: readonly string[],
  paint: Paint,
  width: number = Number.POSITIVE_INFINITY,
): string {
  const room = Math.max(width - labelColumns - 4, leastColumns);
  return values
    .flatMap((value) => wrapped(value, room))
    .map((value, index) => `  ${paint("dim", (index === 0 ? label : "").padEnd(labelColumns))}  ${value}`)
    .join("\n");
}

/** A table of the usual look, whose first row has the heads, as wide as what it says; table.ts has narrower ones. */
export function table([heads = [], ...rows]: readonly (readonly string[])[], paint: Paint): string {
  return tableOf(
    heads.map((head) => ({ head })),
    rows,
    { paint },
  );
}

/**
 * Says what went wrong, in the form the caller asked for.
 * @returns the exit code that goes with it
 */
export function reportError(thrown: unknown, format: OutputFormat): number {
  const error = toMeshError(thrown);
  const { code, message, row } = error;
  if (format === "json") printJson({ error: { code, message, hint: row.hint } });
  else {
    const paint = paintFor(process.stderr);
    printNote(`${paint("red", "error:")} ${message}`);
    printNote(`${paint("dim", "hint:")} ${row.hint}`);
  }
  // a stack is for those who mend it, so only where there is something to mend
  if (code === "E_BUG") printNote(stackOf(error));
  return row.exit;
}

function stackOf(error: MeshError): string {
  const { cause } = error;
  return (cause instanceof Error ? cause.stack : error.stack) ?? error.message;
}

/** Keeps a reader that went away (`sealmesh status | head -1`) from ending the process with a stack. */
export function surviveClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
    });
  }
}

/** Waits until what was printed has left the process. */
export function flushOutput(): Promise<void> {
  return new Promise((resolve) => {
    if (!process.stdout.writable) return resolve();
    process.stdout.write(takeWaiting(), () => resolve());
  });
}

/**
 * The format for messages before the command line has been understood, or when it cannot be.
 * @param words arguments after the command's path
 */
export function formatFromArguments(words: readonly string[]): OutputFormat {
  const asked = words.some(
    (word, index) =>
      word === "--json" || word === "--log-format=json" || (word === "json" && words[index - 1] === "--log-format"),
  );
  return asked ? "json" : "pretty";
}
